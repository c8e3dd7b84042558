"""Cleaned text and overlapping windows, as the textbook has them.

Lower-case letters stay, and every run of anything else becomes one space: the
preprocessing of Dive into Deep Learning (Zhang et al.), over all alphabets.
"""

import dataclasses
import functools
import re
import sys
import unicodedata

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.text import batching as batching_lib


@functools.cache
def _others() -> re.Pattern[str]:
  """Runs of anything but letters and the combining marks that follow them."""
  everything = map(chr, range(sys.maxunicode + 1))
  marks = "".join(c for c in everything if unicodedata.category(c)[0] == "M")
  # Word characters that are neither digits nor underscores are letters; `re`
  # counts no mark among them.
  other = f"(?:(?![{marks}])[\\W\\d_])"
  return re.compile(f"(?:^[{marks}]|{other})(?:{other}|[{marks}])*")


def letters(text: str) -> str:
  """The text in lower case, one space for every run of other characters.

  Combining marks belong to the letter before them: the vowel signs of Hindi, or
  accents that are characters of their own. Cleaning twice changes nothing. Of a
  text in ASCII only `a` to `z` and single spaces are left; a space that begins
  or ends it stays, so that pieces may be cleaned one by one and joined.

  >>> letters("The Time Machine, by H. G. Wells [1898]")
  'the time machine by h g wells '
  """
  return _others().sub(" ", text.lower())


def words(text: str) -> list[str]:
  """The words of `letters`.

  >>> words("It isn't 4 o'clock.")
  ['it', 'isn', 't', 'o', 'clock']
  """
  return letters(text).split()


@dataclasses.dataclass(frozen=True, eq=False)
class OverlappingWindows(batching_lib.RandomWindows):
  """All N - T windows of T targets, shuffled each epoch, from fresh carries.

  A plain `RandomWindows` cuts the text into pieces that do not overlap. Here a
  window begins at every symbol, so an epoch reads a symbol up to T times, at
  every distance from a window's beginning (the reader of the newer editions of
  Zhang et al., Dive into Deep Learning). Windows left over after the last full
  batch wait for another epoch.

  To hold some out, cut the text first: windows that are dealt to two splits
  share up to T symbols.

  >>> every = OverlappingWindows(np.arange(35), batch=2, length=5)
  >>> every.segments_per_epoch
  15
  >>> segment = every.segment(0)
  >>> bool(np.all(segment.targets == segment.inputs + 1))
  True
  """

  def __post_init__(self) -> None:
    batching_lib.check_shape(self.tokens, self.batch, self.length)
    if self.segments_per_epoch < 1:
      raise errors.UserError(
        f"the training text has {len(self.tokens):,} symbols and a batch of "
        f"{self.batch} overlapping windows of {self.length} needs "
        f"{self.batch + self.length:,}; use a longer text, a smaller batch or "
        "shorter segments"
      )

  @property
  def segments_per_epoch(self) -> int:
    """Full batches among the N - T windows."""
    return (len(self.tokens) - self.length) // self.batch

  def _firsts(self, step: int, rows: np.ndarray) -> np.ndarray:
    """Positions of the first target of each row."""
    epoch, place = divmod(step, self.segments_per_epoch)
    order = _order(self.seed, epoch, len(self.tokens) - self.length)
    return 1 + order[place * self.batch + rows]


# Kept for the epoch in use, and the one before it at the turn.
@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> np.ndarray:
  return batching.generator(seed, epoch).permutation(count)
