"""From settings to the parts of a language experiment.

The one place that reads `config.data`, `config.model` and `config.training`;
every experiment that trains or reloads a language model builds on it.
"""

import json
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from ml_collections import config_dict

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.data import chunked, corpus, recoded, streams, vocabulary
from seqmodels.io import atomic, checkpoints, run_record
from seqmodels.models import language_model, noise, predictor
from seqmodels.training import optimizers, regularizers

VOCABULARY = "vocabulary.json"
DATA = "data.json"
# About how many symbols of each stream an evaluation scores in one dispatch.
CHUNK_SYMBOLS = 1 << 13


class Trained(NamedTuple):
  """An earlier run, read back from its folder alone."""

  config: config_dict.ConfigDict
  vocabulary: vocabulary.Vocabulary
  predictor: predictor.Predictor
  params: Any
  step: int


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
  require_same_files(folder, tokens)
  if not (folder / DATA).is_file():
    atomic.write_json(folder / DATA, tokens.provenance)


def require_same_files(folder: pathlib.Path, tokens: corpus.Tokens) -> None:
  """Checks that a run's files are, byte for byte, the ones it was begun on.

  Raises:
    UserError: they are not; files are compared by size and SHA-256.
  """
  path = folder / DATA
  if not path.is_file():
    return
  before = json.loads(path.read_text(encoding="utf-8"))["files"]
  now = tokens.provenance["files"]
  if [(x["bytes"], x["sha256"]) for x in before] != [
    (x["bytes"], x["sha256"]) for x in now
  ]:
    raise errors.UserError(
      f"the data are not those of the run in {folder}: it was trained on "
      f"{_listed(before)}, and these are {_listed(now)}; give it the same data"
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


def reload(run_dir: str, *, dtype: str = "") -> Trained:
  """The network of an earlier run, from its run folder alone.

  Args:
    run_dir: the `--workdir` of the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: no run folder, no checkpoint, or one that does not fit.
    RunError: the checkpoints are corrupt.
  """
  if not run_dir:
    raise errors.UserError(
      "config.restore is empty; give the run folder of a trained model, "
      "--config.restore=RUN_DIR"
    )
  folder = pathlib.Path(run_dir).expanduser()
  config = config_dict.ConfigDict(run_record.read_config(folder))
  if "model" not in config or "data" not in config:
    raise errors.UserError(
      f"{folder} holds a run of {config.get('experiment')!r}, which trains no "
      "language model; give the run folder of a trained one"
    )
  if dtype:
    config.dtype = dtype
  if config.get("seeds", 1) > 1:
    raise errors.UserError(
      f"{folder} holds {config.seeds} seeds; name one of them, such as "
      f"{folder / f'seed-{config.seed}'}"
    )
  if not (folder / VOCABULARY).is_file():
    raise errors.UserError(
      f"{folder} has no {VOCABULARY}: its run stopped before training; run its "
      "command again"
    )
  symbols = vocabulary.Vocabulary.load(folder / VOCABULARY)
  network = build_predictor(config, symbols.size)
  target = jax.eval_shape(network.init, jax.random.key(0))
  restored = checkpoints.restore_params(folder, target)
  check_vocabulary(restored.meta, symbols, folder)
  return Trained(config, symbols, network, restored.tree, restored.step)


def restore_weights(
  config: config_dict.ConfigDict,
  target: Any,
  symbols: vocabulary.Vocabulary,
) -> Any:
  """The weights of the run `config.restore`, to go on training from.

  Args:
    config: of the run that goes on.
    target: names, shapes and dtypes of the weights wanted.
    symbols: what they must have been trained on.

  Raises:
    UserError: no such run, another network, other symbols, or a partition that
      shows it what this one keeps for validation and test.
  """
  run_dir = config.restore
  folder = pathlib.Path(run_dir).expanduser()
  try:
    found = checkpoints.restore_params(folder, target)
  except errors.RunError:
    raise
  except errors.UserError as error:
    raise errors.UserError(
      f"config.restore={run_dir} cannot be gone on from: {error}"
    ) from error
  check_vocabulary(found.meta, symbols, folder)
  _require_same_network(config, run_record.read_config(folder), folder)
  return found.tree


# Settings that change what weights of equal shapes mean.
_NETWORK = ("cell", "features", "peepholes", "input_skips", "output_skips")
_NETWORK += ("embedding", "tied", "rounds", "rank")


def _require_same_network(
  config: config_dict.ConfigDict,
  theirs: Mapping[str, Any],
  folder: pathlib.Path,
) -> None:
  """Refuses weights that fit but were trained as something else."""
  ours = json.loads(config.to_json())
  for name in _NETWORK:
    model = theirs.get("model", {})
    if name in model and model[name] != ours["model"][name]:
      raise errors.UserError(
        f"config.restore={folder} was trained with model.{name} "
        f"{model[name]!r} and this run has {ours['model'][name]!r}; give the "
        "same"
      )
  data = theirs.get("data", {})
  partition = data.get("partition")
  same_source = data.get("source") == ours["data"]["source"]
  if same_source and partition != ours["data"]["partition"]:
    raise errors.UserError(
      f"config.restore={folder} was trained on the partition {partition!r}, "
      f"parts of which {ours['data']['partition']!r} keeps for validation and "
      "test; give a run on the same partition"
    )


def check_vocabulary(
  meta: Mapping[str, Any],
  symbols: vocabulary.Vocabulary,
  folder: pathlib.Path,
) -> None:
  """Refuses weights that were trained on other symbols.

  Raises:
    UserError: the checkpoint's vocabulary is not `symbols`.
  """
  saved = meta.get("vocabulary")
  if saved != symbols.hash:
    raise errors.UserError(
      f"the checkpoint in {folder} was trained with the vocabulary "
      f"{str(saved)[:12]}, but this one is {symbols.hash[:12]}; use the data "
      "it was trained on"
    )
