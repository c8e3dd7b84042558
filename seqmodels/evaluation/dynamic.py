"""Dynamic evaluation: the network learns from each segment once it is scored.

A rule is a frozen dataclass registered as a pytree: its type is static, its
settings are traced arrays. One compiled evaluation therefore serves every
setting, and `jax.vmap` over a stack of rules is a grid search.

| name  | rule                                                              |
|-------|-------------------------------------------------------------------|
| `sgd` | gradient descent with momentum, as Graves (2013) trains           |
| `rms` | Krause et al. (2017): RMS-scaled steps, decay to trained weights  |
"""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.evaluation import static
from seqmodels.evaluation.static import Scores
from seqmodels.losses import Metrics
from seqmodels.models.networks import SequenceModel

Tree = Any


class Rule(Protocol):
  """The contract of an update rule: two pure functions over a parameter tree.

  Attributes:
    reduction: which loss of a segment it wants the gradient of: its `sum` or
      its `mean` over the scored symbols.
    defaults: the names of its settings, with their default values.
  """

  reduction: ClassVar[str]
  defaults: ClassVar[Mapping[str, float]]

  def init(self, params: Tree) -> Tree:
    """State before the first update."""
    ...

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """`(params, state)` after one segment's gradients."""
    ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SGD:
  """Gradient descent with momentum; the velocity crosses segments.

      v     <- momentum * v + g
      theta <- theta - learning_rate * v

  g is the gradient of the SUM of nats over a segment, as in Graves (2013),
  whose learning rates (1e-4 with momentum 0.99 or 0.9) are per sequence and
  not divided by its length. The paper states neither setting for its dynamic
  evaluation; the defaults are the training ones of its Wikipedia network.

  >>> rule = SGD(jnp.float32(0.5), jnp.float32(0.0))
  >>> params = jnp.zeros(2)
  >>> params, _ = rule.update(jnp.ones(2), rule.init(params), params)
  >>> params.tolist()
  [-0.5, -0.5]
  """

  reduction: ClassVar[str] = "sum"
  defaults: ClassVar[Mapping[str, float]] = {
    "learning_rate": 1e-4,
    "momentum": 0.9,
  }

  learning_rate: jax.Array
  momentum: jax.Array

  def init(self, params: Tree) -> Tree:
    """Zero velocities."""
    return jax.tree.map(jnp.zeros_like, params)

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """One step against the velocity."""
    velocity = jax.tree.map(
      lambda v, g: self.momentum * v + g, state, gradients
    )
    params = jax.tree.map(
      lambda p, v: p - self.learning_rate * v, params, velocity
    )
    return params, velocity


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RMS:
  """Krause et al. (2017): RMS-scaled steps and decay to the trained weights.

      rate_i <- min(MS_i / normaliser, 1 / decay)
      theta  <- theta + decay * rate_i * (theta_0 - theta)
                      - learning_rate * g_i / (MS_i + epsilon)

  g is the gradient of the MEAN nats over a segment's scored symbols, so the
  settings that suit one length are about in proportion to it (Krause et al.
  multiply learning rate and decay by length / 5). `statistics` is MS, the root
  mean square of each weight's gradient over the training data, collected once
  by `measure_statistics`; `normaliser` is the mean over tensors of
  mean(MS);
  `anchor` is theta_0. The rule keeps no state.

  The defaults are those published with the paper for words in segments of 5.
  Its tables print the learning rate and epsilon times the root of the number of
  statistics batches, and the decay times the number of tensors.
  """

  reduction: ClassVar[str] = "mean"
  defaults: ClassVar[Mapping[str, float]] = {
    "learning_rate": 5e-5,
    "decay": 2e-3,
    "epsilon": 2e-5,
  }

  learning_rate: jax.Array
  decay: jax.Array
  epsilon: jax.Array
  anchor: Tree
  statistics: Tree
  normaliser: jax.Array

  def init(self, params: Tree) -> Tree:
    """Nothing to carry."""
    del params
    return ()

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """One scaled step and one pull back."""

    def leaf(
      theta: jax.Array, g: jax.Array, theta_0: jax.Array, ms: jax.Array
    ) -> jax.Array:
      # decay * rate, capped at 1: a step never goes past the trained weight.
      pull = jnp.minimum(self.decay * ms / self.normaliser, 1.0)
      step = self.learning_rate * g / (ms + self.epsilon)
      return theta + pull * (theta_0 - theta) - step

    params = jax.tree.map(leaf, params, gradients, self.anchor, self.statistics)
    return params, state


