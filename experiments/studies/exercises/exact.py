"""Networks set by hand that are exact: automata, finite languages, gates.

Recurrent networks that are exact by construction: automata in ReLU units.

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

What n-grams and recurrent networks can say of a source, in closed form.

A model of order n gives the next symbol a distribution that depends on nothing
but the n - 1 symbols before it. The best of all such models is the source's own
conditional distribution; what that costs is a bound which no counting,
smoothing or training can beat:

    sum over contexts u of n - 1 symbols, of E[c(u)] H(next | u).

The language of recall makes the bound visible: a symbol c, one of K alike, then
L fillers, then c again. All there is to know is c, ln K nats a word. A context
that does not reach back to c pays for it twice, and where it cannot count the
fillers it pays for the end of the word as well. A network needs K units that
hold c and one that counts, for any L (`recall_network`).

Gated cells with weights set by hand: what gates are for.

Inputs are pairs (value, mark), as of the adding task. A saturated gate is 0 or
1 to the last bit, so these hold for any number of steps:

    latch   a GRU that takes the value at the mark and nothing else:
            r = 0, z = 0 at the mark, z = 1 before and after
    adder   an LSTM that sums the marked values: f = 1, i = the mark

With a gain a the values pass the tanh of a cell as tanh(a v) / a, which is off
by (a v)^2 / 3 of itself.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, gru, lstm, ops, scan
from seqmodels.io import results
from seqmodels.models import api, ngram
from seqmodels.plotting import style

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


# Large enough for exp(-_LARGE) to be 0 in float32, small enough to be summed.
_LARGE = 200.0


def entropy(words: Mapping[Word, float]) -> float:
  """-sum p ln p, nats a word: the least that any model of the words can pay.

  >>> round(entropy({(0,): 0.5, (1,): 0.5}), 6)
  0.693147
  """
  return _entropy(np.array(list(words.values())))


def best_ngram(words: Mapping[Word, float], *, order: int) -> float:
  """Nats a word that the best model of order n pays, at least.

  A word begins with a boundary that a context may see. The end of a word is not
  predicted here; give words an end of their own where it should be.

  Args:
    words: the probability of each.
    order: n.

  Raises:
    UserError: an order below 1.

  >>> words = {(0, 2, 0): 0.5, (1, 2, 1): 0.5}
  >>> [round(best_ngram(words, order=n) / math.log(2), 3) for n in (2, 3)]
  [2.0, 1.0]
  """
  if order < 1:
    raise errors.UserError(f"the n-gram order is {order}; give at least 1")
  counts: dict[Word, dict[int, float]] = {}
  for word, share in words.items():
    for place, symbol in enumerate(word):
      history = (-1, *word[:place])
      context = history[max(0, len(history) - (order - 1)) :]
      if order == 1:
        context = ()
      seen = counts.setdefault(context, {})
      seen[symbol] = seen.get(symbol, 0.0) + share
  total = 0.0
  for seen in counts.values():
    found = np.array(list(seen.values()))
    total += found.sum() * _entropy(found / found.sum())
  return float(total)


def recall(symbols: int, fillers: int) -> dict[Word, float]:
  """The words c, L fillers, c; ids 0 to K - 1 are the c, K is the filler.

  Args:
    symbols: K.
    fillers: L.

  Raises:
    UserError: fewer than 1 of either.

  >>> recall(2, 3)
  {(0, 2, 2, 2, 0): 0.5, (1, 2, 2, 2, 1): 0.5}
  """
  if symbols < 1 or fillers < 1:
    raise errors.UserError(
      f"recall of {symbols} symbols over {fillers} fillers; both must be at "
      "least 1"
    )
  return {(c, *([symbols] * fillers), c): 1 / symbols for c in range(symbols)}


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


def recall_network(symbols: int, fillers: int) -> Network:
  """One word of `recall` with K + 1 units, for any L.

  K units hold c (h' = h + x), one counts the fillers. The readout is linear in
  both: a filler beats all before the count is L, and c beats all at L.

  >>> recall_network(4, 100).units
  5
  """
  recall(symbols, fillers)  # refuses what is none
  width = symbols + 1
  readout = np.zeros((width, symbols + 1))
  bias = np.zeros(symbols + 1)
  # Of every c: the count rises above 0 between L - 1 and L; of one that is not
  # held, less than the count can give.
  readout[symbols, :symbols] = 2 * _LARGE
  bias[:symbols] = -(2 * fillers - 1) * _LARGE - 4 * _LARGE
  readout[np.arange(symbols), np.arange(symbols)] = 4 * _LARGE
  # Of the filler: far below all others until something is held.
  far = (2 * fillers + 5) * _LARGE
  readout[:symbols, symbols], bias[symbols] = far, -far
  taken: Any = np.eye(symbols + 1, width)
  held: Any = np.eye(width)
  zeros: Any = np.zeros(width)
  return Network(
    elman.ElmanParams(taken, held, zeros),
    elman.ElmanCarry(zeros),
    readout,
    bias,
  )


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


def stationary(source: Automaton) -> np.ndarray:
  """The share of time in each state in the long run, float64 [S].

  Of an automaton in which every state can be reached from every other.

  >>> stationary(even_runs()).round(6).tolist()
  [0.666667, 0.333333]
  """
  check(source)
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
  shares = stationary(source)
  rows = [_entropy(row) for row in source.probabilities]
  return float(shares @ np.array(rows))


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
  found = []
  for _ in range(longest):
    joint = belief @ source.probabilities  # of the string and the next symbol
    sums = joint.sum(axis=1, keepdims=True)
    shares = joint / np.where(sums > 0, sums, 1)
    found.append(float(sums[:, 0] @ [_entropy(row) for row in shares]))
    belief = np.concatenate(
      [_moved(source, belief, symbol) for symbol in range(joint.shape[1])]
    )
    belief = belief[belief.sum(axis=1) > 0]
  return np.array(found)


def _moved(source: Automaton, belief: np.ndarray, symbol: int) -> np.ndarray:
  after = np.zeros_like(belief)
  for state in np.flatnonzero(source.probabilities[:, symbol] > 0):
    onward = source.next_state[state, symbol]
    after[:, onward] += belief[:, state] * source.probabilities[state, symbol]
  return after


def _entropy(shares: np.ndarray) -> float:
  some = shares[shares > 0]
  return float(-np.sum(some * np.log(some)))


# sigmoid(+-_SHUT) is 0 or 1 to the last bit of float64.
_SHUT = 1000.0


def latch(gain: float = 1e-2) -> gru.GRUParams:
  """One unit: after the mark h = tanh(gain * value), kept to the last bit.

  Args:
    gain: divides what is read out.

  Raises:
    UserError: a gain not above 0.

  >>> params = latch(0.5)
  >>> carry = gru.initial_carry((1,), 1)
  >>> for pair in ([0.3, 0.0], [0.8, 1.0], [0.1, 0.0]):
  ...   carry, h = gru.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]), 6), round(float(jnp.tanh(0.4)), 6)
  (0.379949, 0.379949)
  """
  _check(gain)
  # Gates stand as r, z, n; columns are units.
  return gru.GRUParams(
    kernel=jnp.array([[0.0, 0.0, gain], [0.0, -2 * _SHUT, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 3)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0]),
    recurrent_bias=jnp.zeros(1),
  )


def adder(gain: float = 1e-2) -> lstm.LSTMParams:
  """One unit: c is the sum of tanh(gain * value) over the marked steps.

  The output gate is open, so that h = tanh(c).

  Args:
    gain: divides what is read out.

  Raises:
    UserError: a gain not above 0.

  >>> params = adder()
  >>> carry = lstm.initial_carry((1,), 1)
  >>> for pair in ([0.5, 1.0], [0.8, 0.0], [0.25, 1.0]):
  ...   carry, h = lstm.step(params, carry, jnp.array([pair]))
  >>> round(float(h[0, 0]) / 1e-2, 4)
  0.75
  """
  _check(gain)
  # Gates stand as i, f, g, o.
  return lstm.LSTMParams(
    kernel=jnp.array([[0.0, 0.0, gain, 0.0], [2 * _SHUT, 0.0, 0.0, 0.0]]),
    recurrent_kernel=jnp.zeros((1, 4)),
    bias=jnp.array([-_SHUT, _SHUT, 0.0, _SHUT]),
    peephole=None,
  )


def _check(gain: float) -> None:
  if not gain > 0:
    raise errors.UserError(f"the gain is {gain}; it must be above 0")


_GAINS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def represented(study: run.Study) -> list[results.Row]:
  """Any language of finitely many words, and any finite memory."""
  page, settings = study.lesson, study.config.settings
  random = study.random
  page.section(
    "A network that represents a language exactly",
    """
    Can a recurrent network hold the distribution of a language of finitely many
    words without any error? Yes, and its weights can be written down. Let the
    states be the prefixes of the words, which form a tree: the state and the
    next symbol decide the next state. Give each state one rectified unit that
    is 1 while the network is in it:
    """,
  )
  page.shown(
    """
    h_t[s'] = max(0,  sum_{s -> s'} h_{t-1}[s]  +  x_t[symbol of s']  -  1)

    logits  = the row log P(next | s) of the one unit that is on
    """
  )
  page.say(
    """
    The sum is 2 only where the unit's parent was on and its symbol has come;
    minus 1 that leaves 1, and all others are cut to 0. States that different
    symbols lead to get a unit for each. The same works for a chain of order k,
    whose states are the contexts of k symbols, and for every source with
    finitely many states.
    """
  )
  symbols, length = settings.symbols, settings.word_length
  words = _random_words(random, symbols, length)
  tree = of_words(words, symbols)
  chain = _random_chain(random, symbols, settings.order)
  recalled = recall(settings.recall_symbols, settings.fillers)
  tree_ids = np.array([(*word, symbols) for word in words]).T
  chain_ids = random.integers(symbols, size=(40, 50))
  recall_ids = np.array(list(recalled)).T
  cases: list[tuple[str, Network, np.ndarray, np.ndarray]] = [
    (
      f"all {len(words)} strings of {length} symbols, {symbols} kinds, drawn "
      "probabilities",
      network(tree),
      tree_ids,
      _by_walking(tree, tree_ids),
    ),
    (
      f"a chain of order {settings.order}, {symbols} kinds",
      network(markov(chain)),
      chain_ids,
      _of_chain(chain, settings.order, chain_ids),
    ),
    (
      f"c, {settings.fillers} fillers, c again; {settings.recall_symbols} "
      "kinds of c",
      recall_network(settings.recall_symbols, settings.fillers),
      recall_ids,
      _of_recall(recall_ids, settings.recall_symbols),
    ),
  ]
  body = []
  for name, exact, ids, want in cases:
    found = log_shares(exact, ids)
    body.append(
      [name, exact.units, f"{ids.size:,}", float(np.abs(found - want).max())]
    )
  page.table(
    ("source", "units", "symbols scored", "largest error of log P"), body
  )
  page.say(
    f"""
    Float64 leaves errors of the size of its last bits. The third network counts
    instead of keeping a state for each place: one unit a kind of c holds it,
    one counts the fillers, whatever their number, and a linear readout compares
    the count with its limit. A shift register, h_t = [x_t, all but the last
    block of h_(t-1)], is the plainest of all: {settings.order} blocks of
    {symbols} units hold the last {settings.order} symbols, found exact in
    {_register(random, symbols, settings.order)} of its readings.
    """
  )
  _saturation(study, network(markov(chain)), chain_ids)
  return _rows(settings, recall_ids)


def log_shares(exact: Network, ids: np.ndarray) -> np.ndarray:
  """log P of each symbol [T, B] given those before it, in float64."""
  with jax.enable_x64(True):
    model = as_predictor(exact)
    inputs = np.concatenate([np.full_like(ids[:1], -1), ids[:-1]])
    _, logits = jax.jit(model.apply)(
      model.init(jax.random.key(0)),
      model.initial_carry(ids.shape[1]),
      jnp.asarray(inputs),
      jnp.asarray(inputs < 0),
    )
  logits = np.asarray(logits)
  below = logits - logits.max(axis=-1, keepdims=True)
  logs = below - np.log(np.exp(below).sum(axis=-1, keepdims=True))
  return np.take_along_axis(logs, ids[..., None], -1)[..., 0]


def _random_words(
  random: np.random.Generator, symbols: int, length: int
) -> dict[Word, float]:
  strings = list(itertools.product(range(symbols), repeat=length))
  shares = random.dirichlet(np.ones(len(strings)))
  return dict(zip(strings, shares.tolist(), strict=True))


def _random_chain(
  random: np.random.Generator, symbols: int, order: int
) -> dict[Word, np.ndarray]:
  return {
    context: random.dirichlet(np.ones(symbols))
    for length in range(order + 1)
    for context in itertools.product(range(symbols), repeat=length)
  }


def _by_walking(source: Automaton, ids: np.ndarray) -> np.ndarray:
  """log P [T, B] by going from state to state."""
  found = np.zeros(ids.shape)
  states = np.full(ids.shape[1], source.start)
  for place, symbols in enumerate(ids):
    found[place] = np.log(source.probabilities[states, symbols])
    states = source.next_state[states, symbols]
  return found


def _of_chain(
  chain: Mapping[Word, np.ndarray], order: int, ids: np.ndarray
) -> np.ndarray:
  """log P [T, B] looked up by context."""
  found = np.zeros(ids.shape)
  for place, row in np.ndindex(ids.shape):
    context = tuple(ids[max(0, place - order) : place, row].tolist())
    found[place, row] = math.log(chain[context][ids[place, row]])
  return found


def _of_recall(ids: np.ndarray, symbols: int) -> np.ndarray:
  """log P [T, B]: 1/K at first, and certainty after."""
  found = np.zeros(ids.shape)
  found[0] = -math.log(symbols)
  return found


def _register(random: np.random.Generator, symbols: int, length: int) -> str:
  """How many readings of a shift register are right."""
  ids = random.integers(symbols, size=(50, 1))
  params = shift_register(symbols, length)
  carry = elman.ElmanCarry(jnp.zeros((1, symbols * length)))

  def step(params: Any, carry: Any, x: Any) -> Any:
    return elman.step(params, carry, x, activation="relu")

  arrays = jax.tree.map(jnp.float32, params)
  hs = np.asarray(scan.unroll(step, arrays, carry, jnp.asarray(ids))[1])
  blocks = hs[:, 0].reshape(50, length, symbols)
  right = [
    np.array_equal(blocks[place, back], np.eye(symbols)[ids[place - back, 0]])
    for place in range(length - 1, 50)
    for back in range(length)
  ]
  return f"{sum(right)} of {len(right)}"


def _saturation(study: run.Study, exact: Network, ids: np.ndarray) -> None:
  """tanh units come as near as their gain."""
  page = study.lesson
  want = log_shares(exact, ids)
  gaps = [
    float(np.abs(log_shares(saturated(exact, gain), ids) - want).max())
    for gain in _GAINS
  ]
  page.say(
    f"""
    With tanh in place of the rectifier no unit is ever quite on or off. Steep
    units, h = tanh(gain (2 s - 1)) with s the sum above, come as near as one
    likes: the largest error of log P for the chain is {gaps[0]:.2g} at a gain
    of {_GAINS[0]:g} and {gaps[-1]:.1g} at {_GAINS[-1]:g}. It falls as exp(-2
    gain), and it is exact in the limit only.
    """
  )
  path = page.figure(
    "saturation",
    "The chain in tanh units: largest error of log P by the gain, beside "
    "exp(-2 gain).",
  )
  with style.axes(path, "tanh is exact only in the limit") as pair:
    pair.plot(_GAINS, gaps, "o", color=style.COLOURS[0], ms=5, label="error")
    steep = np.array(_GAINS)
    # Through the middle of the range, where neither end bends it.
    middle = len(_GAINS) // 2
    line = gaps[middle] * np.exp(-2 * (steep - steep[middle]))
    pair.plot(steep, line, "--", color=style.GREY, label="as exp(-2 gain)")
    pair.set_yscale("log")
    pair.set_xlabel("gain")
    pair.set_ylabel("largest |error of log P|")
    pair.legend(frameon=False, fontsize=9)


def _rows(settings: Any, ids: np.ndarray) -> list[results.Row]:
  exact = recall_network(settings.recall_symbols, settings.fillers)
  nats = float(-log_shares(exact, ids).sum(axis=0).mean())
  name = f"exact network, K = {settings.recall_symbols}, L = {settings.fillers}"
  return [row(name, nats, len(ids))]


def row(name: str, nats: float, tokens: int) -> results.Row:
  """The perplexity of words of so many symbols."""
  return results.row(
    name,
    split="language",
    evaluation="enumerated",
    metric="perplexity",
    value=math.exp(nats / tokens),
    count=tokens,
    seconds=0.0,
  )


_DRAWN = 2_000  # words to fit n-grams to, and as many to score


def beyond_ngrams(study: run.Study) -> list[results.Row]:
  """The bound that no model of n symbols can beat."""
  page, settings = study.lesson, study.config.settings
  symbols, fillers = settings.recall_symbols, settings.fillers
  page.section(
    "What no n-gram can do",
    """
    An n-gram predicts from the last n - 1 symbols. Take the language "c, then L
    fillers, then c again", c one of K kinds. After the fillers every word looks
    the same to a context of less than L + 1 symbols, so whatever probabilities
    it holds, it must guess c a second time; and one that does not see all the
    fillers cannot tell either when they end. The best n-gram of all is the
    conditional distribution itself, so its cost is known without fitting any:
    """,
  )
  page.shown(
    """
    network, or n >= L + 2      ln K                      nats a word
    n = L + 1                   2 ln K                    c is forgotten
    2 <= n <= L                 2 ln K + ln m + (m - 1) ln(m / (m - 1)),
                                m = L - n + 2             and so is the count
    """
  )
  tokens = fillers + 2
  orders = sorted({1, 2, 3, fillers, fillers + 1, fillers + 2})
  fitted = _fitted(study, symbols, fillers, orders)
  words = recall(symbols, fillers)
  # A fitted model reads a stream of words and has their end to predict, too.
  closed = {(*word, symbols + 1): share for word, share in words.items()}
  body: list[list[Any]] = []
  for order in orders:
    nats = recall_nats(symbols, fillers, order=order)
    body.append(
      [
        f"{order}-gram",
        nats,
        best_ngram(words, order=order),
        math.exp(nats / tokens),
        best_ngram(closed, order=order),
        fitted[order],
      ]
    )
  exact = recall_nats(symbols, fillers)
  measured = _measured(symbols, fillers)
  body.append(
    [
      f"network of {symbols + 1} units",
      exact,
      measured,
      math.exp(exact / tokens),
      "",
      "",
    ]
  )
  page.table(
    (
      f"K = {symbols}, L = {fillers}",
      "nats a word, formula",
      "by enumeration; the network by running it",
      "perplexity a symbol",
      "bound with an end of word",
      "Kneser-Ney, with an end of word",
    ),
    body,
  )
  beyond = [fitted[order] - best_ngram(closed, order=order) for order in orders]
  page.say(
    f"""
    The network pays ln {symbols} = {exact:.4f} nats; the {fillers + 1}-gram
    {recall_nats(symbols, fillers, order=fillers + 1):.4f}. The
    bound is not a matter of how the model is fitted. Kneser-Ney models of
    {_DRAWN:,} drawn words, scored on as many others, with a symbol more that
    ends each word, come to {min(beyond):+.3f} to {max(beyond):+.3f} nats from
    it: below 0 only as far as chance has drawn one word more often than
    another. A {fillers + 2}-gram can
    do it with a table of contexts as long as the word; the network needs one
    unit for every kind and one for the count, for any L.
    """
  )
  page.say(
    """
    Longer contexts close the gap there, because the words end. They need not.
    In the second language 1s come in runs of even length between 0s. The
    parity of the run is all there is to know, two states; but a context of
    nothing but 1s, however long, does not tell it.
    """
  )
  source = even_runs()
  rate = entropy_rate(source)
  rates = best_ngram_rates(source, longest=settings.longest)
  page.table(
    ("even runs", "nats a symbol", "more than the network"),
    [
      [f"best {n}-gram", float(rates[n - 1]), float(rates[n - 1] - rate)]
      for n in (1, 2, 4, 8, settings.longest)
      if n <= settings.longest
    ]
    + [[f"network of {network(source).units} units", rate, 0.0]],
  )
  _figure_of_orders(study, rates, rate)
  return [
    row(f"best {n}-gram, K = {symbols}, L = {fillers}", nats, tokens)
    for n in (fillers + 1,)
    for nats in [recall_nats(symbols, fillers, order=n)]
  ]


def _measured(symbols: int, fillers: int) -> float:
  """Nats a word of the network, by running it over all words."""
  ids = np.array(list(recall(symbols, fillers))).T
  exact = recall_network(symbols, fillers)
  return float(-log_shares(exact, ids).sum(axis=0).mean())


def _fitted(
  study: run.Study, symbols: int, fillers: int, orders: list[int]
) -> dict[int, float]:
  """Nats a word and its end of smoothed n-grams, on drawn words."""
  words = np.array(list(recall(symbols, fillers)))
  ends = np.full((_DRAWN, 1), symbols + 1)
  random, texts = study.random, []
  for _ in range(2):
    drawn = words[random.integers(symbols, size=_DRAWN)]
    texts.append(np.concatenate([drawn, ends], axis=1).ravel())
  found = {}
  for order in orders:
    model = ngram.NGram.fit(
      texts[0], symbols + 2, order=order, sentence_end=symbols + 1
    )
    nats = model.nats(texts[1]).reshape(_DRAWN, -1)
    found[order] = float(nats.sum(axis=1).mean())
  return found


def _figure_of_orders(study: run.Study, rates: np.ndarray, rate: float) -> None:
  settings = study.config.settings
  path = study.lesson.figure(
    "orders",
    "What the best n-gram pays beyond the exact network. Left: a word of the "
    "first language, for several numbers of fillers. Right: a symbol of the "
    "second, on a logarithmic scale.",
  )
  with style.figure(path, height=3.6) as drawing:
    left, right = drawing.subplots(1, 2)
    for pair in (left, right):
      style.clean(pair)
      pair.set_xlabel("order n")
    symbols = settings.recall_symbols
    for fillers, colour in zip(
      sorted({2, 5, settings.fillers}), style.COLOURS, strict=False
    ):
      orders = np.arange(1, settings.fillers + 4)
      exact = recall_nats(symbols, fillers)
      excess = [
        recall_nats(symbols, fillers, order=int(n)) - exact for n in orders
      ]
      left.plot(
        orders, excess, "o-", ms=4, color=colour, label=f"L = {fillers}"
      )
    left.axhline(
      math.log(symbols),
      color=style.GREY,
      ls="--",
      lw=1.2,
      label=f"ln {symbols}",
    )
    left.set_ylabel("nats a word beyond the network")
    left.legend(frameon=False, fontsize=9)
    left.set_title("c, L fillers, c again", fontsize=10)
    right.plot(
      np.arange(1, len(rates) + 1),
      rates - rate,
      "o-",
      ms=4,
      color=style.COLOURS[0],
    )
    right.set_yscale("log")
    right.set_ylabel("nats a symbol beyond the network")
    right.set_title("1s in even runs", fontsize=10)
