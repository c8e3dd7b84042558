import itertools

import numpy as np
import pytest

from experiments.studies.autoregressive import data, models
from seqmodels import errors


def kernel(order, size=3, seed=0):
  return np.random.default_rng(seed).dirichlet(
    np.ones(size), size=(size,) * order
  )


def joint(matrix, length):
  """The stationary probability of every string of a chain, [V] * length."""
  order = matrix.ndim - 1
  shares = models.stationary(matrix)
  for _ in range(length - order):
    shares = shares[..., None] * matrix[(None,) * (shares.ndim - order)]
  return shares


@pytest.mark.parametrize("order", [1, 2, 3])
def test_what_the_chain_keeps_stays(order):
  matrix = kernel(order)
  shares = models.stationary(matrix)
  assert shares.shape == (3,) * order
  assert shares.sum() == pytest.approx(1)
  # One step on, the first symbol drops out.
  np.testing.assert_allclose(
    (shares[..., None] * matrix).sum(axis=0), shares, atol=1e-12
  )
  xs = data.markov_chain(matrix, 40_000, random=np.random.default_rng(1))
  found = np.bincount(xs, minlength=3) / len(xs)
  first = shares.sum(axis=tuple(range(1, order)))
  np.testing.assert_allclose(found, first, atol=0.02)


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
    found = models.entropy_rate(matrix, seen)
    assert found == pytest.approx(expected, abs=1e-10)
  # Beyond its order the past is of no use.
  assert entropy(order + 2) - entropy(order + 1) == pytest.approx(
    models.entropy_rate(matrix), abs=1e-10
  )


def test_a_sure_chain_has_no_entropy():
  cycle = np.roll(np.eye(4), 1, axis=1)
  assert models.entropy_rate(cycle) == 0
  assert models.entropy_rate(cycle, 0) == pytest.approx(np.log(4))


def test_steps_are_sums_over_paths():
  matrix = kernel(1)
  by_paths = np.zeros((3, 3))
  for a, b, c, d in itertools.product(range(3), repeat=4):
    by_paths[a, d] += matrix[a, b] * matrix[b, c] * matrix[c, d]
  np.testing.assert_allclose(models.n_step(matrix, 3), by_paths)
  np.testing.assert_array_equal(models.n_step(matrix, 0), np.eye(3))


@pytest.mark.parametrize("steps", [2, 5])
def test_steps_are_what_happens(steps):
  matrix = kernel(1)
  xs = data.markov_chain(matrix, 60_000, random=np.random.default_rng(1))
  power = models.n_step(matrix, steps)
  for now in range(3):
    later = xs[steps:][xs[:-steps] == now]
    found = np.bincount(later, minlength=3) / len(later)
    np.testing.assert_allclose(
      found, power[now], atol=4.5 * (0.25 / len(later)) ** 0.5
    )


def test_both_directions_give_every_string_the_same_probability():
  matrix = kernel(1)
  shares = models.stationary(matrix)
  back = models.reversed_kernel(matrix)
  np.testing.assert_allclose(back.sum(axis=1), 1)
  for string in itertools.product(range(3), repeat=4):
    forwards = shares[string[0]] * np.prod(
      [matrix[a, b] for a, b in itertools.pairwise(string)]
    )
    backwards = shares[string[-1]] * np.prod(
      [back[b, a] for a, b in itertools.pairwise(string)]
    )
    assert forwards == pytest.approx(backwards, rel=1e-10)
  np.testing.assert_allclose(models.reversed_kernel(back), matrix)


def test_a_symbol_that_never_comes_has_a_uniform_row():
  matrix = np.array([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
  back = models.reversed_kernel(matrix)
  np.testing.assert_allclose(back.sum(axis=1), 1)
  np.testing.assert_allclose(back[:2], 0.5 * np.array([[1, 1, 0]] * 2))


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
  found, value = models.most_likely(initial, matrix, scores)
  assert tuple(found) == path
  assert value == pytest.approx(best)


def test_impossible_steps_are_not_taken():
  cycle = np.roll(np.eye(3), 1, axis=1)
  path, value = models.most_likely(
    np.array([0.0, 1.0, 0.0]), cycle, np.zeros((5, 3))
  )
  assert path.tolist() == [1, 2, 0, 1, 2]
  assert value == 0


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: models.stationary(np.array([0.5, 0.5])), "two axes"),
    (lambda: models.stationary(np.full((2, 3), 1 / 3)), "one length"),
    (lambda: models.stationary(np.full((2, 2), 0.6)), "sum to 1"),
    (lambda: models.entropy_rate(kernel(2), 3), "give 0 to 2"),
    (lambda: models.entropy_rate(kernel(2), -1), "give 0 to 2"),
    (lambda: models.n_step(kernel(2), 3), "of order 2"),
    (lambda: models.n_step(kernel(1), -1), "-1 steps"),
    (lambda: models.reversed_kernel(kernel(2)), "of order 2"),
    (
      lambda: models.most_likely(
        np.full(3, 1 / 3), kernel(1), np.zeros((0, 3))
      ),
      "0 steps",
    ),
  ],
)
def test_bad_input_is_named(call, words):
  with pytest.raises(errors.UserError, match=words):
    call()
