"""Trains what the settings name: from scratch, or from an earlier run."""

import pathlib
import sys
from typing import Any, NamedTuple

import jax
import optax
from ml_collections import config_dict

from experiments import assembly, course, earlier_runs, phases
from seqmodels import errors, trees
from seqmodels.data import corpus
from seqmodels.evaluation import static
from seqmodels.io import checkpoints, interruption, metric_writers, progress
from seqmodels.io import report as reports
from seqmodels.models import predictor as predictors
from seqmodels.regularization import adaptive_weight_noise
from seqmodels.training import (
  loop,
  regularizers,
  sharding,
  state,
  step,
  stopping,
)


class Fitted(NamedTuple):
  """What training leaves to the phases after it."""

  params: Any  # the weights of the best validation score
  step: int  # of these weights
  posterior: adaptive_weight_noise.Posterior | None  # at the end, if there is


class Setup(NamedTuple):
  """All parts of a training that its settings decide."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  tokens: corpus.Tokens
  network: predictors.Predictor
  regularizer: regularizers.Regularizer
  optimizer: optax.GradientTransformation
  course: course.Course

  def fresh(self) -> state.TrainState:
    """The state before the first step."""
    return state.create(
      self.network,
      self.optimizer,
      batch=self.config.training.batch,
      seed=self.config.seed,
      wrap=self.regularizer.wrap,
    )

  @property
  def target(self) -> state.TrainState:
    """Names, shapes and dtypes of a state, without its memory."""
    return jax.eval_shape(self.fresh)

  @property
  def weights(self) -> Any:
    """Names, shapes and dtypes of the weights that are evaluated."""
    return jax.eval_shape(self.regularizer.weights, self.target.params)


def prepare(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  tokens: corpus.Tokens,
  network: predictors.Predictor,
) -> Setup:
  """The parts of a training, nothing of it begun."""
  planned = course.plan(config, tokens)
  return Setup(
    config,
    workdir,
    tokens,
    network,
    assembly.build_regularizer(config, len(tokens.splits["train"])),
    assembly.build_optimizer(config, planned.plan.total),
    planned,
  )


def train(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  tokens: corpus.Tokens,
  network: predictors.Predictor,
  signals: interruption.Interruption,
) -> Fitted:
  """Trains from the newest checkpoint, a named run, or from scratch."""
  setup = prepare(config, workdir, tokens, network)
  planned = setup.course
  mesh = sharding.data_mesh(config.training.batch)
  with checkpoints.Checkpoints(workdir / "checkpoints") as saved:
    start, memory, tally = starting_point(setup, saved)
    first = int(start.step)
    _announce(setup, first)
    train_steps = step.make_train_steps(
      network,
      setup.optimizer,
      reduction=config.training.reduction,
      regularizer=setup.regularizer,
    )
    bar = progress.Progress(planned.plan.total, "train", done=first)
    with metric_writers.MetricWriter(workdir, step=first or -1) as metrics, bar:
      outcome = loop.fit(
        sharding.place_state(mesh, start),
        memory,
        train_steps,
        planned.plan,
        callbacks_of(setup, tally, mesh, saved, metrics, bar, signals),
      )
    saved.wait()
    if outcome.interrupted:
      signals.check()
    best = saved.restore_best(setup.weights)
  last = outcome.state.params
  charged = isinstance(last, adaptive_weight_noise.Posterior)
  kept = phases.place(last) if charged else None
  if not outcome.stopping.best_step:  # no step was taken, or none was finite
    weights = phases.place(setup.regularizer.weights(last))
    return Fitted(weights, int(outcome.state.step), kept)
  if best is None or best.step != outcome.stopping.best_step:
    raise errors.RunError(
      f"the best parameters, of step {outcome.stopping.best_step:,}, are "
      f"missing or corrupt in {workdir / 'checkpoints' / 'best'}; restore that "
      "folder from a copy or train in a new --workdir"
    )
  return Fitted(phases.place(best.tree), best.step, kept)


class Tally:
  """Training nats since the last evaluation; saved, so resuming goes on."""

  def __init__(self, nats: float = 0.0, scored: int = 0):
    self.nats, self.scored = nats, scored

  def add(self, nats: float, scored: int) -> None:
    """Counts one more dispatch."""
    self.nats, self.scored = self.nats + nats, self.scored + scored

  def clear(self) -> None:
    """Begins anew."""
    self.nats, self.scored = 0.0, 0


def starting_point(
  setup: Setup, saved: checkpoints.Checkpoints
) -> tuple[state.TrainState, stopping.Stopping, Tally]:
  """Own checkpoint first, then the run named by `restore`, then scratch."""
  own = saved.restore_latest(setup.target)
  symbols = setup.tokens.vocabulary
  if own is not None:
    earlier_runs.check_vocabulary(own.meta, symbols, setup.workdir)
    saved.discard_after(own.step)
    memory = stopping.Stopping(**own.meta["stopping"])
    return own.tree, _finite_best(memory), Tally(*own.meta.get("tally", ()))
  fresh = setup.fresh()
  if setup.config.restore:
    earlier = earlier_runs.restore_weights(setup.config, setup.weights, symbols)
    wrapped = jax.jit(setup.regularizer.wrap)(earlier)
    fresh = fresh._replace(
      params=wrapped, opt_state=jax.jit(setup.optimizer.init)(wrapped)
    )
  saved.discard_after(-1)  # nothing was restored, so nothing was best
  # Saved before any work, so that a folder which cannot be written or read
  # again shows now and not after hours.
  memory, tally = stopping.Stopping(), Tally()
  _save(saved, fresh, memory, tally, setup.tokens)
  saved.wait()
  return fresh, memory, tally


def _finite_best(memory: stopping.Stopping) -> stopping.Stopping:
  """JSON has no infinity: None stands for "nothing evaluated yet"."""
  if memory.best is None:
    return memory._replace(best=float("inf"))
  return memory


def _save(
  saved: checkpoints.Checkpoints,
  now: state.TrainState,
  memory: stopping.Stopping,
  tally: Tally,
  tokens: corpus.Tokens,
) -> None:
  recorded = memory._asdict()
  if recorded["best"] == float("inf"):
    recorded["best"] = None
  saved.save(
    int(now.step),
    now,
    {
      "stopping": recorded,
      "tally": [tally.nats, tally.scored],
      "vocabulary": tokens.vocabulary.hash,
    },
  )


def callbacks_of(
  setup: Setup,
  tally: Tally,
  mesh: Any,
  saved: checkpoints.Checkpoints,
  metrics: metric_writers.MetricWriter,
  bar: progress.Progress,
  signals: interruption.Interruption,
) -> loop.Callbacks:
  """What the loop calls back: data in, metrics and checkpoints out."""
  tokens, regularizer = setup.tokens, setup.regularizer
  unit = assembly.UNITS[setup.config.data.tokenizer]
  settings = setup.config.evaluation
  validation = assembly.chunks(
    tokens,
    "valid",
    streams_count=settings.validation_streams,
    length=settings.segment,
  )

  def told(done: loop.Report) -> None:
    tally.add(done.nats, done.scored)
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

  def charged(trained: Any, at: int) -> None:
    """The description length of the training data, where weights are charged.

    The error is that of the noisy passes since the last evaluation, as nats of
    one whole pass.
    """
    if regularizer.complexity is None or not tally.scored:
      return
    complexity = float(jax.jit(regularizer.complexity)(trained))
    error = tally.nats / tally.scored * len(tokens.splits["train"])
    lengths = {
      "error_nats": error,
      "complexity_nats": complexity,
      "description_length": error + complexity,
    }
    metrics.write(at, "train", lengths, unit=dict.fromkeys(lengths, "nats"))
    bar.say(
      f"step {at:,}: description length {error + complexity:,.0f} nats "
      f"({error:,.0f} error, {complexity:,.0f} complexity)"
    )

  def scored(trained: Any, at: int) -> float | None:
    try:
      found = static.evaluate(
        setup.network,
        phases.place(regularizer.weights(trained)),
        validation,
        streams=settings.validation_streams,
        callback=lambda done, total: signals.check(),
      )
    except errors.Interrupted:
      return None
    charged(trained, at)
    tally.clear()
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
      mesh, setup.course.stream.segments(start, count)
    ),
    report=told,
    evaluate=scored,
    improved=lambda trained, at: saved.save_best(
      at,
      regularizer.weights(trained),
      {"vocabulary": tokens.vocabulary.hash},
    ),
    checkpoint=lambda now, memory: _save(saved, now, memory, tally, tokens),
    interrupted=lambda: signals.requested,
  )


def _announce(setup: Setup, first: int) -> None:
  """What is about to happen, before the first compilation's silence."""
  tokens, training = setup.tokens, setup.config.training
  sizes = ", ".join(
    f"{name} {len(ids):,}" for name, ids in tokens.splits.items()
  )
  parts = ", ".join(
    f"{name} {trees.count_parameters(part):,}"
    for name, part in setup.weights.items()
  )
  lines = [
    f"data: {tokens.provenance['source']}, {sizes}; "
    f"{tokens.vocabulary.size:,} symbols to choose from",
    f"model: {phases.model_name(setup.config)}, "
    f"{trees.count_parameters(setup.weights):,} parameters ({parts})",
    f"training: {setup.course.plan.total:,} steps of {training.batch} x "
    f"{training.segment} symbols on {jax.device_count()} device(s)"
    + (f", resumed at step {first:,}" if first else ""),
  ]
  print("\n".join(lines), file=sys.stderr, flush=True)
