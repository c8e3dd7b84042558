"""Decoding: greedy and beam search, sharpened draws, and words of a list."""

import itertools
import math
import unicodedata
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import continuations, figures, training
from experiments.studies.decoding import models
from seqmodels import errors
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.sampling import beam, text


def run(study: run_lib.Study) -> list[results.Row]:
  """Computes the page; see `configs.fundamentals`."""
  settings = study.config.settings
  tokens = study.tokens("characters")
  prime = training.encode(tokens, settings.prefix)
  training.check_sizes(settings)
  worked_example(study)
  beam_at_work(study)
  length_penalty(study)
  random_models(study)
  study.signals.check()
  network = training.network(
    "lstm", tokens.vocabulary.size, (settings.features,)
  )
  trained = training.on_streams(study, network, tokens.splits["train"])
  scored = training.held_out(network, trained.params, tokens.splits["valid"])
  study.page["perplexity"] = f"{scored.perplexity:.2f}"
  writer = Writer(
    network, trained.params, tokens, prime.tolist(), settings.length
  )
  sharpened(study, writer)
  next_words(study, writer)
  texts(study, writer)
  study.signals.check()
  words(study, writer)
  return [training.scored_row(f"LSTM of {settings.features} units", scored)]


# The worked example: A, B, C and the end, after each prefix.
NAMES = ("A", "B", "C", "end")
END = 3
TABLE = {
  (): (0.5, 0.2, 0.2, 0.1),
  (0,): (0.1, 0.4, 0.3, 0.2),
  (0, 1): (0.2, 0.2, 0.4, 0.2),
  (0, 1, 2): (0.0, 0.2, 0.2, 0.6),
  (0, 2): (0.1, 0.6, 0.2, 0.1),
  (0, 2, 1): (0.1, 0.2, 0.1, 0.6),
}
_LONGEST = 4
_OPTIONS: dict[str, Any] = {"length": _LONGEST, "end": END}


def _spelt(symbols: Sequence[int]) -> str:
  return " ".join(NAMES[symbol] for symbol in symbols)


def worked_example(study: run_lib.Study) -> None:
  """The best next symbol is not the beginning of the best string."""
  page, model = study.page, models.table(TABLE)
  page["table"] = [
    [_spelt(prefix) or "(nothing)", *row] for prefix, row in TABLE.items()
  ]
  greedy = beam.greedy(*model, **_OPTIONS)
  [two, *_] = beam.search(*model, width=2, **_OPTIONS)
  [best, *_] = beam.exhaustive(*model, **_OPTIONS)
  body = []
  for name, result, tried in (
    ("greedy", greedy, f"V T = {4 * _LONGEST}"),
    ("beam of 2", two, f"2 V T = {8 * _LONGEST}"),
    ("exhaustive", best, f"V^T = {4**_LONGEST}"),
  ):
    log, length = result.log_probability, len(result.symbols)
    score = f"{log / length**0.75:.4f}"
    body.append(
      [name, _spelt(result.symbols), f"{math.exp(log):.3f}", score, tried]
    )
  page["searches"] = body
  with style.figure(page.figure("worked_example"), height=2.7) as drawing:
    _draw_tree(drawing.subplots())


