"""From settings to the parts of a handwriting experiment."""

import hashlib
import json
import pathlib
import sys
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors
from seqmodels.data import alphabet as alphabets
from seqmodels.data import handwriting as handwritings
from seqmodels.data import pen_lines
from seqmodels.io import atomic, interruption, json_file, progress
from seqmodels.models import handwriting as models
from seqmodels.models import noise as noises
from seqmodels.models import pen_network

PEN = "pen.json"


class Pen(NamedTuple):
  """What a network's inputs and outputs mean: kept in its run folder."""

  alphabet: alphabets.Alphabet
  scaling: pen_lines.Scaling

  @property
  def record(self) -> dict[str, Any]:
    """As JSON holds it, floats to the last bit."""
    return {
      "symbols": list(self.alphabet.symbols),
      "other": self.alphabet.other,
      "collapsed": self.alphabet.collapsed,
      "mean": [float(value) for value in self.scaling.mean],
      "deviation": [float(value) for value in self.scaling.deviation],
    }

  @property
  def hash(self) -> str:
    """SHA-256 of the record."""
    text = json.dumps(self.record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


class Context(NamedTuple):
  """What every phase after training needs."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  data: handwritings.Handwriting
  network: pen_network.PenNetwork
  params: Any
  step: int  # of the parameters
  signals: interruption.Interruption

  @property
  def pen(self) -> Pen:
    """Alphabet and scaling."""
    return pen_of(self.data)

  def ink(self, points: np.ndarray) -> np.ndarray:
    """Standardised points in the data's own units."""
    return self.data.scaling.restore(points)


def pen_of(data: handwritings.Handwriting) -> Pen:
  """Alphabet and scaling of a data set."""
  return Pen(data.alphabet, data.scaling)


def load(
  config: config_dict.ConfigDict,
  data_dir: pathlib.Path,
  signals: interruption.Interruption,
) -> handwritings.Handwriting:
  """The lines that `config.data` names, with progress on stderr."""
  bar: list[progress.Progress] = []

  def tell(done: int, total: int) -> None:
    signals.check()
    if not bar:
      bar.append(
        progress.Progress(total, "reading", unit="byte", symbols="bytes")
      )
    bar[0].update(done)
    if done >= total:
      bar.pop().close()

  return handwritings.load(
    config.data.source,
    data_dir,
    alphabet=config.data.alphabet,
    limit=config.data.limit,
    transcribed=config.data.transcribed,
    # The synthetic pen is one data set, whatever the seed of the training.
    seed=0,
    progress=tell,
    warn=lambda text: print(text, file=sys.stderr, flush=True),
  )


def build_network(
  config: config_dict.ConfigDict, symbols: int
) -> pen_network.PenNetwork:
  """The network that `config.model` names, over an alphabet of `symbols`."""
  model, chosen = config.model, config.regularization
  noise = noises.Noise(
    hidden=chosen.dropout_hidden,
    output=chosen.dropout_output,
    drop_connect=chosen.drop_connect,
    variational=chosen.variational,
  )
  noise.check(len(model.features))
  return models.network(
    models.Handwriting(
      symbols=symbols if model.network == "synthesis" else 0,
      window=model.window,
      features=tuple(model.features),
      components=model.components,
      options={
        "peepholes": model.peepholes,
        "forget_bias": model.forget_bias,
        "cell_clip": model.get("cell_clip", 0.0),
      },
      gradient_clip=model.gradient_clip or None,
      output_clip=model.output_clip or None,
      dtype=assembly.compute_dtype(config.dtype),
      noise=noise,
    )
  )


def settle_data(workdir: pathlib.Path, data: handwritings.Handwriting) -> None:
  """Writes what the run is trained on into its folder, or checks it.

  Raises:
    UserError: the folder's run was begun on other data.
  """
  require_same(
    read_pen(workdir) if (workdir / PEN).is_file() else None, data, workdir
  )
  assembly.require_same_files(workdir, data.provenance)
  if not (workdir / PEN).is_file():
    atomic.write_json(workdir / PEN, pen_of(data).record)
  if not (workdir / assembly.DATA).is_file():
    atomic.write_json(workdir / assembly.DATA, data.provenance)


def require_same(
  pen: Pen | None, data: handwritings.Handwriting, folder: pathlib.Path
) -> None:
  """Refuses data whose alphabet or scaling is not the run's.

  Raises:
    UserError: it is another.
  """
  if pen is not None and pen.hash != pen_of(data).hash:
    raise errors.UserError(
      f"the run in {folder} was trained with another alphabet or on other "
      f"lines ({pen.alphabet.size} symbols, deviations "
      f"{_figures(pen.scaling)}; these have {data.alphabet.size} and "
      f"{_figures(data.scaling)}); give it the data it was trained on"
    )


def read_pen(folder: pathlib.Path) -> Pen:
  """The alphabet and the scaling of a run folder.

  Raises:
    UserError: it holds none, or a damaged one.
  """
  path = folder / PEN
  if not path.is_file():
    raise errors.UserError(
      f"{folder} has no {PEN}: it holds no handwriting run, or one that "
      "stopped before training; give the run folder of a trained network"
    )
  found = json_file.read(
    path, symbols=list, collapsed=str, mean=list, deviation=list
  )
  try:
    return Pen(
      alphabets.Alphabet(
        tuple(found["symbols"]), found.get("other"), found["collapsed"]
      ),
      pen_lines.Scaling.of(found["mean"], found["deviation"]),
    )
  except (ValueError, TypeError, OverflowError) as error:
    raise json_file.damaged(path, error) from error


def _figures(scaling: pen_lines.Scaling) -> str:
  return " and ".join(f"{value:.3f}" for value in scaling.deviation)
