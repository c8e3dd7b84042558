"""Given continuations of a prefix, scored by n-grams and by a network."""

import os
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import restore
from experiments.studies import run
from experiments.studies.common import figures
from seqmodels import errors
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import continuations
from seqmodels.io import results
from seqmodels.models import laplace_ngram


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
  models: Mapping[int, laplace_ngram.LaplaceNGram],
  symbols: vocabulary.Vocabulary,
) -> list[Reader]:
  """n-grams of characters, by order."""

  def reader(order: int, model: laplace_ngram.LaplaceNGram) -> Reader:
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
  study: run.Study,
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
    _drawn(study, given, reader, answers[reader.name])
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
  study: run.Study,
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


def _drawn(
  study: run.Study, given: Given, reader: Reader, answer: Asked
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
