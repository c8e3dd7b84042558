"""A grid search over the settings of dynamic evaluation, on validation data."""

import dataclasses
import functools
import itertools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.evaluation import chunks, dynamic, dynamic_rules, static
from seqmodels.evaluation import totals as totals_lib
from seqmodels.models import predictor as predictor_lib

Tree = Any
Row = dict[str, Any]


class Search(NamedTuple):
  """What a search found.

  Attributes:
    rows: one dict a setting, after a first row for static evaluation of the
      same symbols: `rule`, the settings by name, `nats`, `count`,
      `bits_per_symbol`, `perplexity`, `error_rate`, `seconds`. A setting that
      diverged keeps its row, with NaN or infinite nats.
    best: the settings of the dynamic row with the fewest nats. Whether it
      beats the static row is for the reader of the table to see.
  """

  rows: list[Row]

  @property
  def best(self) -> dict[str, float]:
    """Settings of the best dynamic row; see `best`."""
    return best(self.rows)


def search(
  predictor: predictor_lib.Predictor,
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
) -> Search:
  """Dynamic evaluation under every combination of settings.

  The segment length is a setting too, and the most telling one: search once
  for each cut of the validation split and join the rows.

  Args:
    predictor: the model.
    params: the trained weights; only read.
    validation: segments of the VALIDATION split, as `chunks.each` takes them.
      Choosing on the test split would make its score a training score.
    rule: a key of `dynamic_rules.RULES`.
    grid: values by setting name; settings left out keep their defaults.
    symbols: score only the first so many symbols.
    statistics: of `gradient_statistics.measure`, for `rms`.
    streams: number of streams of the segments.
    together: how many settings to run at once under `jax.vmap`, each with its
      own copy of the weights in memory (`seconds` is then an equal share). 1
      runs them one after another. Either way all settings share what is
      compiled.
    callback: called after each chunk of each group with the segments done and
      those there are, over all settings; may raise to stop.

  Raises:
    errors.UserError: an unknown rule or setting, an empty grid, no segments.

  Whether any setting was finite shows when `best` is asked for.

  Example: which learning rate suits a text of zeros.

  >>> counter = predictor_lib.Predictor(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.broadcast_to(params, (*inputs.shape, 4))),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros(4), vocabulary_size=4)
  >>> ids = np.zeros((20, 5, 1), np.int32)
  >>> text = (ids, ids, ids == 0, ids > 0)
  >>> found = search(counter, jnp.zeros(4), text, "sgd",
  ...   {"learning_rate": [0.01, 0.1], "momentum": [0.0]})
  >>> found.best
  {'learning_rate': 0.1, 'momentum': 0.0}
  >>> [row["rule"] for row in found.rows]
  ['static', 'sgd', 'sgd']
  """
  settings = combinations(grid)
  rules = [  # all of them checked before any is run
    dynamic_rules.make(rule, params, setting, statistics=statistics)
    for setting in settings
  ]
  if together < 1:
    raise errors.UserError(
      f"a search was told to run {together} settings together; give at least 1"
    )
  split = chunks.first(validation, symbols)
  segments = chunks.count(split)
  if not rules or not segments:
    raise errors.UserError(
      f"a search over dynamic evaluation got {len(rules)} settings and "
      f"{segments} validation segments; it needs at least one of each"
    )
  baseline = static.evaluate(predictor, params, split, streams=streams)
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
      found = [
        dynamic.evaluate(
          predictor, params, split, group[0], streams=streams, callback=report
        )
      ]
    else:
      # A short last group is filled up, so that it compiles nothing new.
      full = group + group[-1:] * (width - size)
      found = _side_by_side(predictor, params, split, full, streams, report)
    for setting, totals in zip(settings[start:], found[:size], strict=False):
      values = {**dynamic_rules.RULES[rule].defaults, **setting}
      rows.append(_row(rule, values, totals))
  return Search(rows)


def best(rows: Sequence[Row]) -> dict[str, float]:
  """The settings of the dynamic row with the fewest nats a symbol.

  Rows of several searches (one for each segment length, say) may be mixed as
  long as they scored the same symbols.

  Raises:
    errors.RunError: no dynamic row has finite nats.

  >>> best([
  ...   {"rule": "sgd", "learning_rate": 1.0, "momentum": 0.9, "nats": 5.0},
  ...   {"rule": "sgd", "learning_rate": 2.0, "momentum": 0.9, "nats": 4.0},
  ... ])
  {'learning_rate': 2.0, 'momentum': 0.9}
  """
  row = winner(rows)
  return {key: row[key] for key in dynamic_rules.RULES[row["rule"]].defaults}


def winner(rows: Sequence[Row]) -> Row:
  """The dynamic row with the fewest nats a symbol.

  Raises:
    errors.RunError: no dynamic row has finite nats.
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


def _row(
  rule: str, settings: Mapping[str, float], totals: totals_lib.Totals
) -> Row:
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
  predictor: predictor_lib.Predictor,
  params: Tree,
  split: Sequence[chunks.Chunk],
  rules: Sequence[dynamic_rules.SGD | dynamic_rules.RMS],
  streams: int,
  callback: Callable[[int, int | None], None],
) -> list[totals_lib.Totals]:
  """Totals under each rule; all advance together, one dispatch a chunk."""
  start = time.perf_counter()
  stacked = _with_settings(
    rules[0],
    lambda name: jnp.stack([getattr(rule, name) for rule in rules]),
  )
  first = dynamic.initial_state(predictor, params, rules[0], streams=streams)
  states = jax.tree.map(lambda leaf: jnp.stack([leaf] * len(rules)), first)
  parts, done = [], 0
  for chunk in chunks.each(split, streams=streams):
    states, sums = _advance_all(predictor, stacked, states, chunk)
    parts.append(jax.device_get(sums))
    done += chunk.segments
    callback(done, None)
  seconds = (time.perf_counter() - start) / len(rules)
  nats, counts, wrong = (
    np.concatenate([part[field] for part in parts], axis=1)
    for field in range(3)
  )
  return [
    totals_lib.Scores(*each, seconds).totals()
    for each in zip(nats, counts, wrong, strict=True)
  ]


@functools.partial(
  jax.jit, static_argnames=("predictor",), donate_argnames=("states",)
)
def _advance_all(
  predictor: predictor_lib.Predictor,
  rules: dynamic_rules.SGD | dynamic_rules.RMS,
  states: dynamic.State,
  chunk: chunks.Chunk,
) -> tuple[dynamic.State, dynamic.Sums]:
  """`dynamic.advance` over a leading axis of settings and states."""
  axes = _with_settings(jax.tree.map(lambda _: None, rules), lambda _: 0)
  advance = functools.partial(dynamic.advance, predictor)
  return jax.vmap(advance, in_axes=(axes, 0, None))(rules, states, chunk)


def _with_settings(
  rule: dynamic_rules.SGD | dynamic_rules.RMS, value: Callable[[str], Any]
) -> Any:
  """The rule, or a tree of its type, with other leaves for its settings."""
  changes: dict[str, Any] = {name: value(name) for name in rule.defaults}
  return dataclasses.replace(rule, **changes)
