"""Scores of handwriting networks, and statistics of what they write."""

import functools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels import errors, losses
from seqmodels import mixture_density as mixtures
from seqmodels.cells import window_lstm
from seqmodels.models import networks


class Trace(NamedTuple):
  """One line's densities, standardised units, and where the window stood.

  Attributes:
    weights: [T, M].
    means: [T, M, 2].
    deviations: [T, M, 2].
    correlations: [T, M].
    lifts: [T], probability that the point ends its stroke.
    window: [T, U], phi; None without a window.
  """

  weights: np.ndarray
  means: np.ndarray
  deviations: np.ndarray
  correlations: np.ndarray
  lifts: np.ndarray
  window: np.ndarray | None


def trace(
  network: networks.SequenceModel,
  params: Any,
  line: np.ndarray,
  text: np.ndarray | None = None,
) -> Trace:
  """Follows a line step by step.

  Args:
    network: the model.
    params: its weights.
    line: standardised points [T, 3].
    text: int [U], what the line says; for a network with a window.

  >>> from seqmodels.layers.recurrent import StackOptions
  >>> options = StackOptions(features=(4,))
  >>> network = networks.Handwriting(options, components=2).as_model()
  >>> params = network.init(jax.random.key(0))
  >>> trace(network, params, np.zeros((5, 3))).means.shape
  (5, 2, 2)
  """
  ids = np.zeros(0, np.int32) if text is None else text
  inputs = np.concatenate([np.zeros((1, 3)), line[:-1]]).astype(np.float32)
  states, phi = _follow(network, params, inputs, np.asarray(ids)[:, None])
  return Trace(
    weights=np.asarray(states.weights),
    means=np.stack([states.mean_x, states.mean_y], axis=-1),
    deviations=np.exp(
      np.stack([states.log_deviation_x, states.log_deviation_y], axis=-1)
    ),
    correlations=np.asarray(states.correlation),
    lifts=np.asarray(states.lift),
    window=None if phi is None else np.asarray(phi),
  )


@functools.partial(jax.jit, static_argnames=("network",))
def _follow(
  network: networks.SequenceModel,
  params: Any,
  inputs: jax.Array,
  text: jax.Array,
) -> tuple[mixtures.Mixture, jax.Array | None]:
  places = window_lstm.positions(text.shape[0])

  def step(carry: Any, x: jax.Array) -> tuple[Any, Any]:
    carry, outputs = network.apply(params, carry, x[None, None], text)
    phi = None
    if network.window is not None:
      window = network.window(params, carry)
      phi = window_lstm.window_weights(window, places)[0]
    return carry, (outputs[0, 0], phi)

  _, (outputs, phi) = jax.lax.scan(step, network.initial_carry(1), inputs)
  return mixtures.mixture(outputs), phi


# [T, 3] in raw units: x offset, y offset (y grows downwards), 1 where the pen
# lifts after the point. The pen starts at the origin, and down.
Ink = np.ndarray | Sequence[Sequence[float]]


class Statistics(NamedTuple):
  """Measurements of one line. Lengths are in the line's own unit.

  A drawn step is one that the pen makes while it is down: every step but those
  that follow a lift. A quantity of which a line has none is nan.

  Attributes:
    points: T, the origin not counted.
    strokes: stretches between lifts; one that ends the line unlifted counts.
    points_per_stroke: the two divided.
    path_length: of all drawn steps together.
    step_length: mean over the drawn steps.
    width: extent in x of all points and the origin.
    height: extent in y.
    turns: times that y changes its direction within a stroke, for each 100
      points; steps level in y change nothing.
    slant: degrees that downstrokes lean to the right of the vertical, the top
      farther right than the bottom. A downstroke is a run of drawn steps that
      all go down; counted are, of those within 45 degrees of the vertical, the
      ones no lower than their median; the slant is the direction of the sum of
      the ways from their tops to their bottoms, so long ones weigh more.
    points_per_character: points over the characters of the text, spaces
      included.
    width_per_character: the width over the same.
  """

  points: float
  strokes: float
  points_per_stroke: float
  path_length: float
  step_length: float
  width: float
  height: float
  turns: float
  slant: float
  points_per_character: float
  width_per_character: float


class Summary(NamedTuple):
  """One statistic over several lines.

  Attributes:
    mean: over the lines that have it; nan if none has.
    deviation: the standard deviation of the lines around it.
    lines: how many have it.
  """

  mean: float
  deviation: float
  lines: int


