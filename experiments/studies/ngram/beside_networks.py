"""What networks make of the same text: part of the study `ngram`."""

import math
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from experiments import published
from experiments.report import runs as runs_lib
from experiments.studies import run as run_lib
from seqmodels import errors
from seqmodels.io import results


class Compared(NamedTuple):
  """A score of a test text.

  Attributes:
    level: "words" or "characters".
    name: of the model.
    evaluation: "static", or "dynamic" where it went on learning.
    bits: a symbol.
    scored: symbols, where known.
  """

  level: str
  name: str
  evaluation: str
  bits: float
  scored: int | None = None


def runs_of(study: run_lib.Study) -> list[runs_lib.Run]:
  """The runs that the setting `beside` names, separated by commas.

  Raises:
    UserError: a folder of no finished language model, or of another text.
  """
  listed = [part.strip() for part in study.config.settings.beside.split(",")]
  return [_read(study, folder) for folder in listed if folder]


def add(
  study: run_lib.Study,
  runs: Sequence[runs_lib.Run],
  best: Mapping[str, Compared],
) -> list[results.Row]:
  """Adds the section to the study's page, where there is something to tell.

  Args:
    study: of the n-grams.
    runs: of networks.
    best: the best n-gram of each level.

  Returns:
    The rows of those runs.
  """
  data = study.config.data
  papers = data.source == "ptb" and not data.limit
  if not runs and not papers:
    return []
  rows = [row for run in runs for row in _scores(run)]
  networks = [_compared(run, row) for run in runs for row in _scores(run)]
  if papers:
    networks += [line for line in _published() if line.level in best]
  page = study.lesson
  page.section(
    "Beside networks",
    """
    Recurrent networks of the same training text, on the same test text, beside
    the best n-gram of this page:
    """,
  )
  page.table(
    [
      *("symbols", "model", "evaluation"),
      *("perplexity a symbol", "bits a symbol", "scored"),
    ],
    [
      [
        one.level,
        one.name,
        one.evaluation,
        2**one.bits,
        one.bits,
        f"{one.scored:,}" if one.scored else "",
      ]
      for level, gram in best.items()
      for one in (gram, *(other for other in networks if other.level == level))
    ],
  )
  better = [one for one in networks if one.bits < best[one.level].bits]
  page.say(
    f"""
    {len(better)} of these {len(networks)} scores are better than the n-gram of
    the same symbols. Static: the weights stay as they are. Dynamic: the network
    goes on learning from the test text, each symbol after it was scored, which
    the counts here do not. Nor do counts see that two words are alike: what was
    learned of one says nothing of the other.
    """
  )
  return rows


def _read(study: run_lib.Study, folder: str) -> runs_lib.Run:
  named = f"config.settings.beside names {folder}"
  try:
    run = runs_lib.read(pathlib.Path(os.path.expanduser(folder)))
  except errors.UserError as error:
    raise errors.UserError(
      f"{named}: {error}; give the run folder of a language model"
    ) from error
  levels = study.config.settings.levels
  data, own = run.config["data"], study.config.data
  same = data["source"] == own.source and not data["limit"]
  if own.source == "text":
    same = same and _place(data["path"]) == _place(own.path)
  if not run.finished or not same or run.tokenizer not in levels:
    what = "" if run.finished else "not finished, "
    raise errors.UserError(
      f"{named}, {what}of {run.tokenizer} of source {data['source']!r}"
      f"{' cut short' if data['limit'] else ''}; give finished runs of the "
      f"whole of {own.path or own.source!r} as {' or '.join(levels)}"
    )
  return run


def _place(path: str) -> pathlib.Path:
  return pathlib.Path(os.path.expanduser(path)).resolve()


def _scores(run: runs_lib.Run) -> list[results.Row]:
  """Its own scores of the test split, under its folder's name."""
  # Not the perplexity a word of a network of characters.
  unit = results.METRICS[run.metric]
  found = (
    run.row("test", evaluation, run.metric, unit)
    for evaluation in ("static", "dynamic")
  )
  return [
    {**row, "name": f"{run.name}: {row['name']}"}
    for row in found
    if row and row["value"] is not None
  ]


def _compared(run: runs_lib.Run, row: Mapping[str, Any]) -> Compared:
  bits = row["value"] if run.metric != "perplexity" else math.log2(row["value"])
  return Compared(
    run.tokenizer,
    str(row["name"]).partition(",")[0],
    row["evaluation"],
    bits,
    row["count"],
  )


def _published() -> list[Compared]:
  """The paper's network without noise on the Penn Treebank."""
  return [
    Compared(
      line.tokenizer,
      "LSTM of 1000 units, as Graves (2013) reports",
      line.evaluation,
      line.bits
      if line.tokenizer == "characters"
      else math.log2(line.perplexity),
    )
    for line in published.TABLE_1
    if line.regularisation == "none"
  ]
