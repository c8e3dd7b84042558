import json

import jax
import numpy as np
import pytest

from experiments import stages
from experiments.language_model import evaluate, task
from seqmodels import errors, trees
from seqmodels.io import checkpoints, distributed


@pytest.fixture
def context(small, tmp_path):
  """`context(name, seed=0, **changes)`: fresh weights in a run folder."""

  def make(name, seed=0, **changes):
    config = small(dynamic__rule="rms", **changes)
    tokens = task.load_tokens(config, tmp_path)
    predictor = task.build_predictor(config, tokens.vocabulary.size)
    (tmp_path / name).mkdir(exist_ok=True)
    return stages.Context(
      config,
      tmp_path / name,
      tokens,
      predictor,
      predictor.init(jax.random.key(seed)),
      0,
      distributed.Interruption(),
    )

  return make


WHOLE = {
  "dynamic__statistics_segments": 0,
  "dynamic__search": True,
  "dynamic__search_segments": (5, 20),
  "dynamic__search_rates": (1e-4, 4e-4),
  "dynamic__search_decays": (1e-2, 6e-2),
  "dynamic__search_epsilons": (2e-5, 1e-4),
}


@pytest.fixture
def collected(monkeypatch):
  """Segments collected after each dispatch, over all that is computed."""
  monkeypatch.setattr(task, "CHUNK_SYMBOLS", 1_000)
  real, counts = evaluate.dynamic.statistics_steps, []

  def steps(*arguments, **options):
    for state in real(*arguments, **options):
      counts.append(int(state.segments))
      yield state

  monkeypatch.setattr(evaluate.dynamic, "statistics_steps", steps)
  return counts


def saved(workdir):
  """Content of the complete statistics that lie in a run folder."""
  folders = (workdir / "checkpoints" / "statistics").glob("*/latest/*")
  records = [checkpoints.read_record(folder) for folder in folders]
  return [(record.step, record.leaves) for record in records]


# The network of one layer, its loss and nothing else, in float64.


def sigmoid(x):
  return 1 / (1 + np.exp(-x))


def forward(weights, carry, inputs, targets, mask):
  """Carry after one segment and its mean nats; arrays [T, B], null below 0."""
  w_ci, w_cf, w_co = weights["peephole"]
  c, h = carry
  nats = 0.0
  for ids, expected, scored in zip(inputs, targets, mask, strict=True):
    rows = np.where(ids[:, None] < 0, 0.0, weights["kernel"][ids])
    net = rows + h @ weights["recurrent_kernel"] + weights["bias"]
    i, f, g, o = np.split(net, 4, axis=-1)
    new = sigmoid(f + w_cf * c) * c + sigmoid(i + w_ci * c) * np.tanh(g)
    h = sigmoid(o + w_co * new) * np.tanh(new)
    c = new
    logits = h @ weights["head_kernel"] + weights["head_bias"]
    peak = logits.max(-1, keepdims=True)
    log_sum = np.log(np.exp(logits - peak).sum(-1)) + peak[:, 0]
    each = log_sum - logits[np.arange(len(expected)), expected]
    nats += (each * scored).sum()
  return (c, h), nats / mask.sum()


