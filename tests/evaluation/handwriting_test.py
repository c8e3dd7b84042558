"""Totals over lines do not depend on how the lines are laid side by side."""

import json
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import losses
from seqmodels import mixture_density as mixtures
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.models import networks

COUNT, LENGTHS = 2, (3, 9, 1, 6, 6, 4, 8)
RANDOM = np.random.default_rng(0)
POINTS = [
  np.column_stack([RANDOM.normal(size=(n, 2)), RANDOM.random(n) < 0.3])
  for n in LENGTHS
]
TEXTS = [RANDOM.integers(0, 9, 1 + n // 2) for n in LENGTHS]


class Lines(NamedTuple):
  """Not the library's type: any tuple of these fields must do."""

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  text: np.ndarray
  reset: np.ndarray | None = None


def _apply(params, carry, inputs, text, reset=None):
  """Outputs know all inputs up to now, and the text."""
  del reset  # whoever scores whole lines begins with a cleared carry
  sums = carry[None] + jnp.cumsum(inputs, axis=0)
  letters = jnp.sum(jnp.where(text >= 0, jnp.sin(text + 1.0), 0.0), axis=0)
  letters = jnp.broadcast_to(letters[None, :, None], (*inputs.shape[:2], 1))
  return sums[-1], jnp.concatenate([inputs, sums, letters], -1) @ params


NETWORK = networks.SequenceModel(
  apply=_apply,
  initial_carry=lambda batch: jnp.zeros((batch, 3)),
  init=lambda key: 0.2 * jax.random.normal(key, (7, mixtures.outputs(COUNT))),
  vocabulary_size=0,
  loss=losses.of_points,
  reads=networks.points_and_text,
  components=COUNT,
)
PARAMS = NETWORK.init(jax.random.key(0))


def laid_out(batch, *, steps=0, letters=0, order=None):
  """All lines, `batch` at a time, the last ones among empty rows."""
  order = list(order or range(len(LENGTHS)))
  for first in range(0, len(order), batch):
    rows = order[first : first + batch]
    longest = max(LENGTHS[row] for row in rows)
    inputs = np.zeros((max(steps, longest), batch, 3), np.float32)
    targets, mask = np.full_like(inputs, np.nan), np.zeros(inputs.shape[:2])
    text = np.full((max(letters, 6), batch), -1, np.int32)
    for column, row in enumerate(rows):
      points = POINTS[row]
      inputs[1 : len(points), column] = points[:-1]
      targets[: len(points), column] = points
      mask[: len(points), column] = 1
      text[: len(TEXTS[row]), column] = TEXTS[row]
    yield Lines(inputs, targets, mask.astype(bool), text)


def by_hand():
  """The totals, line by line and point by point in NumPy."""
  params = np.asarray(PARAMS, np.float64)
  actual = dict.fromkeys(
    ("nats", "squared", "squared_likeliest", "errors"), 0.0
  )
  for points, text in zip(POINTS, TEXTS, strict=True):
    inputs = np.concatenate([np.zeros((1, 3)), points[:-1]])
    letters = np.full((len(points), 1), np.sin(text + 1).sum())
    features = [inputs, np.cumsum(inputs, axis=0), letters]
    for raw, point in zip(
      np.concatenate(features, axis=1) @ params, points, strict=True
    ):
      e = 1 / (1 + np.exp(raw[0]))
      pi, mx, my, sx, sy, r = np.split(raw[1:], 6)
      pi = np.exp(pi) / np.exp(pi).sum()
      sx, sy, rho = np.exp(sx), np.exp(sy), np.tanh(r)
      dx, dy = (point[0] - mx) / sx, (point[1] - my) / sy
      z = (dx**2 + dy**2 - 2 * rho * dx * dy) / (2 * (1 - rho**2))
      density = np.exp(-z) / (2 * np.pi * sx * sy * np.sqrt(1 - rho**2))
      actual["nats"] -= np.log((pi * density).sum())
      actual["nats"] -= np.log(e if point[2] else 1 - e)
      best, mean = pi.argmax(), np.array([pi @ mx, pi @ my])
      actual["squared"] += np.sum((point[:2] - mean) ** 2)
      likeliest = np.array([mx[best], my[best]])
      actual["squared_likeliest"] += np.sum((point[:2] - likeliest) ** 2)
      actual["errors"] += (e > 0.5) != bool(point[2])
  return actual


@pytest.mark.parametrize(
  "layout",
  [
    {"batch": 1},
    {"batch": 3},
    {"batch": 16},
    {"batch": 3, "steps": 23, "letters": 11},
    {"batch": 4, "steps": 9, "order": (6, 2, 0, 5, 1, 4, 3)},
  ],
)
def test_totals_are_those_of_the_lines_however_they_are_laid_out(layout):
  actual = evaluation.evaluate(NETWORK, PARAMS, laid_out(**layout))
  assert actual.lines == len(LENGTHS)
  assert actual.count == sum(LENGTHS)
  totals = {**actual._asdict(), **actual.sums}
  for name, expected in by_hand().items():
    np.testing.assert_allclose(totals[name], expected, rtol=1e-5)


def test_means_are_over_lines_and_over_points():
  sums = {"lines": 4, "squared": 5.0, "squared_likeliest": 8.0}
  actual = evaluation.PointMetrics(nats=-30.0, count=20, sums=sums)
  assert actual.nats_per_sequence == -7.5
  assert actual.nats_per_point == -1.5
  assert actual.sse == 0.25
  assert actual.sse_likeliest == 0.4
  assert actual.half_sse == 0.2


def test_no_line_has_no_mean():
  empty = next(laid_out(2))
  empty = empty._replace(mask=np.zeros_like(empty.mask))
  for segments in ([], [empty]):
    actual = evaluation.evaluate(NETWORK, PARAMS, segments)
    assert (actual.lines, actual.count, actual.nats, actual.errors) == (
      0,
      0,
      0,
      0,
    )
    assert math.isnan(actual.nats_per_sequence)
    assert math.isnan(actual.sse)
    assert math.isnan(actual.half_sse)


def test_points_are_told_as_they_are_scored_and_may_end_it():
  told = []
  evaluation.evaluate(NETWORK, PARAMS, laid_out(3), callback=told.append)
  assert told == np.cumsum([13, 16, 8]).tolist()

  def stop(done):
    raise KeyboardInterrupt

  with pytest.raises(KeyboardInterrupt):
    evaluation.evaluate(NETWORK, PARAMS, laid_out(3), callback=stop)


def test_totals_are_plain_numbers_that_json_can_hold():
  actual = evaluation.evaluate(NETWORK, PARAMS, laid_out(16))
  assert json.loads(json.dumps(actual._asdict())) == actual._asdict()


def test_many_lines_lose_no_digits():
  """Sums over minibatches are float64: a million small ones still count."""
  segment = next(laid_out(16))
  once = evaluation.evaluate(NETWORK, PARAMS, [segment])
  often = evaluation.evaluate(NETWORK, PARAMS, [segment] * 300)
  assert often.lines == 300 * once.lines
  np.testing.assert_allclose(often.nats, 300 * once.nats, rtol=1e-12)
