"""Drawn lines against a loop by hand, and where a line ends."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels import mixture_density as mixtures
from seqmodels.cells import window_lstm
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.sampling import handwriting

SYMBOLS, STEPS, ROWS = 6, 40, 3
TEXT = np.array([[1, 4, 2], [2, 0, 3], [5, -1, 3], [1, -1, -1]])  # [U, B]
PRIME = np.random.default_rng(3).normal(size=(6, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def trained():
  """A network whose window crosses its text within the steps drawn."""
  network = networks.Handwriting(
    recurrent.StackOptions(features=(5,), gradient_clip=10.0),
    symbols=SYMBOLS,
    components=3,
    window=2,
  ).as_model()
  params = jax.jit(network.init)(jax.random.key(0))
  layer = params["stack"]["layer_0"]
  layer["recurrent_kernel"] = 2.0 * layer["recurrent_kernel"]
  layer["window_bias"] = layer["window_bias"].at[-2:].set(-1.8)
  return network, params


@pytest.fixture(scope="module")
def write(trained):
  """Draws with one compiled program, whatever is asked for."""

  def go(key=0, *, text=TEXT, bias=0.0, **rest):
    return handwriting.write(
      *trained,
      jax.random.key(key),
      rows=ROWS,
      steps=STEPS,
      text=text,
      bias=bias,
      **rest,
    )

  return go


def same(one, other):
  jax.tree.map(np.testing.assert_array_equal, one, other)


def test_equal_keys_write_equal_lines(write):
  same(write(1), write(1))
  assert np.any(write(1).points != write(2).points)


@pytest.mark.parametrize("primed", [False, True])
def test_draws_equal_a_loop_by_hand(trained, write, primed):
  """The prime is clamped: the state is that after reading it, to the last."""
  network, params = trained
  prime, bias = (PRIME if primed else None), np.array([0.0, 0.5, 3.0])
  actual = write(4, bias=bias, prime=prime)
  read = jax.jit(
    lambda carry, x: network.apply(params, carry, x[None], jnp.array(TEXT))
  )
  carry, x = network.initial_carry(ROWS), np.zeros((ROWS, 3), np.float32)
  if primed:
    for following in PRIME:
      carry, _ = read(carry, x)
      x = np.tile(following, (ROWS, 1))
  for t, key in enumerate(jax.random.split(jax.random.key(4), STEPS)):
    carry, outputs = read(carry, x)
    density = mixtures.mixture(outputs[0], bias=jnp.array(bias)[:, None])
    x = mixtures.sample(key, density)
    np.testing.assert_allclose(actual.points[t], x, rtol=1e-4, atol=1e-4)
    phi = window_lstm.window_weights(
      network.window(params, carry), window_lstm.positions(len(TEXT) + 1)
    )
    np.testing.assert_allclose(actual.window[t], phi, rtol=1e-3, atol=1e-5)


def test_a_prime_is_no_part_of_what_is_written(write):
  actual, plain = write(prime=PRIME), write()
  assert actual.points.shape == plain.points.shape == (STEPS, ROWS, 3)
  assert np.any(actual.points != plain.points)
  nothing = write(prime=np.zeros((0, 3)))
  same(nothing, plain)


def test_a_line_ends_where_the_window_has_left_its_text(write):
  """phi(t, U + 1) > phi(t, u) for all u <= U: point t is not drawn."""
  actual = write()
  for b, text in enumerate(TEXT.T):
    end = int((text >= 0).sum())
    left = [
      t
      for t, phi in enumerate(actual.window[:, b])
      if all(phi[end] > phi[u] for u in range(end))
    ]
    assert actual.lengths[b] == left[0]
    assert 0 < left[0] < STEPS
  assert actual.stopped.tolist() == [True] * ROWS
  assert len(set(actual.lengths.tolist())) > 1


def test_the_window_is_that_of_reading_the_written_line(trained, write):
  actual = write()
  for b, text in enumerate(TEXT.T):
    seen = evaluation.trace(*trained, actual.points[:, b], text).window
    np.testing.assert_allclose(
      actual.window[:, b, : len(text)], seen, rtol=1e-3, atol=1e-5
    )


def test_lines_do_not_know_of_the_lines_beside_them(write):
  text = TEXT.copy()
  text[:2, 1] = 5, 3
  one, other = write(), write(text=text, bias=np.array([0.0, 2.0, 0.0]))
  np.testing.assert_array_equal(one.points[:, ::2], other.points[:, ::2])
  np.testing.assert_array_equal(one.lengths[::2], other.lengths[::2])
  assert np.any(one.points[:, 1] != other.points[:, 1])


def test_a_line_alone_is_its_points_with_the_pen_lifted_at_last(write):
  actual = write()
  line = actual.line(1)
  assert line.shape == (actual.lengths[1], 3)
  assert line[-1, 2] == 1
  np.testing.assert_array_equal(line[:-1], actual.points[: len(line) - 1, 1])
  line[:] = 0  # a copy
  assert np.any(actual.points[: len(line), 1])


def test_the_largest_bias_leaves_the_likeliest_line(trained):
  """Two keys agree with each other, and with the means fed back by hand."""
  network, params = trained
  # Components apart from each other, and a pen that never lifts.
  bias = jnp.zeros(19).at[:4].set(jnp.array([30.0, 3.0, 0.0, -3.0]))
  sure = {**params, "head": {**params["head"], "bias": bias}}
  one, other = (
    handwriting.write(
      network,
      sure,
      jax.random.key(key),
      rows=1,
      steps=12,
      text=TEXT[:, :1],
      bias=handwriting.LARGEST_BIAS,
    ).points
    for key in (0, 1)
  )
  assert np.any(one != other)
  np.testing.assert_allclose(one, other, atol=2e-3)
  expected = np.zeros((13, 1, 3), np.float32)
  step = jax.jit(network.apply)
  carry = network.initial_carry(1)
  for t in range(12):
    carry, outputs = step(sure, carry, expected[t][None], TEXT[:, :1])
    raw = np.asarray(outputs[0, 0])
    best = raw[1:4].argmax()
    expected[t + 1, 0, :2] = raw[4 + best], raw[7 + best]
  np.testing.assert_allclose(one, expected[1:], atol=2e-3)


# A pen that goes nowhere, and whose window moves by `speed` at every step.
def _walk(speed, carry, inputs, text, reset=None):
  del text, reset
  return carry + speed * len(inputs), jnp.zeros((*inputs.shape[:2], 7))


WALKER = networks.SequenceModel(
  apply=_walk,
  initial_carry=jnp.zeros,
  init=lambda key: jnp.float32(1),
  components=1,
  window=lambda params, kappa: window_lstm.Window(
    *(jnp.ones((len(kappa), 1)),) * 2, kappa[:, None]
  ),
  vocabulary_size=SYMBOLS,
)
walk = functools.partial(handwriting.write, WALKER, key=jax.random.key(0))


@pytest.mark.parametrize("primed", [0, 5])
@pytest.mark.parametrize("speed", [0.25, 0.3, 1.0])
def test_a_window_of_known_speed_stops_where_it_must(speed, primed):
  """After t steps it is at t speed; left beyond U + 1/2, not on it (1/4)."""
  actual = walk(speed, rows=3, steps=40, text=TEXT, prime=PRIME[:primed])
  for b, end in enumerate((4, 2, 3)):
    # The null vector is read as well, hence one point less than steps.
    expected = math.floor((end + 0.5) / speed) - primed
    assert actual.lengths[b] == max(expected, 0)
    assert actual.stopped[b]


def test_a_window_that_does_not_leave_is_cut():
  actual = walk(0.01, rows=3, steps=20, text=TEXT)
  assert actual.lengths.tolist() == [20] * 3
  assert actual.stopped.tolist() == [False] * 3


def test_a_window_past_its_text_from_the_first_writes_nothing():
  actual = walk(9.0, rows=3, steps=20, text=TEXT)
  assert actual.lengths.tolist() == [0] * 3
  assert actual.line(0).shape == (0, 3)


def test_without_a_window_lines_are_as_long_as_asked():
  network = WALKER._replace(window=None, vocabulary_size=0)
  actual = handwriting.write(
    network, 1.0, jax.random.key(0), rows=2, steps=5, prime=PRIME
  )
  assert actual.points.shape == (5, 2, 3)
  assert actual.lengths.tolist() == [5, 5]
  assert actual.stopped.tolist() == [False, False]
  assert actual.window is None


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"bias": -0.1}, "the bias is -0.1; it must be from 0"),
    ({"bias": 11.0}, "the bias is 11; it must be from 0"),
    ({"bias": math.nan}, "the bias is nan; it must be from 0"),
    ({"bias": math.inf}, "the bias is inf; it must be from 0"),
    ({"bias": np.array([0.0, 1.0, -2.0])}, "the bias is -2; it must be"),
    ({"steps": 0}, "a line may have 0 points; allow at least 1"),
    ({"steps": -3}, "a line may have -3 points; allow at least 1"),
    ({"text": None}, "this network writes texts; give it one"),
  ],
)
def test_what_cannot_be_meant_is_told_in_one_sentence(changes, words):
  settings = {"rows": 3, "steps": 5, "text": TEXT, **changes}
  with pytest.raises(errors.UserError) as caught:
    walk(1.0, **settings)
  assert str(caught.value).startswith(words)
  assert "\n" not in str(caught.value)
