"""Training data as segments, and the plan of going through them."""

from typing import NamedTuple

from ml_collections import config_dict

from experiments import assembly
from seqmodels import errors
from seqmodels.data import corpus, streams, windows
from seqmodels.training import loop


class Course(NamedTuple):
  """The training data as segments, and how long to go through it."""

  stream: streams.SequentialStream | windows.RandomWindows
  plan: loop.Plan


def plan(config: config_dict.ConfigDict, tokens: corpus.Tokens) -> Course:
  """Streams, steps, and when to evaluate and save."""
  training = config.training
  ids = assembly.split(tokens, "train")
  idle = [
    name
    for name, used in (
      ("data.sentences", config.data.sentences),
      ("training.reset_every", training.reset_every),
      ("training.random_offset", training.random_offset),
    )
    if used
  ]
  if training.sampling == "random" and idle:
    raise errors.UserError(
      f"config.{idle[0]} means nothing to random windows, which all start "
      "afresh; leave it out or set config.training.sampling to 'sequential'"
    )
  stream: streams.SequentialStream | windows.RandomWindows
  if training.sampling == "random":
    stream = windows.RandomWindows(
      ids,
      batch=training.batch,
      length=training.segment,
      seed=config.seed,
    )
  else:
    stream = streams.SequentialStream(
      ids,
      batch=training.batch,
      length=training.segment,
      seed=config.seed,
      sentence_end=tokens.sentence_end,
      reset_every=training.reset_every or None,
      random_offset=training.random_offset,
      training=True,
    )
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
  )
  return Course(stream, plan)
