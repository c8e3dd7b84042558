"""Trains a handwriting network, scores it, and draws what it writes."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from experiments import page as page_lib
from experiments import stages, train
from experiments.handwriting import task
from seqmodels import trained_handwriting, trees
from seqmodels.data.handwriting import strokes
from seqmodels.evaluation import handwriting
from seqmodels.io import distributed, progress, results
from seqmodels.io import metrics as metrics_lib
from seqmodels.plotting import curves
from seqmodels.plotting import handwriting as handwriting_lib
from seqmodels.sampling import handwriting as sampling

# The network is trained by all processes, and the rest is the first one's.
DISTRIBUTED = True

# Units of the paper's layers.
PAPERS = ((400, 400, 400), (900,))


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Trains to the end (or resumes), then evaluates, writes and reports.

  Args:
    config: as `configs.handwriting_prediction.base`.
    workdir: the run folder.
    data_dir: where data sets are looked for.

  Returns:
    The result rows.

  Raises:
    Interrupted: after a signal, with the state saved.
    UserError, RunError: see `seqmodels.errors`.
  """
  with distributed.Interruption() as signals:
    data = task.load(config, data_dir, signals)
    model = task.build_network(config, data.alphabet.size, finest=data.finest)
    if config.model.network == "synthesis":
      # What could not be written at the end is refused at the beginning.
      for text in config.sample.texts:
        data.alphabet.encode(text)
    return stages.train_and_evaluate(
      config, workdir, task.task(config, data, model), evaluate, signals
    )


def evaluate(
  context: stages.Context, result: train.TrainResult
) -> list[results.Row]:
  """All rows of the results, the figures and the report."""
  del result
  rows = rows_of(context)
  write_report(context, rows)
  return rows


def describe(context: stages.Context) -> str:
  """The network and its training in a few words."""
  config, training = context.config, context.config.training
  parts = [
    stages.model_name(config),
    *stages.noise_names(config),
    f"{training.optimizer}, {task.minibatch(config)} a step, "
    f"{training.epochs:g} epochs",
    f"{config.dtype} products",
  ]
  if config.data.source != "iamondb":
    parts.append(f"{config.data.source} pen")
  if config.data.limit:
    parts.append(f"first {config.data.limit:,} lines of each split")
  if config.restore:
    parts.append(f"begun from {pathlib.Path(config.restore).name}")
  return ", ".join(parts)


def rows_of(context: stages.Context) -> list[results.Row]:
  """Nats a line and squared errors a point, of both splits."""
  totals = []
  train = context.config.evaluation.train_lines
  if train:
    totals += _rows(
      context, "train", min(train, len(context.data.splits["train"]))
    )
  return totals + _rows(context, "valid", 0)


def published(config: config_dict.ConfigDict, split: str) -> Mapping[str, Any]:
  """The paper's values, where what is scored is what the paper scored."""
  data, model = config.data, config.model
  papers = (
    split == "valid"
    and data.source == "iamondb"
    and not data.limit
    and tuple(model.features) in PAPERS
    and (model.components, model.window, model.peepholes) == (20, 10, True)
  )
  return (config.get("reference") if papers else None) or {}


def _rows(context: stages.Context, split: str, lines: int) -> list[results.Row]:
  def compute() -> dict[str, Any]:
    total = len(context.data.splits[split].points)
    bar = progress.Progress(
      None if lines else total,
      f"scoring {split}",
      unit="point",
      symbols="points",
    )

    def tell(done: int) -> None:
      context.signals.check()
      bar.update(done)

    with bar:
      totals = task.evaluate(
        context.config,
        context.data,
        context.model,
        context.params,
        split,
        lines=lines,
        callback=tell,
      )
    return totals._asdict()

  totals = handwriting.PointMetrics(
    **stages.phase(context, f"score {split}", compute)
  )
  name = describe(context)
  every = len(context.data.splits[split])
  if lines and lines < every:
    name += f"; {lines:,} of {every:,} lines, evenly spaced"
  reference = published(context.config, split)

  def row(
    what: str, metric: str, value: float, count: int, key: str = ""
  ) -> results.Row:
    published = reference.get(key) if key else None
    return results.row(
      f"{name}; {what}" if what else name,
      split=split,
      evaluation="static",
      metric=metric,
      value=value,
      count=count,
      seconds=totals.seconds,
      reference=published,
      reference_source=reference["source"] if published is not None else None,
    )

  wrong = 100.0 * totals.error_rate
  return [
    row(
      "",
      "nats_per_sequence",
      totals.nats_per_sequence,
      totals.count,
      "nats_per_sequence",
    ),
    row("", "nats_per_point", totals.nats_per_point, totals.count),
    *(
      [
        row(
          "no deviation finer than half a unit of the data",
          "nats_per_sequence",
          totals.coarse_nats_per_sequence,
          totals.count,
        )
      ]
      if "coarse" in totals.sums
      else []
    ),
    row("of the mixture's mean", "sse", totals.sse, totals.count),
    row(
      "of the likeliest component's mean",
      "sse",
      totals.sse_likeliest,
      totals.count,
    ),
    row(
      "half the squared error of the likeliest component's mean",
      "half_sse",
      totals.half_sse,
      totals.count,
      "half_sse",
    ),
    row("ends of strokes", "error_rate", wrong, totals.count),
  ]


