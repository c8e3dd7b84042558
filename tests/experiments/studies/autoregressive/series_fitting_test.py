import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from experiments.studies.autoregressive import series


def cut(xs, *, random, epochs, batch=16):
  """Windows of four and the value after each, from 600 places."""
  return series.minibatches(
    xs[:604], length=4, scored=1, batch=batch, epochs=epochs, random=random
  )


def test_the_loss_is_half_the_squared_errors_of_what_is_scored():
  model = series.window(2)
  linear = series.Linear(np.array([0.5, -1.0]), 0.25)
  xs = np.random.default_rng(0).normal(size=12)
  columns = np.stack([xs[0:5], xs[5:10], np.zeros(5)], axis=1)
  mask = np.zeros((4, 3), bool)
  mask[2:, :2] = True
  segment = series.Minibatch(columns[:-1], columns[1:].copy(), mask)
  # What is masked may be anything.
  segment.targets[:, 2] = np.nan
  carry = model.initial_carry(3)
  params = series.of_linear(linear)

  def loss(params):
    nats, (carried, metrics) = model.score(params, carry, segment)
    return jnp.sum(nats), (nats, carried, metrics)

  gradient, (nats, carried, metrics) = jax.jit(jax.grad(loss, has_aux=True))(
    params
  )
  expected = [
    0.5
    * sum(
      (linear.predict(xs[t - 1 : t + 1]) - xs[t + 1]) ** 2
      for t in (start + 2, start + 3)
    )
    for start in (0, 5)
  ]
  np.testing.assert_allclose(nats, [*expected, 0.0], rtol=1e-5)
  assert int(metrics.count) == 4
  assert int(jnp.sum(carried)) == 0
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


def test_gradient_descent_by_hand_gives_the_same_weights():
  xs = series.noisy_sine(700, random=np.random.default_rng(0))
  random = np.random.default_rng(1)
  part = cut(xs, random=random, epochs=1)
  model = series.window(4)
  [params] = series.fit_each(model, optax.sgd(0.01), 0, [part])
  actual = series.to_linear(params)
  key = jax.random.split(jax.random.key(0), 1)[0]
  first = jax.jit(model.init)(jax.random.split(key)[0])
  linear = series.to_linear(first)
  weights, bias = linear.weights, linear.bias
  for inputs, targets, mask in zip(*part, strict=True):
    rows, labels = inputs.T[mask[-1]], targets[-1][mask[-1]]
    missed = rows @ weights + bias - labels
    weights = weights - 0.01 * rows.T @ missed / len(labels)
    bias = bias - 0.01 * missed.mean()
  np.testing.assert_allclose(actual.weights, weights, atol=1e-5)
  assert actual.bias == pytest.approx(bias, abs=1e-5)


def test_gradient_descent_approaches_least_squares():
  xs = series.noisy_sine(700, random=np.random.default_rng(0))
  random = np.random.default_rng(1)
  part = cut(xs, random=random, epochs=300, batch=100)
  [params] = series.fit_each(series.window(4), optax.sgd(0.5), 0, [part])
  actual = series.to_linear(params)
  past, _ = series.windows(xs, 4).split(600)
  best = series.least_squares(past.features, past.labels)
  errors = [
    np.mean((model.predict(past.features) - past.labels) ** 2)
    for model in (actual, best)
  ]
  assert errors[1] < errors[0] < 1.02 * errors[1]


def test_series_do_not_disturb_one_another():
  many = [
    series.noisy_sine(700, random=np.random.default_rng(seed))
    for seed in range(2)
  ]
  parts = [cut(xs, random=np.random.default_rng(7), epochs=1) for xs in many]
  model, rule = series.window(4), optax.adam(0.01)
  other = parts[1]._replace(targets=parts[1].targets + 1)
  first, _ = series.fit_each(model, rule, 0, parts)
  again, moved = series.fit_each(model, rule, 0, [parts[0], other])
  for ours, theirs in zip(
    jax.tree.leaves(first), jax.tree.leaves(again), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
  assert series.to_linear(moved).bias > series.to_linear(first).bias


def test_five_epochs_miss_by_what_they_should():
  """Windows of four, gradient descent at 0.01 in minibatches of 16.

  The means expected are those of 200 other series; ours of 60 lie within three
  standard errors.
  """
  random = np.random.default_rng(0)
  many = [series.noisy_sine(1000, random=random) for _ in range(60)]
  parts = [cut(xs, random=random, epochs=5) for xs in many]
  params = series.fit_each(series.window(4), optax.sgd(0.01), 0, parts)
  actual = {name: [] for name in ("train", "test", 1, 4, 16, 64)}
  radii = []
  for i, xs in enumerate(many):
    model = series.to_linear(params[i])
    radii.append(model.radius)
    for k in (1, 4, 16, 64):
      pairs = series.windows(xs, 4, ahead=k)
      missed = (model.ahead(k).predict(pairs.features) - pairs.labels) ** 2
      actual[k].append(missed[:933].mean())
      if k == 1:
        actual["train"].append(missed[:600].mean())
        actual["test"].append(missed[600:].mean())
  expected = {"train": 0.0499, "test": 0.0501, 1: 0.0500}
  expected |= {4: 0.0550, 16: 0.0819, 64: 0.3046}
  for name, value in expected.items():
    scatter = np.std(actual[name], ddof=1) / 60**0.5
    assert np.mean(actual[name]) == pytest.approx(value, abs=3 * scatter + 5e-4)
  assert np.mean(radii) == pytest.approx(0.986, abs=0.003)
