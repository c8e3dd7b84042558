"""Likely continuations by search: greedy, exhaustive, beam.

A continuation x_1 ... x_L of a prime, L symbols with its end, scores

    (1 / L^alpha) sum_t log P(x_t | prime, x_1 ... x_{t-1})

nats. With alpha 0 every further symbol costs, with alpha 1 the mean counts.
Of T symbols greedy search tries V a step, a beam of k tries k V, exhaustive
search tries V^T in all.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors, losses
from seqmodels.models import networks
from seqmodels.sampling import text as text_lib

Tree = Any

# Strings that an exhaustive search may score.
MOST = 1 << 16

_NO_END = -2


def search(
  predictor: networks.SequenceModel,
  params: Tree,
  *,
  width: int,
  length: int,
  prime: Sequence[int] = (),
  end: int | None = None,
  length_penalty: float = 0.75,
) -> list[text_lib.Continuation]:
  """Beam search.

  At each step the `width` likeliest extensions of what the beam holds go on.
  One with the end symbol leaves the beam for a list of the `width` best by
  score and grows no more; the extensions of the others take its place. Width 1
  is greedy, width V^(length - 1) finds what exhaustive search finds.

  Args:
    predictor: the model.
    params: its parameters.
    width: k, continuations kept.
    length: T, the most symbols of a continuation; each width and length
      compile once.
    prime: ids to continue.
    end: the symbol that ends a continuation; None for none.
    length_penalty: alpha.

  Returns:
    At most `width` continuations, the best score first: those that ended and
    those that reached the length. None has probability 0.

  Raises:
    errors.UserError: width or length below 1, a negative penalty, an id outside
      the vocabulary, or a model whose outputs are no numbers.

  Example: after the likelier symbol 0 nothing is certain, after 1 it is 0.
  >>> chain = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=2)
  >>> rows = jnp.log(jnp.array([[0.5, 0.5], [1.0, 0.0], [0.6, 0.4]]))
  >>> [one.symbols for one in search(chain, rows, width=1, length=2)]
  [(0, 0)]
  >>> [one.symbols for one in search(chain, rows, width=2, length=2)]
  [(1, 0), (0, 0)]
  """
  if width < 1:
    raise errors.UserError(
      f"the width of a beam is {width}; give at least 1, which is greedy search"
    )
  _check(predictor, length, prime, end, length_penalty)
  best = _search(
    predictor,
    params,
    text_lib.prime_ids(prime),
    jax.device_put(np.int32(_NO_END if end is None else end)),
    jax.device_put(np.float32(length_penalty)),
    width,
    length,
  )
  texts, totals, scores, sizes, ended = (
    leaf.tolist() for leaf in jax.device_get(best)
  )
  beams = [
    text_lib.Continuation(
      tuple(texts[row][: sizes[row]]), totals[row], scores[row], ended[row]
    )
    for row in range(width)
    if scores[row] > -np.inf
  ]
  if not beams:
    raise errors.UserError(
      f"of the continuations of up to {length} symbols none has a probability "
      "above 0; the model's outputs are no numbers: take weights from before "
      "its training diverged"
    )
  return beams


def greedy(
  predictor: networks.SequenceModel,
  params: Tree,
  *,
  length: int,
  prime: Sequence[int] = (),
  end: int | None = None,
) -> text_lib.Continuation:
  """The likeliest symbol at each step, the lowest id in a tie: a beam of one.

  Args and errors as of `search`; the score is the mean nats a symbol.
  """
  [best] = search(
    predictor,
    params,
    width=1,
    length=length,
    prime=prime,
    end=end,
    length_penalty=1.0,
  )
  return best


def exhaustive(
  predictor: networks.SequenceModel,
  params: Tree,
  *,
  length: int,
  prime: Sequence[int] = (),
  end: int | None = None,
  length_penalty: float = 0.75,
) -> list[text_lib.Continuation]:
  """Every continuation, the best score first; their probabilities sum to 1.

  Args as of `search`.

  Raises:
    errors.UserError: as `search`, or more than `MOST` strings of that length.

  >>> coin = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.zeros((*inputs.shape, 2))),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=2)
  >>> [one.symbols for one in exhaustive(coin, (), length=2, end=1)]
  [(1,), (0, 0), (0, 1)]
  """
  _check(predictor, length, prime, end, length_penalty)
  symbols = predictor.vocabulary_size
  if symbols**length > MOST:
    raise errors.UserError(
      f"an exhaustive search over {symbols} symbols and {length} steps would "
      f"score {symbols**length:,} strings and may score {MOST:,}; use a "
      "shorter length or a beam"
    )
  strings = np.array(
    list(itertools.product(range(symbols), repeat=length)), np.int32
  )
  nats = _score(
    predictor,
    params,
    text_lib.prime_ids(prime),
    jax.device_put(np.ascontiguousarray(strings.T)),
  )
  totals = -np.cumsum(jax.device_get(nats), axis=0, dtype=np.float64).T
  ends = strings == (_NO_END if end is None else end)
  ended = ends.any(axis=1)
  sizes = np.where(ended, ends.argmax(axis=1) + 1, length)
  results: dict[tuple[int, ...], text_lib.Continuation] = {}
  for row, size, total, over in zip(strings, sizes, totals, ended, strict=True):
    text, logs = tuple(row[:size].tolist()), float(total[size - 1])
    score = logs / float(size) ** length_penalty
    # Strings that differ only behind the end are one continuation.
    results[text] = text_lib.Continuation(text, logs, score, bool(over))
  # Sorting is stable: ties stay in the order of their ids.
  return sorted(results.values(), key=lambda one: -one.score)


@functools.partial(jax.jit, static_argnames=("predictor",))
def _score(
  predictor: networks.SequenceModel,
  params: Tree,
  prime: jax.Array,
  strings: jax.Array,
) -> jax.Array:
  """Nats of each symbol of strings [T, N] after the prime, [T, N]."""
  carry, first = text_lib.read(predictor, params, prime, strings.shape[1])
  never = jnp.zeros(strings[1:].shape, bool)
  _, logits = predictor.apply(params, carry, strings[:-1], never)
  logits = jnp.concatenate([first[None], logits.astype(jnp.float32)])
  everywhere = jnp.ones(strings.shape, bool)
  return losses.cross_entropy(logits, strings, everywhere)[0]


def _check(
  predictor: networks.SequenceModel,
  length: int,
  prime: Sequence[int],
  end: int | None,
  length_penalty: float,
) -> None:
  if length < 1:
    raise errors.UserError(
      f"the length of a continuation is {length}; give at least 1"
    )
  if not 0 <= length_penalty < float("inf"):
    raise errors.UserError(
      f"the length penalty is {length_penalty}; give a number from 0 up"
    )
  text_lib.check_ids(predictor, "the prime", prime)
  ends = [] if end is None else [end]
  text_lib.check_ids(predictor, "the end of a continuation", ends)


class _Kept(NamedTuple):
  """k continuations side by side; minus infinity marks an empty place."""

  texts: jax.Array  # int32 [k, T]
  totals: jax.Array  # log P [k]
  scores: jax.Array  # [k]
  sizes: jax.Array  # L, int32 [k]
  ended: jax.Array  # bool [k]

  def best(self, other: "_Kept") -> "_Kept":
    """The k best by score of two such lists; the first's in a tie."""
    both = jax.tree.map(lambda a, b: jnp.concatenate([a, b]), self, other)
    _, places = jax.lax.top_k(both.scores, len(self.scores))
    return jax.tree.map(lambda leaf: leaf[places], both)