def scribble(
  context: stages.Context,
  biases: Sequence[float],
  points: Sequence[int] | np.ndarray,
) -> list[trained_handwriting.Sample]:
  """Lines by a network without a window.

  Args:
    context: of the run.
    biases: of each line.
    points: of each line.
  """
  if not len(biases):
    return []
  drawn = sampling.write(
    context.model,
    context.params,
    jax.random.key(context.config.seed),
    rows=len(biases),
    steps=int(np.max(points)),
    bias=np.array(biases, np.float32),
    most=np.asarray(points),
  )
  return [
    trained_handwriting.Sample(
      "", bias, context.data.scaling.restore(drawn.line(row)), False, None
    )
    for row, bias in enumerate(biases)
  ]


def compared_lines(context: stages.Context) -> strokes.PenLines:
  """Validation lines for the statistics, from all over the split."""
  lines = context.data.splits["valid"]
  return lines.spread(context.config.sample.statistics)


def measured(
  context: stages.Context,
) -> tuple[dict[str, Any], list[trained_handwriting.Sample]]:
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
  real = [
    context.data.scaling.restore(chosen.line(index)) for index in range(count)
  ]
  texts = list(chosen.texts)
  drawn: list[trained_handwriting.Sample] = []

  def draw() -> list[trained_handwriting.Sample]:
    if context.model.window is None:
      return scribble(context, (0.0,) * count, chosen.lengths)
    return trained_handwriting.write(
      context.model,
      context.params,
      task.pen_of(context.data),
      texts,
      bias=0.0,
      seed=context.config.seed + 1,
      points_per_character=context.config.sample.points_per_character,
    )

  def compute() -> dict[str, Any]:
    drawn.extend(draw())
    known = texts if context.model.window is not None else None
    inks = [sample.ink for sample in drawn]
    kept = [place for place, ink in enumerate(inks) if len(ink)]
    written = handwriting.describe(
      [inks[place] for place in kept],
      None if known is None else [known[place] for place in kept],
    )
    compared = handwriting.compare(handwriting.describe(real, known), written)
    curve: dict[str, Any] = {
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
      "stopped": stopped if context.model.window is not None else None,
      "statistics": curve,
    }

  return stages.phase(context, "strokes", compute), drawn


def table(statistics: dict[str, Any]) -> str:
  """Stroke statistics as a Markdown table; empty without any."""
  if not statistics:
    return ""
  body = [
    [
      name.replace("_", " "),
      *(
        f"{results.figure(mean)} ± {results.figure(deviation)}"
        for mean, deviation in (pair["real"], pair["written"])
      ),
      results.figure(pair["shift"], sign=True),
    ]
    for name, pair in statistics["statistics"].items()
  ]
  return results.table(
    ["a line", "real", "written", "shift in deviations"], body
  )


# Steps of the line that the heatmap shows: a word or two.
WORD = 200
TEMPLATE = pathlib.Path(__file__).with_name("page.md")


def write_report(context: stages.Context, rows: Sequence[results.Row]) -> None:
  """Draws what there is to draw, writes samples and report.md.

  Args:
    context: of the run.
    rows: its result rows.
  """
  page = page_lib.Page(TEMPLATE, context.workdir)
  page["model"] = describe(context)
  page["source"] = context.data.provenance["source"]
  page["step"] = f"{context.step:,}"
  page["selected"] = stages.selected(context.config)
  page.facts(
    "facts",
    {
      "parameters": f"{trees.count_parameters(context.params):,}",
      "alphabet": f"{context.data.alphabet.size} symbols",
      "data": context.data.provenance["note"],
    },
  )
  _learning(context, page)
  _predictions(context, page)
  _samples(context, page)
  context.signals.check()
  statistics, written = measured(context)
  # Earlier starts may have drawn it.
  beside_real = page.figure("beside_real")
  if written:
    _beside_real(context, written, beside_real)
  if statistics:
    page["strokes"] = table(statistics)
    if statistics["stopped"] is not None:
      page["read"] = {
        "stopped": statistics["stopped"],
        "lines": statistics["lines"],
        "share": f"{trained_handwriting.READ:.0%}",
      }
  page.write(rows)


