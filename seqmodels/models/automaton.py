"""Recurrent networks that are exact by construction: automata in ReLU units.

A source with finitely many states, in which state and symbol decide the next
state, becomes a plain Elman network with the rectifier. There is one unit for
each pair (state s, symbol v that enters it), which is 1 after v has led into s
and 0 at all other times:

    h'[s, v] = max(0, sum_{u: u --v--> s} h[u] + x[v] - 1)

One unit more marks the start: it fires where nothing was read and nothing was
active, so the network begins, like any other of this library, from the zero
state and the null vector. The row of the readout that belongs to a unit holds
log P(next | its state), whose softmax is the source's own distribution: no
error but that of rounding.

Finitely many words are such a source, their states a tree of prefixes
(`of_words`), and so is a Markov chain of order k, its states being contexts of
k symbols (`markov`).
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, ops
from seqmodels.models import api

IMPOSSIBLE = -1
# The log-probability of what cannot come: its exponential is 0 in any format.
FLOOR = -1e4

Word = tuple[int, ...]


class Automaton(NamedTuple):
  """A source in which the symbol decides the next state.

  Attributes:
    next_state: int [S, V], `IMPOSSIBLE` where the symbol cannot come.
    probabilities: float64 [S, V]; rows sum to 1.
    start: the first state.
  """

  next_state: np.ndarray
  probabilities: np.ndarray
  start: int = 0


class Network(NamedTuple):
  """A one-layer Elman network with a linear readout, in float64.

  Attributes:
    params: of the cell `elman_relu` or `elman`.
    carry: the state before the first symbol, h [H].
    readout: [H, V].
    readout_bias: [V].
    cell: its name in `cells.cell.CELLS`.
  """

  params: elman.ElmanParams
  carry: elman.ElmanCarry
  readout: np.ndarray
  readout_bias: np.ndarray
  cell: str = "elman_relu"

  @property
  def units(self) -> int:
    """H."""
    return self.readout.shape[0]


def check(source: Automaton) -> None:
  """Raises UserError unless the tables describe a source.

  >>> check(Automaton(np.array([[0, 0]]), np.array([[0.5, 0.5]])))
  """
  sums = source.probabilities.sum(axis=1)
  wrong = np.flatnonzero(np.abs(sums - 1) > 1e-9)
  if len(wrong) or np.any(source.probabilities < 0):
    state = int(wrong[0]) if len(wrong) else 0
    raise errors.UserError(
      f"the probabilities after state {state} sum to {sums[state]:.6g}; those "
      "of each state must be 0 or more and sum to 1"
    )
  lost = (source.probabilities > 0) & (source.next_state == IMPOSSIBLE)
  if np.any(lost):
    state, symbol = np.argwhere(lost)[0]
    raise errors.UserError(
      f"symbol {symbol} can follow state {state} and leads nowhere; give it a "
      "next state, or probability 0"
    )


def of_words(words: Mapping[Word, float], symbols: int) -> Automaton:
  """A stream of independent words, each closed by one symbol more.

  States are the prefixes of the words, the empty one being the start; the
  symbol with the id `symbols` ends a word and leads back to the start.

  Args:
    words: the probability of each.
    symbols: V of the words' own symbols.

  Raises:
    UserError: the probabilities do not sum to 1, or a symbol is not an id.

  >>> source = of_words({(0,): 0.5, (0, 1): 0.5}, 2)
  >>> source.probabilities.tolist()
  [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]
  """
  total = sum(words.values())
  if not words or abs(total - 1) > 1e-9 or min(words.values()) < 0:
    raise errors.UserError(
      f"the probabilities of {len(words)} words sum to {total:.6g}; they must "
      "be 0 or more and sum to 1"
    )
  states: dict[Word, int] = {(): 0}
  for word in words:
    for length, symbol in enumerate(word, 1):
      if not 0 <= symbol < symbols:
        raise errors.UserError(
          f"a word holds the id {symbol}; ids of {symbols} symbols are 0 to "
          f"{symbols - 1}"
        )
      states.setdefault(word[:length], len(states))
  masses = np.zeros((len(states), symbols + 1))
  following = np.full((len(states), symbols + 1), IMPOSSIBLE)
  for word, mass in words.items():
    for place, symbol in enumerate((*word, symbols)):
      state = states[word[:place]]
      masses[state, symbol] += mass
      onward = states[word[: place + 1]] if symbol < symbols else 0
      following[state, symbol] = onward
  sums = masses.sum(axis=1, keepdims=True)
  # What no word of positive probability passes through: any row will do.
  certain = np.eye(symbols + 1)[-1]
  shares = np.where(sums > 0, masses / np.where(sums > 0, sums, 1), certain)
  following[:, symbols] = 0
  return Automaton(following, shares)


def markov(
  conditionals: Mapping[Word, Sequence[float] | np.ndarray],
) -> Automaton:
  """The chain whose next symbol depends on the last k symbols.

  Args:
    conditionals: the distribution [V] after each context; those shorter than k
      stand for the beginning, the empty one for the very first symbol.

  Raises:
    UserError: a context that can be reached is missing.

  >>> chain = markov({(): [0.5, 0.5], (0,): [0.9, 0.1], (1,): [0.2, 0.8]})
  >>> chain.next_state.tolist()
  [[1, 2], [1, 2], [1, 2]]
  """
  contexts = sorted(conditionals, key=lambda context: (len(context), context))
  order = max(map(len, contexts))
  index = {context: place for place, context in enumerate(contexts)}
  rows = np.array([conditionals[context] for context in contexts], float)
  following = np.full(rows.shape, IMPOSSIBLE)
  for context, place in index.items():
    for symbol in np.flatnonzero(rows[place] > 0):
      longer = (*context, int(symbol))
      onward = longer[len(longer) - min(order, len(longer)) :]
      if onward not in index:
        raise errors.UserError(
          f"no distribution is given after the symbols {onward}, which can "
          f"come; give all contexts of up to {order} symbols"
        )
      following[place, symbol] = index[onward]
  if () not in index:
    raise errors.UserError(
      f"no distribution of the first symbol is given among {len(contexts)} "
      "contexts; give one for the empty context"
    )
  return Automaton(following, rows, index[()])


def network(source: Automaton) -> Network:
  """The source as a network, exactly.

  Raises:
    UserError: see `check`.

  >>> network(of_words({(0,): 0.5, (0, 1): 0.5}, 2)).units
  3
  """
  check(source)
  arcs = [
    (int(state), int(symbol), int(source.next_state[state, symbol]))
    for state, symbol in np.argwhere(source.next_state != IMPOSSIBLE)
  ]
  entered = sorted({(state, symbol) for _, symbol, state in arcs})
  # The unit of the start also serves one of the pairs that enter its state.
  home = next((pair for pair in entered if pair[0] == source.start), None)
  pairs = [pair for pair in entered if pair != home]
  units = [source.start, *(state for state, _ in pairs)]
  width, symbols = len(units), source.next_state.shape[1]
  # NumPy's, which keep 64 bits whatever JAX is set to.
  kernel: Any = np.zeros((symbols, width))
  recurrent: Any = np.zeros((width, width))
  bias: Any = np.full(width, -1.0)
  zeros: Any = np.zeros(width)
  goes = {(state, symbol): onward for state, symbol, onward in arcs}
  for unit, (state, symbol) in enumerate(pairs, 1):
    kernel[symbol, unit] = 1.0
    for before, holder in enumerate(units):
      recurrent[before, unit] = goes.get((holder, symbol)) == state
  # 1 of nothing read and nothing active; each of the two takes 1 away, unless
  # they are a symbol and a state that lead to the start.
  bias[0], kernel[:, 0], recurrent[:, 0] = 1.0, -1.0, -1.0
  if home is not None:
    kernel[home[1], 0] = 0.0
    for before, holder in enumerate(units):
      if goes.get((holder, home[1])) == source.start:
        recurrent[before, 0] = 0.0
  with np.errstate(divide="ignore"):
    rows = np.maximum(np.log(source.probabilities), FLOOR)
  return Network(
    elman.ElmanParams(kernel, recurrent, bias),
    elman.ElmanCarry(zeros),
    rows[units],
    np.zeros(symbols),
  )


def saturated(exact: Network, gain: float) -> Network:
  """The same in tanh units of -1 and 1, exact only as the gain grows.

      h = tanh(gain (2 s - 1)),   s the net input of the rectifier

  Args:
    exact: of `network`.
    gain: how steep.

  Raises:
    UserError: a gain not above 0.

  >>> saturated(network(of_words({(0,): 1.0}, 1)), 9.0).cell
  'elman'
  """
  if not gain > 0:
    raise errors.UserError(f"the gain is {gain}; it must be above 0")
  kernel, recurrent, bias = exact.params
  return Network(
    elman.ElmanParams(
      2 * gain * kernel,
      gain * recurrent,
      gain * (2 * bias + recurrent.sum(axis=0) - 1),
    ),
    elman.ElmanCarry(2 * exact.carry.h - 1),
    exact.readout / 2,
    exact.readout_bias + exact.readout.sum(axis=0) / 2,
    cell="elman",
  )


def shift_register(symbols: int, length: int) -> elman.ElmanParams:
  """Weights that hold the last `length` symbols: one-hot, the newest first.

      h' = [x, all blocks of h but the last]

  With H = length * V units, and as exact with the identity as with the
  rectifier, since nothing is negative.

  Raises:
    UserError: no symbols or no length.

  >>> shift_register(3, 2).recurrent_kernel.shape
  (6, 6)
  """
  if symbols < 1 or length < 1:
    raise errors.UserError(
      f"a register of {length} places for {symbols} symbols; both must be at "
      "least 1"
    )
  width = symbols * length
  kernel: Any = np.eye(symbols, width)
  moved: Any = np.eye(width, k=symbols)
  bias: Any = np.zeros(width)
  return elman.ElmanParams(kernel, moved, bias)


def as_predictor(exact: Network) -> api.Predictor:
  """The network as every layer above knows models; `init` gives its weights.

  >>> word = as_predictor(network(of_words({(0, 1): 1.0}, 2)))
  >>> inputs = jnp.array([[-1], [0], [1]])
  >>> _, logits = word.apply(
  ...   word.init(None), word.initial_carry(1), inputs, inputs < 0
  ... )
  >>> logits.argmax(-1).ravel()
  Array([0, 1, 2], dtype=int32)
  """

  def initial_carry(batch: int) -> elman.ElmanCarry:
    return elman.ElmanCarry(jnp.tile(jnp.asarray(exact.carry.h), (batch, 1)))

  def init(key: jax.Array) -> tuple[Any, ...]:
    del key
    return jax.tree.map(jnp.asarray, tuple(exact[:4]))  # all but the name

  return api.Predictor(
    _apply(exact.cell), initial_carry, init, exact.readout.shape[1]
  )


@functools.cache
def _apply(name: str) -> Callable[..., tuple[Any, jax.Array]]:
  """One function for all networks of a cell, so that it compiles once."""
  cell = cells.get(name)

  def apply(
    params: tuple[Any, ...],
    carry: elman.ElmanCarry,
    inputs: jax.Array,
    reset: jax.Array,
  ) -> tuple[elman.ElmanCarry, jax.Array]:
    weights, first, readout, bias = params
    carry, hs = cell.sequence(
      weights,
      carry,
      inputs,
      reset=reset,
      reset_carry=elman.ElmanCarry(first.h[None]),
    )
    return carry, ops.matmul(hs, readout) + bias[None, None]

  return apply
