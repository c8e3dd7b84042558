"""Training: the schedule, the parts that a config names, the loop, its reports.

Training with an account of its time (`seqmodels.io.progress`).

The loop runs ahead: while the device works on one dispatch the host reads the
one before it and builds the next. What the host does meanwhile costs nothing,
so it counts as time of the steps; as data counts only what the device had to
wait for.
"""

import math
import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import config_dict

from seqmodels import errors, trees
from seqmodels.data.handwriting import batching
from seqmodels.data.text import batching as batching_lib
from seqmodels.io import checkpoints, distributed, progress
from seqmodels.io import metrics as metrics_lib
from seqmodels.io import results as reports
from seqmodels.regularization import weight_noise
from seqmodels.training import (
  loop,
  loss,
  optimizers,
  regularizers,
  sharding,
  step,
)
from seqmodels.training import step as step_lib

Stream = (
  batching_lib.SequentialStream
  | batching_lib.RandomWindows
  | batching_lib.Sentences
  | batching.PenBatches
  | batching.PenChunks
)


class Course(NamedTuple):
  """The training data as segments, and how long to go through it."""

  stream: Stream
  plan: loop.Plan


def laid_out(config: config_dict.ConfigDict, stream: Stream) -> Course:
  """Steps over any training data, and when to evaluate and save."""
  training = config.training
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
    # Restored weights are the first candidate for the best.
    initial=bool(config.restore),
  )
  return Course(stream, plan)


def build_optimizer(
  config: config_dict.ConfigDict, steps: int
) -> optax.GradientTransformation:
  """The rule that `config.training` names, its schedule ending at `steps`."""
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
  """What `config.regularization` puts around the weights.

  Args:
    config: as `configs.common.base`.
    symbols: of the training split.

  Raises:
    UserError: both kinds of weight noise at once, a bad deviation, a weight on
      a complexity or a choice by a description length that there is not, or of
      averaged weights.
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
  """What is trained, on what, and how it is told of.

  Attributes:
    model: with `init(key)` and `initial_carry(batch)`.
    losses: what a step minimises.
    course: the training data as a plan of steps.
    positions: scored in one pass over the training data.
    named: metric of a report on training, and its value of (nats, positions).
    speed: what goes by in a second, such as "tokens".
    identity: what weights must have been trained on, kept with each of them.
    check: refuses a checkpoint whose identity is another, by its (record,
      folder).
    restored: the weights that `config.restore` names, given their shapes.
    validate: `(weights, check) -> Validation`; `check` is called now and then.
    facts: lines that say what is about to begin; the model's parameters are
      counted here.
    name: of the model.
  """

  model: Any
  losses: loss.Losses
  course: Course
  positions: int
  named: tuple[str, Callable[[float, int], float]]
  speed: str
  identity: Mapping[str, str]
  check: Callable[[Mapping[str, Any], pathlib.Path], None]
  restored: Callable[[Any], Any]
  validate: Callable[[Any, Callable[[], None]], Validation]
  facts: tuple[str, str]  # of the data, of a step
  name: str


class Setup(NamedTuple):
  """All parts of a training that its settings decide."""

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
  """The parts of a training, nothing of it begun."""
  return Setup(
    config,
    workdir,
    task,
    build_regularizer(config, task.positions),
    build_optimizer(config, task.course.plan.total),
    mesh_of(config),
  )


def mesh_of(config: config_dict.ConfigDict) -> Mesh:
  """The devices that `config.training` is spread over.

  Raises:
    UserError: it does not spread evenly.
  """
  training = config.training
  return sharding.device_mesh(
    training.batch, model_shards=training.model_shards
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
  """`loop.fit`, accounted for.

  Args:
    start: as there.
    memory: as there.
    train_steps: as there.
    plan: as there.
    callbacks: as there.
    reached: how far an earlier start had come that was killed since, as
      `MetricWriter.reached`.
  """
  flying: list[Any] = []  # metrics of the newest dispatch

  def kept(
    now: step.TrainState, segments: Any
  ) -> tuple[step.TrainState, step.StepMetrics]:
    now, metrics = train_steps(now, segments)
    flying[:] = [metrics]
    return now, metrics

  def busy() -> bool:
    """Whether the device is still at work on the newest dispatch."""
    # Arrays have had this question for long, but JAX's manual names it nowhere.
    ready = getattr(flying[0].nats, "is_ready", None) if flying else None
    return ready is not None and not ready()

  again = int(start.step) < reached.get("train", 0)
  with progress.spending("lost" if again else "steps"):
    return loop.fit(
      start, memory, kept, plan, accounted(callbacks, reached, busy)
    )


def accounted(
  callbacks: loop.Callbacks,
  reached: Mapping[str, int],
  busy: Callable[[], bool] | None = None,
) -> loop.Callbacks:
  """Callbacks that say what their time goes into.

  Args:
    callbacks: of a loop; saving and restoring say so by themselves.
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


