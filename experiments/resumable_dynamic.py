"""Dynamic evaluation that goes on where a signal or a kill stopped it."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments import phases
from seqmodels import errors
from seqmodels.evaluation import chunks, dynamic, dynamic_rules, totals
from seqmodels.io import checkpoints

SAVE_SECONDS = 60.0


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
  area = context.workdir / "checkpoints" / "dynamic" / _folder(name)
  state = dynamic.initial_state(context.predictor, context.params, rule)
  sums: dict[str, list[Any]] = {"nats": [], "counts": [], "errors": []}
  spent, done = 0.0, 0
  with checkpoints.Checkpoints(area, keep=1) as saved:
    earlier = saved.restore_latest(state)
    if earlier is not None and earlier.meta["name"] == name:
      state, done = earlier.tree, earlier.step
      sums, spent = earlier.meta["sums"], earlier.meta["seconds"]
    watch = phases.watch(context, f"dynamic evaluation, {name}", segment)
    begun = last = time.monotonic()
    total = chunks.count(pieces)
    left = _after(pieces, done)
    steps = dynamic.steps(context.predictor, state, left, rule)
    for state, part in steps:
      for key in sums:
        sums[key] += getattr(part, key).tolist()
      done += len(part.nats)
      now = time.monotonic()
      meta = {"name": name, "sums": sums, "seconds": spent + now - begun}
      try:
        watch(done, total)
      except errors.Interrupted:
        saved.save(done, state, meta)
        saved.wait()
        raise
      if now - last > SAVE_SECONDS:
        saved.save(done, state, meta)
        last = now
  return totals.Scores(
    np.array(sums["nats"], np.float32),
    np.array(sums["counts"], np.int32),
    np.array(sums["errors"], np.int32),
    spent + time.monotonic() - begun,
  )


def _after(pieces: Sequence[Any], done: int) -> Sequence[Any]:
  """The chunks that follow the first `done` segments: saves end on chunks."""
  for index in range(len(pieces)):
    if chunks.count(pieces[:index]) == done:
      return pieces[index:]
  return []


def _folder(name: str) -> str:
  """The name without what a file system may not like."""
  return "".join(c if c.isalnum() or c in ".-" else "_" for c in name)
