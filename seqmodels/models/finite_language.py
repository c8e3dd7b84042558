"""What n-grams and recurrent networks can say of a source, in closed form.

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
"""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.cells import elman
from seqmodels.models import automaton

# Large enough for exp(-_LARGE) to be 0 in float32, small enough to be summed.
_LARGE = 200.0


def entropy(words: Mapping[automaton.Word, float]) -> float:
  """-sum p ln p, nats a word: the least that any model of the words can pay.

  >>> round(entropy({(0,): 0.5, (1,): 0.5}), 6)
  0.693147
  """
  return _entropy(np.array(list(words.values())))


def best_ngram(words: Mapping[automaton.Word, float], *, order: int) -> float:
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
  counts: dict[automaton.Word, dict[int, float]] = {}
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


def recall(symbols: int, fillers: int) -> dict[automaton.Word, float]:
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


def recall_network(symbols: int, fillers: int) -> automaton.Network:
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
  return automaton.Network(
    elman.ElmanParams(taken, held, zeros),
    elman.ElmanCarry(zeros),
    readout,
    bias,
  )


def even_runs() -> automaton.Automaton:
  """0s, and 1s in runs of even length: two states, no finite memory.

  After a 0, or an even run, either symbol may come, a fair coin; within a run
  of odd length a 1 must. A context of 1s alone never tells which it is.

  >>> even_runs().probabilities.tolist()
  [[0.5, 0.5], [0.0, 1.0]]
  """
  return automaton.Automaton(
    np.array([[0, 1], [automaton.IMPOSSIBLE, 0]]),
    np.array([[0.5, 0.5], [0.0, 1.0]]),
  )


def stationary(source: automaton.Automaton) -> np.ndarray:
  """The share of time in each state in the long run, float64 [S].

  Of an automaton in which every state can be reached from every other.

  >>> stationary(even_runs()).round(6).tolist()
  [0.666667, 0.333333]
  """
  automaton.check(source)
  count = len(source.probabilities)
  moves = np.zeros((count, count))
  for state, symbol in np.argwhere(source.probabilities > 0):
    onward = source.next_state[state, symbol]
    moves[state, onward] += source.probabilities[state, symbol]
  # pi (P - 1) = 0 with sum(pi) = 1, as one overdetermined system.
  system = np.vstack([moves.T - np.eye(count), np.ones(count)])
  wanted = np.append(np.zeros(count), 1.0)
  return np.linalg.lstsq(system, wanted, rcond=None)[0]


def entropy_rate(source: automaton.Automaton) -> float:
  """Nats a symbol of an endless stream: what the exact network pays.

  >>> round(entropy_rate(even_runs()) / math.log(2), 6)
  0.666667
  """
  shares = stationary(source)
  rows = [_entropy(row) for row in source.probabilities]
  return float(shares @ np.array(rows))


def best_ngram_rates(
  source: automaton.Automaton, *, longest: int
) -> np.ndarray:
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


def _moved(
  source: automaton.Automaton, belief: np.ndarray, symbol: int
) -> np.ndarray:
  after = np.zeros_like(belief)
  for state in np.flatnonzero(source.probabilities[:, symbol] > 0):
    onward = source.next_state[state, symbol]
    after[:, onward] += belief[:, state] * source.probabilities[state, symbol]
  return after


def _entropy(shares: np.ndarray) -> float:
  some = shares[shares > 0]
  return float(-np.sum(some * np.log(some)))
