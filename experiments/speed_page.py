"""The page of a benchmark: an overview, the figure, a table each contest."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import contest, timing, torch_peer
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


def write(
  workdir: pathlib.Path,
  records: Sequence[contest.Record],
  agreed: Mapping[str, Any],
) -> None:
  """Draws the figure and writes report.md.

  Args:
    workdir: the run folder.
    records: of all contests.
    agreed: what was compared before, and what was left out.
  """
  groups = [
    (
      f"{record['title']}\n{record['work']}",
      [(_column(peer), *faster) for _, peer, faster in contest.ratios(record)],
    )
    for record in records
  ]
  groups = [group for group in groups if group[1]]
  parts = ["# Speed against other libraries", _INTRODUCTION]
  parts += ["## Run", _facts(agreed["absent"])]
  if groups:
    speed_plot.ratios(
      groups, workdir / FIGURE, title="Speed of ours over its peers"
    )
    parts += ["## Ratios", _overview(records)]
    parts.append(f"![ratios with their quartiles]({FIGURE})")
  parts += ["## Times and memory", _MEMORY]
  for record in records:
    parts += [f"### {record['title']}, {record['work']}", _table(record)]
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
      lines.setdefault((record["title"], work), {})[column] = _ratio(faster)
  return _markdown(
    ["", "work", *columns],
    [
      [*key, *(cells.get(column, "") for column in columns)]
      for key, cells in lines.items()
    ],
  )


def _table(record: contest.Record) -> str:
  faster = {
    peer["name"]: _ratio(found) for _, peer, found in contest.ratios(record)
  }
  entries = record["entries"]
  head = ["", "milliseconds", "tokens/s", "ours is faster by", "rounds"]
  memory = {"temporary": "XLA, MB", "resident": "process, MB"}
  memory = {
    key: words
    for key, words in memory.items()
    if any(entry[key] is not None for entry in entries)
  }
  body = []
  for entry in entries:
    took = timing.spread(entry["seconds"])
    body.append(
      [
        entry["name"],
        _spread(timing.Spread(*(1e3 * value for value in took))),
        report.figure(record["tokens"] / took.middle),
        faster.get(entry["name"], ""),
        str(len(entry["seconds"])),
        *(_megabytes(entry[key]) for key in memory),
      ]
    )
  return _markdown([*head, *memory.values()], body)


def _agreement(differences: Sequence[Sequence[Any]]) -> str:
  return "\n\n".join(
    [
      "On tiny shapes, before anything was timed: the largest difference from "
      "ours in float32, relative to the largest value of its array. Of a "
      "layer, outputs and all gradients; of training and dynamic evaluation, "
      "the losses of segments that follow updates.",
      _markdown(
        ["", "precision", "largest difference"],
        [[name, kind, f"{worst:.1e}"] for name, kind, worst in differences],
      ),
    ]
  )


def _column(entry: contest.Record) -> str:
  return f"{contest.peer_name(entry)}, {entry['precision']}"


def _ratio(found: timing.Spread) -> str:
  low, middle, high = (f"{value:.2f}" for value in found)
  return f"{middle} ({low} to {high})"


def _spread(found: timing.Spread) -> str:
  low, middle, high = (report.figure(value) for value in found)
  return f"{middle} ({low} to {high})"


def _megabytes(count: int | None) -> str:
  return "n/a" if count is None else f"{count / 1e6:,.1f}"


def _markdown(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
  lines = [head, ["---"] * len(head), *body]
  return "\n".join("| " + " | ".join(line) + " |" for line in lines)
