import jax
import numpy as np
import pytest

from seqmodels.data.text import batching
from seqmodels.models import language_model
from seqmodels.training import optimizers, step


@pytest.fixture(scope="session")
def network():
  return language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=7, features=(6,), gradient_clip=1.0
    )
  )


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
