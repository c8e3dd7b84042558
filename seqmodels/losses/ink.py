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


def by_position(
  outputs: jax.Array,
  targets: jax.Array,
  mask: jax.Array,
  *,
  output_clip: float | None = None,
) -> Scores:
  """Scores a network's outputs; equation (26) of Graves (2013) and Table 3.

  The paper does not say what point its squared error is of. The mean of the
  mixture is the best one by that measure, the mean of the likeliest component
  another reading; the sum is over x and y, in standardised units.

  Args:
    outputs: [T, B, 6M + 1].
    targets: [T, B, 3], standardised offset and end of stroke.
    mask: bool [T, B]; others add nothing to values or gradients, even where
      outputs or targets are NaN.
    output_clip: bound on each derivative of the nats with respect to an output.

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
  return Scores(
    nats=jnp.where(mask, mixtures.nats(found, targets), 0.0),
    wrong=mask & (lifted != (found.lift_logit > 0.0)),
    squared=squared(found.mean()),
    squared_likeliest=squared(found.likeliest_mean()),
  )
