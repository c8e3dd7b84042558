"""Perplexity: models of one text, averages, code lengths, continuations."""

import functools
import math
import os
import pathlib
import time
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from experiments import restore
from experiments.studies import run as run_lib
from experiments.studies.common import (
  continuations,
  figures,
  ngram_counts,
  training,
)
from seqmodels import errors, losses, units
from seqmodels.compression import range_coder
from seqmodels.data import files
from seqmodels.data.text import vocabulary
from seqmodels.io import results


def run(study: run_lib.Study) -> list[results.Row]:
  """Fills the page from top to bottom; see `configs.fundamentals`."""
  given = read_given(study.config.settings)
  network = restored(study.config.settings.restore)
  counted = count(study)
  rows = compare_orders(study, counted)
  passage(study, counted)
  study.signals.check()
  averages(study, counted)
  code_length(study, counted)
  study.signals.check()
  return rows + compare_continuations(study, given, counted, network)


class Counted(NamedTuple):
  """The n-grams of the study and what they are asked about."""

  symbols: vocabulary.Vocabulary  # characters, `<unk>` among them
  models: dict[int, ngram_counts.LaplaceNGram]  # by order, ascending
  test: np.ndarray
  words: int  # in the test text, line ends included

  @property
  def best(self) -> ngram_counts.LaplaceNGram:
    """Of the highest order."""
    return self.models[max(self.models)]


def count(study: run_lib.Study) -> Counted:
  """The n-grams of the training text."""
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


def compare_orders(study: run_lib.Study, counted: Counted) -> list[results.Row]:
  """The test text under n-grams of every order."""
  page, count, words = study.page, len(counted.test), counted.words

  def line(name: str, nats: float) -> list[str]:
    return [
      name,
      _shown(units.bits_per_symbol(nats, count)),
      _shown(units.perplexity(nats, count)),
      _shown(units.perplexity(nats, words)),
    ]

  body = [line("uniform", count * math.log(counted.symbols.size))]
  rows = []
  for order, model in counted.models.items():
    began, name = time.perf_counter(), f"{order}-gram"
    score = training.counted(model.nats(counted.test), began)
    body.append(line(name, score.nats))
    rows.append(_row(f"{name}, pseudo-counts", score, split="test"))
  order = counted.best.order
  bare = ngram_counts.LaplaceNGram(counted.best.counts, (0.0,) * order)
  nats = float(bare.nats(counted.test).sum())
  body.append(line(f"{order}-gram, not smoothed", nats))
  page["models"] = body
  page["order"], page["best"] = order, rows[-1]["value"]
  page["source"] = study.config.data.source
  page["count"], page["words"] = f"{count:,}", f"{words:,}"
  page["lacking"] = f"{100 * np.mean(counted.test == counted.symbols.unk):.1f}"
  page["word_length"] = f"{count / words:.2f}"
  return rows


_row = functools.partial(training.scored_row, unit="per character")


def _shown(value: float) -> str:
  return "infinite" if math.isinf(value) else results.figure(value)


