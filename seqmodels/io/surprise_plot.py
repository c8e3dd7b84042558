"""How surprised a model is by each symbol, drawn under the text itself."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.io import canvas

COLUMNS = 64  # characters a line, at most
_NARROWEST = 52  # columns that the axes have, however short the texts
_POINTS = 600.0  # of the font, over the columns
_VISIBLE = {"\n": "⏎", "\t": "⇥"}
_LINE = 1.1  # inches a line: its text and its bars


class Passage(NamedTuple):
  """A text as one model reads it.

  Attributes:
    name: what is said above it.
    symbols: its characters, or its words.
    bits: surprise of each, -log2 p; NaN where a symbol was read but not scored,
      infinite where the model held it impossible.
  """

  name: str
  symbols: Sequence[str]
  bits: np.ndarray


class _Placed(NamedTuple):
  """A symbol on its line, in columns."""

  shown: str
  start: int
  width: int
  bits: float


def surprise(
  path: canvas.Path, title: str, passages: Sequence[Passage]
) -> None:
  """Text with bars that hang from its symbols, as long as the surprise.

  What was only read is grey and has no bar; an impossible symbol has a bar to
  the bottom, marked with the sign of infinity. All lines have one scale. A box
  stands for a character that the font lacks.

  Args:
    path: the PNG to write.
    title: above the figure.
    passages: texts, each from a new line; long ones take several.

  Raises:
    ValueError: no passage, or another number of bits than symbols.
    errors.UserError: a passage of no symbols, or what `canvas.figure` raises.
  """
  if not passages:
    raise ValueError("no passage to draw")
  for passage in passages:
    if len(passage.symbols) != len(passage.bits):
      raise ValueError(
        f"{len(passage.symbols)} symbols and {len(passage.bits)} bits"
      )
    if not len(passage.symbols):
      raise errors.UserError(
        f"the text of {passage.name!r} has 0 symbols; give at least 1 to draw"
      )
  lines = [
    (passage.name if first else "", line)
    for passage in passages
    for first, line in _lines(passage)
  ]
  ends = [line[-1].start + line[-1].width for _, line in lines]
  columns = max(_NARROWEST, *ends)
  scored = np.concatenate([passage.bits for passage in passages])
  finite = scored[np.isfinite(scored)]
  deepest = float(max(1.0, *finite, 1.0))
  height = _LINE * len(lines) + canvas.heading_height(title) + 0.4
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing from")
    with canvas.figure(path, height=height) as drawing:
      canvas.heading(drawing, title)
      pairs = drawing.subplots(len(lines), squeeze=False)[:, 0]
      for pair, (name, line) in zip(pairs, lines, strict=True):
        _draw(pair, name, line, columns, 1.08 * deepest)
      drawing.supylabel("surprise in bits", fontsize=9)


def _lines(passage: Passage) -> Iterator[tuple[bool, list[_Placed]]]:
  """(whether it is the first, symbols in their columns) of each line."""
  line: list[_Placed] = []
  column, first = 0, True
  for word in _words(passage):
    length = sum(symbol.width for symbol in word)
    for symbol in word:
      # A line ends between words, but within one that is a line long.
      ends = symbol is word[0] and column + length > COLUMNS
      if line and (ends or column + symbol.width > COLUMNS):
        yield first, line
        line, column, first = [], 0, False
      line.append(symbol._replace(start=column))
      column += symbol.width
  yield first, line


def _words(passage: Passage) -> Iterator[list[_Placed]]:
  """Symbols that belong on one line: a word, or the characters of one."""
  # Words stand apart, which characters do by their own spaces.
  gap = int(any(len(symbol) > 1 for symbol in passage.symbols))
  word: list[_Placed] = []
  for symbol, bits in zip(passage.symbols, passage.bits, strict=True):
    shown = "".join(
      c if c.isprintable() else _VISIBLE.get(c, "\ufffd") for c in symbol
    )[: COLUMNS - gap]
    word.append(_Placed(shown, 0, max(len(shown), 1) + gap, float(bits)))
    if gap or symbol.isspace():
      yield word
      word = []
  if word:
    yield word


def _draw(
  pair: Any,
  name: str,
  line: Sequence[_Placed],
  columns: int,
  deepest: float,
) -> None:
  canvas.clean(pair)
  pair.spines[["bottom", "top"]].set_visible(False)
  pair.grid(visible=False, axis="x")
  pair.set_xlim(0, columns)
  pair.set_ylim(deepest, 0)
  pair.set_xticks([])
  pair.tick_params(axis="y", labelsize=7, length=2)
  pair.yaxis.get_major_locator().set_params(nbins=4, integer=True)
  if name:
    pair.set_title(
      " ".join(name.split()),
      fontsize=9,
      loc="left",
      pad=20,
      fontweight="bold",
      parse_math=False,
    )
  for symbol in line:
    middle = symbol.start + max(len(symbol.shown), 1) / 2
    read = np.isnan(symbol.bits)
    pair.annotate(
      symbol.shown,
      (middle, 0),
      (0, 3),
      textcoords="offset points",
      ha="center",
      va="bottom",
      family="monospace",
      fontsize=_POINTS / columns,
      color=canvas.GREY if read else "black",
      parse_math=False,
    )
    if read:
      continue
    endless = not np.isfinite(symbol.bits)
    pair.bar(
      middle,
      deepest if endless else symbol.bits,
      width=max(len(symbol.shown), 1) - 0.2,
      color=canvas.COLOURS[1 if endless else 0],
    )
    if endless:
      pair.annotate(
        "∞", (middle, deepest), ha="center", va="bottom", fontsize=8
      )
