"""Symbols between characters and words: part of a study."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from experiments.studies import run
from seqmodels import errors
from seqmodels.data import byte_pairs
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import zipf


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
  pairs = byte_pairs.BytePairs.learn(learned, merges)
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
  alpha = zipf.maximum_likelihood(
    zipf.ranked(np.bincount(scheme.encode(learned)))
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
