"""Training of small character networks, shared by the studies."""

import functools
import math
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from seqmodels.data.text import batching, tokens
from seqmodels.evaluation import metrics as metrics_lib
from seqmodels.evaluation import static
from seqmodels.models import api as predictors
from seqmodels.models import language_model
from seqmodels.training import optimizers, step

# Steps of one dispatch, between which a signal can stop a study.
_DISPATCH = 50


class Trained(NamedTuple):
  """What training leaves.

  Attributes:
    params: the weights.
    nats: of each step, a symbol; NaN or infinite where training diverged.
    norms: of each step's gradient, before any clipping.
    symbols: that were timed: of the dispatches after the first, which compiles.
    seconds: what those took.
  """

  params: Any
  nats: np.ndarray
  norms: np.ndarray
  symbols: int
  seconds: float

  @property
  def symbols_per_second(self) -> float:
    """Speed of training; NaN where there was one dispatch only."""
    return self.symbols / self.seconds if self.seconds else math.nan


def train(
  predictor: predictors.Predictor,
  text: Any,
  optimizer: optax.GradientTransformation,
  *,
  steps: int,
  seed: int,
  params: Any = None,
  check: Callable[[], None] = lambda: None,
) -> Trained:
  """Trains for some steps.

  Networks of one predictor and one optimiser share a compiled program.

  Args:
    predictor: the model.
    text: a stream: anything with `segments(start, count)`, and the `batch`
      whose state it needs.
    optimizer: the rule.
    steps: segments to learn from.
    seed: of the weights.
    params: weights to begin with instead of fresh ones.
    check: called after each dispatch; may raise to stop.
  """
  if params is None:
    params = fresh(predictor, seed)
  begun = predictor._replace(init=lambda key: params)
  state = step.create(begun, optimizer, batch=text.batch, seed=seed)
  run = _program(predictor, optimizer)
  return descend(run, state, text, steps=steps, check=check)


def fresh(predictor: predictors.Predictor, seed: int) -> Any:
  """The weights that `states.create` begins with; compiled once a model."""
  key, _ = jax.random.split(jax.random.key(seed, impl="threefry2x32"))
  return jax.jit(predictor.init)(key)


@functools.lru_cache(maxsize=16)
def _program(
  predictor: predictors.Predictor, optimizer: optax.GradientTransformation
) -> step.TrainSteps:
  return step.make_train_steps(predictor, optimizer)


def descend(
  run: step.TrainSteps,
  state: step.TrainState,
  text: Any,
  *,
  steps: int,
  check: Callable[[], None] = lambda: None,
) -> Trained:
  """The dispatches of a training, timed.

  Args:
    run: segments [K, T, B] at once.
    state: to begin with; consumed.
    text: as of `train`, and so the rest.
    steps: segments to learn from.
    check: called after each dispatch.
  """
  size = math.gcd(steps, _DISPATCH)
  found, symbols, seconds = [], 0, 0.0
  for start in range(0, steps, size):
    segments = jax.device_put(text.segments(start, size))
    begun = time.perf_counter()
    state, metrics = run(state, segments)
    found.append(jax.device_get(metrics))
    if start:
      seconds += time.perf_counter() - begun
      symbols += int(found[-1].scored.sum())
    check()
  nats, scored, norms = (
    np.concatenate([getattr(part, name) for part in found])
    for name in ("nats", "scored", "gradient_norm")
  )
  mean = nats / np.maximum(scored, 1)
  return Trained(state.params, mean, norms, symbols, seconds)


def drawn(
  predictor: predictors.Predictor,
  random: np.random.Generator,
  deviation: float,
  *,
  biases: bool = True,
) -> Any:
  """Normal weights in the shapes of a model's own; nothing is compiled.

  Args:
    predictor: the model.
    random: of the weights.
    deviation: of all of them.
    biases: draw them too; without it they are 0.
  """
  shapes = jax.eval_shape(predictor.init, jax.random.key(0))

  def one(leaf: Any) -> jax.Array:
    size = deviation if biases or len(leaf.shape) > 1 else 0.0
    values = size * random.normal(size=leaf.shape)
    return jax.device_put(values.astype(leaf.dtype))

  return jax.tree.map(one, shapes)


def on_streams(
  study: Any,
  predictor: predictors.Predictor,
  ids: tokens.Ids,
  *,
  params: Any = None,
  rate: float = 1.0,
) -> Trained:
  """Trains as a study's settings say: Adam on a text in parallel rows.

  Args:
    study: its `config.settings` has batch, segment, steps, learning_rate and
      schedule.
    predictor: the model.
    ids: the training text.
    params: weights to begin with instead of fresh ones.
    rate: times the learning rate of the settings.
  """
  settings = study.config.settings
  return train(
    predictor,
    batching.SequentialStream(
      ids, batch=settings.batch, length=settings.segment, training=True
    ),
    adam(settings, settings.steps, rate),
    steps=settings.steps,
    seed=study.config.seed,
    params=params,
    check=study.signals.check,
  )


def adam(
  settings: Any, steps: int, rate: float = 1.0
) -> optax.GradientTransformation:
  """The rule of a study's settings: one object for equal ones.

  Args:
    settings: with learning_rate and schedule; gradients are clipped at 1.
    steps: that the schedule is for.
    rate: times the learning rate.
  """
  return _adam(rate * settings.learning_rate, settings.schedule, steps)


@functools.lru_cache
def _adam(
  rate: float, schedule: str, steps: int
) -> optax.GradientTransformation:
  return optimizers.build(
    "adam", learning_rate=rate, schedule=schedule, steps=steps, clip_norm=1.0
  )


def held_out(
  predictor: predictors.Predictor,
  params: Any,
  ids: tokens.Ids,
  *,
  rows: int = 8,
  length: int = 50,
) -> metrics_lib.Totals:
  """The score of a text that was not trained on, in a few parallel streams."""
  rows = min(rows, len(ids))
  stream = batching.SequentialStream(ids, batch=rows, length=length)
  chunks = batching.Chunks.of(stream, stream.segments_per_epoch)
  return static.evaluate(predictor, params, chunks, streams=rows)


def smooth(values: np.ndarray, share: float = 0.1) -> np.ndarray:
  """Each value's mean with those before it, the last `share` of them all.

  The window grows with the step, as a logarithmic axis wants it.

  >>> smooth(np.array([1.0, 3.0, 5.0, 7.0]), 0.5)
  array([1., 3., 5., 6.])
  """
  sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
  ends = np.arange(1, len(values) + 1)
  starts = ends - np.maximum((share * ends).astype(int), 1)
  return (sums[ends] - sums[starts]) / (ends - starts)


# What a cell is called on a page, and in the library.
CELLS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


def model(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> language_model.LanguageModel:
  """A language model without skips and peepholes.

  Args:
    cell: a name in `cells.cell.CELLS`.
    symbols: V.
    features: h of each layer.
    embedding: width of one below the network; 0 for one-hot vectors.
  """
  options = {"peepholes": False} if cell == "lstm" else None
  return language_model.LanguageModel(
    vocabulary_size=symbols,
    features=features,
    cell=cell,
    options=options,
    embedding=embedding,
    input_skips=False,
    output_skips=False,
  )


def network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> predictors.Predictor:
  """The same as a predictor; one object for equal arguments.

  What is compiled for it is compiled once.
  """
  return _network(cell, symbols, features, embedding)


@functools.lru_cache
def _network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int
) -> predictors.Predictor:
  return language_model.as_predictor(model(cell, symbols, features, embedding))
