"""Result rows, and the tables and the page made of them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

Row = dict[str, Any]

# Every metric by name, with the unit that its values have.
METRICS = {
  "bits_per_character": "bits/character",
  "bits_per_byte": "bits/byte",
  "perplexity": "1",
  "error_rate": "%",
  "nats_per_sequence": "nats/sequence",
  "sse": "1",
  "compressed_bytes": "bytes",
  "tokens_per_second": "tokens/s",
  "speed_ratio": "ratio",
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
    name: what was measured, with every deviation from the published recipe.
    split: part of the data, such as "test".
    evaluation: how it was scored: "static", "dynamic", or another word.
    metric: a key of `METRICS`.
    value: the figure; an infinite or undefined one is stored as None.
    count: scored symbols or points.
    seconds: wall time of the scoring.
    unit: of the value; by default the metric's own.
    reference: the published value, if there is one.
    reference_source: where it was published; needs a `reference`.

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


def console_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as aligned columns for a terminal.

  >>> print(console_table([row("lstm", split="test", evaluation="static",
  ...   metric="perplexity", value=120.5, count=82430, seconds=3.0,
  ...   reference=117.0, reference_source="Table 2")]))
  name  split  evaluation  metric      ours   paper  difference  scored
  lstm  test   static      perplexity  120.5  117    +3.5        82,430
  """
  head, body = _cells(rows)
  widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
  return "\n".join(
    "  ".join(
      cell.ljust(width) for cell, width in zip(line, widths, strict=True)
    ).rstrip()
    for line in (head, *body)
  )


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
  """The rows as a Markdown table, the published value beside ours."""
  head, body = _cells(rows)
  rule = ["---"] * len(head)
  lines = (head, rule, *body)
  return "\n".join(
    "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |"
    for line in lines
  )


def _cells(
  rows: Sequence[Mapping[str, Any]],
) -> tuple[list[str], list[list[str]]]:
  """Header and cells; the paper's columns only where a row has a reference."""
  compared = any(entry["reference"] is not None for entry in rows)
  head = ["name", "split", "evaluation", "metric", "ours"]
  head += ["paper", "difference"] if compared else []
  head += ["scored"]
  body = []
  for entry in rows:
    value, reference = entry["value"], entry["reference"]
    line = [entry[key] for key in ("name", "split", "evaluation", "metric")]
    line.append(figure(value))
    if compared:
      line.append("" if reference is None else figure(reference))
      both = value is not None and reference is not None
      line.append(figure(value - reference, sign=True) if both else "")
    line.append(f"{entry['count']:,}")
    body.append(line)
  return head, body


def figure(value: float | None, *, sign: bool = False) -> str:
  """A number for a table: four significant digits, whole from a thousand on.

  >>> figure(1.23456), figure(1234567.8), figure(None), figure(-0.01, sign=True)
  ('1.235', '1,234,568', 'n/a', '-0.01')
  """
  if value is None or not math.isfinite(value):
    return "n/a"
  plus = "+" if sign else ""
  if abs(value) >= 1000:
    return f"{value:{plus},.0f}"
  return f"{value:{plus}.4g}"
