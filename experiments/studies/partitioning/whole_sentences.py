"""Whole sentences as examples, of any length: part of `partitioning`."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from seqmodels import losses, units
from seqmodels.data.text import batching
from seqmodels.models import api


def add(
  study: run.Study,
  network: api.Predictor,
  params: Any,
  ids: np.ndarray,
  end: int | None,
) -> None:
  """Adds the section, where the text has lines enough for a minibatch.

  Args:
    study: whose settings say how many rows a minibatch has.
    network: that scores one.
    params: its weights.
    ids: the text to be cut at line ends.
    end: the id of the line end, None if there is none.
  """
  batch = study.config.settings.batch
  if end is None or np.sum(ids == end) < batch:
    return
  # One padded length for all, so that long and short ones meet.
  reader = batching.Sentences(
    ids, batch=batch, end=end, shapes=1, seed=study.config.seed
  )
  lengths = np.diff(np.append(-1, np.flatnonzero(ids == end)))
  orders = {
    "shuffled": study.random.permutation(lengths),
    "lines of like length together": np.sort(lengths),
  }
  page = study.lesson
  page.section(
    "Whole sentences",
    f"""
    Sentences, or the lines of this text, may be examples in their own right,
    each from a cleared state. They have different lengths ({lengths.min()} to
    {lengths.max()} symbols here). To stand side by side in a minibatch the
    shorter ones are filled up to the longest, and a mask tells which positions
    are real. What is filled up costs time, less of it if lines of like length
    go together, whose minibatches are then shuffled:
    """,
  )
  page.table(
    ["minibatches of", "positions that are padding"],
    [
      [name, f"{100 * padding(ordered, batch):.1f} %"]
      for name, ordered in orders.items()
    ],
  )
  segment = reader.segment(0)
  real, every = scores(network, params, segment)
  page.say(
    f"""
    Padding must not count. The loss is the sum over the real positions, divided
    by their number: then it is that of the same lines one by one, and so is its
    gradient. A minibatch of lines costs {real:.3f} bits a symbol under the
    network above that was trained by random sampling; were its padding scored
    as if it were text, {every:.3f}.

    The same mask makes a model of dialogues. The turns are joined into one
    sequence, with a symbol for the end of each; all of it is read, and only the
    reply is scored.
    """
  )


def padding(lengths: np.ndarray, batch: int) -> float:
  """Share of the positions of all full minibatches that are padding.

  >>> padding(np.array([1, 4, 2, 2, 9]), 2)
  0.25
  """
  rows = lengths[: len(lengths) // batch * batch].reshape(-1, batch)
  positions = batch * rows.max(axis=1).sum()
  return float(1 - rows.sum() / positions)


def scores(
  network: api.Predictor, params: Any, segment: Any
) -> tuple[float, float]:
  """Mean bits of the real positions, and of all as if all were real."""

  @jax.jit
  def by_position(params: Any, mask: jax.Array) -> jax.Array:
    carry = network.initial_carry(mask.shape[1])
    _, logits = network.apply(
      params, carry, jnp.asarray(segment.inputs), jnp.asarray(segment.reset)
    )
    return losses.cross_entropy(logits, jnp.asarray(segment.targets), mask)[0]

  real, whole = (
    float(jnp.sum(by_position(params, mask)) / jnp.sum(mask) / units.LOG2)
    for mask in (jnp.asarray(segment.mask), jnp.ones(segment.mask.shape, bool))
  )
  return real, whole
