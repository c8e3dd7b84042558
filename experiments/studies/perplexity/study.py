"""Perplexity: the study's page from beginning to end."""

import math
import os
import pathlib
import time
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments import restore
from experiments.studies import run as run_lib
from experiments.studies.common import continuations, figures, ngram_counts
from seqmodels import errors, losses, units
from seqmodels.compression import range_coder
from seqmodels.data.text import vocabulary
from seqmodels.io import results


class Given(NamedTuple):
  """What is to be scored."""

  prefix: str
  continuations: list[str]


class Reader(NamedTuple):
  """A model that can be asked."""

  name: str
  tokenizer: vocabulary.Tokenizer
  symbols: vocabulary.Vocabulary
  score: Callable[[list[int], list[list[int]]], list[continuations.Scored]]

  def split(self, text: str) -> list[Any]:
    """The text's symbols: characters, words, or byte values."""
    pieces = self.tokenizer.split(np.frombuffer(text.encode("utf-8"), np.uint8))
    # The word tokenizer ends every text with a line end, a prefix has none.
    words = self.tokenizer.name == "words"
    return list(pieces[:-1] if words else pieces)


def given(settings: Any) -> Given:
  """The settings' own, or those of a file: the prefix in its first line.

  Raises:
    UserError: a file that is missing or not UTF-8, or nothing to score.
  """
  if not settings.continuations_file:
    found = Given(settings.prefix, list(settings.continuations))
    place = "config.settings.continuations"
  else:
    place = settings.continuations_file
    path = pathlib.Path(os.path.expanduser(place))
    try:
      lines = path.read_bytes().decode("utf-8").splitlines()
    except OSError as error:
      raise errors.UserError(
        f"cannot read config.settings.continuations_file={place}: "
        f"{error.strerror or error}"
      ) from error
    except UnicodeDecodeError as error:
      raise errors.UserError(
        f"{place} is not UTF-8 at byte {error.start:,} "
        f"(0x{error.object[error.start]:02x}); convert it"
      ) from error
    found = Given(
      lines[0] if lines else "", [x for x in lines[1:] if x.strip()]
    )
  if not found.continuations or not all(found.continuations):
    raise errors.UserError(
      f"{place} has {len(found.continuations)} continuations, or an empty one; "
      "give a prefix in the first line and at least 1 continuation in lines of "
      "their own"
    )
  return found


def counting(
  models: Mapping[int, ngram_counts.LaplaceNGram],
  symbols: vocabulary.Vocabulary,
) -> list[Reader]:
  """n-grams of characters, by order."""

  def reader(order: int, model: ngram_counts.LaplaceNGram) -> Reader:
    return Reader(
      f"{order}-gram",
      vocabulary.named("characters"),
      symbols,
      lambda prefix, several: continuations.by_counts(model, prefix, several),
    )

  return [reader(order, model) for order, model in models.items()]


def networks(settings: Any) -> list[Reader]:
  """The network of the run that `settings.restore` names, or none.

  Raises:
    UserError: no such run.
  """
  if not settings.restore:
    return []
  trained = restore.reload(settings.restore)
  folder = pathlib.Path(os.path.expanduser(settings.restore)).resolve().name
  return [
    Reader(
      f"network {folder} (step {trained.step:,})",
      vocabulary.named(trained.config.data.tokenizer),
      trained.vocabulary,
      lambda prefix, several: continuations.by_network(
        trained.predictor, trained.params, prefix, several
      ),
    )
  ]


class Asked(NamedTuple):
  """A reader's answer."""

  scored: list[continuations.Scored]  # in the order given
  unknown: int  # symbols read as `<unk>`
  seconds: float


