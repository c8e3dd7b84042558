import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqmodels.data.text import batching
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import optimizers, step


@pytest.fixture(scope="session")
def network():
  return networks.LanguageModel(
    7, recurrent.StackOptions(features=(6,), gradient_clip=1.0)
  ).as_model()


@pytest.fixture(scope="session")
def optimizer():
  return optimizers.build("adam", learning_rate=0.01, clip_norm=1.0)


@pytest.fixture(scope="session")
def fresh(network, optimizer):
  """Fresh states, equal to the last bit; each may be donated."""
  made = {}

  def copies(batch=4):
    if batch not in made:
      made[batch] = step.create(network, optimizer, batch=batch, seed=1)
    return jax.tree.map(lambda leaf: leaf.copy(), made[batch])

  return copies


@pytest.fixture(scope="session")
def stream():
  tokens = np.random.default_rng(0).integers(7, size=403)
  return batching.SequentialStream(tokens, batch=4, length=6)


@pytest.fixture(scope="session")
def same_bits():
  def check(one, other):
    leaves = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    for a, b in leaves:
      if jax.dtypes.issubdtype(a.dtype, jax.dtypes.prng_key):
        a, b = jax.random.key_data(a), jax.random.key_data(b)
      np.testing.assert_array_equal(np.asarray(a), np.asarray(b))

  return check


@pytest.fixture(scope="session")
def step_gradient():
  """The gradient that a training step hands to its optimiser."""
  keep = optax.GradientTransformation(
    lambda params: params,
    lambda gradient, *_: (jax.tree.map(jnp.zeros_like, gradient), gradient),
  )

  def gradient(objective, params, **settings):
    model, carry, segment, key = objective
    before = step.TrainState(jnp.int32(0), params, params, carry, key)
    train_step = step.make_train_step(model, keep, **settings)
    after, report = train_step(before, segment)
    return after.opt_state, (after.carry, report.metrics)

  return gradient
