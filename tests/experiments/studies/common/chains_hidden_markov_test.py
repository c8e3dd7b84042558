import itertools

import numpy as np
import pytest

from experiments.studies.common import chains

STATES, SYMBOLS, LENGTH = 3, 4, 6


def random_model(seed=0, states=STATES, symbols=SYMBOLS):
  random = np.random.default_rng(seed)
  return chains.HiddenMarkov(
    random.dirichlet(np.ones(states)),
    random.dirichlet(np.ones(states), size=states),
    random.dirichlet(np.ones(symbols), size=states),
  )


def joint(model, states, symbols):
  """P(x, h), factor by factor."""
  actual = model.initial[states[0]]
  for before, after in itertools.pairwise(states):
    actual *= model.transition[before, after]
  for state, symbol in zip(states, symbols, strict=True):
    actual *= model.emission[state, symbol]
  return actual


def total(model, symbols):
  """P(x), over all ways of the states."""
  return sum(
    joint(model, states, symbols)
    for states in itertools.product(
      range(len(model.initial)), repeat=len(symbols)
    )
  )


@pytest.fixture(params=range(3))
def case(request):
  model = random_model(request.param)
  random = np.random.default_rng(100 + request.param)
  return model, random.integers(SYMBOLS, size=LENGTH)


def test_forward_and_backward_totals_are_the_enumeration(case):
  model, symbols = case
  expected = total(model, symbols)
  forward, backward = model.forward(symbols), model.backward(symbols)
  assert np.exp(-model.nats(symbols).sum()) == pytest.approx(
    expected, rel=1e-12
  )
  for place in range(LENGTH):
    here = np.exp(forward[place] + backward[place])
    here = (here * model.emission[:, symbols[place]]).sum()
    assert here == pytest.approx(expected, rel=1e-12)


def test_the_filter_predicts_every_next_symbol(case):
  model, symbols = case
  expected = [
    -np.log(
      total(model, symbols[: place + 1])
      / (total(model, symbols[:place]) if place else 1)
    )
    for place in range(LENGTH)
  ]
  np.testing.assert_allclose(model.nats(symbols), expected, rtol=1e-11)


def test_a_missing_symbol_has_the_enumerated_posterior(case):
  model, symbols = case
  actual = model.fill_in(symbols)
  for place in range(LENGTH):
    shares = []
    for symbol in range(SYMBOLS):
      changed = symbols.copy()
      changed[place] = symbol
      shares.append(total(model, changed))
    np.testing.assert_allclose(
      actual[place], np.array(shares) / sum(shares), atol=1e-14
    )


def test_states_have_the_enumerated_posterior_and_best_path(case):
  model, symbols = case
  ways = list(itertools.product(range(STATES), repeat=LENGTH))
  shares = np.array([joint(model, way, symbols) for way in ways])
  posterior = np.zeros((LENGTH, STATES))
  for way, share in zip(ways, shares, strict=True):
    posterior[np.arange(LENGTH), way] += share
  np.testing.assert_allclose(
    model.state_posterior(symbols), posterior / shares.sum(), rtol=1e-11
  )
  path, log = model.most_likely_states(symbols)
  assert tuple(path) == ways[shares.argmax()]
  assert np.exp(log) == pytest.approx(shares.max())


def test_all_strings_together_have_probability_one():
  model = random_model()
  actual = sum(
    np.exp(-model.nats(np.array(string)).sum())
    for string in itertools.product(range(SYMBOLS), repeat=4)
  )
  assert actual == pytest.approx(1, abs=1e-12)


def test_thousands_of_steps_do_not_underflow():
  model = random_model()
  _, symbols = model.sample(4000, np.random.default_rng(0))
  assert -model.nats(symbols).sum() < -745  # below what exp can hold
  assert np.all(np.isfinite(model.nats(symbols)))
  np.testing.assert_allclose(model.fill_in(symbols).sum(axis=1), 1)
  np.testing.assert_allclose(model.state_posterior(symbols).sum(axis=1), 1)
  logs = model.forward(symbols)[:-1] + model.backward(symbols)
  logs += np.log(model.emission.T[symbols])
  np.testing.assert_allclose(
    np.logaddexp.reduce(logs, axis=1), -model.nats(symbols).sum()
  )


def test_zeros_are_allowed():
  """A state that shows one symbol only, and one that is never left."""
  model = chains.HiddenMarkov(
    np.array([1.0, 0.0]),
    np.array([[0.5, 0.5], [0.0, 1.0]]),
    np.array([[1.0, 0.0], [0.0, 1.0]]),
  )
  nats = model.nats(np.array([0, 0, 1, 1]))
  np.testing.assert_allclose(nats, np.log([1, 2, 2, 1]), atol=1e-12)
  # 0 0 1 1 leaves the first state later than 0 1 1 1, at half its chance.
  np.testing.assert_allclose(
    model.fill_in(np.array([0, 0, 1, 1]))[1], [1 / 3, 2 / 3]
  )
  never = np.array([0, 1, 0, 1])
  assert -model.nats(never).sum() == -np.inf
  np.testing.assert_allclose(
    model.nats(never), [0, np.log(2), np.inf, np.inf], atol=1e-12
  )


def test_windows_approach_the_filter_only_as_they_grow():
  """By enumeration: H(x_{k+1} | x_1 .. x_k) of the stationary source."""
  stays, shows = 0.95, 0.8
  model = chains.HiddenMarkov(
    np.array([0.5, 0.5]),
    np.array([[stays, 1 - stays], [1 - stays, stays]]),
    np.array([[shows, 1 - shows], [1 - shows, shows]]),
  )
  actual = model.entropy_by_window(12)
  blocks = [0.0]
  for length in (1, 2, 3, 4):
    shares = np.array(
      [
        total(model, string)
        for string in itertools.product(range(2), repeat=length)
      ]
    )
    blocks.append(float(-(shares * np.log(shares)).sum()))
  np.testing.assert_allclose(actual[:4], np.diff(blocks), rtol=1e-10)
  assert np.all(np.diff(actual) < 0)
  _, symbols = model.sample(20_000, np.random.default_rng(0))
  nats = model.nats(symbols)
  # A mean over 20,000 symbols is good to about 0.01.
  assert nats.mean() == pytest.approx(actual[-1], abs=0.012)


def test_the_windows_of_a_source_start_from_what_its_chain_keeps():
  model = random_model()
  shares = chains.stationary(model.transition) @ model.emission
  expected = float(-(shares * np.log(shares)).sum())
  assert model.entropy_by_window(0)[0] == pytest.approx(expected)
