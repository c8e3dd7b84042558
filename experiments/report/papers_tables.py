"""The tables of a report: the papers' rows and ours."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from configs import handwriting_prediction, handwriting_synthesis
from experiments import published
from experiments.handwriting import run as handwriting
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


def _value(run: Run | None, *kind: str) -> float | None:
  return run.value(*kind) if run else None


def bits(run: Run | None, evaluation: str) -> float | None:
  """Bits a character of the Penn Treebank's test split, also of word nets.

  Runs older than that row are converted, if they scored the whole split.
  """
  score = _value(run, "test", evaluation, "bits_per_character")
  if score is not None or run is None or run.tokenizer != "words":
    return score
  words = published.TEST_WORDS + published.TEST_LINES
  nats = _test_nats(run, evaluation, words)
  if nats is None:
    return None
  return units.bits_per_symbol(nats, published.TEST_CHARACTERS)


def perplexity(run: Run | None, evaluation: str) -> float | None:
  """Of a word of the test split, as the paper has it (`evaluate.word_rows`)."""
  if run is None or run.tokenizer == "words":
    return _value(run, "test", evaluation, "perplexity")
  score = run.value("test", evaluation, "perplexity", evaluate.WORD)
  if score is not None:
    return score
  nats = _test_nats(run, evaluation, published.TEST_CHARACTERS)
  return None if nats is None else units.perplexity(nats, published.TEST_WORDS)


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
      _value(run, "test", line.evaluation, "error_rate"),
    )
    if run and None in ours[:2]:
      state = f"{run.name}: no {line.evaluation} evaluation"
    cells = [line.tokenizer, line.regularisation]
    cells.append("yes" if line.evaluation == "dynamic" else "no")
    papers = (line.bits, line.perplexity, line.error_rate)
    differences = []
    for paper, our in zip(papers, ours, strict=True):
      *pair, difference = _compared(our, paper)
      cells += pair
      differences.append(difference)
    cells += [str(line.epochs), runs_lib.epochs(run, runs) if run else ""]
    place = 0 if line.tokenizer == "characters" else 1
    cells += [differences[place], *_facts(run, state)]
    body.append(cells)
  return results.table([*head, "difference", *FACTS], body)


def table_2(lines: Assigned) -> str:
  """Table 2 of Graves (2013): train, static and dynamic, and what adapts."""
  run, state = shown(lines, ("bytes", "none"))
  body = []
  for (split, evaluation), paper in published.TABLE_2.items():
    ours = _value(run, split, evaluation, "bits_per_byte")
    facts = _facts(run, state)
    label = f"{split}, {evaluation}"
    if run and ours is None:
      facts = _facts(run, f"{run.name}: not scored")
    elif run:
      scored, row = run.scored(split, evaluation, "bits_per_byte")
      facts = _facts(scored, scored.name)
      label += f" ({row['count']:,} bytes)"
    body.append([label, *_compared(ours, paper), *facts])
  static, adapted = (
    _value(run, "valid", evaluation, "bits_per_byte")
    for evaluation in ("static", "dynamic")
  )
  if static is not None and adapted is not None:
    gain = _compared(static - adapted, 0.34)
    body.append(["static minus dynamic", *gain, *_facts(run, state)])
  return results.table(
    ["bits/byte", "paper", "ours", "difference", *FACTS], body
  )


# Columns about a run.
FACTS = ("run", "recipe", "hardware", "time", "commit")


def _facts(run: Run | None, state: str) -> list[str]:
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
  """The run to show on a line, if one finished, and the cell that names it."""
  first = next(iter(lines.get(line, ())), None)
  if first is None:
    return None, NOT_RUN
  if first.finished:
    return first, first.name
  best = first.valid()
  so_far = f", validation {_figure(best)} so far" if math.isfinite(best) else ""
  return None, f"{first.name}: not finished{so_far}"


def others(runs: Sequence[Run], every: Sequence[Run]) -> str:
  """Runs with their validation and last split; empty for none."""
  body = []
  for run in runs:
    split = "test" if run.row("test", "static", run.metric) else "valid"
    scores = (
      run.value(split, "static", run.metric),
      run.value(split, "dynamic", run.metric),
      run.value(split, "static", "error_rate"),
    )
    best = run.valid()
    body.append(
      [
        run.name if run.finished else f"{run.name}: not finished",
        f"{run.config['data']['source']}, {run.tokenizer}",
        run.metric.replace("_", " "),
        _figure(best) if math.isfinite(best) else "",
        *map(_figure, scores),
        split if run.finished else "",
        runs_lib.epochs(run, every),
        *_facts(run, "")[1:],
      ]
    )
  head = ["run", "data", "metric", "validation", "static", "dynamic"]
  head += ["error %", "split", "epochs", *FACTS[1:]]
  return results.table(head, body) if body else ""


def baselines(runs: Sequence[Run]) -> str:
  """N-grams and compressors beside the networks, once each."""
  names: dict[tuple[str, ...], list[str]] = {}
  for run in runs:
    for row in run.rows:
      if run.is_baseline(row):
        data = f"{run.config['data']['source']}, {run.tokenizer}"
        metric = row["metric"].replace("_", " ")
        cells = (row["name"], data, row["split"], metric, _figure(row["value"]))
        names.setdefault(cells, []).append(run.name)
  body = [[*cells, ", ".join(of)] for cells, of in sorted(names.items())]
  head = ["baseline", "data", "split", "metric", "value", "of run"]
  return results.table(head, body) if body else ""


def result_rows(lines: Assigned) -> list[dict[str, Any]]:
  """Rows of the runs shown on the paper's lines, its values beside them."""
  wanted: list[tuple[tuple[str, str], tuple[str, str, str], float, str]] = []
  for line in published.TABLE_1:
    characters = line.tokenizer == "characters"
    metric = "bits_per_character" if characters else "perplexity"
    kind = ("test", line.evaluation, metric)
    paper = line.bits if characters else line.perplexity
    place = (line.tokenizer, line.regularisation)
    wanted.append((place, kind, paper, published.SOURCE_1))
  for (split, evaluation), paper in published.TABLE_2.items():
    kind = (split, evaluation, "bits_per_byte")
    wanted.append((("bytes", "none"), kind, paper, published.SOURCE_2))
  rows = []
  for place, kind, paper, source in wanted:
    run, _ = shown(lines, place)
    row = run.row(*kind) if run else None
    if run and row and _papers_way(run, kind[1]):
      name = f"{run.name}: {row['name']}"
      rows.append(
        row | {"name": name, "reference": paper, "reference_source": source}
      )
  return rows


