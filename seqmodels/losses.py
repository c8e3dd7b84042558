"""Losses, and the metrics that they return: sums with counts, never means.

A loss is a function of a model's outputs and of the segment that they are of:

    (outputs, segment) -> (loss [B], Metrics)

What is minimised, by stream, and what is reported. They are two things: label
smoothing, say, changes the first and not the second. Training, static and
dynamic evaluation all take a model's own loss
(`models.networks.SequenceModel`), so a sum that a loss adds to its metrics
shows in all of them.
"""

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import mixture_density as mixtures
from seqmodels import units
from seqmodels.cells import ops


class Metrics(NamedTuple):
  """Sums over scored positions, divided by their count once, at the end.

  On a device they are arrays of one shape, such as `[K]` of K segments; after
  `total` they are numbers of Python.

  Attributes:
    nats: the cross-entropy.
    count: scored positions: symbols of a text, points of a line.
    errors: positions where the likeliest outcome was not the true one.
    sums: further sums by name.
    seconds: wall time of an evaluation, its compilation included.

  >>> half = Metrics(nats=10 * math.log(2.0), count=5, errors=1)
  >>> whole = half.merge(half)
  >>> whole.count, whole.bits_per_symbol, whole.error_rate
  (10, 2.0, 0.2)
  >>> round(whole.perplexity, 12)
  4.0
  """

  nats: Any = 0.0
  count: Any = 0
  errors: Any = 0
  sums: Mapping[str, Any] = {}
  seconds: Any = 0.0

  def merge(self, other: "Metrics") -> "Metrics":
    """The metrics of both parts together."""
    sums = {
      name: self.sums.get(name, 0.0) + other.sums.get(name, 0.0)
      for name in (*self.sums, *other.sums)
    }
    return type(self)(
      self.nats + other.nats,
      self.count + other.count,
      self.errors + other.errors,
      sums,
      self.seconds + other.seconds,
    )

  def total(self) -> "Metrics":
    """The sums over all axes, taken in float64 on the host.

    >>> Metrics(np.float32([1.5, 2.5]), np.int32([2, 3]), np.zeros(2)).total()
    Metrics(nats=4.0, count=5, errors=0, sums={}, seconds=0.0)
    """
    host = jax.device_get(self)
    return type(self)(
      float(np.sum(host.nats, dtype=np.float64)),
      int(np.sum(host.count, dtype=np.int64)),
      int(np.sum(host.errors, dtype=np.int64)),
      {
        name: float(np.sum(values, dtype=np.float64))
        for name, values in host.sums.items()
      },
      float(np.sum(host.seconds)),
    )

  def mean(self, name: str) -> float:
    """The mean of one of `sums` over the positions; `nan` without any."""
    return self.sums[name] / self.count if self.count else math.nan

  @property
  def nats_per_symbol(self) -> float:
    """Mean nats a position; `nan` when nothing was scored."""
    return self.nats / self.count if self.count else math.nan

  @property
  def bits_per_symbol(self) -> float:
    """Mean bits a symbol: bits per character or per byte where they are."""
    return units.bits_per_symbol(self.nats, self.count)

  @property
  def perplexity(self) -> float:
    """exp of the mean nats a symbol."""
    return units.perplexity(self.nats, self.count)

  @property
  def error_rate(self) -> float:
    """Share of wrong first guesses, 0 to 1."""
    return self.errors / self.count if self.count else math.nan

  @property
  def finite(self) -> bool:
    """True if the nats are a number: an evaluation that learns can diverge."""
    return math.isfinite(self.nats)


def of_symbols(logits: jax.Array, segment: Any) -> tuple[jax.Array, Metrics]:
  """The cross-entropy of every stream of symbols.

  Args:
    logits: `[T, B, V]`.
    segment: with `targets` and `mask`, both `[T, B]`.

  Returns:
    Nats of each stream, float32 `[B]`, and the metrics of all, scalars.
  """
  nats, wrong = cross_entropy(logits, segment.targets, segment.mask)
  return _by_stream(nats, wrong, segment.mask)


def of_points(
  outputs: jax.Array,
  segment: Any,
  *,
  output_clip: float | None = None,
  finest: tuple[float, float] | None = None,
) -> tuple[jax.Array, Metrics]:
  """The mixture density's loss of every line, or of a segment of it.

  Args:
    outputs: `[T, B, 6M + 1]`.
    segment: with `targets` `[T, B, 3]` and `mask` `[T, B]`.
    output_clip: bound on each derivative of the nats with respect to an output.
    finest: see `mixture_density_nll`.

  Returns:
    Nats of each line, float32 `[B]`, and the metrics of all, whose sums are
    `lines` with a scored point, `squared`, `squared_likeliest` and, where
    `finest` is given, `coarse`, as in `PointScores`.
  """
  scores = mixture_density_nll(
    outputs,
    segment.targets,
    segment.mask,
    output_clip=output_clip,
    finest=finest,
  )
  nats, metrics = _by_stream(scores.nats, scores.wrong, segment.mask)
  sums = {
    "squared": scores.squared,
    "squared_likeliest": scores.squared_likeliest,
    **({} if finest is None else {"coarse": scores.coarse}),
  }
  # Lines first: sums of like size round less than one over all points.
  added = {name: jnp.sum(jnp.sum(x, axis=0)) for name, x in sums.items()}
  added["lines"] = jnp.sum(jnp.any(segment.mask, axis=0), dtype=jnp.int32)
  return nats, metrics._replace(sums=added)


