"""Losses as masked sums of nats with their counts; never a mean of means."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import mixture_density as mixtures
from seqmodels.cells import ops


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


class Scores(NamedTuple):
  """What each position costs, [T, B], exactly 0 where it is not scored."""

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
  return Scores(
    nats=nats,
    wrong=mask & (lifted != (mixture.lift_logit > 0.0)),
    squared=squared(mixture.mean()),
    squared_likeliest=squared(mixture.likeliest_mean()),
    coarse=coarse,
  )
