"""Networks set by hand that are exact, and the bounds of what counting can do.

A source with finitely many states, in which state and symbol decide the next
state, becomes a plain Elman network with the rectifier: one unit for each pair
of a state s and a symbol v that enters it, which is 1 after v has led into s
and 0 at all other times:

    h'[s, v] = max(0, sum_{u: u --v--> s} h[u] + x[v] - 1)

One unit more marks the start: it fires where nothing was read and nothing was
active, so the network begins, like any other of this library, from the zero
state and the null vector. The row of the readout that belongs to a unit holds
log P(next | its state), whose softmax is the source's own distribution.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import cell as cells
from seqmodels.cells import elman, gru, lstm, ops
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

  def log_shares(self, ids: np.ndarray) -> np.ndarray:
    """log P of each symbol [T, B] given those before it."""
    found, states = np.zeros(ids.shape), np.full(ids.shape[1], self.start)
    for place, symbols in enumerate(ids):
      found[place] = np.log(self.probabilities[states, symbols])
      states = self.next_state[states, symbols]
    return found


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

  def log_shares(self, ids: np.ndarray) -> np.ndarray:
    """log P of each symbol [T, B] given those before it, in float64."""
    with jax.enable_x64(True):
      model = as_predictor(self)
      inputs = np.concatenate([np.full_like(ids[:1], -1), ids[:-1]])
      _, logits = jax.jit(model.apply)(
        model.init(jax.random.key(0)),
        model.initial_carry(ids.shape[1]),
        jnp.asarray(inputs),
        jnp.asarray(inputs < 0),
      )
      logs = np.asarray(jax.nn.log_softmax(logits))
    return np.take_along_axis(logs, ids[..., None], -1)[..., 0]


def of_words(words: Mapping[Word, float], symbols: int) -> Automaton:
  """A stream of independent words, each closed by one symbol more.

  States are the prefixes of the words, the empty one being the start; the
  symbol with the id `symbols` ends a word and leads back to the start.

  Args:
    words: the probability of each.
    symbols: V of the words' own symbols.

  >>> source = of_words({(0,): 0.5, (0, 1): 0.5}, 2)
  >>> source.probabilities.tolist()
  [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]
  """
  states: dict[Word, int] = {(): 0}
  for word in words:
    for length in range(1, len(word) + 1):
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

  >>> chain = markov({(): [0.5, 0.5], (0,): [0.9, 0.1], (1,): [0.2, 0.8]})
  >>> chain.next_state.tolist()
  [[1, 2], [1, 2], [1, 2]]
  """
  contexts = sorted(conditionals, key=lambda context: (len(context), context))
  order = len(contexts[-1])
  index = {context: place for place, context in enumerate(contexts)}
  rows = np.array([conditionals[context] for context in contexts], float)
  following = np.full(rows.shape, IMPOSSIBLE)
  for context, place in index.items():
    for symbol in np.flatnonzero(rows[place] > 0):
      longer = (*context, int(symbol))
      following[place, symbol] = index[longer[max(0, len(longer) - order) :]]
  return Automaton(following, rows, index[()])


def even_runs() -> Automaton:
  """0s, and 1s in runs of even length: two states, no finite memory.

  After a 0, or an even run, either symbol may come, a fair coin; within a run
  of odd length a 1 must. A context of 1s alone never tells which it is.

  >>> even_runs().probabilities.tolist()
  [[0.5, 0.5], [0.0, 1.0]]
  """
  return Automaton(
    np.array([[0, 1], [IMPOSSIBLE, 0]]),
    np.array([[0.5, 0.5], [0.0, 1.0]]),
  )


