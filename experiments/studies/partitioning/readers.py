"""Readers of one text, sequential and random, and their trainings."""

import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import cleaning
from seqmodels import losses, units
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.models import api, language_model
from seqmodels.training import loop, optimizers, step

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


class Trainer:
  """Trains and scores one network by any reader; compiled once for all."""

  def __init__(
    self, study: run.Study, splits: dict[str, np.ndarray], symbols: int
  ):
    """The network and the rule that the study's settings describe."""
    self._study, self._splits = study, splits
    settings = study.config.settings
    self.network = language_model.as_predictor(
      language_model.LanguageModel(
        vocabulary_size=symbols,
        features=tuple(settings.features),
        cell=settings.cell,
      )
    )
    self._optimizer = optimizers.build(
      "adam", learning_rate=settings.learning_rate, clip_norm=1.0
    )
    self._train_steps = step.make_train_steps(self.network, self._optimizer)

  def train(self, read: Callable[..., Reader], seed: int) -> Trained:
    """Fresh weights, trained by a reader of that seed, and their scores."""
    settings, start = self._study.config.settings, time.perf_counter()
    shape = {"batch": settings.batch, "length": settings.length}
    reader = read(self._splits["train"], **shape, seed=seed)
    state = step.create(
      self.network, self._optimizer, batch=settings.batch, seed=seed
    )
    due, curve = max(1, settings.steps // settings.evaluations), []
    for done in range(0, settings.steps, settings.dispatch):
      segments = reader.segments(done, settings.dispatch)
      state, report = self._train_steps(state, segments)
      end = done + settings.dispatch
      loop.check_finite(jax.device_get(report), end)
      if end // due > done // due or end == settings.steps:
        bits = self._streamed(state.params, "valid", settings.streams)
        curve.append((end * settings.batch * settings.length, bits))
      self._study.signals.check()
    return Trained(
      curve,
      self._streamed(state.params, "test", 1),
      _by_position(
        self.network, state.params, self._splits["test"], settings.positions
      ),
      state.params,
      time.perf_counter() - start,
    )

  def _streamed(self, params: Any, split: str, rows: int) -> float:
    """Bits a character of a text in so many rows, the state carried along."""
    whole = batching.SequentialStream(
      self._splits[split], batch=rows, length=64
    )
    segments = whole.segments(0, whole.segments_per_epoch)
    return static.evaluate(
      self.network, params, segments, streams=rows
    ).bits_per_symbol


# Windows of each of three stretches of the test text.
RUN = 1_000


def _by_position(
  network: api.SequenceModel, params: Any, ids: np.ndarray, positions: int
) -> np.ndarray:
  """Bits of the n-th symbol after a cleared state, mean over many windows."""
  # Long runs of windows one symbol apart: every place sees nearly the same
  # symbols, and what differs is how much stands before them.
  ends = np.linspace(0, len(ids) - positions, 4).astype(int)
  first = np.concatenate(
    [
      np.arange(low, min(high, low + RUN))
      for low, high in itertools.pairwise(ends)
    ]
  )
  place = first + np.arange(positions)[:, None, None]  # [P, 1, B]
  reset = np.broadcast_to(np.arange(positions)[:, None, None] == 0, place.shape)
  scores = static.score(
    network,
    params,
    (
      ids[place].astype(np.int32),
      ids[place + 1].astype(np.int32),
      np.ones(place.shape, bool),
      reset,
    ),
    streams=len(first),
  )
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
  network: api.SequenceModel, params: Any, segment: Any
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