def compared(
  study: run_lib.Study,
  given: Given,
  counting: Sequence[Reader],
  networks: Sequence[Reader],
) -> list[results.Row]:
  """Scores and ranks the continuations; the table, the figures, the rows."""
  page = study.lesson
  page.section(
    "Which continuation?",
    """
    A model can be asked about given texts: how probable is each after a prefix?
    The log-probabilities of its symbols add up to that of the whole. The prefix
    is only read.
    """,
  )
  page.shown(
    "\n".join(f"{given.prefix} ... {text}" for text in given.continuations)
  )
  readers = [*counting, *networks]
  answers = {reader.name: _asked(reader, given) for reader in readers}
  page.say("""
    Perplexity of each continuation a symbol, and its log-probability in nats in
    brackets; then their order by either, the likeliest first.
  """)
  page.table(
    [
      "model",
      *(f"`{text}`" for text in given.continuations),
      "by perplexity",
      "by probability",
    ],
    [
      [
        name,
        *(
          f"{results.figure(one.perplexity)} ({one.total:.1f})"
          for one in answer.scored
        ),
        _ranked([one.perplexity for one in answer.scored]),
        _ranked([-one.total for one in answer.scored]),
      ]
      for name, answer in answers.items()
    ],
  )
  _told(study, counting, networks, answers)
  for reader in [counting[-1], *networks]:
    _drawn_answer(study, given, reader, answers[reader.name])
  return [
    results.row(
      f"{reader.name}: {text!r} after {given.prefix!r}",
      split="given",
      evaluation="continuation",
      metric="perplexity",
      value=one.perplexity,
      unit=f"per {reader.tokenizer.name.rstrip('s')}",
      count=len(one.log_probabilities),
      seconds=answers[reader.name].seconds,
    )
    for reader in [counting[-1], *networks]
    for text, one in zip(
      given.continuations, answers[reader.name].scored, strict=True
    )
  ]


def _asked(reader: Reader, given: Given) -> Asked:
  start = time.perf_counter()
  prefix = _prefix(reader, given)
  pieces = [reader.split(text) for text in given.continuations]
  scored = reader.score(
    reader.symbols.encode(prefix).tolist(),
    [reader.symbols.encode(piece).tolist() for piece in pieces],
  )
  unknown = sum(
    symbol not in reader.symbols for piece in pieces for symbol in piece
  )
  return Asked(scored, unknown, time.perf_counter() - start)


def _prefix(reader: Reader, given: Given) -> list[Any]:
  """The prefix and the space after it, which words do without."""
  return reader.split(f"{given.prefix} " if given.prefix else "")


def _ranked(costs: Sequence[float]) -> str:
  """Numbers of the continuations, the cheapest first."""
  order = np.argsort(costs, kind="stable")
  return ", ".join(str(place + 1) for place in order)


def _told(
  study: run_lib.Study,
  counting: Sequence[Reader],
  networks: Sequence[Reader],
  answers: Mapping[str, Asked],
) -> None:
  ranks = {
    name: _ranked([one.perplexity for one in answer.scored])
    for name, answer in answers.items()
  }
  shortest, longest = counting[0].name, counting[-1].name
  study.lesson.say(f"""
    By perplexity the {longest} ranks them {ranks[longest]}, and the {shortest}
    {ranks[shortest]}. The less context a model has, the more it goes by the
    letters alone, and common letters please it in any order. The probability of
    the whole prefers short continuations; the perplexity a symbol does not.
  """)
  for reader in networks:
    study.lesson.say(f"The {reader.name} ranks them {ranks[reader.name]}.")
  for reader in [counting[-1], *networks]:
    if answers[reader.name].unknown:
      study.lesson.say(f"""
        {answers[reader.name].unknown} symbols of the continuations are unknown
        to the {reader.name}, which read each as `<unk>`. Where that is common
        in the text that it learned from, it costs little: such scores tell of
        `<unk>`, not of these texts.
      """)


