"""Small networks, and the trainings that the studies share."""

import functools
import math
import re
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import ops
from seqmodels.data.text import batching, tokens
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import static
from seqmodels.losses import Metrics
from seqmodels.models import api as predictors
from seqmodels.models import language_model
from seqmodels.training import loss, optimizers, step

DISPATCH = 25  # steps of training a dispatch, and a point of the curves


@functools.cache
def cell_of(kind: str) -> cells.Cell:
  """A cell by its name, an LSTM without peepholes."""
  return cells.get(kind, **({"peepholes": False} if kind == "lstm" else {}))


def drawn_network(
  cell: cells.Cell,
  inputs: int,
  features: int,
  random: np.random.Generator,
  scale: float,
) -> Any:
  """Normal weights of that deviation, biases too; float64 where enabled."""
  shapes = jax.eval_shape(
    lambda: cell.init_params(jax.random.key(0), inputs, features)
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape)), shapes
  )


class Network(NamedTuple):
  """A recurrent layer and a linear readout, as pure functions.

  Attributes:
    kind: of the cell; an LSTM has no peepholes.
    features: H.
    inputs: width of what is read, or the number of symbols.
    outputs: width of what is said.
  """

  kind: str
  features: int
  inputs: int
  outputs: int

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

  def predictor(self) -> predictors.SequenceModel:
    """As a model of symbols."""

    def apply(params: Any, carry: Any, inputs: Any, reset: Any) -> Any:
      carry, hs = self.cell.sequence(params[0], carry, inputs, reset=reset)
      return carry, self.read(params, hs)

    return predictors.SequenceModel(
      apply, self.initial_carry, self.init, self.outputs
    )


# (model, params, carry, segment, key) -> (loss of each stream [B], outcome)
Loss = Callable[..., tuple[jax.Array, loss.Outcome]]


class Learner(NamedTuple):
  """A model with another loss, as a training step takes it."""

  init: Callable[[jax.Array], Any]
  initial_carry: Callable[[int], Any]
  score: Callable[..., tuple[jax.Array, loss.Outcome]]

  @classmethod
  def of(cls, model: Any, losses: Loss | None) -> Any:
    """The model itself, or with `losses` in place of its own."""
    if losses is None:
      return model
    score = functools.partial(losses, model)
    carry = getattr(model, "initial_carry", lambda batch: ())
    return cls(model.init, carry, score)


class Course(NamedTuple):
  """Training of S networks side by side.

  Attributes:
    nats: a scored position, by dispatch: [S, D].
    scored: positions of a dispatch, [S].
    params: weights at the end, one a network.
  """

  nats: np.ndarray
  scored: np.ndarray
  params: list[Any]


def middles(dispatches: int) -> np.ndarray:
  """The steps in the middle of so many dispatches."""
  return DISPATCH * (0.5 + np.arange(dispatches))


def train_side_by_side(
  model: predictors.SequenceModel,
  optimizer: optax.GradientTransformation,
  begun: Sequence[Any],
  segments: Callable[[int, int], Sequence[Any]],
  *,
  steps: int,
  batch: int,
  check: Callable[[], None],
  losses: Loss | None = None,
) -> Course:
  """Trains several networks as one compiled program.

  Args:
    model: of all.
    optimizer: the rule.
    begun: weights of each.
    segments: (step, count) -> what each network reads, leaves [K, T, B, ...].
    steps: how many, in whole dispatches.
    batch: B.
    check: called before each dispatch; may raise to stop.
    losses: minimised in place of the model's own.
  """

  def build(params: Any) -> step.TrainState:
    return step.TrainState(
      step=jnp.int32(0),
      params=params,
      opt_state=optimizer.init(params),
      carry=model.initial_carry(batch),
      key=jax.random.key(0),
    )

  # Stacked on the host: on the device every leaf would be a program.
  stacked = jax.tree.map(lambda *x: np.stack(x), *map(jax.device_get, begun))
  state = jax.jit(jax.vmap(build))(stacked)
  train_steps = step.make_train_steps(
    Learner.of(model, losses), optimizer, side_by_side=True
  )
  nats, scored = [], np.zeros(len(begun), int)
  for start in range(0, steps, DISPATCH):
    check()
    read = jax.tree.map(lambda *x: np.stack(x), *segments(start, DISPATCH))
    state, (metrics, _) = train_steps(state, read)
    scored = np.sum(metrics.count, axis=1)
    nats.append(np.sum(metrics.nats, axis=1) / scored)
  host = jax.device_get(state.params)
  params = [
    jax.tree.map(lambda leaf, place=place: leaf[place], host)
    for place in range(len(begun))
  ]
  return Course(np.array(nats).T, scored, params)


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
  predictor: predictors.SequenceModel,
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


