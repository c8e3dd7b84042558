"""From settings to the parts of a language experiment.

The one place that reads `config.data`, `config.model` and `config.training`;
every experiment that trains or reloads a language model builds on it.
"""

import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax.numpy as jnp
import optax
from ml_collections import config_dict

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.data import chunked, corpus, recoded, streams, vocabulary
from seqmodels.evaluation import constant_cells
from seqmodels.io import atomic, json_file
from seqmodels.models import language_model, noise, predictor
from seqmodels.training import optimizers, regularizers

VOCABULARY = "vocabulary.json"
DATA = "data.json"
# About how many symbols of each stream an evaluation scores in one dispatch.
CHUNK_SYMBOLS = 1 << 13


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
    UserError: they are not, or their list is damaged; files are compared by
      size and SHA-256.
  """
  path = folder / DATA
  if not path.is_file():
    return
  before = json_file.read(path, files=list)["files"]
  if not all(map(_is_file_row, before)):
    raise json_file.damaged(path, "a file has no name, size or SHA-256")
  now = provenance["files"]
  if [(x["bytes"], x["sha256"]) for x in before] != [
    (x["bytes"], x["sha256"]) for x in now
  ]:
    raise errors.UserError(
      f"the data are not those of the run in {folder}: it was trained on "
      f"{_listed(before)}, and these are {_listed(now)}; give it the same data"
    )


def _is_file_row(row: Any) -> bool:
  return (
    isinstance(row, dict)
    and json_file.is_whole(row.get("bytes"))
    and all(isinstance(row.get(key), str) for key in ("name", "sha256"))
  )


def _listed(files: list[dict[str, Any]]) -> str:
  return ", ".join(
    f"{file['name']} ({file['bytes']:,} bytes, SHA-256 {file['sha256'][:12]})"
    for file in files
  )


def build_predictor(
  config: config_dict.ConfigDict, symbols: int
) -> predictor.Predictor:
  """The network that `config.model` names, over `symbols` symbols."""
  model = config.model
  known = cells.get(model.cell).options
  options = {name: model[name] for name in known if name in model}
  return language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=symbols,
      features=tuple(model.features),
      cell=model.cell,
      options=options,
      input_skips=model.input_skips,
      output_skips=model.output_skips,
      gradient_clip=model.gradient_clip or None,
      dtype=compute_dtype(config.dtype),
      chunk=model.chunk,
      embedding=model.get("embedding", 0),
      tied=model.get("tied", False),
      noise=build_noise(config),
    )
  )


def build_noise(config: config_dict.ConfigDict) -> noise.Noise:
  """The rates of `config.regularization`; runs older than it have none."""
  chosen = config.get("regularization")
  if chosen is None:
    return noise.Noise()
  return noise.Noise(
    embedding=chosen.dropout_embedding,
    input=chosen.dropout_input,
    hidden=chosen.dropout_hidden,
    output=chosen.dropout_output,
    drop_connect=chosen.drop_connect,
    variational=chosen.variational,
  )


def compute_dtype(name: str) -> Any:
  """The operands' dtype; None leaves float32 alone.

  Raises:
    UserError: another name.
  """
  if name not in ("float32", "bfloat16"):
    raise errors.UserError(
      f"config.dtype is {name!r}; it must be 'float32' or 'bfloat16'"
    )
  return None if name == "float32" else jnp.dtype(name)


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
  )


def build_regularizer(
  config: config_dict.ConfigDict, symbols: int
) -> regularizers.Regularizer:
  """What `config.regularization` puts around the weights.

  Args:
    config: as `configs.common.base`.
    symbols: of the training split.

  Raises:
    UserError: both kinds of weight noise at once, or a bad deviation.
  """
  chosen = config.regularization
  if chosen.weight_noise and chosen.adaptive:
    raise errors.UserError(
      f"config.regularization.weight_noise is {chosen.weight_noise} and "
      f"config.regularization.adaptive is {chosen.adaptive}; noise is fixed or "
      "adaptive, so set one of them to 0"
    )
  if chosen.adaptive:
    return regularizers.adaptive(
      chosen.adaptive, symbols=symbols, squares=chosen.squares
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
) -> chunked.Chunks:
  """A whole split as chunks of segments [K, T, B], for an evaluation.

  Each is cut when it is asked for: a long split is never in memory as segments.

  Args:
    tokens: the corpus.
    split_name: which split.
    streams_count: B.
    length: T.
    symbols: only the first so many; 0 takes all.
  """
  ids = split(tokens, split_name)
  stream = streams.SequentialStream(
    ids[:symbols] if symbols else ids,
    batch=streams_count,
    length=length,
    sentence_end=tokens.sentence_end,
  )
  return chunked.Chunks.of(stream, max(1, CHUNK_SYMBOLS // length))


def watched(tokens: corpus.Tokens, split_name: str) -> streams.Segment:
  """The part of a split in which cells are watched (`constant_cells`)."""
  ids, length = split(tokens, split_name), constant_cells.POSITIONS
  return streams.SequentialStream(
    ids,
    batch=max(1, min(constant_cells.STREAMS, len(ids) // length)),
    length=length,
    sentence_end=tokens.sentence_end,
  ).segment(0)
