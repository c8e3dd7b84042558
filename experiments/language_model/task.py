"""Language modelling as a training task: model, data, schedule.

The one place that reads `config.data`, `config.model` and `config.training`;
every experiment that trains or reloads a language model builds on it.
"""

import pathlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from ml_collections import config_dict

from experiments import restore, stages, train
from seqmodels import errors, losses, trained
from seqmodels.data.text import batching, corpora, vocabulary
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import static
from seqmodels.io import distributed, run_folder
from seqmodels.models import networks

VOCABULARY = trained.VOCABULARY
# From here on, training on whole lines is hardly meant.
LONG_LINE = 20_000
# About how many symbols of each stream an evaluation scores in one dispatch.
CHUNK_SYMBOLS = 1 << 13

build_predictor = networks.language_model


class Unit(NamedTuple):
  """The metric and the name of a tokenizer's symbols."""

  metric: str  # the row's metric
  symbol: str  # what one symbol is called


UNITS = {
  "characters": Unit("bits_per_character", "character"),
  "bytes": Unit("bits_per_byte", "byte"),
  "words": Unit("perplexity", "word"),
}


def load_tokens(
  config: Mapping[str, Any] | config_dict.ConfigDict,
  data_dir: pathlib.Path,
  symbols: vocabulary.Vocabulary | None = None,
) -> tokens_lib.Tokens:
  """The corpus that `config.data` names; its warnings are printed.

  Args:
    config: of the run.
    data_dir: where data sets are looked for.
    symbols: the vocabulary of an earlier run; None builds one.
  """
  data = config["data"]
  tokens = tokens_lib.load_tokens(
    source=data["source"],
    tokenizer=data["tokenizer"],
    partition=data["partition"],
    data_dir=data_dir,
    path=data["path"],
    pattern=data.get("files", ""),  # older runs have no such key
    sentences=data["sentences"],
    min_frequency=data["min_frequency"],
    limit=data["limit"],
    vocabulary=symbols,
  )
  for warning in tokens.warnings if distributed.is_primary() else ():
    print(f"warning: {warning}", file=sys.stderr)
  return tokens


# Settings that say where the data lie; what they are, data.json says.
PLACEMENT = ("data.path", "data.files")