class Comparison(NamedTuple):
  """One statistic of two sets of lines.

  Attributes:
    first: of the one set, such as the real lines.
    second: of the other, such as generated ones.
    shift: the second mean less the first, in deviations of the first set: how
      unusual a line the second's average would be there. nan if the first set
      does not vary.
  """

  first: Summary
  second: Summary
  shift: float


def of_line(ink: Ink, text: str | None = None) -> Statistics:
  """Measures one line.

  Args:
    ink: `[T, 3]`.
    text: what is written there; without it, or if it is empty, quantities a
      character are nan.

  Raises:
    ValueError: not of the shape `[T, 3]`.
    errors.UserError: no point, or a number that is not finite.

  >>> found = of_line([[3, 4, 0], [3, -4, 1], [9, 0, 1]], text="vi")
  >>> found.strokes, found.path_length, found.step_length, found.width
  (2.0, 10.0, 5.0, 15.0)
  >>> round(found.slant, 2), found.width_per_character
  (-36.87, 7.5)
  """
  rows = np.asarray(ink, np.float64)
  if not rows.size:
    raise errors.UserError(
      "a line of ink to measure has 0 points; give at least 1, or leave the "
      "line out"
    )
  if rows.ndim != 2 or rows.shape[1] != 3:
    raise ValueError(f"ink has the shape {rows.shape}, not [T, 3]")
  if not np.isfinite(rows).all():
    step = int((~np.isfinite(rows)).any(axis=1).argmax())
    raise errors.UserError(
      f"point {step} of a line of ink is {rows[step].tolist()}; only finite "
      "numbers can be measured, so check what made them"
    )
  lifts = rows[:, 2] > 0.5
  drawn = np.concatenate([[True], ~lifts[:-1]])
  points, strokes = len(rows), int(lifts[:-1].sum()) + 1
  lengths = np.hypot(*rows[drawn, :2].T)
  places = np.concatenate([np.zeros((1, 2)), np.cumsum(rows[:, :2], axis=0)])
  width, height = np.ptp(places, axis=0).tolist()
  characters = len(text) if text else math.nan
  return Statistics(
    points=float(points),
    strokes=float(strokes),
    points_per_stroke=points / strokes,
    path_length=float(lengths.sum()),
    step_length=float(lengths.mean()),
    width=width,
    height=height,
    turns=100.0 * _turns(rows[:, 1], drawn) / points,
    slant=_slant(rows[:, :2], drawn),
    points_per_character=points / characters,
    width_per_character=width / characters,
  )


def describe(
  inks: Sequence[Ink], texts: Sequence[str] | None = None
) -> dict[str, Summary]:
  """Means and deviations over lines, by the names of `Statistics`.

  Every line counts alike, however long.

  Args:
    inks: `[T, 3]` each.
    texts: what is written, line by line, if known.

  Raises:
    ValueError: as many texts as lines there are not; and as `of_line`.
    errors.UserError: no line, and as `of_line`.

  >>> found = describe([[[3, 4, 1]], [[6, 8, 0], [0, 0, 1]]])
  >>> found["path_length"]
  Summary(mean=7.5, deviation=2.5, lines=2)
  >>> found["points_per_character"].lines
  0
  """
  if not len(inks):
    raise errors.UserError(
      "statistics were asked for of 0 lines of ink; give at least 1"
    )
  written = [None] * len(inks) if texts is None else texts
  measured = [
    of_line(ink, text) for ink, text in zip(inks, written, strict=True)
  ]
  return {
    name: _summary(values)
    for name, values in zip(
      Statistics._fields, np.array(measured).T, strict=True
    )
  }


def compare(
  first: Mapping[str, Summary], second: Mapping[str, Summary]
) -> dict[str, Comparison]:
  """Sets two descriptions side by side, leaving out what one of them lacks.

  >>> real = describe([[[3, 4, 1]], [[6, 8, 1]]])
  >>> compare(real, describe([[[9, 12, 1]]]))["path_length"].shift
  3.0

  Args:
    first: what `describe` says of one set, such as the real lines.
    second: of the other.
  """
  return {
    name: Comparison(
      summary,
      second[name],
      (second[name].mean - summary.mean) / summary.deviation
      if summary.deviation
      else math.nan,
    )
    for name, summary in first.items()
    if name in second and summary.lines and second[name].lines
  }