@functools.partial(jax.jit, static_argnames=("predictor", "width", "length"))
def _search(
  predictor: networks.SequenceModel,
  params: Tree,
  prime: jax.Array,
  end: jax.Array,
  alpha: jax.Array,
  width: int,
  length: int,
) -> _Kept:
  """The best continuations, whole and cut at the length."""
  carry, logits = text_lib.read(predictor, params, prime, width)
  nothing = jnp.full((width,), -jnp.inf)
  texts = jnp.full((width, length), -1, jnp.int32)
  zeros = jnp.zeros((width,), jnp.int32)
  done = _Kept(texts, nothing, nothing, zeros, zeros > 0)
  # All rows have read the same: one of them is enough to start from.
  alive = nothing.at[0].set(0.0)

  def step(state: tuple[Any, ...], place: jax.Array) -> tuple[Any, None]:
    carry, logits, texts, alive, done = state
    logs = alive[:, None] + jax.nn.log_softmax(logits, axis=-1)
    totals, index = jax.lax.top_k(logs.reshape(-1), width)
    parents, symbols = jnp.divmod(index, predictor.vocabulary_size)
    symbols = symbols.astype(jnp.int32)
    texts = texts[parents].at[:, place].set(symbols)
    over = symbols == end
    left = jnp.where(over, totals, -jnp.inf)
    size = (place + 1).astype(jnp.float32)
    kept = _Kept(texts, left, left / size**alpha, zeros + place + 1, over)
    done = done.best(kept)
    alive = jnp.where(over, -jnp.inf, totals)
    carry = jax.tree.map(lambda leaf: leaf[parents], carry)
    carry, logits = text_lib.feed(predictor, params, carry, symbols)
    return (carry, logits, texts, alive, done), None

  state = (carry, logits, texts, alive, done)
  state, _ = jax.lax.scan(step, state, jnp.arange(length, dtype=jnp.int32))
  *_, texts, alive, done = state
  scores = alive / jnp.float32(length) ** alpha
  return done.best(_Kept(texts, alive, scores, zeros + length, zeros > 0))
