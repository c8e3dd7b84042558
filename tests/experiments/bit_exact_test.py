"""Stopped again and again, every kind of training ends in the same bits."""

import pytest

from configs import handwriting_prediction
from experiments import train as train_lib
from experiments.handwriting import task as handwriting_task
from experiments.language_model import task as task_lib
from seqmodels import errors
from seqmodels.io import distributed
from tests import fault_injection

# By what is peculiar to it: data, cell, noise, optimiser.
KINDS = {
  "rotated streams, adaptive weight noise": {
    "training__random_offset": True,
    "training__reset_every": 3,
    "training__optimizer": "sgd",
    "model__peepholes": False,
    "regularization__adaptive": 0.05,
    "regularization__squares": "exact",
    "training__average": 0.75,
  },
  "windows in random order, fixed weight noise": {
    "training__sampling": "random",
    "training__optimizer": "rmsprop_graves",
    "regularization__weight_noise": 0.05,
    "training__average": 0.75,
  },
  "sentences, dropout": {
    "data__sentences": True,
    "training__sampling": "sentences",
    "model__features": (5, 5),
    "model__cell": "gru",
    "model__embedding": 4,
    "regularization__dropout_embedding": 0.1,
    "regularization__dropout_input": 0.1,
    "regularization__dropout_hidden": 0.1,
    "regularization__dropout_output": 0.1,
    "regularization__drop_connect": 0.1,
  },
  "words": {
    "data__tokenizer": "words",
    "model__embedding": 6,
    "model__tied": True,
    "model__cell": "mogrifier_lstm",
    "model__chunk": 4,
    "dtype": "bfloat16",
  },
}
# More than an epoch of steps, and two evaluations.
TOTAL, DISPATCH, EVALUATE = 8, 2, 4
# Starts by how often each asks whether it shall stop: after the first dispatch,
# in the middle of an epoch; just after the evaluation that follows; never.
STARTS = (2, 2, 0)


class Script(distributed.Interruption):
  """A signal that has come when it is asked for the `asked`-th time."""

  def __init__(self, asked=0):
    super().__init__()
    self._left = asked

  @property
  def requested(self):
    self._left -= 1
    if self._left == 0:
      self.signum = 15
    return self.signum is not None


def train(config, workdir, make_task, signals):
  """One start of a training; how far it came."""
  workdir.mkdir(exist_ok=True)
  task = make_task(config)
  plan = task.plan._replace(evaluate=EVALUATE)
  task = task._replace(plan=plan)
  assert (plan.total, plan.dispatch) == (TOTAL, DISPATCH)
  try:
    train_lib.train(train_lib.prepare(config, workdir, task), signals)
  except errors.Interrupted:
    assert signals.signum is not None


def check(config, folder, make_task):
  train(config, folder / "straight", make_task, Script())
  saved = folder / "stopped" / "checkpoints" / "latest"
  stood = []
  for start in STARTS:
    train(config, folder / "stopped", make_task, Script(start))
    stood.append(max(int(path.name) for path in saved.iterdir()))
  assert stood == [2, 4, TOTAL]
  straight, stopped = (
    fault_injection.content(folder / name) for name in ("straight", "stopped")
  )
  assert stopped == straight
  assert f"checkpoints/latest/{TOTAL}" in straight
  splits = [entry["split"] for entry in straight["metrics.jsonl"]]
  assert splits.count("train") >= TOTAL // DISPATCH
  assert splits.count("valid") >= TOTAL // EVALUATE


# Kills in the default selection: resume_test, fault_injection_test.
@pytest.mark.parametrize(
  "kind",
  [
    pytest.param(
      kind,
      marks=() if kind.startswith("sentences") else pytest.mark.slow,
    )
    for kind in KINDS
  ],
)
def test_a_language_model_ends_in_the_same_bits(small, tmp_path, kind):
  config = small(**KINDS[kind])
  config.data.limit = 120
  config.training.update(
    batch=2, segment=10, epochs=100.0, max_steps=TOTAL,
    steps_per_dispatch=DISPATCH, checkpoint_every=3,
  )  # fmt: skip
  tokens = task_lib.load_tokens(config, tmp_path)

  def make_task(config):
    network = task_lib.build_predictor(config, tokens.vocabulary.size)
    return task_lib.task(config, tokens, network)

  check(config, tmp_path, make_task)


@pytest.mark.slow
def test_a_pen_network_over_whole_lines_ends_in_the_same_bits(tmp_path):
  """Stretches of lines are in handwriting_test."""
  config = handwriting_prediction.get_config("quickstart,smoke")
  config.data.limit = 6
  config.model.features = (6,)
  config.training.update(
    points=0, epochs=100.0, max_steps=TOTAL, steps_per_dispatch=DISPATCH
  )
  with distributed.Interruption() as signals:
    data = handwriting_task.load(config, tmp_path, signals)

  def make_task(config):
    network = handwriting_task.build_network(config, data.alphabet.size)
    return handwriting_task.task(config, data, network)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(handwriting_task, "SHAPES", 1)
    check(config, tmp_path, make_task)
