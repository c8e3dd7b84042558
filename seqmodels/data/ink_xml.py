"""The XML of one line of IAM-OnDB, read with suspicion."""

import xml.sax
from typing import Any
from xml.sax import handler

import numpy as np

from seqmodels import errors

# The largest line file of the database has 105,268 bytes.
LARGEST_FILE = 4 << 20

_ROOT = "WhiteboardCaptureSession"
_COORDINATES = ("x", "y", "time")


def strokes(data: bytes) -> list[np.ndarray]:
  r"""The strokes of a line: where the pen was, and when.

  >>> text = '<WhiteboardCaptureSession><StrokeSet><Stroke><Point x="1" y="2" '
  >>> text += 'time="0.5"/></Stroke></StrokeSet></WhiteboardCaptureSession>'
  >>> strokes(text.encode())
  [array([[1. , 2. , 0.5]])]

  Args:
    data: an XML document in the encoding that it declares.

  Returns:
    float64 [T, 3] a stroke: x, y (downwards, units of the whiteboard), seconds.
    NaN and infinity are numbers here; `ink.offsets` refuses them.

  Raises:
    UserError: more than `LARGEST_FILE` bytes, malformed XML, a document type or
      entities, no line of this database, a stroke without points, a point
      without a coordinate or with one that is no number.
  """
  # Imported here: only this source needs it.
  import defusedxml
  import defusedxml.sax

  if len(data) > LARGEST_FILE:
    raise errors.UserError(
      f"the line has {len(data):,} bytes of XML and at most {LARGEST_FILE:,} "
      "are read; the database's have about 35,000"
    )
  ink = _Ink()
  try:
    # The library refuses entities by itself, but a document type only if told.
    defusedxml.sax.parseString(data, ink, forbid_dtd=True)
  except defusedxml.DefusedXmlException as error:
    raise errors.UserError(
      f"the XML declares a document type or entities ({type(error).__name__}); "
      "lines of the database have neither: get the file anew"
    ) from error
  except xml.sax.SAXParseException as error:
    raise errors.UserError(
      f"malformed XML at line {error.getLineNumber()}, column "
      f"{error.getColumnNumber()}: {error.getMessage()}; get the file anew"
    ) from error
  except (ValueError, LookupError) as error:
    # What Python's codecs say of an encoding that no line was written in.
    raise errors.UserError(
      f"the XML's encoding cannot be read ({error}); the database's is "
      "ISO-8859-1: get the file anew"
    ) from error
  return ink.strokes()


class _Ink(handler.ContentHandler):
  """Gathers coordinates as text: they become numbers all at once."""

  def __init__(self) -> None:
    super().__init__()
    self._values: list[str] = []
    self._starts: list[int] = []
    self._root = ""
    self._inside = False

  def startElement(self, name: str, attrs: Any) -> None:
    """Called for each opening tag."""
    if name == "Point":
      if not self._inside:
        raise errors.UserError("a <Point> stands outside of any <Stroke>")
      try:
        self._values += (attrs["x"], attrs["y"], attrs["time"])
      except KeyError as error:
        raise errors.UserError(
          f"point {len(self._values) // 3 + 1} has no {error}; each must have "
          "x, y and time"
        ) from error
    elif name == "Stroke":
      self._inside = True
      self._starts.append(len(self._values) // 3)
    elif not self._root:
      self._root = name

  def endElement(self, name: str) -> None:
    """Called for each closing tag."""
    if name == "Stroke":
      self._inside = False

  def strokes(self) -> list[np.ndarray]:
    if self._root != _ROOT:
      raise errors.UserError(
        f"the XML is a <{self._root}>; a line of the database is a <{_ROOT}>"
      )
    if not self._starts:
      raise errors.UserError("the line has 0 strokes; it must have at least 1")
    readings = self._numbers().reshape(-1, 3)
    found = np.split(readings, self._starts[1:])
    for index, stroke in enumerate(found):
      if not len(stroke):
        raise errors.UserError(
          f"stroke {index + 1} of {len(found)} has 0 points; every stroke must "
          "have at least 1"
        )
    return found

  def _numbers(self) -> np.ndarray:
    try:
      return np.array(list(map(float, self._values)))
    except ValueError:
      place = next(i for i, v in enumerate(self._values) if not _is_number(v))
    raise errors.UserError(
      f"point {place // 3 + 1} has {_COORDINATES[place % 3]}="
      f"{self._values[place][:40]!r}; it must be a number"
    )


def _is_number(text: str) -> bool:
  try:
    float(text)
  except ValueError:
    return False
  return True