def _draw_tree(pair: Any) -> None:
  """The two ways through the table."""
  pair.set_axis_off()
  pair.set_xlim(-0.4, 5.3)
  pair.set_ylim(-1.5, 1.5)

  def arrow(start: Any, end: Any, share: float, colour: str) -> None:
    shape = {"arrowstyle": "->", "color": colour, "lw": 1.6}
    shape |= {"shrinkA": 21, "shrinkB": 15}
    pair.annotate("", end, start, arrowprops=shape)
    x, y = (start[0] + end[0]) / 2, (start[1] + end[1]) / 2
    pair.text(x, y + 0.14, f"{share:g}", color=colour, fontsize=9, ha="center")

  def node(place: Any, name: str, total: str, colour: str) -> None:
    box = {"boxstyle": "round,pad=0.35", "fc": "white", "ec": colour}
    middle = {"ha": "center", "va": "center"}
    pair.text(*place, name, fontsize=10, bbox=box, **middle)
    x, y = place
    pair.text(x, y - 0.4, total, fontsize=8, color=style.GREY, **middle)

  arrow((0, 0), (1, 0), TABLE[()][0], style.GREY)
  node((0, 0), "start", "", style.GREY)
  node((1, 0), "A", f"{TABLE[()][0]:g}", style.GREY)
  ways = {"greedy": (0, 1, 2, END), "beam of 2": (0, 2, 1, END)}
  for (name, way), side, colour in zip(
    ways.items(), (0.75, -0.75), style.COLOURS, strict=False
  ):
    total, place = TABLE[()][0], (1.0, 0.0)
    for step in range(1, len(way)):
      share, after = TABLE[way[:step]][way[step]], (step + 1.0, side)
      total *= share
      arrow(place, after, share, colour)
      node(after, NAMES[way[step]], f"{total:.3g}", colour)
      place = after
    label = f"{name}\n{total:.3f}"
    pair.text(4.4, side, label, color=colour, va="center", fontsize=9)


# Five symbols, to watch a beam of two.
FIVE = "ABCDE"
FIVE_TABLE = {
  (): (0.35, 0.15, 0.3, 0.1, 0.1),
  (0,): (0.1, 0.5, 0.15, 0.15, 0.1),
  (2,): (0.15, 0.15, 0.15, 0.15, 0.4),
  (0, 1): (0.2, 0.1, 0.2, 0.3, 0.2),
  (2, 4): (0.1, 0.1, 0.1, 0.6, 0.1),
}


def beam_steps() -> list[list[text.Continuation]]:
  """The strings in a beam of two over five symbols, after each of three steps.

  >>> ["".join(FIVE[i] for i in one.symbols) for one in beam_steps()[-1]]
  ['CED', 'ABD']
  """
  model = models.table(FIVE_TABLE)
  return [
    beam.search(*model, width=2, length=length, length_penalty=0)
    for length in (1, 2, 3)
  ]


def beam_at_work(study: run_lib.Study) -> None:
  """Three steps of a beam of two."""
  body = []
  for step, kept in enumerate(beam_steps(), 1):
    line: list[Any] = [step, len(FIVE) * (1 if step == 1 else 2)]
    for one in kept:
      line.append("".join(FIVE[i] for i in one.symbols))
      line.append(f"{math.exp(one.log_probability):.3f}")
    body.append(line)
  study.page["beam_steps"] = body


def length_penalty(study: run_lib.Study) -> None:
  """The effect of the division by L^alpha."""
  model, body = models.table(TABLE), []
  for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
    options = _OPTIONS | {"length_penalty": alpha}
    best = beam.exhaustive(*model, **options)
    result = beam.search(*model, width=2, **options)
    line = [f"{alpha:g}"]
    for one in (best[0], result[0]):
      line += [_spelt(one.symbols), f"{math.exp(one.log_probability):.3f}"]
    body.append(line)
  study.page["penalties"] = body


_SYMBOLS, _STEPS = 4, 6
EXHAUSTIVE = _SYMBOLS ** (_STEPS - 1)


def random_models(study: run_lib.Study) -> None:
  """Beams of several widths on random models that know the last two symbols."""
  page, count = study.page, study.config.settings.models
  widths = (*study.config.settings.widths, EXHAUSTIVE)
  gaps = search_gaps(study.random, count, widths)
  result = 100 * (gaps == 0).mean(axis=0)
  page["widths"] = [
    [f"{width}", f"{share:.1f}%", float(gap.mean()), float(gap.max())]
    for width, share, gap in zip(widths, result, gaps.T, strict=True)
  ]
  page["random_symbols"], page["random_steps"] = _SYMBOLS, _STEPS
  page["strings"] = f"{_SYMBOLS**_STEPS:,}"
  page["wider_is_worse"] = int(np.sum(np.diff(gaps, axis=1).max(axis=1) > 0))
  with style.panels(page.figure("widths"), "", height=2.9, columns=2) as pairs:
    names = "best string found, % of models", "short of it, nats"
    for pair, values, name in zip(
      pairs, (result, gaps.mean(axis=0)), names, strict=True
    ):
      curve = {"": (widths, values)}
      figures.draw(
        pair, curve, x="width of the beam", y=name, log_x=2, marks=True
      )
      pair.set_xticks(widths, [str(width) for width in widths], fontsize=8)
      pair.minorticks_off()
      pair.set_ylim(bottom=0)


