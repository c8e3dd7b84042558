"""Predicting the next value: windows and states, one step and many.

`task_shapes` tells which problems there are. The noisy sine comes first:
`sine_models` fits, `sine_predictions` and `sine_theory` ask how far ahead,
`chosen_values` from what. From `markov_models` on, it is about symbols, and in
`hidden_chains` and `drifting_sine` about what no window holds.
"""

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import (
  chosen_values,
  drifting_sine,
  hidden_chains,
  markov_models,
  past_winners,
  reading_order,
  series_figures,
  sine_models,
  sine_predictions,
  sine_theory,
  task_shapes,
  total_probability,
)
from experiments.studies.common import page as page_lib
from seqmodels.data import series
from seqmodels.io import results


def run(study: run_lib.Study) -> list[results.Row]:
  """Runs the study.

  Args:
    study: its settings are those of `configs.fundamentals.AUTOREGRESSIVE`.
  """
  settings, page = study.config.settings, study.lesson
  random = study.random
  many = np.stack(
    [
      series.noisy_sine(settings.length, random=random, noise=settings.noise)
      for _ in range(settings.series)
    ]
  )
  # First, so that settings that do not fit are refused at once.
  fitted = sine_models.fit(study, many)
  _introduction(page)
  task_shapes.add(study)
  study.signals.check()
  _data(study, many[0])
  _models(study, fitted, many)
  sine_predictions.one_step(study, fitted, many)
  sine_predictions.free_run(study, fitted, many)
  rows = sine_predictions.k_steps(study, fitted, many)
  study.signals.check()
  sine_theory.linear_errors(study)
  sine_theory.accumulation(study, fitted, many)
  study.signals.check()
  sine_theory.without_noise(study)
  chosen_values.add(study)
  past_winners.add(study)
  study.signals.check()
  for chapter in (markov_models, reading_order, hidden_chains, drifting_sine):
    rows += chapter.add(study)
    study.signals.check()
  total_probability.add(study)
  return rows


def _introduction(page: page_lib.Lesson) -> None:
  page.say(
    """
    A sequence model says what comes next. Given all that was seen so far it
    names the next value, or a distribution over the next symbol. This page
    builds such models for a series of numbers, then for chains of symbols, and
    asks of each how far ahead it can see.

    Whole sequences are drawn independently of one another; the steps inside one
    are not. The probability of a sequence is always a product of predictions,
    whatever the model:
    """
  )
  page.shown(
    """
    P(x_1, ..., x_T) = P(x_1) P(x_2 | x_1) P(x_3 | x_1, x_2) ...
                     = prod_t P(x_t | x_1, ..., x_{t-1})
    """
  )


def _data(study: run_lib.Study, first: np.ndarray) -> None:
  settings, page = study.config.settings, study.lesson
  seen = sine_models.seen(study)
  page.section("A noisy sine")
  page.shown("x_t = sin(0.01 t) + noise * e_t,    e_t ~ N(0, 1) independent")
  clean = series.noisy_sine(settings.length, random=study.random, noise=0.0)
  page.say(
    f"""
    {settings.length} values with noise {settings.noise}: about
    {settings.length * 0.01 / (2 * np.pi):.1f} periods. No model can predict the
    noise of the next value, so no mean squared error below its variance
    {settings.noise**2:.4f} is to be had, except by luck. In the series drawn
    below the variance around the clean sine is
    {np.mean((first - clean) ** 2):.4f}.

    The first {seen} values are there to learn from; all later ones are the
    test. A series must be cut in time. Windows may be drawn from it at random,
    because the law behind it does not change with time (that is what
    *stationary* means), but a model must never learn from values later than
    those that it is judged on.
    """
  )
  series_figures.noisy_series(
    page.figure("series", "The series, and the sine inside it."),
    first,
    clean,
    seen,
  )


def _models(
  study: run_lib.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> None:
  settings, page = study.config.settings, study.lesson
  gap = sine_models.shift_register_gap(
    fitted[sine_models.LEAST_SQUARES], many[0]
  )
  page.section("A window, or a state")
  page.shown(
    """
    window of tau     x^_{t+1} = f(x_{t-tau+1}, ..., x_t)
    latent            h_t = g(h_{t-1}, x_t),    x^_{t+1} = o(h_t)
    """
  )
  page.say(
    f"""
    A window model forgets all but the last tau values; here tau is
    {settings.window}. A latent model folds each value into a state h of fixed
    size and may keep what it likes. Throughout this project the state after
    reading x_t predicts x_{{t+1}}.

    The two are closer than they look: a window is the state of a latent model
    whose g is a shift register. It can even be built from a recurrent cell of
    this library. Give an Elman cell with rectifiers {settings.window} units,
    let the newest value enter the last of them and each unit hand its content
    to the one before, and let the readout be the linear model's weights.
    (Values are raised by 10 on entry, and lowered again in the readout, so that
    the rectifiers never cut.) On the series above its predictions differ from
    the window model's by at most {gap:.1g}: float32 rounding.

    What was trained, on each of {settings.series} series of its own: the linear
    model by least squares and by {settings.epochs} epochs of gradient descent
    (rate 0.01, minibatches of {settings.batch}); an MLP with 10 rectifiers over
    the same window (Adam, {settings.epochs} epochs); networks of
    {settings.hidden} recurrent units ({", ".join(settings.networks)}; the RNN
    is Elman's) on stretches of {settings.stretch} steps (Adam,
    {settings.network_epochs} epochs). A stretch begins with an empty state, and
    its first {settings.window} predictions do not count.
    """
  )
