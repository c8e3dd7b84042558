"""Networks of earlier runs, to use or to go on training."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from ml_collections import config_dict

from configs import checks
from seqmodels import errors, loading, pretrained
from seqmodels.data import vocabulary
from seqmodels.models import predictor


class Trained(NamedTuple):
  """An earlier run, read back from its folder or from a portable file."""

  config: config_dict.ConfigDict
  vocabulary: vocabulary.Vocabulary
  predictor: predictor.Predictor
  params: Any
  step: int
  source: loading.Source


def reload(restore: str, *, dtype: str = "", shipped: str = "") -> Trained:
  """The network of an earlier run.

  Args:
    restore: the `--workdir` of the run, or a portable file.
    dtype: overrides the run's own compute dtype.
    shipped: a name of `pretrained`, used where `restore` is empty and it is
      there.

  Raises:
    UserError: no such run, no checkpoint, or one that does not fit.
    RunError: the checkpoints are corrupt.
  """
  source = opened(restore, "language_model", shipped)
  config = settings(source, dtype)
  found = loading.build(source, dtype=dtype)
  return Trained(
    config, found.vocabulary, found.predictor, found.params, found.step, source
  )


def opened(restore: str, kind: str = "", shipped: str = "") -> loading.Source:
  """What `config.restore` names, its weights not yet read.

  Args:
    restore: a run folder or a portable file.
    kind: a key of `loading.KINDS`; empty takes any.
    shipped: as of `reload`.

  Raises:
    UserError: it is empty and nothing is shipped, or it is no such model.
  """
  if not restore and shipped in pretrained.shipped():
    return loading.read(pretrained.path(shipped), kind)
  if not restore:
    raise errors.UserError(
      "config.restore is empty; give the run folder of a trained model, "
      "--config.restore=RUN_DIR"
    )
  return loading.read(restore, kind)


def settings(source: loading.Source, dtype: str = "") -> config_dict.ConfigDict:
  """The settings of an earlier run.

  Args:
    source: the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: a setting is out of its bounds.
  """
  try:
    config = config_dict.ConfigDict(source.settings)
    checks.validate(config)
  except loading.FAULTS as error:
    raise source.damaged(f"it describes no network: {error}") from error
  if dtype:
    config.dtype = dtype
  return config


def weights(
  config: config_dict.ConfigDict,
  kind: str,
  target: Any,
  symbols: loading.Symbols,
  names: Sequence[str],
) -> tuple[Any, loading.Source]:
  """The weights that `config.restore` names, to go on training from.

  Args:
    config: of the run that goes on.
    kind: of the model; see `loading.KINDS`.
    target: names, shapes and dtypes of the weights wanted.
    symbols: what they must have been trained on.
    names: the settings of `model` that must agree.

  Returns:
    The weights, and where they come from.

  Raises:
    UserError: no such run, another network, or other symbols.
    RunError: the checkpoints are corrupt.
  """
  try:
    source = opened(config.restore, kind)
    _require_same_model(config, source, names)
    loading.require_same_symbols(
      {loading.KINDS[kind].identity: source.symbols.hash},
      kind,
      symbols,
      source.place,
    )
    return source.weights(target).params, source
  except errors.RunError:
    raise
  except errors.UserError as error:
    raise errors.UserError(
      f"config.restore={config.restore} cannot be gone on from: {error}"
    ) from error


def restore_weights(
  config: config_dict.ConfigDict,
  target: Any,
  symbols: vocabulary.Vocabulary,
) -> Any:
  """The weights of the language model `config.restore`, to go on from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    symbols: what they must have been trained on.

  Raises:
    UserError: no such run, another network, other symbols, or a partition that
      shows it what this one keeps for validation and test.
  """
  found, source = weights(config, "language_model", target, symbols, _NETWORK)
  _require_same_partition(config, source)
  return found


# Settings that change what weights of equal shapes mean.
_NETWORK = (
  *("cell", "features", "peepholes", "input_skips", "output_skips"),
  *("embedding", "tied", "rounds", "rank", "cell_clip"),
)


def _require_same_model(
  config: config_dict.ConfigDict, source: loading.Source, names: Sequence[str]
) -> None:
  """Refuses weights that fit but were trained as something else."""
  ours = json.loads(config.to_json())["model"]
  model = source.settings["model"]
  for name in names:
    if name in model and model[name] != ours[name]:
      raise errors.UserError(
        f"it was trained with model.{name} {model[name]!r} and this run has "
        f"{ours[name]!r}; give the same"
      )


def _require_same_partition(
  config: config_dict.ConfigDict, source: loading.Source
) -> None:
  ours, data = config.data, source.settings["data"]
  partition = data.get("partition")
  if data.get("source") == ours.source and partition != ours.partition:
    raise errors.UserError(
      f"config.restore={config.restore} was trained on the partition "
      f"{partition!r}, parts of which {ours.partition!r} keeps for validation "
      "and test; give a run on the same partition"
    )
