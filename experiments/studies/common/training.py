"""Small networks, and the trainings that the studies share."""

import functools
import itertools
import math
import operator
import re
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import ops
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.losses import Metrics
from seqmodels.models import networks
from seqmodels.training import optimizers, step

DISPATCH = 25  # steps of training a dispatch, and a point of the curves


@functools.cache
def cell_of(kind: str) -> cells.Cell:
  """A cell by its name, an LSTM without peepholes."""
  return cells.get(kind, **({"peepholes": False} if kind == "lstm" else {}))


class Network(NamedTuple):
  """A recurrent layer and a linear readout, as pure functions."""

  kind: str  # of the cell; an LSTM has no peepholes
  features: int  # H
  inputs: int  # width of what is read, or the number of symbols
  outputs: int  # width of what is said

  @property
  def cell(self) -> cells.Cell:
    """Its functions."""
    return cell_of(self.kind)

  def init(self, key: jax.Array) -> Any:
    """Fresh weights: of the cell, of the readout and its bias."""
    first, second = jax.random.split(key)
    params = self.cell.init_params(first, self.inputs, self.features)
    shape = (self.features, self.outputs)
    kernel = jax.random.normal(second, shape) / self.features**0.5
    return params, kernel, jnp.zeros(self.outputs)

  def initial_carry(self, batch: int) -> Any:
    """Zeros."""
    return self.cell.initial_carry((batch,), self.features)

  def read(self, params: Any, hs: jax.Array) -> jax.Array:
    """The readout of states [T, B, H]: [T, B, outputs]."""
    _, kernel, bias = params
    return ops.matmul(hs, kernel) + bias[None, None]

  def predictor(self) -> networks.SequenceModel:
    """As a model of symbols."""

    def apply(params: Any, carry: Any, inputs: Any, reset: Any) -> Any:
      carry, hs = self.cell.sequence(params[0], carry, inputs, reset=reset)
      return carry, self.read(params, hs)

    return networks.SequenceModel(
      apply, self.initial_carry, self.init, self.outputs
    )


class Trained(NamedTuple):
  """The outcome of a training."""

  start: Any  # weights before training
  params: Any  # and after
  # A symbol, of each step; NaN or infinite where training diverged.
  nats: np.ndarray
  norms: np.ndarray  # of each step's gradient, before any clipping
  scored: np.ndarray  # symbols of each step
  # Of the dispatches that are timed: those after the first, which compiles.
  symbols: int
  seconds: float  # what those took

  @property
  def symbols_per_second(self) -> float:
    """Speed of training; NaN where there was one dispatch only."""
    return self.symbols / self.seconds if self.seconds else math.nan


def descend(
  run: step.TrainSteps,
  state: step.TrainState,
  segments: Callable[[int, int], Any],
  *,
  steps: int,
  dispatch: int = 0,
  check: Callable[[], None] = lambda: None,
  after: Callable[[int, Any, step.StepReport], None] = lambda *_: None,
) -> Trained:
  """The loop of every training.

  Args:
    run: takes the segments of a dispatch at once.
    state: to begin with; consumed.
    segments: (step, count) -> what is read, leaves [K, T, B, ...].
    steps: segments to learn from.
    dispatch: how many at once, the last time maybe fewer; by default the
      largest divisor that `steps` and `DISPATCH` share.
    check: called around each dispatch; may raise to stop.
    after: called after each with the steps done, the weights, which the next
      dispatch overwrites, and the report.
  """
  start = jax.tree.map(np.array, state.params)
  size = dispatch or math.gcd(steps, DISPATCH)
  result, symbols, seconds = [], 0, 0.0
  for done in range(0, steps, size):
    check()
    end = min(done + size, steps)
    read = jax.device_put(segments(done, end - done))
    begun = time.perf_counter()
    state, report = run(state, read)
    result.append(jax.device_get(report))
    if done:
      seconds += time.perf_counter() - begun
      symbols += int(result[-1].metrics.count.sum())
    after(end, state.params, result[-1])
  check()
  whole = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=-1), *result)
  scored = whole.metrics.count
  nats = whole.metrics.nats / np.maximum(scored, 1)
  norms = whole.gradient_norm
  return Trained(start, state.params, nats, norms, scored, symbols, seconds)