def _by_stream(
  nats: jax.Array, wrong: jax.Array, mask: jax.Array
) -> tuple[jax.Array, Metrics]:
  """The costs of positions [T, B], by stream and together."""
  by_stream = jnp.sum(nats, axis=0)
  return by_stream, Metrics(
    jnp.sum(by_stream),
    jnp.sum(mask, dtype=jnp.int32),
    jnp.sum(wrong, dtype=jnp.int32),
  )


def nats(
  logits: jax.Array, targets: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Total cross-entropy of the scored positions, how many, how many wrong.

      -sum_t log Pr(x_{t+1} | y_t),   Pr = softmax(logits)

  which is equation 6 of Graves (2013) over whatever positions `mask` names.
  Totals and counts are for summing: divide once, at the very end.

  Args:
    logits: `[..., V]`, any floating type; scored in float32.
    targets: int `[...]`, in `[0, V)` wherever `mask` is set.
    mask: bool `[...]`, the positions that are scored. The others add exactly
      nothing to values and gradients, even where their logits are NaN.

  Returns:
    Three scalars: total nats (float32), scored symbols (int32), and errors
    (int32): scored symbols that are not the likeliest one, where the lowest
    id wins a tie.

  >>> total, count, errors = nats(
  ...   jnp.zeros((3, 2, 4)), jnp.zeros((3, 2), int), jnp.ones((3, 2), bool)
  ... )
  >>> round(float(total) / int(count), 4), int(count), int(errors)
  (1.3863, 6, 0)
  """
  losses, wrong = cross_entropy(logits, targets, mask)
  return (
    jnp.sum(losses),
    jnp.sum(mask, dtype=jnp.int32),
    jnp.sum(wrong, dtype=jnp.int32),
  )


def cross_entropy(
  logits: jax.Array, targets: jax.Array, mask: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Nats of every position, and whether it is scored and wrong.

  Args:
    logits, targets, mask: as of `nats`.

  Returns:
    Nats (float32 `[...]`, 0 where not scored) and errors (bool `[...]`).

  >>> losses, _ = cross_entropy(
  ...   jnp.zeros((2, 4)), jnp.zeros(2, int), jnp.array([True, False])
  ... )
  >>> losses
  Array([1.3862944, 0.       ], dtype=float32)
  """
  # Selecting on the logits, not only on the loss, keeps 0 * NaN out of the
  # gradient of padded positions. It fuses away.
  logits = jnp.where(mask[..., None], logits.astype(jnp.float32), 0.0)
  targets = jnp.where(mask, targets, 0)
  picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)
  losses = jax.nn.logsumexp(logits, axis=-1) - picked[..., 0]
  # The rule of argmax, as one fused reduction: XLA's own argmax took seven to
  # twelve times as long on the CPU for 10,000 symbols.
  ids = jax.lax.broadcasted_iota(targets.dtype, logits.shape, logits.ndim - 1)
  beaten = (logits > picked) | ((logits == picked) & (ids < targets[..., None]))
  wrong = jnp.any(beaten, axis=-1) & mask
  return jnp.where(mask, losses, 0.0), wrong


class PointScores(NamedTuple):
  """Costs of each position, [T, B], exactly 0 where it is not scored."""

  nats: jax.Array
  wrong: jax.Array  # whether the pen's lifting was guessed wrongly
  squared: jax.Array  # error of the mixture's mean, x and y together
  squared_likeliest: jax.Array  # of the mean of its likeliest component
  coarse: jax.Array  # nats with no deviation below `finest`


def mixture_density_nll(
  outputs: jax.Array,
  targets: jax.Array,
  mask: jax.Array,
  *,
  output_clip: float | None = None,
  finest: tuple[float, float] | None = None,
) -> PointScores:
  """Scores a network's outputs; equation (26) of Graves (2013) and Table 3.

  The paper does not say what point its squared error is of. The mean of the
  mixture is the best one by that measure, the mean of the likeliest component
  another reading; the sum is over x and y, in standardised units. The paper's
  figures are probably halves of the latter, see
  `evaluation.handwriting.PointMetrics.half_sse`.

  Readings come in whole units, and a density may be as sharp as it likes where
  they repeat. `coarse` is the score without that gain.

  Args:
    outputs: [T, B, 6M + 1].
    targets: [T, B, 3], standardised offset and end of stroke.
    mask: bool [T, B]; others add nothing to values or gradients, even where
      outputs or targets are NaN.
    output_clip: bound on each derivative of the nats with respect to an output.
    finest: of `coarse`, the least deviations of x and y; None for none.

  >>> scores = mixture_density_nll(
  ...   jnp.zeros((1, 2, 121)), jnp.zeros((1, 2, 3)), jnp.array([[True, False]])
  ... )
  >>> scores.nats.round(1), scores.squared
  (Array([[2.5, 0. ]], dtype=float32), Array([[0., 0.]], dtype=float32))
  """
  outputs = jnp.where(mask[..., None], outputs, 0.0)
  targets = jnp.where(mask[..., None], targets, 0.0)
  mixture = mixtures.mixture(ops.clip_gradient(outputs, output_clip))
  offsets = targets[..., :2]

  def squared(guess: jax.Array) -> jax.Array:
    away = jnp.sum(jnp.square(offsets - guess), axis=-1)
    return jnp.where(mask, away, 0.0)

  lifted = targets[..., 2] > 0.5
  nats = jnp.where(mask, mixtures.nats(mixture, targets), 0.0)
  coarse = nats
  if finest is not None:
    blunt = mixtures.blunted(mixture, finest)
    coarse = jnp.where(mask, mixtures.nats(blunt, targets), 0.0)
  return PointScores(
    nats=nats,
    wrong=mask & (lifted != (mixture.lift_logit > 0.0)),
    squared=squared(mixture.mean()),
    squared_likeliest=squared(mixture.likeliest_mean()),
    coarse=coarse,
  )
