"""Masks: how much is dropped, what shares a mask, and that the mean stays."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.regularization import dropout

XS = jnp.ones((40, 30, 20))
KEY = jax.random.key(7)


@pytest.mark.parametrize("variational", [True, False])
@pytest.mark.parametrize("rate", [0.2, 0.5])
def test_the_share_dropped_is_the_rate_and_the_mean_stays(rate, variational):
  actual = np.asarray(dropout.drop(XS, KEY, rate, variational=variational))
  masks = 30 * 20 if variational else XS.size
  spread = 4 * np.sqrt(rate * (1 - rate) / masks)
  assert np.mean(actual == 0) == pytest.approx(rate, abs=spread)
  np.testing.assert_allclose(actual[actual != 0], 1 / (1 - rate), rtol=1e-6)


def test_a_variational_mask_is_the_same_at_all_steps_and_differs_by_row():
  actual = dropout.drop(XS, KEY, 0.5)
  assert bool(jnp.all(actual == actual[:1]))
  assert not bool(jnp.all(actual[0] == actual[0, :1]))
  by_step = dropout.drop(XS, KEY, 0.5, variational=False)
  assert not bool(jnp.all(by_step == by_step[:1]))


def test_the_gradient_passes_where_the_unit_did():
  gradient = jax.grad(lambda xs: jnp.sum(dropout.drop(xs, KEY, 0.3)))(XS)
  np.testing.assert_array_equal(gradient, dropout.drop(XS, KEY, 0.3))


def test_rate_zero_is_no_dropout():
  ids = jnp.arange(6).reshape(3, 2)
  assert dropout.drop(XS, KEY, 0.0) is XS
  assert dropout.drop_symbols(ids, KEY, 0.0) is ids
  tree = {"recurrent_kernel": XS[0]}
  assert dropout.drop_weights(tree, KEY, 0.0) is tree


def test_dropped_positions_become_the_null_vector():
  ids = jnp.full((100, 100), 3)
  actual = np.asarray(dropout.drop_symbols(ids, KEY, 0.25))
  assert set(np.unique(actual)) == {-1, 3}
  assert np.mean(actual == -1) == pytest.approx(0.25, abs=0.02)


def test_dropped_symbols_lose_their_whole_row():
  actual = np.asarray(dropout.drop_rows(jnp.ones((4000, 3)), KEY, 0.25))
  assert (actual.min(axis=1) == actual.max(axis=1)).all()
  assert np.mean(actual[:, 0] == 0) == pytest.approx(0.25, abs=0.03)


def test_drop_connect_touches_recurrent_weights_alone():
  tree = {
    "layer_0": {"kernel": jnp.ones((9, 9)), "recurrent_kernel": XS[0]},
    "layer_1": {"bias": jnp.ones(9), "recurrent_kernel": XS[0]},
  }
  actual = dropout.drop_weights(tree, KEY, 0.5)
  for layer, name in (("layer_0", "kernel"), ("layer_1", "bias")):
    assert actual[layer][name] is tree[layer][name]
  one, other = (actual[layer]["recurrent_kernel"] for layer in tree)
  assert np.mean(np.asarray(one) == 0) == pytest.approx(0.5, abs=0.1)
  assert not bool(jnp.all(one == other))  # each layer has a mask of its own


@pytest.mark.parametrize("rate", [1.0, -0.1, 2.0, float("nan")])
def test_what_is_no_share_is_refused(rate):
  for refuse in (
    lambda: dropout.drop(XS, KEY, rate),
    lambda: dropout.drop_symbols(jnp.zeros((1, 1), int), KEY, rate),
    lambda: dropout.drop_rows(XS[0], KEY, rate),
    lambda: dropout.drop_weights({"recurrent_kernel": XS[0]}, KEY, rate),
  ):
    with pytest.raises(errors.UserError, match="at least 0 and below 1"):
      refuse()
