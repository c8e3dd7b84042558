"""Nats to what is reported: bits and perplexity."""

import math

import pytest

from seqmodels import units


def test_a_fair_coin_costs_one_bit_and_has_perplexity_two():
  nats = 10 * math.log(2)
  assert units.bits(nats) == pytest.approx(10)
  assert units.bits_per_symbol(nats, 10) == pytest.approx(1)
  assert units.perplexity(nats, 10) == pytest.approx(2)


def test_nothing_scored_is_nan_and_not_a_good_score():
  assert math.isnan(units.bits_per_symbol(0.0, 0))
  assert math.isnan(units.perplexity(0.0, 0))


@pytest.mark.parametrize("nats", [710.0, 1e6, math.inf])
def test_a_hopeless_model_has_infinite_perplexity_without_overflow(nats):
  assert units.perplexity(nats, 1) == math.inf


def test_a_broken_model_stays_nan():
  assert math.isnan(units.perplexity(math.nan, 1))
  assert math.isnan(units.bits_per_symbol(math.nan, 1))
