"""The report of a benchmark: ratios, figures, a table for each case."""

import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ml_collections import config_dict

from experiments import page as page_lib
from experiments.benchmark import (
  case,
  layer_cases,
  peers_jax,
  peers_torch,
)
from seqmodels.io import results, run_folder
from seqmodels.plotting import benchmark as figures

TEMPLATE = pathlib.Path(__file__).with_name("page.md")

# The peers of the figures, each with its names in different work. Others differ
# little from one of them and have their place in the tables.
FAMILIES = {
  "Flax": (case.PEERS["flax"], peers_jax.FLAX_SAMPLER),
  "PyTorch": tuple(f"torch.nn.{cell}" for cell in peers_torch.SAMPLER_CELLS),
  "cuDNN": (case.PEERS["cudnn"],),
}
NAMES = (case.OURS, *FAMILIES)
# Headings of the panels, by the work of their cases.
PANELS = {
  "forward": "layer, forward",
  case.BACKWARD: "layer, forward+backward",
  "training": "training steps",
  "dynamic": "dynamic evaluation",
}


def write(
  workdir: pathlib.Path,
  config: config_dict.ConfigDict,
  records: Mapping[str, case.Record],
  equivalence: Mapping[str, Any],
  rates: Mapping[str, float],
) -> None:
  """Draws the figures and writes report.md.

  Args:
    workdir: the run folder.
    config: the benchmark's.
    records: of all cases, by key.
    equivalence: the differences before anything was timed, and the peers that
      are left out.
    rates: operations a second of large products, by precision.
  """
  axes = layer_cases.stack_shapes(config)
  keys = {
    layer_cases.stack_key(size): size for line in axes.values() for size in line
  }
  stacks = {size: records[key] for key, size in keys.items() if key in records}
  others = [record for key, record in records.items() if key not in keys]
  products = [r for r in others if r["work"] == layer_cases.PRODUCT]
  timed = [r for r in others if r["work"] != layer_cases.PRODUCT]
  page = page_lib.Page(TEMPLATE, workdir)
  page["facts"] = _facts(equivalence["absent"])
  page["ratios"] = ""
  if any(any(case.ratios(record)) for record in timed):
    page["ratios"] = _overview(timed)
    draw_speedups(page.figure("speed"), timed)
  page["products"] = _products_table(products)
  if stacks:
    draw_growth(page.figure("scaling"), axes, stacks)
  page["growth"] = _growth_table(stacks)
  page["cases"] = "\n\n".join(
    f"### {record['title']}, {record['work']}\n\n{_case_table(record, rates)}"
    for record in timed
  )
  page["differences"] = _table(
    [
      {"": name, "precision": precision, "largest difference": f"{worst:.1e}"}
      for name, precision, worst in equivalence["differences"]
    ]
  )
  page.write()


# Figures.


def draw_speedups(path: pathlib.Path, records: Sequence[case.Record]) -> None:
  """Draws the speed-ups, one panel a kind of work, if a peer has any."""
  panels: dict[str, list[figures.Row]] = {}
  for record in records:
    for kind in dict.fromkeys(entry["kind"] for entry in record["entries"]):
      marks = _speedups(record, kind)
      if marks:
        label = ", ".join(filter(None, (record["label"], kind)))
        panels.setdefault(record["work"], []).append((label, marks))
  if panels:
    figures.speedups(
      {PANELS.get(work, work): rows for work, rows in panels.items()},
      path,
      names=NAMES,
      title="Speed of ours over each peer's "
      "(right of the line: ours is faster)",
    )


def _speedups(record: case.Record, kind: str) -> list[figures.SpeedUp]:
  """Ours over each family of peers, at work of one kind."""
  entries = [entry for entry in record["entries"] if entry["kind"] == kind]
  single = [entry for entry in entries if entry["precision"] == "float32"]
  compared = [(single, False)]
  if len(single) < len(entries):
    compared.append((entries, True))
  speedups = []
  for family, libraries in FAMILIES.items():
    for among, best in compared:
      ours = case.fastest([e for e in among if e["library"] == case.OURS])
      peer = case.fastest([e for e in among if e["library"] in libraries])
      if ours is not None and peer is not None:
        spread = case.speedup(ours, peer)
        speedups.append(figures.SpeedUp(family, *spread, best=best))
  return speedups


def draw_growth(
  path: pathlib.Path,
  axes: Mapping[str, Sequence[layer_cases.Shape]],
  records: Mapping[layer_cases.Shape, case.Record],
) -> None:
  """Draws time and memory of stacks, from the shapes along each axis."""
  short = {long: name for name, longs in FAMILIES.items() for long in longs}
  columns = []
  for field, shapes in axes.items():
    times: dict[str, figures.Curve] = {}
    memory: dict[str, figures.Curve] = {}
    for shape in shapes:
      size = getattr(shape, field)
      for entry in records[shape]["entries"]:
        name = short.get(entry["library"], entry["library"])
        milliseconds = 1e3 * case.took(entry).middle
        times.setdefault(name, []).append((size, milliseconds))
        # A program that sets nothing aside has no place on this axis.
        if entry["temporary"]:
          megabytes = entry["temporary"] / 1e6
          memory.setdefault(name, []).append((size, megabytes))
    _, label = layer_cases.AXES[field]
    columns.append(figures.Column(label, times, memory))
  figures.growth(
    columns, path, names=NAMES, title="Forward+backward of LSTM layers"
  )


