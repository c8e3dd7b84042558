"""Networks that read in both directions, and what a network may see.

Every output of a bidirectional layer (Schuster and Paliwal, 1997) has seen
every input. So it serves to encode, to tag and to fill blanks, and is no
language model: that may use the symbols before the one that it predicts, and no
others.
"""

import functools
import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import (
  chains,
  figures,
  gradient_reach,
  training,
)
from seqmodels import losses, units
from seqmodels.cells import cell as cells
from seqmodels.cells import ops
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.layers import embedding, recurrent
from seqmodels.models import networks
from seqmodels.plotting import style


class Bidirectional(nn.Module):
  """A stack of bidirectional layers, time-major.

  >>> stack = Bidirectional(features=(4, 4), in_features=9)
  >>> ids = jnp.zeros((5, 2), int)  # [T, B]
  >>> variables = stack.init(jax.random.key(0), ids)
  >>> stack.apply(variables, ids).shape
  (5, 2, 8)
  """

  features: tuple[int, ...]  # H of each layer and direction, lowest first
  # D: the number of symbols for ids, the width for dense input.
  in_features: int
  cell: str = "gru"  # a name in `cells.cell.CELLS`

  @nn.compact
  def __call__(
    self, inputs: ops.Inputs, lengths: jax.Array | None = None
  ) -> jax.Array:
    """The outputs of the top layer, [T, B, 2 H], of ids or dense vectors.

    Steps at or past a row's length are padding: they yield zeros and reach no
    other step, whatever they hold. The backward half starts at the last step
    inside.
    """
    below, width = inputs, self.in_features
    for index, features in enumerate(self.features):
      halves = [
        recurrent.RecurrentLayer(
          features=features,
          cell=cells.get(self.cell),
          in_features=width,
          time_major=True,
          reverse=direction == "backward",
          name=f"{direction}_{index}",
        )(below, seq_lengths=lengths)
        for direction in ("forward", "backward")
      ]
      below, width = jnp.concatenate(halves, axis=-1), 2 * features
    return below  # type: ignore[return-value]


class Reader(nn.Module):
  """A bidirectional stack, and logits of the symbols at every place."""

  symbols: int
  features: tuple[int, ...]
  cell: str = "gru"

  @nn.compact
  def __call__(
    self, inputs: jax.Array, lengths: jax.Array | None = None
  ) -> jax.Array:
    """Logits [T, B, V] of ids [T, B] or one-hot vectors [T, B, V]."""
    stack = Bidirectional(self.features, self.symbols, self.cell, name="stack")
    outputs = stack(inputs, lengths)
    return embedding.Head(self.symbols, name="head")((outputs,))


@functools.lru_cache
def as_predictor(reader: Reader) -> networks.SequenceModel:
  """The reader where a causal model belongs, which it is not.

  It has no carry: each call is a text of its own. Equal readers give one
  object, so what is compiled for it is compiled once.
  """

  def apply(
    params: Any, carry: Any, inputs: jax.Array, reset: jax.Array
  ) -> tuple[Any, jax.Array]:
    del reset
    return carry, reader.apply({"params": params}, inputs)  # type: ignore[return-value]

  return networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: (),
    init=lambda key: reader.init(key, jnp.zeros((1, 1), jnp.int32))["params"],
    vocabulary_size=reader.symbols,
  )


def run(study: run_lib.Study, tokens: tokens_lib.Tokens) -> list[results.Row]:
  """The part of the page on what a network has seen."""
  causality(study)
  rows = next_symbol(study, tokens)
  study.signals.check()
  rows += blanks(study, tokens)
  rows += hidden_chain(study, tokens)
  return rows


# Of the tests by brute force: symbols, places, strings' length, units.
_SYMBOLS, _PLACES, _LENGTH, _UNITS = 4, 12, 5, 8

BIDIRECTIONAL = "bidirectional RNN"
CAUSAL = {
  "RNN": ("elman", (_UNITS,)),
  "GRU": ("gru", (_UNITS,)),
  "LSTM": ("lstm", (_UNITS,)),
  "RNN, two layers": ("elman", (_UNITS, _UNITS)),
  "LSTM, two layers": ("lstm", (_UNITS, _UNITS)),
}
_DRAWN = ("RNN", "LSTM, two layers", BIDIRECTIONAL)


