"""Trains a task: the parts of a training, and its one loop.

`train` prepares a run and gives it to `train_loop`, which dispatches, logs,
evaluates, saves and stops; several seeds side by side run through the same
loop. A `Task` is what a kind of model brings: model, data and validation.
"""

import contextlib
import dataclasses
import functools
import math
import pathlib
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh
from ml_collections import config_dict

from seqmodels import errors, trained, trees
from seqmodels.io import checkpoints, distributed, progress, results
from seqmodels.io import metrics as metrics_lib
from seqmodels.losses import Metrics
from seqmodels.models.networks import SequenceModel
from seqmodels.regularization import weight_noise
from seqmodels.training import optimizers, regularizers, sharding, step


class Stream(Protocol):
  """Training data, a pure function of the step number."""

  @property
  def segments_per_epoch(self) -> int:
    """Steps of one pass over the data."""

  def segments(self, start: int, count: int) -> Any:
    """The batches [K, T, B, ...] of the `count` steps from `start` on."""


class Plan(NamedTuple):
  """The schedule of a training, in steps."""

  total: int  # the last step
  dispatch: int  # K, segments a dispatch
  evaluate: int  # between evaluations on the validation split
  checkpoint: int  # between checkpoints
  patience: int = 0  # evaluations without gain before stopping; 0 never stops
  initial: bool = False  # evaluate before the first step as well

  def next_boundary(self, step: int) -> int:
    """The step at which the dispatch that starts at `step` ends."""
    ends = (_after(step, every) for every in (self.dispatch, self.evaluate))
    return min(*ends, self.total)

  def evaluates(self, step: int) -> bool:
    """True if an evaluation is due after `step` steps."""
    if step == 0:
      return self.initial
    return step % self.evaluate == 0 or step == self.total


