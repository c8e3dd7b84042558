"""Every model of symbols: it gives a distribution and never looks ahead."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.common import chains, ngram_counts
from experiments.studies.ngram import smoothing
from seqmodels import losses
from seqmodels.cells import cell as cells
from seqmodels.layers import recurrent
from seqmodels.models import networks, ngram

SIZE, LENGTH = 3, 4
STRINGS = np.array(list(itertools.product(range(SIZE), repeat=LENGTH)))
TEXT = np.random.default_rng(0).integers(SIZE, size=60)


def hidden():
  random = np.random.default_rng(1)
  return chains.HiddenMarkov(
    random.dirichlet(np.ones(2)),
    random.dirichlet(np.ones(2), size=2),
    random.dirichlet(np.ones(SIZE), size=2),
  )


COUNTS = ngram_counts.NGramCounts.of(TEXT, SIZE, order=3)
COUNTED = {
  "add_k": ngram_counts.LaplaceNGram.add_k(COUNTS, 0.5, order=3).nats,
  "hidden_markov": hidden().nats,
  "kneser_ney": ngram.NGram.fit(TEXT, SIZE, order=3).nats,
  "modified_kneser_ney": ngram.NGram.fit(
    TEXT, SIZE, order=3, modified=True
  ).nats,
  "kneser_ney_backing_off": smoothing.BackoffNGram.of(
    ngram.NGram.fit(TEXT, SIZE, order=3)
  ).nats,
  **{
    f"pseudo_counts_{back_off}": ngram_counts.LaplaceNGram(
      COUNTS, (1.0,) * 3, back_off
    ).nats
    for back_off in ("uniform", "unigram", "shorter")
  },
}


@pytest.mark.parametrize("name", COUNTED)
def test_a_counted_model_is_a_distribution_over_strings(name):
  nats = COUNTED[name]
  total = sum(math.exp(-float(nats(string).sum())) for string in STRINGS)
  assert total == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("name", COUNTED)
def test_a_counted_model_scores_a_symbol_before_it_sees_the_next(name):
  nats = COUNTED[name]
  for string in STRINGS[::7]:
    whole = nats(string)
    for length in range(1, LENGTH):
      np.testing.assert_allclose(nats(string[:length]), whole[:length])


def weights(init, *inputs):
  """Random ones of some size: near zero, all predictions would be uniform."""
  random = np.random.default_rng(2)
  return jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype),
    jax.eval_shape(init, jax.random.key(0), *inputs),
  )


@pytest.fixture(scope="module", params=cells.CELLS)
def scored(request):
  """Nats [T, strings] of every string under a random network."""
  # One-hot symbols are nothing that the Mogrifier could gate.
  width = 4 if request.param == "mogrifier_lstm" else 0
  model = networks.LanguageModel(
    SIZE,
    recurrent.StackOptions(features=(4,), cell=cells.get(request.param)),
    embedding=width,
  ).as_model()
  inputs = np.concatenate([np.full((1, len(STRINGS)), -1), STRINGS.T[:-1]])

  @jax.jit
  def nats(params):
    nowhere = jnp.zeros(inputs.shape, bool)
    carry = model.initial_carry(len(STRINGS))
    _, logits = model.apply(params, carry, jnp.asarray(inputs), nowhere)
    return losses.cross_entropy(logits, jnp.asarray(STRINGS.T), ~nowhere)[0]

  return np.asarray(nats(weights(model.init)), np.float64)


def test_a_network_is_a_distribution_over_strings(scored):
  shares = np.exp(-scored.sum(axis=0))
  assert shares.sum() == pytest.approx(1, abs=1e-5)
  assert shares.max() > 2 * shares.min()


def test_a_network_scores_a_symbol_before_it_sees_the_next(scored):
  """Strings that begin alike are scored alike as far as they are alike."""
  by_string = scored.T.reshape((SIZE,) * LENGTH + (LENGTH,))
  for place in range(LENGTH - 1):
    later = tuple(range(place + 1, LENGTH))
    alike = by_string[..., place]
    np.testing.assert_allclose(
      alike.max(axis=later), alike.min(axis=later), atol=1e-6
    )


@pytest.mark.parametrize("cell", cells.CELLS)
def test_the_jacobian_of_a_stack_is_lower_triangular(cell):
  """|d output_t / d input_s| is zero for s > t, and nowhere else."""
  # Two layers of one kind are enough to see how layers are joined.
  stack = recurrent.DeepRecurrent(
    recurrent.StackOptions(
      features=(3, 2) if cell == "elman" else (3,), cell=cells.get(cell)
    ),
    in_features=2,
  )
  random = np.random.default_rng(0)
  xs = jnp.asarray(np.abs(random.normal(size=(5, 1, 2))), jnp.float32)
  # A rectifier at rest passes nothing on.
  variables = jax.tree.map(
    np.abs, weights(stack.init, stack.initial_carry(1), xs)
  )

  @jax.jit
  def sizes(xs):
    def outputs(xs):
      _, hs = stack.apply(variables, stack.initial_carry(1), xs)
      return jnp.concatenate(hs, axis=-1)[:, 0]

    jacobian = jax.jacrev(outputs)(xs)  # [T, H, T, 1, D]
    return jnp.max(jnp.abs(jacobian), axis=(1, 3, 4))

  actual = np.asarray(sizes(xs))
  assert np.all(actual[np.triu_indices(5, 1)] == 0)
  assert np.all(actual[np.tril_indices(5)] > 0)
