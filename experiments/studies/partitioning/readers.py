"""The readers of the study `partitioning`, and what they make of a toy."""

from collections.abc import Callable

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures
from seqmodels.data import overlapping_windows
from seqmodels.data.text import batching

RANDOM = "random sampling"
EVERY = "every window"
SEQUENTIAL = "sequential"
CLEARED = "sequential, state cleared"

Reader = batching.RandomWindows | batching.SequentialStream

READERS: dict[str, Callable[..., Reader]] = {
  RANDOM: batching.RandomWindows,
  EVERY: overlapping_windows.OverlappingWindows,
  SEQUENTIAL: lambda ids, **shape: batching.SequentialStream(
    ids, random_offset=True, training=True, **shape
  ),
  CLEARED: lambda ids, **shape: batching.SequentialStream(
    ids, random_offset=True, training=True, reset_every=1, **shape
  ),
}


def toy(study: run.Study) -> None:
  """The readers on the numbers 0, 1, ...: what they give, and how often."""
  page, settings = study.lesson, study.config.settings
  total, batch, length = settings.toy
  ids = np.arange(total)
  page.section(
    "On a toy",
    f"""
    The text 0, 1, ..., {total - 1} with B = {batch} and T = {length}. The
    inputs of the first minibatches of an epoch:
    """,
  )
  shown, body, shares = [], [], {}
  for name, read in READERS.items():
    reader = read(ids, batch=batch, length=length, seed=study.config.seed)
    count = reader.segments_per_epoch
    epoch = reader.segments(0, count)  # arrays [count, T, B]
    if name != CLEARED:
      shown += [name]
      shown += [
        f"  minibatch {i + 1}:  "
        + "   ".join(_row(part[:, row]) for row in range(batch))
        for i, part in enumerate(epoch.inputs[:3])
      ]
    steps = epoch.targets[1:, 0] - epoch.targets[:-1, -1]
    follows = (steps % total == 1)[epoch.mask[1:, 0]]
    body.append(
      [
        name,
        count,
        float(follows.mean()) if follows.size else float("nan"),
        "carried" if name == SEQUENTIAL else "cleared",
      ]
    )
    times = np.zeros(total)
    epochs = settings.toy_epochs
    parts = reader.segments(0, count * epochs)
    np.add.at(times, parts.targets[parts.mask], 1.0 / epochs)
    shares[name] = (ids, times)
  page.shown("\n".join(shown))
  page.table(
    [
      "reader",
      "minibatches an epoch",
      "rows that continue the last minibatch",
      "state",
    ],
    body,
  )
  page.say("""
    A carried state makes sense only where every row continues the one before
    it. (The sequential reader rotates the text by a random offset each epoch,
    so that rows are cut elsewhere. A dot is the null vector: nothing stands
    before the first symbol.)
  """)
  del shares[CLEARED]  # reads what the carrying reader reads
  figures.curves(
    page.figure(
      "coverage",
      f"How often an epoch predicts each symbol of the toy, mean over "
      f"{settings.toy_epochs:,} epochs.",
    ),
    "Which symbols an epoch predicts",
    shares,
    x="position in the text",
    y="times an epoch",
    marks=True,
  )
  page.say(f"""
    Random sampling starts a piece at each possible place with the same
    probability 1/T, thanks to the random offset. Even so the {length} symbols
    at either end are predicted less often, and what does not fill a last
    minibatch waits for another epoch. Sequential partitioning predicts every
    symbol once an epoch. Every window gives an epoch about T times as long.
  """)


def _row(ids: np.ndarray) -> str:
  return " ".join(f"{i:2d}" if i >= 0 else " ." for i in ids)
