import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import dynamic


def _tree(seed, scale=1.0):
  rng = np.random.default_rng(seed)
  return {
    "a": np.float32(rng.normal(size=(3, 4)) * scale),
    "b": {"c": np.float32(rng.normal(size=7) * scale)},
  }


def _slow_sgd(params, gradients, *, learning_rate, momentum):
  """Element by element over all steps, in float64."""
  flat = [np.float64(leaf).ravel() for leaf in jax.tree.leaves(params)]
  velocity = [np.zeros_like(leaf) for leaf in flat]
  for step in gradients:
    leaves = [np.float64(leaf).ravel() for leaf in jax.tree.leaves(step)]
    for theta, v, g in zip(flat, velocity, leaves, strict=True):
      for i in range(len(theta)):
        v[i] = momentum * v[i] + g[i]
        theta[i] = theta[i] - learning_rate * v[i]
  return flat


def _slow_rms(params, gradients, ms, *, learning_rate, decay, epsilon):
  """Krause et al. (2017), with the cap written as they do: on the rate."""
  start = [np.float64(leaf).ravel() for leaf in jax.tree.leaves(params)]
  flat = [leaf.copy() for leaf in start]
  ms = [np.float64(leaf).ravel() for leaf in jax.tree.leaves(ms)]
  mean = sum(sum(leaf) / len(leaf) for leaf in ms) / len(ms)
  for step in gradients:
    leaves = [np.float64(leaf).ravel() for leaf in jax.tree.leaves(step)]
    for theta, theta_0, m, g in zip(flat, start, ms, leaves, strict=True):
      for i in range(len(theta)):
        rate = m[i] / mean
        if decay * rate > 1:
          rate = 1 / decay
        theta[i] += decay * rate * (theta_0[i] - theta[i]) - learning_rate * g[
          i
        ] / (m[i] + epsilon)
  return flat


def _run(rule, params, gradients):
  params, state = jax.tree.map(jnp.asarray, params), rule.init(params)
  for step in gradients:
    params, state = rule.update(step, state, params)
  return [np.ravel(leaf) for leaf in jax.tree.leaves(params)]


GRADIENTS = [_tree(seed) for seed in range(10, 16)]
STATISTICS = jax.tree.map(np.abs, _tree(2))


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_sgd_equals_a_slow_loop_and_carries_its_momentum(momentum):
  settings = {"learning_rate": 0.03, "momentum": momentum}
  rule = dynamic.make_rule("sgd", _tree(1), settings)
  expected = _slow_sgd(_tree(1), GRADIENTS, **settings)
  for leaf, want in zip(_run(rule, _tree(1), GRADIENTS), expected, strict=True):
    np.testing.assert_allclose(leaf, want, rtol=1e-5, atol=1e-6)


# At decay 0.5 the cap binds for some weights of STATISTICS, not for all.
@pytest.mark.parametrize("decay", [0.0, 0.02, 0.5, 100.0])
def test_rms_equals_a_slow_loop(decay):
  settings = {"learning_rate": 0.01, "decay": decay, "epsilon": 0.05}
  rule = dynamic.make_rule("rms", _tree(1), settings, statistics=STATISTICS)
  expected = _slow_rms(_tree(1), GRADIENTS, STATISTICS, **settings)
  for leaf, want in zip(_run(rule, _tree(1), GRADIENTS), expected, strict=True):
    np.testing.assert_allclose(leaf, want, rtol=1e-5, atol=1e-6)


def test_rms_never_pulls_past_the_trained_weights():
  away = jax.tree.map(lambda leaf: leaf + 1, _tree(1))
  rule = dynamic.make_rule(
    "rms",
    _tree(1),
    {"learning_rate": 0.0, "decay": 1e6},
    statistics=STATISTICS,
  )
  back, _ = rule.update(GRADIENTS[0], rule.init(away), away)
  for leaf, want in zip(
    jax.tree.leaves(back), jax.tree.leaves(_tree(1)), strict=True
  ):
    np.testing.assert_allclose(leaf, want, atol=1e-6)


def test_the_normaliser_is_the_mean_over_tensors_not_over_elements():
  statistics = {"a": np.full((10, 10), 3.0, np.float32), "b": np.ones(1)}
  rule = dynamic.make_rule("rms", statistics, statistics=statistics)
  assert float(rule.normaliser) == 2.0


@pytest.mark.parametrize(
  ("name", "settings", "message"),
  [
    ("rsm", {}, r"no dynamic rule 'rsm' \(did you mean 'rms'\?\)"),
    ("sgd", {"learning_rat": 1.0}, "did you mean 'learning_rate'"),
    ("sgd", {"decay": 1.0}, "no setting 'decay'"),
    ("sgd", {"learning_rate": -1.0}, "-1.0; it must be at least 0"),
    ("sgd", {"momentum": float("nan")}, "nan; it must be"),
    ("rms", {}, "needs gradient statistics"),
  ],
)
def test_bad_rules_are_named(name, settings, message):
  with pytest.raises(errors.UserError, match=message):
    dynamic.make_rule(name, _tree(1), settings)


def test_every_rule_has_the_contract():
  for name, kind in dynamic.RULES.items():
    rule = dynamic.make_rule(name, _tree(1), statistics=STATISTICS)
    assert isinstance(rule, kind)
    assert rule.reduction in ("sum", "mean")
    for setting, value in rule.defaults.items():
      assert float(getattr(rule, setting)) == np.float32(value)
    params = jax.tree.map(jnp.asarray, _tree(1))
    state = rule.init(params)
    after = rule.update(GRADIENTS[0], state, params)
    assert jax.tree.map(jnp.shape, after) == jax.tree.map(
      jnp.shape, (params, state)
    )
