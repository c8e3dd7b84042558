"""Corpora as ids: partitions into splits, bytes mapped from their file.

The partition `mikolov` takes the files as they come, one a split (Penn
Treebank). The others cut one sequence of symbols: `graves` into 96 % train and
4 % valid (the 96M and 4M bytes of enwik8 in Graves 2013, section 3.3; no test
set), `standard` into 90 %, 5 % and 5 % (the usual 90M, 5M and 5M bytes),
`fractions` by the config.
"""

import collections
import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, overload

import numpy as np

from seqmodels import errors
from seqmodels.data import files
from seqmodels.data.text import corpora
from seqmodels.data.text import vocabulary as vocabulary_lib

SPLITS = ("train", "valid", "test")


class Range(NamedTuple):
  """Half-open [start, stop) in symbols."""

  start: int
  stop: int


PARTITIONS: dict[str, tuple[float, ...]] = {
  "mikolov": (),
  "graves": (0.96, 0.04),
  "standard": (0.90, 0.05, 0.05),
  "fractions": (0.90, 0.05, 0.05),
}

# (source, tokenizer, partition) -> symbols a split of the complete data set.
SIZES: dict[tuple[str, str, str], dict[str, int]] = {
  ("ptb", "characters", "mikolov"): {
    "train": 5_017_482,
    "valid": 393_042,
    "test": 442_423,
  },
  ("ptb", "words", "mikolov"): {
    "train": 929_589,
    "valid": 73_760,
    "test": 82_430,
  },
  ("enwik8", "bytes", "graves"): {"train": 96_000_000, "valid": 4_000_000},
  ("enwik8", "bytes", "standard"): {
    "train": 90_000_000,
    "valid": 5_000_000,
    "test": 5_000_000,
  },
}


def ranges(
  name: str, length: int, *, fractions: Sequence[float] | None = None
) -> dict[str, Range]:
  """The range of each split; together they cover every symbol once.

  >>> ranges("graves", 100)
  {'train': Range(start=0, stop=96), 'valid': Range(start=96, stop=100)}
  >>> ranges("fractions", 10, fractions=(0.5, 0.5))["valid"]
  Range(start=5, stop=10)

  Args:
    name: `graves`, `standard` or `fractions`.
    length: number of symbols.
    fractions: for `fractions`, the share of train, valid and, where there is
      one, test; they add up to 1.

  Raises:
    UserError: an unknown name, `mikolov` (which needs three files), bad
      fractions, or a split that would be empty.
  """
  if name not in PARTITIONS:
    raise errors.UserError(
      f"unknown partition {name!r}" + errors.closest(name, PARTITIONS)
    )
  if name == "mikolov":
    raise errors.UserError(
      "partition 'mikolov' takes a corpus of three files and this one is a "
      "single sequence; use graves, standard or fractions"
    )
  shares = PARTITIONS[name]
  if fractions is not None and name == "fractions":
    shares = tuple(fractions)
  if (
    not 1 <= len(shares) <= len(SPLITS)
    or not all(share > 0 for share in shares)
    or abs(sum(shares) - 1.0) > 1e-9
  ):
    raise errors.UserError(
      f"fractions are {shares}; give one to three positive numbers (train, "
      "valid, test) that add up to 1"
    )
  edges = [round(length * sum(shares[:i])) for i in range(len(shares))]
  pairs = zip(edges, [*edges[1:], length], strict=True)
  bounds = {
    split: Range(*pair) for split, pair in zip(SPLITS, pairs, strict=False)
  }
  empty = [split for split, (start, stop) in bounds.items() if start == stop]
  if empty:
    raise errors.UserError(
      f"{length} symbols are too few for partition {name!r}: "
      f"{' and '.join(empty)} would be empty; give a longer text"
    )
  return bounds


