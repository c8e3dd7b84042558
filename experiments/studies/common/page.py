"""A page that teaches: text, tables and figures as the argument goes."""

import pathlib
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from seqmodels.io import results


class Lesson:
  r"""A Markdown page that grows from top to bottom.

  Text may be indented and broken as code likes it; blank lines part paragraphs.

  >>> import tempfile
  >>> lesson = Lesson(pathlib.Path(tempfile.mkdtemp()), "Counting")
  >>> lesson.say("Two words.")
  >>> lesson.table(["word", "times"], [["the", 2]])
  >>> print(lesson.text())
  # Counting
  <BLANKLINE>
  Two words.
  <BLANKLINE>
  | word | times |
  | --- | --- |
  | the | 2 |
  <BLANKLINE>
  """

  def __init__(self, workdir: pathlib.Path, title: str):
    """An empty page of the run folder `workdir`."""
    self._workdir = workdir
    self._parts = [f"# {title}"]

  def section(self, heading: str, text: str = "") -> None:
    """A heading, and what follows it."""
    self._parts.append(f"## {heading}")
    if text:
      self.say(text)

  def say(self, text: str) -> None:
    """Paragraphs."""
    for paragraph in textwrap.dedent(text).strip().split("\n\n"):
      self._parts.append(" ".join(paragraph.split()))

  def shown(self, text: str) -> None:
    """Text as it stands: a formula, a sample, a few lines of code."""
    self._parts.append(results.verbatim(textwrap.dedent(text).strip("\n")))

  def table(self, head: Sequence[str], body: Iterable[Sequence[Any]]) -> None:
    """A table; numbers are written in about four digits, text as it is."""
    cells = [
      [results.figure(c) if isinstance(c, float) else str(c) for c in line]
      for line in body
    ]
    self._parts.append(results.table(head, cells))

  def figure(self, name: str, caption: str) -> pathlib.Path:
    """Places `figures/NAME.png` here; returns the path to draw it to."""
    self._parts.append(f"![{caption}](figures/{name}.png)\n\n{caption}")
    return self._workdir / "figures" / f"{name}.png"

  def results(self, rows: Sequence[Mapping[str, Any]]) -> None:
    """The result rows as a table."""
    self.section("Results")
    self._parts.append(results.markdown_table(rows))

  def text(self) -> str:
    """The page."""
    return "\n\n".join(self._parts) + "\n"

  def write(self) -> pathlib.Path:
    """Writes report.md, whole."""
    return results.write(self._workdir, self.text())