def require_same_data(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> None:
  """Checks that a finished run, called with another path, was of these data.

  Raises:
    UserError: it was not, or there are none.
  """
  before = run_folder.read_config(workdir)["data"]
  given = config.data
  if any(
    before.get(key, "") != given[key]
    for key in (name.partition(".")[2] for name in PLACEMENT)
  ):
    source = given.source or before["source"] or "text"
    corpus = corpora.load(
      source, data_dir, path=given.path, pattern=given.files
    )
    restore.require_same_files(workdir, corpus.provenance)


def settle_data(folder: pathlib.Path, tokens: tokens_lib.Tokens) -> None:
  """Writes vocabulary and provenance into a run folder, or checks them.

  Raises:
    UserError: the folder's run was begun on other symbols or other files.
  """
  restore.require_same_files(folder, tokens.provenance)
  path = folder / VOCABULARY
  if path.is_file():
    vocabulary.Vocabulary.load(path).require_same(tokens.vocabulary)
  else:
    tokens.vocabulary.save(path)
  restore.settle_files(folder, tokens.provenance)


def split(tokens: tokens_lib.Tokens, name: str) -> tokens_lib.Ids:
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
  tokens: tokens_lib.Tokens,
  split_name: str,
  *,
  streams_count: int,
  length: int,
  symbols: int = 0,
  segments: int = 0,
) -> batching.Chunks:
  """A whole split as chunks of segments [K, T, B], for an evaluation.

  Each is cut when it is asked for: a long split is never in memory as segments.

  Args:
    tokens: the corpus.
    split_name: which split.
    streams_count: B.
    length: T, at most; a split may have fewer symbols in a stream.
    symbols: only the first so many; 0 takes all.
    segments: K; 0 takes about `CHUNK_SYMBOLS` of each stream.
  """
  ids = split(tokens, split_name)
  ids = ids[:symbols] if symbols else ids
  length = min(length, -(-len(ids) // streams_count))
  stream = batching.SequentialStream(
    ids,
    batch=streams_count,
    length=length,
    sentence_end=tokens.sentence_end,
  )
  return batching.Chunks.of(stream, segments or max(1, CHUNK_SYMBOLS // length))


def watched(tokens: tokens_lib.Tokens, split_name: str) -> batching.Segment:
  """The part of a split that `static.constant_cells` looks at."""
  ids, length = split(tokens, split_name), static.WATCHED_POSITIONS
  return batching.SequentialStream(
    ids,
    batch=max(1, min(static.WATCHED_STREAMS, len(ids) // length)),
    length=length,
    sentence_end=tokens.sentence_end,
  ).segment(0)


def train_stream(
  config: config_dict.ConfigDict, tokens: tokens_lib.Tokens
) -> train.Stream:
  """The training split as the segments that `config.training` asks for.

  Raises:
    UserError: settings that the sampling ignores.
  """
  sampling = config.training.sampling
  for name in IDLE.get(sampling, ()):
    section, key = name.split(".")
    if config[section][key]:
      raise errors.UserError(
        f"config.{name} means nothing to config.training.sampling "
        f"{sampling!r}, where every sequence starts afresh; leave it out or "
        "set the sampling to 'sequential'"
      )
  return STREAMS[sampling](config, tokens)


def _sequential(
  config: config_dict.ConfigDict, tokens: tokens_lib.Tokens
) -> train.Stream:
  training = config.training
  return batching.SequentialStream(
    split(tokens, "train"),
    batch=training.batch,
    length=training.segment,
    seed=config.seed,
    sentence_end=tokens.sentence_end,
    reset_every=training.reset_every or None,
    random_offset=training.random_offset,
    training=True,
  )


def _random(
  config: config_dict.ConfigDict, tokens: tokens_lib.Tokens
) -> train.Stream:
  return batching.RandomWindows(
    split(tokens, "train"),
    batch=config.training.batch,
    length=config.training.segment,
    seed=config.seed,
  )


def _sentences(
  config: config_dict.ConfigDict, tokens: tokens_lib.Tokens
) -> train.Stream:
  if tokens.sentence_end is None:
    raise errors.UserError(
      "config.training.sampling is 'sentences' but config.data.sentences is "
      "False; set it to True, so that evaluation starts each line afresh, too"
    )
  stream = batching.Sentences(
    split(tokens, "train"),
    batch=config.training.batch,
    end=tokens.sentence_end,
    dispatch=config.training.steps_per_dispatch,
    seed=config.seed,
  )
  if stream.longest > LONG_LINE:
    print(
      f"warning: a line of the training text has {stream.longest:,} symbols, "
      "and lines are trained whole: such a step is slow, takes much memory and "
      "cannot be interrupted",
      file=sys.stderr,
    )
  return stream


STREAMS: dict[
  str, Callable[[config_dict.ConfigDict, tokens_lib.Tokens], train.Stream]
] = {"sequential": _sequential, "random": _random, "sentences": _sentences}

# Settings that other samplings ignore.
IDLE = {
  "random": (
    "data.sentences",
    "training.reset_every",
    "training.random_offset",
  ),
  "sentences": ("training.reset_every", "training.random_offset"),
}


def task(
  config: config_dict.ConfigDict,
  tokens: tokens_lib.Tokens,
  network: networks.SequenceModel,
) -> train.Task:
  """A network that learns to predict a corpus.

  Args:
    config: as `configs.common.base`.
    tokens: the corpus.
    network: of its vocabulary.

  Raises:
    UserError: settings of the training data that contradict each other.
  """
  unit = UNITS[config.data.tokenizer]
  settings = config.evaluation
  symbols = tokens.vocabulary
  stream = train_stream(config, tokens)
  validation = chunks(
    tokens,
    "valid",
    streams_count=settings.validation_streams,
    length=settings.segment,
  )
  observed = watched(tokens, "valid")

  def figures(metrics: losses.Metrics) -> dict[str, float]:
    return {
      unit.metric: stages.score(unit.metric, metrics.nats, metrics.count),
      "error_rate": 100.0 * metrics.error_rate,
      **{name: metrics.mean(name) for name in metrics.sums},
    }

  def validate(weights: Any, check: Callable[[], None]) -> train.Validation:
    less = "a smaller config.evaluation.segment or .validation_streams"
    with errors.memory_of("validation", less):
      scores = static.score(
        network,
        weights,
        validation,
        streams=settings.validation_streams,
        callback=lambda done, total: check(),
      )
    totals = scores.totals()
    return train.Validation(
      totals.nats_per_symbol,
      {
        **figures(totals),
        **static.constant_cells(network, weights, observed),
      },
      f"{totals.count:,} symbols in {settings.validation_streams} streams"
      + stages.lost_note(scores),
    )

  sizes = ", ".join(
    f"{name} {len(ids):,}" for name, ids in tokens.splits.items()
  )
  return train.Task(
    model=network,
    data=tokens,
    stream=stream,
    plan=train.make_plan(config, stream),
    positions=len(tokens.splits["train"]),
    figures=figures,
    unit="tokens",
    kind="language_model",
    symbols=symbols,
    settle=lambda workdir: settle_data(workdir, tokens),
    restored=lambda target: restore.restore_weights(config, target, symbols),
    validate=validate,
    facts=(
      f"{tokens.provenance['source']}, {sizes}; {symbols.size:,} symbols to "
      "choose from",
      stages.minibatch(config),
    ),
    name=stages.model_name(config),
    smaller=(
      # Of whole lines, a segment has no length of its own.
      "shorter lines or"
      if config.training.sampling == "sentences"
      else "a smaller config.training.segment,"
    )
    + " config.training.batch or config.model.features",
  )
