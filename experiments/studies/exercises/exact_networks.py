"""Networks set by hand that say exactly what a source says."""

import itertools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from seqmodels.cells import elman, scan
from seqmodels.io import results
from seqmodels.models import automaton, finite_language
from seqmodels.plotting import style

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
  tree = automaton.of_words(words, symbols)
  chain = _random_chain(random, symbols, settings.order)
  recall = finite_language.recall(settings.recall_symbols, settings.fillers)
  tree_ids = np.array([(*word, symbols) for word in words]).T
  chain_ids = random.integers(symbols, size=(40, 50))
  recall_ids = np.array(list(recall)).T
  cases: list[tuple[str, automaton.Network, np.ndarray, np.ndarray]] = [
    (
      f"all {len(words)} strings of {length} symbols, {symbols} kinds, drawn "
      "probabilities",
      automaton.network(tree),
      tree_ids,
      _by_walking(tree, tree_ids),
    ),
    (
      f"a chain of order {settings.order}, {symbols} kinds",
      automaton.network(automaton.markov(chain)),
      chain_ids,
      _of_chain(chain, settings.order, chain_ids),
    ),
    (
      f"c, {settings.fillers} fillers, c again; {settings.recall_symbols} "
      "kinds of c",
      finite_language.recall_network(settings.recall_symbols, settings.fillers),
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
  _saturation(study, automaton.network(automaton.markov(chain)), chain_ids)
  return _rows(settings, recall_ids)


def log_shares(exact: automaton.Network, ids: np.ndarray) -> np.ndarray:
  """log P of each symbol [T, B] given those before it, in float64."""
  with jax.enable_x64(True):
    model = automaton.as_predictor(exact)
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
) -> dict[automaton.Word, float]:
  strings = list(itertools.product(range(symbols), repeat=length))
  shares = random.dirichlet(np.ones(len(strings)))
  return dict(zip(strings, shares.tolist(), strict=True))


def _random_chain(
  random: np.random.Generator, symbols: int, order: int
) -> dict[automaton.Word, np.ndarray]:
  return {
    context: random.dirichlet(np.ones(symbols))
    for length in range(order + 1)
    for context in itertools.product(range(symbols), repeat=length)
  }


def _by_walking(source: automaton.Automaton, ids: np.ndarray) -> np.ndarray:
  """log P [T, B] by going from state to state."""
  found = np.zeros(ids.shape)
  states = np.full(ids.shape[1], source.start)
  for place, symbols in enumerate(ids):
    found[place] = np.log(source.probabilities[states, symbols])
    states = source.next_state[states, symbols]
  return found


def _of_chain(
  chain: Mapping[automaton.Word, np.ndarray], order: int, ids: np.ndarray
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
  params = automaton.shift_register(symbols, length)
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


def _saturation(
  study: run.Study, exact: automaton.Network, ids: np.ndarray
) -> None:
  """tanh units come as near as their gain."""
  page = study.lesson
  want = log_shares(exact, ids)
  gaps = [
    float(
      np.abs(log_shares(automaton.saturated(exact, gain), ids) - want).max()
    )
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
  exact = finite_language.recall_network(
    settings.recall_symbols, settings.fillers
  )
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
