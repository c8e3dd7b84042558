"""Lines written by a pen network, and how they compare with real ones."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from experiments import pen_assembly, phases
from seqmodels import writing
from seqmodels.data import pen_lines
from seqmodels.evaluation import stroke_statistics
from seqmodels.io import report
from seqmodels.sampling import handwriting as sampling


def scribble(
  context: pen_assembly.Context,
  biases: Sequence[float],
  points: Sequence[int] | np.ndarray,
) -> list[writing.Sample]:
  """Lines by a network without a window.

  Args:
    context: of the run.
    biases: of each line.
    points: of each line.
  """
  if not len(biases):
    return []
  found = sampling.write(
    context.network,
    context.params,
    jax.random.key(context.config.seed),
    rows=len(biases),
    steps=int(np.max(points)),
    bias=np.array(biases, np.float32),
    most=np.asarray(points),
  )
  return [
    writing.Sample("", bias, context.ink(found.line(row)), False, None)
    for row, bias in enumerate(biases)
  ]


def compared_lines(context: pen_assembly.Context) -> pen_lines.PenLines:
  """Validation lines for the statistics, from all over the split."""
  lines = context.data.splits["valid"]
  return lines.spread(context.config.sample.statistics)


def measured(
  context: pen_assembly.Context,
) -> tuple[dict[str, Any], list[writing.Sample]]:
  """Stroke statistics of real validation lines and of lines written as long.

  A network with a window writes the same texts, unbiased; one without writes as
  many points.

  Returns:
    By statistic: `real`, `written` (mean and deviation) and the `shift` between
    them; with a window also how many lines it read to the end and then left by
    itself. And the lines.
  """
  chosen = compared_lines(context)
  count = len(chosen)
  if not count:
    return {}, []
  real = [context.ink(chosen.line(index)) for index in range(count)]
  texts = list(chosen.texts)
  drawn: list[writing.Sample] = []

  def draw() -> list[writing.Sample]:
    if context.network.window is None:
      return scribble(context, (0.0,) * count, chosen.lengths)
    return writing.write(
      context.network,
      context.params,
      context.pen,
      texts,
      bias=0.0,
      seed=context.config.seed + 1,
      points_per_character=context.config.sample.points_per_character,
    )

  def compute() -> dict[str, Any]:
    drawn.extend(draw())
    known = texts if context.network.window is not None else None
    inks = [sample.ink for sample in drawn]
    kept = [place for place, ink in enumerate(inks) if len(ink)]
    written = stroke_statistics.describe(
      [inks[place] for place in kept],
      None if known is None else [known[place] for place in kept],
    )
    compared = stroke_statistics.compare(
      stroke_statistics.describe(real, known), written
    )
    found: dict[str, Any] = {
      name: {
        "real": [pair.first.mean, pair.first.deviation],
        "written": [pair.second.mean, pair.second.deviation],
        "shift": pair.shift,
      }
      for name, pair in compared.items()
    }
    stopped = sum(sample.read_through for sample in drawn)
    return {
      "lines": count,
      "stopped": stopped if context.network.window is not None else None,
      "statistics": found,
    }

  return phases.phase(context, "strokes", compute), drawn


def table(found: dict[str, Any]) -> str:
  """Stroke statistics as a Markdown table; empty without any."""
  if not found:
    return ""
  body = [
    [
      name.replace("_", " "),
      *(
        f"{report.figure(mean)} ± {report.figure(deviation)}"
        for mean, deviation in (pair["real"], pair["written"])
      ),
      report.figure(pair["shift"], sign=True),
    ]
    for name, pair in found["statistics"].items()
  ]
  return report.table(
    ["a line", "real", "written", "shift in deviations"], body
  )
