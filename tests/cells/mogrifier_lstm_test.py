"""The Mogrifier against its equations, and against what it contains."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import lstm, mogrifier_lstm

FEATURES, WIDTH, BATCH, STEPS = 5, 3, 2, 6


@pytest.fixture(autouse=True)
def double_precision():
  with jax.enable_x64(True):
    yield


def make(filled, **options):
  cell = cells.get("mogrifier_lstm", **options)
  params = filled(
    lambda: cell.init_params(
      jax.random.key(0), WIDTH, FEATURES, param_dtype=jnp.float64
    )
  )
  carry = filled(
    lambda: cell.initial_carry((BATCH,), FEATURES, jnp.float64), seed=1
  )
  xs = np.random.default_rng(2).normal(size=(STEPS, BATCH, WIDTH))
  return params, carry, jnp.asarray(xs)


@pytest.mark.parametrize("rank", [0, 2])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_step_is_its_equations(filled, rounds, rank):
  params, carry, xs = make(filled, rounds=rounds, rank=rank)
  queries, replies = list(params.query), list(params.reply)
  if rank:
    queries = [a @ b for a, b in zip(queries, params.query_up, strict=True)]
    replies = [a @ b for a, b in zip(replies, params.reply_up, strict=True)]

  def gate(v):
    return 2 / (1 + np.exp(-v))

  x, h = np.asarray(xs[0]), np.asarray(carry.h)
  for number in range(1, rounds + 1):
    if number % 2:
      x = gate(h @ queries.pop(0)) * x
    else:
      h = gate(x @ replies.pop(0)) * h
  assert not queries
  assert not replies
  expected = lstm.step(params.lstm, carry._replace(h=jnp.asarray(h)), x)
  actual = mogrifier_lstm.step(params, carry, xs[0])
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected
  )


def test_no_rounds_leave_an_lstm(filled):
  params, carry, xs = make(filled, rounds=0)
  actual = mogrifier_lstm.sequence(params, carry, xs)
  expected = lstm.sequence(params.lstm, carry, xs)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected
  )


def test_thin_matrices_are_one_matrix_of_their_product(filled):
  params, carry, xs = make(filled, rounds=4, rank=2)
  whole = params._replace(
    query=params.query @ params.query_up,
    query_up=None,
    reply=params.reply @ params.reply_up,
    reply_up=None,
  )
  one, other = (mogrifier_lstm.sequence(p, carry, xs) for p in (params, whole))
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-10), one, other
  )


def test_gates_of_silent_rounds_are_one(filled):
  """2 sigma(0) = 1: with Q = R = 0 nothing is scaled."""
  params, carry, xs = make(filled, rounds=5)
  silent = params._replace(
    query=jnp.zeros_like(params.query), reply=jnp.zeros_like(params.reply)
  )
  actual = mogrifier_lstm.sequence(silent, carry, xs)
  expected = lstm.sequence(params.lstm, carry, xs)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12), actual, expected
  )


def test_one_hot_symbols_are_refused(filled):
  params, carry, _ = make(filled)
  ids = jnp.zeros((STEPS, BATCH), jnp.int32)
  with pytest.raises(errors.UserError, match=r"config\.model\.embedding"):
    mogrifier_lstm.sequence(params, carry, ids)


@pytest.mark.parametrize("settings", [{"rounds": -1}, {"rank": -2}])
def test_negative_sizes_are_refused(settings):
  with pytest.raises(errors.UserError, match="at least 0"):
    mogrifier_lstm.init_params(jax.random.key(0), 3, 4, **settings)