def check_sizes(
  sizes: Mapping[str, int], *, source: str, tokenizer: str, partition: str
) -> None:
  """Compares the splits of a complete published data set with its known sizes.

  Raises:
    UserError: they differ.
  """
  known = SIZES.get((source, tokenizer, partition))
  if known is not None and dict(sizes) != known:
    raise errors.UserError(
      f"{source} read as {tokenizer} has splits of {_listing(sizes)} symbols "
      f"where the published data has {_listing(known)}; the files were changed"
    )


def _listing(sizes: Mapping[str, int]) -> str:
  return " / ".join(f"{sizes[split]:,}" for split in sizes)


@dataclasses.dataclass(frozen=True, eq=False)
class RecodedBytes:
  """The ids of a text of bytes, looked up in a table of 256 when asked for.

  Takes the place of an array of ids [N]: it has a length, slices to its like
  (nothing is read) and gives ids for positions. The bytes stay where they are,
  as a rule in a file mapped into memory, so that 100 MB of text take no memory
  but what a segment needs.

  >>> letters = vocabulary_lib.Vocabulary.of_bytes(b"abc")
  >>> ids = RecodedBytes.of(np.frombuffer(b"abcab", np.uint8), letters)
  >>> len(ids), ids[2:].tolist(), ids[np.array([[0, -1]])]
  (5, [2, 0, 1], array([[0, 1]], dtype=uint8))

  Attributes:
    data: uint8 [N], in memory or mapped.
    table: [256], the id of each byte value.
  """

  data: np.ndarray
  table: np.ndarray

  @classmethod
  def of(
    cls, data: np.ndarray, symbols: vocabulary_lib.Vocabulary
  ) -> "RecodedBytes":
    """Bytes in the ids of a vocabulary of bytes.

    The data are read, a piece at a time, only if the vocabulary lacks a byte.

    Raises:
      UserError: `data` has a byte without an id and there is no `<unk>`.
    """
    get, unknown = symbols.index.get, symbols.unk
    lacking = np.array([get(value) is None for value in range(256)])
    if unknown is None and lacking.any():
      start = 0
      for piece in files.pieces(data):
        wrong = lacking[piece]
        if wrong.any():
          place = int(np.argmax(wrong))
          symbols.refuse(int(piece[place]), start + place)
        start += len(piece)
    ids = [get(value, unknown or 0) for value in range(256)]
    return cls(data, np.array(ids, symbols.id_dtype))

  @property
  def dtype(self) -> np.dtype[Any]:
    """Of the ids: the smallest that holds them."""
    return self.table.dtype

  @property
  def shape(self) -> tuple[int]:
    """(N,)."""
    return (len(self.data),)

  @property
  def ndim(self) -> int:
    """1."""
    return 1

  def __len__(self) -> int:
    return len(self.data)

  @overload
  def __getitem__(self, place: slice) -> "RecodedBytes": ...

  @overload
  def __getitem__(self, place: int | np.ndarray) -> Any: ...

  def __getitem__(self, place: Any) -> Any:
    if isinstance(place, slice):
      return dataclasses.replace(self, data=self.data[place])
    return self.table[self.data[place]]

  def __array__(
    self, dtype: np.typing.DTypeLike | None = None, copy: bool | None = None
  ) -> np.ndarray:
    """All ids [N], in memory: a byte each, where no other type is asked for."""
    if copy is False:
      raise ValueError("recoded bytes are no array yet; a copy has to be made")
    ids = self.table[self.data]
    return ids if dtype is None else ids.astype(dtype, copy=False)

  def tolist(self) -> list[int]:
    """All ids as a list."""
    return np.asarray(self).tolist()


# Ids [N] of a text: in memory, or of bytes where they lie.
Ids = np.ndarray | RecodedBytes


