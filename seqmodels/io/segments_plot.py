"""One text cut in several ways, a row each: where gradients may flow."""

import itertools
from collections.abc import Mapping, Sequence

from seqmodels.io import canvas

# What would not show, or not take a place, in a row of characters.
_SHOWN = {"\n": "\u21b5", "\t": "\u21e5"}
_ROW = 0.72  # inches


def strips(
  path: canvas.Path,
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
  with canvas.figure(path, height=height, dpi=160) as drawing:
    pair = drawing.subplots()
    pair.set_axis_off()
    pair.set_title(title, fontsize=11)
    pair.set_xlim(-0.7, len(text) - 0.3)
    pair.set_ylim(-len(cuts) + 0.5, 0.7)
    for row, (name, places) in enumerate(cuts.items()):
      pair.text(-0.45, 0.36 - row, name, fontsize=8.5, color=canvas.GREY)
      edges = [0, *sorted(places), len(text)]
      for index, (start, end) in enumerate(itertools.pairwise(edges)):
        colour = canvas.COLOURS[index % 2]
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
