"""Noise of a network in training: the rates of dropout and its kin."""

from typing import NamedTuple

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import zoneout as zoning
from seqmodels.regularization import dropout


class Noise(NamedTuple):
  """Dropout rates of training, each in [0, 1); all of them off by default.

  Zoneout's rates count in evaluation, too, as the expectation.

  Attributes:
    embedding: whole symbols of the vocabulary, for a segment.
    input: units of the embedding, or positions of one-hot inputs.
    hidden: units between layers.
    output: units that the softmax reads.
    drop_connect: recurrent weights, for a segment.
    variational: one mask of units a segment and stream, not one a step.
    zoneout_cell: units of the cells that keep their value of the step before,
      drawn for every step.
    zoneout_state: the same of the layers' outputs.

  >>> Noise().any, Noise(output=0.5).any
  (False, True)
  """

  embedding: float = 0.0
  input: float = 0.0
  hidden: float = 0.0
  output: float = 0.0
  drop_connect: float = 0.0
  variational: bool = True
  zoneout_cell: float = 0.0
  zoneout_state: float = 0.0

  def check(self, layers: int, cell: str = "lstm") -> None:
    """Refuses rates that mean nothing to a network of so many layers.

    Args:
      layers: how many.
      cell: of all layers, a name in `cells.cell.CELLS`.

    Raises:
      UserError: a rate outside [0, 1), dropout between layers where there is
        one, or zoneout of a cell that does not have it.
    """
    for rate in self[:5]:
      dropout.check_rate(rate)
    if self.hidden and layers < 2:
      raise errors.UserError(
        "dropout_hidden drops between layers, and there is one layer; use "
        "dropout_output or dropout_input, or give more layers"
      )
    self.zoneout.check()
    if any(self.zoneout) and not cells.get(cell).zoneout:
      able = (name for name in cells.CELLS if cells.get(name).zoneout)
      raise errors.UserError(
        f"the {cell} cell has no zoneout; use {' or '.join(able)}, or set "
        "zoneout_cell and zoneout_state to 0"
      )

  @property
  def zoneout(self) -> zoning.Rates:
    """The rates of zoneout."""
    return zoning.Rates(self.zoneout_cell, self.zoneout_state)

  @property
  def any(self) -> bool:
    """True if training differs from use."""
    return any(self[:5]) or any(self.zoneout)