# Tables.


def _facts(absent: Sequence[str]) -> str:
  facts = run_folder.facts()
  versions, devices = facts["versions"], facts["devices"]
  names = ("python", "jax", "jaxlib", "flax")
  lines = [
    f"processor: {facts['cpu']}, {facts['cpu_count']} cores",
    "JAX runs on: "
    + ", ".join(f"{count} x {kind}" for kind, count in devices.items()),
    "versions: " + ", ".join(f"{name} {versions[name]}" for name in names),
    "PyTorch: "
    + ("left out" if peers_torch.missing() else peers_torch.version()),
    *(f"left out: {line}" for line in absent),
  ]
  return "\n".join(f"- {line}" for line in lines)


def _overview(records: Sequence[case.Record]) -> str:
  """One line a case and kind, one column a peer and precision."""
  lines: dict[tuple[str, str], dict[str, str]] = {}
  for record in records:
    for ours, peer, faster in case.ratios(record):
      work = record["work"] + (f", {ours['kind']}" if ours["kind"] else "")
      line = lines.setdefault(
        (record["title"], work), {"": record["title"], "work": work}
      )
      column = f"{case.peer_name(peer)}, {peer['precision']}"
      line[column] = _spread(faster, "{:.2f}".format)
  return _table(list(lines.values()), missing="")


def _products_table(records: Sequence[case.Record]) -> str:
  """One line a shape, one column a precision."""
  lines = []
  for record in records:
    line = {"": record["title"]}
    for entry in record["entries"]:
      speeds = [record["tokens"] / 1e9 / value for value in entry["seconds"]]
      line[entry["precision"]] = _spread(case.spread(speeds))
    lines.append(line)
  return _table(lines)


def _growth_table(stacks: Mapping[layer_cases.Shape, case.Record]) -> str:
  """One line a shape; for each library its time, ratio and memory."""
  lines = []
  for shape, record in stacks.items():
    line = dict(zip(("T", "B", "H", "layers"), map(str, shape), strict=True))
    for entry in record["entries"]:
      line[f"{entry['library']}, ms"] = _milliseconds(entry)
    for _, peer, faster in case.ratios(record):
      line[f"over {peer['library']}"] = _spread(faster, "{:.2f}".format)
    for entry in record["entries"]:
      if entry["temporary"] is not None:
        line[f"{entry['library']}, MB"] = _megabytes(entry["temporary"])
    lines.append(line)
  return _table(lines)


def _case_table(record: case.Record, rates: Mapping[str, float]) -> str:
  """One line an entry; columns that no entry has are left out."""
  faster = {
    peer["name"]: _spread(ratio, "{:.2f}".format)
    for _, peer, ratio in case.ratios(record)
  }
  lines = []
  for entry in record["entries"]:
    seconds = case.took(entry).middle
    line = {"": entry["name"], "milliseconds": _milliseconds(entry)}
    line[record["unit"]] = results.figure(record["tokens"] / seconds)
    if faster:
      line["ours is faster by"] = faster.get(entry["name"], "")
    line["rounds"] = str(len(entry["seconds"]))
    if record["operations"]:
      speed = record["operations"] / 1e9 / seconds
      line["GFLOP/s"] = results.figure(speed)
    share = case.share(record, entry, rates)
    if share is not None:
      line["of large products"] = f"{share:.1%}"
    for head, member in {"XLA": "temporary", "process": "resident"}.items():
      if entry[member] is not None:
        line[f"{head}, MB"] = _megabytes(entry[member])
    lines.append(line)
  return _table(lines)


def _table(lines: Sequence[Mapping[str, str]], *, missing: str = "n/a") -> str:
  """A Markdown table of cells by column; `missing` where a line lacks one.

  Without lines it is empty.
  """
  heads = list(dict.fromkeys(head for line in lines for head in line))
  body = [[line.get(head, missing) for head in heads] for line in lines]
  return results.table(heads, body) if lines else ""


def _spread(
  spread: case.Spread, write: Callable[[float], str] = results.figure
) -> str:
  """The median with the quartiles.

  >>> _spread(case.Spread(1.0, 2.0, 3.0))
  '2.000 (1.000 to 3.000)'
  """
  low, middle, high = map(write, spread)
  return f"{middle} ({low} to {high})"


def _milliseconds(entry: case.Record) -> str:
  low, middle, high = (1e3 * value for value in case.took(entry))
  return _spread(case.Spread(low, middle, high))


def _megabytes(size: int) -> str:
  return f"{size / 1e6:,.1f}"
