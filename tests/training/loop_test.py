import math

import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import batching
from seqmodels.training import loop, optimizers, step


class Recorder:
  """Callbacks that keep what they are told; checkpoints are copies."""

  def __init__(self, stream, *, values=(), stop_at=None):
    self.stream, self.values = stream, dict(values)
    self.stop_at, self.step = stop_at, 0
    self.reports, self.evaluated, self.best, self.saved = [], [], [], []
    self.weights = {}  # that were evaluated, by step

  def callbacks(self):
    def segments(start, count):
      self.step = start + count
      return self.stream.segments(start, count)

    def evaluate(params, at):
      self.weights[at] = copy(params)
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
    memory or loop.Stopping(),
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
  assert memory.evaluated_step == -1
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
  text = batching.SequentialStream(np.tile(np.arange(7), 60), batch=4, length=6)
  steps = step.make_train_steps(network, optimizer)
  recorder = Recorder(text)
  plan = loop.Plan(total=300, dispatch=20, evaluate=300, checkpoint=300)
  fit(fresh(), steps, recorder, plan)
  first, last = recorder.reports[0], recorder.reports[-1]
  assert first.nats / first.scored > 1.5
  assert last.nats / last.scored < 0.2


def test_restored_weights_are_the_first_candidate(fresh, train_steps, stream):
  plan = PLAN._replace(initial=True)
  recorder = Recorder(stream, values={0: 0.5})
  outcome = fit(fresh(), train_steps, recorder, plan)
  assert recorder.evaluated == [0, 6, 12, 18, 20]
  assert recorder.best == [0]
  # Step 6 set what training reached; three evaluations were no better.
  assert outcome.stopping == loop.Stopping(0.5, 0, 3, 20, trained=1.0)
  at, saved, memory = recorder.saved[0]
  assert (at, memory.evaluated_step) == (0, 0)
  again = Recorder(stream)
  fit(saved, train_steps, again, plan, memory)
  assert again.evaluated == [6, 12, 18, 20]


def test_an_interrupted_first_evaluation_is_done_on_resumption(
  fresh, train_steps, stream, same_bits
):
  plan = PLAN._replace(initial=True)
  straight = fit(fresh(), train_steps, Recorder(stream), plan)
  first = Recorder(stream, values={0: None}, stop_at=0)
  assert fit(fresh(), train_steps, first, plan).interrupted
  at, saved, memory = first.saved[-1]
  assert (at, memory) == (0, loop.Stopping())
  second = Recorder(stream)
  resumed = fit(saved, train_steps, second, plan, memory)
  assert second.evaluated == [0, 6, 12, 18, 20]
  same_bits(straight.state, resumed.state)


@pytest.fixture(scope="module")
def averaging():
  """The optimiser of `conftest`, averaging over the last 8 of 20 steps."""
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
  each = loop.Plan(total=20, dispatch=1, evaluate=2, checkpoint=5)
  outcome = fit(start, recording, recorder, each)
  plain = fit(fresh(), train_steps, Recorder(stream), each)
  same_bits(outcome.state.params, plain.state.params)
  assert recorder.evaluated == list(range(2, 21, 2))
  for at, found in recorder.weights.items():
    if at <= 13:  # nothing to average yet
      same_bits(found, weights[at])
      continue
    jax.tree.map(
      lambda leaf, *rest: np.testing.assert_allclose(
        leaf, np.mean(np.array(rest, np.float64), axis=0), rtol=1e-6, atol=1e-7
      ),
      found,
      *(weights[n] for n in range(13, at + 1)),
    )
  assert {at for at, _, _ in recorder.saved} >= {12, 14, 16}
  for _, saved, memory in recorder.saved:
    again = fit(saved, steps, Recorder(stream), each, memory)
    same_bits(outcome.state, again.state)


def test_the_average_has_memory_of_its_own(network, averaging):
  made = step.create(network, averaging, batch=2, seed=0)
  for one, other in zip(
    jax.tree.leaves(made.params), jax.tree.leaves(made.evaluated), strict=True
  ):
    assert one.unsafe_buffer_pointer() != other.unsafe_buffer_pointer()