RULES: Mapping[str, type[SGD] | type[RMS]] = {"sgd": SGD, "rms": RMS}


def make_rule(
  name: str,
  params: Tree,
  settings: Mapping[str, float] | None = None,
  *,
  statistics: Tree | None = None,
) -> SGD | RMS:
  """A rule by its name.

  Args:
    name: a key of `RULES`.
    params: the trained weights; `rms` decays towards them.
    settings: values for some of the rule's `defaults`.
    statistics: of `measure_statistics`; `rms` needs them.

  Raises:
    errors.UserError: an unknown rule or setting, a negative value, or `rms`
      without its statistics.

  >>> float(make_rule("sgd", {}, {"momentum": 0.5}).momentum)
  0.5
  """
  if name not in RULES:
    raise errors.UserError(
      f"there is no dynamic rule {name!r}{errors.closest(name, RULES)}"
    )
  defaults = RULES[name].defaults
  settings = dict(settings or {})
  for key, value in settings.items():
    if key not in defaults:
      raise errors.UserError(
        f"the dynamic rule {name!r} has no setting {key!r}"
        f"{errors.closest(key, defaults)}"
      )
    if not value >= 0:
      raise errors.UserError(
        f"{key} of the dynamic rule {name!r} is {value}; it must be at least 0"
      )
  values = {
    key: jax.device_put(np.float32(value))
    for key, value in {**defaults, **settings}.items()
  }
  if name == "sgd":
    return SGD(**values)
  if statistics is None:
    raise errors.UserError(
      "the dynamic rule 'rms' needs gradient statistics; collect them with "
      "dynamic.measure_statistics on training segments"
    )
  return RMS(
    **values,
    anchor=params,
    statistics=statistics,
    normaliser=_mean_of_means(statistics),
  )


@jax.jit
def _mean_of_means(statistics: Tree) -> jax.Array:
  means = [jnp.mean(leaf) for leaf in jax.tree.leaves(statistics)]
  return jnp.mean(jnp.stack(means))


class StatisticsState(NamedTuple):
  """Everything that passes from one segment to the next: a plain pytree.

  Saved and passed back to `statistics_steps`, it continues the pass exactly.

  Attributes:
    carry: the model's recurrent state.
    squares: sums of squared gradients, a float32 tree like the weights.
    segments: int32, those that scored something.
  """

  carry: Tree
  squares: Tree
  segments: jax.Array


def measure_statistics(
  predictor: SequenceModel,
  params: Tree,
  segments: Any,
  *,
  streams: int,
) -> Tree:
  """MS: root mean square of each weight's gradient over training segments.

      MS_i = sqrt( mean over segments of g_i^2 )

  with g the gradient of the mean nats over the scored symbols of one segment
  of all streams, at fixed weights, the carry crossing segments. Krause et al.
  (2017) use 100 streams and the whole training set: a part of it misses rare
  symbols, whose MS then comes out far too small. MS shrinks as streams and
  steps grow, so learning rates belong to the batch and length it was taken
  with. Segments with nothing scored do not count.

  Args:
    predictor: the model.
    params: the trained weights.
    segments: training segments, as `static.each` takes them.
    streams: their number of streams.

  Returns:
    A float32 tree like `params`.

  Raises:
    errors.UserError: no segment scores anything, or shapes are wrong.

  Example: for equal logits the gradient is the softmax, 1/4, less the share
  of each symbol among the targets, here always 1 for symbol 0.

  >>> counter = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = jnp.zeros((20, 5, 1), int)
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> measure_statistics(counter, jnp.zeros(4), text, streams=1).tolist()
  [0.75, 0.25, 0.25, 0.25]
  """
  first = initial_statistics(predictor, params, streams=streams)
  state = first
  for after in statistics_steps(
    predictor, params, first, segments, streams=streams
  ):
    state = after
  return root_mean_square(state)


