"""Trains a language model and scores it: static, dynamic, beside baselines."""

import pathlib
import sys
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from experiments import (
  assembly,
  baselines,
  pages,
  phases,
  sampled_text,
  scoring,
)
from seqmodels import errors, trees
from seqmodels.data import corpus, streams, windows
from seqmodels.evaluation import static
from seqmodels.io import checkpoints, interruption, metric_writers, progress
from seqmodels.io import report as reports
from seqmodels.models import predictor as predictors
from seqmodels.training import loop, sharding, state, step, stopping

Row = reports.Row


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[Row]:
  """Trains to the end (or resumes), then evaluates, samples and reports.

  Args:
    config: as `configs.common.base`.
    workdir: the run folder.
    data_dir: where data sets are looked for.

  Returns:
    The result rows.

  Raises:
    Interrupted: after a signal, with the state saved.
    UserError, RunError: see `seqmodels.errors`.
  """
  with interruption.Interruption() as signals:
    tokens = assembly.load_tokens(config, data_dir)
    plan_course(config, tokens)  # what it refuses leaves no trace
    sharding.data_mesh(config.training.batch)
    assembly.settle_data(workdir, tokens)
    network = assembly.build_predictor(config, tokens.vocabulary.size)
    params, at = train(config, workdir, tokens, network, signals)
    context = phases.Context(
      config, workdir, tokens, network, params, at, signals
    )
    return evaluate(context)


class Course(NamedTuple):
  """The training data as segments, and how long to go through it."""

  stream: streams.SequentialStream | windows.RandomWindows
  plan: loop.Plan


