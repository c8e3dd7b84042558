"""The page on backpropagation through time, end to end at its smallest."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.studies.bptt import strategies
from experiments.studies.common import memory_tasks, training
from seqmodels import errors

FIGURES = {
  *("strategies", "unbiased", "variance", "reach", "initialisation"),
  *("one_direction", "cost", "training", "gradient_error", "copying"),
}


@pytest.fixture(scope="module")
def page(finished):
  return (finished[1] / "report.md").read_text()


def table(page, heading):
  """The first table below a heading, a list of cells a line."""
  below = page.split(f"## {heading}\n")[1].split("\n## ")[0]
  lines = re.findall(r"^\| (.*) \|$", below, re.MULTILINE)
  cells = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines
  ]
  rule = next(i for i, line in enumerate(cells[1:], 1) if "---" in line[0])
  return cells[rule + 1 :]


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  rows = results["rows"]
  assert all(row["metric"] == "perplexity" for row in rows)
  assert all(row["count"] > 0 and np.isfinite(row["value"]) for row in rows)
  names = [row["name"] for row in rows]
  assert names[:4] == [
    *("full", "segments of 5", "randomised, p = 0.8", "window of 5")
  ]
  assert sum(name.startswith("copying over 6 steps") for name in names) == 4
  drawn = {path.stem for path in (folder / "figures").iterdir()}
  assert drawn == FIGURES


def test_the_linear_network_has_its_closed_form(page):
  actual = {
    name: values
    for name, *values in table(page, "How far back a gradient reaches")
  }
  assert [float(value) for value in actual["linear"]] == [0.9, 1.1, 2.0]
  for linear, tanh in zip(actual["linear"], actual["Elman, tanh"], strict=True):
    assert float(tanh) < float(linear)


def test_only_what_is_drawn_has_a_variance(page):
  actual = table(page, "Their gradients side by side")
  assert [line[1] for line in actual] == ["segments", "randomised", "window"]
  for _, name, cosine, bias, deviation, whole in actual:
    assert -1 <= float(cosine) <= 1
    assert (float(deviation) > 0) == (name == "randomised")
    parts = np.hypot(float(bias), float(deviation))
    assert float(whole) == pytest.approx(parts, abs=2e-3)


def test_the_paths_that_survive_are_counted(page):
  actual = table(page, "Where a short gradient is not enough")
  survive = {name: share for name, share, *_ in actual}
  assert survive["full"] == "1"
  assert survive["segments of 5"] == "0"
  assert survive["randomised, p = 0.8"] == f"{0.8**6:.2f}"


def test_recomputation_needs_less_memory(page):
  *_, last = table(page, "What the full gradient costs")
  length, _, kept, recomputed, *_ = last
  assert length == "64"
  assert float(recomputed) < float(kept)


def test_no_number_of_draws_makes_up_for_a_window(page):
  [missed] = re.findall(r"up to\s+(\d+)\s+standard\s+errors", page)
  assert int(missed) > 10


def test_bad_settings_are_named(run):
  config = cli.load("configs/fundamentals.py:bptt,smoke").config
  config.settings.lengths = (64, 0)
  with pytest.raises(errors.UserError, match=r"settings.lengths is \(64, 0\)"):
    run(config)


def test_a_strategy_weighs_derivatives_and_no_values():
  """Segments cut the gradient where training would cut its state."""
  network = training.Network("gru", 5, 6, 6)
  params = jax.jit(network.init)(jax.random.key(0))
  task = memory_tasks.CopyTask(lag=5, batch=3, symbols=2, kinds=4, seed=1)
  segments, carry = task.segments(0, 1), network.initial_carry(3)

  kinds = {
    "full": strategies.FULL,
    "segments": strategies.Strategy("", segment=3),
    "random": strategies.Strategy("", keep=0.5),
    "window": strategies.Strategy("", window=7),
  }
  drawn = {
    name: strategies.weighed(kind, segments, seed=0, step=0)
    for name, kind in kinds.items()
  }

  def total(params, name):
    one = jax.tree.map(lambda leaf: leaf[0], drawn[name])
    model = strategies.predictor(network, kinds[name].window)
    nats, _ = model.score(params, carry, one)
    return jnp.sum(nats)

  def detached(params):
    state, hs = carry, []
    for start in range(0, task.length, 3):
      state = jax.lax.stop_gradient(state)
      inputs = segments.inputs[0, start : start + 3]
      state, actual = network.cell.sequence(params[0], state, inputs)
      hs.append(actual)
    logits = network.read(params, jnp.concatenate(hs))
    shares = jax.nn.log_softmax(logits)
    picked = jnp.take_along_axis(
      shares, jnp.asarray(segments.targets[0])[..., None], axis=-1
    )
    return -jnp.sum(picked[..., 0] * segments.mask[0])

  @jax.jit
  def every(params):
    gradient = jax.value_and_grad(total)
    actual = {name: gradient(params, name) for name in kinds}
    return actual, jax.value_and_grad(detached)(params)

  actual, (nats, by_pieces) = every(params)
  for value, _ in actual.values():
    assert value == pytest.approx(float(nats), rel=1e-5)

  def assert_same(one, other):
    leaves = map(jax.tree.leaves, (one, other))
    for a, b in zip(*leaves, strict=True):
      np.testing.assert_allclose(a, b, atol=2e-5)

  assert_same(actual["segments"][1], by_pieces)
  # Seven steps are all there are.
  assert_same(actual["window"][1], actual["full"][1])
  apart = np.abs(
    actual["random"][1][0].recurrent_kernel
    - actual["full"][1][0].recurrent_kernel
  )
  assert apart.max() > 1e-4