def tested_network(name: str) -> networks.SequenceModel:
  """A small network over few symbols, a name of `CAUSAL` or `BIDIRECTIONAL`."""
  if name == BIDIRECTIONAL:
    return as_predictor(Reader(_SYMBOLS, (_UNITS,), cell="elman"))
  cell, features = CAUSAL[name]
  return training.network(cell, _SYMBOLS, features)


def causality(study: run_lib.Study) -> None:
  """Two tests that every model of the next symbol has to pass."""
  page, random = study.page, study.random
  ids = random.integers(_SYMBOLS, size=_PLACES)
  body, reaches = [], {}
  chosen = (*study.config.settings.causal, BIDIRECTIONAL)
  for name in (*CAUSAL, BIDIRECTIONAL):
    if name not in chosen:
      continue
    predictor = tested_network(name)
    params = training.drawn(predictor.init, random, 0.5)
    reaches[name] = reach = gradient_reach.between(predictor, params, ids)
    total = total_probability(predictor, params, length=_LENGTH)
    ahead = float(np.triu(reach, 1).max())
    back = float(reach[np.tril_indices(_PLACES)].min())
    body.append([name, f"{ahead:.3g}", f"{back:.2g}", f"{total:.6f}"])
  page["causal"] = {
    "strings": f"{_SYMBOLS**_LENGTH:,}",
    "length": _LENGTH,
    "symbols": _SYMBOLS,
    "units": _UNITS,
  }
  page["causality"] = body
  figures.derivatives(
    page.figure("causality"),
    {name: reaches[name] for name in _DRAWN if name in reaches},
  )


def total_probability(
  predictor: networks.SequenceModel, params: Any, *, length: int
) -> float:
  """The sum over all strings of a length of what the model gives them.

  Each string is read whole, after the null vector.
  """
  symbols = predictor.vocabulary_size
  strings = np.array(
    list(itertools.product(range(symbols), repeat=length)), np.int32
  ).T

  @jax.jit
  def nats(strings: jax.Array) -> jax.Array:
    null = jnp.full_like(strings[:1], -1)
    inputs = jnp.concatenate([null, strings[:-1]])
    everywhere = jnp.ones(strings.shape, bool)
    carry = predictor.initial_carry(strings.shape[1])
    _, logits = predictor.apply(params, carry, inputs, ~everywhere)
    return jnp.sum(losses.cross_entropy(logits, strings, everywhere)[0], axis=0)

  return float(np.exp(-np.asarray(nats(strings), np.float64)).sum())


def windows_of(study: run_lib.Study, ids: tokens_lib.Ids) -> Any:
  """A text in the windows of the study's settings."""
  settings = study.config.settings
  return batching.RandomWindows(
    ids,
    batch=settings.batch,
    length=settings.segment,
    seed=study.config.seed,
  )


def fit(
  study: run_lib.Study, network: networks.SequenceModel, text: Any
) -> Any:
  """Weights trained for `reader_steps` on windows, with blanks or without."""
  settings = study.config.settings
  return training.train(
    network,
    text,
    training.adam(settings, settings.reader_steps),
    steps=settings.reader_steps,
    seed=study.config.seed,
    check=study.signals.check,
  ).params


def score(
  network: networks.SequenceModel, params: Any, segments: batching.Segment
) -> losses.Metrics:
  """The scored places of segments [K, T, B]."""
  return static.evaluate(
    network, params, segments, streams=segments.inputs.shape[2]
  )


