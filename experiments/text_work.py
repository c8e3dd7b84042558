"""A language model at work on random symbols: training, dynamic evaluation.

What is timed is the library's own compiled steps, the ones that experiments
run, with everything that belongs to them (losses, counts, norms, resets).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import layer_work
from seqmodels.cells import products
from seqmodels.evaluation import chunks, dynamic, dynamic_rules
from seqmodels.models import language_model
from seqmodels.models import predictor as predictors
from seqmodels.training import objective, optimizers, state, step


class Work(NamedTuple):
  """Something that learns from the same segments at every call.

  The first call compiles.
  """

  run: Callable[[], np.ndarray]  # nats of each segment; waits until done
  temporary: Callable[[], int | None]  # bytes XLA sets aside
  params: Any  # as they were at first


def text(
  segments: int, length: int, batch: int, symbols: int, *, seed: int
) -> chunks.Chunk:
  """Segments [K, T, B] of uniformly random symbols, on the host."""
  draw = np.random.default_rng(seed).integers
  ids = draw(symbols, size=(segments * length + 1, batch), dtype=np.int32)
  shape = (segments, length, batch)
  return chunks.Chunk(
    inputs=ids[:-1].reshape(shape),
    targets=ids[1:].reshape(shape),
    mask=np.ones(shape, bool),
    reset=np.zeros(shape, bool),
  )


def predictor(
  symbols: int,
  features: int,
  *,
  peepholes: bool,
  embedding: int = 0,
  dtype: products.Dtype = None,
) -> predictors.Predictor:
  """Our language model with one layer, over one-hot or embedded symbols."""
  return language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=symbols,
      features=(features,),
      options={"peepholes": peepholes},
      embedding=embedding,
      dtype=dtype,
    )
  )


def training(
  network: Any,
  segments: Any,
  *,
  rate: float,
  clip_norm: float,
  seed: int,
  losses: objective.Losses = objective.of_symbols,
) -> Work:
  """Truncated backpropagation with Adam, all segments in one dispatch."""
  optimizer = optimizers.build("adam", learning_rate=rate, clip_norm=clip_norm)
  batch = segments.inputs.shape[2]
  current = state.create(network, optimizer, batch=batch, seed=seed)
  params = jax.tree.map(np.array, current.params)

  @functools.cache
  def program() -> Any:
    train: Any = step.make_train_steps(network, optimizer, losses=losses)
    return train.lower(current, segments).compile()

  def run() -> np.ndarray:
    nonlocal current
    current, metrics = jax.block_until_ready(program()(current, segments))
    return np.asarray(metrics.nats)

  return Work(run, lambda: layer_work.temporary_bytes(program()), params)


def dynamic_evaluation(
  network: predictors.Predictor,
  segments: chunks.Chunk,
  *,
  rate: float,
  momentum: float,
  seed: int,
) -> Work:
  """Predict each segment, then learn from it: one compiled scan."""
  rule = dynamic_rules.make(
    "sgd", None, {"learning_rate": rate, "momentum": momentum}
  )
  params = jax.jit(network.init)(jax.random.key(seed))
  streams = segments.inputs.shape[2]
  current = dynamic.initial_state(network, params, rule, streams=streams)

  @functools.cache
  def program() -> Any:
    advance: Any = dynamic.advance
    return advance.lower(network, rule, current, segments).compile()

  def run() -> np.ndarray:
    nonlocal current
    current, sums = jax.block_until_ready(program()(rule, current, segments))
    return np.asarray(sums[0])

  return Work(
    run,
    lambda: layer_work.temporary_bytes(program()),
    jax.tree.map(np.array, params),
  )
