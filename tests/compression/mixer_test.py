"""The mixer, against the gradient of its own cost."""

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.compression import byte_tree, mixer

STREAMS, INPUTS = 3, 4


def setup():
  weights = mixer.create(INPUTS, (5, 7))
  keys = jax.random.split(jax.random.key(0), 4)

  def noise(key, table):
    return table + 0.1 * jax.random.normal(key, table.shape)

  weights = weights._replace(
    node=noise(keys[0], weights.node),
    situations=tuple(map(noise, keys[1:3], weights.situations)),
  )
  log_odds = jax.random.normal(keys[3], (STREAMS, byte_tree.NODES, INPUTS))
  situations = (jnp.array([0, 4, 0]), jnp.array([6, 2, 1]))
  return weights, log_odds, situations, jnp.array([65, 65, 200])


def test_the_mixture_is_the_formula():
  weights, log_odds, situations, _ = setup()
  mixed = mixer.mix(weights, log_odds, situations)
  x = np.concatenate([log_odds, np.full((STREAMS, 255, 1), 0.3)], -1)
  for stream, node in ((0, 0), (1, 100), (2, 254)):
    parts = [weights.node[node] @ x[stream, node]]
    for table, situation in zip(weights.situations, situations, strict=True):
      parts.append(table[situation[stream]] @ x[stream, node])
    expected = np.dot(weights.last[node], parts)
    np.testing.assert_allclose(
      mixed.log_odds[stream, node], expected, rtol=1e-5
    )


def test_learning_is_descent_on_each_mixtures_own_cost():
  weights, log_odds, situations, symbols = setup()
  mixed = mixer.mix(weights, log_odds, situations)
  rate = 1e-3
  learnt = mixer.learn(weights, mixed, situations, symbols, rate=rate)
  bits = byte_tree.bits(symbols)
  passed = byte_tree.on_path(mixed.inputs, symbols)
  nodes = jnp.asarray(byte_tree.PATHS)[symbols]

  def by_node(table):
    odds = jnp.sum(passed * table[nodes], axis=-1)
    return jnp.sum(byte_tree.nats(odds, bits))

  def by_situation(table):
    odds = jnp.einsum("bki,bi->bk", passed, table[situations[0]])
    return jnp.sum(byte_tree.nats(odds, bits))

  step = rate * 6  # Sixfold before anything has been seen.
  for before, after, cost in (
    (weights.node, learnt.node, by_node),
    (weights.situations[0], learnt.situations[0], by_situation),
  ):
    expected = before - step * jax.grad(cost)(before)
    np.testing.assert_allclose(after, expected, rtol=1e-5, atol=1e-7)


def test_an_expert_that_knows_comes_to_be_trusted():
  weights = mixer.create(2, ())
  symbols = jax.random.randint(jax.random.key(1), (400, 4), 0, 256)
  signs = jnp.asarray(byte_tree.SIGNS)

  @jax.jit
  def step(weights, now):
    # The first input is right, the second says the opposite.
    log_odds = jnp.stack([signs[now], -signs[now]], axis=-1)
    mixed = mixer.mix(weights, log_odds, ())
    cost = byte_tree.nats(
      byte_tree.on_path(mixed.log_odds, now), byte_tree.bits(now)
    )
    return mixer.learn(weights, mixed, (), now, rate=0.01), jnp.mean(cost)

  weights, costs = jax.lax.scan(step, weights, symbols)
  assert float(costs[0]) > 0.5
  assert float(costs[-1]) < 0.3