def search_gaps(
  random: np.random.Generator, count: int, widths: Sequence[int]
) -> np.ndarray:
  """Nats [count, widths] that each beam's best falls short of the likeliest."""
  drawn = random.normal(
    scale=1.5, size=(count, _SYMBOLS + 1, _SYMBOLS + 1, _SYMBOLS)
  )
  options: dict[str, Any] = {"length": _STEPS, "length_penalty": 0}
  gaps = np.zeros((count, len(widths)))
  for row, logits in enumerate(drawn):
    model = models.second_order(np.roll(logits, 1, axis=(0, 1)))
    best = beam.exhaustive(*model, **options)[0]
    for column, width in enumerate(widths):
      result = beam.search(*model, width=width, **options)[0]
      gaps[row, column] = best.log_probability - result.log_probability
  # What is left of float32's rounding is no gap.
  return np.where(np.abs(gaps) < 1e-4, 0.0, gaps)


class Writer(NamedTuple):
  """A trained model, and the prefix that all texts continue."""

  network: Any  # a predictor
  params: Any  # its weights
  tokens: tokens_lib.Tokens  # the text it was trained on
  prime: list[int]  # ids of the prefix
  length: int  # characters to write

  def search(self, width: int) -> list[list[int]]:
    """The likeliest text that a beam finds, as the only one of a list."""
    result = beam.search(
      *self[:2], width=width, length=self.length, prime=self.prime
    )
    return [list(result[0].symbols)]

  def draw(
    self, key: jax.Array, count: int, sharpen: text.LogitFilters
  ) -> list[list[int]]:
    """Drawn texts, ids [count, length]."""
    rows: list[list[int]] = text.sample(
      *self[:2],
      key,
      length=self.length,
      prime=self.prime,
      batch=count,
      logit_filters=sharpen,
    ).T.tolist()
    return rows


# What is done to the distribution before a draw, by its name.
SHARPENINGS: dict[str, text.LogitFilters] = {
  "drawn as it is": text.LogitFilters(),
  "temperature 0.5": text.LogitFilters(temperature=0.5),
  "temperature 1.5": text.LogitFilters(temperature=1.5),
  "top-k, k = 5": text.LogitFilters(top_k=5),
  "nucleus 0.9": text.LogitFilters(nucleus=0.9),
}
_BARS = 26  # of the likeliest characters in a figure
_VISIBLE = str.maketrans({" ": "\u2423", "\n": "\u00b6"})


def sharpened(study: run_lib.Study, writer: Writer) -> None:
  """One distribution under a temperature, top-k and the nucleus."""
  page = study.page
  read = text.prime_ids(writer.prime)
  logits = text.read(writer.network, writer.params, read, 1)[1][0]
  shares = {
    name: np.asarray(jax.nn.softmax(sharpen(logits)))
    for name, sharpen in SHARPENINGS.items()
  }
  body = []
  for name, share in shares.items():
    nats = float(text.entropy(SHARPENINGS[name](logits)))
    body.append([name, nats, int(np.sum(share > 0)), float(share.max())])
  page["sharpened"] = body
  page["symbols"] = len(logits)
  page["entropies"] = ", ".join(
    f"{float(text.entropy(text.power(logits, alpha))):.3f} at {alpha:g}"
    for alpha in (0.5, 1.0, 2.0, 4.0, 8.0, 1000.0)
  )
  usual, *others = shares
  order = np.argsort(-shares[usual], kind="stable")[:_BARS]
  symbols = [str(writer.tokens.vocabulary.symbols[i]) for i in order]
  names = [symbol.translate(_VISIBLE) for symbol in symbols]
  with style.panels(
    page.figure("sharpening"), "", height=4.4, rows=2, columns=2,
    sharex=True, sharey=True,
  ) as pairs:  # fmt: skip
    places = np.arange(len(order))
    for pair, name in zip(pairs, others, strict=True):
      pair.bar(places, shares[usual][order], color="#D0D0D0", width=0.85)
      pair.bar(places, shares[name][order], color=style.COLOURS[0], width=0.45)
      pair.set_title(name, fontsize=10)
      pair.set_xticks(places, names, fontsize=8, family="monospace")
    for pair in pairs[::2]:
      pair.set_ylabel("probability")


