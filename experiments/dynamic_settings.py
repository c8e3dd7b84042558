"""The settings of dynamic evaluation: as given, or searched on validation."""

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import assembly, phases
from seqmodels.evaluation import dynamic_rules, gradient_statistics, search
from seqmodels.io import atomic, plots


def as_given(context: phases.Context) -> dict[str, Any]:
  """The dynamic rule and its settings as configured, without a search."""
  given = context.config.dynamic
  names = dynamic_rules.RULES[given.rule].defaults
  return {
    "rule": given.rule,
    "segment": given.segment,
    **{name: given[name] for name in names},
  }


def searched(context: phases.Context) -> dict[str, Any]:
  """Settings of dynamic evaluation, searched on the validation split.

  Returns:
    `rows`, one a setting after the static one, and `best`, the settings to use.
  """
  given = context.config.dynamic
  if not given.search:
    return {"rows": [], "best": as_given(context)}

  rows: list[dict[str, Any]] = []
  for segment in given.search_segments:
    name = f"search {given.rule}, segments of {segment}"
    found = phases.phase(
      context, name, functools.partial(_searched, context, segment)
    )
    kept = found["rows"] if not rows else found["rows"][1:]
    rows.extend({**row, "segment": segment} for row in kept)
  numbers = [
    {key: math.inf if value is None else value for key, value in row.items()}
    for row in rows
  ]
  best = search.winner(numbers)
  names = ("rule", "segment", *dynamic_rules.RULES[given.rule].defaults)
  found = {"rows": rows, "best": {name: best[name] for name in names}}
  atomic.write_json(context.workdir / "dynamic_search.json", found)
  varied = ("learning_rate", "decay" if given.rule == "rms" else "momentum")
  plots.dynamic_search(
    numbers,
    context.workdir / "figures" / "dynamic_search.png",
    settings=("learning_rate", "segment", varied[1]),
  )
  return found


def _searched(context: phases.Context, segment: int) -> dict[str, Any]:
  """Every setting on the first validation symbols, cut into such segments."""
  given = context.config.dynamic
  grid: dict[str, Any] = {"learning_rate": tuple(given.search_rates)}
  if given.rule == "rms":
    grid["decay"] = tuple(given.search_decays)
    grid["epsilon"] = (given.epsilon,)
  else:
    grid["momentum"] = tuple(given.search_momenta)
  pieces = assembly.chunks(
    context.tokens,
    "valid",
    streams_count=1,
    length=segment,
    symbols=given.search_symbols,
  )
  found = search.search(
    context.predictor,
    context.params,
    pieces,
    given.rule,
    grid,
    statistics=statistics(context, given.rule),
    together=given.search_together,
    callback=phases.watch(context, f"search, segments of {segment}", segment),
  )
  return {"rows": [_finite(row) for row in found.rows]}


def make_rule(context: phases.Context, chosen: Mapping[str, Any]) -> Any:
  """The dynamic rule of some settings."""
  names = dynamic_rules.RULES[chosen["rule"]].defaults
  return dynamic_rules.make(
    chosen["rule"],
    context.params,
    {name: chosen[name] for name in names},
    statistics=statistics(context, chosen["rule"]),
  )


def statistics(context: phases.Context, rule: str) -> Any:
  """Root mean squares of training gradients, for the rule `rms` alone."""
  if rule != "rms":
    return None
  given = context.config.dynamic
  length = context.config.training.segment
  pieces = assembly.chunks(
    context.tokens,
    "train",
    streams_count=given.statistics_streams,
    length=length,
    symbols=given.statistics_segments * given.statistics_streams * length,
  )
  return gradient_statistics.measure(
    context.predictor,
    context.params,
    pieces,
    streams=given.statistics_streams,
  )


def _finite(row: Mapping[str, Any]) -> dict[str, Any]:
  """A diverged setting keeps its row; JSON knows no NaN."""
  return {
    key: None if isinstance(value, float) and not np.isfinite(value) else value
    for key, value in row.items()
  }


def describe(chosen: Mapping[str, Any]) -> str:
  """Settings in a few words.

  >>> describe({"rule": "sgd", "segment": 20, "learning_rate": 0.01,
  ...           "momentum": 0.0})
  'sgd, segments of 20, learning rate 0.01, momentum 0'
  """
  settings = [
    f"{name.replace('_', ' ')} {value:g}"
    for name, value in chosen.items()
    if name not in ("rule", "segment")
  ]
  return ", ".join(
    [str(chosen["rule"]), f"segments of {chosen['segment']}", *settings]
  )
