"""Nats and squared errors of predicted pen movements."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import gradient_clip
from seqmodels.distributions import bivariate_mixture as mixtures


class Scores(NamedTuple):
  """What each position costs, [T, B], exactly 0 where it is not scored."""

  nats: jax.Array
  wrong: jax.Array  # whether the pen's lifting was guessed wrongly
  squared: jax.Array  # error of the mixture's mean, x and y together
  squared_likeliest: jax.Array  # of the mean of its likeliest component
  coarse: jax.Array  # nats with no deviation below `finest`


def by_position(
  outputs: jax.Array,
  targets: jax.Array,
  mask: jax.Array,
  *,
  output_clip: float | None = None,
  finest: tuple[float, float] | None = None,
) -> Scores:
  """Scores a network's outputs; equation (26) of Graves (2013) and Table 3.

  The paper does not say what point its squared error is of. The mean of the
  mixture is the best one by that measure, the mean of the likeliest component
  another reading; the sum is over x and y, in standardised units. The paper's
  figures are probably halves of the latter, see
  `evaluation.handwriting.Totals.half_sse`.

  Readings come in whole units, and a density may be as sharp as it likes where
  they repeat. What a score owes to that, `coarse` leaves out.

  Args:
    outputs: [T, B, 6M + 1].
    targets: [T, B, 3], standardised offset and end of stroke.
    mask: bool [T, B]; others add nothing to values or gradients, even where
      outputs or targets are NaN.
    output_clip: bound on each derivative of the nats with respect to an output.
    finest: of `coarse`, the least deviations of x and y; None for none.

  >>> scores = by_position(
  ...   jnp.zeros((1, 2, 121)), jnp.zeros((1, 2, 3)), jnp.array([[True, False]])
  ... )
  >>> scores.nats.round(1), scores.squared
  (Array([[2.5, 0. ]], dtype=float32), Array([[0., 0.]], dtype=float32))
  """
  outputs = jnp.where(mask[..., None], outputs, 0.0)
  targets = jnp.where(mask[..., None], targets, 0.0)
  found = mixtures.mixture(gradient_clip.clip_gradient(outputs, output_clip))
  offsets = targets[..., :2]

  def squared(guess: jax.Array) -> jax.Array:
    away = jnp.sum(jnp.square(offsets - guess), axis=-1)
    return jnp.where(mask, away, 0.0)

  lifted = targets[..., 2] > 0.5
  nats = jnp.where(mask, mixtures.nats(found, targets), 0.0)
  coarse = nats
  if finest is not None:
    blunt = mixtures.blunted(found, finest)
    coarse = jnp.where(mask, mixtures.nats(blunt, targets), 0.0)
  return Scores(
    nats=nats,
    wrong=mask & (lifted != (found.lift_logit > 0.0)),
    squared=squared(found.mean()),
    squared_likeliest=squared(found.likeliest_mean()),
    coarse=coarse,
  )
