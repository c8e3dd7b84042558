"""Training with an account of its time (`seqmodels.io.goodput`).

The loop runs ahead: while the device works on one dispatch the host reads the
one before it and builds the next. What the host does meanwhile costs nothing,
so it counts as time of the steps; as data counts only what the device had to
wait for.
"""

from collections.abc import Callable, Mapping
from typing import Any

from seqmodels.io import goodput
from seqmodels.training import loop, state, step, stopping


def fit(
  start: state.TrainState,
  memory: stopping.Stopping,
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
    now: state.TrainState, segments: Any
  ) -> tuple[state.TrainState, step.StepMetrics]:
    now, metrics = train_steps(now, segments)
    flying[:] = [metrics]
    return now, metrics

  def busy() -> bool:
    """Whether the device is still at work on the newest dispatch."""
    # Arrays have had this question for long, but JAX's manual names it nowhere.
    ready = getattr(flying[0].nats, "is_ready", None) if flying else None
    return ready is not None and not ready()

  again = int(start.step) < reached.get("train", 0)
  with goodput.spending("lost" if again else "steps"):
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
    with goodput.spending("data", hidden=busy):
      return callbacks.segments(first, count)

  def report(done: loop.Report) -> None:
    callbacks.report(done)
    # The dispatch that is waited for next begins where this one ended.
    again = done.step < reached.get("train", 0)
    goodput.turn_to("lost" if again else "steps")

  def evaluate(params: Any, at: int) -> float | None:
    again = at <= reached.get("valid", -1)
    with goodput.spending("lost" if again else "evaluation"):
      return callbacks.evaluate(params, at)

  return callbacks._replace(segments=segments, report=report, evaluate=evaluate)
