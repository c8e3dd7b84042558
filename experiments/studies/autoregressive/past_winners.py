"""The investor who buys what did best so far: part of a study."""

import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import series_figures
from seqmodels.data import series


def add(study: run.Study) -> None:
  """Adds the section: the best past return says nothing of the next."""
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section(
    "Past winners",
    f"""
    {settings.walks} shares go up and down at random, none better than another:
    the logarithms of their prices are random walks without drift. An investor
    looks back, picks the share that gained most, and holds it for a second
    period of the same length.
    """,
  )
  steps = 50
  gains = []
  for _ in range(settings.repeats):
    walks = series.random_walks(
      settings.walks, 2 * steps, random=random, scale=steps**-0.5
    )
    winner = walks[np.argmax(walks[:, steps])]
    gains.append([winner[steps], winner[-1] - winner[steps]])
  past, future = np.array(gains).T
  scatter = future.std(ddof=1) / len(future) ** 0.5
  page.table(
    ["period", "mean gain of the winner", "standard error"],
    [
      ["first", float(past.mean()), float(past.std(ddof=1) / len(past) ** 0.5)],
      ["second", float(future.mean()), float(scatter)],
    ],
  )
  page.say(
    f"""
    In standard deviations of a share's gain, over {settings.repeats} worlds.
    The winner's past is splendid because it was picked for it; its future is
    {abs(future.mean()) / scatter:.1f} standard errors from nothing. A model
    that is chosen out of many by its score on one stretch of data has the same
    luck behind it, so it must be scored anew on data that had no part in the
    choice.
    """
  )
  series_figures.winners(
    page.figure("winners", "Prices in one such world, the five winners bold."),
    np.exp(0.2 * walks),
    steps,
  )
