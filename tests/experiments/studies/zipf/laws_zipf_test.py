"""Exponents recovered from laws that are known, growth counted by hand."""

import math

import numpy as np
import pytest

from experiments.studies.zipf import laws
from seqmodels import errors


def drawn(exponent, seed=0, types=5_000, tokens=33_000):
  shares = laws.law(exponent, types)
  random = np.random.default_rng(seed)
  return laws.ranked(np.bincount(random.choice(types, tokens, p=shares)))


@pytest.mark.parametrize("exponent", [0.0, 0.4, 1.0, 2.5])
def test_exact_frequencies_give_back_their_exponent(exponent):
  frequencies = 1e9 * laws.law(exponent, 300)
  assert laws.maximum_likelihood(frequencies).exponent == pytest.approx(
    exponent, abs=1e-9
  )
  fit = laws.least_squares(frequencies)
  assert fit.slope == pytest.approx(-exponent, abs=1e-9)
  assert fit.points == 300
  if exponent:
    assert fit.r_squared == pytest.approx(1)
  np.testing.assert_allclose(fit.at(np.arange(1, 301)), frequencies)


@pytest.mark.parametrize(
  ("exponent", "likeliest", "line"),
  [(0.7, 0.710, 0.831), (1.0, 0.988, 1.024), (1.3, 1.277, 1.133)],
)
def test_drawn_tokens_recover_it_by_likelihood_and_miss_it_by_lines(
  exponent, likeliest, line
):
  frequencies = drawn(exponent)
  actual = laws.maximum_likelihood(frequencies)
  assert actual.exponent == pytest.approx(exponent, abs=0.03)
  assert actual.exponent == pytest.approx(likeliest, abs=0.01)
  assert -laws.least_squares(frequencies).slope == pytest.approx(line, abs=0.02)


def test_the_likeliest_law_is_at_the_maximum_of_the_likelihood():
  frequencies = drawn(0.9, types=200, tokens=2_000)
  actual = laws.maximum_likelihood(frequencies)

  def nats(exponent):
    shares = laws.law(exponent, len(frequencies))
    return -(frequencies @ np.log(shares)) / frequencies.sum()

  assert actual.nats == pytest.approx(nats(actual.exponent))
  step = 1e-3
  low, middle, high = (nats(actual.exponent + d) for d in (-step, 0, step))
  assert middle < min(low, high)
  curvature = (low - 2 * middle + high) / step**2 * frequencies.sum()
  assert actual.standard_error == pytest.approx(curvature**-0.5, rel=1e-3)


def test_the_standard_error_is_the_spread_where_ranks_are_known():
  """Frequencies that stay in the order of their types: no sorting."""
  random, shares = np.random.default_rng(2), laws.law(1.0, 20)
  actual = [
    laws.maximum_likelihood(random.multinomial(3_000, shares))
    for _ in range(300)
  ]
  spread = np.std([one.exponent for one in actual])
  assert spread == pytest.approx(actual[0].standard_error, rel=0.15)


@pytest.mark.parametrize(("exponent", "shift"), [(1.1, 2.7), (0.8, 30.0)])
def test_exact_frequencies_give_back_their_shift(exponent, shift):
  frequencies = 1e9 * laws.law(exponent, 400, shift)
  ranks = np.arange(1, 401)
  np.testing.assert_allclose(
    frequencies / frequencies[0], ((ranks + shift) / (1 + shift)) ** -exponent
  )
  actual, law = laws.mandelbrot(frequencies)
  assert actual == pytest.approx(shift, rel=2e-3)
  assert law.exponent == pytest.approx(exponent, rel=1e-3)
  assert law.nats < laws.maximum_likelihood(frequencies).nats
  shares = frequencies / frequencies.sum()
  assert law.nats == pytest.approx(-float(shares @ np.log(shares)), rel=1e-9)


def test_without_a_shift_none_is_found():
  shift, law = laws.mandelbrot(1e9 * laws.law(1.0, 300))
  assert shift == pytest.approx(0, abs=1e-3)
  assert law.exponent == pytest.approx(1.0, abs=1e-3)
  # A head steeper than any power law of the rest: no shift helps.
  assert laws.mandelbrot(np.array([1000, 10, 9, 8, 7, 6]))[0] == 0.0


def test_limits_leave_ranks_out():
  frequencies = np.array([1000, 100, 50, 33, 25, 20, 1, 1, 1])
  every = laws.least_squares(frequencies)
  assert every.points == 9
  middle = laws.least_squares(frequencies, first=2, last=6)
  assert middle.points == 5
  assert laws.least_squares(frequencies, least_count=20).points == 6
  x, y = np.log(np.arange(2, 7)), np.log(frequencies[1:6])
  assert middle.slope == pytest.approx(np.polyfit(x, y, 1)[0])
  assert middle.r_squared == pytest.approx(np.corrcoef(x, y)[0, 1] ** 2)


def test_growth_counts_the_types_of_every_beginning():
  tokens = np.random.default_rng(3).choice(50, 400, p=laws.law(1.0, 50))
  lengths = np.arange(0, 401, 7)
  expected = [len(set(tokens[:n].tolist())) for n in lengths]
  assert laws.growth(tokens, lengths).tolist() == expected


def test_shuffled_growth_is_the_mean_over_shuffles():
  tokens = np.repeat(np.arange(8), [9, 5, 3, 2, 2, 1, 1, 1])
  random, lengths = np.random.default_rng(4), np.array([1, 3, 8, 15, 24])
  mean = np.mean(
    [laws.growth(random.permutation(tokens), lengths) for _ in range(4_000)],
    axis=0,
  )
  actual = laws.shuffled_growth(np.bincount(tokens), lengths)
  np.testing.assert_allclose(actual, mean, atol=0.05)
  assert actual[0] == pytest.approx(1)
  assert actual[-1] == pytest.approx(8)


def test_heaps_law_of_an_exact_power():
  lengths = np.array([10, 100, 1_000])
  fit = laws.line(lengths, 3.0 * lengths**0.6)
  assert (fit.slope, fit.intercept) == (
    pytest.approx(0.6),
    pytest.approx(math.log(3)),
  )


def test_no_variance_is_wholly_explained():
  assert laws.least_squares(np.array([2, 2, 2])).r_squared == 1.0


def test_too_little_to_fit():
  for fit in (laws.maximum_likelihood, laws.mandelbrot):
    with pytest.raises(errors.UserError, match="fitted to 1 symbols"):
      fit(np.array([3]))
  assert laws.least_squares(np.array([3])) is None
  assert laws.least_squares(np.ones(5), first=9) is None
