"""The tables of a report: the papers' rows and ours."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from configs import handwriting_prediction, handwriting_synthesis
from experiments import published
from experiments.handwriting import evaluate as handwriting_evaluate
from experiments.language_model import evaluate
from experiments.report import runs as runs_lib
from seqmodels import units
from seqmodels.io import results

Run = runs_lib.Run
# Runs of each line of the paper, the one to show first.
Assigned = Mapping[tuple[str, str], Sequence[Run]]

NOT_RUN = "not run"


def assign(
  runs: Sequence[Run],
) -> tuple[dict[tuple[str, str], list[Run]], list[Run]]:
  """Runs by line of the paper, best first, and those that are of none.

  Finished ones come first, then those best on the validation split, then those
  that trained their network over those that evaluate it once more.
  """
  lines: dict[tuple[str, str], list[Run]] = {}
  beyond = []
  for run in runs:
    line = published.line_of(run.config)
    # The paper adapts by plain descent.
    if run.evaluates and not runs_lib.adapts_plainly(run):
      line = None
    if line is None:
      beyond.append(run)
    else:
      lines.setdefault(line, []).append(run)
  for members in lines.values():
    members.sort(
      key=lambda run: (
        not run.finished, run.valid(), bool(run.evaluates), run.name,
      )
    )  # fmt: skip
    members[:] = [run._replace(again=_again(run, members)) for run in members]
  return lines, beyond


def _again(run: Run, members: Sequence[Run]) -> tuple[Run, ...]:
  """Finished evaluations of a run's own weights."""
  return tuple(
    other
    for other in members
    if other.evaluates
    and other.finished
    and runs_lib.find(other.evaluates, members) is run
  )


def value(
  run: Run | None, split: str, evaluation: str, metric: str, unit: str = ""
) -> float | None:
  """Of one row of a run, if it has that row."""
  row = run.row(split, evaluation, metric, unit) if run else None
  return None if row is None else row["value"]


def bits(run: Run | None, evaluation: str) -> float | None:
  """Bits a character of the Penn Treebank's test split, also of word nets.

  Runs older than that row are converted, if they scored the whole split.
  """
  found = value(run, "test", evaluation, "bits_per_character")
  if found is None and run is not None and run.tokenizer == "words":
    nats = _test_nats(
      run, evaluation, published.TEST_WORDS + published.TEST_LINES
    )
    return (
      None
      if nats is None
      else units.bits_per_symbol(nats, published.TEST_CHARACTERS)
    )
  return found


def perplexity(run: Run | None, evaluation: str) -> float | None:
  """Of a word of the test split, as the paper has it (`evaluate.word_rows`)."""
  if run is None or run.tokenizer == "words":
    return value(run, "test", evaluation, "perplexity")
  found = value(run, "test", evaluation, "perplexity", evaluate.WORD)
  if found is None:
    nats = _test_nats(run, evaluation, published.TEST_CHARACTERS)
    return (
      None if nats is None else units.perplexity(nats, published.TEST_WORDS)
    )
  return found


def _test_nats(run: Run, evaluation: str, count: int) -> float | None:
  """All of the test split; None unless every symbol of it was scored."""
  row = run.row("test", evaluation, run.metric)
  if row is None or row["value"] is None or row["count"] != count:
    return None
  score = float(row["value"])
  mean = math.log(score) if run.metric == "perplexity" else score * units.LOG2
  return mean * count


def table_1(lines: Assigned, runs: Sequence[Run]) -> str:
  """Table 1 of Graves (2013), ten lines, the paper's value beside ours."""
  head = ["input", "regularisation", "dynamic"]
  for column in ("bits/character", "perplexity", "error %", "epochs"):
    head += [f"{column}, paper", "ours"]
  body = []
  for line in published.TABLE_1:
    run, state = shown(lines, (line.tokenizer, line.regularisation))
    if run and not _papers_way(run, line.evaluation):
      state, run = f"{run.name}: adapted by another rule", None
    ours = (
      bits(run, line.evaluation),
      perplexity(run, line.evaluation),
      value(run, "test", line.evaluation, "error_rate"),
    )
    if run and None in ours[:2]:
      state = f"{run.name}: no {line.evaluation} evaluation"
    cells = [line.tokenizer, line.regularisation]
    cells.append("yes" if line.evaluation == "dynamic" else "no")
    papers = (line.bits, line.perplexity, line.error_rate)
    for paper, our in zip(papers, ours, strict=True):
      cells += [f"{paper:g}", _figure(our)]
    cells += [str(line.epochs), runs_lib.epochs(run, runs) if run else ""]
    place = 0 if line.tokenizer == "characters" else 1
    cells += [_difference(ours[place], papers[place]), *_told(run, state)]
    body.append(cells)
  return results.table([*head, "difference", *TOLD], body)


