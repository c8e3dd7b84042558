"""Runs side by side against the same runs one by one."""

import jax
import numpy as np
import pytest

from experiments import train
from seqmodels.data.text import batching
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import optimizers, regularizers, step

PLAN = train.Plan(total=7, dispatch=2, evaluate=4, checkpoint=2)


@pytest.fixture(scope="module")
def parts():
  network = networks.LanguageModel(
    6, recurrent.StackOptions(features=(5,), noise=recurrent.Noise(output=0.2))
  ).as_model()
  optimizer = optimizers.build("adam", learning_rate=0.01)
  ids = np.random.default_rng(0).integers(0, 6, 200)
  stream = batching.SequentialStream(ids, batch=2, length=5, training=True)
  return network, optimizer, stream


class Trial:
  """A run that notes what the loop asks of it."""

  def __init__(self, stream, *, cut=lambda: False):
    self.batches, self.cut = stream.segments, cut
    self.stopping, self.reached, self.log_of = train.Stopping(), {}, []

  def log(self, at, report, seconds):
    self.log_of.append(("log", at))

  def evaluated(self, at):
    return self.stopping.evaluated_step == at

  def evaluate(self, state, at):
    if self.cut():
      return False
    self.log_of.append(("evaluate", at))
    value = float(np.sum(np.square(state.evaluated["head"]["kernel"])))
    self.stopping = self.stopping.update(value, step=at)
    return True

  def save(self, state):
    self.log_of.append(("save", int(state.step)))


class Signals:
  """A signal that comes once `when` is true."""

  def __init__(self, when=lambda: False):
    self.when = when

  @property
  def requested(self):
    return self.when()


def states(parts, seeds):
  network, optimizer, _ = parts
  return [step.create(network, optimizer, batch=2, seed=seed) for seed in seeds]


def together(parts, trials, start, plan=PLAN, signals=None, **options):
  network, optimizer, _ = parts
  steps = step.make_train_steps(
    network, optimizer, side_by_side=True, **options
  )
  last, finished = train.train_loop(
    trials, train.join(start), steps, plan, signals or Signals()
  )
  return train.split(last, len(trials)), finished


@pytest.mark.parametrize(
  ("stddev", "average"),
  [
    pytest.param(0.0, 0.0, marks=pytest.mark.slow),
    pytest.param(0.1, 0.0, marks=pytest.mark.slow),
    (0.1, 0.6),
  ],
)
def test_each_run_is_the_run_alone(parts, stddev, average):
  network, _, stream = parts
  optimizer = optimizers.build(
    "adam", learning_rate=0.01, steps=PLAN.total, average=average
  )
  parts = (network, optimizer, stream)
  rule = regularizers.noisy(stddev)
  trials = [Trial(stream) for _ in range(3)]
  lasts, finished = together(
    parts, trials, states(parts, range(3)), regularizer=rule
  )
  assert finished
  steps = step.make_train_steps(network, optimizer, regularizer=rule)
  for seed, (last, trial) in enumerate(zip(lasts, trials, strict=True)):
    single = Trial(stream)
    expected, _ = train.train_loop(
      [single],
      *states(parts, [seed]),
      steps,
      PLAN,
      Signals(),
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      last.params,
      expected.params,
    )
    assert trial.stopping.best_step == single.stopping.best_step
    assert trial.stopping.best == pytest.approx(single.stopping.best, rel=1e-4)
    assert int(last.step) == PLAN.total
    assert trial.log_of == single.log_of


def test_an_interruption_saves_all_runs(parts):
  trials = [Trial(parts[2]) for _ in range(2)]
  signals = Signals(lambda: ("log", 4) in trials[0].log_of)
  _, finished = together(
    parts, trials, states(parts, range(2)), signals=signals
  )
  assert not finished
  for trial in trials:
    assert [at for name, at in trial.log_of if name == "save"][-1] == 4


def test_an_evaluation_cut_short_is_done_by_the_rest_on_resumption(parts):
  cut = [True]
  trials = [Trial(parts[2]), Trial(parts[2], cut=lambda: cut[0])]
  plan = PLAN._replace(checkpoint=100)
  signals = Signals(lambda: cut[0] and trials[0].log_of[-1:] == [("save", 4)])
  lasts, finished = together(
    parts, trials, states(parts, range(2)), plan, signals
  )
  assert not finished
  assert [trial.stopping.evaluated_step for trial in trials] == [4, -1]
  cut[0] = False
  together(parts, trials, lasts, plan, signals)
  for trial in trials:
    assert [event for event in trial.log_of if event[0] == "evaluate"] == [
      ("evaluate", 4),
      ("evaluate", 7),
    ]
