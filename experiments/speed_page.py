"""The page of a benchmark: an overview, the figure, a table each contest."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from experiments import (
  contest,
  product_contests,
  scaling_page,
  speed_cells,
  timing,
  torch_peer,
)
from seqmodels.io import provenance, report, speed_plot

FIGURE = "figures/speed.png"

_INTRODUCTION = """\
Every library did the same work in turn, in one process: in each round all of
them once, in random order, waited for until the device was done. Times are
medians over the rounds, after untimed runs, with the quartiles in brackets. A
ratio is the peer's time over ours, taken round by round: above 1, ours is
faster. Rates count the steps of all sequences.

`peepholes` is ours with peephole connections, which no peer has. In bfloat16
ours keeps weights, carry and sums in float32; so do Flax's weights and carry
here, and PyTorch's weights under `autocast`, while `cast` is a PyTorch module
that is bfloat16 throughout. PyTorch's optimisers are its fused ones."""

_MEMORY = """\
`XLA` is what the compiled program sets aside beside arguments and results.
`process` is how far one run raised the resident memory of the process at its
peak, results included, whatever library; known on Linux only, and of no use
on a GPU."""


_PRODUCTS = """\
What this machine makes of matrix products alone: of large ones, and of those in
a layer's loop, [B, H] by [H, 4H] step after step. A layer's share is its own
products' operations (2 T B (D + H) 4H forward, three times that with gradients,
whatever is computed again) a second over the large products' of its precision.
GFLOP/s, with quartiles:"""


def write(
  workdir: pathlib.Path,
  config: config_dict.ConfigDict,
  records: Mapping[str, contest.Record],
  agreed: Mapping[str, Any],
  rates: Mapping[str, float],
) -> None:
  """Draws the figures and writes report.md.

  Args:
    workdir: the run folder.
    config: the benchmark's.
    records: of all contests, by key.
    agreed: what was compared before, and what was left out.
    rates: operations a second of large products, by precision.
  """
  grown = scaling_page.keys(config)
  single = [record for key, record in records.items() if key not in grown]
  raced = [one for one in single if one["work"] != product_contests.WORK]
  groups = [
    (
      f"{record['title']}\n{record['work']}",
      [(_column(peer), *faster) for _, peer, faster in contest.ratios(record)],
    )
    for record in raced
  ]
  groups = [group for group in groups if group[1]]
  parts = ["# Speed against other libraries", _INTRODUCTION]
  parts += ["## Run", _facts(agreed["absent"])]
  if groups:
    speed_plot.ratios(
      groups, workdir / FIGURE, title="Speed of ours over its peers"
    )
    parts += ["## Ratios", _overview(raced)]
    parts.append(f"![ratios with their quartiles]({FIGURE})")
  if len(raced) < len(single):
    products = [one for one in single if one not in raced]
    parts += ["## Matrix products", _PRODUCTS, _products(products)]
  parts += scaling_page.section(workdir, config, records)
  if raced:
    parts += ["## Times and memory", _MEMORY]
  for record in raced:
    parts += [f"### {record['title']}, {record['work']}"]
    parts += [_table(record, rates)]
  if agreed["differences"]:
    parts += ["## Agreement", _agreement(agreed["differences"])]
  report.write(workdir, "\n\n".join(parts) + "\n")


def _facts(absent: Sequence[str]) -> str:
  facts = provenance.facts()
  versions = facts["versions"]
  names = ("python", "jax", "jaxlib", "flax")
  shown = {
    "processor": f"{facts['cpu']}, {facts['cpu_count']} cores",
    "JAX runs on": ", ".join(
      f"{count} x {kind}" for kind, count in facts["devices"].items()
    ),
    "versions": ", ".join(f"{name} {versions[name]}" for name in names),
    "PyTorch": "left out" if torch_peer.missing() else torch_peer.version(),
  }
  lines = [f"- {name}: {fact}" for name, fact in shown.items()]
  lines += [f"- left out: {line}" for line in absent]
  return "\n".join(lines)


def _overview(records: Sequence[contest.Record]) -> str:
  """One line a contest and kind, one column a peer and precision."""
  lines: dict[tuple[str, str], dict[str, str]] = {}
  columns: dict[str, None] = {}
  for record in records:
    for ours, peer, faster in contest.ratios(record):
      work = record["work"] + (f", {ours['kind']}" if ours["kind"] else "")
      column = _column(peer)
      columns[column] = None
      line = lines.setdefault((record["title"], work), {})
      line[column] = speed_cells.ratio(faster)
  return report.table(
    ["", "work", *columns],
    [
      [*key, *(cells.get(column, "") for column in columns)]
      for key, cells in lines.items()
    ],
  )


def _products(records: Sequence[contest.Record]) -> str:
  """One line a shape, one column a precision."""
  found = [
    {
      entry["precision"]: speed_cells.spread(
        timing.spread(
          [record["tokens"] / 1e9 / value for value in entry["seconds"]]
        )
      )
      for entry in record["entries"]
    }
    for record in records
  ]
  return report.table(
    ["", *found[0]],
    [
      [record["title"], *cells.values()]
      for record, cells in zip(records, found, strict=True)
    ],
  )


def _table(record: contest.Record, rates: Mapping[str, float]) -> str:
  faster = {
    peer["name"]: speed_cells.ratio(found)
    for _, peer, found in contest.ratios(record)
  }
  operations = record["operations"]
  # Each column: its head, and its cell of an entry, None where it has none.
  columns: dict[str, Callable[[contest.Record], str | None]] = {
    "": lambda entry: entry["name"],
    "milliseconds": lambda entry: speed_cells.milliseconds(_took(entry)),
    record["unit"]: lambda entry: report.figure(
      record["tokens"] / _took(entry).middle
    ),
    "ours is faster by": lambda entry: (
      faster.get(entry["name"], "") if faster else None
    ),
    "rounds": lambda entry: str(len(entry["seconds"])),
    "GFLOP/s": lambda entry: (
      report.figure(operations / 1e9 / _took(entry).middle)
      if operations
      else None
    ),
    "of large products": lambda entry: speed_cells.share(
      contest.share(record, entry, rates)
    ),
    "XLA, MB": lambda entry: speed_cells.megabytes(entry["temporary"]),
    "process, MB": lambda entry: speed_cells.megabytes(entry["resident"]),
  }
  filled = {
    head: [cell(entry) for entry in record["entries"]]
    for head, cell in columns.items()
  }
  filled = {
    head: ["n/a" if cell is None else cell for cell in cells]
    for head, cells in filled.items()
    if any(cell is not None for cell in cells)
  }
  return report.table(list(filled), list(zip(*filled.values(), strict=True)))


def _took(entry: contest.Record) -> timing.Spread:
  return timing.spread(entry["seconds"])


def _agreement(differences: Sequence[Sequence[Any]]) -> str:
  return "\n\n".join(
    [
      "On tiny shapes, before anything was timed: the largest difference from "
      "ours in float32, relative to the largest value of its array. Of a "
      "layer or stack, outputs and all gradients; of training and dynamic "
      "evaluation, the losses of segments that follow updates; of sampling, "
      "the logits after given symbols.",
      report.table(
        ["", "precision", "largest difference"],
        [[name, kind, f"{worst:.1e}"] for name, kind, worst in differences],
      ),
    ]
  )


def _column(entry: contest.Record) -> str:
  return f"{contest.peer_name(entry)}, {entry['precision']}"