def _learning(context: stages.Context, page: page_lib.Page) -> None:
  metrics = context.workdir / metrics_lib.METRICS
  if metrics.is_file() and metrics.stat().st_size:
    curves.learning_curves(
      metrics,
      page.figure("learning_curves"),
      name="nats_per_point",
      title=stages.model_name(context.config),
    )


def _example(context: stages.Context) -> int:
  """A validation line of middling length."""
  lengths = context.data.splits["valid"].lengths
  return int(np.argsort(lengths, kind="stable")[len(lengths) // 2])


def _predictions(context: stages.Context, page: page_lib.Page) -> None:
  """The network's densities along one real line."""
  lines = context.data.splits["valid"]
  index = _example(context)
  line, text = lines.line(index), lines.texts[index]
  ids = context.data.alphabet.encode(text) if context.model.window else None
  trace = handwriting.trace(context.model, context.params, line, ids)
  ink = context.data.scaling.restore(line)
  scale = context.data.scaling
  before = np.cumsum(ink[:, :2], axis=0) - ink[:, :2]
  name = f'"{text}" ({lines.names[index]})' if text else lines.names[index]
  page["line"] = name
  handwriting_lib.heatmap(
    page.figure("heatmap"),
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
  handwriting_lib.component_weights(
    page.figure("mixture_weights"),
    name,
    weights=trace.weights,
    ink=ink,
  )
  if trace.window is not None:
    handwriting_lib.alignment(
      page.figure("alignment_real"),
      name,
      window=trace.window,
      text=text,
      ink=ink,
    )


def _samples(context: stages.Context, page: page_lib.Page) -> None:
  """Lines at the configured biases, as a figure and as SVG."""
  given = context.config.sample
  if context.model.window is None:
    biases = [bias for bias in given.biases for _ in range(given.lines)]
    points = [given.points] * len(biases)
    drawn = scribble(context, biases, points)
  else:
    pairs = [
      (text, bias)
      for text in given.texts
      for bias in given.biases
      for _ in range(given.lines)
    ]
    drawn = []
    if pairs:
      drawn = trained_handwriting.write(
        context.model,
        context.params,
        task.pen_of(context.data),
        [text for text, _ in pairs],
        bias=[bias for _, bias in pairs],
        seed=context.config.seed,
        points_per_character=given.points_per_character,
      )
  inked = [sample for sample in drawn if sample.drawable]
  if not inked:
    return
  title = stages.model_name(context.config)
  handwriting_lib.plot_lines(
    page.figure("samples"),
    title,
    [(_label(sample), sample.ink) for sample in inked],
  )
  handwriting_lib.write_svg(
    context.workdir / "samples" / "samples.svg",
    [sample.ink for sample in inked],
    title=title,
  )
  first = next((s for s in inked if s.window is not None and s.bias > 0), None)
  if first is not None and first.window is not None:
    handwriting_lib.alignment(
      page.figure("alignment_written"),
      _label(first),
      window=first.window,
      text=first.text,
      ink=first.ink,
    )


def _label(sample: trained_handwriting.Sample) -> str:
  text = f"{sample.text}, " if sample.text else ""
  cut = ", cut" if sample.window is not None and not sample.stopped else ""
  return f"{text}bias {sample.bias:g}{cut}"


def _beside_real(
  context: stages.Context,
  written: Sequence[trained_handwriting.Sample],
  path: pathlib.Path,
) -> None:
  """Some validation lines, each above what the network made of it."""
  lines = compared_lines(context)
  rows: list[tuple[str, np.ndarray]] = []
  for index, sample in enumerate(written[:4]):
    label = f": {sample.text}" if sample.text else ""
    rows.append(
      (f"real{label}", context.data.scaling.restore(lines.line(index)))
    )
    if sample.drawable:
      rows.append((f"written{label}", sample.ink))
  handwriting_lib.plot_lines(path, "", rows)
