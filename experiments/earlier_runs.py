"""Networks of earlier runs, to use or to go on training."""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from configs import checks
from experiments import assembly
from seqmodels import errors
from seqmodels.data import vocabulary
from seqmodels.io import checkpoints, json_file, run_record
from seqmodels.models import predictor


class Trained(NamedTuple):
  """An earlier run, read back from its folder alone."""

  config: config_dict.ConfigDict
  vocabulary: vocabulary.Vocabulary
  predictor: predictor.Predictor
  params: Any
  step: int


def reload(run_dir: str, *, dtype: str = "") -> Trained:
  """The network of an earlier run, from its run folder alone.

  Args:
    run_dir: the `--workdir` of the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: no run folder, no checkpoint, or one that does not fit.
    RunError: the checkpoints are corrupt.
  """
  folder = named(run_dir)
  plain = run_record.read_config(folder)
  data = plain.get("data")
  if "model" not in plain or not (
    isinstance(data, dict) and "tokenizer" in data
  ):
    raise errors.UserError(
      f"{folder} holds a run of {plain.get('experiment')!r}, which trains no "
      "language model; give the run folder of a trained one"
    )
  config = settings(plain, folder, dtype)
  if not (folder / assembly.VOCABULARY).is_file():
    raise errors.UserError(
      f"{folder} has no {assembly.VOCABULARY}: its run stopped before "
      "training; run its command again"
    )
  symbols = vocabulary.Vocabulary.load(folder / assembly.VOCABULARY)
  with building(folder):
    network = assembly.build_predictor(config, symbols.size)
    target = jax.eval_shape(network.init, jax.random.key(0))
  restored = checkpoints.restore_params(folder, target)
  check_vocabulary(restored.meta, symbols, folder)
  return Trained(config, symbols, network, restored.tree, restored.step)


def settings(
  plain: Mapping[str, Any], folder: pathlib.Path, dtype: str = ""
) -> config_dict.ConfigDict:
  """The settings of an earlier run.

  Args:
    plain: config.json of the run.
    folder: of the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: a setting is out of its bounds, or these are of several seeds.
  """
  with building(folder):
    config = config_dict.ConfigDict(plain)
    checks.validate(config)
  if dtype:
    config.dtype = dtype
  if config.get("seeds", 1) > 1:
    raise errors.UserError(
      f"{folder} holds {config.seeds} seeds; name one of them, such as "
      f"{folder / f'seed-{config.seed}'}"
    )
  return config


@contextlib.contextmanager
def building(folder: pathlib.Path) -> Iterator[None]:
  """Says that the settings in a folder make no network, if they make none."""
  try:
    yield
  except (
    AttributeError, KeyError, TypeError, ValueError, ArithmeticError,
  ) as error:  # fmt: skip
    raise json_file.damaged(
      folder / run_record.CONFIG, f"it describes no network: {error}"
    ) from error


def named(run_dir: str) -> pathlib.Path:
  """The folder of `config.restore`.

  Raises:
    UserError: it is empty.
  """
  if not run_dir:
    raise errors.UserError(
      "config.restore is empty; give the run folder of a trained model, "
      "--config.restore=RUN_DIR"
    )
  return pathlib.Path(os.path.expanduser(run_dir))


def weights(
  run_dir: str,
  target: Any,
  check: Callable[[Mapping[str, Any], pathlib.Path], None],
) -> Any:
  """The weights of an earlier run, to go on training from.

  Args:
    run_dir: the `--workdir` of the run.
    target: names, shapes and dtypes of the weights wanted.
    check: refuses them by their (record, folder).

  Raises:
    UserError: no such run, or another network.
    RunError: the checkpoints are corrupt.
  """
  folder = named(run_dir)
  try:
    found = checkpoints.restore_params(folder, target)
  except errors.RunError:
    raise
  except errors.UserError as error:
    raise errors.UserError(
      f"config.restore={run_dir} cannot be gone on from: {error}"
    ) from error
  check(found.meta, folder)
  return found.tree


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
  found = weights(
    config.restore,
    target,
    lambda meta, folder: check_vocabulary(meta, symbols, folder),
  )
  folder = named(config.restore)
  theirs = run_record.read_config(folder, model=dict, data=dict)
  require_same_model(config, theirs, folder, _NETWORK)
  _require_same_partition(config, theirs, folder)
  return found


# Settings that change what weights of equal shapes mean.
_NETWORK = (
  *("cell", "features", "peepholes", "input_skips", "output_skips"),
  *("embedding", "tied", "rounds", "rank", "cell_clip"),
)


def require_same_model(
  config: config_dict.ConfigDict,
  theirs: Mapping[str, Any],
  folder: pathlib.Path,
  names: Sequence[str],
) -> None:
  """Refuses weights that fit but were trained as something else.

  Args:
    config: of the run that goes on.
    theirs: the settings of the run that it goes on from.
    folder: of that run.
    names: the settings of `model` that must agree.
  """
  ours = json.loads(config.to_json())["model"]
  model = theirs.get("model", {})
  for name in names:
    if name in model and model[name] != ours[name]:
      raise errors.UserError(
        f"config.restore={folder} was trained with model.{name} "
        f"{model[name]!r} and this run has {ours[name]!r}; give the same"
      )


def _require_same_partition(
  config: config_dict.ConfigDict,
  theirs: Mapping[str, Any],
  folder: pathlib.Path,
) -> None:
  ours, data = config.data, theirs.get("data", {})
  partition = data.get("partition")
  if data.get("source") == ours.source and partition != ours.partition:
    raise errors.UserError(
      f"config.restore={folder} was trained on the partition {partition!r}, "
      f"parts of which {ours.partition!r} keeps for validation and test; give "
      "a run on the same partition"
    )


def check_vocabulary(
  meta: Mapping[str, Any],
  symbols: vocabulary.Vocabulary,
  folder: pathlib.Path,
) -> None:
  """Refuses weights that were trained on other symbols.

  Raises:
    UserError: the checkpoint's vocabulary is not `symbols`.
  """
  saved = meta.get("vocabulary")
  if saved != symbols.hash:
    raise errors.UserError(
      f"the checkpoint in {folder} was trained with the vocabulary "
      f"{str(saved)[:12]}, but this one is {symbols.hash[:12]}; use the data "
      "it was trained on"
    )
