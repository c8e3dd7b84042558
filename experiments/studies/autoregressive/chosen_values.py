"""Which values to predict from: part of a study."""

import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import series_figures
from seqmodels.data import series, series_windows
from seqmodels.models import linear_autoregression

# Four exponential averages, by what each keeps of itself in a step.
_KEPT = (0.9, 0.95, 0.975, 0.99)
# So many lags hold all but 2e-9 of the slowest average.
_LAGS = 2000


def add(study: run.Study) -> None:
  """Adds the sections to the study's page."""
  random, settings = study.random, study.config.settings
  # Fewer than elsewhere: long windows take long to fit.
  many = [
    series.noisy_sine(settings.length, random=random, noise=settings.noise)
    for _ in range(max(settings.repeats // 4, 2))
  ]
  _window_length(study, many)
  study.signals.check()
  _averages(study)
  study.signals.check()
  _fill_in(study, many)


def _window_length(study: run.Study, many: list[np.ndarray]) -> None:
  settings, page = study.config.settings, study.lesson
  page.section(
    "How many past values?",
    """
    The more values a window holds, the better noise can be averaged away, and
    the more weights there are to be learned from the same few pairs.
    """,
  )
  autocovariance = linear_autoregression.sine_autocovariance(
    noise=settings.noise
  )
  body = []
  for tau in settings.windows:
    best = linear_autoregression.optimum(
      autocovariance, -np.arange(1, tau + 1)
    ).error
    body.append((tau, *_learned(study, many, -np.arange(tau, 0, -1)), best))
  page.table(
    ["tau", "train", "test", "best weights, any data"],
    [[tau, *(f"{value:.4f}" for value in line)] for tau, *line in body],
  )
  taus = [line[0] for line in body]
  chosen = taus[int(np.argmin([line[2] for line in body]))]
  page.say(
    f"""
    Linear models fitted to {settings.pairs} pairs, means over {len(many)}
    series. With boundless data every further value would help, on and on
    towards the noise's {settings.noise**2:.4f}. With {settings.pairs} pairs
    the test error is lowest at tau = {chosen}. The training error
    keeps falling with every weight: it is no guide.
    """
  )
  series_figures.errors(
    page.figure("window_length", "Errors of linear models by window length."),
    "How many past values?",
    taus,
    {
      name: [line[column] for line in body]
      for column, name in ((3, "best weights"), (1, "train"), (2, "test"))
    },
    x="values in the window",
    noise=settings.noise**2,
  )


def _learned(
  study: run.Study, many: list[np.ndarray], positions: np.ndarray
) -> tuple[float, float]:
  """Mean train and test error of least squares on values at `positions`."""
  found = []
  for xs in many:
    pairs = series_windows.neighbours(xs, list(positions))
    found.append(_errors(study, pairs, reach=int(max(positions))))
  train, test = np.mean(found, axis=0)
  return float(train), float(test)


def _errors(
  study: run.Study, pairs: series_windows.Windows, reach: int = 0
) -> tuple[float, float]:
  """Train and test error of least squares on any features.

  Args:
    study: whose settings say how many pairs to learn from.
    pairs: the features.
    reach: steps that they look beyond the label; so many pairs between the
      two parts belong to neither, lest a feature to learn from be a label of
      the test.
  """
  count = min(study.config.settings.pairs, len(pairs.labels) - 1)
  past, future = series_windows.split(pairs, count)
  if reach > 0:
    past, _ = series_windows.split(past, count - reach)
  parts = past, future
  model = linear_autoregression.least_squares(
    parts[0].features, parts[0].labels
  )
  train, test = (
    float(np.mean((model.predict(part.features) - part.labels) ** 2))
    for part in parts
  )
  return train, test


def _averages(study: run.Study) -> None:
  settings, page = study.config.settings, study.lesson
  page.section(
    "Four numbers from a longer past",
    """
    If the model may have four features only, which should they be? Four single
    values, the last or some further apart, or four means, each over a stretch
    of the past?
    """,
  )
  autocovariance = linear_autoregression.sine_autocovariance(
    noise=settings.noise
  )
  lags = np.arange(1, _LAGS + 1)
  kept = np.array(_KEPT)[:, None]
  choices = {
    "the last 4": np.eye(4),
    "every 8th of the last 25": np.eye(25)[::8],
    "means of 2 each over the last 8": _blocks(8),
    "means of 8 each over the last 32": _blocks(32),
    "means of 32 each over the last 128": _blocks(128),
    "exponential averages": (1 - kept) * kept ** (lags - 1),
  }
  # What was before the series, so that all features are full from the start.
  random = study.random
  long = [
    series.noisy_sine(
      _LAGS + settings.length, random=random, noise=settings.noise
    )
    for _ in range(max(settings.repeats // 4, 2))
  ]
  body = []
  for name, mixing in choices.items():
    reach = mixing.shape[1]
    best = linear_autoregression.optimum(
      autocovariance, -lags[:reach], mixing=mixing
    ).error
    found = []
    for xs in long:
      pairs = series_windows.windows(xs[_LAGS - reach :], reach)
      # Windows have the oldest value first, lags the newest.
      mixed = pairs._replace(features=pairs.features @ mixing[:, ::-1].T)
      found.append(_errors(study, mixed)[1])
    body.append([name, f"{best:.4f}", f"{np.mean(found):.4f}"])
  page.table(["features", "best weights", "learned, test"], body)
  page.say(
    f"""
    Means win and strides lose. Values further apart tell the model no more
    about the noise than neighbours do, and less about the present. A mean over
    m values has only 1/m of the noise's variance. The exponential averages
    ({", ".join(f"{a:g}" for a in _KEPT)} kept a step) reach furthest back and
    come closest to {settings.noise**2:.4f}. Recurrent networks can learn such
    averages: each is one number, updated at every step.
    """
  )


def _blocks(reach: int) -> np.ndarray:
  """Four means over equal stretches of the last `reach` values."""
  return np.kron(np.eye(4), np.full((1, reach // 4), 4 / reach))


def _fill_in(study: run.Study, many: list[np.ndarray]) -> None:
  settings, page = study.config.settings, study.lesson
  page.section(
    "Between known values, or beyond them",
    """
    A value k steps from the nearest known one can be beyond all of them, or
    have known ones on either side. Both times four values are used:
    """,
  )
  page.shown(
    """
    forecast   x_{t-k-3}, x_{t-k-2}, x_{t-k-1}, x_{t-k}  -> x_t
    fill in    x_{t-k-1}, x_{t-k}, x_{t+k}, x_{t+k+1}    -> x_t
    """
  )
  autocovariance = linear_autoregression.sine_autocovariance(
    noise=settings.noise
  )
  ways = {
    "forecast": lambda k: np.arange(-k - 3, -k + 1),
    "fill in": lambda k: np.array([-k - 1, -k, k, k + 1]),
  }
  ks = 2 ** np.arange(int(np.log2(max(settings.horizons))) + 1)
  best = {
    name: [
      linear_autoregression.optimum(autocovariance, way(k)).error for k in ks
    ]
    for name, way in ways.items()
  }
  found = {
    name: [_learned(study, many, way(k))[1] for k in ks]
    for name, way in ways.items()
  }
  page.table(
    ["k", *(f"{name}, {kind}" for name in ways for kind in ("best", "test"))],
    [
      [
        int(k),
        *(f"{part[name][i]:.4f}" for name in ways for part in (best, found)),
      ]
      for i, k in enumerate(ks)
    ],
  )
  page.say(
    f"""
    At k = {ks[-1]} the best forecast misses by {best["forecast"][-1]:.3f}, the
    best interpolation by {best["fill in"][-1]:.3f}. Beyond the known values
    every error grows with the distance; between them both sides hold the
    guess in place. Whoever judges a model by filling in gaps will think too
    well of its forecasts.
    """
  )
  series_figures.errors(
    page.figure(
      "fill_in",
      "Best possible errors (lines), and those of fitted models on the test "
      "(marks).",
    ),
    "Forecasts and interpolations",
    ks,
    best,
    x="distance to the nearest known value, k",
    noise=settings.noise**2,
    marks=found,
  )
