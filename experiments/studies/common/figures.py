"""Figures of the studies."""

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.plotting import style

# What would not show, or not take a place, in a row of characters.
_SHOWN = {"\n": "\u21b5", "\t": "\u21e5"}
_ROW = 0.72  # inches


def strips(
  path: style.Path,
  title: str,
  text: str,
  cuts: Mapping[str, Sequence[int]],
) -> None:
  """Rows of the same characters, boxed in segments.

  Args:
    path: the PNG to write.
    title: above all.
    text: some 60 characters at most are to be read.
    cuts: by the name of the row, the places where its segments begin besides
      the first character.

  Raises:
    ValueError: no text, or a cut outside of it.
  """
  for name, places in cuts.items():
    if not text or any(not 0 < place < len(text) for place in places):
      raise ValueError(
        f"row {name!r} is cut at {list(places)}; a text of {len(text)} "
        f"characters is cut at 1 to {len(text) - 1}"
      )
  height = 0.5 + _ROW * len(cuts)
  with style.figure(path, height=height, dpi=160) as drawing:
    pair = drawing.subplots()
    pair.set_axis_off()
    pair.set_title(title, fontsize=11)
    pair.set_xlim(-0.7, len(text) - 0.3)
    pair.set_ylim(-len(cuts) + 0.5, 0.7)
    for row, (name, places) in enumerate(cuts.items()):
      pair.text(-0.45, 0.36 - row, name, fontsize=8.5, color=style.GREY)
      edges = [0, *sorted(places), len(text)]
      for index, (start, end) in enumerate(itertools.pairwise(edges)):
        colour = style.COLOURS[index % 2]
        pair.barh(
          -row,
          end - start - 0.16,
          left=start - 0.42,
          height=0.5,
          color=(colour, 0.18),
          edgecolor=colour,
          lw=0.8,
        )
      for place, character in enumerate(text):
        pair.text(
          place,
          -row,
          _SHOWN.get(character, character),
          ha="center",
          va="center",
          family="monospace",
          fontsize=8.5,
          parse_math=False,
        )


Curve = tuple[Sequence[float] | np.ndarray, Sequence[float] | np.ndarray]


def curves(
  path: style.Path,
  title: str,
  drawn: Mapping[str, Curve],
  *,
  x: str,
  y: str,
  log_x: bool | int = False,
  log_y: bool = False,
  marks: bool = False,
  references: Mapping[str, float] | None = None,
) -> None:
  """Curves in one pair of axes, by the names of the legend.

  Args:
    path: the PNG to write.
    title: above the axes.
    drawn: (places, values) by name; a name that begins with "~" is drawn thin
      and grey, as data behind a model, each such curve with dashes of its own.
    x: label of the places.
    y: label of the values.
    log_x: logarithmic places; 2 for powers of 2.
    log_y: logarithmic values.
    marks: a mark at every point.
    references: horizontal lines by name.
  """
  colours = itertools.cycle(style.COLOURS)
  dashes = itertools.cycle(("-", "--", "-.", ":"))
  with style.axes(path, title) as pair:
    for name, (places, values) in drawn.items():
      if name.startswith("~"):
        grey = {"color": style.GREY, "lw": 0.7, "label": name[1:]}
        pair.plot(places, values, next(dashes), **grey)
        continue
      line = "o-" if marks else "-"
      colour = next(colours)
      pair.plot(places, values, line, ms=3.5, lw=1.6, color=colour, label=name)
    if log_x:
      pair.set_xscale("log", base=10 if log_x is True else log_x)
    if log_x == 2:
      pair.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    if log_y:
      pair.set_yscale("log")
    style.references(pair, references or {})
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    if len(pair.lines) > 6:
      style.legend_beside(pair, "")
    else:
      pair.legend(frameon=False, fontsize=9)


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


def surprise(path: style.Path, title: str, passages: Sequence[Passage]) -> None:
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
    errors.UserError: a passage of no symbols, or what `style.figure` raises.
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
  height = _LINE * len(lines) + style.heading_height(title) + 0.4
  with warnings.catch_warnings():
    warnings.filterwarnings("ignore", "Glyph .* missing from")
    with style.figure(path, height=height) as drawing:
      style.heading(drawing, title)
      pairs = drawing.subplots(len(lines), squeeze=False)[:, 0]
      for pair, (name, line) in zip(pairs, lines, strict=True):
        _draw_surprise(pair, name, line, columns, 1.08 * deepest)
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


def _draw_surprise(
  pair: Any,
  name: str,
  line: Sequence[_Placed],
  columns: int,
  deepest: float,
) -> None:
  style.clean(pair)
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
      color=style.GREY if read else "black",
      parse_math=False,
    )
    if read:
      continue
    endless = not np.isfinite(symbol.bits)
    pair.bar(
      middle,
      deepest if endless else symbol.bits,
      width=max(len(symbol.shown), 1) - 0.2,
      color=style.COLOURS[1 if endless else 0],
    )
    if endless:
      pair.annotate(
        "∞", (middle, deepest), ha="center", va="bottom", fontsize=8
      )
