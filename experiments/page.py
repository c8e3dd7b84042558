"""Pages of prose in a Markdown template and numbers from a run."""

import numbers
import pathlib
import re
import types
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jinja2
from jinja2 import meta, nodes

from seqmodels.io import results


class Page:
  r"""A Markdown template with named places, and what a study puts there.

  The template holds the prose as it is read; `{{ name }}` is a place. A line
  `![caption](figures/name.png)` shows a figure with its caption below. Every
  place needs its value and every value its place, and so do figures. Settings
  are at hand as `{{ settings.name }}`, used or not, and the names of the drawn
  figures as `figures`.

  >>> import tempfile
  >>> folder = pathlib.Path(tempfile.mkdtemp())
  >>> template = folder / "page.md"
  >>> _ = template.write_text("# Counting\n\n{{ words }} words.\n\n{{ found }}")
  >>> page = Page(template, folder)
  >>> page["words"] = 2
  >>> page.table("found", ["word", "share"], [["the", 0.5]])
  >>> print(page.text())
  # Counting
  <BLANKLINE>
  2 words.
  <BLANKLINE>
  | word | share |
  | --- | --- |
  | the | 0.500 |

  A list gives the lines of a table whose head the template has, and a dict
  gives several places one name:

  >>> _ = template.write_text("{{ lstm.bits }} and {{ gru.bits }} bits")
  >>> page = Page(template, folder)
  >>> page["lstm"] = {"bits": 1.25, "seconds": 3}
  >>> page.text()
  Traceback (most recent call last):
  ValueError: page.md has no place for lstm.seconds
  >>> page["lstm"] = {"bits": 1.25}
  >>> page.text()
  Traceback (most recent call last):
  ValueError: page.md: 'gru' is undefined
  """

  def __init__(
    self, template: pathlib.Path, workdir: pathlib.Path, settings: Any = None
  ):
    """A page to be written into the run folder `workdir`."""
    self._template = template
    self._workdir = workdir
    self._settings = settings
    self._values: dict[str, Any] = {}
    self._drawn: dict[str, pathlib.Path] = {}

  def __setitem__(self, name: str, value: Any) -> None:
    """Gives a place its value; numbers with a point get about four digits."""
    if isinstance(value, list):
      self.table(name, [], value)
      self._values[name] = "\n".join(self._values[name].split("\n")[2:])
    elif isinstance(value, Mapping):
      # No dict: its methods would take the places of values such as `items`.
      shown = {key: _shown(part) for key, part in value.items()}
      self._values[name] = types.SimpleNamespace(**shown)
    else:
      self._values[name] = _shown(value)

  def table(
    self, name: str, head: Sequence[str], body: Iterable[Sequence[Any]]
  ) -> None:
    """Gives a place a table, or nothing without lines."""
    cells = [[_shown(cell) for cell in line] for line in body]
    self._values[name] = results.table(head, cells) if cells else ""

  def verbatim(self, name: str, text: str) -> None:
    """Gives a place a block of text as it is, such as a sample."""
    self._values[name] = results.verbatim(text.strip("\n"))

  def facts(self, name: str, facts: Mapping[str, Any]) -> None:
    """Gives a place a list of what there is to know of a run."""
    lines = (f"- {fact}: {value}" for fact, value in facts.items())
    self._values[name] = "\n".join(lines)

  def figure(self, name: str, folder: str = "figures") -> pathlib.Path:
    """The path to draw `FOLDER/NAME.png` to."""
    path = self._workdir / folder / f"{name}.png"
    self._drawn[name] = path
    return path

  def text(self) -> str:
    """The page.

    Raises:
      ValueError: a place without a value or a value without a place, a figure
        that was drawn and is not shown or is shown and was not drawn, a table
        with lines of different lengths.
    """
    source = self._template.read_text(encoding="utf-8")
    tree = _TEMPLATES.parse(source)
    places = meta.find_undeclared_variables(tree) | {
      f"{place.node.name}.{place.attr}"
      for place in tree.find_all(nodes.Getattr)
      if isinstance(place.node, nodes.Name)
    }
    self._agree("has no place for", self._names() - places)
    drawn = {name for name, path in self._drawn.items() if path.exists()}
    try:
      text = _TEMPLATES.from_string(source).render(
        self._values, settings=self._settings, figures=drawn
      )
    except jinja2.UndefinedError as error:
      raise ValueError(f"{self._template.name}: {error}") from error
    for table in _TABLE.findall(_VERBATIM.sub("", text)):
      sizes = sorted({len(_EDGE.findall(x)) - 1 for x in table.splitlines()})
      if len(sizes) > 1:
        complaint = f"a table has lines of {sizes} cells"
        raise ValueError(f"{self._template.name}: {complaint}: {table}")
    shown = {match["name"] for match in _FIGURE.finditer(text)} - {None}
    self._agree("does not show the figures", drawn - shown)
    self._agree("shows figures that were not drawn:", shown - drawn)
    return _FIGURE.sub(_with_caption, text)

  def _names(self) -> set[str]:
    return {
      f"{name}.{key}" if key else name
      for name, value in self._values.items()
      for key in ([""] if isinstance(value, str) else vars(value))
    }

  def _agree(self, complaint: str, names: set[str]) -> None:
    if names:
      listed = ", ".join(sorted(names))
      raise ValueError(f"{self._template.name} {complaint} {listed}")

  def write(
    self, rows: Sequence[Mapping[str, Any]] | None = None
  ) -> pathlib.Path:
    """Writes report.md, whole; result rows take the place `results`."""
    if rows is not None:
      self._values["results"] = results.markdown_table(rows)
    text = self.text().rstrip("\n") + "\n"
    return results.write(self._workdir, text)


# A block of text as it is, in which nothing is a figure or a table.
_VERBATIM = re.compile(
  r"^(?P<fence>`{3,})text$.*?^(?P=fence)$", re.DOTALL | re.MULTILINE
)
_FIGURE = re.compile(
  rf"{_VERBATIM.pattern}"
  r"|!\[(?P<caption>.+?)\]\((?:figures|samples)/(?P<name>[\w-]+)\.png\)",
  re.DOTALL | re.MULTILINE,
)
_TABLE = re.compile(r"(?:^\|.*\n)+", re.MULTILINE)
_EDGE = re.compile(r"(?<!\\)\|")
_TEMPLATES = jinja2.Environment(
  undefined=jinja2.StrictUndefined,
  trim_blocks=True,
  lstrip_blocks=True,
  keep_trailing_newline=True,
)


def _with_caption(match: re.Match[str]) -> str:
  return f"{match[0]}\n\n{match['caption']}" if match["name"] else match[0]


def _shown(value: Any) -> str:
  real = isinstance(value, numbers.Real)
  if real and not isinstance(value, numbers.Integral):
    return results.figure(float(value))
  return str(value)
