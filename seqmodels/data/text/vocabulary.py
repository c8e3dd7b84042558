"""Tokenizers and vocabularies: characters, words, bytes.

Every tokenizer starts from the bytes of a text, so that a corpus is read one
way and split by any of them.
"""

import collections
import dataclasses
import functools
import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, NoReturn

import numpy as np

from seqmodels import errors
from seqmodels.data import files

_CODE_POINTS = 0x110000


class Tables(NamedTuple):
  """Ids by code point and by byte value.

  >>> ids, missing = Tables.of({"a": 0, "b": 1}, -1).ids("abba", np.int32)
  >>> ids, missing
  (array([0, 1, 1, 0], dtype=int32), None)
  >>> Tables.of({"a": 0}, -1).ids("aab", np.int32)[1]
  2
  """

  by_code_point: np.ndarray  # int32 [0x110000]
  by_byte: np.ndarray  # int32 [256]

  @classmethod
  def of(cls, index: Mapping[str | int, int], unknown: int) -> "Tables":
    """Tables of ids by symbol; other symbols become `unknown`, maybe -1."""
    by_code_point = np.full(_CODE_POINTS, unknown, np.int32)
    for symbol, number in index.items():
      if isinstance(symbol, str) and len(symbol) == 1:
        by_code_point[ord(symbol)] = number
    by_byte = np.array([index.get(b, unknown) for b in range(256)], np.int32)
    return cls(by_code_point, by_byte)

  def ids(
    self, data: str | np.ndarray, dtype: np.typing.DTypeLike
  ) -> tuple[np.ndarray, int | None]:
    """Ids of the characters of a string, or of the bytes of an array.

    Returns:
      The ids [N] and, where a symbol has none, the place of the first; the ids
      are then incomplete.
    """
    table = np.empty(len(data), dtype)
    # Lookup tables want int64 indices, eight times the bytes they come from; by
    # pieces, 100 MB of text cost a few MB more and not 800.
    for start in range(0, len(data), files.PIECE):
      piece = data[start : start + files.PIECE]
      if isinstance(piece, str):
        coded = piece.encode("utf-32-le", "surrogatepass")
        numbers = self.by_code_point[np.frombuffer(coded, "<u4")]
      else:
        numbers = self.by_byte[piece]
      if numbers.min() < 0:
        return table, start + int(np.argmin(numbers))
      table[start : start + files.PIECE] = numbers
    return table, None


Symbol = str | int

UNKNOWN = "<unk>"
PADDING = "<pad>"
END = "<eos>"

# A million words of the longest kind take a third of it.
_LARGEST = 1 << 26


