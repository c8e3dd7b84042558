"""Dynamic evaluation that goes on where a signal or a kill stopped it.

So does the pass over the training set that collects what its rule `rms` needs.
"""

import itertools
import pathlib
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from experiments import assembly, phases
from seqmodels import errors
from seqmodels.evaluation import (
  chunks,
  dynamic,
  dynamic_rules,
  gradient_statistics,
  totals,
)
from seqmodels.io import checkpoints

SAVE_SECONDS = 60.0

Tree = Any


def score(
  context: phases.Context,
  name: str,
  pieces: Sequence[Any],
  rule: dynamic_rules.SGD | dynamic_rules.RMS,
  *,
  segment: int,
) -> totals.Scores:
  """Scores along a split, its state saved every minute and on a signal.

  The weights learnt so far, the rule's memory and the carry lie under
  `checkpoints/dynamic/NAME` until the whole split is scored; going on from
  there gives the same bits.

  Args:
    context: of the run.
    name: of this evaluation: split and settings.
    pieces: the split as chunks of segments, one stream.
    rule: how to learn.
    segment: symbols a segment, for the display.

  Raises:
    Interrupted: after a signal, with the state saved.
  """

  def steps(state: Tree, left: Sequence[Any]) -> Iterator[tuple[Tree, Any]]:
    for after, part in dynamic.steps(context.predictor, state, left, rule):
      sums = (part.nats, part.counts, part.errors)
      yield after, [array.tolist() for array in sums]

  done = _go_through(
    context,
    context.workdir / "checkpoints" / "dynamic" / _folder(name),
    name,
    dynamic.initial_state(context.predictor, context.params, rule),
    pieces,
    steps,
    title=f"dynamic evaluation, {name}",
    per_segment=segment,
  )
  nats, counts, wrong = (
    list(itertools.chain.from_iterable(parts))
    for parts in zip(*done.parts, strict=True)
  )
  return totals.Scores(
    np.array(nats, np.float32),
    np.array(counts, np.int32),
    np.array(wrong, np.int32),
    done.seconds,
  )


def statistics(context: phases.Context) -> Tree:
  """Root mean squares of training gradients, collected once in a run.

  The sums of squares lie under `checkpoints/statistics/NAME`, where NAME says
  of which weights, text and segments they are: others are collected anew. A
  collection is saved every minute and on a signal, as an evaluation is, and
  stays when it is complete.

  Raises:
    Interrupted: after a signal, with the state saved.
  """
  given = context.config.dynamic
  streams, length = given.statistics_streams, context.config.training.segment
  size = streams * length
  pieces = assembly.chunks(
    context.tokens,
    "train",
    streams_count=streams,
    length=length,
    symbols=given.statistics_segments * size,
    # Of many streams: a signal waits for the chunk under way.
    segments=max(1, assembly.CHUNK_SYMBOLS // size),
  )
  name = (
    f"{chunks.count(pieces)} segments of {streams} x {length}, "
    f"step {context.step}, weights {phases.fingerprint(context.params)[:16]}"
  )

  def steps(state: Tree, left: Sequence[Any]) -> Iterator[tuple[Tree, Any]]:
    for after in gradient_statistics.steps(
      context.predictor, context.params, state, left, streams=streams
    ):
      yield after, None

  done = _go_through(
    context,
    context.workdir / "checkpoints" / "statistics" / _folder(name),
    name,
    gradient_statistics.initial_state(
      context.predictor, context.params, streams=streams
    ),
    pieces,
    steps,
    title="gradient statistics",
    per_segment=size,
    keep=True,
  )
  return gradient_statistics.root_mean_square(done.state)


class _Done(NamedTuple):
  """A pass that came to its end."""

  state: Tree
  parts: list[Any]  # what each chunk gave
  seconds: float  # of all starts


def _go_through(
  context: phases.Context,
  area: pathlib.Path,
  name: str,
  state: Tree,
  pieces: Sequence[Any],
  steps: Callable[[Tree, Sequence[Any]], Iterator[tuple[Tree, Any]]],
  *,
  title: str,
  per_segment: int,
  keep: bool = False,
) -> _Done:
  """All chunks in their order, from where an earlier start has saved.

  Args:
    context: of the run.
    area: folder of the saved states.
    name: a saved state of another name is not gone on from.
    state: before the first chunk.
    pieces: the chunks.
    steps: gives after each chunk the state and what to remember of it, plain
      data that JSON can hold.
    title: the pass, as shown.
    per_segment: symbols in a segment of all its streams.
    keep: save the last state, too; a later call then reads it.
  """
  parts: list[Any] = []
  spent, done = 0.0, 0
  with checkpoints.Checkpoints(area, keep=1) as saved:
    earlier = saved.restore_latest(state)
    if earlier is not None and earlier.meta["name"] == name:
      state, done = earlier.tree, earlier.step
      parts, spent = earlier.meta["parts"], earlier.meta["seconds"]
    if done == len(pieces):
      return _Done(state, parts, spent)
    watch = phases.watch(context, title, per_segment)
    begun = last = time.monotonic()
    total = chunks.count(pieces)
    for after, part in steps(state, pieces[done:]):
      state, done = after, done + 1
      parts.append(part)
      now = time.monotonic()
      meta = {"name": name, "parts": parts, "seconds": spent + now - begun}
      try:
        watch(chunks.count(pieces[:done]) or 0, total)
      except errors.Interrupted:
        saved.save(done, state, meta)
        saved.wait()
        raise
      if now - last > SAVE_SECONDS or (keep and done == len(pieces)):
        saved.save(done, state, meta)
        last = now
  return _Done(state, parts, spent + time.monotonic() - begun)


def _folder(name: str) -> str:
  """The name without what a file system may not like."""
  return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
