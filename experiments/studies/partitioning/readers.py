"""Readers of one text, sequential and random, and their trainings."""

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.studies import run
from experiments.studies.common import cleaning, training
from seqmodels import units
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.models import networks
from seqmodels.training import step

RANDOM = "random sampling"
EVERY = "every window"
SEQUENTIAL = "sequential"
CLEARED = "sequential, state cleared"

Reader = batching.RandomWindows | batching.SequentialStream

READERS: dict[str, Callable[..., Reader]] = {
  RANDOM: batching.RandomWindows,
  EVERY: cleaning.OverlappingWindows,
  SEQUENTIAL: lambda ids, **shape: batching.SequentialStream(
    ids, random_offset=True, training=True, **shape
  ),
  CLEARED: lambda ids, **shape: batching.SequentialStream(
    ids, random_offset=True, training=True, reset_every=1, **shape
  ),
}


class Trained(NamedTuple):
  """One reader's network."""

  curve: list[tuple[int, float]]  # symbols read, bits of the validation text
  streaming: float  # bits a character of the test text, read in one go
  by_position: np.ndarray  # bits of the n-th symbol after a cleared state
  params: Any
  seconds: float


def train(
  study: run.Study,
  network: networks.SequenceModel,
  optimizer: optax.GradientTransformation,
  splits: dict[str, np.ndarray],
  read: Callable[..., Reader],
  seed: int,
) -> Trained:
  """Trains a network by a reader of that seed and scores it."""
  settings, start = study.config.settings, time.perf_counter()
  due, curve = max(1, settings.steps // settings.evaluations), []

  def streamed(params: Any, split: str, rows: int) -> float:
    """Bits a character of a text in so many rows, the state carried along."""
    score = training.held_out(
      network, params, splits[split], rows=rows, length=64
    )
    return score.bits_per_symbol

  def evaluate(end: int, params: Any, report: step.StepReport) -> None:
    step.check_finite(report, end)
    if end // due > (end - settings.dispatch) // due or end == settings.steps:
      bits = streamed(params, "valid", settings.streams)
      curve.append((end * settings.batch * settings.length, bits))

  trained = training.train(
    network,
    read(
      splits["train"], batch=settings.batch, length=settings.length, seed=seed
    ),
    optimizer,
    steps=settings.steps,
    seed=seed,
    dispatch=settings.dispatch,
    check=study.signals.check,
    after=evaluate,
  )
  return Trained(
    curve,
    streamed(trained.params, "test", 1),
    _by_position(network, trained.params, splits["test"], settings.positions),
    trained.params,
    time.perf_counter() - start,
  )


# Windows of each of three stretches of the test text.
RUN = 500


def _by_position(
  network: networks.SequenceModel, params: Any, ids: np.ndarray, positions: int
) -> np.ndarray:
  """Bits of the n-th symbol after a cleared state, mean over many windows."""
  # Long runs of windows one symbol apart: every place sees nearly the same
  # symbols, and what differs is how much stands before them.
  ends = np.linspace(0, len(ids) - positions, 4).astype(int)
  runs = [range(a, min(b, a + RUN)) for a, b in itertools.pairwise(ends)]
  first, steps = np.concatenate(runs), np.arange(positions)[:, None, None]
  place = first + steps  # [P, 1, B]
  inputs, targets = (ids[place + k].astype(np.int32) for k in (0, 1))
  scored = np.ones(place.shape, bool)
  segments = inputs, targets, scored, scored & (steps == 0)
  scores = static.score(network, params, segments, streams=len(first))
  return scores.metrics.nats / scores.metrics.count / units.LOG2


def padding(lengths: np.ndarray, batch: int) -> float:
  """Share of the positions of all full minibatches that are padding.

  >>> padding(np.array([1, 4, 2, 2, 9]), 2)
  0.25
  """
  rows = lengths[: len(lengths) // batch * batch].reshape(-1, batch)
  positions = batch * rows.max(axis=1).sum()
  return float(1 - rows.sum() / positions)


def scores(
  network: networks.SequenceModel, params: Any, segment: batching.Segment
) -> tuple[float, float]:
  """Mean bits of the real positions, and of all as if all were real."""
  score, carry = jax.jit(network.score), network.initial_carry
  real, every = (
    score(params, carry(mask.shape[1]), segment._replace(mask=mask))[1][1]
    for mask in (segment.mask, np.ones_like(segment.mask))
  )
  return real.total().bits_per_symbol, every.total().bits_per_symbol
