"""The loss of one training step as a function of the weights."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import losses
from seqmodels.models import api


class Outcome(NamedTuple):
  """The results of a segment's forward pass besides its loss."""

  carry: Any  # at the segment's right edge
  nats: jax.Array  # summed over the scored positions
  scored: jax.Array  # how many positions that was
  errors: jax.Array  # scored positions where the likeliest symbol was wrong


def of_symbols(
  predictor: api.Predictor,
  params: Any,
  carry: Any,
  segment: Any,
  key: jax.Array,
) -> tuple[jax.Array, Outcome]:
  """Nats of every stream's segment [B] of symbols, summed over its positions.

  Args:
    predictor: the model.
    params: its weights.
    carry: the state at the segment's left edge, a row a stream.
    segment: `inputs`, `targets`, `mask`, `reset`, each [T, B].
    key: of the noise of training.
  """
  carry, logits = api.train_apply(
    predictor, params, carry, segment.inputs, segment.reset, key=key
  )
  nats, wrong = losses.cross_entropy(logits, segment.targets, segment.mask)
  return _by_stream(carry, nats, wrong, segment.mask)


def of_points(
  network: api.PenNetwork,
  params: Any,
  carry: Any,
  segment: Any,
  key: jax.Array,
) -> tuple[jax.Array, Outcome]:
  """Nats of every line [B], or of a segment of it, summed over its points.

  Args:
    network, params, carry, key: as of `of_symbols`.
    segment: `inputs` and `targets` [T, B, 3], `mask` and `reset` [T, B], `text`
      [U, B].
  """
  inputs = segment.inputs, segment.text, segment.reset
  carry, outputs = api.train_apply(network, params, carry, *inputs, key=key)
  scores = losses.mixture_density_nll(
    outputs, segment.targets, segment.mask, output_clip=network.output_clip
  )
  return _by_stream(carry, scores.nats, scores.wrong, segment.mask)


def _by_stream(
  carry: Any, nats: jax.Array, wrong: jax.Array, mask: jax.Array
) -> tuple[jax.Array, Outcome]:
  """What positions [T, B] cost, by stream and together."""
  by_stream = jnp.sum(nats, axis=0)
  return by_stream, Outcome(
    carry,
    jnp.sum(by_stream),
    jnp.sum(mask, dtype=jnp.int32),
    jnp.sum(wrong, dtype=jnp.int32),
  )


# (model, params, carry, segment, key) -> nats of each stream [B], and the rest
Losses = Callable[..., tuple[jax.Array, Outcome]]


class Objective(NamedTuple):
  """The loss of one segment of every stream.

  Attributes:
    predictor: the model, in whatever form `losses` takes.
    carry: the state at the segment's left edge, a row a stream.
    segment: arrays [T, B, ...] in any tree, with `mask` [T, B].
    key: of the noise of this step.
    reduction: `mean` over the scored positions, or their `sum` (the paper's).
    losses: the loss of each stream.
  """

  predictor: Any
  carry: Any
  segment: Any
  key: jax.Array
  reduction: str = "mean"
  losses: Losses = of_symbols

  def by_stream(self, params: Any) -> tuple[jax.Array, Outcome]:
    """Nats of every stream's segment [B], summed over its positions."""
    return self.losses(
      self.predictor, params, self.carry, self.segment, self.key
    )

  def gradient(self, params: Any) -> tuple[Any, Outcome]:
    """The gradient of the number to minimise.

    The sum is differentiated, so that limits on derivatives inside the network
    mean the same whatever the reduction.
    """

    def total(params: Any) -> tuple[jax.Array, Outcome]:
      nats, outcome = self.by_stream(params)
      return jnp.sum(nats), outcome

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
    """The factor from nats to the number to minimise."""
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