def _drawn_answer(
  study: run_lib.Study, given: Given, reader: Reader, answer: Asked
) -> None:
  before = [_text(symbol) for symbol in _prefix(reader, given)]
  kind = "network" if reader.name.startswith("network") else "ngram"
  figures.surprise(
    study.lesson.figure(
      f"continuations_{kind}",
      f"Surprise of the {reader.name} at each symbol of the continuations; the "
      "prefix is grey.",
    ),
    f"What surprises the {reader.name}",
    [
      figures.Passage(
        f"perplexity {results.figure(one.perplexity)} a "
        f"{reader.tokenizer.name.rstrip('s')}",
        [*before, *(_text(symbol) for symbol in reader.split(text))],
        np.concatenate([np.full(len(before), np.nan), one.bits]),
      )
      for text, one in zip(given.continuations, answer.scored, strict=True)
    ],
  )


def _text(symbol: Any) -> str:
  """A symbol to be drawn; byte values as characters."""
  return symbol if isinstance(symbol, str) else chr(int(symbol))


class Counted(NamedTuple):
  """The n-grams of the study and what they are asked about."""

  symbols: vocabulary.Vocabulary  # characters, `<unk>` among them
  models: dict[int, ngram_counts.LaplaceNGram]  # by order
  test: np.ndarray
  words: int  # in the test text, line ends included

  @property
  def best(self) -> ngram_counts.LaplaceNGram:
    """Of the highest order."""
    return self.models[max(self.models)]


def run(study: run_lib.Study) -> list[results.Row]:
  """The page: definition, cases, models, traps, code lengths, continuations.

  Raises:
    UserError: no orders, or one that is 0 or beyond the text, a restored run
      that is none, or continuations that cannot be read.
  """
  contexts = given(study.config.settings)
  nets = networks(study.config.settings)
  page = study.lesson
  page.say("""
    How good is a language model? Let it predict a text symbol by symbol, and
    ask how surprised it was. The perplexity of a text x_1 .. x_T is
  """)
  page.shown("""
    PPL = exp( -(1/T) sum over t of log p(x_t | x_1 .. x_{t-1}) )
        = 2 ^ (bits a symbol)
  """)
  page.say("""
    It is the geometric mean of 1/p: the number of equally likely symbols that
    would be as hard to guess. The sum inside is the cross-entropy that training
    minimises, so for one symbol perplexity is the exponential of its softmax
    loss. Its logarithm to the base 2 is the number of bits a symbol.
  """)
  _cases(study)
  counted = _counted(study)
  rows = _models(study, counted)
  study.signals.check()
  _traps(study, counted)
  _code(study, counted)
  study.signals.check()
  readers = counting(counted.models, counted.symbols)
  return rows + compared(study, contexts, readers, nets)


def _cases(study: run_lib.Study) -> None:
  page = study.lesson
  page.section("Best, worst and in between")
  size, targets = 28, np.arange(4)
  sure, even = np.full((4, size), -np.inf), np.zeros((4, size))
  sure[targets, targets] = 0.0
  wrong = even.copy()
  wrong[2, targets[2]] = -np.inf
  cases = {
    "certain and right, each time": sure,
    f"all {size} symbols alike": even,
    "one true symbol held impossible": wrong,
  }
  body = []
  for name, logits in cases.items():
    nats, count, _ = losses.nats(
      jnp.asarray(logits), jnp.asarray(targets), jnp.ones(4, bool)
    )
    bits = units.bits_per_symbol(float(nats), int(count))
    body.append(
      [name, _shown(bits), _shown(units.perplexity(float(nats), int(count)))]
    )
  page.table(["predictions of four symbols", "bits a symbol", "PPL"], body)
  page.say(f"""
    At best it is 1. A uniform guess has the size of the vocabulary, which any
    model worth its name must beat; it is no upper bound, since a model can be
    wrong with confidence. One symbol of probability 0 makes it infinite,
    whatever the others were. The sums are taken over logits, so that this is an
    infinity and never a NaN.

    It is a geometric mean and no other. Two symbols of probability 1 and 1/4
    have PPL {units.perplexity(math.log(4), 2):g}; the arithmetic mean of their
    1/p is {(1 + 4) / 2:g}, and the harmonic mean {2 / (1 + 1 / 4):g}.
  """)