def _summary(values: np.ndarray) -> Summary:
  known = values[np.isfinite(values)]
  if not len(known):
    return Summary(math.nan, math.nan, 0)
  return Summary(float(known.mean()), float(known.std()), len(known))


def _turns(down: np.ndarray, drawn: np.ndarray) -> int:
  """Changes of direction in y, none across a lift."""
  stroke = np.cumsum(~drawn)
  moving = drawn & (down != 0)
  direction, stroke = np.sign(down[moving]), stroke[moving]
  same_stroke = stroke[1:] == stroke[:-1]
  return int(np.sum(same_stroke & (direction[1:] != direction[:-1])))


def _slant(steps: np.ndarray, drawn: np.ndarray) -> float:
  """Degrees to the right of the vertical, as `Statistics` defines it."""
  going = drawn & (steps[:, 1] > 0)
  # A run begins where its step goes down and the one before did not, or lay in
  # another stroke: `drawn` is false at the first step after a lift, so that
  # such a step is in no run and parts two.
  begins = going & ~np.concatenate([[False], going[:-1]])
  run = np.cumsum(begins) - 1
  count = int(begins.sum())
  across = np.bincount(run[going], steps[going, 0], minlength=count)
  down = np.bincount(run[going], steps[going, 1], minlength=count)
  steep = np.abs(across) <= down
  across, down = across[steep], down[steep]
  if not len(down):
    return math.nan
  high = down >= np.median(down)
  return math.degrees(math.atan2(-across[high].sum(), down[high].sum()))


Tree = Any


class PointMetrics(losses.Metrics):
  """Metrics of lines, whose positions are points; see `losses.of_points`."""

  @property
  def lines(self) -> int:
    """Lines with a scored point."""
    return int(self.sums.get("lines", 0))

  def _per_line(self, nats: float) -> float:
    return nats / self.lines if self.lines else math.nan

  @property
  def nats_per_sequence(self) -> float:
    """The log-loss of Tables 3 and 4: mean nats a line."""
    return self._per_line(self.nats)

  @property
  def coarse_nats_per_sequence(self) -> float:
    """The same without stddevs finer than the readings are."""
    return self._per_line(self.sums["coarse"])

  @property
  def nats_per_point(self) -> float:
    """Mean nats a point."""
    return self.nats_per_symbol

  @property
  def sse(self) -> float:
    """Mean squared error a point, of the mixture's mean."""
    return self.mean("squared")

  @property
  def sse_likeliest(self) -> float:
    """Mean squared error a point, of the likeliest component's mean."""
    return self.mean("squared_likeliest")

  @property
  def half_sse(self) -> float:
    """Half of `sse_likeliest`: probably the SSE of Tables 3 and 4.

    RNNLIB, the author's code, halves the squared error of a regression layer
    (`RegressionLayer.hpp`: `sumSquaresError *= 0.5`). Its mixture layer is not
    public. Of the mixture's mean and the likeliest component's mean, whole and
    halved, this is the one that agrees with the paper's 0.41 and 0.23 in
    networks of about its nats (0.382 and 0.235): an inference, about two in
    three likely to be right.

    Moves of the lifted pen are 3.6% of the validation points of IAM-OnDB and
    81.5% of the squares of their offsets: the figure says little of strokes.
    """
    return 0.5 * self.sse_likeliest


def evaluate(
  network: networks.SequenceModel,
  params: Tree,
  segments: Iterable[Any],
  *,
  callback: Callable[[int], None] | None = None,
) -> PointMetrics:
  """Metrics of all lines.

  Args:
    network: the model.
    params: its weights; only read.
    segments: minibatches with `inputs` and `targets` [T, B, 3], `mask` and
      `reset` [T, B] and `text` [U, B]; rows without a scored point are no
      lines.
    callback: called after each with the points scored so far; may raise.
  """
  start, metrics = time.perf_counter(), losses.Metrics()
  for segment in segments:
    metrics = metrics.merge(_score(network, params, segment).total())
    if callback is not None:
      callback(metrics.count)
  seconds = time.perf_counter() - start
  return PointMetrics(*metrics._replace(seconds=seconds))


@functools.partial(jax.jit, static_argnames=("network",))
def _score(
  network: networks.SequenceModel, params: Tree, segment: Any
) -> losses.Metrics:
  carry = network.initial_carry(segment.mask.shape[1])
  return network.score(params, carry, segment)[1][1]
