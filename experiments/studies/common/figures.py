"""Figures of the studies."""

import collections
import itertools
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from seqmodels import errors
from seqmodels.plotting import style

# What would not show, or not take a place, in a row of characters.
VISIBLE = {"\n": "\u23ce", "\t": "\u21e5"}

# Places, values, and options of matplotlib's `plot` for another look.
Curve = tuple[Any, ...]


def curves(
  path: style.Path, title: str, drawn: Mapping[str, Curve], **options: Any
) -> None:
  """Curves in one pair of axes; `options` are those of `draw`."""
  with style.axes(path, title) as pair:
    draw(pair, drawn, **options)
    if len(pair.get_legend_handles_labels()[1]) > 6:
      style.legend_beside(pair, "")
    else:
      pair.legend(frameon=False, fontsize=9)


def draw(
  pair: Any,
  drawn: Mapping[str, Curve],
  *,
  x: str,
  y: str = "",
  title: str = "",
  log_x: bool | int = False,
  log_y: bool = False,
  marks: bool = False,
  references: Mapping[str, float] | None = None,
) -> None:
  """Curves in a pair of axes, by their names in a legend.

  A name that begins with "~" is drawn thin and grey, as data behind a model,
  each such curve with dashes of its own; one that begins with "_" is in no
  legend. `log_x=2` shows powers of 2, and `references` are horizontal lines.
  """
  colours = itertools.cycle(style.COLOURS)
  dashes = itertools.cycle(("-", "--", "-.", ":"))
  for name, (places, values, *options) in drawn.items():
    look: dict[str, Any] = {"label": name.removeprefix("~")}
    if name.startswith("~"):
      look |= {"color": style.GREY, "lw": 0.7, "ls": next(dashes)}
    else:
      look |= {"lw": 1.6, "ms": 3.5, "marker": "o" if marks else ""}
    for option in options:
      look |= option
    if "color" not in look:
      look["color"] = next(colours)
    pair.plot(places, values, **look)
  if log_x:
    pair.set_xscale("log", base=10 if log_x is True else log_x)
  if log_x == 2:
    pair.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
  if log_y:
    pair.set_yscale("log")
  style.references(pair, references or {})
  pair.set_xlabel(x)
  pair.set_ylabel(y)
  if title:
    pair.set_title(title, fontsize=10)


def families(
  names: Iterable[str], known: Sequence[str] = ("Elman", "GRU", "LSTM")
) -> dict[str, dict[str, str]]:
  """Looks of curves: a colour a family, dashes for each further member.

  The family is the part of a name before its comma; others are grey.
  """
  result, seen = {}, collections.Counter[str]()
  colours = dict(zip(known, style.COLOURS, strict=False))
  for name in names:
    family = name.split(",")[0]
    dashes = ("-", "--", ":")[min(seen[family], 2)]
    result[name] = {"color": colours.get(family, style.GREY), "ls": dashes}
    seen[family] += 1
  return result


def derivatives(
  path: style.Path, drawn: Mapping[str, np.ndarray], height: float = 2.9
) -> None:
  """Sizes of derivatives [T, T] side by side, outputs down, inputs across.

  Where one is 0 nothing is drawn.
  """
  with np.errstate(divide="ignore"):
    logs = [np.ma.masked_invalid(np.log10(one)) for one in drawn.values()]
  low, high = min(one.min() for one in logs), max(one.max() for one in logs)
  with style.figure(path, height=height) as drawing:
    pairs = drawing.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for pair, name, values in zip(pairs, drawn, logs, strict=True):
      edges = (0.5, len(values) + 0.5, len(values) + 0.5, 0.5)
      image = pair.imshow(
        values, cmap="viridis", vmin=low, vmax=high, extent=edges
      )
      pair.set_title(name, fontsize=10)
      pair.set_xlabel("input s")
      style.whole_numbers(pair)
    pairs[0].set_ylabel("output t")
    bar = drawing.colorbar(image, ax=list(pairs), shrink=0.9)
    bar.set_label("log10 of the derivative")


COLUMNS = 64  # characters a line, at most
_NARROWEST = 52  # columns that the axes have, however short the texts
_POINTS = 600.0  # of the font, over the columns
_LINE = 1.1  # inches a line: its text and its bars
_Placed = tuple[int, str, float]  # column, text and surprise of a symbol


class Passage(NamedTuple):
  """A text as one model reads it."""

  name: str
  symbols: Sequence[str]  # characters, or words
  # The surprise of each, -log2 p; NaN where a symbol was read but not scored,
  # infinite where the model held it impossible.
  bits: np.ndarray


def surprise(path: style.Path, title: str, passages: Sequence[Passage]) -> None:
  """Text with bars that hang from its symbols, as long as the surprise.

  What was only read is grey and has no bar; an impossible symbol has a bar to
  the bottom, marked with the sign of infinity. All lines have one scale. A box
  stands for a character that the font lacks.

  Raises:
    errors.UserError: a passage of no symbols, or what `style.figure` raises.
  """
  for passage in passages:
    if not len(passage.symbols):
      raise errors.UserError(
        f"the text of {passage.name!r} has 0 symbols; give at least 1 to draw"
      )
  lines = [
    ("" if index else passage.name, line)
    for passage in passages
    for index, line in enumerate(_lines(passage))
  ]
  columns = max(
    _NARROWEST, *(start + len(s) for _, [*_, (start, s, _)] in lines)
  )
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


def _lines(passage: Passage) -> list[list[_Placed]]:
  """The symbols of every line; lines end between words where they can."""
  symbols, lines, column = passage.symbols, [list[_Placed]()], 0
  # Words stand apart, which characters do by their own spaces.
  gap = int(any(len(symbol) > 1 for symbol in symbols))
  shown = [
    "".join(c if c.isprintable() else VISIBLE.get(c, "\ufffd") for c in symbol)
    for symbol in symbols
  ]
  widths = [min(max(len(text), 1) + gap, COLUMNS) for text in shown]
  ends = [i for i, s in enumerate(symbols, 1) if gap or s.isspace()]
  for start, end in itertools.pairwise([0, *ends, len(symbols)]):
    for place in range(start, end):
      # A word that is longer than a line is broken in itself.
      room = sum(widths[start:end]) if place == start else widths[place]
      if lines[-1] and column + room > COLUMNS:
        lines.append([])
        column = 0
      text = shown[place][: COLUMNS - gap]
      lines[-1].append((column, text, float(passage.bits[place])))
      column += widths[place]
  return lines


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
  bold = {"fontsize": 9, "fontweight": "bold", "parse_math": False}
  pair.set_title(" ".join(name.split()), loc="left", pad=20, **bold)
  for start, shown, bits in line:
    width = max(len(shown), 1)
    middle, read = start + width / 2, np.isnan(bits)
    pair.annotate(
      shown,
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
    endless = not np.isfinite(bits)
    colour = style.COLOURS[1 if endless else 0]
    pair.bar(middle, deepest if endless else bits, width - 0.2, color=colour)
    if endless:
      where = {"ha": "center", "va": "bottom"}
      pair.annotate("∞", (middle, deepest), fontsize=8, **where)