@dataclasses.dataclass(frozen=True)
class Tokens:
  """A corpus as numbers, ready to be streamed.

  Attributes:
    splits: "train", "valid" and mostly "test": ids [N], in the vocabulary's
      smallest unsigned type; a stream casts the segment it hands out. Bytes
      stay in their file and become ids where they are read.
    vocabulary: id to symbol.
    provenance: what was read, ready for JSON: "source", "files" (each with
      "name", "bytes", "sha256"), "note" (which says so where it is a prefix),
      "tokenizer", "partition", "limit".
    sentence_end: id after which a new sequence begins, in sentence mode.
    words_per_split: words and line ends in each split, the divisor of a
      perplexity a word.
    characters_per_split: characters in each split (bytes for the byte
      tokenizer), the divisor of bits a character.
    unknown_per_split: symbols of each split that are `<unk>`.
    bytes_per_split: the text of each split as it is, uint8 [N], mostly mapped;
      empty for words.
    warnings: what a user should know of the text, a sentence each.
  """

  splits: dict[str, Ids]
  vocabulary: vocabulary_lib.Vocabulary
  provenance: dict[str, Any]
  sentence_end: int | None
  words_per_split: dict[str, int]
  characters_per_split: dict[str, int]
  unknown_per_split: dict[str, int]
  bytes_per_split: dict[str, np.ndarray]
  warnings: tuple[str, ...] = ()


def load_tokens(
  *,
  source: str,
  tokenizer: str,
  partition: str,
  data_dir: str | os.PathLike[str] = "",
  path: str | os.PathLike[str] = "",
  pattern: str = "",
  sentences: bool = False,
  min_frequency: int = 1,
  limit: int = 0,
  fractions: Sequence[float] | None = None,
  vocabulary: vocabulary_lib.Vocabulary | None = None,
  downloads: bool = True,
) -> Tokens:
  r"""Reads, splits, counts and numbers a corpus.

  The vocabulary comes from the training split (words: `<unk>` first, then by
  falling frequency; characters: sorted); of bytes, from the whole corpus,
  sorted. Characters and bytes get an `<unk>` only where some symbol needs it,
  so that the softmax has exactly the symbols of the data.

  >>> tokens = load_tokens(
  ...   source="embedded", tokenizer="characters", partition="standard", limit=9
  ... )
  >>> "".join(tokens.vocabulary.decode(tokens.splits["train"]))
  'assert\n\nT'

  Args:
    source: a key of `corpora.SOURCES`.
    tokenizer: a key of `vocabulary.TOKENIZERS`.
    partition: a key of `PARTITIONS`; `mikolov` for three files.
    data_dir: the data folder.
    path: file or folder of the source `text`.
    pattern: of the files of that folder; see `corpora.load_files`.
    sentences: each line is a sequence of its own.
    min_frequency: symbols that occur less often in training become `<unk>`.
    limit: symbols kept at the beginning of each split, 0 for all; the
      vocabulary stays that of the whole, so a smoke run has the real softmax.
    fractions: shares of the splits for the partition `fractions`.
    vocabulary: number the symbols by this one (a trained model's) and build
      none; those that it lacks are in a warning, or refused where it has no
      `<unk>`.
    downloads: whether missing published files may be downloaded.

  Raises:
    UserError: an unknown name, missing or wrong files, text that is not UTF-8
      where characters or words are wanted, too little of it, or symbols that
      the given vocabulary lacks.
  """
  if limit < 0:
    raise errors.UserError(f"limit is {limit}; it must be 0 (all) or more")
  splitter = vocabulary_lib.named(tokenizer)
  corpus = corpora.load(
    source, data_dir, path=path, pattern=pattern, downloads=downloads
  )
  whole = {part: _split(corpus, part, splitter) for part in corpus.parts}
  splits = _cut(corpus, whole, partition, fractions)
  if corpus.complete:
    check_sizes(
      {name: len(symbols) for name, symbols in splits.items()},
      source=source,
      tokenizer=tokenizer,
      partition=partition,
    )
  warnings = []
  odd = _odd_line_ends(corpus, splitter.name)
  if odd:
    name = corpus.provenance["files"][0]["name"]
    warnings.append(f"{name} has line ends other than '\\n': {odd}")
  if vocabulary is None:
    vocabulary = _vocabulary(splitter.name, splits, whole, min_frequency)
  else:
    warnings += _missing(splits, vocabulary)
  texts = _bytes(corpus, splits)
  if limit:
    splits = {name: symbols[:limit] for name, symbols in splits.items()}
    texts = {
      name: text[: _length(splits[name])] for name, text in texts.items()
    }
  sentence_end = None
  if sentences:
    sentence_end = vocabulary.index.get(splitter.sentence_end)
    if sentence_end is None:
      raise errors.UserError(
        "sentence mode needs line ends and the vocabulary has none; "
        + (f"convert those of the text ({odd}), or " if odd else "")
        + "set sentences to False"
      )
  ids = {name: _ids(part, vocabulary) for name, part in splits.items()}
  return Tokens(
    splits=ids,
    vocabulary=vocabulary,
    provenance={
      **corpus.provenance,
      "tokenizer": tokenizer,
      "partition": partition,
      "limit": limit,
    },
    sentence_end=sentence_end,
    words_per_split={
      name: vocabulary_lib.count_words(texts[name])
      if name in texts
      else len(symbols)
      for name, symbols in splits.items()
    },
    characters_per_split={
      name: _count_characters(symbols, splitter)
      for name, symbols in splits.items()
    },
    unknown_per_split={
      name: _count(part, vocabulary.unk) for name, part in ids.items()
    },
    bytes_per_split=texts,
    warnings=tuple(warnings),
  )


