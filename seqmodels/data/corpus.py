"""From the name of a corpus to the ids of its splits."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from seqmodels import errors
from seqmodels.data import files, raw_corpus, recoded, sources, tokenizers
from seqmodels.data import partition as partitions
from seqmodels.data import vocabulary as vocabularies


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
    sentence_end: id after which a sequence begins anew, in sentence mode.
    words_per_split: words and line ends in each split, the divisor of a
      perplexity a word.
    characters_per_split: characters in each split (bytes for the byte
      tokenizer), the divisor of bits a character.
  """

  splits: dict[str, recoded.Ids]
  vocabulary: vocabularies.Vocabulary
  provenance: dict[str, Any]
  sentence_end: int | None
  words_per_split: dict[str, int]
  characters_per_split: dict[str, int]


def load_tokens(
  *,
  source: str,
  tokenizer: str,
  partition: str,
  data_dir: str | os.PathLike[str] = "",
  path: str | os.PathLike[str] = "",
  sentences: bool = False,
  min_frequency: int = 1,
  limit: int = 0,
  fractions: Sequence[float] | None = None,
  vocabulary: vocabularies.Vocabulary | None = None,
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
    source: a key of `sources.SOURCES`.
    tokenizer: a key of `tokenizers.TOKENIZERS`.
    partition: a key of `partition.PARTITIONS`; `mikolov` for three files.
    data_dir: the data folder.
    path: file or folder of the source `text`.
    sentences: each line is a sequence of its own.
    min_frequency: symbols that occur less often in training become `<unk>`.
    limit: symbols kept at the beginning of each split, 0 for all; the
      vocabulary stays that of the whole, so a smoke run has the real softmax.
    fractions: shares of the splits for the partition `fractions`.
    vocabulary: number the symbols by this one (a trained model's) and build
      none.
    downloads: whether missing published files may be downloaded.

  Raises:
    UserError: an unknown name, missing or wrong files, text that is not UTF-8
      where characters or words are wanted, too little of it, or symbols that
      the given vocabulary lacks.
  """
  if limit < 0:
    raise errors.UserError(f"limit is {limit}; it must be 0 (all) or more")
  splitter = tokenizers.named(tokenizer)
  corpus = sources.load(source, data_dir, path=path, downloads=downloads)
  whole = {part: _split(corpus, part, splitter) for part in corpus.parts}
  splits = _cut(corpus, whole, partition, fractions)
  if corpus.complete:
    partitions.check_sizes(
      {name: len(symbols) for name, symbols in splits.items()},
      source=source,
      tokenizer=tokenizer,
      partition=partition,
    )
  if vocabulary is None:
    vocabulary = _vocabulary(splitter.name, splits, whole, min_frequency)
  if limit:
    splits = {name: symbols[:limit] for name, symbols in splits.items()}
  sentence_end = None
  if sentences:
    sentence_end = vocabulary.index.get(splitter.sentence_end)
    if sentence_end is None:
      raise errors.UserError(
        "sentence mode needs line ends and the vocabulary has none; set "
        "sentences to False"
      )
  return Tokens(
    splits={name: _ids(part, vocabulary) for name, part in splits.items()},
    vocabulary=vocabulary,
    provenance={
      **corpus.provenance,
      "tokenizer": tokenizer,
      "partition": partition,
      "limit": limit,
    },
    sentence_end=sentence_end,
    words_per_split={
      name: _count_words(symbols) for name, symbols in splits.items()
    },
    characters_per_split={
      name: _count_characters(symbols, splitter)
      for name, symbols in splits.items()
    },
  )


def _split(
  corpus: raw_corpus.RawCorpus, part: str, tokenizer: tokenizers.Tokenizer
) -> Sequence[Any]:
  try:
    return tokenizer.split(corpus.parts[part])
  except UnicodeDecodeError as error:
    name, offset = corpus.locate(part, error.start)
    raise errors.UserError(
      f"{name} is not UTF-8 at byte {offset:,} "
      f"(0x{corpus.parts[part][error.start]:02x}); read it with the tokenizer "
      "'bytes' or convert it"
    ) from error


def _cut(
  corpus: raw_corpus.RawCorpus,
  whole: dict[str, Sequence[Any]],
  partition: str,
  fractions: Sequence[float] | None,
) -> dict[str, Sequence[Any]]:
  if raw_corpus.WHOLE not in whole:
    if partition != "mikolov":
      raise errors.UserError(
        f"source {corpus.name!r} comes in three files and partition is "
        f"{partition!r}; use 'mikolov'"
      )
    return whole
  symbols = whole[raw_corpus.WHOLE]
  return {
    name: symbols[start:stop]
    for name, (start, stop) in partitions.ranges(
      partition, len(symbols), fractions=fractions
    ).items()
  }


def _vocabulary(
  tokenizer: str,
  splits: dict[str, Sequence[Any]],
  whole: dict[str, Sequence[Any]],
  min_frequency: int,
) -> vocabularies.Vocabulary:
  if tokenizer == "words":
    return vocabularies.Vocabulary.build(
      splits["train"], min_frequency=min_frequency
    )
  if tokenizer == "bytes":
    # A byte that only the test set has must have an id too: every byte is
    # scored, and the 205 of enwik8 are those of the whole file.
    counts = sum(_byte_counts(np.asarray(part)) for part in whole.values())
    kept = np.flatnonzero(counts >= max(1, min_frequency))
    dropped = np.any((counts > 0) & (counts < min_frequency))
    unknown = (vocabularies.UNKNOWN,) if dropped else ()
    return vocabularies.Vocabulary((*unknown, *kept.tolist()))
  exact = vocabularies.Vocabulary.build(
    splits["train"], min_frequency=min_frequency, specials=(), order="sorted"
  )
  used = set().union(*(set(symbols) for symbols in splits.values()))
  if used <= exact.index.keys():
    return exact
  return vocabularies.Vocabulary((vocabularies.UNKNOWN, *exact.symbols))


def _ids(
  symbols: Sequence[Any] | np.ndarray, vocabulary: vocabularies.Vocabulary
) -> recoded.Ids:
  if isinstance(symbols, np.ndarray):
    return recoded.RecodedBytes.of(symbols, vocabulary)
  return vocabulary.encode(symbols, vocabulary.id_dtype)


def _byte_counts(data: np.ndarray, size: int = files.PIECE) -> np.ndarray:
  """Occurrences of each byte value, int64 [256], a piece at a time."""
  counts = np.zeros(256, np.int64)
  for piece in files.pieces(data, size):
    counts += np.bincount(piece, minlength=256)
  return counts


def _count_words(symbols: Sequence[Any]) -> int:
  if isinstance(symbols, str):
    return tokenizers.count_words(tokenizers.bytes_(symbols.encode("utf-8")))
  if isinstance(symbols, np.ndarray):
    return tokenizers.count_words(symbols)
  return len(symbols)


def _count_characters(
  symbols: Sequence[Any], tokenizer: tokenizers.Tokenizer
) -> int:
  if isinstance(symbols, (str, np.ndarray)):
    return len(symbols)
  return len(tokenizer.join(symbols))
