"""Ink as SVG: one path a stroke, coordinates to a tenth of a unit."""

import pathlib
import re
from collections.abc import Sequence
from xml.sax import saxutils

import numpy as np

from seqmodels.io import atomic, canvas, ink_layout

# What XML 1.0 has no place for, not even escaped.
_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def line(ink: ink_layout.Ink, *, title: str = "", paper: bool = True) -> str:
  r"""One line of ink as an SVG document.

  Args:
    ink: `[T, 3]`: x offset, y offset (downwards), end of stroke; raw units.
    title: what is written there; viewers show it.
    paper: white behind the ink, else nothing.

  Raises:
    As `ink_layout.strokes`.

  >>> print(line([[200, 0, 1], [20, 0, 1]], title="- & ."), end="")
  <svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 226.6 6.6" ...
  <title>- &amp; .</title>
  <rect width="100%" height="100%" fill="white"/>
  <g fill="none" stroke="black" stroke-width="0.33" ...
  <g>
  <path d="M3.3 3.3l200 0"/>
  <path d="M223.3 3.3l0 0"/>
  </g>
  </g>
  </svg>
  """
  return page([ink], title=title, paper=paper)


def page(
  inks: Sequence[ink_layout.Ink | None], *, title: str = "", paper: bool = True
) -> str:
  """Lines of ink below each other, as `ink_layout.page` places them.

  The document opens 1200 pixels wide, or high if it is higher than wide, and
  scales to anything. Equal ink gives equal text.

  Args:
    inks: `[T, 3]` each, in raw units; None is a blank line.
    title: what is written there.
    paper: white behind the ink, else nothing.

  Raises:
    As `ink_layout.page`.
  """
  placed = ink_layout.page(inks)
  width, height = _tenths([placed.width, placed.height])
  pixels = 1200 / max(placed.width, placed.height)
  written = saxutils.escape(_NOT_XML.sub("\ufffd", title))
  return "\n".join(
    [
      '<svg xmlns="http://www.w3.org/2000/svg" '
      f'viewBox="0 0 {_text(width)} {_text(height)}" '
      f'width="{max(1, round(pixels * placed.width))}" '
      f'height="{max(1, round(pixels * placed.height))}">',
      *([f"<title>{written}</title>"] if title else []),
      *(['<rect width="100%" height="100%" fill="white"/>'] if paper else []),
      f'<g fill="none" stroke="black" stroke-width="{placed.pen:.3g}" '
      'stroke-linecap="round" stroke-linejoin="round">',
      *(
        "\n".join(["<g>", *(_path(part) for part in strokes), "</g>"])
        for strokes in placed.lines
        if strokes
      ),
      "</g>",
      "</svg>\n",
    ]
  )


def write(
  path: canvas.Path,
  inks: Sequence[ink_layout.Ink | None],
  *,
  title: str = "",
  paper: bool = True,
) -> None:
  """Writes a `page` to `path`, whole or not at all; makes its folder.

  Raises:
    As `page`, and errors.UserError, errors.RunError if it cannot be written.
  """
  drawing = page(inks, title=title, paper=paper)
  with atomic.refusals(path):
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
  atomic.write_text(path, drawing)


def _path(stroke: np.ndarray) -> str:
  """A stroke as a path element; of one point, as a dot.

  Rounded before differences are taken: errors do not add up along a stroke.
  """
  places = _tenths(stroke)
  (x, y), *_ = places
  steps = np.diff(places, axis=0)
  steps = steps[steps.any(axis=1)]
  moves = " ".join(f"{_text(right)} {_text(down)}" for right, down in steps)
  # Round caps make a dot of a line that goes nowhere.
  return f'<path d="M{_text(x)} {_text(y)}l{moves or "0 0"}"/>'


def _tenths(values: np.ndarray | Sequence[float]) -> np.ndarray:
  return np.rint(10 * np.asarray(values, np.float64)).astype(np.int64)


def _text(tenths: int) -> str:
  """A number of tenths as XML says it.

  >>> [_text(tenths) for tenths in (120, -5, 0)]
  ['12', '-0.5', '0']
  """
  return f"{tenths / 10:.1f}".removesuffix(".0")
