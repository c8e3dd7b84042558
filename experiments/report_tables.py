"""The tables of a report: the papers' lines, what is beside and beyond them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import published, run_facts, run_folders, word_scores
from seqmodels import units
from seqmodels.io import report

Run = run_folders.Run
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
    if run.evaluates and not run_facts.adapts_plainly(run):
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
    and run_facts.find(other.evaluates, members) is run
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
  """Of a word of the test split, as the paper has it (`word_scores.rows`)."""
  if run is None or run.tokenizer == "words":
    return value(run, "test", evaluation, "perplexity")
  found = value(run, "test", evaluation, "perplexity", word_scores.WORD)
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
    cells += [str(line.epochs), run_facts.epochs(run, runs) if run else ""]
    place = 0 if line.tokenizer == "characters" else 1
    cells += [_difference(ours[place], papers[place]), *_told(run, state)]
    body.append(cells)
  return report.table([*head, "difference", *TOLD], body)


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
  return report.table(["bits/byte", "paper", "ours", "difference", *TOLD], body)


# Columns that tell of a run.
TOLD = ("run", "recipe", "hardware", "time", "commit")


def _told(run: Run | None, state: str) -> list[str]:
  if run is None:
    return [state, "", "", "", ""]
  return [
    state,
    run_facts.recipe(run),
    run_facts.hardware(run),
    run_facts.time(run),
    run_facts.commit(run),
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
        run_facts.epochs(run, every),
        *_told(run, "")[1:],
      ]
    )
  head = ["run", "data", "metric", "validation", "static", "dynamic"]
  head += ["error %", "split", "epochs", *TOLD[1:]]
  return report.table(head, body) if body else ""


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
  return report.table(head, body) if body else ""


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
  return evaluation != "dynamic" or run_facts.adapts_plainly(run)


def _figure(number: float | None) -> str:
  return "" if number is None else report.figure(number)


def _difference(ours: float | None, paper: float) -> str:
  return "" if ours is None else report.figure(ours - paper, sign=True)
