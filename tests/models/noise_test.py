"""Embedding, tied softmax and what training drops of the language model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors, trees
from seqmodels.models import language_model, noise

NOISE = noise.Noise(
  embedding=0.3, input=0.3, hidden=0.3, output=0.3, drop_connect=0.3
)
IDS = jnp.array(np.random.default_rng(0).integers(-1, 7, (6, 3)))
CALM = jnp.zeros(IDS.shape, bool)
KEYS = jax.random.split(jax.random.key(4), 2)


def make(**settings):
  settings = {"vocabulary_size": 7, "features": (5, 5), **settings}
  return language_model.as_predictor(language_model.LanguageModel(**settings))


def scores(network, params, key=None):
  carry = network.initial_carry(IDS.shape[1])
  if key is None:
    return network.apply(params, carry, IDS, CALM)[1]
  return network.train_apply(params, carry, IDS, CALM, key)[1]


@pytest.mark.parametrize("shape", [{}, {"embedding": 4}, {"embedding": 5}])
def test_training_drops_and_evaluation_does_not(shape):
  noisy, calm = make(noise=NOISE, **shape), make(**shape)
  params = noisy.init(jax.random.key(0))
  one, other = (scores(noisy, params, key) for key in KEYS)
  assert not bool(jnp.all(one == other))
  np.testing.assert_array_equal(one, scores(noisy, params, KEYS[0]))
  # Evaluation takes no key, and is that of a network without noise.
  np.testing.assert_array_equal(scores(noisy, params), scores(calm, params))


def test_rate_zero_is_none():
  network = make(noise=noise.Noise())
  params = network.init(jax.random.key(0))
  assert network.noisy is None
  one, other = (scores(network, params, key) for key in KEYS)
  np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(one, scores(network, params))


@pytest.mark.parametrize(
  "field", [name for name in noise.Noise._fields if name[0] != "v"]
)
@pytest.mark.parametrize("width", [0, 4])
def test_every_rate_does_something_of_its_own(field, width):
  network = make(noise=noise.Noise(**{field: 0.5}), embedding=width)
  params = network.init(jax.random.key(0))
  assert not bool(
    jnp.all(scores(network, params, KEYS[0]) == scores(network, params))
  )


def test_dropped_units_average_out():
  """With one linear map above, the mean over masks is the score without."""
  network = make(features=(5,), noise=noise.Noise(output=0.5))
  params = network.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 4_000)
  mean = jnp.mean(jax.vmap(lambda key: scores(network, params, key))(keys), 0)
  np.testing.assert_allclose(mean, scores(network, params), atol=0.03)


def test_a_tied_softmax_is_the_embedding_read_backwards():
  network = make(features=(5,), embedding=5, tied=True)
  params = network.init(jax.random.key(0))
  assert sorted(params["head"]) == ["bias"]
  params["head"]["bias"] = jnp.arange(7.0)
  table = np.asarray(params["embedding"]["table"], np.float64)
  untied = make(features=(5,), embedding=5)
  same = {**params, "head": {"kernel": table.T, "bias": jnp.arange(7.0)}}
  np.testing.assert_allclose(
    scores(network, params), scores(untied, same), rtol=1e-5, atol=1e-6
  )


def test_both_uses_of_tied_weights_are_learned_from():
  network = make(features=(5,), embedding=5, tied=True)
  params = network.init(jax.random.key(0))
  one = jax.grad(lambda p: jnp.sum(scores(network, p)[..., 0]))(params)
  rows = np.abs(np.asarray(one["embedding"]["table"])).sum(axis=1)
  assert (rows[1:] > 0).any()  # as inputs
  assert rows[0] > 0  # as the output that was asked for


# V E + sum of the layers + K: with a projection where widths differ.
@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    (
      {"embedding": 650, "tied": True, "output_skips": False},
      6_500_000 + 2 * (4 * 650 * 1301 + 3 * 650) + 10_000,
    ),
    (
      {"embedding": 400, "tied": True, "output_skips": False},
      4_000_000
      + (4 * 650 * (400 + 651) + 1950)
      + (4 * 650 * 1301 + 1950)
      + 650 * 400
      + 10_000,
    ),
    (
      {"embedding": 650, "tied": False, "output_skips": False},
      6_500_000 + 2 * (4 * 650 * 1301 + 3 * 650) + 650 * 10_000 + 10_000,
    ),
  ],
)
def test_parameters_are_those_of_the_formula(settings, expected):
  network = make(
    vocabulary_size=10_000,
    features=(650, 650),
    input_skips=False,
    **settings,
  )
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  assert trees.count_parameters(shapes) == expected


def test_the_null_vector_has_no_embedding():
  network = make(embedding=4)
  params = network.init(jax.random.key(0))
  loud = jax.tree.map(lambda leaf: leaf, params)
  loud["embedding"]["table"] = params["embedding"]["table"] * 100.0
  ids, carry = jnp.full((1, 1), -1), network.initial_carry(1)
  np.testing.assert_array_equal(
    *(network.apply(p, carry, ids, ids > 0)[1] for p in (params, loud))
  )


def test_a_tied_softmax_without_an_embedding_is_refused():
  with pytest.raises(errors.UserError, match="tied softmax"):
    make(tied=True)


@pytest.mark.parametrize("rate", [1.0, -0.5])
def test_a_rate_that_leaves_nothing_is_refused(rate):
  with pytest.raises(errors.UserError, match="below 1"):
    make(noise=noise.Noise(hidden=rate))
