"""The loop alone: its boundaries, what it asks of a run, and resuming."""

import math

import jax
import numpy as np
import pytest

from experiments import train
from seqmodels import errors
from seqmodels.data.text import batching
from seqmodels.training import optimizers, step


class Recorder:
  """A run that keeps what the loop gives it, and the signals that stop it."""

  def __init__(self, stream, *, values=(), stop_at=None, stopping=None):
    self.stream, self.values = stream, dict(values)
    self.stop_at, self.step = stop_at, 0
    self.stopping = stopping or train.Stopping()
    self.reports, self.scored, self.best, self.saved = [], [], [], []
    self.weights = {}  # that were evaluated, by step
    self.reached = {}

  @property
  def requested(self):
    return self.stop_at is not None and self.step >= self.stop_at

  def batches(self, start, count):
    self.step = start + count
    return self.stream.segments(start, count)

  def log(self, at, report, seconds):
    assert seconds > 0
    self.reports.append((at, report.metrics.total()))

  def evaluated(self, at):
    return self.stopping.evaluated_step == at

  def evaluate(self, state, at):
    self.weights[at] = copy(state.evaluated)
    self.scored.append(at)
    value = self.values.get(at, 1.0)
    if value is None:
      return False
    self.stopping = self.stopping.update(value, step=at)
    if self.stopping.best_step == at:
      self.best.append(at)
    return True

  def save(self, state):
    self.saved.append((int(state.step), copy(state), self.stopping))


def copy(state):
  return jax.tree.map(lambda leaf: leaf.copy(), state)


@pytest.fixture(scope="module")
def train_steps(network, optimizer):
  return step.make_train_steps(network, optimizer)


PLAN = train.Plan(total=20, dispatch=4, evaluate=6, checkpoint=5)


def fit(start, train_steps, recorder, plan=PLAN):
  return train.train_loop([recorder], start, train_steps, plan, recorder)


def test_boundaries_are_a_function_of_the_step_alone(
  fresh, train_steps, stream
):
  recorder = Recorder(stream)
  state, finished = fit(fresh(), train_steps, recorder)
  assert [at for at, _ in recorder.reports] == [
    4, 6, 8, 12, 16, 18, 20
  ]  # fmt: skip
  assert recorder.scored == [6, 12, 18, 20]
  assert int(state.step) == 20
  assert finished


@pytest.mark.parametrize("stop_at", [1, 6, 7, 12, 17])
def test_stopped_and_resumed_is_bit_equal_to_straight_through(
  fresh, train_steps, stream, same_bits, stop_at
):
  straight = Recorder(stream)
  whole, _ = fit(fresh(), train_steps, straight)
  first = Recorder(stream, stop_at=stop_at)
  state, finished = fit(fresh(), train_steps, first)
  assert not finished
  at, saved, memory = first.saved[-1]
  assert at == int(state.step)
  second = Recorder(stream, stopping=memory)
  resumed, _ = fit(saved, train_steps, second)
  same_bits(whole, resumed)
  assert straight.stopping == second.stopping
  assert straight.scored == first.scored + second.scored
  assert first.reports + second.reports == straight.reports


def test_resuming_from_any_checkpoint_is_bit_equal(
  fresh, train_steps, stream, same_bits
):
  straight = Recorder(stream)
  whole, _ = fit(fresh(), train_steps, straight)
  assert len(straight.saved) >= 4
  for at, saved, memory in straight.saved:
    again, _ = fit(saved, train_steps, Recorder(stream, stopping=memory))
    assert at <= 20
    same_bits(whole, again)


def test_an_interrupted_evaluation_is_done_on_resumption(
  fresh, train_steps, stream
):
  first = Recorder(stream, values={6: None}, stop_at=6)
  _, finished = fit(fresh(), train_steps, first)
  at, saved, memory = first.saved[-1]
  assert not finished
  assert at == 6
  assert memory.evaluated_step == -1
  second = Recorder(stream, stopping=memory)
  fit(saved, train_steps, second)
  assert second.scored == [6, 12, 18, 20]


def test_patience_stops_early_and_the_best_is_told(fresh, train_steps, stream):
  recorder = Recorder(stream, values={6: 2.0, 12: 1.0, 18: 1.5})
  state, finished = fit(
    fresh(), train_steps, recorder, PLAN._replace(patience=1, total=100)
  )
  assert recorder.best == [6, 12]
  assert int(state.step) == 18
  assert finished


