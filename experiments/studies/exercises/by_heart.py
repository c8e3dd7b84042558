"""A network that learns a text by heart, and one that learns a language."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.common import figures, training
from experiments.studies.exercises import other_texts
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import api as predictors
from seqmodels.models import language_model
from seqmodels.training import loop, optimizers
from seqmodels.training import step as step_lib

_EVALUATIONS = 16  # points of the curves


class _Learner(NamedTuple):
  """A network and the course of its training.

  Attributes:
    steps: where it was scored, [N].
    known: perplexity of the text that it learns, [N].
    unknown: perplexity of the text it does not see, [N].
    best: weights where the latter was lowest.
    last: weights at the end.
  """

  steps: list[int]
  known: list[float]
  unknown: list[float]
  best: Any
  last: Any


def texts(study: run.Study, others: Mapping[str, str]) -> list[results.Row]:
  """Overfits on purpose, then scores texts by other hands.

  Args:
    study: its page is written on.
    others: those texts, by their names.
  """
  settings = study.config.settings
  tokens = study.tokens("characters")
  symbols = tokens.vocabulary.size
  network = language_model.as_predictor(
    language_model.LanguageModel(
      symbols, (settings.heart_features,), cell="gru"
    )
  )
  train = tokens.splits["train"]
  unseen = np.asarray(tokens.splits["valid"][: settings.unseen])
  known = train[: settings.by_heart]
  optimizer = optimizers.build(
    "adam", learning_rate=settings.heart_rate, clip_norm=1.0
  )
  train_steps = step_lib.make_train_steps(network, optimizer)
  little, much = (
    _learned(
      study,
      network,
      train_steps,
      step_lib.create(
        network, optimizer, batch=settings.batch, seed=study.config.seed
      ),
      ids,
      unseen,
    )
    for ids in (known, train)
  )
  rows = _by_heart(study, little, symbols, len(known), len(unseen))
  names = {
    f"the first {len(known):,} characters, stopped in time": little.best,
    f"the first {len(known):,} characters, by heart": little.last,
    f"all {len(train):,} characters": much.last,
  }
  return rows + other_texts.elsewhere(
    study, network, names, tokens, unseen, others
  )


def _learned(
  study: run.Study,
  network: predictors.Predictor,
  train_steps: step_lib.TrainSteps,
  begun: step_lib.TrainState,
  ids: tokens_lib.Ids,
  unseen: np.ndarray,
) -> _Learner:
  """Trains on a text read in order, scoring it and another on the way."""
  settings = study.config.settings
  text = batching.SequentialStream(
    ids, batch=settings.batch, length=settings.heart_length, training=True
  )
  found, nats, best = _Learner([], [], [], None, None), [], {}

  def report_of(metrics: loop.Report) -> None:
    nats.append((metrics.nats, metrics.scored))

  def evaluate(params: Any, step: int) -> float:
    total = training.held_out(network, params, unseen)
    # What was read since the last time, each segment before it was learned.
    sums = np.sum(nats, axis=0)
    nats.clear()
    found.steps.append(step)
    found.known.append(float(np.exp(sums[0] / sums[1])))
    found.unknown.append(total.perplexity)
    return total.nats_per_symbol

  def improved(params: Any, step: int) -> None:
    del step
    # Copied: the buffers are given to the next step.
    best["params"] = jax.tree.map(np.array, params)

  def interrupted() -> bool:
    study.signals.check()
    return False

  every = max(1, settings.heart_steps // _EVALUATIONS)
  outcome = loop.fit(
    begun,
    loop.Stopping(),
    train_steps,
    loop.Plan(settings.heart_steps, every, every, settings.heart_steps),
    loop.Callbacks(
      lambda start, count: text.segments(start, count),
      report_of,
      evaluate,
      improved,
      lambda state, memory: None,
      interrupted,
    ),
  )
  return found._replace(
    best=best["params"], last=jax.device_get(outcome.state.params)
  )


def _by_heart(
  study: run.Study,
  little: _Learner,
  symbols: int,
  known: int,
  unseen: int,
) -> list[results.Row]:
  """The section, and rows of the end."""
  page, settings = study.lesson, study.config.settings
  # Of one reading; what a row lacks at its end is masked.
  segments = -(-known // settings.batch // settings.heart_length)
  times = settings.heart_steps // max(1, segments)
  page.section(
    "Learning by heart",
    f"""
    What if a network is trained for too long on too little? A GRU of
    {settings.heart_features} units from the library reads the first {known:,}
    characters of the corpus again and again, {times:,} times, in
    {settings.batch} rows whose state is carried on. Beside it stands the
    perplexity of {unseen:,} characters that it never learns from.
    """,
  )
  low = int(np.argmin(little.unknown))
  shown = sorted({0, low, len(little.steps) // 2, len(little.steps) - 1})
  page.table(
    ("steps", "perplexity of the text it learns", "of the unseen text"),
    [
      [f"{little.steps[i]:,}", little.known[i], little.unknown[i]]
      for i in shown
    ],
  )
  above = little.unknown[-1] > symbols
  page.say(
    f"""
    The unseen text is foretold best after {little.steps[low]:,} steps, at
    {little.unknown[low]:.1f}; by the end it has risen to
    {little.unknown[-1]:.1f} while the text itself is down to
    {little.known[-1]:.2f}, where 1 is certainty. {
      f"That is above {symbols}, the perplexity of knowing nothing: who is "
      "sure and wrong does worse than who has no opinion."
      if above
      else f"Knowing nothing would have {symbols}."
    } A training loss alone cannot tell learning from learning by heart. One
    stops at the lowest point of the other curve, or gives the network more
    text.
    """
  )
  figures.curves(
    page.figure(
      "by_heart",
      "Perplexity of the text that is learned, since the mark before, and of "
      "an unseen one, by step.",
    ),
    "Learning by heart",
    {
      "the text it learns": (little.steps, little.known),
      "unseen text": (little.steps, little.unknown),
    },
    x="steps",
    y="perplexity",
    log_y=True,
    marks=True,
    references={"knowing nothing": float(symbols)},
  )
  return [
    results.row(
      f"GRU, {known:,} characters by heart, {settings.heart_steps:,} steps",
      split=split,
      evaluation=evaluation,
      metric="perplexity",
      value=value,
      count=count,
      seconds=0.0,
    )
    for split, evaluation, value, count in (
      ("train", "before each step", little.known[-1], known),
      ("valid", "static", little.unknown[-1], unseen),
    )
  ]