def network(source: Automaton) -> Network:
  """The source as a network, exactly.

  >>> network(of_words({(0,): 0.5, (0, 1): 0.5}, 2)).units
  3
  """
  goes = {
    (int(state), int(symbol)): int(source.next_state[state, symbol])
    for state, symbol in np.argwhere(source.next_state != IMPOSSIBLE)
  }
  entered = sorted({(state, symbol) for (_, symbol), state in goes.items()})
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

  >>> saturated(network(of_words({(0,): 1.0}, 1)), 9.0).cell
  'elman'
  """
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


def as_predictor(exact: Network) -> api.SequenceModel:
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

  return api.SequenceModel(
    _apply(exact.cell), initial_carry, init, exact.readout.shape[1]
  )


@functools.cache
def _apply(name: str) -> Callable[..., tuple[Any, jax.Array]]:
  """One function for all networks of a cell, so that it compiles once."""
  cell = cells.get(name)

  def apply(params: Any, carry: Any, inputs: Any, reset: Any) -> Any:
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


def recall(symbols: int, fillers: int) -> dict[Word, float]:
  """The words c, L fillers, c; ids 0 to K - 1 are the c, K is the filler.

  Args:
    symbols: K.
    fillers: L.

  >>> recall(2, 3)
  {(0, 2, 2, 2, 0): 0.5, (1, 2, 2, 2, 1): 0.5}
  """
  return {(c, *([symbols] * fillers), c): 1 / symbols for c in range(symbols)}


# Large enough for exp(-_LARGE) to be 0 in float32, small enough to be summed.
_LARGE = 200.0


def recall_network(symbols: int, fillers: int) -> Network:
  """One word of `recall` with K + 1 units, for any L.

  K units hold c (h' = h + x), one counts the fillers. The readout is linear in
  both: a filler beats all before the count is L, and c beats all at L.

  >>> recall_network(4, 100).units
  5
  """
  width = symbols + 1
  readout, bias = np.zeros((width, width)), np.zeros(width)
  # Of every c: the count rises above 0 between L - 1 and L; of one that is not
  # held, less than the count can give.
  readout[symbols, :symbols] = 2 * _LARGE
  bias[:symbols] = -(2 * fillers - 1) * _LARGE - 4 * _LARGE
  readout[np.arange(symbols), np.arange(symbols)] = 4 * _LARGE
  # Of the filler: far below all others until something is held.
  far = (2 * fillers + 5) * _LARGE
  readout[:symbols, symbols], bias[symbols] = far, -far
  one: Any = np.eye(width)
  zeros: Any = np.zeros(width)
  return Network(
    elman.ElmanParams(one, one, zeros), elman.ElmanCarry(zeros), readout, bias
  )


def entropy(shares: np.ndarray) -> float:
  """-sum p ln p, in nats.

  >>> round(entropy(np.array([0.5, 0.5, 0.0])), 6)
  0.693147
  """
  some = shares[shares > 0]
  return float(-np.sum(some * np.log(some)))


def recall_nats(symbols: int, fillers: int, *, order: int = 0) -> float:
  """Nats a word of `recall`, by formula: of a network, or of the best n-gram.

      network, or n >= L + 2        ln K
      2 <= n <= L + 1               2 ln K + ln m + (m - 1) ln(m / (m - 1))
      n = 1                         2 ln K + 2 ln((L + 2)/2) + L ln((L + 2)/L)

  where m = L - n + 2 is the number of places whose context is n - 1 fillers, at
  one of which the word ends. At n = L + 1 the fillers are counted (m = 1) and
  only c is forgotten.

  Args:
    symbols: K.
    fillers: L.
    order: n; 0 for the network.

  >>> exact, forgetful = recall_nats(2, 8), recall_nats(2, 8, order=9)
  >>> round(math.exp(exact / 10), 3), round(math.exp(forgetful / 10), 3)
  (1.072, 1.149)
  """
  once = math.log(symbols)
  if order == 0 or order >= fillers + 2:
    return once
  if order == 1:
    places = fillers + 2
    return (
      2 * once + 2 * math.log(places / 2) + fillers * math.log(places / fillers)
    )
  alike = fillers - order + 2
  if alike == 1:
    return 2 * once
  count = math.log(alike) + (alike - 1) * math.log(alike / (alike - 1))
  return 2 * once + count


def stationary(source: Automaton) -> np.ndarray:
  """The share of time in each state in the long run, float64 [S].

  Of an automaton in which every state can be reached from every other.

  >>> stationary(even_runs()).round(6).tolist()
  [0.666667, 0.333333]
  """
  count = len(source.probabilities)
  moves = np.zeros((count, count))
  for state, symbol in np.argwhere(source.probabilities > 0):
    onward = source.next_state[state, symbol]
    moves[state, onward] += source.probabilities[state, symbol]
  # pi (P - 1) = 0 with sum(pi) = 1, as one overdetermined system.
  system = np.vstack([moves.T - np.eye(count), np.ones(count)])
  wanted = np.append(np.zeros(count), 1.0)
  return np.linalg.lstsq(system, wanted, rcond=None)[0]


def entropy_rate(source: Automaton) -> float:
  """Nats a symbol of an endless stream: what the exact network pays.

  >>> round(entropy_rate(even_runs()) / math.log(2), 6)
  0.666667
  """
  return float(stationary(source) @ list(map(entropy, source.probabilities)))


def best_ngram_rates(source: Automaton, *, longest: int) -> np.ndarray:
  """Nats a symbol of an endless stream for the best model of each order.

  H(x_n | x_1 .. x_{n-1}) from the stationary state, by adding up all strings.

  Args:
    source: see `stationary`.
    longest: the largest order n.

  Returns:
    float64 [longest], orders 1, 2, ...

  >>> best_ngram_rates(even_runs(), longest=2).round(4).tolist()
  [0.6365, 0.6059]
  """
  # The weight of each state after a string, a row a string.
  belief = stationary(source)[None]
  states, symbols = source.probabilities.shape
  found = []
  for _ in range(longest):
    joint = belief @ source.probabilities  # of the string and the next symbol
    sums = joint.sum(axis=1, keepdims=True)
    found.append(float(sums[:, 0] @ list(map(entropy, joint / sums))))
    longer = np.zeros((symbols, *belief.shape))
    for state in range(states):
      for symbol in np.flatnonzero(source.probabilities[state] > 0):
        weights = belief[:, state] * source.probabilities[state, symbol]
        longer[symbol, :, source.next_state[state, symbol]] += weights
    belief = longer.reshape(-1, states)
    belief = belief[belief.sum(axis=1) > 0]
  return np.array(found)


# sigmoid(+-_SHUT) is 0 or 1 to the last bit of float64.
_SHUT = 1000.0


def latch(gain: float) -> gru.GRUParams:
  """One unit: after the mark h = tanh(gain * value), kept to the last bit.

  Inputs are pairs (value, mark), as of the adding task. The gates are r = 0,
  and z = 0 at the mark, z = 1 before and after.

  >>> params = latch(0.5)
  >>> carry = gru.initial_carry((1,), 1)
  >>> for pair in ([0.3, 0.0], [0.8, 1.0], [0.1, 0.0]):
  ...   carry, h = gru.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]), 6), round(float(jnp.tanh(0.4)), 6)
  (0.379949, 0.379949)
  """
  # Gates are ordered r, z, n; columns are units.
  return gru.GRUParams(
    kernel=jnp.array([[0.0, 0.0, gain], [0.0, -2 * _SHUT, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 3)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0]),
    recurrent_bias=jnp.zeros(1),
  )


def adder(gain: float) -> lstm.LSTMParams:
  """One unit: c is the sum of tanh(gain * value) over the marked steps.

  The gates are f = 1, i = the mark and o = 1, so that h = tanh(c).

  >>> params = adder(1e-2)
  >>> carry = lstm.initial_carry((1,), 1)
  >>> for pair in ([0.5, 1.0], [0.8, 0.0], [0.25, 1.0]):
  ...   carry, h = lstm.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]) / 1e-2, 4)
  0.75
  """
  # Gates are ordered i, f, g, o.
  return lstm.LSTMParams(
    kernel=jnp.array([[0.0, 0.0, gain, 0.0], [2 * _SHUT, 0.0, 0.0, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 4)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0, _SHUT]),
    peephole=None,
  )
