"""Trained handwriting networks: pages in handwriting, and scores of lines."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels import errors, trained
from seqmodels.data.handwriting import batching, synthetic
from seqmodels.data.handwriting import strokes as pens
from seqmodels.evaluation import handwriting as evaluation
from seqmodels.io import files
from seqmodels.models import networks
from seqmodels.plotting import handwriting as plotting
from seqmodels.sampling import handwriting as sampling

PEN = "pen.json"

# Lines drawn side by side.
BATCH = 16
# Characters of a page: beyond it, hundreds of lines would be one picture.
LONGEST = 5_000
# Units of IAM-OnDB, where a line is about 6,000 wide.
FARTHEST = 1e6
# Share of the characters that the window must have stood at.
READ = 0.9


class Sample(NamedTuple):
  """One line: its text, its bias, and its strokes in the data's units."""

  text: str
  bias: float
  ink: np.ndarray
  stopped: bool
  window: np.ndarray | None  # [T, U + 1]

  @property
  def read_through(self) -> bool:
    """True where the window left the text by itself, after most letters.

    A line that stops at once has left its text, too.
    """
    if self.window is None or not self.stopped or not len(self.ink):
      return False
    # A prime's letters come first.
    last = self.window.shape[1] - 1
    seen = np.unique(np.argmax(self.window, axis=1))
    own = (seen >= last - len(self.text)) & (seen < last)
    return int(own.sum()) >= READ * len(self.text)

  @property
  def drawable(self) -> bool:
    """True where there are strokes, none absurdly far away."""
    reach = np.abs(np.cumsum(self.ink[:, :2], axis=0))
    return bool(len(self.ink)) and bool(np.all(reach < FARTHEST))


def texts_of(
  pen: pens.Pen,
  lines: Sequence[str],
  *,
  before: str = "",
  longest: int = 0,
) -> np.ndarray:
  """B texts as ids, int32 [U, B], -1 past the end of each; args as of `write`.

  Raises:
    UserError: characters outside the alphabet, or no character.
  """
  rows = [pen.alphabet.encode(line) for line in lines]
  if before:
    first = pen.alphabet.encode(before)
    rows = [np.concatenate([first, row]) for row in rows]
  # Padded to whole sixteens: few lengths are compiled.
  most = max(longest + len(before), *map(len, rows))
  ids = np.full((16 * math.ceil(most / 16), len(rows)), -1, np.int32)
  for column, row in enumerate(rows):
    ids[: len(row), column] = row
  return ids


def write(
  network: networks.SequenceModel,
  params: Any,
  pen: pens.Pen,
  lines: Sequence[str],
  *,
  bias: float | Sequence[float],
  seed: int,
  points_per_character: int,
  prime: np.ndarray | None = None,
  before: str = "",
  longest: int = 0,
) -> list[Sample]:
  """Texts by a network with a window, all in one batch.

  Args:
    network: the model.
    params: its weights.
    pen: its alphabet and scaling.
    lines: what to write.
    bias: one for all, or one each.
    seed: equal seeds write equal lines.
    points_per_character: at most; a line that takes more is cut there.
    prime: standardised points [P, 3] of a real line to continue.
    before: what that line says.
    longest: characters of the longest line of all batches, so that they are
      padded alike; 0 for the longest of these.
  """
  ids = texts_of(pen, lines, before=before, longest=longest)
  biases = np.broadcast_to(np.asarray(bias, np.float32), (len(lines),))
  measurements = sampling.write(
    network,
    params,
    jax.random.key(seed),
    rows=len(lines),
    steps=max(map(len, lines)) * points_per_character,
    text=ids,
    bias=biases,
    prime=prime,
    most=np.array([points_per_character * len(line) for line in lines]),
  )
  return [
    Sample(
      line,
      float(biases[row]),
      pen.scaling.restore(measurements.line(row)),
      bool(measurements.stopped[row]),
      None
      if measurements.window is None
      else measurements.window[
        : measurements.lengths[row], row, : len(before + line) + 1
      ],
    )
    for row, line in enumerate(lines)
  ]


