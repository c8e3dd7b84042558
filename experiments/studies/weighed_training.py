"""Networks whose gradients through time are weighed, trained side by side."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fundamentals
from experiments.studies import small_network
from seqmodels.cells import truncation
from seqmodels.cells import unroll as unrolling
from seqmodels.evaluation import static
from seqmodels.io import report
from seqmodels.losses import sequence
from seqmodels.training import ensemble, objective, optimizers
from seqmodels.training import state as states

DISPATCH = 25  # steps a dispatch, and a point of the curves
KEEP = 0.8  # of the randomised truncation
WINDOW = 5  # steps, 1 / (1 - KEEP)


class Weighed(NamedTuple):
  """A minibatch with the factors of its recurrent derivatives, [T, B]."""

  inputs: Any
  targets: Any
  mask: Any
  reset: Any
  factors: Any


def weighed_losses(
  network: small_network.Network,
  params: Any,
  carry: Any,
  segment: Weighed,
  key: Any,
) -> tuple[jax.Array, objective.Outcome]:
  """Nats of each row [B], with the derivatives weighed by the factors.

  Every minibatch starts from `carry`, the cleared state.
  """
  del key
  step = truncation.weighted(network.cell.step)
  xs = (segment.inputs, segment.factors)
  _, hs = unrolling.unroll(step, params[0], carry, xs)
  return _outcome(network, params, carry, segment, hs)


def windowed_losses(
  network: small_network.Network,
  params: Any,
  carry: Any,
  segment: Weighed,
  key: Any,
) -> tuple[jax.Array, objective.Outcome]:
  """The same, each state's derivative reaching back one window."""
  del key
  run = truncation.windowed(network.cell.step, WINDOW)
  _, hs = run(params[0], carry, segment.inputs)
  return _outcome(network, params, carry, segment, hs)


def train(
  study: fundamentals.Study,
  network: small_network.Network,
  members: dict[str, Any],
  *,
  steps: int,
  losses: Any,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Networks side by side, from one start.

  Args:
    study: its seed and rate.
    network: of all.
    members: (step, count) -> minibatches, by name.
    steps: how many.
    losses: what is differentiated.

  Returns:
    Nats a scored symbol by dispatch, and the weights, by name.
  """
  settings = study.config.settings
  optimizer = optimizers.build(
    "adam", learning_rate=settings.rate, clip_norm=1.0
  )
  one = states.create(
    network, optimizer, batch=settings.batch, seed=study.config.seed
  )
  state = small_network.side_by_side(one, [one.params] * len(members))
  run = ensemble.make_train_steps(network, optimizer, losses=losses)
  found = []
  for start in range(0, steps, DISPATCH):
    study.signals.check()
    drawn = [make(start, DISPATCH) for make in members.values()]
    state, metrics = run(state, jax.tree.map(lambda *x: np.stack(x), *drawn))
    found.append(np.sum(metrics.nats, axis=1) / np.sum(metrics.scored, axis=1))
  curves = np.array(found).T
  params = small_network.apart(state.params, len(members))
  return (
    dict(zip(members, curves, strict=True)),
    dict(zip(members, params, strict=True)),
  )


def factors(
  study: fundamentals.Study,
  shape: tuple[int, ...],
  step: int,
  kind: str,
  keep: float = KEEP,
) -> np.ndarray:
  """[K, T, B] of the strategy of that kind."""
  count, steps, batch = shape
  if kind == "keep":
    key = jax.random.fold_in(jax.random.key(study.config.seed), step)
    drawn = np.asarray(
      truncation.random_factors(key, steps, count * batch, keep=keep)
    )
    rows = drawn.reshape(steps, count, batch)
    return np.moveaxis(rows, 1, 0).astype(np.float32)
  chunk = WINDOW if kind == "chunks" else steps
  one = np.asarray(truncation.chunk_factors(steps, batch, chunk=chunk))
  return np.broadcast_to(one, shape).astype(np.float32)


def scored(
  network: small_network.Network,
  trained: Mapping[str, Any],
  segments: Any,
  *,
  split: str,
  prefix: str = "",
) -> list[report.Row]:
  """A row of perplexity for each.

  Args:
    network: of all.
    trained: weights by name.
    segments: [K, T, B] to score.
    split: that they are of.
    prefix: of the names.
  """
  predictor, rows = network.predictor(), []
  for name, params in trained.items():
    totals = static.evaluate(
      predictor, params, tuple(segments), streams=segments.inputs.shape[2]
    )
    rows.append(
      report.row(
        prefix + name,
        split=split,
        evaluation="static",
        metric="perplexity",
        value=totals.perplexity,
        count=totals.count,
        seconds=totals.seconds,
      )
    )
  return rows


def _outcome(
  network: small_network.Network,
  params: Any,
  carry: Any,
  segment: Weighed,
  hs: jax.Array,
) -> tuple[jax.Array, objective.Outcome]:
  losses, wrong = sequence.by_position(
    network.read(params, hs), segment.targets, segment.mask
  )
  nats = jnp.sum(losses, axis=0)
  return nats, objective.Outcome(
    carry,
    jnp.sum(nats),
    jnp.sum(segment.mask, dtype=jnp.int32),
    jnp.sum(wrong, dtype=jnp.int32),
  )
