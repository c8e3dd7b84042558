"""Result rows, and their tables."""

import collections
import math
import pathlib
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seqmodels.io import files

PAGE = "report.md"

Row = dict[str, Any]

# Characters of a printed table; what is longer is wrapped.
_NARROWEST_NAME, _WIDEST_NAME, _WIDEST_LINE = 12, 44, 100
# From here on nobody counts digits.
_ABSURD = 1e12
# From here on a name that several rows share is said once, above the table.
_LONG_NAME = 30

# Every metric by name, with the unit that its values have.
METRICS = {
  "bits_per_character": "bits/character",
  "bits_per_byte": "bits/byte",
  "perplexity": "1",
  "error_rate": "%",
  "nats_per_sequence": "nats/sequence",
  "nats_per_point": "nats/point",
  "sse": "1",
  "half_sse": "1",
  "compressed_bytes": "bytes",
  "tokens_per_second": "tokens/s",
  "points_per_second": "points/s",
  "bytes_per_second": "bytes/s",
  "operations_per_second": "FLOP/s",
  "speed_ratio": "ratio",
  "share_of_products": "1",
  "constant_cells": "%",
  "largest_cell": "1",
}


# What the numbers of each evaluation may make use of.
SEEN = {
  "static": "weights or counts of the training text, and the text so far",
  "dynamic": "the same, and the weights learn from the text once it is scored",
  "compressed": (
    "the text alone or, after training text, every passage of that to copy "
    "from: where texts repeat themselves word for word, as manuals do, no "
    "summary in weights is as good"
  ),
}


def row(
  name: str,
  *,
  split: str,
  evaluation: str,
  metric: str,
  value: float,
  count: int,
  seconds: float,
  unit: str | None = None,
  reference: float | None = None,
  reference_source: str | None = None,
) -> Row:
  """One line of results.json.

  Args:
    name: the model, with every deviation from the published recipe.
    split: of the data, such as "test".
    evaluation: "static", "dynamic", or another word.
    metric: a key of `METRICS`.
    value: infinite and undefined ones are stored as None.
    count: scored symbols or points.
    seconds: wall time of the scoring.
    unit: of the value; by default the metric's own.
    reference: the published value, if there is one.
    reference_source: its publication.

  Raises:
    ValueError: a metric without a name here, a negative count or time, a
      source without its value or a value without its source.

  >>> row("lstm", split="test", evaluation="static", metric="perplexity",
  ...     value=120.5, count=82430, seconds=3.0)["unit"]
  '1'
  """
  if metric not in METRICS:
    raise ValueError(f"metric {metric!r} is none of {', '.join(METRICS)}")
  if count < 0 or seconds < 0:
    raise ValueError(f"count {count} and seconds {seconds} must be 0 or more")
  if (reference is None) != (not reference_source):
    raise ValueError(
      f"reference {reference} and its source {reference_source!r} go together"
    )
  value = float(value)
  return {
    "name": name,
    "split": split,
    "evaluation": evaluation,
    "metric": metric,
    "value": value if math.isfinite(value) else None,
    "unit": METRICS[metric] if unit is None else unit,
    "count": int(count),
    "seconds": round(float(seconds), 3),
    "reference": None if reference is None else float(reference),
    "reference_source": reference_source or None,
  }


def well_formed(rows: Iterable[Any]) -> bool:
  """True if rows that come from a file can be put into tables."""
  return all(map(_is_row, rows))


def _is_row(entry: Any) -> bool:
  words = ("name", "split", "evaluation", "metric", "unit")
  return (
    isinstance(entry, dict)
    and all(isinstance(entry.get(key), str) for key in words)
    and all(files.is_number(entry.get(key)) for key in ("count", "seconds"))
    and all(
      key in entry and (entry[key] is None or files.is_number(entry[key]))
      for key in ("value", "reference")
    )
  )


