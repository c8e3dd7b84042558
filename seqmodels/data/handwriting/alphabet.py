"""The characters that a network can write, and their ids."""

import dataclasses
import functools
import string
from collections.abc import Iterable

import numpy as np

from seqmodels import errors

# The longest transcript of IAM-OnDB has 76 characters. All of a line's text is
# looked at by the window at every step, and thousands would fill the memory.
MAX_LINE = 250

# All characters of the transcribed lines: the 80 that Graves counts are those
# of his training lines, and a line of his validation set has a "*".
_MARKS = "!\"#&'()*+,-./:;?[]"
_CHARACTERS = string.ascii_letters + " " + string.digits + _MARKS


@dataclasses.dataclass(frozen=True)
class Alphabet:
  """Symbols in the order of their ids, and the characters that share one.

  >>> alphabet = Alphabet(("a", "b", "#"), other=2, collapsed="12#")
  >>> alphabet.encode("ab1")
  array([0, 1, 2], dtype=int32)
  >>> alphabet.decode([0, 1, 2])
  'ab#'

  Attributes:
    symbols: single characters; the position of each is its id.
    other: id of the class of collapsed characters, None where there is none.
      Its symbol stands for all of them when ids are written out.
    collapsed: the characters that this class takes.
  """

  symbols: tuple[str, ...]
  other: int | None = None
  collapsed: str = ""

  def __post_init__(self) -> None:
    if any(not _is_character(symbol) for symbol in self.symbols):
      raise ValueError(f"symbols must be single characters: {self.symbols}")
    if len(set(self.symbols)) != len(self.symbols):
      raise ValueError(f"symbols must differ: {self.symbols}")
    if (self.other is None) != (not self.collapsed):
      raise ValueError("`other` and `collapsed` go together")
    if self.other is not None and not (
      isinstance(self.other, int) and 0 <= self.other < self.size
    ):
      raise ValueError(f"no symbol has the id {self.other!r}")

  @property
  def size(self) -> int:
    """The number of symbols: the width of a one-hot character."""
    return len(self.symbols)

  @functools.cached_property
  def ids(self) -> dict[str, int]:
    """Every accepted character and its id."""
    index = {symbol: i for i, symbol in enumerate(self.symbols)}
    if self.other is not None:
      index.update(dict.fromkeys(self.collapsed, self.other))
    return index

  @property
  def accepted(self) -> str:
    """The characters that have an id, sorted."""
    return "".join(sorted(self.ids))

  def alike(self, text: str) -> str:
    """Characters of a text that share one symbol, sorted.

    >>> Alphabet(("a", "#"), other=1, collapsed="12#").alike("a21a")
    '12'
    """
    return "".join(sorted(set(text) & set(self.collapsed)))

  def encode(self, text: str) -> np.ndarray:
    """The ids of a line's characters, int32 [U].

    Args:
      text: 1 to `MAX_LINE` accepted characters.

    Raises:
      UserError: it is empty, too long, or has a character without an id.
    """
    if not text:
      raise errors.UserError(
        "the text is empty; give at least 1 character to write"
      )
    if len(text) > MAX_LINE:
      raise errors.UserError(
        f"the text has {len(text):,} characters and a line may have "
        f"{MAX_LINE:,}; write it in several lines"
      )
    ids = [self.ids.get(character, -1) for character in text]
    if -1 in ids:
      raise self._refusal(text, ids)
    return np.array(ids, np.int32)

  def decode(self, ids: Iterable[int] | np.ndarray) -> str:
    """The text of ids; collapsed characters come out as their class's symbol.

    Raises:
      UserError: an id is not in [0, size).
    """
    numbers = [int(number) for number in ids]
    for number in numbers:
      if not 0 <= number < self.size:
        raise errors.UserError(
          f"id {number} is outside this alphabet of {self.size} symbols; "
          "decode with the alphabet that the ids were made with"
        )
    return "".join(self.symbols[number] for number in numbers)

  def _refusal(self, text: str, ids: list[int]) -> errors.UserError:
    """The error of the characters with id -1."""
    places: dict[str, int] = {}
    for position, number in enumerate(ids):
      if number < 0:
        places.setdefault(text[position], position)
    listing = ", ".join(
      f"{character!r} at position {position}"
      for character, position in list(places.items())[:8]
    )
    more = f" and {len(places) - 8} more" if len(places) > 8 else ""
    return errors.UserError(
      f"the text has {listing}{more}, which this alphabet of {self.size} "
      f"symbols lacks; write it with {_ranges(self.accepted)}"
    )


def _is_character(symbol: object) -> bool:
  return isinstance(symbol, str) and len(symbol) == 1


def _ranges(characters: str) -> str:
  """Characters for an error message, whole ranges in short.

  >>> _ranges("".join(sorted(string.ascii_lowercase + " ?")))
  "a-z, space and '?'"
  """
  rest, parts = characters, []
  for run in (string.ascii_uppercase, string.ascii_lowercase, string.digits):
    if set(run) <= set(rest):
      parts.append(f"{run[0]}-{run[-1]}")
      rest = "".join(c for c in rest if c not in run)
  if " " in rest:
    parts.append("space")
    rest = rest.replace(" ", "")
  if rest:
    parts.append(repr(rest))
  return " and ".join(filter(None, (", ".join(parts[:-1]), parts[-1])))


def _graves() -> Alphabet:
  """Graves (2013, section 5): 57 symbols, one of which is a class.

  Letters, and one class for all digits and most marks; 57 leaves the space and
  three marks. Which three is not said. These are the most frequent of the
  training lines (period 4,689, comma 2,464, quotation mark 1,639); the next,
  the apostrophe (857), is one that a footnote names as collapsed. The class
  takes marks that the database lacks, too. It is written "#", which in the
  transcripts stands for what was crossed out.
  """
  kept = string.ascii_letters + ' .,"'
  others = string.digits + string.punctuation
  collapsed = "".join(c for c in others if c not in kept)
  alphabet = Alphabet((*kept, "#"), other=len(kept), collapsed=collapsed)
  assert alphabet.size == 57
  return alphabet


GRAVES = _graves()
FULL = Alphabet(tuple(_CHARACTERS))

ALPHABETS = {"graves": GRAVES, "full": FULL}


def named(name: str) -> Alphabet:
  """The alphabet of that name.

  >>> named("graves").size, named("full").size
  (57, 81)

  Raises:
    UserError: there is none.
  """
  if name not in ALPHABETS:
    raise errors.UserError(
      f"unknown alphabet {name!r}" + errors.closest(name, ALPHABETS)
    )
  return ALPHABETS[name]
