"""Lines written by a pen network, and how they compare with real ones."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import pen_assembly, phases
from seqmodels.data import pen_lines
from seqmodels.evaluation import stroke_statistics
from seqmodels.io import report
from seqmodels.models import pen_network
from seqmodels.sampling import handwriting as sampling

# Units of IAM-OnDB, where a line is about 6,000 wide.
FARTHEST = 1e6
# Share of the characters that the window must have stood at.
READ = 0.9


class Sample(NamedTuple):
  """One line: what it says, how it was drawn, its ink in the data's units."""

  text: str
  bias: float
  ink: np.ndarray
  stopped: bool
  window: np.ndarray | None  # [T, U + 1]

  @property
  def read_through(self) -> bool:
    """Whether the window left the text by itself, after most of its letters.

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
    """Whether there is ink, and on a sheet of this world.

    A network that has learned nothing yet may leave it.
    """
    reach = np.abs(np.cumsum(self.ink[:, :2], axis=0))
    return bool(len(self.ink)) and bool(np.all(reach < FARTHEST))


def texts_of(
  pen: pen_assembly.Pen,
  lines: Sequence[str],
  *,
  before: str = "",
  longest: int = 0,
) -> np.ndarray:
  """Texts as ids, int32 [U, B], -1 past the end of each.

  Args:
    pen: of the network.
    lines: B texts.
    before: what a prime says, put before each.
    longest: see `write`.

  Raises:
    UserError: characters outside the alphabet, or no character.
  """
  rows = [pen.alphabet.encode(line) for line in lines]
  if before:
    first = pen.alphabet.encode(before)
    rows = [np.concatenate([first, row]) for row in rows]
  # Padded to whole sixteens: few lengths are compiled.
  most = max(longest + len(before), *map(len, rows))
  found = np.full((16 * math.ceil(most / 16), len(rows)), -1, np.int32)
  for column, row in enumerate(rows):
    found[: len(row), column] = row
  return found


def write(
  network: pen_network.PenNetwork,
  params: Any,
  pen: pen_assembly.Pen,
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
    prime: standardised points [P, 3] of a real line to go on from.
    before: what that line says.
    longest: characters of the longest line of all batches, so that they are
      padded alike; 0 for the longest of these.
  """
  ids = texts_of(pen, lines, before=before, longest=longest)
  biases = np.broadcast_to(np.asarray(bias, np.float32), (len(lines),))
  found = sampling.write(
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
      pen.scaling.restore(found.line(row)),
      bool(found.stopped[row]),
      None
      if found.window is None
      else found.window[: found.lengths[row], row, : len(before + line) + 1],
    )
    for row, line in enumerate(lines)
  ]


def scribble(
  context: pen_assembly.Context,
  biases: Sequence[float],
  points: Sequence[int] | np.ndarray,
) -> list[Sample]:
  """Lines by a network without a window.

  Args:
    context: of the run.
    biases: of each line.
    points: of each line.
  """
  if not len(biases):
    return []
  found = sampling.write(
    context.network,
    context.params,
    jax.random.key(context.config.seed),
    rows=len(biases),
    steps=int(np.max(points)),
    bias=np.array(biases, np.float32),
    most=np.asarray(points),
  )
  return [
    Sample("", bias, context.ink(found.line(row)), False, None)
    for row, bias in enumerate(biases)
  ]


def compared_lines(context: pen_assembly.Context) -> pen_lines.PenLines:
  """Validation lines for the statistics, from all over the split."""
  lines = context.data.splits["valid"]
  return lines.spread(context.config.sample.statistics)


def measured(
  context: pen_assembly.Context,
) -> tuple[dict[str, Any], list[Sample]]:
  """Stroke statistics of real validation lines and of lines written as long.

  A network with a window writes the same texts, unbiased; one without writes as
  many points.

  Returns:
    By statistic: `real`, `written` (mean and deviation) and the `shift` between
    them; with a window also how many lines it read to the end and then left by
    itself. And the lines.
  """
  chosen = compared_lines(context)
  count = len(chosen)
  if not count:
    return {}, []
  real = [context.ink(chosen.line(index)) for index in range(count)]
  texts = list(chosen.texts)
  drawn: list[Sample] = []

  def draw() -> list[Sample]:
    if context.network.window is None:
      return scribble(context, (0.0,) * count, chosen.lengths)
    return write(
      context.network,
      context.params,
      context.pen,
      texts,
      bias=0.0,
      seed=context.config.seed + 1,
      points_per_character=context.config.sample.points_per_character,
    )

  def compute() -> dict[str, Any]:
    drawn.extend(draw())
    known = texts if context.network.window is not None else None
    inks = [sample.ink for sample in drawn]
    kept = [place for place, ink in enumerate(inks) if len(ink)]
    written = stroke_statistics.describe(
      [inks[place] for place in kept],
      None if known is None else [known[place] for place in kept],
    )
    compared = stroke_statistics.compare(
      stroke_statistics.describe(real, known), written
    )
    found: dict[str, Any] = {
      name: {
        "real": [pair.first.mean, pair.first.deviation],
        "written": [pair.second.mean, pair.second.deviation],
        "shift": pair.shift,
      }
      for name, pair in compared.items()
    }
    stopped = sum(sample.read_through for sample in drawn)
    return {
      "lines": count,
      "stopped": stopped if context.network.window is not None else None,
      "statistics": found,
    }

  return phases.phase(context, "strokes", compute), drawn


def table(found: dict[str, Any]) -> str:
  """Stroke statistics as a Markdown table; empty without any."""
  if not found:
    return ""
  body = [
    [
      name.replace("_", " "),
      *(
        f"{report.figure(mean)} ± {report.figure(deviation)}"
        for mean, deviation in (pair["real"], pair["written"])
      ),
      report.figure(pair["shift"], sign=True),
    ]
    for name, pair in found["statistics"].items()
  ]
  return report.table(
    ["a line", "real", "written", "shift in deviations"], body
  )
