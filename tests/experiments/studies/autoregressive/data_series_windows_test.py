import numpy as np
import pytest

from experiments.studies.autoregressive import data
from seqmodels import errors


def numbers(count):
  return np.random.default_rng(0).normal(size=count)


def test_a_window_stands_before_its_label():
  xs, tau = numbers(1000), 4
  pairs = data.windows(xs, tau)
  assert pairs.features.shape == (996, 4)
  for i in (0, 1, 500, 995):
    assert pairs.labels[i] == xs[i + tau] == xs[pairs.times[i]]
    for j in range(tau):
      assert pairs.features[i, j] == xs[i + j]


@pytest.mark.parametrize(("ahead", "tau"), [(1, 1), (3, 2), (64, 4)])
def test_labels_lie_ahead(ahead, tau):
  xs = numbers(100)
  pairs = data.windows(xs, tau, ahead=ahead)
  assert len(pairs.labels) == 100 - tau - ahead + 1
  np.testing.assert_array_equal(pairs.features[:, -1], xs[tau - 1 : -ahead])
  np.testing.assert_array_equal(pairs.labels, xs[tau + ahead - 1 :])


def test_padding_gives_the_first_values_windows_of_zeros():
  xs = numbers(6)
  pairs = data.windows(xs, 3, padded=True)
  np.testing.assert_array_equal(pairs.labels, xs)
  np.testing.assert_array_equal(pairs.times, np.arange(6))
  np.testing.assert_array_equal(pairs.features[0], np.zeros(3))
  np.testing.assert_array_equal(pairs.features[2], [0, xs[0], xs[1]])
  np.testing.assert_array_equal(
    pairs.features[3:], data.windows(xs, 3).features
  )


def test_neighbours_stand_where_they_are_told():
  xs = numbers(30)
  pairs = data.neighbours(xs, [-3, -1, 2])
  assert pairs.times[0] == 3
  assert pairs.times[-1] == 27
  for i in range(len(pairs.times)):
    t = pairs.times[i]
    assert pairs.labels[i] == xs[t]
    assert list(pairs.features[i]) == [xs[t - 3], xs[t - 1], xs[t + 2]]


def test_windows_are_neighbours_of_the_past():
  xs = numbers(40)
  for ours, theirs in zip(
    data.windows(xs, 3, ahead=2),
    data.neighbours(xs, [-4, -3, -2]),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 600, 995])
def test_nothing_learned_from_is_later_than_what_is_judged(count):
  pairs = data.windows(numbers(1000), 4)
  past, future = data.split(pairs, count)
  assert len(past.labels) == count
  assert len(future.labels) == 996 - count
  assert past.times.max() < future.times.min()


def test_an_epoch_shows_everything_once():
  order = data.shuffled(
    600, batch=16, epochs=3, random=np.random.default_rng(0)
  )
  assert order.shape == (3 * 38, 16)
  epochs = order.reshape(3, -1)
  for epoch in epochs:
    assert sorted(epoch[epoch >= 0]) == list(range(600))
  assert np.all(epochs[:, -8:] == -1)
  assert not np.array_equal(epochs[0], epochs[1])


def test_stretches_carry_their_targets():
  xs = numbers(20)
  starts = np.array([[0, 14], [3, -1]])
  cut = data.segments(xs, starts, length=5, scored=2)
  assert cut.inputs.shape == (2, 5, 2)
  for step, column, start in ((0, 0, 0), (0, 1, 14), (1, 0, 3)):
    np.testing.assert_allclose(
      cut.inputs[step, :, column], xs[start : start + 5], rtol=1e-6
    )
    np.testing.assert_allclose(
      cut.targets[step, :, column], xs[start + 1 : start + 6], rtol=1e-6
    )
    assert cut.mask[step, :, column].tolist() == [False] * 3 + [True] * 2
  assert not cut.mask[1, :, 1].any()


@pytest.mark.parametrize(
  ("call", "words"),
  [
    (lambda: data.windows(np.array([]), 4), "has 0 values"),
    (lambda: data.windows(numbers(9), 0), "window of 0"),
    (lambda: data.windows(numbers(9), 9), "takes 10"),
    (lambda: data.windows(numbers(9), 20), "takes 21"),
    (lambda: data.windows(numbers(9), 4, ahead=0), "0 steps"),
    (lambda: data.windows(numbers(9), 4, ahead=6), "takes 10"),
    (
      lambda: data.windows(np.array([]), 4, padded=True),
      "has 0 values",
    ),
    (lambda: data.neighbours(numbers(9), []), "0 positions"),
    (lambda: data.neighbours(numbers(9), [-1, 0]), "none of them"),
    (lambda: data.neighbours(numbers(9), [-5, 5]), "take 11"),
    (
      lambda: data.split(data.windows(numbers(9), 4), 5),
      "from 1 to 4",
    ),
    (
      lambda: data.split(data.windows(numbers(9), 4), 0),
      "from 1 to 4",
    ),
    (
      lambda: data.shuffled(
        0, batch=2, epochs=1, random=np.random.default_rng()
      ),
      "out of 0",
    ),
    (
      lambda: data.segments(numbers(9), np.array([[5]]), length=4, scored=1),
      "ends at 9",
    ),
  ],
)
def test_bad_input_is_named(call, words):
  with pytest.raises(errors.UserError, match=words):
    call()
