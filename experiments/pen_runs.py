"""Pen networks of earlier runs, to use or to go on training."""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from experiments import earlier_runs, pen_assembly
from seqmodels import errors
from seqmodels.io import checkpoints, run_record
from seqmodels.models import pen_network


class Trained(NamedTuple):
  """An earlier run, read back from its folder alone."""

  config: config_dict.ConfigDict
  pen: pen_assembly.Pen
  network: pen_network.PenNetwork
  params: Any
  step: int


def reload(run_dir: str, *, dtype: str = "") -> Trained:
  """The network of an earlier run, from its run folder alone.

  Args:
    run_dir: the `--workdir` of the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: no run folder, no pen network, or no checkpoint that fits.
    RunError: the checkpoints are corrupt.
  """
  folder = earlier_runs.named(run_dir)
  plain = run_record.read_config(folder)
  require_pen_network(plain, folder)
  config = earlier_runs.settings(plain, folder, dtype)
  pen = pen_assembly.read_pen(folder)
  with earlier_runs.building(folder):
    network = pen_assembly.build_network(config, pen.alphabet.size)
    target = jax.eval_shape(network.init, jax.random.key(0))
  restored = checkpoints.restore_params(folder, target)
  check(restored.meta, pen, folder)
  return Trained(config, pen, network, restored.tree, restored.step)


def require_pen_network(
  config: Mapping[str, Any] | config_dict.ConfigDict, folder: pathlib.Path
) -> None:
  """Refuses runs of anything else.

  Raises:
    UserError: the run of these settings trains no pen network.
  """
  if config.get("experiment") != "handwriting":
    raise errors.UserError(
      f"{folder} holds a run of {config.get('experiment')!r}, which trains no "
      "pen network; give the run folder of a trained one"
    )


def restore_weights(
  config: config_dict.ConfigDict, target: Any, pen: pen_assembly.Pen
) -> Any:
  """The weights of the run `config.restore`, to go on training from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    pen: what they must have been trained with.

  Raises:
    UserError: no such run, another network, or other data.
  """
  folder = earlier_runs.named(config.restore)
  theirs = run_record.read_config(folder, model=dict)
  require_pen_network(theirs, folder)
  earlier_runs.require_same_model(config, theirs, folder, _NETWORK)
  check({"pen": pen_assembly.read_pen(folder).hash}, pen, folder)
  return earlier_runs.weights(
    config.restore, target, lambda meta, folder: check(meta, pen, folder)
  )


# Settings that change what weights of equal shapes mean.
_NETWORK = (
  *("network", "features", "components", "window", "peepholes", "cell_clip"),
)


def check(
  meta: Mapping[str, Any], pen: pen_assembly.Pen, folder: pathlib.Path
) -> None:
  """Refuses weights that were trained with another alphabet or scaling.

  Raises:
    UserError: the checkpoint's is not `pen`.
  """
  saved = meta.get("pen")
  if saved != pen.hash:
    raise errors.UserError(
      f"the checkpoint in {folder} was trained with alphabet and scaling "
      f"{str(saved)[:12]}, but these are {pen.hash[:12]}; use the data it was "
      "trained on"
    )
