"""Trains what the settings name: from scratch, or from an earlier run."""

import math
import pathlib
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh
from ml_collections import config_dict

from experiments import assembly, timed_training, training_setup
from seqmodels import errors, trees
from seqmodels.io import (
  checkpoints,
  interruption,
  metric_writers,
  processes,
  progress,
)
from seqmodels.io import report as reports
from seqmodels.regularization import adaptive_weight_noise
from seqmodels.training import (
  loop,
  sharding,
  state,
  step,
  stopping,
)


class Fitted(NamedTuple):
  """What training leaves to the phases after it."""

  params: Any  # the weights that `training.select` chose
  step: int  # of these weights
  posterior: adaptive_weight_noise.Posterior | None  # at the end, if there is


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
  task: training_setup.Task,
  signals: interruption.Interruption,
) -> Fitted:
  """Trains from the newest checkpoint, a named run, or from scratch."""
  setup = training_setup.prepare(config, workdir, task)
  plan = task.course.plan
  with checkpoints.Checkpoints(workdir / "checkpoints") as saved:
    start, memory, tally = starting_point(setup, saved)
    first = int(start.step)
    _announce(setup, first)
    if processes.several():
      processes.meet()
      sharding.connect(setup.mesh)
    train_steps = step.make_train_steps(
      task.model,
      setup.optimizer,
      reduction=config.training.reduction,
      regularizer=sharding.gathering(setup.regularizer, setup.mesh),
      losses=task.losses,
      shardings=(setup.shardings, sharding.everywhere(setup.mesh)),
    )
    bar = progress.Progress(plan.total, "train", done=first, symbols=task.speed)
    kept = recorded(start, memory)
    with metric_writers.MetricWriter(workdir, step=kept) as metrics, bar:
      outcome = timed_training.fit(
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
  charged = isinstance(last, adaptive_weight_noise.Posterior)
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


def recorded(now: state.TrainState, memory: stopping.Stopping) -> int:
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
  setup: training_setup.Setup, saved: checkpoints.Checkpoints
) -> tuple[state.TrainState, stopping.Stopping, Tally]:
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
    memory = stopping.Stopping(**own.meta["stopping"])
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
  memory, tally = stopping.Stopping(), Tally()
  _save(saved, fresh, memory, tally, task)
  saved.wait()
  return fresh, memory, tally


def _restored(setup: training_setup.Setup) -> Any:
  """The weights of the run that `config.restore` names."""
  found: list[Any] = []

  def read() -> None:
    found.append(jax.tree.map(np.asarray, setup.task.restored(setup.weights)))

  processes.from_first(read)
  return processes.share(found[0] if found else None, setup.weights)


def _finite_best(memory: stopping.Stopping) -> stopping.Stopping:
  """JSON has no infinity: None stands for "nothing evaluated yet"."""
  values: dict[str, Any] = memory._asdict()
  unset = {name: float("inf") for name in values if values[name] is None}
  return stopping.Stopping(**{**values, **unset})


def _save(
  saved: checkpoints.Checkpoints,
  now: state.TrainState,
  memory: stopping.Stopping,
  tally: Tally,
  task: training_setup.Task,
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
  setup: training_setup.Setup,
  tally: Tally,
  saved: checkpoints.Checkpoints,
  metrics: metric_writers.MetricWriter,
  bar: progress.Progress,
  signals: interruption.Interruption,
) -> loop.Callbacks:
  """What the loop calls back: data in, metrics and checkpoints out."""
  task, regularizer = setup.task, setup.regularizer
  metric, score = task.named
  rates = assembly.learning_rates(setup.config, task.course.plan.total)

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
      found = training_setup.Validation(
        *processes.from_first(lambda: task.validate(weights, signals.check))
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


def _announce(setup: training_setup.Setup, first: int) -> None:
  """What is about to happen, before the first compilation's silence."""
  if not processes.is_first():
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
