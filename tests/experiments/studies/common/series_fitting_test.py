import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.studies.autoregressive import data, models
from experiments.studies.common import series_fitting


def stretches(xs, *, random, epochs, batch=16, tau=4):
  starts = data.shuffled(600, batch=batch, epochs=epochs, random=random)
  return data.segments(xs, starts, length=tau, scored=1)


def stacked(parts):
  return jax.tree.map(lambda *leaves: np.stack(leaves), *parts)


def test_the_loss_is_half_the_squared_errors_of_what_is_scored():
  model = models.window(2)
  linear = models.Linear(np.array([0.5, -1.0]), 0.25)
  xs = np.random.default_rng(0).normal(size=12)
  cut = data.segments(xs, np.array([[0, 5, -1]]), length=4, scored=2)
  segment = jax.tree.map(lambda leaf: leaf[0].copy(), cut)
  # What is masked may be anything.
  segment.targets[:, 2] = np.nan
  carry = model.initial_carry(3)
  params = models.of_linear(linear)

  def loss(params):
    nats, outcome = series_fitting.of_values(
      model, params, carry, segment, jax.random.key(0)
    )
    return jnp.sum(nats), (nats, outcome)

  gradient, (nats, outcome) = jax.jit(jax.grad(loss, has_aux=True))(params)
  expected = [
    0.5
    * sum(
      (linear.predict(xs[t - 1 : t + 1]) - xs[t + 1]) ** 2
      for t in (start + 2, start + 3)
    )
    for start in (0, 5)
  ]
  np.testing.assert_allclose(nats, [*expected, 0.0], rtol=1e-5)
  assert int(outcome.scored) == 4
  assert int(jnp.sum(outcome.carry)) == 0
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_gradient_descent_by_hand_gives_the_same_weights():
  xs = data.noisy_sine(700, random=np.random.default_rng(0))
  random = np.random.default_rng(1)
  cut = stretches(xs, random=random, epochs=1)
  keys = jax.random.split(jax.random.key(0), 1)
  model = models.window(4)
  params = series_fitting.fit_each(model, optax.sgd(0.01), keys, stacked([cut]))
  found = models.to_linear(jax.tree.map(lambda leaf: leaf[0], params))
  first = jax.jit(model.init)(jax.random.split(keys[0])[0])
  linear = models.to_linear(first)
  weights, bias = linear.weights, linear.bias
  for inputs, targets, mask in zip(*cut, strict=True):
    rows, labels = inputs.T[mask[-1]], targets[-1][mask[-1]]
    missed = rows @ weights + bias - labels
    weights = weights - 0.01 * rows.T @ missed / len(labels)
    bias = bias - 0.01 * missed.mean()
  np.testing.assert_allclose(found.weights, weights, atol=1e-5)
  assert found.bias == pytest.approx(bias, abs=1e-5)


def test_gradient_descent_approaches_least_squares():
  xs = data.noisy_sine(700, random=np.random.default_rng(0))
  cut = stretches(xs, random=np.random.default_rng(1), epochs=300, batch=100)
  params = series_fitting.fit_each(
    models.window(4),
    optax.sgd(0.5),
    jax.random.split(jax.random.key(0), 1),
    stacked([cut]),
  )
  found = models.to_linear(jax.tree.map(lambda leaf: leaf[0], params))
  past, _ = data.split(data.windows(xs, 4), 600)
  best = models.least_squares(past.features, past.labels)
  errors = [
    np.mean((model.predict(past.features) - past.labels) ** 2)
    for model in (found, best)
  ]
  assert errors[1] < errors[0] < 1.02 * errors[1]


def test_series_do_not_disturb_one_another():
  many = [
    data.noisy_sine(700, random=np.random.default_rng(seed))
    for seed in range(2)
  ]
  cuts = [
    stretches(xs, random=np.random.default_rng(7), epochs=1) for xs in many
  ]
  keys = jax.random.split(jax.random.key(0), 2)
  model = models.window(4)
  both = series_fitting.fit_each(model, optax.adam(0.01), keys, stacked(cuts))
  one = series_fitting.fit_each(
    model, optax.adam(0.01), keys[1:], stacked(cuts[1:])
  )
  for ours, theirs in zip(
    jax.tree.leaves(both), jax.tree.leaves(one), strict=True
  ):
    np.testing.assert_allclose(ours[1], theirs[0], atol=1e-5)


def test_five_epochs_miss_by_what_they_should():
  """Windows of four, gradient descent at 0.01 in minibatches of 16.

  The means expected are those of 200 other series; ours of 60 lie within three
  standard errors.
  """
  random = np.random.default_rng(0)
  many = [data.noisy_sine(1000, random=random) for _ in range(60)]
  params = jax.device_get(
    series_fitting.fit_each(
      models.window(4),
      optax.sgd(0.01),
      jax.random.split(jax.random.key(0), 60),
      stacked([stretches(xs, random=random, epochs=5) for xs in many]),
    )
  )
  found = {name: [] for name in ("train", "test", 1, 4, 16, 64)}
  radii = []
  for i, xs in enumerate(many):
    model = models.to_linear(jax.tree.map(lambda leaf, i=i: leaf[i], params))
    radii.append(model.radius)
    for k in (1, 4, 16, 64):
      pairs = data.windows(xs, 4, ahead=k)
      missed = (model.ahead(k).predict(pairs.features) - pairs.labels) ** 2
      found[k].append(missed[:933].mean())
      if k == 1:
        found["train"].append(missed[:600].mean())
        found["test"].append(missed[600:].mean())
  expected = {"train": 0.0499, "test": 0.0501, 1: 0.0500}
  expected |= {4: 0.0550, 16: 0.0819, 64: 0.3046}
  for name, value in expected.items():
    scatter = np.std(found[name], ddof=1) / 60**0.5
    assert np.mean(found[name]) == pytest.approx(value, abs=3 * scatter + 5e-4)
  assert np.mean(radii) == pytest.approx(0.986, abs=0.003)
