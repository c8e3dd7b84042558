"""Trains a task: prepares its parts, runs the loop, logs, evaluates and saves.

The loop runs ahead: while the device works on one dispatch the host reads the
one before it and builds the next. The account of time (`seqmodels.io.progress`)
counts what the host does meanwhile as time of the steps, and as data only what
the device had to wait for.
"""

import math
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import config_dict

from seqmodels import errors, trained, trees
from seqmodels.io import checkpoints, distributed, progress, results
from seqmodels.io import metrics as metrics_lib
from seqmodels.regularization import weight_noise
from seqmodels.training import (
  loop,
  loss,
  optimizers,
  regularizers,
  sharding,
  step,
)


class Stream(Protocol):
  """Training data, a pure function of the step number."""

  @property
  def segments_per_epoch(self) -> int:
    """Steps of one pass over the data."""

  def segments(self, start: int, count: int) -> Any:
    """The batches [K, T, B, ...] of the `count` steps from `start` on."""


def make_plan(config: config_dict.ConfigDict, stream: Stream) -> loop.Plan:
  """How many steps to train, and when to evaluate and save."""
  training = config.training
  epoch = stream.segments_per_epoch
  total = round(training.epochs * epoch)
  if training.max_steps:
    total = min(total, training.max_steps)
  # Whole dispatches between evaluations: each length is compiled on its own.
  dispatch = training.steps_per_dispatch
  between = -(-epoch // training.evaluations_per_epoch)
  return loop.Plan(
    total=total,
    dispatch=dispatch,
    evaluate=dispatch * -(-between // dispatch),
    checkpoint=training.checkpoint_every,
    patience=training.patience,
    # Restored weights are the first candidate for the best.
    initial=bool(config.restore),
  )


def build_optimizer(
  config: config_dict.ConfigDict, steps: int
) -> optax.GradientTransformation:
  """The optimizer of `config.training`, its schedule ending at `steps`."""
  training = config.training
  return optimizers.build(
    training.optimizer,
    learning_rate=training.learning_rate,
    momentum=training.momentum,
    schedule=training.schedule,
    steps=steps,
    warmup_steps=training.warmup_steps,
    clip_norm=training.clip_norm,
    average=training.average,
  )


def learning_rates(config: config_dict.ConfigDict, steps: int) -> np.ndarray:
  """The learning rate of each of `steps` updates."""
  training = config.training
  return optimizers.learning_rates(
    optimizers.build_schedule(
      training.schedule,
      training.learning_rate,
      steps=steps,
      warmup_steps=training.warmup_steps,
    ),
    steps=steps,
  )


def build_regularizer(
  config: config_dict.ConfigDict, symbols: int
) -> regularizers.Regularizer:
  """The regularizer of `config.regularization`.

  Args:
    config: as `configs.common.base`.
    symbols: of the training split.

  Raises:
    UserError: both kinds of weight noise at once, a bad deviation, or settings
      of adaptive weight noise without it or with averaged weights.
  """
  chosen = config.regularization
  if chosen.weight_noise and chosen.adaptive:
    raise errors.UserError(
      f"config.regularization.weight_noise is {chosen.weight_noise} and "
      f"config.regularization.adaptive is {chosen.adaptive}; noise is fixed or "
      "adaptive, so set one of them to 0"
    )
  if chosen.complexity != 1 and not chosen.adaptive:
    raise errors.UserError(
      f"config.regularization.complexity is {chosen.complexity}, the weight of "
      "what only adaptive weight noise has; set "
      "config.regularization.adaptive, to 0.075 for one, or leave it at 1"
    )
  if config.training.select == "description_length" and config.training.average:
    raise errors.UserError(
      f"config.training.average is {config.training.average} and "
      "config.training.select is 'description_length', which is of the "
      "posterior as it is trained and not of its average; leave one of them out"
    )
  if chosen.adaptive:
    return regularizers.adaptive(
      chosen.adaptive,
      symbols=symbols,
      squares=chosen.squares,
      complexity=chosen.complexity,
    )
  if config.training.select == "description_length":
    raise errors.UserError(
      "config.training.select is 'description_length', which only adaptive "
      "weight noise has; set config.regularization.adaptive, to 0.075 for one, "
      "or select by 'validation'"
    )
  if chosen.weight_noise:
    return regularizers.noisy(chosen.weight_noise)
  return regularizers.plain()


class Validation(NamedTuple):
  """A score on the validation split."""

  loss: float  # nats a position: what is compared from one to the next
  figures: Mapping[str, float]  # by metric
  note: str  # what it was scored on


class Task(NamedTuple):
  """A model, its loss and its data.

  Attributes:
    model: with `init(key)` and `initial_carry(batch)`.
    losses: the loss that every step minimises.
    stream: the training data.
    plan: of the steps over it.
    positions: scored in one pass over the training data.
    metric: of the training loss, as logged.
    score: the metric's value of (nats, positions).
    unit: of the logged speed, such as "tokens".
    kind: of the model, a key of `trained.KINDS`.
    symbols: what weights must have been trained on: a vocabulary or a pen.
    restored: the weights that `config.restore` names, given their shapes.
    validate: `(weights, check) -> Validation`; `check` is called now and then.
    facts: of the data and of a step, to log at the start.
    name: of the model, to log at the start.
  """

  model: Any
  losses: loss.Losses
  stream: Stream
  plan: loop.Plan
  positions: int
  metric: str
  score: Callable[[float, int], float]
  unit: str
  kind: str
  symbols: trained.Symbols
  restored: Callable[[Any], Any]
  validate: Callable[[Any, Callable[[], None]], Validation]
  facts: tuple[str, str]
  name: str

  @property
  def identity(self) -> dict[str, str]:
    """What the weights were trained on, saved with each of them."""
    return {trained.KINDS[self.kind].identity: self.symbols.hash}


class Setup(NamedTuple):
  """All parts of a training that its config decides."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  task: Task
  regularizer: regularizers.Regularizer
  optimizer: optax.GradientTransformation
  mesh: Mesh

  def fresh(self, shardings: Any = None) -> step.TrainState:
    """The state before the first step."""
    return step.create(
      self.task.model,
      self.optimizer,
      batch=self.config.training.batch,
      seed=self.config.seed,
      wrap=self.regularizer.wrap,
      shardings=shardings,
    )

  def train_steps(self, *, side_by_side: bool = False) -> step.TrainSteps:
    """The compiled step of this run, or of several seeds side by side.

    The one place where a step is built, so that all minimise the task's loss.
    """
    return step.make_train_steps(
      self.task.model,
      self.optimizer,
      reduction=self.config.training.reduction,
      regularizer=sharding.gathering(self.regularizer, self.mesh),
      losses=self.task.losses,
      shardings=None
      if side_by_side
      else (self.shardings, sharding.everywhere(self.mesh)),
      side_by_side=side_by_side,
    )

  @property
  def shapes(self) -> step.TrainState:
    """Names, shapes and dtypes of a state, without its memory."""
    return jax.eval_shape(self.fresh)

  @property
  def shardings(self) -> Any:
    """Where each array of a state lies."""
    return sharding.state_shardings(self.mesh, self.shapes)

  @property
  def weights(self) -> Any:
    """Names, shapes and dtypes of the weights that are evaluated."""
    return jax.eval_shape(self.regularizer.weights, self.shapes.params)


def prepare(
  config: config_dict.ConfigDict, workdir: pathlib.Path, task: Task
) -> Setup:
  """The parts of a training, nothing of it begun.

  Raises:
    UserError: settings that do not go together, or a batch that does not spread
      evenly over the devices.
  """
  training = config.training
  return Setup(
    config,
    workdir,
    task,
    build_regularizer(config, task.positions),
    build_optimizer(config, task.plan.total),
    sharding.device_mesh(training.batch, model_shards=training.model_shards),
  )


def fit(
  start: step.TrainState,
  memory: loop.Stopping,
  train_steps: step.TrainSteps,
  plan: loop.Plan,
  callbacks: loop.Callbacks,
  *,
  reached: Mapping[str, int],
) -> loop.Outcome:
  """As `loop.fit`, with an account of its time.

  Args:
    start, memory, train_steps, plan, callbacks: as of `loop.fit`.
    reached: the steps that a killed start had come to, as
      `MetricWriter.reached`: time up to them is lost.
  """
  newest: step.StepMetrics | None = None

  def dispatch(
    now: step.TrainState, segments: Any
  ) -> tuple[step.TrainState, step.StepMetrics]:
    nonlocal newest
    now, newest = train_steps(now, segments)
    return now, newest

  def busy() -> bool:
    """Whether the device is still at work on the newest dispatch."""
    # Arrays have had this question for long, but JAX's manual names it nowhere.
    ready = getattr(newest.nats, "is_ready", None) if newest else None
    return ready is not None and not ready()

  again = int(start.step) < reached.get("train", 0)
  with progress.spending("lost" if again else "steps"):
    return loop.fit(
      start, memory, dispatch, plan, accounted(callbacks, reached, busy)
    )


def accounted(
  callbacks: loop.Callbacks,
  reached: Mapping[str, int],
  busy: Callable[[], bool] | None = None,
) -> loop.Callbacks:
  """Callbacks that account for their time; saving and restoring do already.

  Args:
    callbacks: of a loop.
    reached: as of `fit`.
    busy: whether the device is at work.
  """

  def segments(first: int, count: int) -> Any:
    with progress.spending("data", hidden=busy):
      return callbacks.segments(first, count)

  def report(done: loop.Report) -> None:
    callbacks.report(done)
    # The dispatch that is waited for next begins where this one ended.
    again = done.step < reached.get("train", 0)
    progress.turn_to("lost" if again else "steps")

  def evaluate(params: Any, at: int) -> float | None:
    again = at <= reached.get("valid", -1)
    with progress.spending("lost" if again else "evaluation"):
      return callbacks.evaluate(params, at)

  return callbacks._replace(segments=segments, report=report, evaluate=evaluate)


class TrainResult(NamedTuple):
  """What training leaves to the stages after it."""

  params: Any  # the weights that `training.select` chose
  step: int  # of these weights
  posterior: weight_noise.Posterior | None  # at the end, if there is one


# What is compared from one evaluation to the next, the lower the better: of the
# step, the loss on the validation split and the description length.
SELECT: dict[str, Callable[[int, float, float], float]] = {
  "validation": lambda step, loss, length: loss,
  "description_length": lambda step, loss, length: length,
  "last": lambda step, loss, length: -float(step),
}


def train(setup: Setup, signals: distributed.Interruption) -> TrainResult:
  """Trains from the newest checkpoint, a named run, or from scratch."""
  task, plan = setup.task, setup.task.plan
  folder = setup.workdir / "checkpoints"
  with checkpoints.Checkpoints(folder) as saved:
    start, memory, running = starting_point(setup, saved)
    first = int(start.step)
    _announce(setup, first)
    if distributed.several():
      distributed.meet()
      sharding.connect(setup.mesh)
    train_steps = setup.train_steps()
    bar = progress.Progress(plan.total, "train", done=first, symbols=task.unit)
    with (
      metrics_lib.MetricWriter(
        setup.workdir, step=recorded(start, memory)
      ) as metrics,
      bar,
    ):
      outcome = fit(
        start,
        memory,
        train_steps,
        plan,
        make_callbacks(setup, running, saved, metrics, bar, signals),
        reached=metrics.reached,
      )
    saved.wait()
    if outcome.interrupted:
      signals.check()
    best = saved.restore_best(setup.weights)
  last = outcome.state.evaluated
  has_posterior = isinstance(last, weight_noise.Posterior)
  posterior = sharding.whole(last) if has_posterior else None
  best_step = outcome.stopping.best_step
  if best_step < 0:  # nothing was evaluated, or finite
    weights = sharding.whole(setup.regularizer.weights(last))
    return TrainResult(weights, int(outcome.state.step), posterior)
  if best is None or best.step != best_step:
    raise errors.RunError(
      f"the best parameters, of step {best_step:,}, are missing or corrupt in "
      f"{folder / 'best'}; restore that folder from a copy or train in a new "
      "--workdir"
    )
  return TrainResult(sharding.whole(best.tree), best.step, posterior)


def recorded(now: step.TrainState, memory: loop.Stopping) -> int:
  """The step up to which metrics belong to the run; -1 before there are any."""
  return int(now.step) or memory.evaluated_step


class RunningLoss:
  """Training nats since the last evaluation; saved with each checkpoint."""

  def __init__(self, nats: float = 0.0, count: int = 0):
    self.nats, self.count = nats, count

  def add(self, nats: float, count: int) -> None:
    """Counts one more dispatch."""
    self.nats, self.count = self.nats + nats, self.count + count

  def clear(self) -> None:
    """Starts again from nothing."""
    self.nats, self.count = 0.0, 0


def starting_point(
  setup: Setup, saved: checkpoints.Checkpoints
) -> tuple[step.TrainState, loop.Stopping, RunningLoss]:
  """Own checkpoint first, then the run named by `restore`, then scratch."""
  shardings = setup.shardings
  own = saved.restore_latest(
    jax.tree.map(
      lambda leaf, where: leaf.update(sharding=where), setup.shapes, shardings
    )
  )
  task = setup.task
  if own is not None:
    trained.require_same_symbols(
      own.meta, task.kind, task.symbols, setup.workdir
    )
    saved.discard_after(own.step)
    running = RunningLoss(*own.meta.get("tally", ()))
    # JSON has no infinity: None is "nothing evaluated yet".
    stopping: dict[str, Any] = {
      name: math.inf if value is None else value
      for name, value in own.meta["stopping"].items()
    }
    return own.tree, loop.Stopping(**stopping), running
  fresh = setup.fresh(shardings)
  if setup.config.restore:
    wrap = jax.jit(setup.regularizer.wrap, out_shardings=shardings.params)
    begin = jax.jit(setup.optimizer.init, out_shardings=shardings.opt_state)
    wrapped = wrap(_restored(setup))
    fresh = fresh._replace(params=wrapped, opt_state=begin(wrapped))
  saved.discard_after(-1)  # nothing was restored, so nothing was best
  # Saved before any work, so that a folder which cannot be written or read
  # again shows now and not after hours.
  memory, running = loop.Stopping(), RunningLoss()
  _save(saved, fresh, memory, running, task)
  saved.wait()
  return fresh, memory, running


def _restored(setup: Setup) -> Any:
  """The weights of the run that `config.restore` names."""
  weights: Any = None

  def read() -> None:
    nonlocal weights
    weights = jax.tree.map(np.asarray, setup.task.restored(setup.weights))

  distributed.from_first(read)
  return distributed.share(weights, setup.weights)


def _save(
  saved: checkpoints.Checkpoints,
  now: step.TrainState,
  memory: loop.Stopping,
  running: RunningLoss,
  task: Task,
) -> None:
  stopping = {
    name: None if value == math.inf else value
    for name, value in memory._asdict().items()
  }
  tally = [running.nats, running.count]
  meta = {"stopping": stopping, "tally": tally, **task.identity}
  saved.save(int(now.step), now, meta)


def make_callbacks(
  setup: Setup,
  running: RunningLoss,
  saved: checkpoints.Checkpoints,
  metrics: metrics_lib.MetricWriter,
  bar: progress.Progress,
  signals: distributed.Interruption,
) -> loop.Callbacks:
  """What the loop calls: data in, metrics and checkpoints out."""
  task, regularizer = setup.task, setup.regularizer
  rates = learning_rates(setup.config, task.plan.total)

  def log_train(done: loop.Report) -> None:
    running.add(done.nats, done.scored)
    value = task.score(done.nats, done.scored)
    speed = f"{task.unit}_per_second"
    metrics.write(
      done.step,
      "train",
      {
        task.metric: value,
        "gradient_norm": done.gradient_norm,
        "learning_rate": rates[done.step - 1],
        speed: done.scored / done.seconds,
      },
      unit={name: results.METRICS[name] for name in (task.metric, speed)},
    )
    bar.update(
      done.step,
      {task.metric: value},
      symbols=done.scored,
      seconds=done.seconds,
    )

  def log_description_length(params: Any, at: int) -> float:
    """The description length of the training data; infinite without one.

    The error is that of the noisy passes since the last evaluation, as nats of
    one whole pass.
    """
    if regularizer.complexity is None or not running.count:
      return math.inf
    complexity = float(jax.jit(regularizer.complexity)(params))
    error = running.nats / running.count * task.positions
    length = error + setup.config.regularization.complexity * complexity
    lengths = {
      "error_nats": error,
      "complexity_nats": complexity,
      "description_length": length,
    }
    metrics.write(at, "train", lengths, unit=dict.fromkeys(lengths, "nats"))
    bar.say(
      f"step {at:,}: description length {length:,.0f} nats "
      f"({error:,.0f} error, {complexity:,.0f} complexity)"
    )
    return length

  def evaluate(params: Any, at: int) -> float | None:
    weights = sharding.whole(regularizer.weights(params))
    try:
      validation = Validation(
        *distributed.from_first(lambda: task.validate(weights, signals.check))
      )
    except errors.Interrupted as error:
      signals.receive(error.signum)
      return None
    length = log_description_length(params, at)
    running.clear()
    figures = validation.figures
    unit = {name: results.METRICS[name] for name in figures}
    metrics.write(at, "valid", figures, unit=unit)
    words = ", ".join(f"{name} {value:.4f}" for name, value in figures.items())
    bar.say(f"step {at:,}: valid {words}, {validation.note}")
    select = SELECT[setup.config.training.select]
    return select(at, validation.loss, length)

  return loop.Callbacks(
    segments=lambda start, count: sharding.place_segments(
      setup.mesh, task.stream.segments(start, count)
    ),
    report=log_train,
    evaluate=evaluate,
    improved=lambda params, at: saved.save_best(
      at, regularizer.weights(params), task.identity
    ),
    checkpoint=lambda now, memory: _save(saved, now, memory, running, task),
    interrupted=lambda: signals.requested,
  )


def _announce(setup: Setup, first: int) -> None:
  """Prints what begins, before the silence of the first compilation."""
  if not distributed.is_first():
    return
  data, step_of = setup.task.facts
  parts = ", ".join(
    f"{name} {trees.count_parameters(part):,}"
    for name, part in setup.weights.items()
  )
  lines = [
    f"data: {data}",
    f"model: {setup.task.name}, "
    f"{trees.count_parameters(setup.weights):,} parameters ({parts})",
    f"training: {setup.task.plan.total:,} steps of {step_of} on "
    f"{_devices(setup.mesh)}"
    + (f", resumed at step {first:,}" if first else ""),
  ]
  print("\n".join(lines), file=sys.stderr, flush=True)


def _devices(mesh: Mesh) -> str:
  """The devices, as in "8 devices of 2 processes, weights in 4 shares"."""
  parts = [f"{mesh.size} device{'s' if mesh.size > 1 else ''}"]
  if jax.process_count() > 1:
    parts[0] += f" of {jax.process_count()} processes"
  if mesh.shape["model"] > 1:
    parts.append(f"weights in {mesh.shape['model']} shares")
  return ", ".join(parts)
