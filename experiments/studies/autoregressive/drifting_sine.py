"""A sine that does not keep time, by windows and by states: part of a study."""

import time
from typing import Any

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import series_figures
from seqmodels.data import series, series_windows
from seqmodels.evaluation import forecasts
from seqmodels.io import results
from seqmodels.models import (
  autoregressive,
  linear_autoregression,
  state_space,
)
from seqmodels.training import optimizers, series_fitting

_SINE: dict[str, Any] = {"rate": 0.1, "noise": 0.5, "drift": 0.05}
_UNITS = 8
LINEAR = "linear filter"
EXACT = "exact filter"
NETWORK = f"RNN (GRU) of {_UNITS} units"


def add(study: run.Study) -> list[results.Row]:
  """Adds the section to the study's page; returns its rows."""
  settings, page, random = study.config.settings, study.lesson, study.random
  learned = settings.drifting
  xs = series.noisy_sine(
    learned * 3 // 2,
    random=random,
    phase=random.uniform(0, 2 * np.pi),
    **_SINE,
  )
  _told(study)
  rows = []

  def judged(name: str, predicted: np.ndarray, began: float) -> float:
    """The error on the last third, kept as a row."""
    missed = (predicted - xs[-len(predicted) :])[learned - len(xs) :]
    rows.append(
      results.row(
        f"drifting sine, {name}",
        split="test",
        evaluation="one step ahead",
        metric="sse",
        value=float(np.mean(missed**2)),
        unit="mean of squares",
        count=len(missed),
        seconds=time.perf_counter() - began,
      )
    )
    return float(np.mean(missed**2))

  began, model = time.perf_counter(), state_space.rotation(**_SINE)
  states = {LINEAR: judged(LINEAR, model.predictions(xs), began)}
  began = time.perf_counter()
  states[NETWORK] = judged(NETWORK, _recurrent(study, xs[:learned], xs), began)
  began = time.perf_counter()
  exact = state_space.phase_predictions(xs, **_SINE)
  states[EXACT] = judged(EXACT, exact, began)
  covariance = linear_autoregression.sine_autocovariance(**_SINE)
  best, fitted = [], []
  for tau in settings.windows:
    began, pairs = time.perf_counter(), series_windows.windows(xs, tau)
    past, _ = series_windows.split(pairs, learned - tau)
    linear = linear_autoregression.least_squares(past.features, past.labels)
    predicted = linear.predict(pairs.features)
    fitted.append(judged(f"window of {tau}", predicted, began))
    places = -np.arange(1, tau + 1)
    best.append(linear_autoregression.optimum(covariance, places).error)
  page.table(
    ["what is read", "best linear", "on the test"],
    [
      *(
        [f"window of {tau}", f"{best[i]:.4f}", f"{fitted[i]:.4f}"]
        for i, tau in enumerate(settings.windows)
      ),
      *(
        [
          f"everything, {name}",
          f"{model.error:.4f}" if name == LINEAR else "",
          f"{value:.4f}",
        ]
        for name, value in states.items()
      ),
    ],
  )
  least = int(np.argmin(fitted))
  page.say(
    f"""
    Mean squared errors over the last {learned // 2:,} values; windows (least
    squares) and network have learned from the {learned:,} before. No linear
    function of tau values is better than the second column says, which falls
    towards the linear filter's {model.error:.4f}. (Both on average over all
    such series; on one test all errors are a little high or low together.) The
    best of the fitted windows needs {settings.windows[least]} weights and ends
    {fitted[least] - states[LINEAR]:+.4f} from the linear filter, which keeps
    two numbers. The exact filter ends {states[EXACT] - states[LINEAR]:+.4f}
    from it: it knows that the point moves on a circle. The network was told
    neither law nor circle, and ends {states[NETWORK] - states[EXACT]:+.4f} from
    the exact filter.
    """
  )
  series_figures.errors(
    page.figure("drifting_sine", "Windows and states on the drifting sine."),
    "A sine that does not keep time",
    settings.windows,
    {"window, best linear": best, "window, fitted": fitted},
    x="values in the window",
    noise=_SINE["noise"] ** 2,
    levels=states,
  )
  return rows


def _told(study: run.Study) -> None:
  study.lesson.section(
    "The same with numbers",
    f"""
    Now a sine whose phase nobody knows, and which does not keep time: beside
    the {_SINE["rate"]:g} that it turns by in a step, its phase is pushed at
    random (standard deviation {_SINE["drift"]:g}). The noise is
    {_SINE["noise"]:g}, so that a few values say next to nothing. Many do; but
    the older they are, the less they say of the present.
    """,
  )
  study.lesson.shown(
    """
    x_t = sin(rate t + phase_t) + noise e_t,   phase_t = phase_{t-1} + drift d_t
    """
  )
  study.lesson.say(
    """
    The counterpart of the coins' filter is a distribution over the phase,
    turned at every step, blurred by the push, and sharpened by the value that
    is read: the exact filter below. A simpler one, Kalman's, keeps only where
    the turning point is thought to be, two numbers, and corrects them a little
    by every value. It is the best of all that are linear.
    """
  )


def _recurrent(
  study: run.Study, past: np.ndarray, xs: np.ndarray
) -> np.ndarray:
  """Predictions of a small network that has learned from the past."""
  settings = study.config.settings
  length, epochs = settings.drifting_stretch, settings.drifting_epochs
  starts = series_windows.shuffled(
    len(past) - length, batch=16, epochs=epochs, random=study.random
  )
  # The first half of a stretch is there to find the phase.
  segments = series_windows.segments(
    past, starts, length=length, scored=max(1, length // 2)
  )
  model = autoregressive.latent("gru", (_UNITS,))
  rule = optimizers.build(
    "adam",
    learning_rate=0.01,
    schedule="cosine",
    steps=len(starts),
    clip_norm=1.0,
  )
  params = series_fitting.fit_each(
    model,
    rule,
    jax.random.split(jax.random.key(study.config.seed), 1),
    jax.tree.map(lambda leaf: leaf[None], segments),
  )
  params = jax.tree.map(lambda leaf: leaf[0], params)
  return forecasts.one_step(model, params, xs).values
