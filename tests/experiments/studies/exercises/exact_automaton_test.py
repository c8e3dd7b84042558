"""Exact networks against the probabilities of every string."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.exercises import exact as exact_lib
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, scan


@pytest.fixture(autouse=True, scope="module")
def doubles():
  with jax.enable_x64(True):
    yield


def random_words(symbols, length, seed=0):
  """A distribution over all strings of that length."""
  strings = list(itertools.product(range(symbols), repeat=length))
  shares = np.random.default_rng(seed).dirichlet(np.ones(len(strings)))
  return dict(zip(strings, shares, strict=True))


def random_chain(symbols, order, seed=0):
  random = np.random.default_rng(seed)
  return {
    context: random.dirichlet(np.ones(symbols))
    for length in range(order + 1)
    for context in itertools.product(range(symbols), repeat=length)
  }


def test_a_tree_of_prefixes_gives_any_distribution_over_strings():
  words = random_words(3, 4)
  exact = exact_lib.network(exact_lib.of_words(words, 3))
  assert exact.units == 121
  ids = np.array([(*word, 3) for word in words]).T
  actual = np.exp(exact.log_shares(ids).sum(axis=0))
  np.testing.assert_allclose(actual, list(words.values()), atol=2e-16)


def test_words_may_begin_alike_and_follow_each_other():
  words = {(0,): 0.5, (0, 1): 0.2, (1, 1, 0): 0.3, (): 0.0}
  exact = exact_lib.network(exact_lib.of_words(words, 2))
  stream = [(0,), (1, 1, 0), (0, 1), (0, 1), (0,)]
  ids = np.array([symbol for word in stream for symbol in (*word, 2)])
  actual = exact.log_shares(ids[:, None]).sum()
  want = sum(math.log(words[word]) for word in stream)
  assert actual == pytest.approx(want, abs=1e-14)
  # A string that is no word costs more than any that is.
  assert exact.log_shares(np.array([[1], [0]])).sum() < -9000


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_markov_chain_is_exact(order):
  chain = random_chain(3, order, seed=order)
  exact = exact_lib.network(exact_lib.markov(chain))
  ids = np.random.default_rng(9).integers(3, size=(40, 2))
  actual = exact.log_shares(ids)
  for row in range(2):
    for place, symbol in enumerate(ids[:, row]):
      context = tuple(map(int, ids[max(0, place - order) : place, row]))
      want = math.log(chain[context][symbol])
      assert actual[place, row] == pytest.approx(want, abs=1e-12)


def test_states_are_one_hot_at_all_times():
  exact = exact_lib.network(exact_lib.markov(random_chain(3, 2)))
  ids = np.random.default_rng(1).integers(3, size=(30, 4))
  ids[0] = -1
  cell = cells.get("elman_relu")
  carry = elman.ElmanCarry(jnp.tile(exact.start, (4, 1)))
  _, hs = scan.unroll(cell.step, exact.params, carry, jnp.asarray(ids))
  np.testing.assert_array_equal(np.sort(hs, axis=-1)[..., -1], 1.0)
  np.testing.assert_array_equal(np.sum(hs, axis=-1), 1.0)


def test_a_state_that_several_symbols_enter_has_a_unit_for_each():
  source = exact_lib.Automaton(
    np.array([[1, 1, 0], [0, 1, 1]]),
    np.array([[0.2, 0.3, 0.5], [0.6, 0.3, 0.1]]),
    start=1,
  )
  exact = exact_lib.network(source)
  assert exact.units == 5  # (0, a) (0, c) (1, a) (1, b) (1, c), one the start
  ids = np.random.default_rng(2).integers(3, size=(50, 1))
  state, want = 1, []
  for symbol in ids[:, 0]:
    want.append(math.log(source.probabilities[state, symbol]))
    state = source.next_state[state, symbol]
  np.testing.assert_allclose(exact.log_shares(ids)[:, 0], want, atol=1e-12)


def test_tanh_is_exact_only_in_the_limit():
  chain = exact_lib.markov(random_chain(2, 2))
  exact = exact_lib.network(chain)
  ids = np.random.default_rng(3).integers(2, size=(60, 3))
  want = exact.log_shares(ids)
  gaps = [
    np.abs(exact_lib.saturated(exact, gain).log_shares(ids) - want).max()
    for gain in (3.0, 5.0, 8.0, 25.0)
  ]
  assert np.all(np.diff(gaps) < 0)
  assert gaps[0] > 1e-3
  assert gaps[-1] < 1e-14
