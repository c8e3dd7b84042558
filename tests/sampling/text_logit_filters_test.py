import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.models import networks
from seqmodels.sampling import text

SHARES = np.array([0.05, 0.4, 0.02, 0.25, 0.2, 0.08])
LOGITS = jnp.log(jnp.asarray(SHARES, jnp.float32))


@pytest.fixture(scope="module")
def random_logits():
  return np.random.default_rng(0).normal(scale=2.0, size=(40, 3, 9))


def shares(logits):
  logits = np.asarray(logits, np.float64)
  raised = np.exp(logits - logits.max(-1, keepdims=True))
  return raised / raised.sum(-1, keepdims=True)


@pytest.mark.parametrize("alpha", [0.5, 1.0, 3.0])
def test_a_power_is_that_of_the_probabilities(alpha):
  expected = SHARES**alpha / np.sum(SHARES**alpha)
  np.testing.assert_allclose(
    shares(text.power(LOGITS, alpha)), expected, rtol=1e-5
  )
  np.testing.assert_allclose(
    text.temperature(LOGITS, 1 / alpha),
    text.power(LOGITS, alpha),
    rtol=1e-6,
  )


def test_a_large_power_is_greedy_and_entropy_falls_on_the_way(random_logits):
  alphas = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
  actual = np.stack(
    [
      text.entropy(text.power(jnp.asarray(random_logits), alpha))
      for alpha in alphas
    ]
  )
  assert np.all(np.diff(actual, axis=0) < 0)
  sharp = shares(text.power(jnp.asarray(random_logits), 1e4))
  best = random_logits.argmax(-1)
  np.testing.assert_allclose(
    np.take_along_axis(sharp, best[..., None], -1), 1.0, atol=1e-6
  )


def test_entropy_is_the_sum_of_its_definition():
  assert float(text.entropy(LOGITS)) == pytest.approx(
    -np.sum(SHARES * np.log(SHARES)), rel=1e-5
  )
  one = jnp.array([0.0, -jnp.inf, -jnp.inf])
  assert float(text.entropy(one)) == 0.0


@pytest.mark.parametrize("k", [1, 4, 8])
def test_top_k_keeps_the_likeliest_and_no_other(k, random_logits):
  actual = np.asarray(text.top_k(jnp.asarray(random_logits), k))
  kept = actual > -np.inf
  assert np.all(kept.sum(-1) == k)
  least = np.where(kept, random_logits, np.inf).min(-1)
  most = np.where(kept, -np.inf, random_logits).max(-1)
  assert np.all(least > most)
  np.testing.assert_allclose(actual[kept], random_logits[kept], rtol=1e-6)


def test_among_equals_the_lowest_ids_stay():
  kept = text.top_k(jnp.zeros(5), 2) > -jnp.inf
  assert kept.tolist() == [True, True, False, False, False]
  kept = text.nucleus(jnp.zeros(4), 0.6) > -jnp.inf
  assert kept.tolist() == [True, True, True, False]


@pytest.mark.parametrize("k", [0, 6, 100])
def test_top_k_of_none_or_all_changes_nothing(k):
  np.testing.assert_array_equal(text.top_k(LOGITS, k), LOGITS)


@pytest.mark.parametrize("mass", [0.01, 0.5, 0.9, 0.999])
def test_the_nucleus_is_the_smallest_set_that_holds_the_mass(
  mass, random_logits
):
  actual = text.nucleus(jnp.asarray(random_logits), mass)
  for row, kept in zip(
    shares(random_logits).reshape(-1, 9),
    np.asarray(actual).reshape(-1, 9) > -np.inf,
    strict=True,
  ):
    order = sorted(range(9), key=lambda i: -row[i])
    size = next(n for n in range(1, 10) if row[order[:n]].sum() >= mass)
    assert set(np.flatnonzero(kept)) == set(order[:size])


def test_the_whole_nucleus_keeps_the_faintest():
  logits = jnp.array([0.0, -60.0])
  np.testing.assert_array_equal(text.nucleus(logits, 1.0), logits)


def test_a_sharpening_is_its_three_in_their_order():
  flat = shares(text.LogitFilters(temperature=2.0, top_k=4)(LOGITS))
  expected = np.where(SHARES < 0.08, 0, np.sqrt(SHARES))
  np.testing.assert_allclose(flat, expected / expected.sum(), rtol=1e-5)
  # After top-k the nucleus is one of what is left: 0.4 and 0.25 of 0.85.
  both = shares(text.LogitFilters(top_k=3, nucleus=0.75)(LOGITS))
  assert np.flatnonzero(both).tolist() == [1, 3]
  assert text.LogitFilters(top_k=3) == text.LogitFilters(top_k=3)


def _draws(count, **settings):
  """Independent draws of the first symbol."""
  unigram = networks.SequenceModel(
    apply=lambda params, carry, inputs, reset: (
      carry,
      jnp.broadcast_to(params[None, None], (*inputs.shape, 6)),
    ),
    initial_carry=lambda batch: (),
    init=lambda key: LOGITS,
    vocabulary_size=6,
  )
  return text.sample(
    unigram, LOGITS, jax.random.key(3), length=1, batch=count, **settings
  )[0]


@pytest.mark.parametrize(
  "chosen",
  [
    text.LogitFilters(),
    text.LogitFilters(temperature=0.5),
    text.LogitFilters(top_k=3),
    text.LogitFilters(nucleus=0.7, temperature=1.5),
  ],
)
def test_text_is_drawn_from_the_sharpened_distribution(chosen):
  count = 20_000
  drawn = np.bincount(_draws(count, logit_filters=chosen), minlength=6)
  expected = count * shares(chosen(LOGITS))
  possible = expected > 0
  assert np.all(drawn[~possible] == 0)
  statistic = np.sum((drawn - expected)[possible] ** 2 / expected[possible])
  # Chi squared of at most five degrees of freedom: 1 in 10,000 is above 25.7.
  assert statistic < 25.7


def test_a_sharpening_that_changes_nothing_draws_the_same():
  np.testing.assert_array_equal(
    _draws(500), _draws(500, logit_filters=text.LogitFilters())
  )
  greedy = _draws(500, logit_filters=text.LogitFilters(top_k=2), greedy=True)
  assert np.all(greedy == 1)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"temperature": 0.0}, "the temperature is 0.0"),
    ({"temperature": float("nan")}, "the temperature is nan"),
    ({"temperature": 1e-50}, "the temperature is 1e-50"),
    ({"temperature": 1e38}, "the temperature is 1e\\+38"),
    ({"top_k": -1}, "top_k is -1"),
    ({"nucleus": 0.0}, "nucleus is 0.0"),
    ({"nucleus": 1.1}, "nucleus is 1.1"),
    ({"nucleus": float("nan")}, "nucleus is nan"),
  ],
)
def test_bad_settings_are_named(settings, message):
  with pytest.raises(errors.UserError, match=message):
    text.LogitFilters(**settings)(LOGITS)


def test_a_bad_power_is_named():
  with pytest.raises(errors.UserError, match="power of a distribution is -1"):
    text.power(LOGITS, -1)