def _odd_line_ends(corpus: corpora.RawCorpus, tokenizer: str) -> str:
  """Line ends that the tokenizer reads as something else, in words."""
  if tokenizer == "bytes":
    return ""
  counts: collections.Counter[str] = collections.Counter()
  for data in corpus.parts.values():
    counts.update(vocabulary_lib.odd_line_ends(data))
  if tokenizer == "words":
    # Words end at white space, which a carriage return is.
    del counts[vocabulary_lib.WINDOWS]
  return ", ".join(f"{count:,} {name}" for name, count in counts.items())


def _missing(
  splits: dict[str, Sequence[Any]], vocabulary: vocabulary_lib.Vocabulary
) -> list[str]:
  """A sentence on symbols that a given vocabulary lacks.

  Raises:
    UserError: there are some, and it has no `<unk>`.
  """
  counts: collections.Counter[Any] = collections.Counter()
  for symbols in splits.values():
    if isinstance(symbols, np.ndarray):
      counts.update(dict(enumerate(_byte_counts(symbols).tolist())))
    else:
      counts.update(symbols)
  lacking = [
    symbol
    for symbol, count in counts.most_common()
    if count and symbol not in vocabulary
  ]
  if not lacking:
    return []
  named = vocabulary_lib.listing(lacking)
  if vocabulary.unk is None:
    raise errors.UserError(
      f"the vocabulary of {vocabulary.size:,} symbols lacks {named} of this "
      f"text, and has no {vocabulary_lib.UNKNOWN!r} for them; take them out of "
      "it, or train on a text that has them"
    )
  count = sum(counts[symbol] for symbol in lacking)
  return [
    f"{count:,} of {counts.total():,} symbols are "
    f"{vocabulary_lib.UNKNOWN!r} to the vocabulary of {vocabulary.size:,}: "
    f"{named}"
  ]


def _split(
  corpus: corpora.RawCorpus, part: str, tokenizer: vocabulary_lib.Tokenizer
) -> Sequence[Any]:
  try:
    return tokenizer.split(corpus.parts[part])
  except UnicodeDecodeError as error:
    name, offset = corpus.locate(part, error.start)
    raise errors.UserError(
      f"{name} is not UTF-8 at byte {offset:,} "
      f"(0x{corpus.parts[part][error.start]:02x}); read it with the tokenizer "
      "'bytes', convert it, or choose other files of a folder with "
      "--config.data.files='*.txt'"
    ) from error