def _papers_way(run: Run, evaluation: str) -> bool:
  """True if such a score may be on a line of the paper."""
  return evaluation != "dynamic" or runs_lib.adapts_plainly(run)


def _figure(number: float | None) -> str:
  return "" if number is None else results.figure(number)


def _compared(ours: float | None, paper: float) -> list[str]:
  """The paper's value, ours, and the difference."""
  difference = "" if ours is None else results.figure(ours - paper, sign=True)
  return [f"{paper:g}", _figure(ours), difference]


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


def table(runs: Sequence[Run]) -> str:
  """Every line of Tables 3 and 4, with the best finished run of handwriting.

  Runs on no line of the paper are passed over.
  """
  body = []
  for line, (network, stage, half_sse) in LINES.items():
    members = [run for run in runs if line_of(run) == line]
    finished = [run for run in members if run.finished]
    best = min(finished, key=_nats, default=None)
    state = f"{members[0].name}: not finished" if members else NOT_RUN
    ours = squares = ""
    if best is not None:
      state = best.name
      ours = results.figure(_nats(best))
      squares = results.figure(best.value("valid", "static", "half_sse"))
    cells = [network, stage.replace("_", " "), f"{line[1]:g}", ours]
    body.append([*cells, f"{half_sse:g}", squares, *_facts(best, state)])
  head = ["network", "regularisation", "nats a line, paper", "ours"]
  head += ["SSE, paper", "half SSE, ours", *FACTS]
  return results.table(head, body)


def line_of(run: Run) -> tuple[str, float] | None:
  """The line of the paper that a run's validation score may be on."""
  config = config_dict.ConfigDict(run.config)
  values = handwriting.published(config, "valid")
  return (values["source"], values["nats_per_sequence"]) if values else None


def _nats(run: Run) -> float:
  nats = run.value("valid", "static", "nats_per_sequence")
  return float("inf") if nats is None else nats