def plan_course(
  config: config_dict.ConfigDict, tokens: corpus.Tokens
) -> Course:
  """Streams, steps, and when to evaluate and save."""
  training = config.training
  ids = assembly.split(tokens, "train")
  idle = [
    name
    for name, used in (
      ("data.sentences", config.data.sentences),
      ("training.reset_every", training.reset_every),
      ("training.random_offset", training.random_offset),
    )
    if used
  ]
  if training.sampling == "random" and idle:
    raise errors.UserError(
      f"config.{idle[0]} means nothing to random windows, which all start "
      "afresh; leave it out or set config.training.sampling to 'sequential'"
    )
  stream: streams.SequentialStream | windows.RandomWindows
  if training.sampling == "random":
    stream = windows.RandomWindows(
      ids,
      batch=training.batch,
      length=training.segment,
      seed=config.seed,
    )
  else:
    stream = streams.SequentialStream(
      ids,
      batch=training.batch,
      length=training.segment,
      seed=config.seed,
      sentence_end=tokens.sentence_end,
      reset_every=training.reset_every or None,
      random_offset=training.random_offset,
      training=True,
    )
  epoch = stream.segments_per_epoch
  total = round(training.epochs * epoch)
  if training.max_steps:
    total = min(total, training.max_steps)
  # Whole dispatches between evaluations: each length is compiled on its own.
  dispatch = training.steps_per_dispatch
  part = -(-epoch // training.evaluations_per_epoch)
  plan = loop.Plan(
    total=total,
    dispatch=dispatch,
    evaluate=dispatch * -(-part // dispatch),
    checkpoint=training.checkpoint_every,
    patience=training.patience,
  )
  return Course(stream, plan)


def train(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  tokens: corpus.Tokens,
  network: predictors.Predictor,
  signals: interruption.Interruption,
) -> tuple[Any, int]:
  """Trains from the newest checkpoint, a named run, or from scratch.

  Returns:
    The best parameters and the step they are of.
  """
  course = plan_course(config, tokens)
  optimizer = assembly.build_optimizer(config, course.plan.total)
  fresh = state.create(
    network, optimizer, batch=config.training.batch, seed=config.seed
  )
  mesh = sharding.data_mesh(config.training.batch)
  with checkpoints.Checkpoints(workdir / "checkpoints") as saved:
    start, memory = _starting_point(config, workdir, tokens, fresh, saved)
    first = int(start.step)
    _announce(config, tokens, course, fresh, first)
    train_steps = step.make_train_steps(
      network, optimizer, reduction=config.training.reduction
    )
    bar = progress.Progress(course.plan.total, "train", done=first)
    with metric_writers.MetricWriter(workdir, step=first or -1) as metrics, bar:
      outcome = loop.fit(
        sharding.place_state(mesh, start),
        memory,
        train_steps,
        course.plan,
        _callbacks(
          config, tokens, network, course, mesh, saved, metrics, bar, signals
        ),
      )
    saved.wait()
    if outcome.interrupted:
      signals.check()
    best = saved.restore_best(fresh.params)
  if not outcome.stopping.best_step:  # no step was taken, or none was finite
    return phases.place(outcome.state.params), int(outcome.state.step)
  if best is None or best.step != outcome.stopping.best_step:
    raise errors.RunError(
      f"the best parameters, of step {outcome.stopping.best_step:,}, are "
      f"missing or corrupt in {workdir / 'checkpoints' / 'best'}; restore that "
      "folder from a copy or train in a new --workdir"
    )
  return phases.place(best.tree), best.step


def _starting_point(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  tokens: corpus.Tokens,
  fresh: state.TrainState,
  saved: checkpoints.Checkpoints,
) -> tuple[state.TrainState, stopping.Stopping]:
  """Own checkpoint first, then the run named by `restore`, then scratch."""
  own = saved.restore_latest(fresh)
  if own is not None:
    assembly.check_vocabulary(own.meta, tokens.vocabulary, workdir)
    saved.discard_after(own.step)
    memory = stopping.Stopping(**own.meta["stopping"])
    return own.tree, _finite_best(memory)
  if config.restore:
    earlier = checkpoints.restore_params(
      pathlib.Path(config.restore).expanduser(), fresh.params
    )
    assembly.check_vocabulary(
      earlier.meta, tokens.vocabulary, pathlib.Path(config.restore)
    )
    fresh = fresh._replace(params=earlier.tree)
  saved.discard_after(-1)  # nothing was restored, so nothing was best
  # Saved before any work, so that a folder which cannot be written or read
  # again shows now and not after hours.
  _save(saved, fresh, stopping.Stopping(), tokens)
  saved.wait()
  return fresh, stopping.Stopping()


def _finite_best(memory: stopping.Stopping) -> stopping.Stopping:
  """JSON has no infinity: None stands for "nothing evaluated yet"."""
  if memory.best is None:
    return memory._replace(best=float("inf"))
  return memory


def _save(
  saved: checkpoints.Checkpoints,
  now: state.TrainState,
  memory: stopping.Stopping,
  tokens: corpus.Tokens,
) -> None:
  recorded = memory._asdict()
  if recorded["best"] == float("inf"):
    recorded["best"] = None
  saved.save(
    int(now.step),
    now,
    {"stopping": recorded, "vocabulary": tokens.vocabulary.hash},
  )


def _callbacks(
  config: config_dict.ConfigDict,
  tokens: corpus.Tokens,
  network: predictors.Predictor,
  course: Course,
  mesh: Any,
  saved: checkpoints.Checkpoints,
  metrics: metric_writers.MetricWriter,
  bar: progress.Progress,
  signals: interruption.Interruption,
) -> loop.Callbacks:
  unit = assembly.UNITS[config.data.tokenizer]
  settings = config.evaluation
  validation = assembly.chunks(
    tokens,
    "valid",
    streams_count=settings.validation_streams,
    length=settings.segment,
  )

  def told(done: loop.Report) -> None:
    score = phases.score(unit.metric, done.nats, done.scored)
    metrics.write(
      done.step,
      "train",
      {
        unit.metric: score,
        "gradient_norm": done.gradient_norm,
        "tokens_per_second": done.scored / done.seconds,
      },
      unit={
        unit.metric: reports.METRICS[unit.metric],
        "tokens_per_second": "tokens/s",
      },
    )
    bar.update(
      done.step,
      {unit.metric: score},
      symbols=done.scored,
      seconds=done.seconds,
    )

  def scored(params: Any, at: int) -> float | None:
    try:
      found = static.evaluate(
        network,
        phases.place(params),
        validation,
        streams=settings.validation_streams,
        callback=lambda done, total: signals.check(),
      )
    except errors.Interrupted:
      return None
    score = phases.score(unit.metric, found.nats, found.count)
    metrics.write(
      at,
      "valid",
      {unit.metric: score, "error_rate": 100.0 * found.error_rate},
      unit={unit.metric: reports.METRICS[unit.metric], "error_rate": "%"},
    )
    bar.say(
      f"step {at:,}: valid {unit.metric} {score:.4f}, "
      f"{found.count:,} symbols in {settings.validation_streams} streams"
    )
    return found.nats_per_symbol

  return loop.Callbacks(
    segments=lambda start, count: sharding.place_segments(
      mesh, course.stream.segments(start, count)
    ),
    report=told,
    evaluate=scored,
    improved=lambda params, at: saved.save_best(
      at, params, {"vocabulary": tokens.vocabulary.hash}
    ),
    checkpoint=lambda now, memory: _save(saved, now, memory, tokens),
    interrupted=lambda: signals.requested,
  )


def _announce(
  config: config_dict.ConfigDict,
  tokens: corpus.Tokens,
  course: Course,
  fresh: state.TrainState,
  first: int,
) -> None:
  """What is about to happen, before the first compilation's silence."""
  sizes = ", ".join(
    f"{name} {len(ids):,}" for name, ids in tokens.splits.items()
  )
  count = trees.count_parameters(fresh.params)
  lines = [
    f"data: {tokens.provenance['source']}, {sizes}; "
    f"{tokens.vocabulary.size:,} symbols",
    f"model: {len(config.model.features)} layer(s) of {config.model.cell}, "
    f"{count:,} parameters",
    f"training: {course.plan.total:,} steps of {config.training.batch} x "
    f"{config.training.segment} symbols on {jax.device_count()} device(s)"
    + (f", resumed at step {first:,}" if first else ""),
  ]
  print("\n".join(lines), file=sys.stderr, flush=True)


def evaluate(context: phases.Context) -> list[Row]:
  """All rows of the results, the figures and the report."""
  rows, curves = scoring.static_and_dynamic(context)
  rows += baselines.rows(context)
  sample = sampled_text.sample_phase(context)
  pages.write(context, rows, curves, sample)
  return rows
