"""From settings to the parts of a handwriting experiment."""

import pathlib
import sys
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors, loading
from seqmodels.data import handwriting as handwritings
from seqmodels.data import pen as pens
from seqmodels.data import pen_lines
from seqmodels.io import atomic, interruption, progress
from seqmodels.models import from_settings, pen_network

PEN = loading.PEN
build_network = from_settings.handwriting_network


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
  def pen(self) -> pens.Pen:
    """Alphabet and scaling."""
    return pen_of(self.data)

  def ink(self, points: np.ndarray) -> np.ndarray:
    """Standardised points in the data's own units."""
    return self.data.scaling.restore(points)


def pen_of(data: handwritings.Handwriting) -> pens.Pen:
  """Alphabet and scaling of a data set."""
  return pens.Pen(data.alphabet, data.scaling)


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


def settle_data(workdir: pathlib.Path, data: handwritings.Handwriting) -> None:
  """Writes what the run is trained on into its folder, or checks it.

  Raises:
    UserError: the folder's run was begun on other data.
  """
  require_same(
    loading.read_pen(workdir) if (workdir / PEN).is_file() else None,
    data,
    workdir,
  )
  assembly.require_same_files(workdir, data.provenance)
  if not (workdir / PEN).is_file():
    atomic.write_json(workdir / PEN, pen_of(data).record)
  if not (workdir / assembly.DATA).is_file():
    atomic.write_json(workdir / assembly.DATA, data.provenance)


def require_same(
  pen: pens.Pen | None, data: handwritings.Handwriting, folder: pathlib.Path
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


def _figures(scaling: pen_lines.Scaling) -> str:
  return " and ".join(f"{value:.3f}" for value in scaling.deviation)
