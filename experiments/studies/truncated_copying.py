"""Copying across the edge of a segment: what truncation cannot learn."""

import functools

import numpy as np

from experiments import fundamentals
from experiments.studies import small_network, weighed_training
from seqmodels.data import memory_tasks
from seqmodels.io import report, study_plot

_KEEPS = (0.8, 0.95)
_KINDS = 4
_FULL, _CHUNKS = "full", f"segments of {weighed_training.WINDOW}"


def copying(study: fundamentals.Study) -> list[report.Row]:
  """One symbol, to be said again past the edge of every segment."""
  page, settings = study.lesson, study.config.settings
  task = memory_tasks.CopyTask(
    lag=settings.copy_lag,
    batch=settings.batch,
    kinds=_KINDS,
    seed=study.config.seed,
  )
  symbols = task.vocabulary_size
  network = small_network.Network("gru", settings.hidden, symbols, symbols)

  def segments(
    start: int, count: int, kind: str, keep: float
  ) -> weighed_training.Weighed:
    drawn = task.segments(start, count)
    return weighed_training.Weighed(
      *drawn,
      weighed_training.factors(study, drawn.inputs.shape, start, kind, keep),
    )

  members = {
    _FULL: ("full", 1.0),
    **{f"randomised, p = {keep:g}": ("keep", keep) for keep in _KEEPS},
    _CHUNKS: ("chunks", 1.0),
  }
  curves, trained = weighed_training.train(
    study,
    network,
    {
      name: functools.partial(segments, kind=kind, keep=keep)
      for name, (kind, keep) in members.items()
    },
    steps=settings.copy_steps,
    losses=weighed_training.weighed_losses,
  )
  rows = weighed_training.scored(
    network,
    trained,
    task.segments(settings.copy_steps, 8),
    split="test",
    prefix=f"copying over {task.lag} steps, ",
  )
  best, cut = rows[0]["value"], rows[-1]["value"]
  survive = {keep: keep**task.lag for keep in _KEEPS}
  page.section(
    "Where a short gradient is not enough",
    f"""
    Text forgives a short gradient. Copying does not: a GRU reads one of
    {task.kinds} symbols, then blanks, and {task.lag} steps later is to say it.
    Nothing within the last segment, of {weighed_training.WINDOW} steps at most,
    tells the symbol. Truncated learning has only the trace of it that the state
    happens to hold, and no derivative says how to hold it better at the time.
    A perplexity of {task.kinds} is chance, 1 is perfect; {settings.copy_steps}
    steps were made.
    """,
  )
  page.table(
    ("strategy", "share of draws in which the path survives", "perplexity"),
    [
      [
        name,
        {"full": "1", "chunks": "0"}.get(kind, f"{survive.get(keep, 1):.2f}"),
        row["value"],
      ]
      for (name, (kind, keep)), row in zip(members.items(), rows, strict=True)
    ],
  )
  learned = [row for row in rows if row["value"] < 0.5 * (1 + task.kinds)]
  page.say(
    f"""
    The full gradient comes to {best:.2f}, segments to {cut:.2f}; {len(learned)}
    of the {len(rows)} are better than half way. Here the randomised kind can
    earn its price: the path of {task.lag} steps survives in a share
    p^{task.lag} of the rows and then counts as much more, so that on average
    the network is taught the right thing, by a teacher who is the noisier the
    smaller p is.
    """
  )
  study_plot.curves(
    page.figure(
      "copying",
      f"Copying one symbol over {task.lag} steps: loss of the answer by step.",
    ),
    f"Copying over {task.lag} steps",
    {
      name: (weighed_training.DISPATCH * (0.5 + np.arange(len(nats))), nats)
      for name, nats in curves.items()
    },
    x="steps",
    y="nats an answer",
    references={"chance": task.chance},
  )
  return rows