def _shown(value: float) -> str:
  return "infinite" if math.isinf(value) else results.figure(value)


def _counted(study: run_lib.Study) -> Counted:
  settings = study.config.settings
  tokens = study.tokens("characters")
  symbols, shift = tokens.vocabulary, 0
  if symbols.unk is None:
    # Continuations may hold what the text does not.
    symbols = vocabulary.Vocabulary((vocabulary.UNKNOWN, *symbols.symbols))
    shift = 1
  train, test = (
    np.asarray(tokens.splits[name]).astype(np.int64) + shift
    for name in ("train", "test")
  )
  if not settings.orders:
    raise errors.UserError(
      "config.settings.orders has 0 orders; give at least one, from 1 on"
    )
  for order in settings.orders:
    if not 1 <= order <= len(train):
      raise errors.UserError(
        f"config.settings.orders holds {order} and the training text has "
        f"{len(train):,} characters; give orders from 1 to that"
      )
  counts = ngram_counts.NGramCounts.of(
    train, symbols.size, order=max(settings.orders)
  )
  models = {
    order: ngram_counts.LaplaceNGram(counts, (settings.pseudo_count,) * order)
    for order in sorted(set(settings.orders))
  }
  return Counted(symbols, models, test, tokens.words_per_split["test"])


def _models(study: run_lib.Study, counted: Counted) -> list[results.Row]:
  page, settings = study.lesson, study.config.settings
  size, count = counted.symbols.size, len(counted.test)
  page.section(
    "Models of one text",
    f"""
    n-grams of characters, smoothed with {settings.pseudo_count:g} pseudo-counts
    of the next shorter context, trained on the source
    `{study.config.data.source}` and asked about {count:,} characters of it that
    they have not seen. Per word: the same nats over the {counted.words:,} words
    and line ends of the test text.
    """,
  )
  body = [
    [
      "uniform",
      math.log2(size),
      float(size),
      _per_word(counted, math.log(size)),
    ]
  ]
  rows = []
  for order, model in counted.models.items():
    start = time.perf_counter()
    nats = float(model.nats(counted.test).sum())
    body.append(
      [
        f"{order}-gram",
        units.bits_per_symbol(nats, count),
        units.perplexity(nats, count),
        _per_word(counted, nats / count),
      ]
    )
    rows.append(
      results.row(
        f"{order}-gram, pseudo-counts",
        split="test",
        evaluation="static",
        metric="perplexity",
        value=units.perplexity(nats, count),
        unit="per character",
        count=count,
        seconds=time.perf_counter() - start,
      )
    )
  bare = ngram_counts.LaplaceNGram(
    counted.best.counts, (0.0,) * counted.best.order
  )
  nats = float(bare.nats(counted.test).sum())
  body.append(
    [
      f"{bare.order}-gram, not smoothed",
      _shown(units.bits_per_symbol(nats, count)),
      _shown(units.perplexity(nats, count)),
      _per_word(counted, nats / count),
    ]
  )
  page.table(
    ["model", "bits a character", "PPL a character", "PPL a word"], body
  )
  page.say(f"""
    A perplexity is per symbol, and says nothing without the symbol. A word of
    this text has {count / counted.words:.2f} characters with its space, and
    bits add up: PPL a word is PPL a character to that power.
  """)
  _drawn(study, counted)
  return rows


