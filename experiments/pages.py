"""The figures and the page that a language experiment leaves behind."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from experiments import assembly, phases
from seqmodels.io import atomic, metric_writers, plots, report


def write(
  context: phases.Context,
  rows: Sequence[report.Row],
  curves: Mapping[str, Mapping[str, Any]],
  sample: str,
) -> None:
  """Draws what there is to draw and writes report.md.

  Args:
    context: of the run.
    rows: its result rows.
    curves: by split and evaluation: nats and counts along the split.
    sample: generated text; empty for none.
  """
  figures = context.workdir / "figures"
  unit = assembly.UNITS[context.config.data.tokenizer]
  drawn: list[pathlib.Path] = []

  metrics = context.workdir / metric_writers.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    drawn.append(figures / "learning_curves.png")
    plots.learning_curves(
      metrics,
      drawn[-1],
      name=unit.metric,
      title=phases.describe(context),
    )
  for split, found in curves.items():
    drawn.append(figures / f"along_{split}.png")
    plots.along_split(
      {
        name: (scores["curve_nats"], scores["curve_counts"])
        for name, scores in found.items()
      },
      drawn[-1],
      unit=f"bits per {unit.symbol}",
      title=f"{' and '.join(found)} evaluation of the {split} split",
    )
  if (figures / "dynamic_search.png").is_file():
    drawn.append(figures / "dynamic_search.png")
  drawn.append(figures / "comparison.png")
  plots.comparison(rows, drawn[-1], metric=unit.metric)

  if sample:
    samples = context.workdir / "samples"
    samples.mkdir(exist_ok=True)
    atomic.write_text(samples / "sample.txt", sample)
  atomic.write_text(
    context.workdir / "report.md", _page(context, rows, drawn, sample)
  )


def _page(
  context: phases.Context,
  rows: Sequence[report.Row],
  drawn: Sequence[pathlib.Path],
  sample: str,
) -> str:
  parts = [
    f"# {phases.describe(context)}",
    f"Trained on {context.tokens.provenance['source']}; the weights of step "
    f"{context.step:,}, the best on the validation split, are evaluated.",
    report.markdown_table(rows),
  ]
  parts += [
    f"![{path.stem.replace('_', ' ')}](figures/{path.name})" for path in drawn
  ]
  if sample:
    parts += ["## A sample", f"```text\n{sample}\n```"]
  return "\n\n".join(parts) + "\n"