def table_2(lines: Assigned) -> str:
  """Table 2 of Graves (2013): train, static and dynamic, and what adapts."""
  run, state = shown(lines, ("bytes", "none"))
  body = []
  for (split, evaluation), paper in published.TABLE_2.items():
    ours = value(run, split, evaluation, "bits_per_byte")
    told = _told(run, state)
    label = f"{split}, {evaluation}"
    if run and ours is None:
      told = _told(run, f"{run.name}: not scored")
    elif run:
      scored, row = run.scored(split, evaluation, "bits_per_byte")
      told = _told(scored, scored.name)
      label += f" ({row['count']:,} bytes)"
    body.append(
      [
        label,
        f"{paper:g}",
        _figure(ours),
        _difference(ours, paper),
        *told,
      ]
    )
  static, adapted = (
    value(run, "valid", evaluation, "bits_per_byte")
    for evaluation in ("static", "dynamic")
  )
  if static is not None and adapted is not None:
    body.append(
      [
        "static minus dynamic",
        "0.34",
        _figure(static - adapted),
        _difference(static - adapted, 0.34),
        *_told(run, state),
      ]
    )
  return results.table(
    ["bits/byte", "paper", "ours", "difference", *TOLD], body
  )


# Columns that tell of a run.
TOLD = ("run", "recipe", "hardware", "time", "commit")


def _told(run: Run | None, state: str) -> list[str]:
  if run is None:
    return [state, "", "", "", ""]
  return [
    state,
    runs_lib.recipe(run),
    runs_lib.hardware(run),
    runs_lib.time(run),
    runs_lib.commit(run),
  ]


def shown(lines: Assigned, line: tuple[str, str]) -> tuple[Run | None, str]:
  """The run to show on a line, if one finished, and what the table says."""
  first = next(iter(lines.get(line, ())), None)
  if first is None:
    return None, NOT_RUN
  if not first.finished:
    return None, f"{first.name}: not finished{_so_far(first)}"
  return first, first.name


def _so_far(run: Run) -> str:
  best = run.valid()
  return f", validation {_figure(best)} so far" if best < float("inf") else ""


def others(runs: Sequence[Run], every: Sequence[Run]) -> str:
  """Runs with their validation and last split; empty for none."""
  body = []
  for run in runs:
    split = "test" if run.row("test", "static", run.metric) else "valid"
    static, adapted, wrong = (
      value(run, split, evaluation, metric)
      for evaluation, metric in (
        ("static", run.metric), ("dynamic", run.metric),
        ("static", "error_rate"),
      )
    )  # fmt: skip
    best = run.valid()
    body.append(
      [
        run.name if run.finished else f"{run.name}: not finished",
        f"{run.config['data']['source']}, {run.tokenizer}",
        run.metric.replace("_", " "),
        _figure(best) if best < float("inf") else "",
        *(map(_figure, (static, adapted, wrong))),
        split if run.finished else "",
        runs_lib.epochs(run, every),
        *_told(run, "")[1:],
      ]
    )
  head = ["run", "data", "metric", "validation", "static", "dynamic"]
  head += ["error %", "split", "epochs", *TOLD[1:]]
  return results.table(head, body) if body else ""


def baselines(runs: Sequence[Run]) -> str:
  """What stands beside the networks: n-grams, compressors; once each."""
  found: dict[tuple[str, ...], list[str]] = {}
  for run in runs:
    for row in run.rows:
      if run.is_baseline(row):
        data = f"{run.config['data']['source']}, {run.tokenizer}"
        metric = row["metric"].replace("_", " ")
        cells = (row["name"], data, row["split"], metric, _figure(row["value"]))
        found.setdefault(cells, []).append(run.name)
  body = [[*cells, ", ".join(names)] for cells, names in sorted(found.items())]
  head = ["baseline", "data", "split", "metric", "value", "of run"]
  return results.table(head, body) if body else ""


