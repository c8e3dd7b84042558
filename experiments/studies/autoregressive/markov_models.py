"""Chains of symbols: counted, scored, and thought through: part of a study."""

import itertools
import time
from collections.abc import Sequence

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures
from seqmodels import units
from seqmodels.data import series
from seqmodels.io import results
from seqmodels.models import markov, markov_chain

# Tomorrow's weather by today's: dry, cloudy, wet.
_WEATHER = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.4, 0.5]])
_NAMES = ("dry", "cloudy", "wet")


def add(study: run.Study) -> list[results.Row]:
  """Adds the sections to the study's page; returns their rows."""
  rows = _orders(study)
  _sums_over_paths(study)
  return rows


def perplexity_row(
  name: str, nats: float, count: int, seconds: float, *, split: str = "test"
) -> results.Row:
  """A result of a model of symbols.

  Args:
    name: of the model.
    nats: mean nats a symbol.
    count: symbols.
    seconds: of scoring.
    split: what was scored.
  """
  return results.row(
    name,
    split=split,
    evaluation="static",
    metric="perplexity",
    value=units.perplexity(nats, 1),
    count=count,
    seconds=seconds,
  )


def _orders(study: run.Study) -> list[results.Row]:
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section(
    "Markov models of symbols",
    """
    Symbols are not predicted by a number but by a distribution. In a Markov
    model of order k it depends on the last k symbols alone: the window model of
    symbols. Its table is filled by counting:
    """,
  )
  page.shown(
    """
    P(x_1, ..., x_T) = prod_t P(x_t | x_{t-k}, ..., x_{t-1})
    P(b | a) = (n(a b) + eps) / (n(a) + V eps),   a: k symbols, b: the next
    """
  )
  kernel = random.dirichlet(np.full(4, 0.7), size=(4, 4))
  start = markov_chain.stationary(kernel)
  train, test = (
    series.markov_chain(kernel, settings.chain, random=random, initial=start)
    for _ in range(2)
  )
  whole = markov.Markov.fit(train, 4, order=settings.longest_order, epsilon=0.5)
  rows, body = [], []
  for order in range(settings.longest_order + 1):
    began, model = time.perf_counter(), whole.up_to(order)
    scores = [float(model.nats(part).mean()) for part in (train, test)]
    known = markov_chain.entropy_rate(kernel, min(order, 2))
    body.append([order, 4**order, known, *scores])
    rows.append(
      perplexity_row(
        f"Markov chain of order 2, model of order {order}",
        scores[1],
        len(test),
        time.perf_counter() - began,
      )
    )
  page.table(
    ["k", "rows", "true rate", "train", "test"],
    [[*line[:2], *(f"{value:.4f}" for value in line[2:])] for line in body],
  )
  best = int(np.argmin([line[4] for line in body]))
  page.say(
    f"""
    A chain of order 2 over 4 symbols, drawn at random, and models counted in
    {settings.chain:,} symbols of it with eps = 0.5; nats a symbol. The true
    rate is the entropy of the next symbol for who knows the chain and sees k
    symbols. It stops falling at k = 2, because the chain looks no further back.
    The lowest test score is that of k = {best}. Longer contexts are rarer,
    their counts smaller: the score on the training symbols goes on falling,
    that on new ones rises.
    """
  )
  figures.curves(
    page.figure("markov_orders", "Scores of counted models by order."),
    "A chain of order 2",
    {
      name: (range(len(body)), [line[column] for line in body])
      for column, name in ((3, "train"), (4, "test"))
    },
    x="order k of the model",
    y="nats a symbol",
    marks=True,
    references={"entropy rate": body[-1][2]},
  )
  return rows


def _sums_over_paths(study: run.Study) -> None:
  settings, page = study.config.settings, study.lesson
  page.section(
    "Steps on, and the best path",
    """
    What a chain of order 1 will do in n steps is a sum over all that may happen
    on the way, and the sum is a product of matrices. What it will most likely
    do is a maximum over the same ways. Both take V^2 operations a step instead
    of V^n ways.
    """,
  )
  page.shown(
    """
    P(x_{t+2} = c | x_t = a) = sum_b P(c | b) P(b | a),   n steps: P^n
    best(t, b) = max_a best(t - 1, a) P(b | a)            (Viterbi)
    """
  )
  drawn = series.markov_chain(_WEATHER, settings.chain, random=study.random)
  body = []
  for steps in (1, 2, 5, 20):
    now, later = drawn[:-steps], drawn[steps:]
    power = markov_chain.n_step(_WEATHER, steps)
    body.append(
      [
        steps,
        float(power[0, 2]),
        float(np.mean(later[now == 0] == 2)),
        float(power[2, 2]),
        float(np.mean(later[now == 2] == 2)),
      ]
    )
  page.table(
    ["days on", "wet after dry", "counted", "wet after wet", "counted"], body
  )
  # It is wet today; the first day of a path is tomorrow.
  days, wet = 6, _NAMES.index("wet")
  tomorrow = _WEATHER[wet]
  path, log = markov_chain.most_likely(
    tomorrow, _WEATHER, np.zeros((days, len(_NAMES)))
  )
  greedy, today = [], wet
  for _ in range(days):
    today = int(_WEATHER[today].argmax())
    greedy.append(today)
  every = np.array(list(itertools.product(range(3), repeat=days)))
  shares = _shares(tomorrow, every)
  hasty = float(_shares(tomorrow, np.array([greedy]))[0])
  page.say(
    f"""
    An invented climate of dry, cloudy and wet days, and the same counted in
    {settings.chain:,} days of it. After a while today no longer matters: every
    row tends to the shares that the chain keeps for ever, for wet days
    {markov_chain.stationary(_WEATHER)[wet]:.3f}.

    Now it is wet. To take the likeliest next day {days} times over gives
    {_told(greedy)}, of probability {hasty:.4f} together. The likeliest {days}
    days are {_told(path)}, of probability {np.exp(log):.4f}: the best path need
    not begin with the best step. Trying all {len(every)} paths finds
    {_told(every[shares.argmax()])} as well.
    """
  )


def _shares(first: np.ndarray, paths: np.ndarray) -> np.ndarray:
  """The probability of each path [paths, days]."""
  moves = _WEATHER[paths[:, :-1], paths[:, 1:]]
  return first[paths[:, 0]] * moves.prod(axis=1)


def _told(path: Sequence[int] | np.ndarray) -> str:
  """The days in words: "cloudy, then 2 dry".

  >>> _told([1, 0, 0])
  'cloudy, then 2 dry'
  """
  runs = [(day, len(list(same))) for day, same in itertools.groupby(path)]
  return ", then ".join(
    _NAMES[day] if count == 1 else f"{count} {_NAMES[day]}"
    for day, count in runs
  )
