"""Text to symbols and back: characters, words, bytes.

Every tokenizer starts from the bytes of a text, so that a corpus is read one
way and split by any of them.
"""

import dataclasses
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.data import files, vocabulary

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


def words(text: str, eos: str = vocabulary.END) -> list[str]:
  r"""Runs of anything but white space; `eos` ends every line, the last too.

  An empty line is `eos` alone. A text that holds `eos` as a word cannot be told
  from one with a line end there.

  >>> words(" no it was n't\nblack monday")
  ['no', 'it', 'was', "n't", '<eos>', 'black', 'monday', '<eos>']
  """
  found = _WORD_OR_NEWLINE.findall(text)
  if text and not text.endswith("\n"):
    found.append("\n")
  return [eos if word == "\n" else word for word in found]


def bytes_(data: bytes | np.ndarray) -> np.ndarray:
  """Byte values as uint8; an array, mapped or not, is not copied.

  >>> bytes_(b"Hi").tolist()
  [72, 105]
  """
  return np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data


def join_characters(symbols: Iterable[Any]) -> str:
  """Characters back to the text; exactly what `characters` took apart."""
  return "".join(map(str, symbols))


def join_words(symbols: Iterable[Any], eos: str = vocabulary.END) -> str:
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
  r"""How many symbols `words` finds, line ends included, without finding them.

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
  sentence_end: vocabulary.Symbol

  def prime(self, text: str) -> Sequence[Any]:
    """The symbols of a text that is to be continued: no line end is added.

    >>> TOKENIZERS["words"].prime("the cat")
    ['the', 'cat']
    """
    found = self.split(np.frombuffer(text.encode("utf-8"), np.uint8))
    return found[:-1] if len(found) and self.name == "words" else found

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
    Tokenizer(
      "words", lambda data: words(_text(data)), join_words, vocabulary.END
    ),
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
