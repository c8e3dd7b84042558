"""The figures, samples and page that a handwriting run leaves behind."""

import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import (
  pen_assembly,
  pen_samples,
  pen_scoring,
  pen_task,
  phases,
)
from seqmodels import trees, writing
from seqmodels.evaluation import pen_trace
from seqmodels.io import (
  alignment_plot,
  ink_heatmap,
  ink_plot,
  ink_svg,
  metric_writers,
  mixture_plot,
  plots,
  report,
)

# Steps of the line that the heatmap shows: a word or two.
WORD = 200
BESIDE_REAL = pathlib.Path("figures/beside_real.png")


def write(context: pen_assembly.Context, rows: Sequence[report.Row]) -> None:
  """Draws what there is to draw, writes samples and report.md.

  Args:
    context: of the run.
    rows: its result rows.
  """
  figures: list[report.Figure] = []

  def path(name: str, caption: str) -> pathlib.Path:
    figures.append(report.Figure(f"figures/{name}.png", caption))
    return context.workdir / "figures" / f"{name}.png"

  _learning(context, path)
  _predictions(context, path)
  _samples(context, path)
  context.signals.check()
  found, written = pen_samples.measured(context)
  if written:
    _beside_real(context, written)
  if (context.workdir / BESIDE_REAL).is_file():
    path("beside_real", "Real lines, and lines drawn without bias.")
  title = pen_scoring.describe(context)
  text = report.page(
    title,
    rows,
    introduction=(
      f"Trained on {context.data.provenance['source']}; the weights of step "
      f"{context.step:,}, {phases.selected(context.config)}, "
      "are evaluated. "
      "Nats are of densities over standardised offsets."
    ),
    facts={
      "parameters": f"{trees.count_parameters(context.params):,}",
      "alphabet": f"{context.data.alphabet.size} symbols",
      "data": context.data.provenance["note"],
    },
    figures=figures,
  )
  report.write(context.workdir, text + _strokes(found))


def _learning(context: pen_assembly.Context, path: Any) -> None:
  metrics = context.workdir / metric_writers.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    plots.learning_curves(
      metrics,
      path("learning_curves", "Training and validation by step."),
      name="nats_per_point",
      title=pen_task.name_of(context.config),
    )


def _example(context: pen_assembly.Context) -> int:
  """A validation line of middling length."""
  lengths = context.data.splits["valid"].lengths
  return int(np.argsort(lengths, kind="stable")[len(lengths) // 2])


def _predictions(context: pen_assembly.Context, path: Any) -> None:
  """What the network expects along one real line."""
  lines = context.data.splits["valid"]
  index = _example(context)
  line, text = lines.line(index), lines.texts[index]
  ids = context.data.alphabet.encode(text) if context.network.symbols else None
  trace = pen_trace.trace(context.network, context.params, line, ids)
  ink = context.ink(line)
  scale = context.data.scaling
  before = np.cumsum(ink[:, :2], axis=0) - ink[:, :2]
  name = f'"{text}" ({lines.names[index]})' if text else lines.names[index]
  ink_heatmap.heatmap(
    path("heatmap", f"Where the pen was expected, in {name}."),
    name,
    positions=before,
    weights=trace.weights,
    means=trace.means * scale.deviation + scale.mean,
    deviations=trace.deviations * scale.deviation,
    correlations=trace.correlations,
    lifts=trace.lifts,
    ink=ink,
    window=(0, min(WORD, len(ink))),
  )
  mixture_plot.component_weights(
    path("mixture_weights", f"Weights of the components along {name}."),
    name,
    weights=trace.weights,
    ink=ink,
  )
  if trace.window is not None:
    alignment_plot.alignment(
      path("alignment_real", f"The window while {name} is read."),
      name,
      window=trace.window,
      text=text,
      ink=ink,
    )


def _samples(context: pen_assembly.Context, path: Any) -> None:
  """Lines at the configured biases, as a figure and as SVG."""
  given = context.config.sample
  if context.network.window is None:
    biases = [bias for bias in given.biases for _ in range(given.lines)]
    points = [given.points] * len(biases)
    drawn = pen_samples.scribble(context, biases, points)
  else:
    pairs = [
      (text, bias)
      for text in given.texts
      for bias in given.biases
      for _ in range(given.lines)
    ]
    drawn = []
    if pairs:
      drawn = writing.write(
        context.network,
        context.params,
        context.pen,
        [text for text, _ in pairs],
        bias=[bias for _, bias in pairs],
        seed=context.config.seed,
        points_per_character=given.points_per_character,
      )
  inked = [sample for sample in drawn if sample.drawable]
  if not inked:
    return
  title = pen_task.name_of(context.config)
  ink_plot.lines(
    path("samples", "Drawn from the network at several biases."),
    title,
    [(_label(sample), sample.ink) for sample in inked],
  )
  ink_svg.write(
    context.workdir / "samples" / "samples.svg",
    [sample.ink for sample in inked],
    title=title,
  )
  first = next((s for s in inked if s.window is not None and s.bias > 0), None)
  if first is not None and first.window is not None:
    alignment_plot.alignment(
      path("alignment_written", "The window while the network writes."),
      _label(first),
      window=first.window,
      text=first.text,
      ink=first.ink,
    )


def _label(sample: writing.Sample) -> str:
  text = f"{sample.text}, " if sample.text else ""
  cut = ", cut" if sample.window is not None and not sample.stopped else ""
  return f"{text}bias {sample.bias:g}{cut}"


def _beside_real(
  context: pen_assembly.Context,
  written: Sequence[writing.Sample],
) -> None:
  """Some validation lines, each above what the network made of it."""
  lines = pen_samples.compared_lines(context)
  rows: list[tuple[str, np.ndarray]] = []
  for index, sample in enumerate(written[:4]):
    label = f": {sample.text}" if sample.text else ""
    rows.append((f"real{label}", context.ink(lines.line(index))))
    if sample.drawable:
      rows.append((f"written{label}", sample.ink))
  ink_plot.lines(context.workdir / BESIDE_REAL, "", rows)


def _strokes(found: dict[str, Any]) -> str:
  """The page's section on strokes; empty where nothing was measured."""
  if not found:
    return ""
  lines = ["", "## Strokes", "", pen_samples.table(found), ""]
  if found["stopped"] is not None:
    lines += [
      f"In {found['stopped']} of {found['lines']} lines the window stood at "
      f"{writing.READ:.0%} of the characters or more and then left the "
      "text by itself.",
      "",
    ]
  return "\n".join(lines)
