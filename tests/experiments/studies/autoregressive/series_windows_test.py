import numpy as np
import pytest

from experiments.studies.autoregressive import series


def numbers(count):
  return np.random.default_rng(0).normal(size=count)


def test_a_window_stands_before_its_label():
  xs, tau = numbers(1000), 4
  pairs = series.windows(xs, tau)
  assert pairs.features.shape == (996, 4)
  for i in (0, 1, 500, 995):
    assert pairs.labels[i] == xs[i + tau] == xs[pairs.times[i]]
    for j in range(tau):
      assert pairs.features[i, j] == xs[i + j]


@pytest.mark.parametrize(("ahead", "tau"), [(1, 1), (3, 2), (64, 4)])
def test_labels_lie_ahead(ahead, tau):
  xs = numbers(100)
  pairs = series.windows(xs, tau, ahead=ahead)
  assert len(pairs.labels) == 100 - tau - ahead + 1
  np.testing.assert_array_equal(pairs.features[:, -1], xs[tau - 1 : -ahead])
  np.testing.assert_array_equal(pairs.labels, xs[tau + ahead - 1 :])


def test_neighbours_stand_where_they_are_told():
  xs = numbers(30)
  pairs = series.neighbours(xs, [-3, -1, 2])
  assert pairs.times[0] == 3
  assert pairs.times[-1] == 27
  for i in range(len(pairs.times)):
    t = pairs.times[i]
    assert pairs.labels[i] == xs[t]
    assert list(pairs.features[i]) == [xs[t - 3], xs[t - 1], xs[t + 2]]


def test_windows_are_neighbours_of_the_past():
  xs = numbers(40)
  for ours, theirs in zip(
    series.windows(xs, 3, ahead=2),
    series.neighbours(xs, [-4, -3, -2]),
    strict=True,
  ):
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("count", [1, 600, 995])
def test_nothing_learned_from_is_later_than_what_is_judged(count):
  pairs = series.windows(numbers(1000), 4)
  past, future = pairs.split(count)
  assert len(past.labels) == count
  assert len(future.labels) == 996 - count
  assert past.times.max() < future.times.min()


def test_an_epoch_shows_every_segment_once():
  xs = numbers(40)
  cut = series.minibatches(
    xs,
    length=5,
    scored=2,
    batch=16,
    epochs=3,
    random=np.random.default_rng(0),
  )
  assert cut.inputs.shape == (3 * 3, 5, 16)
  firsts = []
  for epoch in range(3):
    inputs, targets, mask = (
      np.concatenate(leaf[3 * epoch : 3 * epoch + 3], axis=1) for leaf in cut
    )
    real = mask[-1]
    assert real.sum() == 35
    assert not mask[:, ~real].any()
    assert mask[:, real].T.tolist() == [[False] * 3 + [True] * 2] * 35
    # Inputs and targets are the series, from every place that has room.
    windows = np.lib.stride_tricks.sliding_window_view(xs, 6).astype(np.float32)
    actual = np.concatenate([inputs[:, real].T, targets[-1:, real].T], axis=1)
    np.testing.assert_array_equal(
      actual[np.lexsort(actual.T[::-1])], windows[np.lexsort(windows.T[::-1])]
    )
    np.testing.assert_array_equal(inputs[1:, real], targets[:-1, real])
    firsts.append(inputs[0, real].tolist())
  assert firsts[0] != firsts[1]