def fresh(predictor: predictors.SequenceModel, seed: int) -> Any:
  """The weights that `states.create` begins with; compiled once a model."""
  key, _ = jax.random.split(jax.random.key(seed, impl="threefry2x32"))
  return jax.jit(predictor.init)(key)


@functools.lru_cache(maxsize=16)
def _program(
  predictor: predictors.SequenceModel, optimizer: optax.GradientTransformation
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
    state, report = run(state, segments)
    found.append(jax.device_get(report))
    if start:
      seconds += time.perf_counter() - begun
      symbols += int(found[-1].metrics.count.sum())
    check()
  whole = jax.tree.map(lambda *leaves: np.concatenate(leaves), *found)
  nats = whole.metrics.nats / np.maximum(whole.metrics.count, 1)
  return Trained(state.params, nats, whole.gradient_norm, symbols, seconds)


def drawn(
  predictor: predictors.SequenceModel,
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
  predictor: predictors.SequenceModel,
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
  return _optimizer(
    "adam",
    learning_rate=rate * settings.learning_rate,
    schedule=settings.schedule,
    steps=steps,
    clip_norm=1.0,
  )


_optimizer = functools.lru_cache(optimizers.build)


def held_out(
  predictor: predictors.SequenceModel,
  params: Any,
  ids: tokens.Ids,
  *,
  rows: int = 8,
  length: int = 50,
) -> Metrics:
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


def of_values(
  model: Any, params: Any, carry: Any, segment: Any, key: Any = None
) -> tuple[jax.Array, loss.Outcome]:
  """Half the squared errors of every segment [B] of numbers, each [T, B].

      1/2 sum_t (x^_{t+1} - x_{t+1})^2

  These are the nats of a Gaussian of variance 1, but for a constant. A segment
  starts from `carry`, the cleared state, which is handed on as it was.
  """
  del key
  _, predictions = model.apply(params, carry, segment.inputs)
  # A select on the error, not a product, keeps what is masked out of it.
  missed = jnp.where(segment.mask, predictions - segment.targets, 0.0)
  nats = 0.5 * jnp.sum(missed**2, axis=0)
  scored = jnp.sum(segment.mask, dtype=jnp.int32)
  return nats, (carry, Metrics(jnp.sum(nats), scored, jnp.int32(0)))


# What a cell is called on a page, and in the library.
CELLS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


@functools.lru_cache
def network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> predictors.SequenceModel:
  """A language model without skips and peepholes.

  Equal arguments give one object, so what is compiled for it is compiled once.

  Args:
    cell: a name in `cells.cell.CELLS`.
    symbols: V.
    features: h of each layer.
    embedding: width of one below the network; 0 for one-hot vectors.
  """
  model = language_model.LanguageModel(
    vocabulary_size=symbols,
    features=features,
    cell=cell,
    options={"peepholes": False} if cell == "lstm" else None,
    embedding=embedding,
    input_skips=False,
    output_skips=False,
  )
  return language_model.as_predictor(model)


def check_sizes(settings: Any, names: Sequence[str]) -> None:
  """Refuses counts of nothing, before anything is trained.

  Args:
    settings: `config.settings`.
    names: of its settings that count something, or list such counts.

  Raises:
    UserError: naming the first that is below 1.
  """
  for name in names:
    value = settings[name]
    least = value if isinstance(value, int) else min(value, default=0)
    if least < 1:
      raise errors.UserError(
        f"config.settings.{name} is {value}; it must be at least 1"
      )


def check_names(
  settings: Any, name: str, known: Collection[str], *, empty: bool = False
) -> None:
  """Refuses a list of names with one that there is not.

  Args:
    settings: `config.settings`.
    name: of the setting.
    known: the names that there are.
    empty: the list may be empty.

  Raises:
    UserError: naming the first unknown one.
  """
  unknown = [value for value in settings[name] if value not in known]
  if unknown or not (empty or settings[name]):
    wrong = f"names {unknown[0]!r}" if unknown else "is empty"
    raise errors.UserError(
      f"config.settings.{name} {wrong}; choose of {', '.join(known)}"
    )


def encode(tokens: tokens_lib.Tokens, prefix: str) -> np.ndarray:
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


def decode(tokens: tokens_lib.Tokens, ids: Sequence[int] | np.ndarray) -> str:
  """The text of some ids."""
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def visible(text: str) -> str:
  r"""The text with a mark for each space of a run of three or more.

  >>> visible("a   b  c")
  'a\u2423\u2423\u2423b  c'
  """
  return re.sub(" {3,}", lambda run: "\u2423" * len(run.group()), text)
