"""Training data as segments, and the plan of going through them."""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors
from seqmodels.data import (
  corpus,
  pen_batches,
  pen_chunks,
  sentences,
  streams,
  windows,
)
from seqmodels.training import loop

Stream = (
  streams.SequentialStream
  | windows.RandomWindows
  | sentences.Sentences
  | pen_batches.PenBatches
  | pen_chunks.PenChunks
)


class Course(NamedTuple):
  """The training data as segments, and how long to go through it."""

  stream: Stream
  plan: loop.Plan


def plan(config: config_dict.ConfigDict, tokens: corpus.Tokens) -> Course:
  """A corpus as streams, steps, and when to evaluate and save."""
  _refuse_idle(config)
  return laid_out(config, STREAMS[config.training.sampling](config, tokens))


def laid_out(config: config_dict.ConfigDict, stream: Stream) -> Course:
  """Steps over any training data, and when to evaluate and save."""
  training = config.training
  epoch = stream.segments_per_epoch
  total = round(training.epochs * epoch)
  if training.max_steps:
    total = min(total, training.max_steps)
  # Whole dispatches between evaluations: each length is compiled on its own.
  dispatch = training.steps_per_dispatch
  part = -(-epoch // training.evaluations_per_epoch)
  plan = loop.Plan(
    total=total,
    dispatch=dispatch,
    evaluate=dispatch * -(-part // dispatch),
    checkpoint=training.checkpoint_every,
    patience=training.patience,
    # Restored weights are the first candidate for the best.
    initial=bool(config.restore),
  )
  return Course(stream, plan)


def _sequential(
  config: config_dict.ConfigDict, tokens: corpus.Tokens
) -> Stream:
  training = config.training
  return streams.SequentialStream(
    assembly.split(tokens, "train"),
    batch=training.batch,
    length=training.segment,
    seed=config.seed,
    sentence_end=tokens.sentence_end,
    reset_every=training.reset_every or None,
    random_offset=training.random_offset,
    training=True,
  )


def _random(config: config_dict.ConfigDict, tokens: corpus.Tokens) -> Stream:
  return windows.RandomWindows(
    assembly.split(tokens, "train"),
    batch=config.training.batch,
    length=config.training.segment,
    seed=config.seed,
  )


def _sentences(config: config_dict.ConfigDict, tokens: corpus.Tokens) -> Stream:
  if tokens.sentence_end is None:
    raise errors.UserError(
      "config.training.sampling is 'sentences' but config.data.sentences is "
      "False; set it to True, so that evaluation starts each line afresh, too"
    )
  return sentences.Sentences(
    assembly.split(tokens, "train"),
    batch=config.training.batch,
    end=tokens.sentence_end,
    dispatch=config.training.steps_per_dispatch,
    seed=config.seed,
  )


STREAMS: dict[
  str, Callable[[config_dict.ConfigDict, corpus.Tokens], Stream]
] = {"sequential": _sequential, "random": _random, "sentences": _sentences}

# Settings that only some samplings heed.
IDLE = {
  "random": (
    "data.sentences",
    "training.reset_every",
    "training.random_offset",
  ),
  "sentences": ("training.reset_every", "training.random_offset"),
}


def _refuse_idle(config: config_dict.ConfigDict) -> None:
  sampling = config.training.sampling
  for name in IDLE.get(sampling, ()):
    section, key = name.split(".")
    if config[section][key]:
      raise errors.UserError(
        f"config.{name} means nothing to config.training.sampling "
        f"{sampling!r}, where every sequence starts afresh; leave it out or "
        "set the sampling to 'sequential'"
      )
