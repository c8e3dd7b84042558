"""Handwriting by the name of its source: splits with standardised points."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from seqmodels import errors
from seqmodels.data.handwriting import alphabet as alphabets
from seqmodels.data.handwriting import iam_ondb, strokes, synthetic
from seqmodels.data.handwriting.strokes import PenLines, Scaling
from seqmodels.data.text import corpora

# (bytes read, of how many).
Progress = Callable[[int, int], None]
# One sentence that the user should see.
Warn = Callable[[str], None]

SYNTHETIC_LINES = {"train": 1024, "valid": 128}


class Handwriting(NamedTuple):
  """A data set of handwriting, ready for training.

  Attributes:
    splits: "train" and "valid", with standardised points.
    scaling: of the raw points of the training split, all that was read of it.
    alphabet: of the transcripts.
    provenance: what was read, ready for JSON; see `corpora.provenance`.
    unit: of the readings, which are whole multiples of it; 0 where there is
      none.
  """

  splits: dict[str, PenLines]
  scaling: Scaling
  alphabet: alphabets.Alphabet
  provenance: dict[str, Any]
  unit: float = 0.0

  @property
  def finest(self) -> tuple[float, float] | None:
    """Half a unit of x and y, standardised: finer than was measured."""
    if not self.unit:
      return None
    x, y = 0.5 * self.unit / self.scaling.deviation
    return float(x), float(y)


class Raw(NamedTuple):
  """Raw data: lines in raw units, and the files that were read."""

  splits: dict[str, PenLines]
  files: list[dict[str, Any]]
  note: str
  unit: float = 0.0


class Wishes(NamedTuple):
  """Options of a source; each uses those that concern it."""

  data_dir: str
  seed: int
  longest_step: float
  progress: Progress | None
  warn: Warn | None


def load(
  source: str,
  data_dir: str | os.PathLike[str] = "",
  *,
  alphabet: str = "graves",
  limit: int = 0,
  transcribed: bool = False,
  seed: int = 0,
  longest_step: float = strokes.LONGEST_STEP,
  progress: Progress | None = None,
  warn: Warn | None = None,
) -> Handwriting:
  """Reads, limits and standardises a handwriting.

  >>> found = load("synthetic", limit=3)
  >>> {name: len(lines) for name, lines in found.splits.items()}
  {'train': 3, 'valid': 3}
  >>> found.scaling.deviation.shape, found.alphabet.size
  ((2,), 57)

  Args:
    source: a key of `SOURCES`.
    data_dir: the data folder, which holds `iamondb/`.
    alphabet: a key of `alphabet.ALPHABETS`.
    limit: lines kept at the beginning of each split, 0 for all. The scaling
      stays that of the whole, so that losses of a smoke run are comparable.
    transcribed: leave out lines without a transcript.
    seed: of the synthetic pen.
    longest_step: of real ink; see `ink.offsets`.
    progress: called with (bytes read, of how many) while files are parsed.
    warn: called with a sentence where the user should know of something.

  Raises:
    UserError: an unknown name, a negative limit, files that are missing or
      broken, or no line left.
  """
  if source not in SOURCES:
    raise errors.UserError(
      f"unknown handwriting source {source!r}" + errors.closest(source, SOURCES)
    )
  if limit < 0:
    raise errors.UserError(f"limit is {limit}; it must be 0 (all) or more")
  symbols = alphabets.named(alphabet)
  # Flags reach us with their tilde: `--data_dir=~/data` is not the shell's.
  folder = os.path.expanduser(os.fspath(data_dir))
  raw = SOURCES[source](Wishes(folder, seed, longest_step, progress, warn))
  scaling = Scaling.fit(raw.splits["train"])
  splits, notes = {}, [raw.note]
  for name, lines in raw.splits.items():
    if transcribed:
      kept = [index for index, text in enumerate(lines.texts) if text]
      if len(kept) < len(lines):
        notes.append(
          f"{len(lines) - len(kept)} of {len(lines):,} {name} lines left out: "
          "no transcript"
        )
        lines = lines.select(kept)
    if limit and limit < len(lines):
      notes.append(f"the first {limit:,} of {len(lines):,} {name} lines")
      lines = lines.span(0, limit)
    if not len(lines):
      raise errors.UserError(
        f"the {name} split of {source!r} has 0 lines left; give lists with "
        "lines that are there and transcribed"
      )
    splits[name] = scaling.apply(lines)
  return Handwriting(
    splits,
    scaling,
    symbols,
    corpora.provenance(source, raw.files, "; ".join(notes)),
    raw.unit,
  )


def _iamondb(wishes: Wishes) -> Raw:
  lines = iam_ondb.read(
    wishes.data_dir,
    longest_step=wishes.longest_step,
    progress=wishes.progress,
    warn=wishes.warn,
  )
  return Raw(lines.graves(), lines.files, lines.note, unit=1.0)


def _synthetic(wishes: Wishes) -> Raw:
  # The first lines are for validation: a longer training split would begin
  # with the same ones.
  first = SYNTHETIC_LINES["valid"]
  lines = synthetic.synthetic(
    lines=first + SYNTHETIC_LINES["train"], seed=wishes.seed
  )
  splits = {
    "train": lines.span(first, len(lines)),
    "valid": lines.span(0, first),
  }
  return Raw(splits, [], f"lines of a made-up pen, seed {wishes.seed}")


SOURCES: dict[str, Callable[[Wishes], Raw]] = {
  "iamondb": _iamondb,
  "synthetic": _synthetic,
}
