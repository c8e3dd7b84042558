"""Networks set by hand that are exact, and the bounds of what counting can do.

A source with finitely many states becomes a plain Elman network with the
rectifier: one unit for each pair of a state s and a symbol v that enters it,
which is 1 after v has led into s and 0 at all other times:

    h'[s, v] = max(0, sum_{u: u --v--> s} h[u] + x[v] - 1)

One unit more marks the start: it fires where nothing was read and nothing was
active, so the network begins, like any other of this library, from the zero
state and the null vector. A unit's row of the readout is log P(next | state).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies.common import chains
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, gru, lstm

IMPOSSIBLE = -1
# The log-probability of what cannot come: its exponential is 0 in any format.
FLOOR = -1e4

Word = tuple[int, ...]


class Automaton(NamedTuple):
  """A source in which the symbol decides the next state."""

  # int [S, V], `IMPOSSIBLE` where the symbol cannot come.
  next_state: np.ndarray
  probabilities: np.ndarray  # float64 [S, V]; rows sum to 1
  start: int = 0  # the first state

  def log_shares(self, ids: np.ndarray) -> np.ndarray:
    """log P of each symbol [T, B] given those before it."""
    result, states = np.zeros(ids.shape), np.full(ids.shape[1], self.start)
    for place, symbols in enumerate(ids):
      result[place] = np.log(self.probabilities[states, symbols])
      states = self.next_state[states, symbols]
    return result


class Network(NamedTuple):
  """A one-layer Elman network with a linear readout, in float64."""

  params: elman.ElmanParams  # of the cell
  start: np.ndarray  # the state before the first symbol, h [H]
  readout: np.ndarray  # [H, V]
  bias: np.ndarray  # [V]
  # Its name in `cells.cell.CELLS`, "elman_relu" or "elman".
  cell: str = "elman_relu"

  @property
  def units(self) -> int:
    """H."""
    return len(self.start)

  def log_shares(self, ids: np.ndarray) -> np.ndarray:
    """log P of each symbol [T, B] given those before it."""
    inputs = np.concatenate([np.full_like(ids[:1], -1), ids[:-1]])
    with jax.enable_x64(True):
      h = jnp.tile(self.start, (ids.shape[1], 1))
      _, hs = jax.jit(cells.get(self.cell).sequence)(
        self.params, elman.ElmanCarry(h), jnp.asarray(inputs)
      )
      logits = np.asarray(hs) @ self.readout + self.bias
      logs = np.asarray(jax.nn.log_softmax(logits))
    return np.take_along_axis(logs, ids[..., None], -1)[..., 0]


def of_words(words: Mapping[Word, float], symbols: int) -> Automaton:
  """A stream of independent words of V symbols, each closed by the symbol V.

  States are the prefixes of the words, the empty one being the start, to which
  the end of a word leads back.

  >>> source = of_words({(0,): 0.5, (0, 1): 0.5}, 2)
  >>> source.probabilities.tolist()
  [[1.0, 0.0, 0.0], [0.0, 0.5, 0.5], [0.0, 0.0, 1.0]]
  """
  masses: dict[Word, np.ndarray] = {}
  for word, mass in words.items():
    for place, symbol in enumerate((*word, symbols) if mass else ()):
      row = masses.setdefault(word[:place], np.zeros(symbols + 1))
      row[symbol] += mass
  return _automaton(
    {prefix: row / row.sum() for prefix, row in masses.items()},
    lambda read: () if read[-1] == symbols else read,
  )


def markov(
  conditionals: Mapping[Word, Sequence[float] | np.ndarray],
) -> Automaton:
  """The chain whose next symbol depends on the last k symbols.

  Distributions [V] come by context; those shorter than k stand for the
  beginning, the empty one for the very first symbol.

  >>> chain = markov({(): [0.5, 0.5], (0,): [0.9, 0.1], (1,): [0.2, 0.8]})
  >>> chain.next_state.tolist()
  [[1, 2], [1, 2], [1, 2]]
  """
  order = max(map(len, conditionals))
  return _automaton(
    conditionals, lambda read: read[max(0, len(read) - order) :]
  )


def _automaton(
  conditionals: Mapping[Word, Any], after: Callable[[Word], Word]
) -> Automaton:
  """Distributions [V] by state; a state and a symbol more lead to `after`."""
  index = {state: place for place, state in enumerate(conditionals)}
  rows = np.array(list(conditionals.values()), float)
  following = np.full(rows.shape, IMPOSSIBLE)
  for state, place in index.items():
    for symbol in np.flatnonzero(rows[place] > 0):
      following[place, symbol] = index[after((*state, int(symbol)))]
  return Automaton(following, rows, index[()])


def even_runs() -> chains.HiddenMarkov:
  """0s, and 1s in runs of even length: no finite memory.

  After a 0, or an even run, either symbol may come, a fair coin; after an odd
  number of 1s another must. The states are these three; a context of 1s alone
  never tells the last two apart.

  >>> even_runs().entropy_by_window(1).round(4).tolist()
  [0.6365, 0.6059]
  """
  coin, must = [0.5, 0.0, 0.5], [0.0, 1.0, 0.0]
  return chains.HiddenMarkov(
    np.full(3, 1 / 3),
    np.array([coin, coin, must]),
    np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]),
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
    np.zeros(width),
    rows[units],
    np.zeros(symbols),
  )


def saturated(exact: Network, gain: float) -> Network:
  """The same in tanh units of -1 and 1, exact only as the gain grows.

      h = tanh(gain (2 s - 1)),   s the net input of the rectifier

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
    2 * exact.start - 1,
    exact.readout / 2,
    exact.bias + exact.readout.sum(axis=0) / 2,
    cell="elman",
  )


def recall(symbols: int, fillers: int) -> dict[Word, float]:
  """The words c, L fillers, c; ids 0 to K - 1 are the c, K is the filler.

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
  params = elman.ElmanParams(one, one, zeros)
  return Network(params, np.zeros(width), readout, bias)


def recall_nats(symbols: int, fillers: int, *, order: int = 0) -> float:
  """Nats a word of `recall`, by formula: of the best n-gram, or of a network.

      network, or n >= L + 2        ln K
      2 <= n <= L + 1               2 ln K + ln m + (m - 1) ln(m / (m - 1))
      n = 1                         2 ln K + 2 ln((L + 2)/2) + L ln((L + 2)/L)

  where m = L - n + 2 is the number of places whose context is n - 1 fillers, at
  one of which the word ends. At n = L + 1 the fillers are counted (m = 1) and
  only c is forgotten. The network's order is 0.

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
  same = fillers - order + 2
  if same == 1:
    return 2 * once
  count = math.log(same) + (same - 1) * math.log(same / (same - 1))
  return 2 * once + count


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