@functools.partial(jax.jit, static_argnames=("predictor", "streams"))
def initial_statistics(
  predictor: SequenceModel, params: Tree, *, streams: int
) -> StatisticsState:
  """The state before the first segment: nothing collected."""
  squares = jax.tree.map(
    lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params
  )
  return StatisticsState(
    predictor.initial_carry(streams), squares, jnp.int32(0)
  )


def statistics_steps(
  predictor: SequenceModel,
  params: Tree,
  state: StatisticsState,
  segments: Any,
  *,
  streams: int,
) -> Iterator[StatisticsState]:
  """The state after each chunk of segments, one dispatch a chunk.

  For those who keep the state between chunks: save what is yielded before
  asking for the next, which overwrites it. Beside the weights there are the
  sums of squares and one segment's gradient in memory.
  """
  for chunk in static.each(segments, streams=streams):
    state = _add_squares(predictor, params, state, chunk)
    # A caller that shows progress or saves wants the work done, not queued.
    jax.block_until_ready(state.segments)
    yield state


def root_mean_square(state: StatisticsState) -> Tree:
  """MS of what was collected; see `measure_statistics`.

  Raises:
    errors.UserError: nothing was scored.
  """
  if not int(jax.device_get(state.segments)):
    raise errors.UserError(
      "gradient statistics were asked for over segments that score nothing; "
      "give at least one training segment"
    )
  return _root_mean(state.squares, state.segments)


@jax.jit
def _root_mean(squares: Tree, count: jax.Array) -> Tree:
  return jax.tree.map(lambda leaf: jnp.sqrt(leaf / count), squares)


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("state",)
)
def _add_squares(
  predictor: SequenceModel,
  params: Tree,
  state: StatisticsState,
  chunk: static.Chunk,
) -> StatisticsState:

  def mean_nats(
    params: Tree, carry: Tree, piece: static.Chunk
  ) -> tuple[jax.Array, tuple[Tree, jax.Array]]:
    loss, (carry, metrics) = predictor.score(params, carry, piece)
    return jnp.sum(loss) / jnp.maximum(metrics.count, 1), (carry, metrics.count)

  def segment(
    state: StatisticsState, piece: static.Chunk
  ) -> tuple[StatisticsState, None]:
    carry, squares, live = state
    gradients, (carry, count) = jax.grad(mean_nats, has_aux=True)(
      params, carry, piece
    )
    squares = jax.tree.map(
      lambda s, g: s + jnp.square(g.astype(jnp.float32)), squares, gradients
    )
    return StatisticsState(carry, squares, live + (count > 0)), None

  state, _ = jax.lax.scan(segment, state, chunk)
  return state


class State(NamedTuple):
  """Everything that passes from one segment to the next: a plain pytree.

  Saved and handed back to `advance`, it continues an evaluation exactly.

  Attributes:
    params: the weights as learnt so far.
    memory: the rule's state.
    carry: the model's recurrent state.
  """

  params: Tree
  memory: Tree
  carry: Tree


def initial_state(
  predictor: SequenceModel,
  params: Tree,
  rule: Rule,
  *,
  streams: int = 1,
) -> State:
  """The state before the first segment, on copies of the given weights."""
  memory, carry = _beginnings(predictor, rule, params, streams)
  # A copy, because `advance` overwrites what it is given.
  params = jax.tree.map(lambda leaf: jnp.array(leaf, copy=True), params)
  return State(params, memory, carry)


