"""Runs side by side against the same runs one by one."""

import jax
import numpy as np
import pytest

from seqmodels.data.text import batching
from seqmodels.models import api, language_model
from seqmodels.training import loop, optimizers, regularizers, step

PLAN = loop.Plan(total=7, dispatch=2, evaluate=4, checkpoint=2)


@pytest.fixture(scope="module")
def parts():
  network = language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=6,
      features=(5,),
      noise=api.Noise(output=0.2),
    )
  )
  optimizer = optimizers.build("adam", learning_rate=0.01)
  ids = np.random.default_rng(0).integers(0, 6, 200)
  stream = batching.SequentialStream(ids, batch=2, length=5, training=True)
  return network, optimizer, stream


def trial(parts, seed, log, stop_at=None):
  network, optimizer, stream = parts
  fresh = step.create(network, optimizer, batch=2, seed=seed)

  def evaluate(params, at):
    log.append(("evaluate", at))
    return float(jax.numpy.sum(params["head"]["kernel"] ** 2))

  return loop.Member(
    fresh,
    loop.Stopping(),
    loop.Callbacks(
      segments=stream.segments,
      report=lambda found: log.append(("report", found.step, found.nats)),
      evaluate=evaluate,
      improved=lambda params, at: log.append(("improved", at)),
      checkpoint=lambda now, memory: log.append(("checkpoint", int(now.step))),
      interrupted=lambda: (
        stop_at is not None
        and ("report", stop_at) in [entry[:2] for entry in log]
      ),
    ),
  )


@pytest.mark.parametrize(
  ("deviation", "average"), [(0.0, 0.0), (0.1, 0.0), (0.1, 0.6)]
)
def test_each_member_is_the_run_alone(parts, deviation, average):
  network, _, stream = parts
  optimizer = optimizers.build(
    "adam", learning_rate=0.01, steps=PLAN.total, average=average
  )
  parts = (network, optimizer, stream)
  rule = regularizers.noisy(deviation)
  logs = [[], [], []]
  members = [trial(parts, seed, log) for seed, log in enumerate(logs)]
  outcomes = loop.fit_together(
    members,
    loop.make_joint_train_steps(network, optimizer, regularizer=rule),
    PLAN,
  )
  for seed, (outcome, log) in enumerate(zip(outcomes, logs, strict=True)):
    alone = []
    member = trial(parts, seed, alone)
    expected = loop.fit(
      member.state,
      member.stopping,
      step.make_train_steps(network, optimizer, regularizer=rule),
      PLAN,
      member.callbacks,
    )
    jax.tree.map(
      lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6),
      outcome.state.params,
      expected.state.params,
    )
    assert outcome.stopping.best_step == expected.stopping.best_step
    assert outcome.stopping.best == pytest.approx(
      expected.stopping.best, rel=1e-4
    )
    assert int(outcome.state.step) == PLAN.total
    kinds = [entry[:2] for entry in alone]
    # Reports come a dispatch later in a loop of one, so order is by kind.
    assert sorted(entry[:2] for entry in log) == sorted(kinds)


def test_an_interruption_saves_all_members(parts):
  network, optimizer, _ = parts
  logs = [[], []]
  members = [
    trial(parts, seed, log, stop_at=4) for seed, log in enumerate(logs)
  ]
  outcomes = loop.fit_together(
    members, loop.make_joint_train_steps(network, optimizer), PLAN
  )
  assert all(outcome.interrupted for outcome in outcomes)
  for log in logs:
    assert [entry for entry in log if entry[0] == "checkpoint"][-1][1] == 4


def test_members_at_different_steps_are_refused(parts):
  network, optimizer, _ = parts
  one, other = (trial(parts, seed, []) for seed in range(2))
  ahead = other._replace(state=other.state._replace(step=other.state.step + 1))
  steps = loop.make_joint_train_steps(network, optimizer)
  with pytest.raises(ValueError, match="one step"):
    loop.fit_together([one, ahead], steps, PLAN)


def test_an_evaluation_cut_short_is_made_up_for_by_the_rest_alone(parts):
  network, optimizer, _ = parts
  logs = [[], []]
  cut = [True]

  def member(seed, log, outcome=None):
    made = trial(parts, seed, log)
    evaluate = made.callbacks.evaluate

    def maybe(params, at):
      return None if seed and cut[0] else evaluate(params, at)

    callbacks = made.callbacks._replace(
      evaluate=maybe, interrupted=lambda: cut[0] and bool(logs[0])
      and logs[0][-1][0] == "checkpoint",
    )  # fmt: skip
    made = made._replace(callbacks=callbacks)
    if outcome is not None:
      made = made._replace(state=outcome.state, stopping=outcome.stopping)
    return made

  plan = PLAN._replace(checkpoint=100)
  steps = loop.make_joint_train_steps(network, optimizer)
  stopped = loop.fit_together(
    [member(seed, log) for seed, log in enumerate(logs)], steps, plan
  )
  assert [out.stopping.evaluated_step for out in stopped] == [4, -1]
  cut[0] = False
  loop.fit_together(
    [member(seed, log, stopped[seed]) for seed, log in enumerate(logs)],
    steps,
    plan,
  )
  for log in logs:
    assert [e for e in log if e[0] == "evaluate"] == [
      ("evaluate", 4),
      ("evaluate", 7),
    ]
