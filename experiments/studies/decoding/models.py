"""Models written out as tables, and a model confined to a list of words."""

import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.models import networks


def walk(
  following: jax.Array, node: jax.Array, inputs: jax.Array, reset: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """The last node and that after each symbol [T, B], from a node [B].

  `following` int32 [N, V] leads on; the null vector leads to node 0, from which
  a symbol is read where `reset` is true.
  """

  def step(node: jax.Array, now: Any) -> tuple[jax.Array, jax.Array]:
    symbol, cleared = now
    after = following[jnp.where(cleared, 0, node), symbol]
    node = jnp.where(symbol < 0, 0, after)
    return node, node

  return jax.lax.scan(step, node, (inputs, reset))


@functools.cache
def automaton(symbols: int) -> networks.SequenceModel:
  """A model whose parameters are logits and following nodes, both [N, V]."""

  def apply(params: Any, node: Any, inputs: Any, reset: Any) -> Any:
    logits, following = params
    node, nodes = walk(following, node, inputs, reset)
    return node, logits[nodes]

  return networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros(batch, jnp.int32),
    init=lambda key: (jnp.zeros((1, symbols)), jnp.zeros((1, symbols), int)),
    vocabulary_size=symbols,
  )


def table(
  rows: Mapping[tuple[int, ...], Sequence[float]],
) -> tuple[networks.SequenceModel, Any]:
  """A model by its probabilities [V] after each prefix, and its parameters.

  The prefix () is the beginning. After one that the table lacks, all symbols
  have the same probability.

  >>> predictor, params = table({(): [0.9, 0.1], (0,): [0.2, 0.8]})
  >>> ids = jnp.array([[-1], [0], [1]])
  >>> _, logits = predictor.apply(
  ...   params, predictor.initial_carry(1), ids, ids < -1
  ... )
  >>> np.asarray(jax.nn.softmax(logits))[:, 0].round(2)
  array([[0.9, 0.1],
         [0.2, 0.8],
         [0.5, 0.5]], dtype=float32)
  """
  symbols = len(rows[()])
  # Nodes are prefixes, the root first; one more is "not in the table".
  prefixes = sorted(rows, key=len)
  number = {prefix: index for index, prefix in enumerate(prefixes)}
  elsewhere = len(rows)
  following = np.full((elsewhere + 1, symbols), elsewhere, np.int32)
  for prefix, index in number.items():
    for symbol in range(symbols):
      following[index, symbol] = number.get((*prefix, symbol), elsewhere)
  chances = [*(rows[prefix] for prefix in prefixes), [1 / symbols] * symbols]
  with np.errstate(divide="ignore"):
    logits = jnp.asarray(np.log(chances), jnp.float32)
  return automaton(symbols), (logits, jnp.asarray(following))


def second_order(logits: np.ndarray) -> tuple[networks.SequenceModel, Any]:
  """A model that knows the last two symbols, and its parameters.

  Logits [V + 1, V + 1, V] go by the symbol before the last and the last; the
  first of each is for the beginning of the text.
  """
  width, _, symbols = logits.shape
  following = np.arange(width * width)[:, None] % width * width
  following = following + 1 + np.arange(symbols)
  rows = jnp.asarray(logits.reshape(-1, symbols), jnp.float32)
  return automaton(symbols), (rows, jnp.asarray(following, jnp.int32))


class Confined(NamedTuple):
  """Parameters of a confined model."""

  model: Any  # the parameters of the model inside
  # int32 [N, V], the node of the tree after a node and a symbol.
  following: jax.Array
  allowed: jax.Array  # bool [N, V]


# Between words, and inside of a word that is not in the list.
_BETWEEN, _ASTRAY = 0, 1


def confined(
  predictor: networks.SequenceModel,
  params: Any,
  words: Iterable[Sequence[int]],
  separators: Sequence[int],
) -> tuple[networks.SequenceModel, Confined]:
  """The model, confined to a list of words, and its parameters.

  The words form a tree of prefixes. With u what was written since the last
  separator, a symbol x is allowed if

      x is no separator    some word of the list begins with u x
      x is a separator     u is a whole word, or nothing

  and the model's probabilities are divided among the allowed symbols. A word
  that a prime began and no word of the list continues has to end at once.

  Example: of three symbols 2 is the separator, and the words are 0 1 and 1.
  >>> coin = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.zeros((*inputs.shape, 3))),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=3)
  >>> spelling, params = confined(coin, (), [[0, 1], [1]], [2])
  >>> ids = jnp.array([[-1], [0], [1]])
  >>> _, logits = spelling.apply(
  ...   params, spelling.initial_carry(1), ids, ids < -1)
  >>> jnp.isfinite(logits)[:, 0].astype(int).tolist()
  [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
  """
  tree: list[dict[int, int]] = [{}, {}]  # following nodes by symbol
  whole = {_BETWEEN, _ASTRAY}
  for word in words:
    node = _BETWEEN
    for symbol in word:
      node = tree[node].setdefault(symbol, len(tree))
      if node == len(tree):
        tree.append({})
    whole.add(node)
  shape = len(tree), predictor.vocabulary_size
  following, allowed = np.full(shape, _ASTRAY, np.int32), np.zeros(shape, bool)
  for node, branches in enumerate(tree):
    following[node, list(branches)] = list(branches.values())
    allowed[node, list(branches)] = True
  following[:, list(separators)] = _BETWEEN
  allowed[np.ix_(sorted(whole), list(separators))] = True

  def apply(params: Confined, carry: Any, inputs: Any, reset: Any) -> Any:
    inner, node = carry
    inner, logits = predictor.apply(params.model, inner, inputs, reset)
    node, nodes = walk(params.following, node, inputs, reset)
    return (inner, node), jnp.where(params.allowed[nodes], logits, -jnp.inf)

  def with_tree(model: Any) -> Confined:
    return Confined(model, jax.device_put(following), jax.device_put(allowed))

  wrapped = networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: (
      predictor.initial_carry(batch),
      jnp.zeros(batch, jnp.int32),
    ),
    init=lambda key: with_tree(predictor.init(key)),
    vocabulary_size=predictor.vocabulary_size,
  )
  return wrapped, with_tree(params)