@functools.partial(jax.jit, static_argnames=("predictor", "streams"))
def _beginnings(
  predictor: SequenceModel,
  rule: Rule,
  params: Tree,
  streams: int,
) -> tuple[Tree, Tree]:
  # Compiled, because building constants eagerly is a transfer to the device.
  return rule.init(params), predictor.initial_carry(streams)


def evaluate(
  predictor: SequenceModel,
  params: Tree,
  segments: Any,
  rule: Rule,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> Metrics:
  """Totals of a split that the model learns from while it is scored.

  Each segment is scored with the weights that the segments before it left,
  and only then learnt from. The gradient of a segment is cut at its start;
  the carry crosses. `params` are left as they are.

  Args:
    predictor: the model.
    params: the trained weights; only read.
    segments: a chunk of segments `[K, T, B]`, or an iterable of chunks; see
      `static.each`. T is the unit of learning, so the score depends on it.
    rule: how to learn, of `make_rule`; its settings are traced.
    streams: the B of the segments. With several, one set of weights learns
      from all streams at once.
    callback: called after each chunk with the segments done and those there
      are (None where `segments` is an iterator); may raise to stop.

  Raises:
    errors.UserError: the segments are not of the announced shape.

  Example: a predictor of no context learns that the text is all zeros.

  >>> counter = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = jnp.zeros((20, 5, 1), int)
  >>> rule = make_rule("sgd", None, {"learning_rate": 1.0})
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> found = evaluate(counter, jnp.zeros(4), text, rule)
  >>> found.count, found.bits_per_symbol < 0.2
  (100, True)
  """
  scores, _ = score(
    predictor, params, segments, rule, streams=streams, callback=callback
  )
  return scores.totals()


def score(
  predictor: SequenceModel,
  params: Tree,
  segments: Any,
  rule: Rule,
  *,
  streams: int = 1,
  callback: Callable[[int, int | None], None] | None = None,
) -> tuple[Scores, State]:
  """Like `evaluate`: scores segment by segment, and the state at the end."""
  start = time.perf_counter()
  first = initial_state(predictor, params, rule, streams=streams)
  state = first
  scores: list[Scores] = []
  done, total = 0, static.count(segments)
  for last, part in steps(predictor, first, segments, rule, streams=streams):
    state = last
    scores.append(part)
    done += len(part.metrics.count)
    if callback is not None:
      callback(done, total)
  seconds = time.perf_counter() - start
  return Scores.concatenate(scores, seconds=seconds), state


def steps(
  predictor: SequenceModel,
  state: State,
  segments: Any,
  rule: Rule,
  *,
  streams: int = 1,
) -> Iterator[tuple[State, Scores]]:
  """One dispatch a chunk: the state after it, and its scores.

  For those who keep the state between chunks: save what is yielded before
  asking for the next, which overwrites it. A saved state and the segments
  that follow continue from there.
  """
  for chunk in static.each(segments, streams=streams):
    start = time.perf_counter()
    state, metrics = advance(predictor, rule, state, chunk)
    metrics = jax.device_get(metrics)
    yield state, Scores(metrics, time.perf_counter() - start)


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("state",)
)
def advance(
  predictor: SequenceModel,
  rule: Rule,
  state: State,
  chunk: static.Chunk,
) -> tuple[State, Metrics]:
  """One compiled scan over the K segments of a chunk, weights in its carry.

  Args:
    predictor: the model; static.
    rule: how to learn; its type is static, its settings are traced.
    state: given up to the call.
    chunk: `[K, T, B]`.

  Returns:
    The state after the chunk, and metrics `[K]`.
  """

  def loss(
    params: Tree, carry: Tree, piece: static.Chunk
  ) -> tuple[jax.Array, tuple[Tree, Metrics]]:
    by_stream, (carry, metrics) = predictor.score(params, carry, piece)
    total = jnp.sum(by_stream)
    if rule.reduction == "mean":
      total = total / jnp.maximum(metrics.count, 1)
    return total, (carry, metrics)

  def segment(state: State, piece: static.Chunk) -> tuple[State, Metrics]:
    # The carry enters as a constant, so no gradient reaches past this segment.
    gradients, (carry, metrics) = jax.grad(loss, has_aux=True)(
      state.params, state.carry, piece
    )
    params, memory = rule.update(gradients, state.memory, state.params)
    return State(params, memory, carry), metrics

  return jax.lax.scan(segment, state, chunk)


