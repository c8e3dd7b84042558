"""Copying across the edge of a segment: what truncation makes hard."""

import functools

import numpy as np

from experiments.studies import run
from experiments.studies.bptt import weighed_training
from experiments.studies.bptt.weighed_training import Strategy
from experiments.studies.common import figures, small_network
from seqmodels.data import memory_tasks
from seqmodels.data.text import batching
from seqmodels.io import results

_KINDS = 4
_SCORED = 8  # minibatches
_STRATEGIES = (
  Strategy("full", "full"),
  Strategy("randomised, p = 0.95", "random", keep=0.95),
  Strategy("randomised, p = 0.8", "random", keep=0.8),
  Strategy(
    f"segments of {weighed_training.WINDOW}",
    "chunks",
    length=weighed_training.WINDOW,
  ),
)


def copying(study: run.Study) -> list[results.Row]:
  """One symbol, to be said again past the edge of every segment."""
  page, settings = study.lesson, study.config.settings

  @functools.cache
  def task(seed: int) -> memory_tasks.CopyTask:
    return memory_tasks.CopyTask(
      lag=settings.copy_lag, batch=settings.batch, kinds=_KINDS, seed=seed
    )

  def segments(seed: int, start: int, count: int) -> batching.Segment:
    return task(seed).segments(start, count)

  shape = task(study.config.seed)
  symbols = shape.vocabulary_size
  network = small_network.Network("gru", settings.hidden, symbols, symbols)
  found = weighed_training.train(
    study,
    network,
    weighed_training.members_of(study, _STRATEGIES),
    segments,
    steps=settings.copy_steps,
  )
  scores = weighed_training.scored(
    network,
    found,
    lambda seed: segments(seed, settings.copy_steps, _SCORED),
  )
  page.section(
    "Where a short gradient is not enough",
    f"""
    Text forgives a short gradient. Copying does not: a GRU reads one of
    {_KINDS} symbols, then blanks, and {shape.lag} steps later is to say it.
    Nothing within the last segment, of {weighed_training.WINDOW} steps at most,
    tells the symbol. Cut there, the gradient can make more of whatever trace
    the state still holds at the cut; it never says what should have been kept
    before. A perplexity of {_KINDS} is chance, 1 is perfect;
    {settings.copy_steps} steps were made, under {settings.runs} seeds.
    """,
  )
  page.table(
    (
      "strategy",
      "share of rows in which the path survives",
      "perplexity, each run",
      "steps until half of chance",
    ),
    [
      [
        strategy.name,
        _survives(strategy, shape.lag),
        ", ".join(f"{one.perplexity:.3f}" for one in ones),
        ", ".join(
          _halved(one.nats, shape.chance)
          for member, one in found.items()
          if member.strategy == strategy
        ),
      ]
      for strategy, ones in scores.items()
    ],
  )
  page.say(
    f"""
    Here the randomised kind can earn its price. The path of {shape.lag} steps
    survives in a share p^{shape.lag} of the rows and then counts as much more,
    so that on average the network is taught the right thing, by a teacher who
    is the noisier the smaller p is. Where segments get anywhere, they live off
    the trace that an untrained GRU leaves by itself, with its gates half open;
    over a longer lag there is less of it.
    """
  )
  figures.curves(
    page.figure(
      "copying",
      f"Copying one symbol over {shape.lag} steps: loss of the answer by step, "
      "the mean of the runs.",
    ),
    f"Copying over {shape.lag} steps",
    {
      strategy.name: weighed_training.mean_curve(found, strategy)
      for strategy in _STRATEGIES
    },
    x="steps",
    y="nats an answer",
    references={"chance": shape.chance},
  )
  return [
    weighed_training.row(
      f"copying over {shape.lag} steps, {strategy.name}",
      "fresh sequences",
      ones,
    )
    for strategy, ones in scores.items()
  ]


def _halved(nats: np.ndarray, chance: float) -> str:
  """The middle of the first dispatch that went below half of chance."""
  below = np.flatnonzero(nats < chance / 2)
  steps = small_network.middles(len(nats))
  return f"{steps[below[0]]:.0f}" if len(below) else "never"


def _survives(strategy: Strategy, lag: int) -> str:
  if strategy.kind == "random":
    return f"{strategy.keep**lag:.2f}"
  return "1" if strategy.kind == "full" else "0"