class Fitted(NamedTuple):
  """What training leaves to the phases after it."""

  params: Any  # the weights that `training.select` chose
  step: int  # of these weights
  posterior: weight_noise.Posterior | None  # at the end, if there is


# What is compared from one evaluation to the next, the lower the better: of the
# step, the loss on the validation split and the description length.
SELECT: dict[str, Callable[[int, float, float], float]] = {
  "validation": lambda step, loss, length: loss,
  "description_length": lambda step, loss, length: length,
  "last": lambda step, loss, length: -float(step),
}


def train(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  task: Task,
  signals: distributed.Interruption,
) -> Fitted:
  """Trains from the newest checkpoint, a named run, or from scratch."""
  setup = prepare(config, workdir, task)
  plan = task.course.plan
  with checkpoints.Checkpoints(workdir / "checkpoints") as saved:
    start, memory, tally = starting_point(setup, saved)
    first = int(start.step)
    _announce(setup, first)
    if distributed.several():
      distributed.meet()
      sharding.connect(setup.mesh)
    train_steps = step_lib.make_train_steps(
      task.model,
      setup.optimizer,
      reduction=config.training.reduction,
      regularizer=sharding.gathering(setup.regularizer, setup.mesh),
      losses=task.losses,
      shardings=(setup.shardings, sharding.everywhere(setup.mesh)),
    )
    bar = progress.Progress(plan.total, "train", done=first, symbols=task.speed)
    kept = recorded(start, memory)
    with metrics_lib.MetricWriter(workdir, step=kept) as metrics, bar:
      outcome = fit(
        start,
        memory,
        train_steps,
        plan,
        callbacks_of(setup, tally, saved, metrics, bar, signals),
        reached=metrics.reached,
      )
    saved.wait()
    if outcome.interrupted:
      signals.check()
    best = saved.restore_best(setup.weights)
  last = outcome.state.evaluated
  charged = isinstance(last, weight_noise.Posterior)
  posterior = sharding.whole(last) if charged else None
  if outcome.stopping.best_step < 0:  # nothing was evaluated, or finite
    weights = sharding.whole(setup.regularizer.weights(last))
    return Fitted(weights, int(outcome.state.step), posterior)
  if best is None or best.step != outcome.stopping.best_step:
    raise errors.RunError(
      f"the best parameters, of step {outcome.stopping.best_step:,}, are "
      f"missing or corrupt in {workdir / 'checkpoints' / 'best'}; restore that "
      "folder from a copy or train in a new --workdir"
    )
  return Fitted(sharding.whole(best.tree), best.step, posterior)


def recorded(now: step_lib.TrainState, memory: loop.Stopping) -> int:
  """The step up to which metrics belong to the run; -1 before there are any."""
  return int(now.step) or memory.evaluated_step


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
) -> tuple[step_lib.TrainState, loop.Stopping, Tally]:
  """Own checkpoint first, then the run named by `restore`, then scratch."""
  shardings = setup.shardings
  own = saved.restore_latest(
    jax.tree.map(
      lambda leaf, where: leaf.update(sharding=where), setup.shapes, shardings
    )
  )
  task = setup.task
  if own is not None:
    task.check(own.meta, setup.workdir)
    saved.discard_after(own.step)
    memory = loop.Stopping(**own.meta["stopping"])
    return own.tree, _finite_best(memory), Tally(*own.meta.get("tally", ()))
  fresh = setup.fresh(shardings)
  if setup.config.restore:
    wrap = jax.jit(setup.regularizer.wrap, out_shardings=shardings.params)
    begin = jax.jit(setup.optimizer.init, out_shardings=shardings.opt_state)
    wrapped = wrap(_restored(setup))
    fresh = fresh._replace(params=wrapped, opt_state=begin(wrapped))
  saved.discard_after(-1)  # nothing was restored, so nothing was best
  # Saved before any work, so that a folder which cannot be written or read
  # again shows now and not after hours.
  memory, tally = loop.Stopping(), Tally()
  _save(saved, fresh, memory, tally, task)
  saved.wait()
  return fresh, memory, tally


