"""The limits of each setting, checked once when a run begins.

The flags alone are not enough: they take anything for a list, and any number
for a number.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import config_dict

from seqmodels import errors


def flatten(
  config: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, Any]]:
  """Every setting under its dotted name, in the tree's order.

  >>> dict(flatten({"seed": 0, "model": {"cell": "lstm"}}))
  {'seed': 0, 'model.cell': 'lstm'}
  """
  for key in config:
    value, name = config[key], f"{prefix}{key}"
    if isinstance(value, Mapping | config_dict.ConfigDict):
      yield from flatten(value, f"{name}.")
    else:
      yield name, value


class Rule(NamedTuple):
  """The limit of a setting: a test, and the test in words."""

  holds: Callable[[Any], bool]
  words: str


def whole(least: int) -> Rule:
  """An integer, at least `least`."""
  return Rule(
    lambda value: _is_int(value) and value >= least,
    f"a whole number, at least {least}",
  )


def number(*, above: float | None = None, least: float | None = None) -> Rule:
  """A finite number above or at least a bound."""

  def holds(value: Any) -> bool:
    return (
      isinstance(value, int | float)
      and not isinstance(value, bool)
      and abs(value) < float("inf")
      and (above is None or value > above)
      and (least is None or value >= least)
    )

  bound = f"above {above:g}" if above is not None else ""
  bound = f"at least {least:g}" if least is not None else bound
  return Rule(holds, f"a number {bound}".strip())


def within(low: float, high: float) -> Rule:
  """A number in [low, high)."""
  return Rule(
    lambda value: number(least=low).holds(value) and value < high,
    f"a number from {low:g} up to, but not including, {high:g}",
  )


def share() -> Rule:
  """A number in (0, 1]."""
  return Rule(
    lambda value: number(above=0).holds(value) and value <= 1,
    "a number above 0, up to 1",
  )


def between(low: float, high: float) -> Rule:
  """A number in [low, high]."""
  return Rule(
    lambda value: number(least=low).holds(value) and value <= high,
    f"a number from {low:g} to {high:g}",
  )


def several(rule: Rule, *, empty: bool = False) -> Rule:
  """A tuple whose members all hold `rule`."""
  return Rule(
    lambda value: (
      isinstance(value, tuple | list)
      and (empty or len(value) > 0)
      and all(rule.holds(member) for member in value)
    ),
    f"a comma-separated list, each {rule.words}",
  )


def one_of(*choices: str) -> Rule:
  """One of some names."""
  return Rule(
    lambda value: value in choices,
    "one of " + ", ".join(repr(choice) for choice in choices),
  )


RULES: dict[str, Rule] = {
  # JAX keeps 32 bits of it: larger seeds would repeat smaller ones.
  "seed": Rule(
    lambda value: _is_int(value) and 0 <= value < 2**32,
    "a whole number from 0 to 4294967295",
  ),
  "seeds": whole(1),
  # Empty where a trained run is reloaded, and keeps its own.
  "dtype": one_of("", "auto", "float32", "bfloat16"),
  "data.min_frequency": whole(1),
  "data.limit": whole(0),
  "model.features": several(whole(1)),
  "model.gradient_clip": number(least=0),
  "model.forget_bias": between(-1e4, 1e4),
  "model.cell_clip": number(least=0),
  "model.recurrent_init": one_of("uniform", "orthogonal"),
  "model.embedding": whole(0),
  "model.rounds": whole(0),
  "model.rank": whole(0),
  "regularization.weight_noise": number(least=0),
  "regularization.adaptive": number(least=0),
  "regularization.complexity": number(least=0),
  "regularization.squares": one_of("signs", "exact"),
  "regularization.drop_connect": within(0, 1),
  "regularization.dropout_embedding": within(0, 1),
  "regularization.dropout_input": within(0, 1),
  "regularization.dropout_hidden": within(0, 1),
  "regularization.dropout_output": within(0, 1),
  "regularization.zoneout_cell": within(0, 1),
  "regularization.zoneout_state": within(0, 1),
  "training.epochs": within(0, 1e6),
  "training.sampling": one_of("sequential", "random", "sentences"),
  "training.reduction": one_of("mean", "sum"),
  "model.chunk": whole(0),
  "training.batch": whole(1),
  "training.segment": whole(1),
  "training.learning_rate": number(above=0),
  "training.momentum": within(0, 1),
  "training.warmup_steps": whole(0),
  "training.clip_norm": number(least=0),
  "training.steps_per_dispatch": whole(1),
  "training.average": between(0, 1),
  "training.select": one_of("validation", "description_length", "last"),
  "training.patience": whole(0),
  "training.evaluations_per_epoch": whole(1),
  "training.checkpoint_every": whole(1),
  "training.reset_every": whole(0),
  "training.max_steps": whole(0),
  "training.model_shards": whole(1),
  "evaluation.streams": whole(1),
  "evaluation.segment": whole(1),
  "evaluation.validation_streams": whole(1),
  "evaluation.train_symbols": whole(0),
  "dynamic.learning_rate": number(above=0),
  "dynamic.momentum": within(0, 1),
  "dynamic.decay": number(least=0),
  "dynamic.epsilon": number(above=0),
  "dynamic.rule": one_of("", "sgd", "rms"),
  "dynamic.segment": whole(1),
  "dynamic.search_momenta": several(within(0, 1)),
  "dynamic.search_segments": several(whole(1)),
  "dynamic.search_together": whole(1),
  "dynamic.statistics_streams": whole(1),
  "dynamic.statistics_segments": whole(0),
  "dynamic.search_symbols": whole(0),
  "dynamic.search_rates": several(number(above=0)),
  "dynamic.search_decays": several(number(least=0)),
  "dynamic.search_epsilons": several(number(above=0)),
  "baselines.ngram_order": whole(0),
  "sample.length": whole(0),
  # Handwriting.
  "training.points": whole(0),
  "model.network": one_of("prediction", "synthesis"),
  "model.components": whole(1),
  "model.window": whole(1),
  "model.output_clip": number(least=0),
  "evaluation.batch": whole(1),
  "evaluation.train_lines": whole(0),
  "sample.biases": several(between(0, 10), empty=True),
  "sample.lines": whole(0),
  "sample.points": whole(1),
  "sample.points_per_character": whole(1),
  "sample.texts": several(
    Rule(lambda value: isinstance(value, str), "a text"), empty=True
  ),
  "sample.statistics": whole(0),
  "weights": one_of("float32", "bfloat16"),
  "bias": between(0, 10),
  "width": whole(1),
  "points_per_character": whole(1),
  "sample.temperature": between(0, 1e37),  # float32 ends soon after
  "sample.top_k": whole(0),
  "sample.nucleus": share(),
  "sample.beam": whole(0),
  "sample.length_penalty": number(least=0),
}


def validate(
  config: config_dict.ConfigDict, rules: Mapping[str, Rule] | None = None
) -> None:
  """Checks types and ranges once, where the flags could not.

  Settings without a rule pass, rules without a setting are idle, so one table
  serves every page.

  Args:
    config: the settings, overrides applied.
    rules: more rules by dotted name, over `RULES`.

  Raises:
    UserError: one sentence that names every faulty setting, its value and what
      it must be.

  >>> validate(config_dict.ConfigDict({"training": {"batch": 0}}))
  Traceback (most recent call last):
    ...
  seqmodels.errors.UserError: config.training.batch is 0; it must be a whole \
number, at least 1
  """
  table = {**RULES, **(rules or {})}
  faults = []
  for name, value in flatten(config):
    rule = table.get(name)
    if rule is None or rule.holds(value):
      continue
    hint = ""
    if isinstance(value, str):
      near = difflib.get_close_matches(value, rule.words.split("'"), n=1)
      hint = f" (did you mean {near[0]!r}?)" if near else ""
    faults.append(f"config.{name} is {value!r}{hint}; it must be {rule.words}")
  if faults:
    raise errors.UserError("; ".join(faults))


def _is_int(value: Any) -> bool:
  return isinstance(value, int) and not isinstance(value, bool)
