"""What training drops of a language model."""

from typing import NamedTuple

from seqmodels import errors
from seqmodels.regularization import dropout


class Noise(NamedTuple):
  """Shares that training drops, each in [0, 1); all of them off by default.

  Attributes:
    embedding: whole symbols of the vocabulary, for a segment.
    input: units of the embedding, or positions of one-hot inputs.
    hidden: units between layers.
    output: units that the softmax reads.
    drop_connect: recurrent weights, for a segment.
    variational: one mask of units a segment and stream, not one a step.

  >>> Noise().any, Noise(output=0.5).any
  (False, True)
  """

  embedding: float = 0.0
  input: float = 0.0
  hidden: float = 0.0
  output: float = 0.0
  drop_connect: float = 0.0
  variational: bool = True

  def check(self, layers: int) -> None:
    """Refuses rates that mean nothing to a network of so many layers.

    Raises:
      UserError: a rate outside [0, 1), or dropout between layers where there
        is one.
    """
    for rate in self[:5]:
      dropout.check_rate(rate)
    if self.hidden and layers < 2:
      raise errors.UserError(
        "dropout_hidden drops between layers, and there is one layer; use "
        "dropout_output or dropout_input, or give more layers"
      )

  @property
  def any(self) -> bool:
    """Whether training differs from use."""
    return any(self[:5])