def next_words(study: run_lib.Study, writer: Writer) -> None:
  """A beam that stops at an end symbol, under several penalties."""
  settings, vocabulary = study.config.settings, writer.tokens.vocabulary
  if settings.end not in vocabulary:
    return
  body = []
  for alpha in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0):
    result = beam.search(
      writer.network,
      writer.params,
      width=settings.beam,
      length=settings.longest,
      prime=writer.prime,
      end=vocabulary.index[settings.end],
      length_penalty=alpha,
    )
    words = [training.decode(writer.tokens, one.symbols) for one in result[:4]]
    marked = [word.translate(_VISIBLE) for word in words]
    best = result[0]
    listed = ", ".join(f"`{word}`" for word in marked)
    length, log = len(best.symbols), best.log_probability
    body.append([f"{alpha:g}", listed, length, log])
  study.page["next_words"] = body


_GRAMS = (1, 2, 4)  # lengths of n-grams whose variety is measured
_REAL = "the text itself"


def distinct(symbols: Sequence[Any], n: int) -> float:
  """Share of a text's n-grams that are different (Li et al., 2016).

  1 where none occurs twice, near 0 in a loop. It falls with the length of a
  text, so compare texts of one length.

  >>> distinct([0, 1, 0, 1, 0, 1], 2)
  0.4
  """
  count = len(symbols) - n + 1
  if n < 1 or count < 1:
    raise errors.UserError(
      f"distinct-{n} was asked of {len(symbols)} symbols; n must be at least 1 "
      "and the text at least that long"
    )
  return len({tuple(symbols[i : i + n]) for i in range(count)}) / count


def texts(study: run_lib.Study, writer: Writer) -> None:
  """The same prefix, continued in every way."""
  page, settings = study.page, study.config.settings
  key = jax.random.key(study.config.seed)
  widest = f"beam of {max(settings.beams)}"
  written = {"greedy": writer.search(1)}
  for width in settings.beams:
    written[f"beam of {width}"] = writer.search(width)
  for place, (name, sharpen) in enumerate(SHARPENINGS.items()):
    one = jax.random.fold_in(key, place)
    written[name] = writer.draw(one, settings.draws, sharpen)
  truth = occurrences(
    writer.tokens.splits["valid"], writer.prime, writer.length, settings.draws
  )
  if truth:
    written[_REAL] = truth
  result = {name: measured(writer, rows) for name, rows in written.items()}
  body: list[list[Any]] = [
    [name, f"{nats:.1f}", nats / writer.length, *shares]
    for name, (nats, *shares) in result.items()
  ]
  page["ways"] = body
  for name, key_ in (("greedy", "greedy"), (widest, "widest"), (_REAL, "real")):
    if name in result:
      nats, *_, varied = result[name]
      page[key_] = {"nats": f"{nats:.1f}", "distinct": f"{varied:.2f}"}
  samples = []
  for name, rows in written.items():
    spelt = training.decode(writer.tokens, rows[0])
    samples.append(f"[{name}]\n{training.visible(settings.prefix + spelt)}")
  page.verbatim("samples", "\n\n".join(samples))
  marks = itertools.cycle("os^Dv")
  points: dict[str, figures.Curve] = {}
  for name, _, mean, *_, varied in body:
    searched = name == "greedy" or name.startswith("beam")
    look = {"ls": "", "ms": 8, "marker": next(marks)}
    look["color"] = style.COLOURS[1 if searched else 0]
    real = {"color": "black", "marker": "*", "ms": 13} if name == _REAL else {}
    points[name] = ([varied], [mean], look, real)
  figures.curves(
    page.figure("likely_and_varied"),
    "Likely or varied",
    points,
    x="distinct-4: share of 4-grams that are different",
    y="log probability, nats a character",
  )


