"""From settings to the parts of a language experiment.

The one place that reads `config.data`, `config.model` and `config.training`;
every experiment that trains or reloads a language model builds on it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import optax
from ml_collections import config_dict

from seqmodels import cards, errors, loading
from seqmodels.data import chunked, corpus, recoded, streams, vocabulary
from seqmodels.evaluation import constant_cells
from seqmodels.io import atomic
from seqmodels.models import from_settings
from seqmodels.training import optimizers, regularizers

VOCABULARY, DATA = loading.VOCABULARY, cards.DATA
# About how many symbols of each stream an evaluation scores in one dispatch.
CHUNK_SYMBOLS = 1 << 13

build_predictor = from_settings.language_model


class Unit(NamedTuple):
  """How a tokenizer's losses are reported."""

  metric: str  # the row's metric
  symbol: str  # what one symbol is called


UNITS = {
  "characters": Unit("bits_per_character", "character"),
  "bytes": Unit("bits_per_byte", "byte"),
  "words": Unit("perplexity", "word"),
}


def load_tokens(
  config: Mapping[str, Any] | config_dict.ConfigDict, data_dir: pathlib.Path
) -> corpus.Tokens:
  """The corpus that `config.data` names."""
  data = config["data"]
  return corpus.load_tokens(
    source=data["source"],
    tokenizer=data["tokenizer"],
    partition=data["partition"],
    data_dir=data_dir,
    path=data["path"],
    sentences=data["sentences"],
    min_frequency=data["min_frequency"],
    limit=data["limit"],
  )


def settle_data(folder: pathlib.Path, tokens: corpus.Tokens) -> None:
  """Writes vocabulary and provenance into a run folder, or checks them.

  Raises:
    UserError: the folder's run was begun on other symbols or other files.
  """
  path = folder / VOCABULARY
  if path.is_file():
    vocabulary.Vocabulary.load(path).require_same(tokens.vocabulary)
  else:
    tokens.vocabulary.save(path)
  require_same_files(folder, tokens.provenance)
  if not (folder / DATA).is_file():
    atomic.write_json(folder / DATA, tokens.provenance)


def require_same_files(
  folder: pathlib.Path, provenance: Mapping[str, Any]
) -> None:
  """Checks that a run's files are, byte for byte, the ones it was begun on.

  Args:
    folder: of the run.
    provenance: of the data at hand.

  Raises:
    UserError: they are not, or their list is damaged.
  """
  require_files_of(cards.read_data(folder), folder, provenance)


def require_files_of(
  trained: Mapping[str, Any] | None,
  place: pathlib.Path,
  provenance: Mapping[str, Any],
) -> None:
  """Checks that a model's files are, byte for byte, the ones at hand.

  Args:
    trained: provenance of what it was trained on; None for unknown.
    place: of the model.
    provenance: of the data at hand.

  Raises:
    UserError: they are not; files are compared by size and SHA-256.
  """
  if trained is None:
    return
  before, now = trained["files"], provenance["files"]
  if [(x["bytes"], x["sha256"]) for x in before] != [
    (x["bytes"], x["sha256"]) for x in now
  ]:
    raise errors.UserError(
      f"the data are not those of the run in {place}: it was trained on "
      f"{_listed(before)}, and these are {_listed(now)}; give it the same data"
    )


def _listed(files: list[dict[str, Any]]) -> str:
  return ", ".join(
    f"{file['name']} ({file['bytes']:,} bytes, SHA-256 {file['sha256'][:12]})"
    for file in files
  )


def build_optimizer(
  config: config_dict.ConfigDict, steps: int
) -> optax.GradientTransformation:
  """The rule that `config.training` names, its schedule ending at `steps`."""
  training = config.training
  return optimizers.build(
    training.optimizer,
    learning_rate=training.learning_rate,
    momentum=training.momentum,
    schedule=training.schedule,
    steps=steps,
    warmup_steps=training.warmup_steps,
    clip_norm=training.clip_norm,
    average=training.average,
  )


