"""The exercises, end to end at their smallest, and what they must find."""

import math
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments import cli
from experiments.studies import run as run_lib
from experiments.studies.common import memory_tasks, training
from experiments.studies.exercises import memory
from experiments.studies.exercises import study as study_lib
from seqmodels import errors
from seqmodels.cells import cell as cells

FIGURES = {
  *("saturation", "orders", "recall", "gradient_by_length", "window"),
  *("copying", "learned_reach", "adding", "by_heart"),
}


@pytest.fixture(scope="module")
def page(finished):
  return (finished[1] / "report.md").read_text()


def table(page, heading, number=0):
  """A table below a heading, a list of cells a line."""
  below = page.split(f"## {heading}\n")[1].split("\n## ")[0]
  tables = re.findall(r"(?:^\|.*\|\n)+", below, re.MULTILINE)
  return [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in tables[number].splitlines()[2:]
  ]


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  for row in results["rows"]:
    assert row["count"] > 0
    assert np.isfinite(row["value"])
  metrics = {row["metric"] for row in results["rows"]}
  assert metrics == {"perplexity", "nats_per_sequence", "sse"}
  assert {path.stem for path in (folder / "figures").iterdir()} == FIGURES


def test_the_networks_are_exact(finished, page):
  actual = table(page, "A network that represents a language exactly")
  assert [int(units) for _, units, _, _ in actual] == [15, 7, 3]
  assert all(float(error) < 1e-14 for *_, error in actual)
  exact, best = finished[0]["rows"][:2]
  assert exact["value"] == pytest.approx(2 ** (1 / 5), abs=1e-9)
  assert best["value"] == pytest.approx(2 ** (2 / 5), abs=1e-9)


def test_longer_contexts_close_the_gap_where_words_end(page):
  *grams, network = table(page, "What no n-gram can do")
  assert grams[-1][1] == network[1]
  assert float(network[1]) == pytest.approx(math.log(2), abs=1e-3)
  *bounds, exact = table(page, "What no n-gram can do", 1)
  excess = [float(value) for *_, value in bounds]
  assert sorted(excess, reverse=True) == excess
  assert excess[-1] > 0.01
  assert exact[1] == f"{2 / 3 * math.log(2):.3f}"


def test_the_output_is_as_wide_as_the_vocabulary(page):
  for _, symbols, output, _, uniform in table(page, "How wide is the output?"):
    size = int(symbols.replace(",", ""))
    assert output == f"{size * (8 + 1):,}"
    assert float(uniform) == pytest.approx(math.log(size), abs=1e-3)


def test_nothing_crosses_the_edge_of_a_window(page):
  heading = "Does it condition on the first symbol of the book?"
  below = page.split(heading)[1]
  assert re.search(r"exactly 0 in\s+the\s+first\s+case", below)
  assert re.search(r"For s > t it\s+is\s+0:", below)


def test_gates_set_by_hand_err_by_the_square_of_their_gain(page):
  for gain, kept, added in table(page, "Gates that hold"):
    assert float(kept) < float(gain) ** 2
    assert float(added) < 3 * float(gain) ** 2


def test_the_networks_learn_something_and_lags_are_all_told(page):
  copied = table(page, "Copying over a growing lag")
  names = ["Elman", "Elman, orthogonal start"]
  assert [line[0] for line in copied] == names
  assert all(0 < float(v) < 4 for line in copied for v in line[1:])
  added = table(page, "Adding over a growing length")
  assert [line[0] for line in added] == names


def test_a_network_that_learns_by_heart_is_told_from_one_that_learns(page):
  known = [float(line[1]) for line in table(page, "Learning by heart")]
  assert known == sorted(known, reverse=True)
  names = [line[0] for line in table(page, "Other texts, other hands")]
  assert names[:2] == ["the same text, unseen", "the same, read backwards"]
  assert "NumPy's help on linear algebra" in names


def test_every_start_is_tried_with_every_remedy(page):
  starts = table(page, "What is done about it")
  assert [line[0] for line in starts] == [*("normal", "identity", "Q", "2 Q")]
  reach = [float(line[1]) for line in starts]
  assert reach[3] > reach[2] > reach[0]


