"""Byte pairs: words in pieces.

Byte pairs: frequent runs of bytes as symbols, between characters and words.

Ids 0 to 255 are the byte values. Each merge gives the next id to a pair of
pieces (Gage, 1994; for words, Sennrich et al., 2016):

    learn     the pair that stands side by side most often becomes one piece;
              again, M times
    encode    the merges, in the order in which they were learned
    decode    the bytes of all pieces, one after the other

No byte is lost and none is unknown, whatever the text. White space only begins
a piece, so that none reaches from one word into the next.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, Self

import numpy as np

from experiments.studies import run
from experiments.studies.zipf import laws
from seqmodels import errors
from seqmodels.data.text import vocabulary

BYTES = 256
_SPACES = b" \t\n\r\f\v"


@dataclasses.dataclass(frozen=True)
class BytePairs:
  """What was learned.

  Attributes:
    merges: the two ids that each piece from 256 on is made of.

  >>> pairs = BytePairs.learn(b"no no nor not", 2)
  >>> pairs.pieces[256:]
  (b'no', b' no')
  >>> pairs.encode(b"no nose").tolist()
  [256, 257, 115, 101]
  >>> pairs.decode([256, 257, 115, 101])
  b'no nose'
  """

  merges: tuple[tuple[int, int], ...]

  @classmethod
  def learn(cls, data: bytes, merges: int) -> Self:
    """Merges of a text.

    Args:
      data: the text.
      merges: M; fewer are learned where no pair occurs twice. Of pairs that
        occur equally often, that with the lowest ids comes first.

    Raises:
      UserError: an empty text, or a negative number.
    """
    if not data or merges < 0:
      raise errors.UserError(
        f"{merges} pairs were to be learned from a text of {len(data):,} "
        "bytes; give 0 pairs or more and a text of at least 1 byte"
      )
    ids, found = _values(data), list[tuple[int, int]]()
    begins = np.zeros(BYTES + merges, bool)
    begins[list(_SPACES)] = True
    for new in range(BYTES, BYTES + merges):
      mergeable = ~begins[ids[1:]]
      keys = (ids[:-1] * new + ids[1:])[mergeable]
      counts = np.bincount(keys, minlength=1)
      key = int(counts.argmax())
      if counts[key] < 2:
        break
      left, right = divmod(key, new)
      found.append((left, right))
      begins[new] = begins[left]
      ids = _merged(ids, left, right, new)
    return cls(tuple(found))

  @functools.cached_property
  def pieces(self) -> tuple[bytes, ...]:
    """The bytes of every id."""
    found = [bytes([value]) for value in range(BYTES)]
    for left, right in self.merges:
      found.append(found[left] + found[right])
    return tuple(found)

  def encode(self, data: bytes) -> np.ndarray:
    """Ids of a text, int64 [pieces]."""
    ids = _values(data)
    for new, (left, right) in enumerate(self.merges, BYTES):
      ids = _merged(ids, left, right, new)
    return ids

  def decode(self, ids: Iterable[int]) -> bytes:
    """The text.

    Raises:
      UserError: an id that no piece has.
    """
    found = [int(i) for i in ids]
    outside = [i for i in found if not 0 <= i < len(self.pieces)]
    if outside:
      raise errors.UserError(
        f"the id {outside[0]} is none of {len(self.pieces)} pieces; decode "
        "with the pairs that the ids were made with"
      )
    return b"".join(self.pieces[i] for i in found)


def _values(data: bytes) -> np.ndarray:
  return np.frombuffer(data, np.uint8).astype(np.int64)


def _merged(ids: np.ndarray, left: int, right: int, new: int) -> np.ndarray:
  """Ids with every such pair as one, from the left."""
  places = np.flatnonzero((ids[:-1] == left) & (ids[1:] == right))
  if left == right:
    # In a run of equal ones pairs overlap: every second is one.
    firsts = np.diff(places, prepend=-2) > 1
    begun = np.maximum.accumulate(np.where(firsts, places, 0))
    places = places[(places - begun) % 2 == 0]
  ids = ids.copy()
  ids[places] = new
  return np.delete(ids, places + 1)


class Scheme(NamedTuple):
  """A way to cut a text.

  Attributes:
    name: as the page calls it.
    size: of the vocabulary.
    encode: text -> ids.
    decode: ids -> text.
  """

  name: str
  size: int
  encode: Callable[[str], np.ndarray]
  decode: Callable[[np.ndarray], str]


def add(study: run.Study, words: list[str]) -> None:
  """Adds the section to the study's page.

  Args:
    study: whose settings say how many pairs are learned.
    words: the text.

  Raises:
    UserError: a share that leaves nothing to learn from, or nothing new.
  """
  settings, page = study.config.settings, study.lesson
  cut = int(settings.learned_share * len(words))
  if not 0 < cut < len(words):
    raise errors.UserError(
      f"config.settings.learned_share is {settings.learned_share} of "
      f"{len(words):,} words; give a share that leaves words on both sides"
    )
  learned, new = " ".join(words[:cut]), " ".join(words[cut:])
  known = set(words[:cut])
  unseen = sorted({word for word in words[cut:] if word not in known})
  page.section(
    "Between characters and words",
    f"""
    Characters are few and make long sequences; words make short ones, but new
    texts have new words. In between are pieces. **Bytes** are the smallest: 256
    of them spell every text of every script. **Byte pairs** are learned: the
    two neighbours that stand together most often become one piece, then the
    next two, which may be pieces already, and so on. Frequent words end up as
    one piece, rare ones as several. Each scheme takes its vocabulary from the
    first {cut:,} words and is tried on the other {len(words) - cut:,}.
    """,
  )
  schemes = _schemes(study, learned)
  page.table(
    [
      *("pieces", "vocabulary", "tokens", "tokens a word"),
      *("tokens a new word", "alpha", "new text comes back"),
    ],
    [_measured(scheme, learned, new, unseen) for scheme in schemes],
  )
  longest = schemes[-2]
  shown = unseen[:: max(1, len(unseen) // 5)][:5]
  page.say(
    f"""
    Tokens are those of the new text; alpha is Zipf's exponent of the pieces in
    the old one, by maximum likelihood. {len(unseen):,} of the new text's types
    are not in the old one. As a word each is `<unk>`, and cannot be told from
    the others any more. No byte can be unknown, so all that is made of bytes
    comes back as it was. The larger the vocabulary the shorter the text, and
    the fewer occurrences there are of each piece to learn from.
    """
  )
  if shown:
    page.say(f"New words, in the pieces of {longest.name}:")
    page.shown("\n".join(_spelled(longest, word) for word in shown))


def _schemes(study: run.Study, learned: str) -> list[Scheme]:
  found = [
    _symbols("characters", learned, vocabulary.characters),
    _bytes("bytes", learned.encode(), 0),
  ]
  found += [
    _bytes(f"{count:,} byte pairs", learned.encode(), count)
    for count in sorted(set(study.config.settings.merges))
  ]
  return [*found, _symbols("words", learned, str.split, " ")]


def _symbols(
  name: str, learned: str, cut: Callable[[str], list[str]], glue: str = ""
) -> Scheme:
  symbols = vocabulary.Vocabulary.build(cut(learned))

  def decode(ids: np.ndarray) -> str:
    return glue.join(map(str, symbols.decode(ids)))

  return Scheme(
    name, symbols.size, lambda text: symbols.encode(cut(text)), decode
  )


def _bytes(name: str, learned: bytes, merges: int) -> Scheme:
  pairs = BytePairs.learn(learned, merges)
  return Scheme(
    name,
    len(pairs.pieces),
    lambda text: pairs.encode(text.encode()),
    # A piece alone may be half a letter.
    lambda ids: pairs.decode(ids).decode("utf-8", "replace"),
  )


def _measured(
  scheme: Scheme, learned: str, new: str, unseen: list[str]
) -> list[Any]:
  ids = scheme.encode(new)
  # As it stands in a text: the space before it belongs to a word's pieces.
  spelled = sum(len(scheme.encode(f" {word}")) for word in unseen)
  alpha = laws.maximum_likelihood(
    laws.ranked(np.bincount(scheme.encode(learned)))
  )
  return [
    scheme.name,
    f"{scheme.size:,}",
    f"{len(ids):,}",
    len(ids) / len(new.split()),
    spelled / len(unseen) if unseen else "",
    alpha.exponent,
    "yes" if scheme.decode(ids) == new else "no",
  ]


def _spelled(scheme: Scheme, word: str) -> str:
  pieces = [scheme.decode(np.array([i])) for i in scheme.encode(f" {word}")]
  return f"{word:16}  {'|'.join(pieces).strip()}"