def train(
  model: networks.SequenceModel,
  text: Any,
  optimizer: optax.GradientTransformation,
  *,
  seed: int,
  params: Any = None,
  **options: Any,
) -> Trained:
  """Trains a network; those of one model and optimizer share a program.

  `text` is a stream: anything with `segments(start, count)`, and the `batch`
  whose state it needs. The seed decides the weights, if none are given.
  `options` are those of `descend`.
  """
  # Copied: the first dispatch overwrites what it begins with.
  begun = jax.tree.map(
    np.array, fresh(model, seed) if params is None else params
  )
  state = _beginning(model, optimizer, text.batch)(begun, jax.random.key(seed))
  return descend(_program(model, optimizer), state, text.segments, **options)


_program = functools.lru_cache(maxsize=16)(step.make_train_steps)


@functools.lru_cache(maxsize=16)
def _beginning(
  model: networks.SequenceModel,
  optimizer: optax.GradientTransformation,
  batch: int,
  side_by_side: bool = False,
) -> Callable[[Any, jax.Array], step.TrainState]:
  """(weights, key) -> the state before the first step."""

  def build(params: Any, key: jax.Array) -> step.TrainState:
    carry = model.initial_carry(batch)
    opt_state = optimizer.init(params)
    return step.TrainState(jnp.int32(0), params, opt_state, carry, key)

  return jax.jit(jax.vmap(build, (0, None)) if side_by_side else build)


def fresh(model: networks.SequenceModel, seed: int) -> Any:
  """The weights that `step.create` begins with; compiled once a model."""
  key, _ = jax.random.split(jax.random.key(seed, impl="threefry2x32"))
  return jax.jit(model.init)(key)


def train_side_by_side(
  model: Any,
  optimizer: optax.GradientTransformation,
  begun: Mapping[Any, Sequence[Any]],
  segments: Callable[[int, int], Sequence[Any]],
  *,
  batch: int,
  **options: Any,
) -> dict[Any, list[Trained]]:
  """Trains several networks as one compiled program, timed together.

  `begun` has the first weights of the networks, some under each name, and
  `segments` is (step, count) -> what each of them reads, leaves [K, T, B, ...].
  `batch` is B, and `options` are those of `descend`.
  """

  def stack(trees: Sequence[Any]) -> Any:
    # On the host: on the device every leaf would be a program.
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)

  every = [jax.device_get(one) for ones in begun.values() for one in ones]
  begin = _beginning(model, optimizer, batch, side_by_side=True)
  *parts, symbols, seconds = descend(
    step.make_train_steps(model, optimizer, side_by_side=True),
    begin(stack(every), jax.random.key(0)),
    lambda start, count: stack(segments(start, count)),
    **options,
  )
  parts = jax.device_get(parts)
  runs = (
    Trained._make(
      [*jax.tree.map(operator.itemgetter(place), parts), symbols, seconds]
    )
    for place in range(len(every))
  )
  return {
    name: list(itertools.islice(runs, len(ones)))
    for name, ones in begun.items()
  }


