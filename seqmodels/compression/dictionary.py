r"""Frequent words spelled as one or two bytes that the file does not use.

Fewer bytes are fewer steps, and the contexts and the network look further back
in as many of them. Capital letters are set apart as well, so that a word looks
alike at the head of a sentence and within:

    The cat, THE CAT   ->   ^the cat, ~the ~cat

where ^ and ~ are two of the unused bytes. Then a word of the dictionary gives
way to its code: one unused byte for the words that save most, and two for
others. The dictionary goes first and is compressed with the rest:

    length     1 byte, of the codes
    marks      2 bytes, of a capital and of capitals
    codes      unused bytes; the first of them stand alone
    leads      1 byte, how many of the last codes begin a pair
    words      lower-case letters, a space between two, a newline at the end

A byte is unused if neither the file nor its words in lower case have it. A file
that uses nearly every byte, or hardly repeats a word, is left as it is.
"""

import collections
import re
from collections.abc import Callable, Iterator
from typing import BinaryIO, NamedTuple, Protocol, Self

from seqmodels import errors

_CHUNK = 1 << 20
_LONGEST = 32
_TOKEN = re.compile(rb"[A-Za-z]{1,32}|[^A-Za-z]{1,32}")
_WORD = re.compile(rb"[a-z]{3,32}")
# No token of either spelling is longer.
_TOKEN_BYTES = 2 + _LONGEST
# Different words counted at once; a longer text forgets the rarest.
_MOST_COUNTED = 1 << 20
_LONGEST_DICTIONARY = 1 << 20


class Reader(Protocol):
  """A source of bytes."""

  def read(self, size: int, /) -> bytes:
    """At most so many bytes; none at the end."""


class Dictionary(NamedTuple):
  """Words and the bytes that stand for them.

  Attributes:
    marks: the byte before a capitalised word and that before one in capitals.
    codes: unused bytes.
    leads: how many of the last codes begin a pair.
    words: in lower case, those of one byte first.
  """

  marks: bytes
  codes: bytes
  leads: int
  words: tuple[bytes, ...]

  @property
  def table(self) -> dict[bytes, bytes]:
    """The code of every word."""
    alone = len(self.codes) - self.leads
    pairs = (
      bytes((lead, second))
      for lead in self.codes[alone:]
      for second in self.codes
    )
    singles = (bytes((code,)) for code in self.codes[:alone])
    codes = [*singles, *pairs]
    return dict(zip(self.words, codes, strict=False))

  def pack(self) -> bytes:
    """The dictionary as it is written before the text."""
    return b"".join(
      (
        bytes((len(self.codes),)),
        self.marks,
        self.codes,
        bytes((self.leads,)),
        b" ".join(self.words),
        b"\n",
      )
    )

  @classmethod
  def unpack(cls, source: BinaryIO) -> Self:
    """Reads it from before the text.

    Raises:
      UserError: it is none.
    """
    length = int.from_bytes(source.read(1))
    head = source.read(length + 3)
    line = source.readline(_LONGEST_DICTIONARY)
    words = tuple(line[:-1].split(b" "))
    marks, codes, leads = head[:2], head[2:-1], head[-1] if head else 0
    if (
      len(head) != length + 3
      or len(set(marks + codes)) != len(marks + codes)
      or not line.endswith(b"\n")
      or leads > length
      or len(words) > length - leads + leads * length
      or not all(map(_WORD.fullmatch, words))
    ):
      raise errors.UserError(
        "the dictionary of words makes no sense: the file is damaged, or made "
        "by another program"
      )
    return cls(marks, codes, leads, words)


