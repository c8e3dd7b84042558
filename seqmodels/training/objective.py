"""The loss of one training step as a function of the weights."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.losses import sequence
from seqmodels.models import predictor as predictors


class Outcome(NamedTuple):
  """What a segment's forward pass leaves besides its loss."""

  carry: Any  # at the segment's right edge
  nats: jax.Array  # summed over the scored symbols
  scored: jax.Array  # how many symbols that was
  errors: jax.Array  # scored symbols that were not the likeliest


class Objective(NamedTuple):
  """One segment of every stream, to be learned from.

  Attributes:
    predictor: the model.
    carry: the state at the segment's left edge, a row a stream.
    segment: `inputs`, `targets`, `mask`, `reset`, each [T, B].
    key: of the noise of this step.
    reduction: `mean` over the scored symbols, or their `sum` (the paper's).
  """

  predictor: predictors.Predictor
  carry: Any
  segment: Any
  key: jax.Array
  reduction: str = "mean"

  def by_stream(self, params: Any) -> tuple[jax.Array, Outcome]:
    """Nats of every stream's segment [B], summed over its symbols."""
    segment = self.segment
    carry, logits = self.predictor.train_apply(
      params, self.carry, segment.inputs, segment.reset, self.key
    )
    losses, wrong = sequence.by_position(logits, segment.targets, segment.mask)
    nats = jnp.sum(losses, axis=0)
    return nats, Outcome(
      carry,
      jnp.sum(nats),
      jnp.sum(segment.mask, dtype=jnp.int32),
      jnp.sum(wrong, dtype=jnp.int32),
    )

  def value(self, params: Any) -> tuple[jax.Array, Outcome]:
    """The number to minimise."""
    nats, outcome = self.by_stream(params)
    return jnp.sum(nats) * self.scale, outcome

  @property
  def scored(self) -> jax.Array:
    """Scored symbols, at least 1."""
    return jnp.maximum(jnp.sum(self.segment.mask, dtype=jnp.int32), 1)

  @property
  def scale(self) -> jax.Array:
    """What turns nats into the number to minimise."""
    if self.reduction == "mean":
      return 1.0 / self.scored
    return jnp.float32(1.0)

  def streams(self) -> tuple[Any, Any, jax.Array]:
    """Carry, segment and key of each stream alone, along a new leading axis.

    Carry leaves [B, 1, ...], segment [B, T, 1], keys [B].
    """
    batch = self.segment.mask.shape[1]
    return (
      jax.tree.map(lambda leaf: leaf[:, None], self.carry),
      jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, 1, 0)[:, :, None], self.segment
      ),
      jax.random.split(self.key, batch),
    )