def test_a_finished_run_does_nothing_more(fresh, train_steps, stream):
  recorder = Recorder(stream)
  state, _ = fit(fresh(), train_steps, recorder)
  again = Recorder(stream, stopping=recorder.stopping)
  fit(state, train_steps, again)
  assert not again.reports
  assert not again.scored


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("where", ["nats", "gradient_norm"])
def test_what_is_not_finite_stops_before_anything_is_saved(
  fresh, train_steps, stream, bad, where
):
  def poisoned(state, segments):
    state, report = train_steps(state, segments)
    if int(state.step) < 8:
      return state, report
    if where == "nats":
      nats = np.array(report.metrics.nats)
      nats[1] = bad
      metrics = report.metrics._replace(nats=nats)
      return state, report._replace(metrics=metrics)
    norm = np.array(report.gradient_norm)
    norm[1] = bad
    return state, report._replace(gradient_norm=norm)

  recorder = Recorder(stream)
  with pytest.raises(errors.RunError, match="at step 8 the") as caught:
    fit(fresh(), poisoned, recorder)
  assert caught.value.exit_code == 3
  assert all(at < 8 for at, _, _ in recorder.saved)


def test_training_on_a_regular_text_learns_it(network, optimizer, fresh):
  text = batching.SequentialStream(np.tile(np.arange(7), 60), batch=4, length=6)
  steps = step.make_train_steps(network, optimizer)
  recorder = Recorder(text)
  plan = train.Plan(total=300, dispatch=20, evaluate=300, checkpoint=300)
  fit(fresh(), steps, recorder, plan)
  (_, first), (_, last) = recorder.reports[0], recorder.reports[-1]
  assert first.nats_per_symbol > 1.5
  assert last.nats_per_symbol < 0.2


def test_restored_weights_are_the_first_candidate(fresh, train_steps, stream):
  plan = PLAN._replace(initial=True)
  recorder = Recorder(stream, values={0: 0.5})
  fit(fresh(), train_steps, recorder, plan)
  assert recorder.scored == [0, 6, 12, 18, 20]
  assert recorder.best == [0]
  # Step 6 set what training reached; three evaluations were no better.
  assert recorder.stopping == train.Stopping(0.5, 0, 3, 20, trained=1.0)
  at, saved, memory = recorder.saved[0]
  assert (at, memory.evaluated_step) == (0, 0)
  again = Recorder(stream, stopping=memory)
  fit(saved, train_steps, again, plan)
  assert again.scored == [6, 12, 18, 20]


def test_an_interrupted_first_evaluation_is_done_on_resumption(
  fresh, train_steps, stream, same_bits
):
  plan = PLAN._replace(initial=True)
  straight, _ = fit(fresh(), train_steps, Recorder(stream), plan)
  first = Recorder(stream, values={0: None}, stop_at=0)
  _, finished = fit(fresh(), train_steps, first, plan)
  assert not finished
  at, saved, memory = first.saved[-1]
  assert (at, memory) == (0, train.Stopping())
  second = Recorder(stream, stopping=memory)
  resumed, _ = fit(saved, train_steps, second, plan)
  assert second.scored == [0, 6, 12, 18, 20]
  same_bits(straight, resumed)


@pytest.fixture(scope="module")
def averaging():
  """The optimiser of `optimizer`, averaging over the last 8 of 20 steps."""
  return optimizers.build(
    "adam", learning_rate=0.01, clip_norm=1.0, steps=20, average=0.4
  )


def test_evaluation_sees_the_running_mean_and_training_does_not(
  network, averaging, fresh, train_steps, stream, same_bits
):
  steps, weights = step.make_train_steps(network, averaging), {}

  def recording(now, segments):
    now, metrics = steps(now, segments)
    weights[int(now.step)] = copy(now.params)
    return now, metrics

  start = fresh()
  start = start._replace(opt_state=averaging.init(start.params))
  recorder = Recorder(stream)
  each = train.Plan(total=20, dispatch=1, evaluate=2, checkpoint=5)
  last, _ = fit(start, recording, recorder, each)
  plain, _ = fit(fresh(), train_steps, Recorder(stream), each)
  same_bits(last.params, plain.params)
  assert recorder.scored == list(range(2, 21, 2))
  for at, actual in recorder.weights.items():
    if at <= 13:  # nothing to average yet
      same_bits(actual, weights[at])
      continue
    jax.tree.map(
      lambda leaf, *rest: np.testing.assert_allclose(
        leaf, np.mean(np.array(rest, np.float64), axis=0), rtol=1e-6, atol=1e-7
      ),
      actual,
      *(weights[n] for n in range(13, at + 1)),
    )
  assert {at for at, _, _ in recorder.saved} >= {12, 14, 16}
  for _, saved, memory in recorder.saved:
    again, _ = fit(saved, steps, Recorder(stream, stopping=memory), each)
    same_bits(last, again)


def test_the_average_has_memory_of_its_own(network, averaging):
  made = step.create(network, averaging, batch=2, seed=0)
  for one, other in zip(
    jax.tree.leaves(made.params), jax.tree.leaves(made.evaluated), strict=True
  ):
    assert one.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()
