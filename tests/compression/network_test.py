"""The network expert."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import losses
from seqmodels.cells import cell as cells
from seqmodels.compression import byte_tree, network
from seqmodels.layers import recurrent
from seqmodels.models import networks


def byte_model():
  return networks.LanguageModel(
    256, recurrent.StackOptions(features=(6,), cell=cells.get("lstm"))
  ).as_model()


def test_the_network_takes_the_steps_of_truncated_backpropagation():
  predictor, optimizer, segment = byte_model(), optax.sgd(0.5), 4
  expert = network.create(predictor, optimizer, segment=segment, seed=3)
  data = np.random.default_rng(0).integers(0, 256, (9, 2)).astype(np.int32)
  predict, learn = jax.jit(expert.predict), jax.jit(expert.learn)
  shared = expert.init()
  streams = expert.begin(shared, jnp.array([0, 9]))
  for now in data:
    evidence = predict(shared, streams)
    shared, streams = learn(shared, streams, evidence.memo, now)

  params = predictor.init(jax.random.key(3))
  carry = predictor.initial_carry(2)
  before = np.concatenate([np.full((1, 2), -1, np.int32), data])
  for begin in (0, 4):
    inputs = jnp.asarray(before[begin : begin + segment])
    targets = jnp.asarray(data[begin : begin + segment])

    def loss(params, carry=carry, inputs=inputs, targets=targets):
      carry, logits = predictor.apply(params, carry, inputs, inputs < -1)
      total, count, _ = losses.nats(logits, targets, targets >= 0)
      return total / count, carry

    gradient, carry = jax.grad(loss, has_aux=True)(params)
    params = jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient)
  jax.tree.map(
    lambda ours, theirs: np.testing.assert_allclose(
      ours, theirs, rtol=1e-5, atol=1e-6
    ),
    shared.params,
    params,
  )
  assert int(shared.updates) == 2


def test_the_networks_prediction_is_that_of_the_predictor():
  predictor = byte_model()
  expert = network.create(predictor, None, segment=3, seed=1)
  data = np.random.default_rng(1).integers(0, 256, (7, 2)).astype(np.int32)
  predict, learn = jax.jit(expert.predict), jax.jit(expert.learn)
  shared = expert.init()
  streams = expert.begin(shared, jnp.array([0, 7]))
  said = []
  for now in data:
    evidence = predict(shared, streams)
    said.append(evidence.log_odds[..., 0])
    shared, streams = learn(shared, streams, evidence.memo, now)
  inputs = jnp.asarray(np.concatenate([np.full((1, 2), -1), data])[:-1])
  _, logits = predictor.apply(
    shared.params, predictor.initial_carry(2), inputs, inputs < -1
  )
  np.testing.assert_allclose(
    jnp.stack(said), byte_tree.log_odds(logits), rtol=1e-4, atol=1e-5
  )


def test_replay_learns_from_the_past_alone():
  predictor = byte_model()
  replay = network.Replay(every=1, windows=2, length=16, history=64)
  expert = network.create(
    predictor, optax.sgd(0.1), segment=4, replay=replay, seed=2
  )
  plain = network.create(predictor, optax.sgd(0.1), segment=4, seed=2)
  data = np.random.default_rng(2).integers(0, 256, (8, 1)).astype(np.int32)

  def after(expert, origin):
    predict, learn = jax.jit(expert.predict), jax.jit(expert.learn)
    shared = expert.init()
    streams = expert.begin(shared, jnp.array([origin]))
    for now in data:
      evidence = predict(shared, streams)
      shared, streams = learn(shared, streams, evidence.memo, now)
    return shared

  # In the first block nothing lies behind it, later something does.
  first, without = after(expert, 0), after(plain, 0)
  jax.tree.map(np.testing.assert_array_equal, first.params, without.params)
  later = after(expert, 40)
  same = jax.tree.map(
    lambda a, b: bool(jnp.array_equal(a, b)), later.params, without.params
  )
  assert not all(jax.tree.leaves(same))