def next_symbol(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """A bidirectional network trained as a model of the next symbol."""
  page, settings = study.page, study.config.settings
  symbols, length = tokens.vocabulary.size, 2
  reader = Reader(symbols, (settings.reader_features,))
  network = as_predictor(reader)
  text, held = (
    windows_of(study, tokens.splits[split]) for split in ("train", "valid")
  )
  params = fit(study, network, text)
  tests = held.segments(0, held.segments_per_epoch)
  inside = np.arange(held.length)[:, None] < held.length - 1
  copied, blind = (
    score(network, params, tests._replace(mask=tests.mask & chosen))
    for chosen in (inside, ~inside)
  )
  scored = copied.merge(blind)
  total = total_probability(network, params, length=length)
  page["cheat"] = {
    "all": f"{scored.perplexity:.2f}",
    "blind": f"{blind.perplexity:.1f}",
    "copied": f"{copied.perplexity:.2f}",
    "strings": f"{symbols**length:,}",
    "length": length,
    "total": f"{total:,.2f}",
  }
  prime = training.encode(tokens, settings.prefix)
  ids = continued(reader, params, prime, settings.sample_length // 2)
  text = settings.prefix + training.decode(tokens, ids)
  page.verbatim("cheat_sample", training.visible(text))
  name = "bidirectional GRU, no model: it reads the symbol it predicts"
  return [training.scored_row(name, scored, evaluation="not a probability")]


def continued(
  reader: Reader, params: Any, prime: np.ndarray, length: int
) -> np.ndarray:
  """The reader's continuation of a prime, symbol by symbol, greedily.

  The text so far is read again for every symbol; the places after it are
  padding, so that the backward half has nothing to look at.
  """
  ids = np.full((1 + len(prime) + length, 1), -1, np.int32)
  ids[1 : 1 + len(prime), 0] = prime

  for place in range(1 + len(prime), len(ids)):
    logits = _read(reader, params, ids, np.array([place]))
    ids[place, 0] = np.argmax(logits[place - 1, 0])
  return ids[1 + len(prime) :, 0]


class Blanks(NamedTuple):
  """Windows in which some symbols are blank, to be filled in.

  A blank is read as the null vector, and blanks alone are scored: the network's
  output at a place is for the symbol of that very place.
  """

  text: batching.RandomWindows  # the windows
  share: float  # of the symbols that are blanked
  seed: int  # of their places

  @property
  def batch(self) -> int:
    """Windows a segment."""
    return self.text.batch

  def segments(self, start: int, count: int) -> batching.Segment:
    """Segments `start` to `start + count`, [count, T, B]."""
    whole = self.text.segments(start, count)
    random = np.random.default_rng((self.seed, start))
    blank = random.random(whole.targets.shape) < self.share
    return _with_blanks(whole, blank)


def _with_blanks(
  segments: batching.Segment, blank: np.ndarray
) -> batching.Segment:
  """Segments that are read but for the blanks, which alone are scored."""
  inputs = np.where(blank, batching.NULL, segments.targets).astype(np.int32)
  return segments._replace(inputs=inputs, mask=blank)


class Filler(NamedTuple):
  """A network that fills blanks."""

  network: networks.SequenceModel
  params: Any
  score: losses.Metrics  # of held-out windows


def fillers(
  study: run_lib.Study, symbols: int, train: Any, held: Any
) -> tuple[batching.Segment, dict[str, Filler]]:
  """Held-out windows [K, T, B], and a GRU one way and one both ways."""
  settings = study.config.settings
  share, h = settings.blank_share, settings.reader_features
  text, rest = (
    Blanks(windows_of(study, ids), share, study.config.seed)
    for ids in (train, held)
  )
  tests = rest.segments(0, rest.text.segments_per_epoch)
  result = {}
  for name, network in {
    "forwards": training.network("gru", symbols, (h,)),
    "both ways": as_predictor(Reader(symbols, (h,))),
  }.items():
    params = fit(study, network, text)
    result[name] = Filler(network, params, score(network, params, tests))
  return tests, result


def _rows(source: str, result: Mapping[str, Filler]) -> list[results.Row]:
  return [
    training.scored_row(f"{source}, {name}, blanks", filler.score)
    for name, filler in result.items()
  ]


def blanks(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """Filling blanks, forwards and both ways."""
  page, splits = study.page, tokens.splits
  tests, result = fillers(
    study, tokens.vocabulary.size, splits["train"], splits["valid"]
  )
  page["blanks"] = [
    [name, filler.score.perplexity, f"{100 * filler.score.error_rate:.1f}%"]
    for name, filler in result.items()
  ]
  page.verbatim("filled", _filled(tokens, result, tests))
  by_reach(study, tokens, result)
  h = study.config.settings.reader_features
  return _rows(f"GRU of {h} units", result)


def _filled(
  tokens: tokens_lib.Tokens,
  result: Mapping[str, Filler],
  segments: batching.Segment,
) -> str:
  """A line with blanks, and what each network puts into them."""
  letters = np.array([str(s).isalpha() for s in tokens.vocabulary.symbols])
  # The row of the first segment that is the most like prose, [T, 1].
  row = int(np.argmax(letters[segments.targets[0]].sum(axis=0)))
  inputs, targets, mask, reset = (
    leaf[0][:, row : row + 1] for leaf in segments
  )
  blank, truth = mask[:, 0], targets[:, 0]
  hidden = zip(training.decode(tokens, truth), blank, strict=True)
  lines = [f"{'blanks':10} {''.join('_' if b else x for x, b in hidden)}"]
  for name, (network, params, _) in result.items():
    carry = network.initial_carry(1)
    _, logits = jax.jit(network.apply)(params, carry, inputs, reset)
    best = np.asarray(jnp.argmax(logits[:, 0], axis=-1))
    right = int(np.sum(blank & (best == truth)))
    text = training.decode(tokens, np.where(blank, best, truth))
    lines.append(f"{name:10} {text}  ({right} of {int(blank.sum())} right)")
  return "\n".join(line.replace("\n", "\u00b6") for line in lines)


# Characters to the right of a blank that may be read.
_REACHES = (0, 1, 2, 4, 8, 16)
_SHOWN = (0, 1, 4)


def by_reach(
  study: run_lib.Study, tokens: tokens_lib.Tokens, result: Mapping[str, Filler]
) -> None:
  """The guess improves with what may be read behind the blank."""
  page, symbols = study.page, tokens.vocabulary.symbols
  reader = Reader(len(symbols), (study.config.settings.reader_features,))
  held = windows_of(study, tokens.splits["valid"])
  whole = held.segments(0, held.segments_per_epoch)
  # One blank a window, in its middle.
  place = held.length // 2
  blank = np.zeros(whole.mask.shape, bool)
  blank[:, place] = True
  forwards = score(
    *result["forwards"][:2], _with_blanks(whole, blank)
  ).perplexity
  # [T, windows]
  texts = whole.targets.transpose(1, 0, 2).reshape(held.length, -1)
  logs = {
    k: at_blank(reader, result["both ways"].params, texts, place, k)
    for k in _REACHES
    if place + k < len(texts)
  }
  truth = texts[place]
  perplexities = {k: _perplexity(log, truth) for k, log in logs.items()}
  near, far = min(logs), max(logs)
  row = _most_gained(logs[near], logs[min(4, far)], texts, place, tokens)
  text = training.decode(tokens, texts[:, row])
  page["reach"] = {
    "windows": f"{texts.shape[1]:,}",
    "most": far,
    "none": f"{perplexities[near]:.2f}",
    "best": f"{perplexities[far]:.2f}",
    "forwards": f"{forwards:.2f}",
    "symbol": repr(text[place]),
  }
  with style.axes(
    page.figure("right_context"), "What is behind a blank", height=3.2
  ) as pair:
    ticks = np.arange(len(perplexities))
    figures.draw(
      pair,
      {"bidirectional GRU": (ticks, list(perplexities.values()))},
      x="characters read to the right of the blank",
      y="perplexity of the blank",
      marks=True,
      references={"forward GRU": forwards},
    )
    pair.set_xticks(ticks, [str(k) for k in perplexities])
    pair.set_ylim(bottom=1)
    pair.legend(frameon=False, fontsize=9)
  body = []
  for k in (k for k in _SHOWN if k in logs):
    chances = np.exp(logs[k][row])
    named = ", ".join(
      f"{symbols[i]!r} {chances[i]:.2f}" for i in np.argsort(-chances)[:3]
    )
    seen = f"{text[:place]}_{text[place + 1 : place + 1 + k]}"
    seen = seen.replace("\n", "\u00b6")
    body.append([k, f"`{seen}`", named, chances[truth[row]]])
  page["fillings"] = body


def at_blank(
  reader: Reader, params: Any, texts: np.ndarray, place: int, reach: int
) -> np.ndarray:
  """log P of each symbol at a blank [B, V], in texts of ids [T, B].

  Of what is behind the blank, `reach` symbols are read; the rest is padding.
  """
  inputs = texts.astype(np.int32)
  inputs[place] = batching.NULL
  lengths = np.full(texts.shape[1], place + 1 + reach)
  logits = _read(reader, params, inputs, lengths)
  return np.asarray(jax.nn.log_softmax(logits[place]))


@functools.partial(jax.jit, static_argnums=0)
def _read(
  reader: Reader, params: Any, inputs: jax.Array, lengths: jax.Array
) -> Any:
  return reader.apply({"params": params}, inputs, lengths=lengths)


def _perplexity(logs: np.ndarray, truth: np.ndarray) -> float:
  """Of log P [B, V] and the true symbols [B]."""
  return float(np.exp(-np.take_along_axis(logs, truth[:, None], axis=1).mean()))


def _most_gained(
  before: np.ndarray,
  after: np.ndarray,
  texts: np.ndarray,
  place: int,
  tokens: tokens_lib.Tokens,
) -> int:
  """The window of plain prose whose true symbol gains most probability."""
  plain = np.array(
    [str(s).isalpha() or s == " " for s in tokens.vocabulary.symbols]
  )
  prose = plain[texts].all(axis=0)
  gain = np.take_along_axis(
    np.exp(after) - np.exp(before), texts[place][:, None], axis=1
  )[:, 0]
  return int(np.argmax(np.where(prose, gain, gain.min() - 1)))


# Two states that last, and symbols that tell little of them each.
SOURCE = chains.HiddenMarkov(
  np.array([0.5, 0.5]),
  np.array([[0.95, 0.05], [0.05, 0.95]]),
  np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]),
)
SYMBOLS = SOURCE.emission.shape[1]


def hidden_chain(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """The same two networks on blanks that can be filled no better than so."""
  page, settings = study.page, study.config.settings
  random, length = study.random, settings.chain_symbols
  # The symbols are the first of the text's, so that nothing is compiled again.
  tests, result = fillers(
    study,
    max(tokens.vocabulary.size, SYMBOLS),
    draw(random, length),
    draw(random, length // 10),
  )
  best = floor(tests, settings.blank_share)
  page["kinds"] = SYMBOLS
  page["chain_table"] = [
    [name, filler.score.perplexity, least]
    for (name, filler), least in zip(result.items(), best, strict=True)
  ]
  return _rows("hidden Markov source, GRU", result)


def draw(random: np.random.Generator, count: int) -> np.ndarray:
  """So many symbols of the source."""
  return SOURCE.sample(count, random)[1]


def floor(segments: batching.Segment, share: float) -> tuple[float, float]:
  """The best perplexity of the blanks, by what is before, and by all.

  A blank is a symbol of its own, shown with probability `share` in any state:
  what it says of the state is nothing. Each window is a sequence of its own.
  """
  seen = np.hstack(
    [(1 - share) * SOURCE.emission, np.full((len(SOURCE.initial), 1), share)]
  )
  blanked = chains.HiddenMarkov(SOURCE.initial, SOURCE.transition, seen)
  before, around, count = 0.0, 0.0, 0
  targets, mask = (
    leaf.transpose(0, 2, 1).reshape(-1, leaf.shape[1])
    for leaf in (segments.targets, segments.mask)
  )
  for truth, blank in zip(targets, mask, strict=True):
    read = np.where(blank, SYMBOLS, truth)
    places = np.flatnonzero(blank)
    hidden = truth[places]
    states = np.exp(blanked.forward(read)[places])
    states /= states.sum(axis=1, keepdims=True)
    before -= np.log((states * SOURCE.emission[:, hidden].T).sum(axis=1)).sum()
    whole = blanked.fill_in(read)[places, :SYMBOLS]
    whole /= whole.sum(axis=1, keepdims=True)
    around -= np.log(whole[np.arange(len(places)), hidden]).sum()
    count += len(places)
  return units.perplexity(before, count), units.perplexity(around, count)
