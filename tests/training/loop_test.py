import math

import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data import streams
from seqmodels.training import loop, step, stopping


class Recorder:
  """Callbacks that keep what they are told; checkpoints are host copies."""

  def __init__(self, stream, *, values=(), stop_at=None):
    self.stream, self.values = stream, dict(values)
    self.stop_at, self.step = stop_at, 0
    self.reports, self.evaluated, self.best, self.saved = [], [], [], []

  def callbacks(self):
    def segments(start, count):
      self.step = start + count
      return self.stream.segments(start, count)

    def evaluate(params, at):
      del params
      self.evaluated.append(at)
      return self.values.get(at, 1.0)

    return loop.Callbacks(
      segments=segments,
      report=self.reports.append,
      evaluate=evaluate,
      improved=lambda params, at: self.best.append(at),
      checkpoint=lambda state, memory: self.saved.append(
        (int(state.step), copy(state), memory)
      ),
      interrupted=lambda: (
        self.stop_at is not None and self.step >= self.stop_at
      ),
    )


def copy(state):
  return jax.tree.map(lambda leaf: leaf.copy(), state)


@pytest.fixture(scope="module")
def train_steps(network, optimizer):
  return step.make_train_steps(network, optimizer)


PLAN = loop.Plan(total=20, dispatch=4, evaluate=6, checkpoint=5)


def fit(fresh, train_steps, recorder, plan=PLAN, memory=None):
  return loop.fit(
    fresh,
    memory or stopping.Stopping(),
    train_steps,
    plan,
    recorder.callbacks(),
  )


def test_boundaries_are_a_function_of_the_step_alone(
  fresh, train_steps, stream
):
  recorder = Recorder(stream)
  outcome = fit(fresh(), train_steps, recorder)
  assert [report.step for report in recorder.reports] == [
    4, 6, 8, 12, 16, 18, 20
  ]  # fmt: skip
  assert recorder.evaluated == [6, 12, 18, 20]
  assert int(outcome.state.step) == 20
  assert not outcome.interrupted


@pytest.mark.parametrize("stop_at", [1, 6, 7, 12, 17])
def test_stopped_and_resumed_is_bit_equal_to_straight_through(
  fresh, train_steps, stream, same_bits, stop_at
):
  straight = Recorder(stream)
  whole = fit(fresh(), train_steps, straight)
  first = Recorder(stream, stop_at=stop_at)
  outcome = fit(fresh(), train_steps, first)
  assert outcome.interrupted
  at, saved, memory = first.saved[-1]
  assert at == int(outcome.state.step)
  second = Recorder(stream)
  resumed = fit(saved, train_steps, second, memory=memory)
  same_bits(whole.state, resumed.state)
  assert whole.stopping == resumed.stopping
  assert straight.evaluated == first.evaluated + second.evaluated
  both = [(r.step, r.nats) for r in first.reports + second.reports]
  assert both == [(r.step, r.nats) for r in straight.reports]


def test_resuming_from_any_checkpoint_is_bit_equal(
  fresh, train_steps, stream, same_bits
):
  straight = Recorder(stream)
  whole = fit(fresh(), train_steps, straight)
  assert len(straight.saved) >= 4
  for at, saved, memory in straight.saved:
    again = fit(saved, train_steps, Recorder(stream), memory=memory)
    assert at <= 20
    same_bits(whole.state, again.state)


def test_an_interrupted_evaluation_is_done_on_resumption(
  fresh, train_steps, stream
):
  first = Recorder(stream, values={6: None}, stop_at=6)
  outcome = fit(fresh(), train_steps, first)
  at, saved, memory = first.saved[-1]
  assert outcome.interrupted
  assert at == 6
  assert memory.evaluated_step == 0
  second = Recorder(stream)
  fit(saved, train_steps, second, memory=memory)
  assert second.evaluated == [6, 12, 18, 20]


def test_patience_stops_early_and_the_best_is_told(fresh, train_steps, stream):
  recorder = Recorder(stream, values={6: 2.0, 12: 1.0, 18: 1.5})
  outcome = fit(
    fresh(), train_steps, recorder, PLAN._replace(patience=1, total=100)
  )
  assert recorder.best == [6, 12]
  assert int(outcome.state.step) == 18


def test_a_finished_run_does_nothing_more(fresh, train_steps, stream):
  recorder = Recorder(stream)
  outcome = fit(fresh(), train_steps, recorder)
  again = Recorder(stream)
  fit(outcome.state, train_steps, again, memory=outcome.stopping)
  assert not again.reports
  assert not again.evaluated


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["nats", "gradient_norm"])
def test_what_is_not_finite_stops_before_anything_is_saved(
  fresh, train_steps, stream, bad, where
):
  def poisoned(state, segments):
    state, metrics = train_steps(state, segments)
    if int(state.step) < 8:
      return state, metrics
    values = np.array(getattr(metrics, where))
    values[1] = bad
    return state, metrics._replace(**{where: values})

  recorder = Recorder(stream)
  with pytest.raises(errors.RunError, match="at step 8 the") as caught:
    fit(fresh(), poisoned, recorder)
  assert caught.value.exit_code == 3
  assert all(at < 8 for at, _, _ in recorder.saved)


def test_training_on_a_regular_text_learns_it(network, optimizer, fresh):
  text = streams.SequentialStream(np.tile(np.arange(7), 60), batch=4, length=6)
  steps = step.make_train_steps(network, optimizer)
  recorder = Recorder(text)
  plan = loop.Plan(total=300, dispatch=20, evaluate=300, checkpoint=300)
  fit(fresh(), steps, recorder, plan)
  first, last = recorder.reports[0], recorder.reports[-1]
  assert first.nats / first.scored > 1.5
  assert last.nats / last.scored < 0.2