def cut(ids, streams, length):
  """Segments of contiguous rows: the last one and the last row are short."""
  row = -(-len(ids) // streams)
  for start in range(0, row, length):
    inputs = np.full((length, streams), -1)
    targets = np.zeros((length, streams), int)
    mask = np.zeros((length, streams), bool)
    for stream in range(streams):
      for step in range(min(length, row - start)):
        place = stream * row + start + step
        if place < len(ids):
          inputs[step, stream] = ids[place - 1] if place else -1
          targets[step, stream] = ids[place]
          mask[step, stream] = True
    yield inputs, targets, mask


def test_statistics_are_those_of_a_plain_loop_over_the_whole_training_set(
  context, corpus_file
):
  rng = np.random.default_rng(1)
  corpus_file.write_text(
    "".join(rng.choice(list("abc"), 77, p=[0.7, 0.2, 0.1]))
  )
  made = context(
    "run",
    dynamic__statistics_segments=0,
    dynamic__statistics_streams=3,
    training__segment=5,
    model__features=(3,),
    model__gradient_clip=0.0,
  )
  names = {
    name.split("/")[-1] if "head" not in name else f"head_{name.split('/')[-1]}"
    : name
    for name in trees.leaves_by_name(made.params)
  }  # fmt: skip
  leaves = trees.leaves_by_name(made.params)
  weights = {
    key: np.asarray(leaves[name], np.float64) for key, name in names.items()
  }
  ids = np.asarray(made.data.splits["train"])
  parts = list(cut(ids, 3, 5))
  assert sum(mask.sum() for *_, mask in parts) == len(ids) == 69
  assert not parts[-1][2].all()
  carry = np.zeros((2, 3, 3))
  squares = {key: np.zeros_like(array) for key, array in weights.items()}
  for part in parts:
    for key, array in weights.items():
      for place in np.ndindex(array.shape):
        ends = []
        for shift in (1e-5, -1e-5):
          moved = array.copy()
          moved[place] += shift
          ends.append(forward({**weights, key: moved}, carry, *part)[1])
        squares[key][place] += ((ends[0] - ends[1]) / 2e-5) ** 2
    carry, _ = forward(weights, carry, *part)
  actual = trees.leaves_by_name(evaluate.rule_statistics(made, "rms"))
  assert set(actual) == set(leaves)
  for key, array in squares.items():
    expected = np.sqrt(array / len(parts))
    assert actual[names[key]].dtype == np.float32
    np.testing.assert_allclose(
      actual[names[key]], expected, rtol=1e-4, atol=1e-7, err_msg=key
    )


def test_statistics_are_collected_once_for_searches_and_evaluation(
  context, collected
):
  made = context("run", **WHOLE)
  rows, _ = evaluate.static_and_dynamic(made)
  assert [row["evaluation"] for row in rows].count("dynamic") == 2
  train = len(made.data.splits["train"])
  streams, length = 2, 10
  whole = -(-train // (streams * length))
  assert collected == [*range(50, whole, 50), whole]
  [(step, _)] = saved(made.workdir)
  assert step == len(collected)


@pytest.mark.parametrize("end", ["signal", "kill"])
def test_a_collection_goes_on_to_the_same_bits(
  context, collected, monkeypatch, end
):
  straight = evaluate.rule_statistics(context("straight", **WHOLE), "rms")
  whole = collected.copy()
  collected.clear()
  watch = stages.watch

  def stopping(context, title, per_segment):
    told = watch(context, title, per_segment)

    def callback(done, total):
      assert title == "gradient statistics"
      assert (done, total) == (collected[-1], whole[-1])
      if len(collected) == 3:
        if end == "kill":
          raise KeyboardInterrupt
        context.signals.signum = 15
      told(done, total)

    return callback

  monkeypatch.setattr(stages, "watch", stopping)
  if end == "kill":
    monkeypatch.setattr(evaluate, "SAVE_SECONDS", -1.0)
  with pytest.raises((errors.Interrupted, KeyboardInterrupt)):
    evaluate.rule_statistics(context("stopped", **WHOLE), "rms")
  resumed = evaluate.rule_statistics(context("stopped", **WHOLE), "rms")
  # A signal's state is of the chunk it came with; a kill loses that one.
  assert collected == whole[:3] + whole[3 if end == "signal" else 2 :]
  jax.tree.map(np.testing.assert_array_equal, resumed, straight)


def test_statistics_of_other_weights_or_settings_are_not_taken(
  context, collected
):
  def collect(seed=0, step=0, **changes):
    collected.clear()
    made = context("run", seed, **{**WHOLE, **changes})._replace(step=step)
    return evaluate.rule_statistics(made, "rms"), len(collected)

  first, dispatches = collect()
  assert dispatches > 1
  again, read = collect()
  jax.tree.map(np.testing.assert_array_equal, again, first)
  assert read == 0
  assert collect(seed=1)[1] == dispatches
  assert collect(step=7)[1] == dispatches
  assert collect(dynamic__statistics_streams=4)[1] > 0
  assert collect(dynamic__statistics_segments=1)[1] == 1


def test_a_search_over_three_settings_is_a_table_and_a_figure(
  context, monkeypatch
):
  lines = []
  draw = evaluate.curves.dynamic_search

  def drawn(rows, path, *, settings):
    lines.extend(settings)
    draw(rows, path, settings=settings)

  monkeypatch.setattr(evaluate.curves, "dynamic_search", drawn)
  made = context("run", **WHOLE)
  actual = evaluate.search_settings(made)
  written = json.loads((made.workdir / "dynamic_search.json").read_text())
  assert written == json.loads(json.dumps(actual))
  assert lines == ["learning_rate", "segment", "epsilon", "decay"]
  dynamic = [row for row in actual["rows"] if row["rule"] != "static"]
  settings = {
    (row["segment"], row["learning_rate"], row["decay"], row["epsilon"])
    for row in dynamic
  }
  # Rates and decays are listed for segments of 20.
  expected = {
    (segment, rate * segment / 20, decay * segment / 20, epsilon)
    for segment in (5, 20)
    for rate in (1e-4, 4e-4)
    for decay in (1e-2, 6e-2)
    for epsilon in (2e-5, 1e-4)
  }
  assert settings == expected
  assert len(dynamic) == 16
  best = min(dynamic, key=lambda row: row["nats"])
  assert actual["best"] == {key: best[key] for key in actual["best"]}
  assert set(actual["best"]) == {
    "rule", "segment", "learning_rate", "decay", "epsilon"
  }  # fmt: skip
  assert (made.workdir / "figures" / "dynamic_search.png").stat().st_size > 0


@pytest.mark.parametrize(("rate", "helps"), [(1e-30, False), (1e-2, True)])
def test_a_search_in_which_nothing_helps_says_so(context, capsys, rate, helps):
  made = context(
    "run",
    dynamic__search=True,
    dynamic__search_rates=(rate,),
    dynamic__search_momenta=(0.0,),
  )
  made.config.dynamic.rule = "sgd"
  rows, _ = evaluate.static_and_dynamic(made)
  said = "none of the 1 settings searched is better than static evaluation"
  noted = "no better than static evaluation in the search"
  dynamic = [row for row in rows if row["evaluation"] == "dynamic"]
  assert (said in capsys.readouterr().err) is not helps
  assert all((noted in row["name"]) is not helps for row in dynamic)