def _drawn(study: run_lib.Study, counted: Counted) -> None:
  """A passage under a short context and under the longest."""
  length = study.config.settings.passage
  symbols = counted.symbols.decode(counted.test)
  text = "".join(c if len(c) == 1 else "?" for c in map(str, symbols))
  place = _prose(text, length)
  # No word is broken off, where there are several.
  end = max(text.rfind(" ", place, place + length), place + length // 2)
  orders = [order for order in counted.models if order > 1][:1]
  orders += [max(counted.models)]
  figures.surprise(
    study.lesson.figure(
      "surprise",
      "A passage of the test text. Bars hang from each character by the bits "
      "that it cost: long ones where something new begins.",
    ),
    "Surprise by character",
    [
      figures.Passage(
        f"{order}-gram",
        [str(symbol) for symbol in symbols[place:end]],
        counted.models[order].nats(counted.test)[place:end] / units.LOG2,
      )
      for order in dict.fromkeys(orders)
    ],
  )


def _prose(text: str, length: int) -> int:
  """Where the first stretch begins, after a space, that is mostly words."""
  for place in range(1, len(text) - length):
    stretch = text[place : place + length]
    words = sum(
      c.isalpha() or c == " " or unicodedata.category(c)[0] == "M"
      for c in stretch
    )
    if (
      text[place - 1].isspace()
      and stretch[0].isalpha()
      and words > 0.92 * length
      and "  " not in stretch
    ):
      return place
  return 0


def _per_word(counted: Counted, nats: float) -> str:
  """Perplexity a word of a model that takes so many nats a character."""
  return _shown(units.perplexity(nats * len(counted.test), counted.words))


def _traps(study: run_lib.Study, counted: Counted) -> None:
  page = study.lesson
  nats = counted.best.nats(counted.test)
  true = units.perplexity(float(nats.sum()), len(nats))
  page.section("Averages, and lengths")
  page.say("""
    Sum nats and symbols over everything, and take the exponential once. The
    mean of each minibatch's perplexity is larger, since the exponential is
    convex, and it depends on how the text was cut:
  """)
  body: list[list[Any]] = []
  for size in study.config.settings.batches:
    parts = np.split(nats, range(size, len(nats), size))
    wrong = float(np.mean([math.exp(part.mean()) for part in parts]))
    body.append([f"{size:,}", f"{len(parts):,}", wrong, true])
  page.table(
    ["symbols a batch", "batches", "mean of their PPL", "PPL of the text"], body
  )
  first = counted.models[min(counted.models)]
  once, twice = (
    first.nats(np.tile(counted.test, times)).sum() for times in (1, 2)
  )
  page.say(f"""
    A text's probability falls with its length, which is why no two texts are
    compared by it. Perplexity does not: with the test text written twice, the
    total of the {first.order}-gram goes from {once:,.0f} to {twice:,.0f} nats
    and its perplexity from {units.perplexity(once, len(counted.test)):.4f} to
    {units.perplexity(twice, 2 * len(counted.test)):.4f}.
  """)


def _code(study: run_lib.Study, counted: Counted) -> None:
  """A code of the test text's beginning, as long as its surprise."""
  page = study.lesson
  text = counted.test[: study.config.settings.coded]
  model, reach = counted.best, counted.best.order
  rows = np.stack(
    [
      model.distribution(text[max(0, i - reach) : i].tolist())
      for i in range(len(text))
    ]
  )
  frequencies = np.asarray(range_coder.frequencies(jnp.asarray(rows)))
  encoder = range_coder.Encoder()
  encoder.encode(text, frequencies)
  code = encoder.code()
  same = np.array_equal(range_coder.Decoder(code).decode(frequencies), text)
  ideal = units.bits(float(model.nats(text).sum())) / 8
  page.section("Surprise is code length")
  page.say(f"""
    No code can spend less than -log2 p bits on a symbol of probability p, on
    average, and a range coder comes as near as its words of four bytes allow.
    The first
    {len(text):,} characters of the test text surprise the {reach}-gram by
    {ideal:,.1f} bytes in all. Coded with its probabilities they are
    {len(code):,} bytes, and decoded again they are
    {"the same text" if same else "NOT the same text"}. The uniform guess takes
    {len(text) * math.log2(counted.symbols.size) / 8:,.0f}.
  """)