@dataclasses.dataclass(frozen=True)
class Vocabulary:
  """Symbols in the order of their ids: words, characters or byte values.

  >>> vocabulary = Vocabulary.build("the cat".split(), specials=("<unk>",))
  >>> vocabulary.encode(["the", "dog"])
  array([1, 0], dtype=int32)
  >>> vocabulary.decode([2, 1])
  ['cat', 'the']
  >>> vocabulary.unk, vocabulary.pad
  (0, None)

  Attributes:
    symbols: strings (words or single characters) or integers (byte values 0 to
      255); the position of a symbol is its id. No symbol occurs twice.
  """

  symbols: tuple[Symbol, ...]

  def __post_init__(self) -> None:
    # A list would not stay as it is, nor would numpy's scalars go into JSON.
    plain = (s if isinstance(s, str) else int(s) for s in self.symbols)
    object.__setattr__(self, "symbols", tuple(plain))
    if not self.symbols:
      raise errors.UserError(
        "a vocabulary needs at least one symbol; got none, so give more text "
        "or a smaller min_frequency"
      )
    if len(self.index) != len(self.symbols):
      counts = collections.Counter(self.symbols)
      twice = [symbol for symbol, count in counts.items() if count > 1]
      raise errors.UserError(
        f"a vocabulary holds each symbol once; {listing(twice)} occur more "
        "often"
      )

  @classmethod
  def build(
    cls,
    symbols: Iterable[Symbol],
    *,
    min_frequency: int = 1,
    specials: Sequence[str] = (UNKNOWN,),
    order: Literal["frequency", "sorted"] = "frequency",
  ) -> "Vocabulary":
    """Counts symbols and gives ids to those that occur often enough.

    The specials get the first ids in the order given (so `<unk>` is 0), also
    where they occur in the text; the others follow by falling frequency, ties
    by first occurrence, or sorted.

    >>> Vocabulary.build("banana", specials=()).symbols
    ('a', 'n', 'b')
    >>> Vocabulary.build("banana", min_frequency=2, order="sorted").symbols
    ('<unk>', 'a', 'n')

    Args:
      symbols: a text's symbols in order; a string is its characters.
      min_frequency: symbols that occur less often get no id.
      specials: symbols that get an id whatever the text holds.
      order: of the symbols that are not special.

    Raises:
      UserError: an unknown order, a minimum below 1, or no symbol left.
    """
    if min_frequency < 1:
      raise errors.UserError(
        f"min_frequency is {min_frequency}; it must be at least 1, which keeps "
        "every symbol"
      )
    counts = collections.Counter(symbols)
    kept = [
      (symbol, count)
      for symbol, count in counts.items()
      if count >= min_frequency and symbol not in specials
    ]
    if order == "frequency":
      # Python's sort is stable and a Counter keeps the order of first
      # occurrence, which decides ties.
      kept.sort(key=lambda pair: -pair[1])
    elif order == "sorted":
      kept.sort(key=lambda pair: (isinstance(pair[0], str), pair[0]))
    else:
      raise errors.UserError(
        f"unknown vocabulary order {order!r}"
        + errors.closest(str(order), ("frequency", "sorted"))
      )
    return cls((*specials, *(symbol for symbol, _ in kept)))

  @classmethod
  def of_bytes(cls, present: Iterable[int] | None = None) -> "Vocabulary":
    """Byte values as symbols: all 256, or only those present, sorted.

    >>> Vocabulary.of_bytes().size
    256
    >>> Vocabulary.of_bytes(b"abba").symbols
    (97, 98)
    """
    values = range(256) if present is None else sorted(set(present))
    return cls(tuple(int(value) for value in values))

  @property
  def size(self) -> int:
    """The number of symbols: the width of the softmax."""
    return len(self.symbols)

  def __len__(self) -> int:
    return len(self.symbols)

  def __contains__(self, symbol: object) -> bool:
    return symbol in self.index

  def __iter__(self) -> Iterator[Symbol]:
    return iter(self.symbols)

  @functools.cached_property
  def index(self) -> dict[Symbol, int]:
    """Symbol to id."""
    return {symbol: i for i, symbol in enumerate(self.symbols)}

  @property
  def unk(self) -> int | None:
    """Id of `<unk>`, which stands for every symbol without an id, or None."""
    return self.index.get(UNKNOWN)

  @property
  def pad(self) -> int | None:
    """Id of `<pad>`, which fills a batch and is never scored, or None."""
    return self.index.get(PADDING)

  @property
  def eos(self) -> int | None:
    """Id of `<eos>`, which ends a sequence, or None."""
    return self.index.get(END)

  @property
  def id_dtype(self) -> np.dtype:
    """The smallest unsigned integer type that holds every id.

    >>> Vocabulary.of_bytes().id_dtype
    dtype('uint8')
    """
    return np.min_scalar_type(self.size - 1)

  def encode(
    self,
    sequence: str | bytes | np.ndarray | Iterable[Symbol],
    dtype: np.typing.DTypeLike = np.int32,
  ) -> np.ndarray:
    """Symbols to ids; symbols without an id become `<unk>`.

    >>> Vocabulary.build("abc", specials=()).encode("cab")
    array([2, 0, 1], dtype=int32)

    Args:
      sequence: words in a list; characters in a string; bytes, or a uint8
        array, possibly mapped from a file.
      dtype: integer type of the result, `id_dtype` to save memory.

    Returns:
      ids [number of symbols].

    Raises:
      UserError: a symbol has no id and the vocabulary has no `<unk>`.
    """
    if isinstance(sequence, str):
      return self._look_up(sequence, dtype)
    if isinstance(sequence, (bytes, bytearray, memoryview)):
      sequence = np.frombuffer(sequence, np.uint8)
    if isinstance(sequence, np.ndarray) and sequence.dtype == np.uint8:
      return self._look_up(sequence, dtype)
    items = list(sequence)
    unknown = -1 if self.unk is None else self.unk
    get = self.index.get
    ids = [get(symbol, unknown) for symbol in items]
    if self.unk is None and -1 in ids:
      self.refuse(items[ids.index(-1)], ids.index(-1))
    return np.array(ids, dtype)

  def decode(self, ids: Iterable[int] | np.ndarray) -> list[Symbol]:
    """Ids to symbols.

    Raises:
      UserError: an id is not in [0, size).
    """
    numbers = np.asarray(list(ids) if not hasattr(ids, "shape") else ids)
    numbers = numbers.reshape(-1)
    if numbers.size and not (
      numbers.min() >= 0 and numbers.max() < len(self.symbols)
    ):
      outside = numbers[(numbers < 0) | (numbers >= len(self.symbols))][0]
      raise errors.UserError(
        f"id {outside} is outside this vocabulary of {self.size} symbols; "
        "decode with the vocabulary that the ids were made with"
      )
    return [self.symbols[i] for i in numbers.tolist()]

  @property
  def record(self) -> dict[str, Any]:
    """As JSON holds it."""
    return {"symbols": list(self.symbols)}

  @property
  def hash(self) -> str:
    """SHA-256 of the JSON form in hexadecimal: equal symbols, equal hash."""
    return hashlib.sha256(self.to_json().encode("ascii")).hexdigest()

  def to_json(self) -> str:
    """The canonical JSON form, pure ASCII: equal symbols, equal text."""
    return json.dumps(self.record, separators=(",", ":"))

  @classmethod
  def from_json(cls, text: str) -> "Vocabulary":
    """The vocabulary that `to_json` wrote.

    Raises:
      UserError: the text is no such form.
    """
    try:
      symbols = json.loads(text)["symbols"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
      raise errors.UserError(
        f"this is no stored vocabulary ({error}); expected JSON with a list "
        'under "symbols"'
      ) from error
    if not isinstance(symbols, list) or not all(map(_is_symbol, symbols)):
      raise errors.UserError(
        'this is no stored vocabulary: "symbols" must be a list of strings and '
        "byte values"
      )
    return cls(tuple(symbols))

  def save(self, path: str | os.PathLike[str]) -> None:
    """Writes the JSON form; the file appears only when it is complete."""
    files.write_pieces(path, [self.to_json().encode("ascii")])

  @classmethod
  def load(cls, path: str | os.PathLike[str]) -> "Vocabulary":
    """The vocabulary saved at `path`.

    Raises:
      UserError: the file is missing or holds something else.
    """
    with files.opened(path) as file:
      data = file.read(_LARGEST + 1)
    try:
      if len(data) > _LARGEST:
        raise errors.UserError(f"it has more than {_LARGEST:,} bytes")
      return cls.from_json(data.decode("ascii"))
    except (UnicodeDecodeError, errors.UserError) as error:
      raise errors.UserError(
        f"{os.fspath(path)} holds no vocabulary: {error}"
      ) from error

  def require_same(self, other: "Vocabulary") -> None:
    """Checks that `other` gives every symbol the id that this one gives it.

    Raises:
      UserError: they differ; the message lists symbols and both hashes.
    """
    if self.symbols == other.symbols:
      return
    missing = [symbol for symbol in self.symbols if symbol not in other.index]
    added = [symbol for symbol in other.symbols if symbol not in self.index]
    notes = []
    if missing:
      notes.append(f"missing {listing(missing)}")
    if added:
      notes.append(f"new {listing(added)}")
    moved = [
      s
      for s in self.symbols
      if other.index.get(s, self.index[s]) != self.index[s]
    ]
    if moved:
      notes.append(f"other ids for {listing(moved)}")
    raise errors.UserError(
      f"the vocabularies differ: expected {self.size} symbols "
      f"(hash {self.hash[:12]}), found {other.size} (hash {other.hash[:12]}): "
      f"{'; '.join(notes)}; use the data and the tokenizer that the model was "
      "trained with"
    )

  @functools.cached_property
  def _tables(self) -> Tables:
    return Tables.of(self.index, -1 if self.unk is None else self.unk)

  def _look_up(
    self, data: str | np.ndarray, dtype: np.typing.DTypeLike
  ) -> np.ndarray:
    ids, missing = self._tables.ids(data, dtype)
    if missing is not None:
      symbol = data[missing]
      self.refuse(symbol if isinstance(data, str) else int(symbol), missing)
    return ids

  def refuse(self, symbol: Symbol, position: int) -> NoReturn:
    """Raises the error of a symbol that has no id, at its place in a text."""
    raise errors.UserError(
      f"symbol {symbol!r} at position {position} is not among the {self.size} "
      f"symbols of this vocabulary (hash {self.hash[:12]}), which has no "
      f"{UNKNOWN!r}; use text of these symbols only"
    )


def _is_symbol(symbol: Any) -> bool:
  if isinstance(symbol, int) and not isinstance(symbol, bool):
    return 0 <= symbol < 256
  return isinstance(symbol, str)


def listing(symbols: Sequence[Symbol], limit: int = 8) -> str:
  """The first few symbols and how many more there are.

  >>> listing("abc", 2)
  "'a', 'b' and 1 more"
  """
  text = ", ".join(repr(symbol) for symbol in symbols[:limit])
  more = len(symbols) - limit
  return f"{text} and {more} more" if more > 0 else text


# White space is ASCII's: a no-break space stays inside its word, and counting
# words in bytes and in text gives one number.
_WORD_OR_NEWLINE = re.compile(r"[^ \t\n\r\f\v]+|\n")
_SPACES = np.zeros(256, bool)
_SPACES[list(b" \t\n\r\f\v")] = True


def characters(text: str) -> list[str]:
  r"""Code points, newlines and white space included.

  >>> characters("Hi!\n")
  ['H', 'i', '!', '\n']
  """
  return list(text)


def words(text: str, eos: str = END) -> list[str]:
  r"""Runs of anything but white space; `eos` ends every line, the last too.

  An empty line is `eos` alone. A text that holds `eos` as a word reads like one
  with a line end there.

  >>> words(" no it was n't\nblack monday")
  ['no', 'it', 'was', "n't", '<eos>', 'black', 'monday', '<eos>']
  """
  matches = _WORD_OR_NEWLINE.findall(text)
  if text and not text.endswith("\n"):
    matches.append("\n")
  return [eos if word == "\n" else word for word in matches]


def bytes_(data: bytes | np.ndarray) -> np.ndarray:
  """Byte values as uint8; an array, mapped or not, is not copied.

  >>> bytes_(b"Hi").tolist()
  [72, 105]
  """
  return np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data


def join_characters(symbols: Iterable[Any]) -> str:
  """Characters back to the text; exactly what `characters` took apart."""
  return "".join(map(str, symbols))


def join_words(symbols: Iterable[Any], eos: str = END) -> str:
  r"""Words back to lines, single-spaced; `words` finds the same words in it.

  >>> join_words(["black", "monday", "<eos>", "<eos>", "no"])
  'black monday\n\nno'
  """
  lines: list[list[str]] = [[]]
  for symbol in symbols:
    if symbol == eos:
      lines.append([])
    else:
      lines[-1].append(str(symbol))
  return "\n".join(map(" ".join, lines))


def join_bytes(symbols: Iterable[Any]) -> bytes:
  """Byte values back to bytes; `<unk>` becomes `?`."""
  return bytes(ord("?") if isinstance(s, str) else int(s) for s in symbols)


def count_words(data: np.ndarray, size: int = files.PIECE) -> int:
  r"""The number of symbols that `words` finds, line ends included.

  The divisor of a perplexity a word from the scores of characters or bytes.

  >>> count_words(bytes_(b" no it was n't\nblack monday"))
  8

  Args:
    data: uint8 [number of bytes], UTF-8 or any other ASCII extension.
    size: bytes looked at together, which bounds the memory it takes.
  """
  total, inside = 0, False
  for piece in files.pieces(data, size):
    space = _SPACES[piece]
    begins = ~space
    begins[1:] &= space[:-1]
    begins[0] &= not inside
    inside = not space[-1]
    total += int(begins.sum()) + int((piece == ord("\n")).sum())
  return total + bool(data.shape[0] and data[-1] != ord("\n"))


WINDOWS = r"'\r\n' (Windows)"
# Line ends that are no newline, and what they are called.
_ODD_ENDS = {
  b"\r\n": WINDOWS,
  b"\r": r"'\r' (old Macintosh)",
  b"\xc2\x85": "U+0085 (next line)",
  b"\xe2\x80\xa8": "U+2028 (line separator)",
  b"\xe2\x80\xa9": "U+2029 (paragraph separator)",
}


def odd_line_ends(data: np.ndarray, size: int = files.PIECE) -> dict[str, int]:
  r"""Line ends of a text in UTF-8 that no tokenizer knows, with their counts.

  >>> odd_line_ends(bytes_(b"one\r\ntwo\rthree\n"))
  {"'\\r\\n' (Windows)": 1, "'\\r' (old Macintosh)": 1}

  Args:
    data: uint8 [number of bytes].
    size: bytes looked at together.
  """
  counts = collections.Counter[bytes]()
  before = b""
  for piece in files.pieces(data, size):
    text = before + piece.tobytes()
    for end in _ODD_ENDS:
      # Those that lie in `before` alone were counted.
      counts[end] += text.count(end, max(0, len(before) - len(end) + 1))
    before = text[-2:]
  counts[b"\r"] -= counts[b"\r\n"]
  return {name: counts[end] for end, name in _ODD_ENDS.items() if counts[end]}


@dataclasses.dataclass(frozen=True)
class Tokenizer:
  """One way to see a text as a sequence of symbols.

  Attributes:
    name: its key in `TOKENIZERS`.
    split: the bytes of a text (uint8 array) to a sequence of symbols that can
      be measured and sliced: a string, a list of words, a uint8 array. Raises
      UnicodeDecodeError where it needs UTF-8 and the bytes are not.
    join: symbols back to text, or to bytes.
    sentence_end: the symbol that ends a line.
  """

  name: str
  split: Callable[[np.ndarray], Sequence[Any]]
  join: Callable[[Iterable[Any]], str | bytes]
  sentence_end: Symbol

  def prime(self, text: str) -> Sequence[Any]:
    """The symbols of a text that is to be continued: no line end is added.

    >>> TOKENIZERS["words"].prime("the cat")
    ['the', 'cat']
    """
    pieces = self.split(np.frombuffer(text.encode("utf-8"), np.uint8))
    return pieces[:-1] if len(pieces) and self.name == "words" else pieces

  def text(self, symbols: Iterable[Any]) -> str:
    """Symbols as text; bytes that are no UTF-8 become replacement marks."""
    joined = self.join(symbols)
    if isinstance(joined, bytes):
      return joined.decode("utf-8", errors="replace")
    return joined


def _text(data: np.ndarray) -> str:
  return bytes(data).decode("utf-8")


TOKENIZERS = {
  tokenizer.name: tokenizer
  for tokenizer in (
    # A string is already the sequence of its characters, at a tenth of the
    # memory of a list.
    Tokenizer("characters", _text, join_characters, "\n"),
    Tokenizer("words", lambda data: words(_text(data)), join_words, END),
    Tokenizer("bytes", bytes_, join_bytes, ord("\n")),  # type: ignore[arg-type]
  )
}


def named(name: str) -> Tokenizer:
  """The tokenizer of that name.

  Raises:
    UserError: there is none.
  """
  if name not in TOKENIZERS:
    raise errors.UserError(
      f"unknown tokenizer {name!r}" + errors.closest(name, TOKENIZERS)
    )
  return TOKENIZERS[name]
