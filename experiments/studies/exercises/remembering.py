"""Recall, copying and adding over growing lags, learned."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.studies import run
from experiments.studies.common import small_network
from experiments.studies.exercises import memory_training, remembering_figures
from experiments.studies.exercises.memory_training import Member, Trained
from seqmodels.data import memory_tasks
from seqmodels.io import results
from seqmodels.models import finite_language
from seqmodels.training import series_fitting

_RECALLED = 4  # kinds of c
_COPIED, _KINDS = 2, 8  # symbols of a copying sequence, and their kinds

Found = Mapping[Member, Trained]


def recall(study: run.Study) -> list[results.Row]:
  """Trained networks beside the exact one."""
  page, settings = study.lesson, study.config.settings
  fillers = sorted(settings.recall_fillers)
  names = [name for name in _plain(settings) if "LSTM, " not in name]
  found = memory_training.train(
    study,
    [
      Member(
        name,
        memory_tasks.RecallTask(
          fillers=size,
          batch=settings.batch,
          kinds=_RECALLED,
          seed=study.config.seed,
        ),
      )
      for name in names
      for size in fillers
    ],
    inputs=_RECALLED + 1,
    outputs=_RECALLED + 1,
    steps=settings.recall_steps,
    recipe=memory_training.Recipe(settings.rate),
  )
  mine = _by_lag(found)
  optimum = math.log(_RECALLED)
  gaps = {
    name: [_sequence_nats(mine[name, size]) - optimum for size in fillers]
    for name in names
  }
  page.section(
    "Can it be learned?",
    f"""
    What can be represented need not be found by training. Networks of
    {settings.features} units learn the language of c, L fillers and c, with
    {_RECALLED} kinds of c: {settings.recall_steps} steps of Adam at rate
    {settings.rate:g}, {settings.batch} fresh words each. The table has what
    they pay beyond the exact network's ln {_RECALLED} nats a word, over the
    last {2 * small_network.DISPATCH} minibatches, each scored before it is
    learned from. Who counts the fillers and forgets c pays ln {_RECALLED} =
    {optimum:.3f} more.
    """,
  )
  bigram = [
    finite_language.recall_nats(_RECALLED, size, order=2) - optimum
    for size in fillers
  ]
  told = gaps | {"best 2-gram": bigram}
  page.table(
    ("nats a word beyond the exact network", *(f"L = {n}" for n in fillers)),
    [[name, *values] for name, values in told.items()],
  )
  page.say(
    f"""
    {_longest(gaps, fillers, optimum / 2)} Where training fails, a network need
    not be better than one that sees the last symbol alone: the best 2-gram,
    which knows neither c nor how many fillers there were.
    """
  )
  remembering_figures.lines(
    page.figure(
      "recall",
      "What trained networks pay beyond the exact one, by the number of "
      "fillers between c and its return.",
    ),
    "Recall, learned",
    fillers,
    told,
    x="fillers L",
    y="nats a word beyond the exact network",
    references={"c forgotten": optimum},
  )
  return [
    results.row(
      f"{name}, recall over {size} fillers",
      split="fresh words",
      evaluation="before each step",
      metric="nats_per_sequence",
      value=_sequence_nats(mine[name, size]),
      count=mine[name, size][1].scored // mine[name, size][0].task.length,
      seconds=0.0,
    )
    for name in settings.cells
    for size in fillers
  ]


def copying(study: run.Study) -> list[results.Row]:
  """Copying at growing lag, and what the gates have to do with it."""
  page, settings = study.lesson, study.config.settings
  lags = sorted(settings.lags)
  names = (*settings.cells, *settings.changed)
  tasks = [
    memory_tasks.CopyTask(
      lag=lag,
      batch=settings.batch,
      symbols=_COPIED,
      kinds=_KINDS,
      seed=study.config.seed,
    )
    for lag in lags
  ]
  found = memory_training.train(
    study,
    [Member(name, task) for name in names for task in tasks],
    inputs=tasks[0].vocabulary_size,
    outputs=tasks[0].vocabulary_size,
    steps=settings.memory_steps,
    recipe=memory_training.Recipe(settings.rate),
  )
  mine = _by_lag(found)
  chance = math.log(_KINDS)
  nats = {name: [mine[name, lag][1].last for lag in lags] for name in names}
  page.section(
    "Copying over a growing lag",
    f"""
    {_COPIED} symbols of {_KINDS} kinds are read, then blanks, and each is to be
    said `lag` steps after it was read. Nothing else is scored, so chance is ln
    {_KINDS} = {chance:.3f} nats a symbol and 0 is perfect. The training is as
    before. Beside the three cells there are a plain network that starts with a
    rotation for its recurrent weights, an LSTM that starts with its forget gate
    open, and GRUs with one gate taken away: r = 1, or z = 0, held for good. The
    runs are single ones: another seed moves the lag at which learning fails.
    """,
  )
  page.table(
    ("nats a symbol", *(f"lag {lag}" for lag in lags)),
    [[name, *values] for name, values in nats.items()],
  )
  page.say(_longest(nats, lags, chance / 2))
  remembering_figures.lines(
    page.figure(
      "copying",
      "Copying by lag, after the same number of steps. Dashed: the same cell "
      "with another start, or with one gate less.",
    ),
    f"Copying {_COPIED} symbols",
    lags,
    nats,
    x="lag",
    y="nats a symbol",
    references={"chance": chance},
  )
  remembering_figures.reach(
    study, {name: mine[name, max(lags)] for name in settings.cells}
  )
  return [
    results.row(
      f"{name}, copying over {lag} steps",
      split="fresh sequences",
      evaluation="before each step",
      metric="perplexity",
      value=math.exp(mine[name, lag][1].last),
      count=mine[name, lag][1].scored,
      seconds=0.0,
    )
    for name in settings.cells
    for lag in lags
  ]


def adding(study: run.Study) -> list[results.Row]:
  """The adding task at growing length."""
  page, settings = study.lesson, study.config.settings
  lengths = sorted(settings.adding_lengths)
  names = _plain(settings)
  tasks = {
    length: memory_tasks.AddingTask(
      length=length, batch=settings.batch, seed=study.config.seed
    )
    for length in lengths
  }
  found = memory_training.train(
    study,
    [Member(name, task) for name in names for task in tasks.values()],
    inputs=2,
    outputs=1,
    steps=settings.memory_steps,
    recipe=memory_training.Recipe(
      settings.rate, losses=series_fitting.of_values
    ),
  )
  # The objective is half the square.
  errors = {
    name: [2 * found[Member(name, tasks[n])].last for n in lengths]
    for name in names
  }
  chance, half = memory_tasks.AddingTask.chance, memory_tasks.AddingTask.half
  page.section(
    "Adding over a growing length",
    f"""
    Numbers from [0, 1) and marks are read; two are marked, one in each half of
    the sequence, and their sum is to be said at the last step. To answer 1
    always is wrong by 1/6 = {chance:.3f} on average of the square; to know one
    of the two numbers leaves 1/12 = {half:.3f}. The networks and their training
    are as before, {settings.memory_steps} steps.
    """,
  )
  page.table(
    ("mean squared error", *(f"length {n}" for n in lengths)),
    [[name, *values] for name, values in errors.items()],
  )
  page.say(_longest(errors, lengths, half / 2))
  page.say(
    """
    The constructions above show that a single gated unit could do all of these
    exactly, at any length. What stands between a network and that solution is
    the gradient: before anything is learned it has to cross the whole lag once,
    and only what arrives can be improved on.
    """
  )
  remembering_figures.lines(
    page.figure(
      "adding",
      "Adding two marked numbers by the length of the sequence, after the same "
      "number of steps.",
    ),
    "Adding",
    lengths,
    errors,
    x="length",
    y="mean squared error",
    references={"always 1": chance, "one number known": half},
    log_y=True,
  )
  return [
    results.row(
      f"{name}, adding over {length} steps",
      split="fresh sequences",
      evaluation="before each step",
      metric="sse",
      value=error,
      unit="mean squared error",
      count=found[Member(name, tasks[length])].scored,
      seconds=0.0,
    )
    for name in settings.cells
    for length, error in zip(lengths, errors[name], strict=True)
  ]


def _plain(settings: Any) -> list[str]:
  """All but the GRUs with a gate less, which are of interest for copying."""
  names = (*settings.cells, *settings.changed)
  return [name for name in names if "only" not in name]


def _by_lag(found: Found) -> dict[tuple[str, int], tuple[Member, Trained]]:
  """Members by their name and the lag of their task."""
  return {
    (m.entrant, getattr(m.task, "lag", getattr(m.task, "fillers", 0))): (m, one)
    for m, one in found.items()
  }


def _sequence_nats(pair: tuple[Member, Trained]) -> float:
  member, trained = pair
  return trained.last * member.task.length


def _longest(
  values: Mapping[str, Sequence[float]], sizes: Sequence[int], limit: float
) -> str:
  """Who got below a limit, and at which lags."""
  parts = []
  for name, found in values.items():
    done = [str(n) for n, v in zip(sizes, found, strict=True) if v < limit]
    parts.append(f"{name} at {', '.join(done) or 'none'}")
  return f"Below {limit:.3g}, in the time given: {'; '.join(parts)}."