def passage(study: run_lib.Study, counted: Counted) -> None:
  """Draws a passage under a short context and under the longest."""
  length = study.config.settings.passage
  symbols = [str(s) for s in counted.symbols.decode(counted.test)]
  text = "".join(c if len(c) == 1 else "?" for c in symbols)
  place = _prose(text, length)
  # No word is broken off, where there are several.
  end = max(text.rfind(" ", place, place + length), place + length // 2)
  orders = [order for order in counted.models if order > 1][:1]
  orders += [max(counted.models)]
  figures.surprise(
    study.page.figure("surprise"),
    "Surprise by character",
    [
      figures.Passage(
        f"{order}-gram",
        symbols[place:end],
        counted.models[order].nats(counted.test)[place:end] / units.LOG2,
      )
      for order in dict.fromkeys(orders)
    ],
  )


def _prose(text: str, length: int) -> int:
  """The beginning of the first passage, after a space, that is mostly words."""
  for place in range(1, len(text) - length):
    inside = text[place : place + length]
    words = sum(
      c.isalpha() or c == " " or unicodedata.category(c)[0] == "M"
      for c in inside
    )
    if (
      text[place - 1].isspace()
      and inside[0].isalpha()
      and words > 0.92 * length
      and "  " not in inside
    ):
      return place
  return 0


def averages(study: run_lib.Study, counted: Counted) -> None:
  """Means of perplexities, and a text written twice."""
  page, test = study.page, counted.test
  nats = counted.best.nats(test)
  true = units.perplexity(float(nats.sum()), len(nats))
  body: list[list[Any]] = []
  for size in study.config.settings.batches:
    parts = np.split(nats, range(size, len(nats), size))
    wrong = float(np.mean([math.exp(part.mean()) for part in parts]))
    body.append([f"{size:,}", f"{len(parts):,}", wrong, true])
  page["averages"] = body
  first = counted.models[min(counted.models)]
  once, twice = (first.nats(np.tile(test, n)).sum() for n in (1, 2))
  page["lengths"] = {
    "model": f"{first.order}-gram",
    "nats": f"{once:,.0f}",
    "nats_twice": f"{twice:,.0f}",
    "perplexity": f"{units.perplexity(once, len(test)):.4f}",
    "perplexity_twice": f"{units.perplexity(twice, 2 * len(test)):.4f}",
  }


def code_length(study: run_lib.Study, counted: Counted) -> None:
  """A code of the test text's beginning, as long as its surprise."""
  text, model = counted.test[: study.config.settings.coded], counted.best
  code, _ = encode(model, text)
  study.page["code"] = {
    "characters": f"{len(text):,}",
    "model": f"{model.order}-gram",
    "ideal": f"{units.bits(float(model.nats(text).sum())) / 8:,.1f}",
    "bytes": f"{len(code):,}",
    "uniform": f"{len(text) * math.log2(counted.symbols.size) / 8:,.0f}",
  }


def encode(
  model: ngram_counts.LaplaceNGram, text: np.ndarray
) -> tuple[bytes, np.ndarray]:
  """The code of a text [N] by a model, and the frequencies that read it."""
  shares = [
    model.distribution(text[max(0, i - model.order) : i].tolist())
    for i in range(len(text))
  ]
  frequencies = np.asarray(range_coder.frequencies(jnp.asarray(shares)))
  encoder = range_coder.Encoder()
  encoder.encode(text, frequencies)
  return encoder.code(), frequencies


class Given(NamedTuple):
  """What is to be scored."""

  prefix: str
  continuations: list[str]


def read_given(settings: Any) -> Given:
  """The settings' own, or those of a file: the prefix in its first line."""
  place = settings.continuations_file
  if not place:
    given = Given(settings.prefix, list(settings.continuations))
    place = "config.settings.continuations"
  else:
    content = b"".join(files.content(os.path.expanduser(place)))
    try:
      first, *lines = content.decode("utf-8").splitlines() or [""]
    except UnicodeDecodeError as error:
      raise errors.UserError(
        f"{place} is not UTF-8 at byte {error.start:,} "
        f"(0x{error.object[error.start]:02x}); convert it"
      ) from error
    given = Given(first, [line for line in lines if line.strip()])
  if not given.continuations or not all(given.continuations):
    raise errors.UserError(
      f"{place} has {len(given.continuations)} continuations, or an empty one; "
      "give a prefix in the first line and at least 1 continuation in lines of "
      "their own"
    )
  return given


class Reader(NamedTuple):
  """A model that can be asked."""

  name: str  # on the page
  tokenizer: vocabulary.Tokenizer  # cuts a text as the model reads it
  symbols: vocabulary.Vocabulary
  # From the ids of a prefix and of each continuation.
  score: Callable[[list[int], list[list[int]]], list[continuations.Scored]]

  def split(self, text: str) -> list[Any]:
    """The text's symbols: characters, words, or byte values."""
    pieces = self.tokenizer.split(np.frombuffer(text.encode("utf-8"), np.uint8))
    # The word tokenizer ends every text with a line end, a prefix has none.
    words = self.tokenizer.name == "words"
    return list(pieces[:-1] if words else pieces)

  def prefix(self, given: Given) -> list[Any]:
    """The prefix and the space after it, which words do without."""
    return self.split(f"{given.prefix} " if given.prefix else "")


def by_counts(order: int, counted: Counted) -> Reader:
  """An n-gram of characters."""
  score = functools.partial(continuations.by_counts, counted.models[order])
  characters = vocabulary.named("characters")
  return Reader(f"{order}-gram", characters, counted.symbols, score)


def restored(folder: str) -> Reader | None:
  """The network of a run folder; None without one."""
  if not folder:
    return None
  trained = restore.reload(folder)
  name = pathlib.Path(os.path.expanduser(folder)).resolve().name
  return Reader(
    f"network {name} (step {trained.step:,})",
    vocabulary.named(trained.config.data.tokenizer),
    trained.symbols,
    functools.partial(continuations.by_network, trained.model, trained.params),
  )


class Answer(NamedTuple):
  """A reader's scores, in the order given."""

  scored: list[continuations.Scored]
  unknown: int  # symbols read as `<unk>`
  seconds: float

  @property
  def ranks(self) -> str:
    """Numbers of the continuations, the lowest perplexity first."""
    return _ranked([one.perplexity for one in self.scored])


def _ranked(costs: Sequence[float]) -> str:
  order = np.argsort(costs, kind="stable")
  return ", ".join(str(place + 1) for place in order)


def ask(reader: Reader, given: Given) -> Answer:
  """Scores the continuations."""
  start = time.perf_counter()
  pieces = [reader.split(text) for text in given.continuations]
  scored = reader.score(
    reader.symbols.encode(reader.prefix(given)).tolist(),
    [reader.symbols.encode(piece).tolist() for piece in pieces],
  )
  unknown = sum(
    symbol not in reader.symbols for piece in pieces for symbol in piece
  )
  return Answer(scored, unknown, time.perf_counter() - start)


def compare_continuations(
  study: run_lib.Study, given: Given, counted: Counted, network: Reader | None
) -> list[results.Row]:
  """The continuations by every model; those of the best ones are rows."""
  page, prefix, texts = study.page, given.prefix, given.continuations
  page.verbatim("given", "\n".join(f"{prefix} ... {text}" for text in texts))
  counting = [by_counts(order, counted) for order in counted.models]
  shortest, longest = counting[0], counting[-1]
  readers = [*counting, *([network] if network else [])]
  answers = {reader.name: ask(reader, given) for reader in readers}
  body = []
  for name, answer in answers.items():
    shown = [
      f"{results.figure(one.perplexity)} ({one.total:.1f})"
      for one in answer.scored
    ]
    likeliest = _ranked([-one.total for one in answer.scored])
    body.append([name, *shown, answer.ranks, likeliest])
  head = ["model", *(f"`{text}`" for text in texts)]
  page.table("continuations", [*head, "by perplexity", "by probability"], body)
  page["ranks"] = {
    "longest_model": longest.name,
    "longest": answers[longest.name].ranks,
    "shortest_model": shortest.name,
    "shortest": answers[shortest.name].ranks,
  }
  best = {"ngram": longest}
  if network:
    best["network"] = network
    ranks = answers[network.name].ranks
    page["network"] = {"name": network.name, "ranks": ranks}
  unknown = {
    reader.name: answers[reader.name].unknown for reader in best.values()
  }
  if any(unknown.values()):
    page["unknown"] = ", ".join(
      f"{number} for the {name}" for name, number in unknown.items()
    )
  rows = []
  for kind, reader in best.items():
    answer, before = answers[reader.name], reader.prefix(given)
    symbol, drawn = reader.tokenizer.name.rstrip("s"), []
    for text, one in zip(texts, answer.scored, strict=True):
      title = f"perplexity {results.figure(one.perplexity)} a {symbol}"
      # Byte values as characters.
      shown = [
        x if isinstance(x, str) else chr(int(x))
        for x in [*before, *reader.split(text)]
      ]
      bits = np.concatenate([np.full(len(before), np.nan), one.bits])
      drawn.append(figures.Passage(title, shown, bits))
      count, seconds = len(one.bits), answer.seconds
      rows.append(
        _row(
          f"{reader.name}: {text!r} after {prefix!r}",
          losses.Metrics(-one.total, count, seconds=seconds),
          split="given",
          evaluation="continuation",
          unit=f"per {symbol}",
        )
      )
    figures.surprise(
      page.figure(f"continuations_{kind}"),
      f"What surprises the {reader.name}",
      drawn,
    )
  return rows