Row = dict[str, Any]


def search(
  predictor: SequenceModel,
  params: Tree,
  validation: Any,
  rule: str,
  grid: Mapping[str, Sequence[float]],
  *,
  symbols: int | None = None,
  statistics: Tree | None = None,
  streams: int = 1,
  together: int = 1,
  callback: Callable[[int, int], None] | None = None,
) -> list[Row]:
  """Dynamic evaluation under every combination of settings.

  The segment length is a setting too, and the most telling one: search once
  for each cut of the validation split and join the rows.

  Args:
    predictor: the model.
    params: the trained weights; only read.
    validation: segments of the VALIDATION split, as `static.each` takes them.
      Choosing on the test split would make its score a training score.
    rule: a key of `RULES`.
    grid: values by setting name; settings left out keep their defaults.
    symbols: score only the first so many symbols.
    statistics: of `measure_statistics`, for `rms`.
    streams: number of streams of the segments.
    together: how many settings to run at once under `jax.vmap`, each with its
      own copy of the weights in memory (`seconds` is then an equal share). 1
      runs them one after another. Either way all settings share what is
      compiled.
    callback: called after each chunk of each group with the segments done and
      those there are, over all settings; may raise to stop.

  Returns:
    One dict a setting, after a first row for static evaluation of the same
    symbols: `rule`, the settings by name, `nats`, `count`, `bits_per_symbol`,
    `perplexity`, `error_rate`, `seconds`. A setting that diverged keeps its
    row, with NaN or infinite nats.

  Raises:
    errors.UserError: an unknown rule or setting, an empty grid, no segments.

  Example: which learning rate suits a text of zeros.

  >>> counter = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = np.zeros((20, 5, 1), np.int32)
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> rows = search(counter, jnp.zeros(4), text, "sgd",
  ...   {"learning_rate": [0.01, 0.1], "momentum": [0.0]})
  >>> best_row(rows)["learning_rate"]
  0.1
  >>> [row["rule"] for row in rows]
  ['static', 'sgd', 'sgd']
  """
  settings = combinations(grid)
  rules = [  # all of them checked before any is run
    make_rule(rule, params, setting, statistics=statistics)
    for setting in settings
  ]
  if together < 1:
    raise errors.UserError(
      f"a search was to run {together} settings together; give at least 1"
    )
  split = static.first(validation, symbols)
  segments = static.count(split)
  if not rules or not segments:
    raise errors.UserError(
      f"a search over dynamic evaluation got {len(rules)} settings and "
      f"{segments} validation segments; it needs at least one of each"
    )
  baseline = static.score(predictor, params, split, streams=streams)
  rows = [_row("static", {}, baseline)]
  width = min(together, len(rules))
  for start in range(0, len(rules), width):
    group = rules[start : start + width]
    before, size = start * segments, len(group)

    def report(
      done: int, _: int | None, before: int = before, size: int = size
    ) -> None:
      if callback is not None:
        callback(before + done * size, len(rules) * segments)

    if width == 1:
      alone, _ = score(
        predictor, params, split, group[0], streams=streams, callback=report
      )
      results = [alone]
    else:
      # A short last group is filled up, so that it compiles nothing new.
      full = group + group[-1:] * (width - size)
      results = _side_by_side(predictor, params, split, full, streams, report)
    for setting, scores in zip(settings[start:], results[:size], strict=False):
      values = {**RULES[rule].defaults, **setting}
      rows.append(_row(rule, values, scores))
  return rows