def by_dispatch(nats: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
  """The means of a training's losses over `DISPATCH` steps, and their places.

  >>> by_dispatch(np.arange(50.0))
  (array([12.5, 37.5]), array([12., 37.]))
  """
  parts = np.array_split(nats, max(1, len(nats) // DISPATCH))
  places = DISPATCH * (0.5 + np.arange(len(parts)))
  return places, np.array([part.mean() for part in parts])


def drawn(
  init: Callable[[jax.Array], Any],
  random: np.random.Generator,
  stddev: float,
  *,
  biases: bool = True,
) -> Any:
  """Normal weights shaped like fresh ones; nothing is compiled.

  They have 64 bits where JAX is set to them. Without `biases` these are 0.
  """

  def one(leaf: Any) -> jax.Array:
    size = stddev if biases or len(leaf.shape) > 1 else 0.0
    return jnp.asarray(size * random.normal(size=leaf.shape))

  return jax.tree.map(one, jax.eval_shape(init, jax.random.key(0)))


def on_streams(
  study: Any,
  predictor: networks.SequenceModel,
  ids: tokens_lib.Ids,
  *,
  params: Any = None,
  rate: float = 1.0,
) -> Trained:
  """Trains as a study's settings say: Adam on a text in parallel rows.

  The learning rate is `rate` times that of the settings.
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
  """The rule of a study's settings, clipped at 1: one object for equal ones."""
  return _optimizer(
    "adam",
    learning_rate=rate * settings.learning_rate,
    schedule=settings.schedule,
    steps=steps,
    clip_norm=1.0,
  )


_optimizer = functools.lru_cache(optimizers.build)


def held_out(
  predictor: networks.SequenceModel,
  params: Any,
  ids: tokens_lib.Ids,
  *,
  rows: int = 8,
  length: int = 50,
) -> Metrics:
  """The score of a text that was not trained on, in a few parallel streams."""
  rows = min(rows, len(ids))
  stream = batching.SequentialStream(ids, batch=rows, length=length)
  chunks = batching.Chunks.of(stream, stream.segments_per_epoch)
  return static.evaluate(predictor, params, chunks, streams=rows)


def row(name: str, value: float, count: int, **changes: Any) -> results.Row:
  """A result row: by default, of a perplexity on the validation text."""
  usual = {"split": "valid", "evaluation": "static", "metric": "perplexity"}
  options = {**usual, "seconds": 0.0, **changes}
  return results.row(name, value=value, count=count, **options)


def scored_row(name: str, score: Metrics, **changes: Any) -> results.Row:
  """The row of a perplexity that was measured."""
  return row(
    name, score.perplexity, score.count, seconds=score.seconds, **changes
  )


def counted(nats: np.ndarray, began: float) -> Metrics:
  """The score of symbols by the nats of each, from that time to now."""
  seconds = time.perf_counter() - began
  return Metrics(float(nats.sum()), len(nats), seconds=seconds)


def squared(predictions: jax.Array, segment: Any) -> tuple[jax.Array, Metrics]:
  """Half the squared errors of every segment [B] of numbers, each [T, B].

      1/2 sum_t (x^_{t+1} - x_{t+1})^2

  These are the nats of a Gaussian of variance 1, but for a constant.
  """
  # A select on the error, not a product, keeps what is masked out of it.
  missed = jnp.where(segment.mask, predictions - segment.targets, 0.0)
  halves = 0.5 * jnp.sum(missed**2, axis=0)
  count = jnp.sum(segment.mask, dtype=jnp.int32)
  return halves, Metrics(jnp.sum(halves), count, jnp.int32(0))


# What a cell is called on a page, and in the library.
CELLS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


@functools.lru_cache
def network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> networks.SequenceModel:
  """A language model without skips and peepholes.

  Equal arguments give one object, so what is compiled for it is compiled once.
  An embedding of width 0 is none: symbols are one-hot vectors.
  """
  model = networks.LanguageModel(
    symbols,
    recurrent.StackOptions(
      features=features,
      input_skips=False,
      output_skips=False,
      cell=cell_of(cell),
    ),
    embedding=embedding,
  )
  return model.as_model()


def check_sizes(settings: Any, *empty: str) -> None:
  """Refuses counts, and lists of counts, below 1 before anything is trained.

  All whole numbers of a study are counts. The settings in `empty` may be empty.
  """
  for name, value in settings.items():
    counts = value if isinstance(value, tuple) else (value,)
    small = any(isinstance(count, int) and count < 1 for count in counts)
    if small or not (counts or name in empty):
      raise errors.UserError(
        f"config.settings.{name} is {value}; it must be at least 1"
      )


def check_names(
  settings: Any, name: str, known: Collection[str], *, empty: bool = False
) -> None:
  """Refuses a setting that lists an unknown name, or none if not `empty`."""
  unknown = [value for value in settings[name] if value not in known]
  if unknown or not (empty or settings[name]):
    wrong = f"names {unknown[0]!r}" if unknown else "is empty"
    raise errors.UserError(
      f"config.settings.{name} {wrong}; choose of {', '.join(known)}"
    )


def encode(tokens: tokens_lib.Tokens, prefix: str) -> np.ndarray:
  """The ids of a prefix, [P]; refused if empty or not of the text."""
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


def decode(tokens: tokens_lib.Tokens, ids: Sequence[int] | np.ndarray) -> str:
  """The text of some ids."""
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def visible(text: str) -> str:
  r"""The text with a mark for each space of a run of three or more.

  >>> visible("a   b  c")
  'a\u2423\u2423\u2423b  c'
  """
  return re.sub(" {3,}", lambda run: "\u2423" * len(run.group()), text)