def choose(source: Reader, *, least: int = 32) -> Dictionary | None:
  r"""The dictionary of a text; None where there is nothing to be had.

  Args:
    source: the text, read to its end.
    least: times a word must occur. It costs some three bytes to tell of a word
      and saves a fraction of a bit each time it is met, as the model has
      learnt to spell it by then.

  >>> import io
  >>> found = choose(io.BytesIO(b"the cat and the dog and the owl "), least=2)
  >>> found.words, len(found.codes)
  ((b'the', b'and'), 2)
  """
  used: set[int] = set()
  counts: collections.Counter[bytes] = collections.Counter()
  for token in _tokens(source, _TOKEN.match):
    lower = token.lower()
    used.update(token, lower)
    if _WORD.fullmatch(lower) and _mark(token) is not None:
      counts[lower] += 1
      if len(counts) > _MOST_COUNTED:
        counts = collections.Counter(
          dict(counts.most_common(_MOST_COUNTED // 2))
        )
  # High ones first: contexts take bytes above 127 for letters.
  free = bytes(sorted(set(range(256)) - used, reverse=True))
  frequent = [word for word, count in counts.items() if count >= least]
  if len(free) < 3 or not frequent:
    return None
  frequent.sort(key=lambda word: (-counts[word] * (len(word) - 1), word))
  marks, codes = free[-2:], free[:-2][: len(frequent)]
  leads = 0
  while (
    len(codes) - leads + leads * len(codes) < len(frequent)
    and leads < len(codes) // 2
  ):
    leads += 1
  alone = len(codes) - leads
  pairs = sorted(frequent[alone : alone + leads * len(codes)])
  return Dictionary(marks, codes, leads, (*frequent[:alone], *pairs))


def respell(source: Reader, dictionary: Dictionary) -> Iterator[bytes]:
  r"""The dictionary, then the text with codes in place of words.

  >>> import io
  >>> known = Dictionary(b"^~", b"12", 0, (b"the", b"and"))
  >>> b"".join(respell(io.BytesIO(b"The end AND the LOT"), known))
  b'\x02^~12\x00the and\n^1 end ~2 1 ~lot'
  """
  table = dictionary.table
  capital, capitals = (bytes((mark,)) for mark in dictionary.marks)
  marks = {"": b"", "capital": capital, "capitals": capitals}
  yield dictionary.pack()
  for token in _tokens(source, _TOKEN.match):
    mark = _mark(token)
    if mark is None:
      yield token
    else:
      lower = token.lower()
      yield marks[mark] + table.get(lower, lower)


def restore(source: BinaryIO) -> Iterator[bytes]:
  """The text that `respell` had, from what it made.

  Raises:
    UserError: `respell` cannot have made it.
  """
  dictionary = Dictionary.unpack(source)
  words = {code: word for word, code in dictionary.table.items()}
  capital, capitals = (bytes((mark,)) for mark in dictionary.marks)
  every = re.escape(dictionary.marks + dictionary.codes)
  alone = len(dictionary.codes) - dictionary.leads
  code = b"|".join(
    b"[%b]" % re.escape(some) + then
    for some, then in (
      (dictionary.codes[:alone], b""),
      (dictionary.codes[alone:], b"[%b]" % re.escape(dictionary.codes)),
    )
    if some
  )
  token = re.compile(
    b"|".join(
      (
        b"%b(?:[a-z]{2,32}|%b)" % (re.escape(capitals), code),
        b"%b(?:[a-z]|%b)" % (re.escape(capital), code),
        code,
        b"[^%b]{1,32}" % every,
      )
    ),
    re.DOTALL,
  )
  for one in _tokens(source, token.match):
    if one[:1] == capitals:
      yield _spelled(one[1:], words).upper()
    elif one[:1] == capital:
      yield _spelled(one[1:], words).capitalize()
    else:
      yield _spelled(one, words)


def _spelled(token: bytes, words: dict[bytes, bytes]) -> bytes:
  return words.get(token, token)


def _mark(token: bytes) -> str | None:
  """The capitalisation of a word; None if odd, or if it is no word."""
  if not token.isalpha():
    return None
  if token.islower():
    return ""
  if token[1:].islower() or len(token) == 1:
    return "capital"
  return "capitals" if token.isupper() else None


def _tokens(
  source: Reader, match: Callable[[bytes, int], re.Match[bytes] | None]
) -> Iterator[bytes]:
  """Splits what can be read into tokens that follow each other."""
  waiting = b""
  while True:
    more = source.read(_CHUNK)
    waiting += more
    position = 0
    # A token this close to the end may go on in what comes next.
    safe = len(waiting) - _TOKEN_BYTES if more else len(waiting)
    while position < safe:
      token = match(waiting, position)
      if token is None:
        raise errors.UserError(
          "codes of words stand where none can: the file is damaged, or made "
          "by another program"
        )
      yield token.group()
      position = token.end()
    waiting = waiting[position:]
    if not more:
      return
