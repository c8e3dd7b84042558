"""Small models and files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.compression import byte_tree, settings
from seqmodels.compression import model as model_lib


@pytest.fixture
def small():
  """Settings of a tiny model with every expert; keywords change them."""

  def make(**changes):
    values = {
      "streams": 2,
      "block": 64,
      "layers": (4,),
      "segment": 4,
      "contexts": ("1", "2", "word"),
      "context_bits": 8,
      "match": 3,
    }
    return settings.Settings(**{**values, **changes})

  return make


@pytest.fixture(scope="session")
def models():
  """Builds each model once: settings and size to model."""
  built = {}

  def model(chosen, size):
    key = (chosen, size)
    if key not in built:
      built[key] = model_lib.build(chosen, size)
    return built[key]

  return model


@pytest.fixture(name="alone")
def costs_alone():
  """Bits a byte of each of an expert's inputs, by step, over [T, B] bytes."""
  return _alone


def _alone(expert, streams_of_bytes):
  data = jnp.asarray(np.asarray(streams_of_bytes, np.int32))
  shared = expert.init()
  streams = expert.begin(shared, jnp.arange(data.shape[1]) * len(data))

  @jax.jit
  def step(states, now):
    evidence = expert.predict(*states)
    passed = byte_tree.on_path(evidence.log_odds, now)
    nats = byte_tree.nats(passed, byte_tree.bits(now)[..., None])
    for situation, count in zip(
      evidence.situations, expert.situations, strict=True
    ):
      inside = (situation >= 0) & (situation < count)
      nats = jnp.where(inside[:, None, None], nats, jnp.nan)
    states = expert.learn(*states, evidence.memo, now)
    return states, jnp.mean(jnp.sum(nats, axis=1), axis=0) / np.log(2)

  _, actual = jax.lax.scan(step, (shared, streams), data)
  assert actual.shape[1] == len(expert.inputs)
  return np.asarray(actual)
