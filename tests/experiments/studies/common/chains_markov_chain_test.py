import itertools

import numpy as np
import pytest

from experiments.studies.common import chains


def kernel(order, size=3, seed=0):
  return np.random.default_rng(seed).dirichlet(
    np.ones(size), size=(size,) * order
  )


def joint(matrix, length):
  """The stationary probability of every string of a chain, [V] * length."""
  order = matrix.ndim - 1
  shares = chains.stationary(matrix)
  for _ in range(length - order):
    shares = shares[..., None] * matrix[(None,) * (shares.ndim - order)]
  return shares


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_the_chain_keeps_stays(order):
  matrix = kernel(order)
  shares = chains.stationary(matrix)
  assert shares.shape == (3,) * order
  assert shares.sum() == pytest.approx(1)
  # One step on, the first symbol drops out.
  np.testing.assert_allclose(
    (shares[..., None] * matrix).sum(axis=0), shares, atol=1e-12
  )
  xs = chains.markov_chain(matrix, 40_000, random=np.random.default_rng(1))
  actual = np.bincount(xs, minlength=3) / len(xs)
  first = shares.sum(axis=tuple(range(1, order)))
  np.testing.assert_allclose(actual, first, atol=0.02)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_entropies_are_differences_of_blocks(order):
  matrix = kernel(order)

  def entropy(length):
    if not length:
      return 0.0
    shares = joint(matrix, max(length, order))
    shares = shares.sum(axis=tuple(range(length, shares.ndim)))
    return float(-(shares * np.log(shares)).sum())

  for seen in range(order + 1):
    expected = entropy(seen + 1) - entropy(seen)
    actual = chains.entropy_rate(matrix, seen)
    assert actual == pytest.approx(expected, abs=1e-10)
  # Beyond its order the past is of no use.
  assert entropy(order + 2) - entropy(order + 1) == pytest.approx(
    chains.entropy_rate(matrix), abs=1e-10
  )


def test_a_sure_chain_has_no_entropy():
  cycle = np.roll(np.eye(4), 1, axis=1)
  assert chains.entropy_rate(cycle) == 0
  assert chains.entropy_rate(cycle, 0) == pytest.approx(np.log(4))


def test_both_directions_give_every_string_the_same_probability():
  matrix = kernel(1)
  shares = chains.stationary(matrix)
  back = (shares[:, None] * matrix / shares).T  # pi(a) P(b | a) / pi(b)
  np.testing.assert_allclose(back.sum(axis=1), 1)
  for string in itertools.product(range(3), repeat=4):
    forwards = shares[string[0]] * np.prod(
      [matrix[a, b] for a, b in itertools.pairwise(string)]
    )
    backwards = shares[string[-1]] * np.prod(
      [back[b, a] for a, b in itertools.pairwise(string)]
    )
    assert forwards == pytest.approx(backwards, rel=1e-10)


@pytest.mark.parametrize("seed", range(4))
def test_the_best_path_is_the_best_of_all(seed):
  random = np.random.default_rng(seed)
  matrix, initial = kernel(1, seed=seed), random.dirichlet(np.ones(3))
  scores = random.normal(size=(6, 3))
  best, path = max(
    (
      np.log(initial[string[0]])
      + sum(np.log(matrix[a, b]) for a, b in itertools.pairwise(string))
      + sum(scores[step, symbol] for step, symbol in enumerate(string)),
      string,
    )
    for string in itertools.product(range(3), repeat=6)
  )
  actual, value = chains.most_likely(initial, matrix, scores)
  assert tuple(actual) == path
  assert value == pytest.approx(best)


def test_impossible_steps_are_not_taken():
  cycle = np.roll(np.eye(3), 1, axis=1)
  path, value = chains.most_likely(
    np.array([0.0, 1.0, 0.0]), cycle, np.zeros((5, 3))
  )
  assert path.tolist() == [1, 2, 0, 1, 2]
  assert value == 0