def best_row(rows: Sequence[Row]) -> Row:
  """The dynamic row with the fewest nats a symbol.

  Rows of several searches (one for each segment length, say) may be mixed as
  long as they scored the same symbols. Whether it beats the static row is for
  the reader of the table to see.

  Raises:
    errors.RunError: no dynamic row has finite nats.

  >>> best_row([
  ...   {"rule": "sgd", "learning_rate": 1.0, "nats": 5.0},
  ...   {"rule": "sgd", "learning_rate": 2.0, "nats": 4.0},
  ... ])["learning_rate"]
  2.0
  """
  finite = [
    row
    for row in rows
    if row["rule"] != "static" and math.isfinite(row["nats"])
  ]
  if not finite:
    raise errors.RunError(
      "every setting of the search over dynamic evaluation diverged; give "
      "smaller learning rates"
    )
  return min(finite, key=lambda row: row["nats"])


def combinations(
  grid: Mapping[str, Sequence[float]],
) -> list[dict[str, float]]:
  """Every choice of one value a setting, the last setting fastest.

  >>> combinations({"a": [1, 2], "b": [0.5]})
  [{'a': 1, 'b': 0.5}, {'a': 2, 'b': 0.5}]
  """
  return [
    dict(zip(grid, values, strict=True))
    for values in itertools.product(*grid.values())
  ]


def _row(rule: str, settings: Mapping[str, float], scores: Scores) -> Row:
  totals = scores.totals()
  return {
    "rule": rule,
    **settings,
    "nats": totals.nats,
    "count": totals.count,
    "bits_per_symbol": totals.bits_per_symbol,
    "perplexity": totals.perplexity,
    "error_rate": totals.error_rate,
    "seconds": totals.seconds,
  }


def _side_by_side(
  predictor: SequenceModel,
  params: Tree,
  split: Sequence[static.Chunk],
  rules: Sequence[SGD | RMS],
  streams: int,
  callback: Callable[[int, int | None], None],
) -> list[Scores]:
  """Scores under each rule; all advance together, one dispatch a chunk."""
  start = time.perf_counter()
  stacked = _with_settings(
    rules[0],
    lambda name: jnp.stack([getattr(rule, name) for rule in rules]),
  )
  first = initial_state(predictor, params, rules[0], streams=streams)
  states = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(rules)), first)
  parts: list[Metrics] = []
  done = 0
  for chunk in static.each(split, streams=streams):
    states, metrics = _advance_all(predictor, stacked, states, chunk)
    parts.append(jax.device_get(metrics))
    done += chunk.segments
    callback(done, None)
  seconds = (time.perf_counter() - start) / len(rules)
  joined = jax.tree.map(lambda *leaves: np.concatenate(leaves, axis=1), *parts)
  return [
    Scores(jax.tree.map(lambda leaf, n=n: leaf[n], joined), seconds)
    for n in range(len(rules))
  ]


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("states",)
)
def _advance_all(
  predictor: SequenceModel,
  rules: SGD | RMS,
  states: State,
  chunk: static.Chunk,
) -> tuple[State, Metrics]:
  """`dynamic.advance` over a leading axis of settings and states."""
  axes = _with_settings(jax.tree.map(lambda _: None, rules), lambda _: 0)
  advance_one = functools.partial(advance, predictor)
  return jax.vmap(advance_one, in_axes=(axes, 0, None))(rules, states, chunk)


def _with_settings(rule: SGD | RMS, value: Callable[[str], Any]) -> Any:
  """The rule, or a tree of its type, with other leaves for its settings."""
  changes: dict[str, Any] = {name: value(name) for name in rule.defaults}
  return dataclasses.replace(rule, **changes)
