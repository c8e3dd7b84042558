"""What the numbers of a handwriting network mean: alphabet and scaling."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from seqmodels.data import alphabet as alphabets
from seqmodels.data import pen_lines


class Pen(NamedTuple):
  """What a network's inputs and outputs mean: kept beside its weights."""

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

  @classmethod
  def of(cls, record: Mapping[str, Any]) -> "Pen":
    """The pen of a `record`, which may come from anywhere.

    Raises:
      KeyError, TypeError, ValueError, OverflowError: it is none.
    """
    symbols, collapsed = record["symbols"], record["collapsed"]
    if not isinstance(symbols, list) or not isinstance(collapsed, str):
      raise TypeError("symbols must be a list, collapsed a text")
    return cls(
      alphabets.Alphabet(tuple(symbols), record.get("other"), collapsed),
      pen_lines.Scaling.of(record["mean"], record["deviation"]),
    )

  @property
  def size(self) -> int:
    """Symbols of the alphabet."""
    return self.alphabet.size

  @property
  def hash(self) -> str:
    """SHA-256 of the record."""
    text = json.dumps(self.record, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
