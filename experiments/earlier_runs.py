"""Networks of earlier runs, to use or to go on training."""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors
from seqmodels.data import vocabulary
from seqmodels.io import checkpoints, run_record
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
  if not run_dir:
    raise errors.UserError(
      "config.restore is empty; give the run folder of a trained model, "
      "--config.restore=RUN_DIR"
    )
  folder = pathlib.Path(run_dir).expanduser()
  config = config_dict.ConfigDict(run_record.read_config(folder))
  if "model" not in config or "data" not in config:
    raise errors.UserError(
      f"{folder} holds a run of {config.get('experiment')!r}, which trains no "
      "language model; give the run folder of a trained one"
    )
  if dtype:
    config.dtype = dtype
  if config.get("seeds", 1) > 1:
    raise errors.UserError(
      f"{folder} holds {config.seeds} seeds; name one of them, such as "
      f"{folder / f'seed-{config.seed}'}"
    )
  if not (folder / assembly.VOCABULARY).is_file():
    raise errors.UserError(
      f"{folder} has no {assembly.VOCABULARY}: its run stopped before "
      "training; run its command again"
    )
  symbols = vocabulary.Vocabulary.load(folder / assembly.VOCABULARY)
  network = assembly.build_predictor(config, symbols.size)
  target = jax.eval_shape(network.init, jax.random.key(0))
  restored = checkpoints.restore_params(folder, target)
  check_vocabulary(restored.meta, symbols, folder)
  return Trained(config, symbols, network, restored.tree, restored.step)


def restore_weights(
  config: config_dict.ConfigDict,
  target: Any,
  symbols: vocabulary.Vocabulary,
) -> Any:
  """The weights of the run `config.restore`, to go on training from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    symbols: what they must have been trained on.

  Raises:
    UserError: no such run, another network, other symbols, or a partition that
      shows it what this one keeps for validation and test.
  """
  run_dir = config.restore
  folder = pathlib.Path(run_dir).expanduser()
  try:
    found = checkpoints.restore_params(folder, target)
  except errors.RunError:
    raise
  except errors.UserError as error:
    raise errors.UserError(
      f"config.restore={run_dir} cannot be gone on from: {error}"
    ) from error
  check_vocabulary(found.meta, symbols, folder)
  _require_same_network(config, run_record.read_config(folder), folder)
  return found.tree


# Settings that change what weights of equal shapes mean.
_NETWORK = (
  *("cell", "features", "peepholes", "input_skips", "output_skips"),
  *("embedding", "tied", "rounds", "rank"),
)


def _require_same_network(
  config: config_dict.ConfigDict,
  theirs: Mapping[str, Any],
  folder: pathlib.Path,
) -> None:
  """Refuses weights that fit but were trained as something else."""
  ours = json.loads(config.to_json())
  for name in _NETWORK:
    model = theirs.get("model", {})
    if name in model and model[name] != ours["model"][name]:
      raise errors.UserError(
        f"config.restore={folder} was trained with model.{name} "
        f"{model[name]!r} and this run has {ours['model'][name]!r}; give the "
        "same"
      )
  data = theirs.get("data", {})
  partition = data.get("partition")
  same_source = data.get("source") == ours["data"]["source"]
  if same_source and partition != ours["data"]["partition"]:
    raise errors.UserError(
      f"config.restore={folder} was trained on the partition {partition!r}, "
      f"parts of which {ours['data']['partition']!r} keeps for validation and "
      "test; give a run on the same partition"
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