def result_rows(lines: Assigned) -> list[dict[str, Any]]:
  """Rows of the runs shown on the paper's lines, its values beside them."""
  rows = []
  wanted: list[tuple[tuple[str, str], str, str, str, float, str]] = [
    (
      (line.tokenizer, line.regularisation), "test", line.evaluation,
      "bits_per_character" if line.tokenizer == "characters" else "perplexity",
      line.bits if line.tokenizer == "characters" else line.perplexity,
      published.SOURCE_1,
    )
    for line in published.TABLE_1
  ]  # fmt: skip
  wanted += [
    (("bytes", "none"), *kind, "bits_per_byte", paper, published.SOURCE_2)
    for kind, paper in published.TABLE_2.items()
  ]
  for line, split, evaluation, metric, paper, source in wanted:
    run, _ = shown(lines, line)
    row = run.row(split, evaluation, metric) if run else None
    if run and row and _papers_way(run, evaluation):
      name = f"{run.name}: {row['name']}"
      rows.append(
        row | {"name": name, "reference": paper, "reference_source": source}
      )
  return rows


def _papers_way(run: Run, evaluation: str) -> bool:
  """Whether such a score may stand on a line of the paper."""
  return evaluation != "dynamic" or runs_lib.adapts_plainly(run)


def _figure(number: float | None) -> str:
  return "" if number is None else results.figure(number)


def _difference(ours: float | None, paper: float) -> str:
  return "" if ours is None else results.figure(ours - paper, sign=True)


TITLE = "Graves 2013, Tables 3 and 4: handwriting, validation lines"
NOTE = (
  "A line's nats are those of a density over standardised offsets: comparable "
  "only where offsets are standardised alike; lower is better. The paper does "
  "not say what its SSE is. Ours is half the squared error of the likeliest "
  "component's mean, probably the same: RNNLIB, the author's code, halves "
  "squared errors."
)

# Of the paper's networks, by their number of layers.
WIDTHS = {1: 900, 3: 400}
# Network, regularisation and half SSE by source and nats a line.
LINES = {
  (page.SOURCE, nats): (f"{name}, {layers} x {WIDTHS[layers]}", stage, half_sse)
  for name, page in (
    ("prediction", handwriting_prediction),
    ("synthesis", handwriting_synthesis),
  )
  for (layers, stage), (nats, half_sse) in page.TABLE.items()
}


def table(runs: Sequence[runs_lib.Run]) -> str:
  """Every line of the two tables, with the best finished run on it.

  Args:
    runs: of handwriting; those on no line of the paper are passed over.
  """
  body = []
  for line, (network, stage, half_sse) in LINES.items():
    members = [run for run in runs if line_of(run) == line]
    best = min(
      (run for run in members if run.finished), key=_nats, default=None
    )
    state = NOT_RUN
    if members:
      state = f"{members[0].name}: not finished"
    told = [state, "", "", "", ""]
    ours = squares = ""
    if best is not None:
      row = best.row("valid", "static", "half_sse")
      ours = results.figure(_nats(best))
      squares = results.figure(row["value"] if row else None)
      told = [
        best.name,
        str(best.rows[-1]["name"]).partition(";")[0],
        runs_lib.hardware(best),
        runs_lib.time(best),
        runs_lib.commit(best),
      ]
    name = stage.replace("_", " ")
    body.append(
      [network, name, f"{line[1]:g}", ours, f"{half_sse:g}", squares, *told]
    )
  head = ["network", "regularisation", "nats a line, paper", "ours"]
  head += ["SSE, paper", "half SSE, ours", *TOLD]
  return results.table(head, body)


def line_of(run: runs_lib.Run) -> tuple[str, float] | None:
  """The line of the paper that a run's validation score may stand on."""
  config = config_dict.ConfigDict(run.config)
  found = handwriting_evaluate.published(config, "valid")
  return (found["source"], found["nats_per_sequence"]) if found else None


def _nats(run: runs_lib.Run) -> float:
  row = run.row("valid", "static", "nats_per_sequence")
  return float("inf") if row is None or row["value"] is None else row["value"]
