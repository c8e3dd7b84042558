"""Pen networks of earlier runs, to use or to go on training."""

from typing import Any, NamedTuple

from ml_collections import config_dict

from experiments import earlier_runs
from seqmodels import loading
from seqmodels.data import pen as pens
from seqmodels.models import pen_network


class Trained(NamedTuple):
  """An earlier run, read back from its folder or from a portable file."""

  config: config_dict.ConfigDict
  pen: pens.Pen
  network: pen_network.PenNetwork
  params: Any
  step: int


def reload(restore: str, *, dtype: str = "", shipped: str = "") -> Trained:
  """The network of an earlier run; see `earlier_runs.reload`.

  Raises:
    UserError: no such run, no pen network, or no checkpoint that fits.
    RunError: the checkpoints are corrupt.
  """
  source = earlier_runs.opened(restore, "handwriting", shipped)
  config = earlier_runs.settings(source, dtype)
  found = loading.build(source, dtype=dtype)
  return Trained(config, found.pen, found.network, found.params, found.step)


def restore_weights(
  config: config_dict.ConfigDict, target: Any, pen: pens.Pen
) -> Any:
  """The weights of the run `config.restore`, to go on training from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    pen: what they must have been trained with.

  Raises:
    UserError: no such run, another network, or other data.
  """
  with earlier_runs.continuing(config):
    source = earlier_runs.opened(config.restore, "handwriting")
    earlier_runs.require_same_model(config, source, _NETWORK)
    earlier_runs.require_same_symbols(source, pen)
    return source.weights(target).params


# Settings that change what weights of equal shapes mean.
_NETWORK = (
  *("model.network", "model.features", "model.components", "model.window"),
  *("model.peepholes", "model.cell_clip"),
)