def test_a_penalty_adds_its_derivative_to_that_of_the_recurrent_weights():
  network = training.Network("elman", 4, 5, 5)
  params = jax.jit(network.init)(jax.random.key(0))
  gradient = jax.tree.map(lambda leaf: jnp.full_like(leaf, 0.3), params)

  def update(penalty):
    rule = memory.Recipe(
      1.0, rule="sgd", clip_norm=0.0, penalty=penalty
    ).optimizer()
    return rule.update(gradient, rule.init(params), params)[0]

  plain, more = update(0.0), update(0.5)

  def square_norm(kernel):
    return 0.5 * jnp.sum(kernel**2)

  slope = jax.grad(square_norm)(params[0].recurrent_kernel)
  np.testing.assert_allclose(
    more[0].recurrent_kernel, plain[0].recurrent_kernel - slope, atol=1e-6
  )
  put_back = more[0]._replace(recurrent_kernel=plain[0].recurrent_kernel)
  for one, other in zip(
    jax.tree.leaves((put_back, *more[1:])), jax.tree.leaves(plain), strict=True
  ):
    np.testing.assert_array_equal(one, other)


def test_the_error_of_a_number_counts_where_it_is_asked_for():
  network = training.Network("gru", 4, 2, 1)
  params = jax.jit(network.init)(jax.random.key(0))
  segment = memory_tasks.AddingTask(length=6, batch=3).segment(0)
  model = network.predictor()._replace(loss=memory.squared)
  carry = network.initial_carry(3)
  halves, (_, metrics) = model.score(params, carry, segment)
  _, hs = network.cell.sequence(params[0], carry, segment.inputs)
  said = network.read(params, hs)[-1, :, 0]
  want = 0.5 * (said - segment.targets[-1]) ** 2
  np.testing.assert_allclose(halves, want, rtol=1e-5)
  assert metrics.count == 3


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"cells": ("RNN",)}, "settings.cells names 'RNN'; choose of Elman, GRU"),
    ({"changed": ("LSTM",), "remedies": ("luck",)}, "remedies names 'luck'"),
    ({"lags": (0, 5)}, r"settings.lags is \(0, 5\); it must be at least 1"),
  ],
)
def test_bad_settings_are_named(changes, message, run):
  config = cli.load("configs/fundamentals.py:exercises,smoke").config
  config.settings.update(changes)
  with pytest.raises(errors.UserError, match=message):
    run(config)


@pytest.mark.parametrize(
  ("content", "message"),
  [(b"caf\xe9 " * 200, "not UTF-8 at byte 3"), (None, "no file or folder")],
)
def test_a_text_that_cannot_be_read_is_refused_first(
  tmp_path, content, message
):
  path = tmp_path / "other.txt"
  if content:
    path.write_bytes(content)
  config = cli.load("configs/fundamentals.py:exercises,smoke").config
  config.settings.other_texts = (str(path),)
  with pytest.raises(errors.UserError, match=message):
    experiments.run(config, tmp_path / "run", tmp_path)
  assert not (tmp_path / "run" / "figures").exists()


def test_texts_of_one_s_own_are_read_by_their_names(tmp_path):
  path = tmp_path / "other.txt"
  path.write_text("a rose is a rose is a rose\n" * 50)
  config = cli.load("configs/fundamentals.py:exercises,smoke").config
  config.settings.other_texts = (str(path),)
  actual = study_lib.read(run_lib.Study(config, tmp_path, tmp_path, None, None))
  assert actual["other.txt"].startswith("a rose is a rose")
  assert len(actual["other.txt"]) == config.settings.unseen


def test_the_changes_are_what_their_names_say():
  random = np.random.default_rng(0)

  def changed(name):
    cell = cells.get(memory.cell_of(name))
    shapes = jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, 4))
    params = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    return memory.CHANGES[name](params, random)

  rotation = changed("Elman, orthogonal start").recurrent_kernel
  np.testing.assert_allclose(rotation @ rotation.T, np.eye(4), atol=1e-6)
  doubled = changed("Elman, twice a rotation").recurrent_kernel
  np.testing.assert_allclose(doubled @ doubled.T, 4 * np.eye(4), atol=1e-5)
  still = changed("Elman, identity start").recurrent_kernel
  np.testing.assert_array_equal(still, np.eye(4))
  x, h = np.full(3, -0.7, np.float32), np.full(4, 0.5, np.float32)

  def gates(params):
    """Reset and update, which stand first and second."""
    net = x @ params.kernel + params.bias + h @ params.recurrent_kernel
    return jax.nn.sigmoid(net[:4]), jax.nn.sigmoid(net[4:8])

  np.testing.assert_array_equal(gates(changed("GRU, reset gate only"))[1], 0)
  np.testing.assert_array_equal(gates(changed("GRU, update gate only"))[0], 1)
  bias = changed("LSTM, forget bias 5").bias.reshape(4, 4)
  np.testing.assert_array_equal(bias[[0, 1, 2, 3], 0], [1, 5, 1, 1])
