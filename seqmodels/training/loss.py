"""The loss of one training step as a function of the weights."""

from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from seqmodels.losses import Metrics

# The carry at the segment's right edge, and the metrics of the segment.
Outcome = tuple[Any, Metrics]


class Trainable(Protocol):
  """All that a training step wants of a model; a `SequenceModel` has it."""

  @property
  def init(self) -> Any:
    """`key -> params`."""

  @property
  def initial_carry(self) -> Any:
    """`batch -> carry`."""

  @property
  def score(self) -> Any:
    """`(params, carry, segment, key=KEY) -> (loss [B], Outcome)`."""


class Objective(NamedTuple):
  """The loss of one segment of every stream.

  Attributes:
    model: the model, which brings its own loss.
    carry: the state at the segment's left edge, a row a stream.
    segment: arrays [T, B, ...] in any tree, with `mask` [T, B].
    key: of the noise of this step.
    reduction: `mean` over the scored positions, or their `sum` (the paper's).
  """

  model: Trainable
  carry: Any
  segment: Any
  key: jax.Array
  reduction: str = "mean"

  def by_stream(self, params: Any) -> tuple[jax.Array, Outcome]:
    """The loss of every stream's segment [B], summed over its positions."""
    return self.model.score(params, self.carry, self.segment, key=self.key)

  def gradient(self, params: Any) -> tuple[Any, Outcome]:
    """The gradient of the number to minimise.

    The sum is differentiated, so that limits on derivatives inside the network
    mean the same whatever the reduction.
    """

    def total(params: Any) -> tuple[jax.Array, Outcome]:
      loss, outcome = self.by_stream(params)
      return jnp.sum(loss), outcome

    gradient, outcome = jax.grad(total, has_aux=True)(params)
    if self.reduction == "sum":
      return gradient, outcome
    return jax.tree.map(lambda leaf: leaf * self.scale, gradient), outcome

  @property
  def scored(self) -> jax.Array:
    """Scored positions, at least 1."""
    return jnp.maximum(jnp.sum(self.segment.mask, dtype=jnp.int32), 1)

  @property
  def scale(self) -> jax.Array:
    """The factor from the summed loss to the number to minimise."""
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