class Page(NamedTuple):
  """A text in handwriting, line by line.

  Attributes:
    text: what it says.
    lines: from the top down; None is a blank line.
  """

  text: str
  lines: tuple[Sample | None, ...]

  @property
  def samples(self) -> list[Sample]:
    """The lines that are not blank."""
    return [line for line in self.lines if line is not None]

  @property
  def strokes(self) -> list[np.ndarray | None]:
    """Each line's points [T, 3] in the data's units; None is a blank line.

    A point is the x offset and the y offset (downwards) from the one before,
    and whether the pen lifts after it.
    """
    return [None if line is None else line.ink for line in self.lines]

  def svg(self) -> str:
    """The page as an SVG document."""
    return plotting.svg_page(self.strokes, title=self.text)

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes a picture: `.svg` or `.png`.

    Raises:
      UserError: another kind of file, or one that cannot be written.
    """
    kind = pathlib.Path(path).suffix
    if kind == ".svg":
      plotting.write_svg(path, self.strokes, title=self.text)
    elif kind == ".png":
      plotting.plot_lines(path, "", [("", ink) for ink in self.strokes])
    else:
      raise errors.UserError(
        f"{os.fspath(path)} ends in {kind!r}; handwriting is saved as '.svg' "
        "or '.png'"
      )


def lines_of(pen: pens.Pen, text: str, width: int) -> list[str]:
  """Breaks a text into lines of at most `width` characters; "" is a blank one.

  Raises:
    UserError: no text, more than `LONGEST` characters, or one that the
      alphabet lacks.
  """
  if len(text) > LONGEST:
    raise errors.UserError(
      f"the text has {len(text):,} characters and a page may have "
      f"{LONGEST:,}; write it in parts"
    )
  lines = sampling.broken(text, width)
  for line in filter(None, lines):
    pen.alphabet.encode(line)
  return lines


def page(
  network: networks.SequenceModel,
  params: Any,
  pen: pens.Pen,
  text: str,
  *,
  bias: float,
  seed: int,
  width: int = 30,
  points_per_character: int = 60,
  prime: np.ndarray | None = None,
  before: str = "",
  check: Callable[[], None] = lambda: None,
) -> Page:
  """Breaks a text into lines and writes them.

  Args as of `write`, and:
    text: at most `LONGEST` characters of the alphabet.
    bias: from 0 (as the network writes) to 10 (hardly any variation).
    width: characters of a line.
    check: called between batches of lines; may raise to stop.

  Raises:
    UserError: a bias out of range, no text, one that is too long, or one that
      the alphabet cannot spell.
    RunError: the network wrote nothing that can be drawn.
  """
  sampling.check_bias(bias)
  lines = lines_of(pen, text, width)
  words = [line for line in lines if line]
  samples: list[Sample] = []
  # Batches of equal shapes, as one is compiled: the last is filled up.
  batch = min(BATCH, len(words))
  for first in range(0, len(words), batch):
    check()
    part = words[first : first + batch]
    samples += write(
      network,
      params,
      pen,
      [*part, *[part[-1]] * (batch - len(part))],
      bias=bias,
      seed=seed + first,
      points_per_character=points_per_character,
      prime=prime,
      before=before,
      longest=max(map(len, words)),
    )[: len(part)]
  lost = [sample.text for sample in samples if not sample.drawable]
  if lost:
    raise errors.RunError(
      f"the network wrote nothing that can be drawn for {lost[0]!r}: it has "
      "not learned to; train it longer"
    )
  written = iter(samples)
  return Page(text, tuple(next(written) if line else None for line in lines))


@dataclasses.dataclass(frozen=True, eq=False)
class HandwritingModel(trained.Loaded):
  """A trained handwriting network: of prediction, or of synthesis."""

  @staticmethod
  def build(
    settings: Mapping[str, Any], symbols: int
  ) -> networks.SequenceModel:
    """The network of its settings, over an alphabet."""
    return networks.handwriting(settings, symbols)

  @staticmethod
  def parse(record: Mapping[str, Any]) -> pens.Pen:
    """The pen of what JSON holds."""
    return pens.Pen.of(record)

  @staticmethod
  def read_symbols(folder: pathlib.Path) -> pens.Pen:
    """The pen of a run folder."""
    return read_pen(folder)

  @property
  def pen(self) -> pens.Pen:
    """Alphabet and scaling."""
    return self.symbols

  def write(
    self,
    text: str,
    *,
    bias: float = 0.5,
    prime: tuple[np.ndarray, str] | None = None,
    seed: int = 0,
    width: int = 30,
    points_per_character: int = 60,
  ) -> Page:
    """Writes a text by hand.

    Args:
      text: of the alphabet's characters; long ones are broken into lines.
      bias: from 0 (as the network writes) to 10 (hardly any variation).
      prime: strokes [P, 3] of a real line in the data's units, whose hand is
        continued, and the text of that line.
      seed: equal seeds write equal pages.
      width: characters of a line.
      points_per_character: at most; a line that takes more is cut there.

    Returns:
      A page with `strokes`, `svg()` and `save(path)`.

    Raises:
      UserError, RunError: as `page`; a prime of another shape, or a network
        that knows no text.
    """
    if self.model.window is None:
      raise errors.UserError(
        f"the network of {self.place} predicts pen movements and knows "
        "no text; give one of configs/handwriting_synthesis.py"
      )
    strokes, says = prime if prime is not None else (None, "")
    return page(
      self.model,
      self.params,
      self.pen,
      text,
      bias=bias,
      seed=seed,
      width=width,
      points_per_character=points_per_character,
      prime=None if strokes is None else self._standardised(strokes, 0),
      before=f"{says} " if says else "",
    )

  def score(self, strokes: np.ndarray, text: str) -> evaluation.PointMetrics:
    """Scores a line of handwriting.

    Args:
      strokes: [T, 3] in the data's units: x offset, y offset (downwards), end
        of stroke.
      text: what it says; not looked at by a network of prediction.

    Returns:
      Metrics: `nats`, `count` of points, `nats_per_sequence`,
      `nats_per_point`, `sse`.

    Raises:
      UserError: strokes of another shape, or a text that the alphabet cannot
        spell.
    """
    lines = pens.PenLines.of([self._standardised(strokes, 1)], ["line"], [text])
    alphabet = self.pen.alphabet if self.model.window else None
    scores = batching.evaluation(lines, alphabet, 1)
    return evaluation.evaluate(
      self.model, self.params, (segment for _, segment in scores)
    )

  def _standardised(self, strokes: np.ndarray, least: int) -> np.ndarray:
    """Strokes of at least so many points, checked and standardised."""
    try:
      points = np.asarray(strokes)
    except ValueError:  # rows of different lengths
      points = np.array(None)
    width = points.shape[1:]
    if points.dtype.kind not in "biuf" or width != (3,) or len(points) < least:
      raise errors.UserError(
        f"the strokes are {points.dtype}{list(points.shape)}; give numbers "
        f"[T, 3] with T at least {least}: x offset, y offset, end of stroke"
      )
    return self.pen.scaling.standardise(points)

  def check(self) -> dict[str, float]:
    """Nats and points of a fixed line: what a shipped file must keep."""
    line = synthetic.synthetic(lines=1, seed=0)
    total = self.score(line.line(0), line.texts[0])
    return {"nats": total.nats, "count": total.count}


def read_pen(folder: pathlib.Path) -> pens.Pen:
  """The alphabet and the scaling of a run folder.

  Raises:
    UserError: it holds none, or a damaged one.
  """
  path = folder / PEN
  if not path.is_file():
    raise errors.UserError(
      f"{folder} has no {PEN}: it holds no handwriting run, or one that "
      "stopped before training; give the run folder of a trained network"
    )
  record = files.read(path)
  try:
    return pens.Pen.of(record)
  except (KeyError, ValueError, TypeError, OverflowError) as error:
    raise files.damaged(path, error) from error
