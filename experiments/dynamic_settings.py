"""The settings of dynamic evaluation: as given, or searched on validation."""

import functools
import math
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from experiments import assembly, phases, resumable_dynamic
from seqmodels.evaluation import dynamic_rules, search
from seqmodels.io import atomic, plots


class Varied(NamedTuple):
  """A setting of a rule that a search varies.

  Attributes:
    values: where `config.dynamic` lists what to try.
    per: the segment length that the list is for; values for other lengths are
      in proportion, as Krause et al. (2017) scale them. 0: for any length.
  """

  values: str
  per: int = 0


# By rule and setting. The loss of `sgd` is a sum over the segment and grows
# with it; that of `rms` is a mean, so its step and pull have to.
VARIED: Mapping[str, Mapping[str, Varied]] = {
  "sgd": {
    "learning_rate": Varied("search_rates"),
    "momentum": Varied("search_momenta"),
  },
  "rms": {
    "learning_rate": Varied("search_rates", per=20),
    "decay": Varied("search_decays", per=20),
    "epsilon": Varied("search_epsilons"),
  },
}


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
    `rows`, one a setting after the static one; `best`, the settings to use; and
    `helps`, whether they did better than static evaluation where they were
    chosen (without a search nobody knows, so they may).
  """
  given = context.config.dynamic
  if not given.search:
    return {"rows": [], "best": as_given(context), "helps": True}

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
  static = numbers[0]
  found = {
    "rows": rows,
    "best": {name: best[name] for name in names},
    "helps": best["nats"] < static["nats"],
  }
  if not found["helps"]:
    print(
      f"warning: none of the {len(rows) - 1} settings searched is better than "
      f"static evaluation: {static['bits_per_symbol']:.4f} bits a symbol "
      f"static, {best['bits_per_symbol']:.4f} at best with "
      f"{describe(found['best'])}; try other learning rates",
      file=sys.stderr,
      flush=True,
    )
  atomic.write_json(context.workdir / "dynamic_search.json", found)
  # The figure draws a line for each value of the second setting that varies,
  # and takes the others at their best.
  several = [
    name
    for name in ("segment", *list(VARIED[given.rule])[::-1])
    if len({row[name] for row in numbers[1:]}) > 1
  ]
  plots.dynamic_search(
    numbers,
    context.workdir / "figures" / "dynamic_search.png",
    settings=list(dict.fromkeys(("learning_rate", *several))),
  )
  return found


def _searched(context: phases.Context, segment: int) -> dict[str, Any]:
  """Every setting on the first validation symbols, cut into such segments."""
  given = context.config.dynamic
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
    grid(given, segment),
    statistics=statistics(context, given.rule),
    together=given.search_together,
    callback=phases.watch(context, f"search, segments of {segment}", segment),
  )
  return {"rows": [_finite(row) for row in found.rows]}


def grid(given: Mapping[str, Any], segment: int) -> dict[str, list[float]]:
  """Values to try by setting, for segments of one length.

  Args:
    given: `config.dynamic`.
    segment: symbols a segment.

  >>> grid({"rule": "rms", "search_rates": (4e-4,), "search_decays": (0.02,),
  ...       "search_epsilons": (2e-5, 1e-4)}, 5)
  {'learning_rate': [0.0001], 'decay': [0.005], 'epsilon': [2e-05, 0.0001]}
  """
  return {
    name: [
      value * segment / varied.per if varied.per else value
      for value in given[varied.values]
    ]
    for name, varied in VARIED[given["rule"]].items()
  }


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
  """What the rule `rms` has to know of the training set; None for others."""
  if rule != "rms":
    return None
  return resumable_dynamic.statistics(context)


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