def _after(step: int, every: int) -> int:
  return (step // every + 1) * every


def make_plan(config: config_dict.ConfigDict, stream: Stream) -> Plan:
  """The number of steps, and the steps to evaluate and save at."""
  training = config.training
  epoch = stream.segments_per_epoch
  total = round(training.epochs * epoch)
  if training.max_steps:
    total = min(total, training.max_steps)
  # Whole dispatches between evaluations: each length is compiled on its own.
  dispatch = training.steps_per_dispatch
  between = -(-epoch // training.evaluations_per_epoch)
  return Plan(
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
  return regularizers.Regularizer()


class Validation(NamedTuple):
  """A score on the validation split."""

  loss: float  # nats a position: what is compared from one to the next
  figures: Mapping[str, float]  # by metric
  note: str  # what it was scored on


class Task(NamedTuple):
  """A model and its data.

  Attributes:
    model: the model, whose loss every step minimises.
    data: all of the data, for the stages that follow training.
    stream: the training data.
    plan: of the steps over it.
    positions: scored in one pass over the training data.
    figures: the metrics to log, by name, the one to show first.
    unit: of the logged speed, such as "tokens".
    kind: of the model, a key of `trained.KINDS`.
    symbols: what weights must have been trained on: a vocabulary or a pen.
    settle: writes into a run folder what it is trained on, or checks that it is
      what an earlier start was trained on.
    restored: the weights that `config.restore` names, given their shapes.
    validate: `(weights, check) -> Validation`; `check` is called now and then.
    facts: of the data and of a step, to log at the start.
    name: of the model, to log at the start.
    smaller: what to make smaller where memory runs out.
  """

  model: SequenceModel
  data: Any
  stream: Stream
  plan: Plan
  positions: int
  figures: Callable[[Metrics], dict[str, float]]
  unit: str
  kind: str
  symbols: trained.Symbols
  settle: Callable[[pathlib.Path], None]
  restored: Callable[[Any], Any]
  validate: Callable[[Any, Callable[[], None]], Validation]
  facts: tuple[str, str]
  name: str
  smaller: str

  @property
  def identity(self) -> dict[str, str]:
    """The hash of the symbols, saved with all weights."""
    return {trained.KINDS[self.kind].identity: self.symbols.hash}


@dataclasses.dataclass(frozen=True)
class Setup:
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
    """The compiled step of this run, or of several seeds side by side."""
    return step.make_train_steps(
      self.task.model,
      self.optimizer,
      reduction=self.config.training.reduction,
      regularizer=sharding.gathering(self.regularizer, self.mesh),
      shardings=None
      if side_by_side
      else (self.shardings, sharding.replicated(self.mesh)),
      side_by_side=side_by_side,
    )

  @property
  def checkpoints(self) -> pathlib.Path:
    """The folder of its checkpoints."""
    return self.workdir / "checkpoints"

  @functools.cached_property
  def shapes(self) -> step.TrainState:
    """Names, shapes and dtypes of a state, without its memory."""
    return jax.eval_shape(self.fresh)

  @functools.cached_property
  def shardings(self) -> Any:
    """The sharding of each array of a state."""
    return sharding.state_shardings(self.mesh, self.shapes)

  @functools.cached_property
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


class TrainResult(NamedTuple):
  """The result of training, for the stages after it."""

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
  with contextlib.ExitStack() as stack:
    saved = stack.enter_context(checkpoints.Checkpoints(setup.checkpoints))
    start = starting_point(setup, saved)
    _announce(setup, int(start.state.step))
    if distributed.is_distributed():
      distributed.barrier()
      sharding.warm_up_collectives(setup.mesh)
    run = Run(setup, start, saved, signals, stack)
    state, finished = train_loop(
      [run], start.state, setup.train_steps(), setup.task.plan, signals
    )
    saved.wait()
    if not finished:
      signals.check()
    best = saved.restore_best(setup.weights)
  has_posterior = isinstance(state.evaluated, weight_noise.Posterior)
  posterior = sharding.to_host(state.evaluated) if has_posterior else None
  best_step = run.stopping.best_step
  if best_step < 0:  # nothing was evaluated, or finite
    weights = sharding.to_host(setup.regularizer.weights(state.evaluated))
    return TrainResult(weights, int(state.step), posterior)
  if best is None or best.step != best_step:
    raise errors.RunError(
      f"the best parameters, of step {best_step:,}, are missing or corrupt in "
      f"{setup.checkpoints / 'best'}; restore that folder from a copy or train "
      "in a new --workdir"
    )
  return TrainResult(sharding.to_host(best.tree), best.step, posterior)


def train_loop(
  runs: Sequence["Run"],
  state: step.TrainState,
  train_steps: step.TrainSteps,
  plan: Plan,
  signals: distributed.Interruption,
) -> tuple[step.TrainState, bool]:
  """Trains until the plan's end, early stopping or a signal.

  Every boundary is a function of the step number alone, so that a run which was
  killed and resumed makes the same dispatches as one that was not, and the same
  bits come out. The loop runs ahead: while the device works on one dispatch the
  host reads the one before it and builds the batches of the next. Their time is
  charged to the steps, and to "data" only where the device waited for it.

  Args:
    runs: one, or several seeds that are trained side by side; each logs,
      evaluates and saves as if it were alone.
    state: where to start from; donated. Of several runs, their states along a
      new leading axis (`join`).
    train_steps: of `Setup.train_steps`.
    plan: when to do what; its patience must be 0 for several runs.
    signals: asked once a dispatch whether to stop.

  Returns:
    The last state, saved; and False if a signal ended it.

  Raises:
    RunError: a loss or gradient is not finite; nothing is saved then.
  """
  now = saved = int(np.ravel(state.step)[0])
  in_flight: tuple[int, step.StepReport] | None = None
  since = time.perf_counter()

  def busy() -> bool:
    """True while the device works on the newest dispatch."""
    # `is_ready` is long-standing, but not in JAX's documentation.
    nats: Any = in_flight[1].metrics.nats if in_flight else None
    return hasattr(nats, "is_ready") and not nats.is_ready()

  def read() -> None:
    """Logs the dispatch in flight, once the device is done with it."""
    nonlocal in_flight, since
    if in_flight is None:
      return
    (end, report), in_flight = in_flight, None
    reports = split(jax.device_get(report), len(runs))
    for own in reports:
      step.check_finite(own, end)
    # Above zero, or a coarse clock would make rates infinite.
    seconds = max(time.perf_counter() - since, 1e-9)
    since += seconds
    for run, own in zip(runs, reports, strict=True):
      run.log(end, own, seconds)
    # The dispatch that is waited for next begins where this one ended.
    progress.turn_to(activity("steps", "train", end + 1))

  def save() -> None:
    nonlocal saved
    for run, own in zip(runs, split(state, len(runs)), strict=True):
      run.save(own)
    saved = now

  def activity(name: str, split: str, at: int) -> str:
    """`name`, or "lost" for what an earlier start had done before a kill."""
    again = any(at <= run.reached.get(split, -1) for run in runs)
    return "lost" if again else name

  with progress.spending(activity("steps", "train", now + 1)):
    while True:
      if plan.evaluates(now) and any(not run.evaluated(now) for run in runs):
        read()
        with progress.spending(activity("evaluation", "valid", now)):
          for run, own in zip(runs, split(state, len(runs)), strict=True):
            if not run.evaluated(now) and not run.evaluate(own, now):
              break  # A signal: it and the rest are evaluated on resumption.
        save()
        since = time.perf_counter()
      finished = now >= plan.total or all(
        run.stopping.exhausted(plan.patience) for run in runs
      )
      if finished or signals.requested:
        read()
        if saved != now:
          save()
        return state, finished
      end = plan.next_boundary(now)
      with progress.spending("data", hidden=busy):
        batches = join([run.batches(now, end - now) for run in runs])
      state, report = train_steps(state, batches)
      read()  # The one before; the device works on this one meanwhile.
      in_flight, now = (end, report), end
      if now - saved >= plan.checkpoint and not plan.evaluates(now):
        read()
        save()


def join(trees: Sequence[Any]) -> Any:
  """Trees along a new leading axis, or a single one as it is."""
  if len(trees) == 1:
    return trees[0]
  return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)


def split(tree: Any, count: int) -> list[Any]:
  """The trees that `join` made one of."""
  if count == 1:
    return [tree]
  return [jax.tree.map(lambda leaf, n=n: leaf[n], tree) for n in range(count)]


class Stopping(NamedTuple):
  """The memory of early stopping; a value, saved with the checkpoint.

  >>> Stopping().update(2.0, step=1).update(3.0, step=2)
  Stopping(best=2.0, best_step=1, worse=1, evaluated_step=2, trained=2.0)
  """

  best: float = math.inf  # the lowest value
  best_step: int = -1  # -1: none yet
  worse: int = 0  # evaluations since `trained`
  evaluated_step: int = -1  # the last evaluation; -1: none yet
  trained: float = math.inf  # the lowest value after step 0

  def update(self, value: float, *, step: int) -> "Stopping":
    """After an evaluation that gave `value` at `step`.

    The weights that training started from (step 0) may be the best without
    spending patience: an optimiser without its moments first makes them worse,
    so patience waits for gains over what training itself has reached.
    """
    best, best_step = self.best, self.best_step
    if value < best:
      best, best_step = value, step
    if step == 0:
      return Stopping(best, best_step, self.worse, step, self.trained)
    if value < self.trained:
      return Stopping(best, best_step, 0, step, value)
    return Stopping(best, best_step, self.worse + 1, step, self.trained)

  def exhausted(self, patience: int) -> bool:
    """True after `patience` evaluations without gain; never for 0."""
    return patience > 0 and self.worse >= patience


class Start(NamedTuple):
  """The point at which a training begins or resumes.

  Attributes:
    state: of the training, donated to its first step.
    stopping: the memory of early stopping.
    running: training metrics since the last evaluation.
  """

  state: step.TrainState
  stopping: Stopping = Stopping()
  running: Metrics = Metrics()


class Run:
  """A training in progress: its data, its logs and its checkpoints.

  Attributes:
    stopping: the memory of early stopping.
    reached: the last step that an earlier start logged, by split: what was done
      up to there and not saved is done again.
  """

  def __init__(
    self,
    setup: Setup,
    start: Start,
    saved: checkpoints.Checkpoints,
    signals: distributed.Interruption,
    stack: contextlib.ExitStack,
    *,
    title: str = "train",
    wait: bool = False,
  ):
    """Opens the log and the progress line of a run.

    Args:
      setup: its parts.
      start: where it begins.
      saved: its checkpoints.
      signals: those that may stop an evaluation.
      stack: closes what is opened.
      title: of the progress line.
      wait: saves are on disk when they return: several folders written in the
        background at once get in each other's way.
    """
    self.stopping = start.stopping
    self._running = start.running
    self._setup, self._saved, self._signals = setup, saved, signals
    self._wait = wait
    first = int(start.state.step)
    # Metrics beyond this step belong to what is done again; -1 before any.
    belongs = first or start.stopping.evaluated_step
    self._log = stack.enter_context(
      metrics_lib.MetricWriter(setup.workdir, step=belongs)
    )
    self._bar = stack.enter_context(
      progress.Progress(
        setup.task.plan.total, title, done=first, symbols=setup.task.unit
      )
    )
    self._rates = learning_rates(setup.config, setup.task.plan.total)

  @property
  def reached(self) -> Mapping[str, int]:
    """As the class's attribute."""
    return self._log.reached

  def batches(self, start: int, count: int) -> Any:
    """The batches of `count` steps from `start` on, on their devices."""
    return sharding.place_segments(
      self._setup.mesh, self._setup.task.stream.segments(start, count)
    )

  def log(self, at: int, report: step.StepReport, seconds: float) -> None:
    """Writes and shows the metrics of the dispatch that ended at step `at`."""
    task = self._setup.task
    metrics = report.metrics.total()
    self._running = self._running.merge(metrics)
    figures = task.figures(metrics)
    speed = f"{task.unit}_per_second"
    self._log.write(
      at,
      "train",
      {
        **figures,
        "gradient_norm": float(report.gradient_norm[-1]),
        "learning_rate": self._rates[at - 1],
        speed: metrics.count / seconds,
      },
      unit=_units((*figures, speed)),
    )
    shown = dict(list(figures.items())[:1])
    self._bar.update(at, shown, symbols=metrics.count, seconds=seconds)

  def evaluated(self, at: int) -> bool:
    """True if the evaluation of step `at` is done."""
    return self.stopping.evaluated_step == at

  def evaluate(self, state: step.TrainState, at: int) -> bool:
    """Scores the weights on the validation split, and keeps them if best.

    Returns:
      False if a signal cut it short.
    """
    setup, signals = self._setup, self._signals
    trained_weights = setup.regularizer.weights(state.evaluated)
    weights = sharding.to_host(trained_weights)
    try:
      validation = Validation(
        *distributed.on_primary(
          lambda: setup.task.validate(weights, signals.check)
        )
      )
    except errors.Interrupted as error:
      signals.receive(error.signum)
      return False
    length = self._description_length(state.evaluated, at)
    self._running = Metrics()
    figures = validation.figures
    self._log.write(at, "valid", figures, unit=_units(figures))
    words = ", ".join(
      f"{name} {results.figure(value)}" for name, value in figures.items()
    )
    self._bar.say(f"step {at:,}: valid {words}, {validation.note}")
    select = SELECT[setup.config.training.select]
    self.stopping = self.stopping.update(
      select(at, validation.loss, length), step=at
    )
    if self.stopping.best_step == at:
      self._saved.save_best(at, trained_weights, setup.task.identity)
      if self._wait:
        self._saved.wait()
    return True

  def _description_length(self, params: Any, at: int) -> float:
    """The description length of the training data; infinite without one.

    The error is that of the noisy passes since the last evaluation, as nats of
    one whole pass.
    """
    setup = self._setup
    if setup.regularizer.complexity is None or not self._running.count:
      return math.inf
    complexity = float(jax.jit(setup.regularizer.complexity)(params))
    error = self._running.nats_per_symbol * setup.task.positions
    length = error + setup.config.regularization.complexity * complexity
    lengths = {
      "error_nats": error,
      "complexity_nats": complexity,
      "description_length": length,
    }
    self._log.write(at, "train", lengths, unit=dict.fromkeys(lengths, "nats"))
    self._bar.say(
      f"step {at:,}: description length {length:,.0f} nats "
      f"({error:,.0f} error, {complexity:,.0f} complexity)"
    )
    return length

  def save(self, state: step.TrainState) -> None:
    """Saves all that resuming needs."""
    now = Start(state, self.stopping, self._running)
    save(self._saved, now, self._setup.task)
    if self._wait:
      self._saved.wait()


def _units(names: Iterable[str]) -> dict[str, str]:
  """Units of metrics; a metric that a loss adds may have none."""
  return {name: results.METRICS.get(name, "1") for name in names}


def starting_point(setup: Setup, saved: checkpoints.Checkpoints) -> Start:
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
    # JSON has no infinity: None is "nothing evaluated yet".
    stopping: dict[str, Any] = {
      name: math.inf if value is None else value
      for name, value in own.meta["stopping"].items()
    }
    running = Metrics(*own.meta.get("tally", ()))
    return Start(own.tree, Stopping(**stopping), running)
  fresh = setup.fresh(shardings)
  if setup.config.restore:
    wrap = jax.jit(setup.regularizer.wrap, out_shardings=shardings.params)
    begin = jax.jit(setup.optimizer.init, out_shardings=shardings.opt_state)
    wrapped = wrap(_restored(setup))
    fresh = fresh._replace(params=wrapped, opt_state=begin(wrapped))
  saved.discard_after(-1)  # nothing was restored, so nothing was best
  # Saved before any work, so that a folder which cannot be written or read
  # again shows now and not after hours.
  start = Start(fresh)
  save(saved, start, task)
  saved.wait()
  return start


def _restored(setup: Setup) -> Any:
  """The weights of the run that `config.restore` names."""
  weights: Any = None

  def read() -> None:
    nonlocal weights
    weights = jax.tree.map(np.asarray, setup.task.restored(setup.weights))

  distributed.on_primary(read)
  return distributed.broadcast(weights, setup.weights)


def save(saved: checkpoints.Checkpoints, now: Start, task: Task) -> None:
  """Saves a training so that `starting_point` finds it."""
  stopping = {
    name: None if value == math.inf else value
    for name, value in now.stopping._asdict().items()
  }
  meta = {
    "stopping": stopping,
    "tally": [now.running.nats, now.running.count],
    **task.identity,
  }
  saved.save(int(now.state.step), now.state, meta)


def _announce(setup: Setup, first: int) -> None:
  """Prints what begins, before the silence of the first compilation."""
  if not distributed.is_primary():
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
