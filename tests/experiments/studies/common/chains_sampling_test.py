import collections

import numpy as np
import pytest

from experiments.studies.common import chains


def rng(seed=0):
  return np.random.default_rng(seed)


@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_a_chain_follows_its_kernel(order):
  kernel = rng(1).dirichlet(np.ones(3), size=(3,) * order)
  xs = chains.markov_chain(kernel, 60_000, random=rng(2))
  counts = np.zeros((3,) * (order + 1))
  for start in range(len(xs) - order):
    counts[tuple(xs[start : start + order + 1])] += 1
  totals = counts.sum(axis=-1, keepdims=True)
  wrong = np.abs(counts / totals - kernel)
  assert np.all(wrong < 4.5 * np.sqrt(0.25 / totals))


def test_a_chain_begins_as_it_is_told():
  kernel = np.full((2, 2, 2), 0.5)
  initial = np.array([[0.0, 0.75], [0.25, 0.0]])
  firsts = collections.Counter(
    tuple(chains.markov_chain(kernel, 5, random=rng(i), initial=initial)[:2])
    for i in range(800)
  )
  assert set(firsts) == {(0, 1), (1, 0)}
  assert firsts[0, 1] / 800 == pytest.approx(0.75, abs=0.06)


def test_a_chain_may_be_shorter_than_its_order():
  kernel = np.full((2, 2, 2, 2), 0.5)
  assert len(chains.markov_chain(kernel, 2, random=rng())) == 2


def test_hidden_states_show_symbols():
  transition = np.array([[0.9, 0.1], [0.3, 0.7]])
  emission = np.array([[0.2, 0.5, 0.3], [0.0, 0.1, 0.9]])
  model = chains.HiddenMarkov(np.array([1.0, 0.0]), transition, emission)
  states, symbols = model.sample(50_000, rng())
  assert states[0] == 0
  assert np.mean(states == 1) == pytest.approx(0.25, abs=0.02)
  for state in (0, 1):
    shown = np.bincount(symbols[states == state], minlength=3)
    np.testing.assert_allclose(shown / shown.sum(), emission[state], atol=0.012)
  assert 0 not in symbols[states == 1]