def _restored(setup: Setup) -> Any:
  """The weights of the run that `config.restore` names."""
  found: list[Any] = []

  def read() -> None:
    found.append(jax.tree.map(np.asarray, setup.task.restored(setup.weights)))

  distributed.from_first(read)
  return distributed.share(found[0] if found else None, setup.weights)


def _finite_best(memory: loop.Stopping) -> loop.Stopping:
  """JSON has no infinity: None stands for "nothing evaluated yet"."""
  values: dict[str, Any] = memory._asdict()
  unset = {name: float("inf") for name in values if values[name] is None}
  return loop.Stopping(**{**values, **unset})


def _save(
  saved: checkpoints.Checkpoints,
  now: step_lib.TrainState,
  memory: loop.Stopping,
  tally: Tally,
  task: Task,
) -> None:
  recorded = {
    name: None if value == float("inf") else value
    for name, value in memory._asdict().items()
  }
  saved.save(
    int(now.step),
    now,
    {
      "stopping": recorded,
      "tally": [tally.nats, tally.scored],
      **task.identity,
    },
  )


def callbacks_of(
  setup: Setup,
  tally: Tally,
  saved: checkpoints.Checkpoints,
  metrics: metrics_lib.MetricWriter,
  bar: progress.Progress,
  signals: distributed.Interruption,
) -> loop.Callbacks:
  """What the loop calls back: data in, metrics and checkpoints out."""
  task, regularizer = setup.task, setup.regularizer
  metric, score = task.named
  rates = learning_rates(setup.config, task.course.plan.total)

  def told(done: loop.Report) -> None:
    tally.add(done.nats, done.scored)
    found = score(done.nats, done.scored)
    speed = f"{task.speed}_per_second"
    metrics.write(
      done.step,
      "train",
      {
        metric: found,
        "gradient_norm": done.gradient_norm,
        "learning_rate": rates[done.step - 1],
        speed: done.scored / done.seconds,
      },
      unit={
        metric: reports.METRICS[metric],
        speed: reports.METRICS[speed],
      },
    )
    bar.update(
      done.step, {metric: found}, symbols=done.scored, seconds=done.seconds
    )

  def charged(trained: Any, at: int) -> float:
    """The description length of the training data, where weights are charged.

    The error is that of the noisy passes since the last evaluation, as nats of
    one whole pass; infinite where there was none.
    """
    if regularizer.complexity is None or not tally.scored:
      return math.inf
    complexity = float(jax.jit(regularizer.complexity)(trained))
    error = tally.nats / tally.scored * task.positions
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

  def scored(trained: Any, at: int) -> float | None:
    weights = sharding.whole(regularizer.weights(trained))
    try:
      found = Validation(
        *distributed.from_first(lambda: task.validate(weights, signals.check))
      )
    except errors.Interrupted as error:
      signals.receive(error.signum)
      return None
    length = charged(trained, at)
    tally.clear()
    metrics.write(
      at,
      "valid",
      found.figures,
      unit={name: reports.METRICS[name] for name in found.figures},
    )
    told = ", ".join(f"{n} {value:.4f}" for n, value in found.figures.items())
    bar.say(f"step {at:,}: valid {told}, {found.note}")
    return SELECT[setup.config.training.select](at, found.loss, length)

  return loop.Callbacks(
    segments=lambda start, count: sharding.place_segments(
      setup.mesh, task.course.stream.segments(start, count)
    ),
    report=told,
    evaluate=scored,
    improved=lambda trained, at: saved.save_best(
      at, regularizer.weights(trained), dict(task.identity)
    ),
    checkpoint=lambda now, memory: _save(saved, now, memory, tally, task),
    interrupted=lambda: signals.requested,
  )


def _announce(setup: Setup, first: int) -> None:
  """What is about to happen, before the first compilation's silence."""
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
    f"training: {setup.task.course.plan.total:,} steps of {step_of} on "
    f"{_devices(setup.mesh)}"
    + (f", resumed at step {first:,}" if first else ""),
  ]
  print("\n".join(lines), file=sys.stderr, flush=True)


def _devices(mesh: Mesh) -> str:
  """How many train, as in "8 devices of 2 processes, weights in 4 shares"."""
  parts = [f"{mesh.size} device{'s' if mesh.size > 1 else ''}"]
  if jax.process_count() > 1:
    parts[0] += f" of {jax.process_count()} processes"
  if mesh.shape["model"] > 1:
    parts.append(f"weights in {mesh.shape['model']} shares")
  return ", ".join(parts)
