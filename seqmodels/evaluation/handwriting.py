"""Evaluation of a pen network: every line once, with fixed weights."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.losses import ink
from seqmodels.models import pen_network

Tree = Any


@dataclasses.dataclass(frozen=True)
class Totals:
  """Sums over lines. Python floats, hence float64.

  Attributes:
    nats: of all lines, equation (26) of Graves (2013).
    lines: how many there are.
    points: scored points of all of them.
    squared: errors of the mixture's mean, x and y together, standardised units.
    squared_likeliest: the same of the mean of the likeliest component.
    wrong: points where the pen's lifting was guessed wrongly.
    coarse_nats: of all lines, with no deviation below the finest asked for.
    seconds: wall time, compilation included.
  """

  nats: float = 0.0
  lines: int = 0
  points: int = 0
  squared: float = 0.0
  squared_likeliest: float = 0.0
  wrong: int = 0
  coarse_nats: float = 0.0
  seconds: float = 0.0

  @property
  def nats_per_sequence(self) -> float:
    """The log-loss of Tables 3 and 4: mean nats a line."""
    return self.nats / self.lines if self.lines else math.nan

  @property
  def coarse_nats_per_sequence(self) -> float:
    """The same without deviations finer than the readings are."""
    return self.coarse_nats / self.lines if self.lines else math.nan

  @property
  def nats_per_point(self) -> float:
    """Mean nats a point."""
    return self.nats / self.points if self.points else math.nan

  @property
  def sse(self) -> float:
    """Mean squared error a point, of the mixture's mean."""
    return self.squared / self.points if self.points else math.nan

  @property
  def sse_likeliest(self) -> float:
    """Mean squared error a point, of the likeliest component's mean."""
    return self.squared_likeliest / self.points if self.points else math.nan

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
  network: pen_network.PenNetwork,
  params: Tree,
  segments: Iterable[Any],
  *,
  finest: tuple[float, float] | None = None,
  callback: Callable[[int], None] | None = None,
) -> Totals:
  """Totals of all lines.

  Args:
    network: the model.
    params: its weights; only read.
    segments: minibatches with `inputs` and `targets` [T, B, 3], `mask` [T, B]
      and `text` [U, B]; rows without a scored point are no lines.
    finest: of x and y, see `losses.ink.by_position`.
    callback: called after each with the points scored so far; may raise.
  """
  start = time.perf_counter()
  sums = np.zeros(5)
  lines = points = 0
  for segment in segments:
    mask = np.asarray(segment.mask)
    sums += np.asarray(
      jax.device_get(
        _scores(
          network,
          params,
          segment.inputs,
          segment.targets,
          segment.mask,
          segment.text,
          finest,
        )
      ),
      np.float64,
    )
    lines += int(np.sum(mask.any(axis=0)))
    points += int(mask.sum())
    if callback is not None:
      callback(points)
  return Totals(
    nats=float(sums[0]),
    lines=lines,
    points=points,
    squared=float(sums[1]),
    squared_likeliest=float(sums[2]),
    wrong=round(float(sums[3])),
    coarse_nats=float(sums[4]),
    seconds=time.perf_counter() - start,
  )


@functools.partial(jax.jit, static_argnames=("network", "finest"))
def _scores(
  network: pen_network.PenNetwork,
  params: Tree,
  inputs: jax.Array,
  targets: jax.Array,
  mask: jax.Array,
  text: jax.Array,
  finest: tuple[float, float] | None,
) -> tuple[jax.Array, ...]:
  carry = network.initial_carry(inputs.shape[1])
  _, outputs = network.apply(params, carry, inputs, text)
  scores = ink.by_position(outputs, targets, mask, finest=finest)
  # Lines first: sums of like size round less than one over all points.
  return tuple(
    jnp.sum(jnp.sum(values, axis=0, dtype=jnp.float32))
    for values in (
      scores.nats,
      scores.squared,
      scores.squared_likeliest,
      scores.wrong,
      scores.coarse,
    )
  )
