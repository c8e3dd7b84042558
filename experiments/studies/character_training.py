"""A small network trained on the symbols of a text, for studies."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from seqmodels import errors
from seqmodels.data import chunked, corpus, recoded, streams
from seqmodels.evaluation import static, totals
from seqmodels.models import predictor as predictors
from seqmodels.training import optimizers
from seqmodels.training import state as states
from seqmodels.training import step as train_step

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
  check: Callable[[], None] = lambda: None,
) -> Trained:
  """Trains for some steps.

  Args:
    predictor: the model.
    text: a stream: anything with `segments(start, count)`, and the `batch`
      whose state it needs.
    optimizer: the rule.
    steps: segments to learn from.
    seed: of the weights.
    check: called after each dispatch; may raise to stop.
  """
  state = states.create(predictor, optimizer, batch=text.batch, seed=seed)
  run = train_step.make_train_steps(predictor, optimizer)
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
  predictor: predictors.Predictor, random: np.random.Generator, deviation: float
) -> Any:
  """Normal weights in the shapes of a model's own, biases too.

  For where any weights will do: nothing is compiled.
  """
  shapes = jax.eval_shape(predictor.init, jax.random.key(0))
  return jax.tree.map(
    lambda leaf: jax.device_put(
      (deviation * random.normal(size=leaf.shape)).astype(leaf.dtype)
    ),
    shapes,
  )


def on_streams(
  study: Any, predictor: predictors.Predictor, ids: recoded.Ids
) -> Trained:
  """Trains as a study's settings say: Adam on a text in parallel rows.

  Args:
    study: its `config.settings` has batch, segment, steps, learning_rate and
      schedule.
    predictor: the model.
    ids: the training text.
  """
  settings = study.config.settings
  return train(
    predictor,
    streams.SequentialStream(
      ids, batch=settings.batch, length=settings.segment, training=True
    ),
    optimizers.build(
      "adam",
      learning_rate=settings.learning_rate,
      schedule=settings.schedule,
      steps=settings.steps,
      clip_norm=1.0,
    ),
    steps=settings.steps,
    seed=study.config.seed,
    check=study.signals.check,
  )


def held_out(
  predictor: predictors.Predictor,
  params: Any,
  ids: recoded.Ids,
  *,
  rows: int = 8,
  length: int = 50,
) -> totals.Totals:
  """The score of a text that was not trained on, in a few parallel streams."""
  rows = min(rows, len(ids))
  stream = streams.SequentialStream(ids, batch=rows, length=length)
  chunks = chunked.Chunks.of(stream, stream.segments_per_epoch)
  return static.evaluate(predictor, params, chunks, streams=rows)


def encode(tokens: corpus.Tokens, prefix: str) -> np.ndarray:
  """The ids of a prefix, [P].

  Raises:
    UserError: it is empty, or the text has no such character.
  """
  if not prefix:
    raise errors.UserError(
      "config.settings.prefix is empty; give at least one character to go on "
      "from"
    )
  unknown = [x for x in prefix if x not in tokens.vocabulary]
  if unknown:
    raise errors.UserError(
      f"config.settings.prefix is {prefix!r} and {unknown[0]!r} is not among "
      f"the {tokens.vocabulary.size} characters of the text; use its own"
    )
  return tokens.vocabulary.encode(prefix)


def decode(tokens: corpus.Tokens, ids: Sequence[int] | np.ndarray) -> str:
  """The text of some ids."""
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def smooth(values: np.ndarray, share: float = 0.1) -> np.ndarray:
  """Each value's mean with those before it, the last `share` of them all.

  The window grows with the step, as a logarithmic axis wants it.

  >>> smooth(np.array([1.0, 3.0, 5.0, 7.0]), 0.5)
  array([1., 3., 4., 6.])
  """
  sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
  ends = np.arange(1, len(values) + 1)
  starts = ends - np.maximum((share * ends).astype(int), 1)
  return (sums[ends] - sums[starts]) / (ends - starts)