def console_table(
  rows: Sequence[Mapping[str, Any]], width: int | None = None
) -> str:
  """The rows as aligned columns for a terminal.

  Args:
    rows: the rows.
    width: characters of a line; where that leaves little for the names, each
      has lines of its own. None is for a file.

  >>> print(console_table([row("lstm", split="test", evaluation="static",
  ...   metric="perplexity", value=120.5, count=82430, seconds=3.0,
  ...   reference=117.0, reference_source="Table 2")]))
  name  split  evaluation  metric      ours   paper  difference  scored
  lstm  test   static      perplexity  120.5  117    +3.500      82,430
  """
  recipes, rows = shortened(rows)
  line = _WIDEST_LINE if width is None else width
  above = [
    part
    for short, recipe in recipes.items()
    for part in textwrap.wrap(
      f"{short}: {recipe}", line, subsequent_indent="  "
    )
  ]
  head, body = _cells(rows)
  lines = [head, *body]
  widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
  others = sum(column + 2 for column in widths[1:])
  room = _WIDEST_NAME if width is None else width - others
  apart = room < _NARROWEST_NAME
  widths[0] = 2 if apart else min(room, widths[0])
  below = []
  for name, *cells in lines:
    first, *more = textwrap.wrap(name, line if apart else room) or [""]
    if apart:
      below += [first, *more]
      first, more = "", []
    below.append(
      "  ".join(
        cell.ljust(column)
        for cell, column in zip([first, *cells], widths, strict=True)
      ).rstrip()
    )
    below += more
  for note in seen(rows):
    below += textwrap.wrap(note, line, subsequent_indent="  ")
  return "\n".join([*above, *below])


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as a Markdown table, the published value beside ours."""
  notes = "\n".join(f"- {note}" for note in seen(rows))
  named = filter(None, (row.get("reference_source") for row in rows))
  sources = "; ".join(dict.fromkeys(map(str, named)))
  paper = f"Paper: {sources}." if sources else ""
  recipes, rows = shortened(rows)
  above = "\n".join(f"- {short}: {recipe}" for short, recipe in recipes.items())
  return "\n\n".join(filter(None, [above, table(*_cells(rows)), notes, paper]))


def seen(rows: Sequence[Mapping[str, Any]]) -> list[str]:
  """Notes on what each evaluation may use, for tables with compressors.

  >>> seen([{"evaluation": "static"}, {"evaluation": "compressed"}])[0]
  'static sees weights or counts of the training text, and the text so far'
  """
  kinds = {row["evaluation"] for row in rows}
  if not kinds > {"compressed"}:
    return []
  return [f"{kind} sees {what}" for kind, what in SEEN.items() if kind in kinds]


def shortened(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[dict[str, str], list[Mapping[str, Any]]]:
  """The rows with long names cut to the model, and the recipes cut off.

  A name is `model, recipe; note`. Where several rows share a long `model,
  recipe`, the recipe is returned once, by model.

  >>> names = ["1x9 lstm, adam, 2 epochs, a batch of 32", "gzip"]
  >>> names.insert(1, f"{names[0]}; of the mean")
  >>> recipes, cut = shortened([{"name": name} for name in names])
  >>> recipes
  {'1x9 lstm': 'adam, 2 epochs, a batch of 32'}
  >>> [row["name"] for row in cut]
  ['1x9 lstm', '1x9 lstm; of the mean', 'gzip']
  """
  parts = [str(row["name"]).partition("; ") for row in rows]
  whole = collections.Counter(name for name, _, _ in parts)
  recipes: dict[str, str] = {}
  short: dict[str, str] = {}
  for name, count in whole.items():
    model, _, recipe = name.partition(", ")
    if count > 1 and len(name) > _LONG_NAME and model not in {*recipes, *whole}:
      recipes[model], short[name] = recipe, model
  return recipes, [
    {**row, "name": short.get(name, name) + separator + note}
    for row, (name, separator, note) in zip(rows, parts, strict=True)
  ]


def table(head: Sequence[str], body: Iterable[Sequence[str]]) -> str:
  r"""Cells as a Markdown table.

  >>> print(table(["a", "b"], [["1", "x|y"]]))
  | a | b |
  | --- | --- |
  | 1 | x\|y |
  """
  lines = (head, ["---"] * len(head), *body)
  return "\n".join(
    "| "
    + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line)
    + " |"
    for line in lines
  )


def _cells(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[list[str]]]:
  """Header and cells; the paper's columns only where a row has a reference."""
  compared = any(entry.get("reference") is not None for entry in rows)
  head = ["name", "split", "evaluation", "metric", "ours"]
  head += ["paper", "difference"] if compared else []
  head += ["scored"]
  body = []
  for entry in rows:
    value, reference = entry["value"], entry.get("reference")
    line = [entry[key] for key in ("name", "split", "evaluation", "metric")]
    line.append(figure(value))
    if compared:
      # As published: 1.32 is not 1.320.
      line.append("" if reference is None else f"{reference:,g}")
      both = value is not None and reference is not None
      line.append(figure(value - reference, sign=True) if both else "")
    line.append(f"{entry['count']:,}")
    body.append(line)
  return head, body


def figure(value: float | None, *, sign: bool = False) -> str:
  """A number for a table, in about four digits.

  >>> figure(1.4), figure(82.345), figure(1234567.8), figure(None)
  ('1.400', '82.34', '1,234,568', 'n/a')
  >>> figure(-0.01, sign=True), figure(0.00012), figure(1.5e40)
  ('-0.010', '0.00012', '1.500e+40')
  """
  if value is None or not math.isfinite(value):
    return "n/a"
  size, plus = abs(value), "+" if sign else ""
  if 0 < size < 0.001:
    return f"{value:{plus}.2g}"
  if size >= _ABSURD:
    return f"{value:{plus}.3e}"
  decimals = 3 if size < 10 else 2 if size < 100 else 1 if size < 1000 else 0
  return f"{value:{plus},.{decimals}f}"


def write(workdir: pathlib.Path, text: str) -> pathlib.Path:
  """Writes the page into the run folder, whole, and returns its path."""
  path = pathlib.Path(workdir) / PAGE
  files.write_text(path, text)
  return path


def verbatim(text: str) -> str:
  """A fenced block whose fence is longer than any in `text`."""
  longest = max(map(len, re.findall("`+", text)), default=0)
  fence = "`" * max(3, longest + 1)
  return f"{fence}text\n{printable(text)}\n{fence}"


def printable(text: str) -> str:
  """A text whose control characters are replaced.

  A model of bytes writes terminal escapes, too.
  """
  return re.sub(r"[^\n\t\x20-\x7e\xa0-\U0010ffff]", "\ufffd", text)