def _cut(
  corpus: corpora.RawCorpus,
  whole: dict[str, Sequence[Any]],
  partition: str,
  fractions: Sequence[float] | None,
) -> dict[str, Sequence[Any]]:
  if corpora.WHOLE not in whole:
    if partition != "mikolov":
      raise errors.UserError(
        f"source {corpus.name!r} comes in three files and partition is "
        f"{partition!r}; use 'mikolov'"
      )
    return whole
  symbols = whole[corpora.WHOLE]
  return {
    name: symbols[start:stop]
    for name, (start, stop) in ranges(
      partition, len(symbols), fractions=fractions
    ).items()
  }


def _vocabulary(
  tokenizer: str,
  splits: dict[str, Sequence[Any]],
  whole: dict[str, Sequence[Any]],
  min_frequency: int,
) -> vocabulary_lib.Vocabulary:
  if tokenizer == "words":
    return vocabulary_lib.Vocabulary.build(
      splits["train"], min_frequency=min_frequency
    )
  if tokenizer == "bytes":
    # A byte that only the test set has must have an id too: every byte is
    # scored, and the 205 of enwik8 are those of the whole file.
    counts = sum(_byte_counts(np.asarray(part)) for part in whole.values())
    kept = np.flatnonzero(counts >= max(1, min_frequency))
    dropped = np.any((counts > 0) & (counts < min_frequency))
    unknown = (vocabulary_lib.UNKNOWN,) if dropped else ()
    return vocabulary_lib.Vocabulary((*unknown, *kept.tolist()))
  exact = vocabulary_lib.Vocabulary.build(
    splits["train"], min_frequency=min_frequency, specials=(), order="sorted"
  )
  used = set().union(*(set(symbols) for symbols in splits.values()))
  if used <= exact.index.keys():
    return exact
  return vocabulary_lib.Vocabulary((vocabulary_lib.UNKNOWN, *exact.symbols))


def _ids(
  symbols: Sequence[Any] | np.ndarray, vocabulary: vocabulary_lib.Vocabulary
) -> Ids:
  if isinstance(symbols, np.ndarray):
    return RecodedBytes.of(symbols, vocabulary)
  return vocabulary.encode(symbols, vocabulary.id_dtype)


def _byte_counts(data: np.ndarray, size: int = files.PIECE) -> np.ndarray:
  """Occurrences of each byte value, int64 [256], a piece at a time."""
  counts = np.zeros(256, np.int64)
  for piece in files.pieces(data, size):
    counts += np.bincount(piece, minlength=256)
  return counts


def _bytes(
  corpus: corpora.RawCorpus, splits: dict[str, Sequence[Any]]
) -> dict[str, np.ndarray]:
  """The bytes behind each split; words are not traced to theirs."""
  parts, start = {}, 0
  for name, symbols in splits.items():
    if not isinstance(symbols, (str, np.ndarray)):
      return {}
    if corpora.WHOLE not in corpus.parts:
      parts[name] = corpus.parts[name]
      continue
    stop = start + _length(symbols)
    parts[name] = corpus.parts[corpora.WHOLE][start:stop]
    start = stop
  return parts


def _length(symbols: Sequence[Any]) -> int:
  """Bytes of a string in UTF-8, or of an array."""
  if isinstance(symbols, str):
    return len(symbols.encode("utf-8"))
  return len(symbols)


def _count(ids: Ids, wanted: int | None, size: int = files.PIECE) -> int:
  """The number of times an id occurs."""
  if wanted is None:
    return 0
  return sum(
    int(np.count_nonzero(np.asarray(ids[start : start + size]) == wanted))
    for start in range(0, len(ids), size)
  )


def _count_characters(
  symbols: Sequence[Any], tokenizer: vocabulary_lib.Tokenizer
) -> int:
  if isinstance(symbols, (str, np.ndarray)):
    return len(symbols)
  return len(tokenizer.join(symbols))
