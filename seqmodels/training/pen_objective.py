"""The loss of a training step on handwriting."""

from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.losses import ink
from seqmodels.models import pen_network
from seqmodels.training import objective


def of_points(
  network: pen_network.PenNetwork,
  params: Any,
  carry: Any,
  segment: Any,
  key: jax.Array,
) -> tuple[jax.Array, objective.Outcome]:
  """Nats of every line [B], or of a stretch of it, summed over its points.

  Args:
    network: the model.
    params: its weights.
    carry: the state at the left edge, cleared where `reset` says so.
    segment: `inputs` and `targets` [T, B, 3], `mask` and `reset` [T, B], `text`
      [U, B].
    key: of what training drops.
  """
  carry, outputs = network.train_apply(
    params, carry, segment.inputs, segment.text, segment.reset, key
  )
  scores = ink.by_position(
    outputs, segment.targets, segment.mask, output_clip=network.output_clip
  )
  nats = jnp.sum(scores.nats, axis=0)
  return nats, objective.Outcome(
    carry,
    jnp.sum(nats),
    jnp.sum(segment.mask, dtype=jnp.int32),
    jnp.sum(scores.wrong, dtype=jnp.int32),
  )
