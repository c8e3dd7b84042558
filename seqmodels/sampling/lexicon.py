"""A model confined to the words of a list.

The words form a tree of prefixes. With u what was written since the last
separator, a symbol x is allowed if

    x is no separator    some word of the list begins with u x
    x is a separator     u is a whole word, or nothing

and the model's probabilities are divided among the symbols that are allowed. So
each word that is written is one of the list, though a model of characters knows
of none. A word that a prime began and no word of the list goes on with has to
end at once.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import api as predictors

Tree = Any

# Between words, and inside of a word that is not in the list.
_BETWEEN, _ASTRAY = 0, 1


class Params(NamedTuple):
  """What a confined model is applied with.

  Attributes:
    model: the parameters of the model inside.
    following: int32 [N, V], the node of the tree after a node and a symbol.
    allowed: bool [N, V].
  """

  model: Tree
  following: jax.Array
  allowed: jax.Array


def confined(
  predictor: predictors.Predictor,
  params: Tree,
  words: Iterable[Sequence[int]],
  separators: Sequence[int],
) -> tuple[predictors.Predictor, Params]:
  """The model, confined to a list of words, and its parameters.

  It may stand wherever the model may: in `text.sample`, in `beam.search`. The
  null vector and a reset begin between words.

  Args:
    predictor: the model.
    params: its parameters.
    words: ids of each; one that comes twice counts once.
    separators: ids that are in no word; at least one.

  Raises:
    errors.UserError: no words or separators, an empty word, a word that holds a
      separator, or an id outside the vocabulary.

  Example: of three symbols 2 is the separator, and the words are 0 1 and 1.
  >>> coin = predictors.Predictor(
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
  following, allowed = _tables(list(words), separators, predictor)

  def apply(
    params: Params,
    carry: tuple[Tree, jax.Array],
    inputs: jax.Array,
    reset: jax.Array,
  ) -> tuple[tuple[Tree, jax.Array], jax.Array]:
    inner, node = carry
    inner, logits = predictor.apply(params.model, inner, inputs, reset)

    def step(
      node: jax.Array, now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
      symbol, cleared = now
      node = jnp.where(cleared, _BETWEEN, node)
      after = params.following[node, symbol]
      node = jnp.where(symbol < 0, _BETWEEN, after)
      return node, node

    node, nodes = jax.lax.scan(step, node, (inputs, reset))
    return (inner, node), jnp.where(params.allowed[nodes], logits, -jnp.inf)

  wrapped = predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: (
      predictor.initial_carry(batch),
      jnp.zeros(batch, jnp.int32),
    ),
    init=lambda key: Params(
      predictor.init(key), jnp.asarray(following), jnp.asarray(allowed)
    ),
    vocabulary_size=predictor.vocabulary_size,
  )
  return wrapped, Params(
    params, jax.device_put(following), jax.device_put(allowed)
  )


def _tables(
  words: Sequence[Sequence[int]],
  separators: Sequence[int],
  predictor: predictors.Predictor,
) -> tuple[np.ndarray, np.ndarray]:
  """`following` and `allowed` of `Params`."""
  symbols = predictor.vocabulary_size
  _check(words, separators, symbols)
  # Nodes are numbered as they come up; each is what was written of a word.
  tree: list[dict[int, int]] = [{}, {}]
  whole = {_BETWEEN, _ASTRAY}
  for word in words:
    node = _BETWEEN
    for symbol in word:
      if symbol not in tree[node]:
        tree[node][symbol] = len(tree)
        tree.append({})
      node = tree[node][symbol]
    whole.add(node)
  following = np.full((len(tree), symbols), _ASTRAY, np.int32)
  allowed = np.zeros((len(tree), symbols), bool)
  for node, branches in enumerate(tree):
    for symbol, after in branches.items():
      following[node, symbol] = after
      allowed[node, symbol] = True
  ends = np.zeros(symbols, bool)
  ends[list(separators)] = True
  complete = np.zeros(len(tree), bool)
  complete[sorted(whole)] = True
  following[:, ends] = _BETWEEN
  allowed |= complete[:, None] & ends
  return following, allowed


def _check(
  words: Sequence[Sequence[int]], separators: Sequence[int], symbols: int
) -> None:
  if not words or not len(separators):
    raise errors.UserError(
      f"a lexicon of {len(words)} words and {len(separators)} separators was "
      "given; it needs at least one of each"
    )
  named = [("the separators hold", separators)]
  named += [(f"the word {list(word)} holds", word) for word in words]
  between = set(separators)
  for what, ids in named:
    if not len(ids):
      raise errors.UserError(
        "a word of the lexicon is empty; give each at least one symbol"
      )
    outside = [i for i in ids if not 0 <= i < symbols]
    if outside:
      raise errors.UserError(
        f"{what} the id {outside[0]}; the model knows 0 to {symbols - 1}"
      )
    inside = [i for i in ids if i in between]
    if inside and ids is not separators:
      raise errors.UserError(
        f"{what} the separator {inside[0]}; cut the text at separators first"
      )
