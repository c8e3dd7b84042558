"""What theory says of predicting a sine: part of a study."""

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import series_figures, sine_models
from seqmodels.data import series, series_windows
from seqmodels.evaluation import forecasts
from seqmodels.models import autoregressive, linear_autoregression

LEAST_SQUARES = sine_models.LEAST_SQUARES
_RATE = 0.01


def linear_errors(study: run_lib.Study) -> None:
  """Adds the linear model's errors over many series, and the best there are."""
  settings, page = study.config.settings, study.lesson
  tau, random = settings.window, study.random
  many = np.stack(
    [
      series.noisy_sine(settings.length, random=random, noise=settings.noise)
      for _ in range(settings.repeats)
    ]
  )
  solved = [sine_models.solved(study, xs) for xs in many]
  descended = [
    autoregressive.to_linear(params)
    for params in sine_models.descended(study, many)
  ]
  autocovariance = linear_autoregression.sine_autocovariance(
    rate=_RATE, noise=settings.noise
  )
  best = linear_autoregression.Linear(
    linear_autoregression.optimum(
      autocovariance, -np.arange(tau, 0, -1)
    ).weights
  )
  body = []
  for k in settings.horizons:
    places, ahead = -np.arange(k + tau - 1, k - 1, -1), best.ahead(k)
    values = (
      *(_mean_error(models, many, k) for models in (descended, solved)),
      linear_autoregression.error_of(autocovariance, places, ahead.weights),
      linear_autoregression.optimum(autocovariance, places).error,
    )
    gain = linear_autoregression.gain(ahead.weights, _RATE)
    body.append([k, *(f"{value:.4f}" for value in values), gain])
  page.table(
    [
      "k",
      "gradient descent",
      "least squares",
      "best weights, iterated",
      "best weights for this k",
      "height let through",
    ],
    body,
  )
  page.say(
    f"""
    The linear model again, over {settings.repeats} series and the whole of
    each, and beside it what theory says. For a sine of random phase the
    autocovariance is known, and with it the best weights of all. Iterating the
    best model for one step is not the best that can be done for k: a model
    fitted to skip k steps at once is better. The last column is the share of
    the sine's height that the iterated model lets through; the missing part is
    why its curves for large k are flat.
    """
  )


def _mean_error(
  models: list[linear_autoregression.Linear], many: np.ndarray, k: int
) -> float:
  errors = []
  for xs, model in zip(many, models, strict=True):
    pairs = series_windows.windows(xs, len(model.weights), ahead=k)
    missed = model.ahead(k).predict(pairs.features) - pairs.labels
    errors.append(np.mean(missed**2))
  return float(np.mean(errors))


def accumulation(
  study: run_lib.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> None:
  """Adds the section on how errors grow, and by what law."""
  settings, page = study.config.settings, study.lesson
  page.section(
    "How errors pile up",
    """
    Suppose each step adds an error e of its own, and hands on the error of its
    input multiplied by c, all with the same sign:
    """,
  )
  page.shown(
    """
    eps_1 = e,   eps_k = e + c eps_{k-1}    =>    eps_k = e (1 - c^k) / (1 - c)
    """
  )
  ks = np.arange(1, max((2, *settings.horizons)) + 1)
  curves = {}
  for name, entry in fitted.items():
    squares = np.mean(
      [
        forecasts.errors_by_step(ahead, xs, sine_models.seen(study))
        for ahead, xs in zip(entry.ahead, many, strict=True)
      ],
      axis=0,
    )
    # What is left of it without the noise that no one can predict.
    curves[name] = np.sqrt(np.maximum(squares - settings.noise**2, 1e-4))
  unit = float(curves[LEAST_SQUARES][0])
  series_figures.growth(
    page.figure(
      "error_growth",
      "Root mean squared errors beyond the noise, by steps ahead; in grey, the "
      "recursion for three values of c.",
    ),
    ks,
    curves,
    {
      f"c = {c:g}": linear_autoregression.accumulated_error(unit, c, ks)
      for c in (0.5, 1.0, 1.1)
    },
    {"always 0": float(np.sqrt(0.5))},
  )
  rising = {
    name: 100 * float(np.mean(np.diff(curve) > 0))
    for name, curve in curves.items()
  }
  best = sine_models.best_network(study, fitted, many)
  page.say(
    f"""
    With c below 1 the error levels out at e / (1 - c), with c = 1 it grows like
    k, above 1 geometrically. The figure has these three as grey lines that
    start from the linear model's error of one step, and the models' errors in
    colour, without the noise's share. Errors do rise with the steps: for
    least squares {rising[LEAST_SQUARES]:.0f} % of the steps raise the error,
    for the {best} {rising[best]:.0f} %. But they do not rise as fast as c = 1
    would have it, the worst case, in which all errors pull the same way.
    """
  )


def without_noise(study: run_lib.Study) -> None:
  """Adds the section on the series that two values determine."""
  settings, page = study.config.settings, study.lesson
  page.section("Without noise two values are enough")
  page.shown("sin(a t) = 2 cos(a) sin(a (t - 1)) - sin(a (t - 2))")
  xs = series.noisy_sine(settings.length, random=study.random, noise=0.0)
  pairs = series_windows.windows(xs, 2)
  past, _ = series_windows.split(pairs, settings.pairs)
  model = linear_autoregression.least_squares(past.features, past.labels)
  first = settings.pairs + 2
  run = model.free_run(xs[first - 2 : first], len(xs) - first)
  page.say(
    f"""
    Of a sine without noise each value is exactly this function of the two
    before it, whatever the phase. Least squares finds the weights
    {model.weights[1]:.6f} and {model.weights[0]:.6f} (theory:
    {2 * np.cos(0.01):.6f} and -1), and misses no value of the whole series by
    more than {np.abs(model.predict(pairs.features) - pairs.labels).max():.1g}.
    The largest root has modulus {model.radius:.9f}: the free run does not
    decay. Over {len(run)} steps it strays from the sine by no more than
    {np.abs(run - xs[first:]).max():.1g}. What ruins the free run of the noisy
    series is the noise, not the linear model.
    """
  )
