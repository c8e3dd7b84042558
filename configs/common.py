"""What every config page shares: variants, the settings tree, its checks.

A page is a module with `get_config(arg="")`, where `arg` is what follows the
colon in `--config=configs/penn_char.py:weight_noise,smoke`:

    def get_config(arg: str = "") -> config_dict.ConfigDict:
      variants = common.parse(arg, ("plain", "smoke"))
      config = common.base()
      ...
      return config

No setting is None (None cannot be overridden on the command line): a zero or
an empty string switches off what it governs.
"""

import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ml_collections import config_dict

from seqmodels import errors


def parse(arg: str, allowed: Sequence[str]) -> list[str]:
  """Variants out of the part of `--config` behind the colon, in their order.

  Args:
    arg: names separated by commas; empty for none.
    allowed: the names that the page knows.

  Raises:
    UserError: a variant is unknown or given twice.

  >>> parse("plain,smoke", ("plain", "smoke"))
  ['plain', 'smoke']
  >>> parse("", ("plain", "smoke"))
  []
  """
  names = [name.strip() for name in arg.split(",")] if arg.strip() else []
  for name in names:
    if name not in allowed:
      near = difflib.get_close_matches(name, allowed, n=1)
      hint = f"did you mean {near[0]!r}? " if near else ""
      raise errors.UserError(
        f"unknown variant {name!r} in --config; {hint}this config has "
        f"{', '.join(allowed)}"
      )
    if names.count(name) > 1:
      raise errors.UserError(f"variant {name!r} is given twice in --config")
  return names


def base() -> config_dict.ConfigDict:
  """The settings of language modelling, at values that suit a small corpus.

  Fields that count steps, symbols or epochs treat 0 as "no limit" or "off".
  """
  return config_dict.ConfigDict(
    {
      "experiment": "language_modelling",
      "seed": 0,
      # Operands of the matrix products; parameters and sums stay float32.
      "dtype": "float32",
      # Run folder of an earlier run to start from.
      "restore": "",
      "data": {
        "source": "embedded",
        "tokenizer": "characters",
        "partition": "fractions",
        # File or folder, for source "text".
        "path": "",
        # Each line a sequence of its own from the null vector.
        "sentences": False,
        "min_frequency": 1,
        # Symbols kept of each split; 0 keeps all.
        "limit": 0,
      },
      "model": {
        "cell": "lstm",
        "features": (128,),
        "peepholes": True,
        "input_skips": True,
        "output_skips": True,
        # Bound of the pre-activations' derivatives; 0 leaves them alone.
        "gradient_clip": 1.0,
        "forget_bias": 1.0,
        # Recompute instead of keeping: only every so many steps' carry stays
        # in memory for the backward pass; 0 keeps all.
        "chunk": 0,
      },
      "training": {
        "epochs": 10.0,
        "batch": 32,
        "segment": 100,
        # "sequential": contiguous streams, the carry crosses segments;
        # "random": shuffled windows, each from a fresh carry.
        "sampling": "sequential",
        # Rotate the streams by a random offset every epoch.
        "random_offset": False,
        # The gradient is of the "mean" nats a symbol, or of their "sum".
        "reduction": "mean",
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "momentum": 0.9,
        "schedule": "constant",
        "warmup_steps": 0,
        # Global norm of the gradient; 0 does not clip.
        "clip_norm": 0.0,
        "steps_per_dispatch": 8,
        # Evaluations without a new best before training stops; 0 never stops.
        "patience": 0,
        "evaluations_per_epoch": 1,
        "checkpoint_every": 500,
        # Segments between resets of the carry; 0 only resets at an epoch.
        "reset_every": 0,
        "max_steps": 0,
      },
      "evaluation": {
        "streams": 1,
        "segment": 100,
        "validation_streams": 16,
      },
      "dynamic": {
        # "" leaves dynamic evaluation out.
        "rule": "sgd",
        "learning_rate": 1e-2,
        "momentum": 0.0,
        "decay": 0.0,
        "epsilon": 1e-5,
        "segment": 20,
        "search": False,
        # Validation symbols that the search scores; 0 takes all of them.
        "search_symbols": 20_000,
        "search_rates": (3e-3, 1e-2, 3e-2),
        "search_momenta": (0.0,),  # of the rule "sgd"
        "search_decays": (1e-3, 1e-2),  # of the rule "rms"
        "search_segments": (20,),
        # Settings evaluated side by side, each with its own weights.
        "search_together": 1,
        # Training segments behind the statistics of the rule "rms".
        "statistics_streams": 16,
        "statistics_segments": 50,
      },
      "baselines": {
        # Kneser-Ney n-grams over the same symbols; 0 leaves them out.
        "ngram_order": 6,
        # gzip, bzip2 and xz, of characters and bytes.
        "compressors": True,
      },
      "sample": {
        # Symbols; 0 leaves the sample out.
        "length": 500,
        "temperature": 1.0,
        "prime": "",
      },
    }
  )


def smoke(config: config_dict.ConfigDict) -> None:
  """Shrinks a language-modelling page to seconds: the same parts, all small."""
  config.data.limit = 1_500
  config.model.features = (8,) * len(config.model.features)
  config.training.update(
    epochs=1.0, max_steps=6, batch=2, segment=20, steps_per_dispatch=2
  )
  config.training.update(warmup_steps=1, checkpoint_every=2)
  config.evaluation.update(segment=20, validation_streams=2)
  config.dynamic.update(
    search_symbols=100, statistics_streams=2, statistics_segments=2
  )
  config.sample.length = 20


def exclusive(variants: Sequence[str], names: Sequence[str]) -> None:
  """Refuses variants that contradict each other.

  Raises:
    UserError: more than one of `names` was asked for.

  >>> exclusive(["graves", "smoke"], ("graves", "standard"))
  """
  both = [name for name in names if name in variants]
  if len(both) > 1:
    raise errors.UserError(
      f"the variants {' and '.join(both)} exclude each other; name one in "
      "--config"
    )


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
  """What a setting must hold: a test, and the test in words."""

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
  "seed": whole(0),
  # Empty where a trained run is reloaded, and keeps its own.
  "dtype": one_of("", "float32", "bfloat16"),
  "data.min_frequency": whole(1),
  "data.limit": whole(0),
  "model.features": several(whole(1)),
  "model.gradient_clip": number(least=0),
  "model.forget_bias": number(),
  "training.epochs": number(least=0),
  "training.sampling": one_of("sequential", "random"),
  "training.reduction": one_of("mean", "sum"),
  "model.chunk": whole(0),
  "training.batch": whole(1),
  "training.segment": whole(1),
  "training.learning_rate": number(above=0),
  "training.momentum": within(0, 1),
  "training.warmup_steps": whole(0),
  "training.clip_norm": number(least=0),
  "training.steps_per_dispatch": whole(1),
  "training.patience": whole(0),
  "training.evaluations_per_epoch": whole(1),
  "training.checkpoint_every": whole(1),
  "training.reset_every": whole(0),
  "training.max_steps": whole(0),
  "evaluation.streams": whole(1),
  "evaluation.segment": whole(1),
  "evaluation.validation_streams": whole(1),
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
  "dynamic.statistics_segments": whole(1),
  "dynamic.search_symbols": whole(0),
  "dynamic.search_rates": several(number(above=0)),
  "dynamic.search_decays": several(number(least=0)),
  "baselines.ngram_order": whole(0),
  "sample.length": whole(0),
  "sample.temperature": number(least=0),
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

  >>> config = base()
  >>> config.training.batch = 0
  >>> validate(config)
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