def learning_rates(config: config_dict.ConfigDict, steps: int) -> np.ndarray:
  """The learning rate of each of `steps` updates."""
  training = config.training
  return optimizers.learning_rates(
    optimizers.build_schedule(
      training.schedule,
      training.learning_rate,
      steps=steps,
      warmup_steps=training.warmup_steps,
    ),
    steps=steps,
  )


def build_regularizer(
  config: config_dict.ConfigDict, symbols: int
) -> regularizers.Regularizer:
  """What `config.regularization` puts around the weights.

  Args:
    config: as `configs.common.base`.
    symbols: of the training split.

  Raises:
    UserError: both kinds of weight noise at once, a bad deviation, a weight on
      a complexity or a choice by a description length that there is not, or of
      averaged weights.
  """
  chosen = config.regularization
  if chosen.weight_noise and chosen.adaptive:
    raise errors.UserError(
      f"config.regularization.weight_noise is {chosen.weight_noise} and "
      f"config.regularization.adaptive is {chosen.adaptive}; noise is fixed or "
      "adaptive, so set one of them to 0"
    )
  if chosen.complexity != 1 and not chosen.adaptive:
    raise errors.UserError(
      f"config.regularization.complexity is {chosen.complexity}, the weight of "
      "what only adaptive weight noise has; set "
      "config.regularization.adaptive, to 0.075 for one, or leave it at 1"
    )
  if config.training.select == "description_length" and config.training.average:
    raise errors.UserError(
      f"config.training.average is {config.training.average} and "
      "config.training.select is 'description_length', which is of the "
      "posterior as it is trained and not of its average; leave one of them out"
    )
  if chosen.adaptive:
    return regularizers.adaptive(
      chosen.adaptive,
      symbols=symbols,
      squares=chosen.squares,
      complexity=chosen.complexity,
    )
  if config.training.select == "description_length":
    raise errors.UserError(
      "config.training.select is 'description_length', which only adaptive "
      "weight noise has; set config.regularization.adaptive, to 0.075 for one, "
      "or select by 'validation'"
    )
  if chosen.weight_noise:
    return regularizers.noisy(chosen.weight_noise)
  return regularizers.plain()


def split(tokens: corpus.Tokens, name: str) -> recoded.Ids:
  """The ids of one split.

  Raises:
    UserError: the partition has no such split.
  """
  if name not in tokens.splits:
    raise errors.UserError(
      f"this corpus has no {name!r} split{errors.closest(name, tokens.splits)}"
    )
  return tokens.splits[name]


def chunks(
  tokens: corpus.Tokens,
  split_name: str,
  *,
  streams_count: int,
  length: int,
  symbols: int = 0,
  segments: int = 0,
) -> chunked.Chunks:
  """A whole split as chunks of segments [K, T, B], for an evaluation.

  Each is cut when it is asked for: a long split is never in memory as segments.

  Args:
    tokens: the corpus.
    split_name: which split.
    streams_count: B.
    length: T.
    symbols: only the first so many; 0 takes all.
    segments: K; 0 takes about `CHUNK_SYMBOLS` of each stream.
  """
  ids = split(tokens, split_name)
  stream = streams.SequentialStream(
    ids[:symbols] if symbols else ids,
    batch=streams_count,
    length=length,
    sentence_end=tokens.sentence_end,
  )
  return chunked.Chunks.of(stream, segments or max(1, CHUNK_SYMBOLS // length))


def watched(tokens: corpus.Tokens, split_name: str) -> streams.Segment:
  """The part of a split in which cells are watched (`constant_cells`)."""
  ids, length = split(tokens, split_name), constant_cells.POSITIONS
  return streams.SequentialStream(
    ids,
    batch=max(1, min(constant_cells.STREAMS, len(ids) // length)),
    length=length,
    sentence_end=tokens.sentence_end,
  ).segment(0)