def measured(
  writer: Writer, rows: Sequence[Sequence[int]]
) -> tuple[float, ...]:
  """Mean log P in nats and mean distinct-n of some texts after the prefix."""
  scored = continuations.by_network(
    writer.network, writer.params, writer.prime, rows
  )
  nats = math.fsum(one.total for one in scored) / len(rows)
  shares = (
    math.fsum(distinct(row, n) for row in rows) / len(rows) for n in _GRAMS
  )
  return (nats, *shares)


def occurrences(
  ids: Any, prime: Sequence[int], length: int, most: int
) -> list[list[int]]:
  """Continuations of a prefix in a text [N], at `most` places or fewer."""
  whole = len(prime) + length
  if len(ids) < whole:
    return []
  places = np.lib.stride_tricks.sliding_window_view(np.asarray(ids), whole)
  same = np.all(places[:, : len(prime)] == np.asarray(prime), axis=1)
  result: list[list[int]] = places[np.flatnonzero(same)[:most]].tolist()
  return [row[len(prime) :] for row in result]


_TEMPERATURE = 0.8


def words(study: run_lib.Study, writer: Writer) -> None:
  """Draws with and without the list of the training text's words."""
  page, settings, tokens = study.page, study.config.settings, writer.tokens
  symbols = list(map(str, tokens.vocabulary.symbols))
  separators = [i for i, symbol in enumerate(symbols) if not is_letter(symbol)]
  train = training.decode(tokens, np.asarray(tokens.splits["train"]))
  known = {word for _, word in words_of(train)}
  if not known or not separators:
    return
  ids = [tokens.vocabulary.encode(word).tolist() for word in sorted(known)]
  network, params = models.confined(
    writer.network, writer.params, ids, separators
  )
  confined = writer._replace(network=network, params=params)
  key = jax.random.key(study.config.seed)
  sharpen = text.LogitFilters(temperature=_TEMPERATURE)
  body, first = [], []
  for name, one in (("as it is", writer), ("confined", confined)):
    rows = one.draw(key, settings.draws, sharpen)
    drawn = [settings.prefix + training.decode(tokens, row) for row in rows]
    result = whole_words(drawn, len(settings.prefix))
    share = sum(word in known for word in result) / max(1, len(result))
    nats, *_ = measured(writer, rows)
    counts = f"{len(result):,}", f"{100 * share:.1f}%", f"{len(set(result)):,}"
    body.append([name, *counts, nats / writer.length])
    first.append(f"[{name}]\n{training.visible(drawn[0])}")
  page["words"] = body
  page.verbatim("word_samples", "\n\n".join(first))
  page["known_words"] = f"{len(known):,}"
  page["word_temperature"] = f"{_TEMPERATURE:g}"


def is_letter(symbol: str) -> bool:
  """True of a letter or of a mark that belongs to one.

  >>> [is_letter(symbol) for symbol in ("e", "\\u0301", "1", " ", "<unk>")]
  [True, True, False, False, False]
  """
  return len(symbol) == 1 and unicodedata.category(symbol)[0] in "LM"


def words_of(written: str) -> list[tuple[int, str]]:
  """The runs of letters, each with the place behind its end.

  >>> words_of("It isn't")
  [(2, 'It'), (6, 'isn'), (8, 't')]
  """
  result, place = [], 0
  for letters, group in itertools.groupby(written, is_letter):
    run = "".join(group)
    place += len(run)
    if letters:
      result.append((place, run))
  return result


def whole_words(texts: Sequence[str], start: int) -> list[str]:
  """The runs of letters that end after a place, but before the text does."""
  return [
    word
    for one in texts
    for end, word in words_of(one)
    if start < end < len(one)
  ]
