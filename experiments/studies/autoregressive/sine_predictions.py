"""What the models of the noisy sine predict, near and far: part of a study."""

from typing import Any

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import series_figures, sine_models
from seqmodels.data import series_windows
from seqmodels.evaluation import forecasts
from seqmodels.io import results
from seqmodels.models import autoregressive, linear_autoregression

LEAST_SQUARES = sine_models.LEAST_SQUARES


def one_step(
  study: run.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> None:
  """Adds the section on errors one step ahead."""
  settings, page = study.config.settings, study.lesson
  first = sine_models.seen(study)
  page.section("One step ahead")
  table = {}
  for name, entry in fitted.items():
    errors = [
      [
        forecasts.errors_by_step([part], xs, start)[0]
        for part, start in ((_before(ahead[0], first), 0), (ahead[0], first))
      ]
      for xs, ahead in zip(many, entry.ahead, strict=True)
    ]
    train, test = np.mean(errors, axis=0)
    table[name] = (train, test, _afresh(study, entry, many))
  page.table(
    ["model", "weights", "train", "test", "test, from an empty state"],
    [
      [
        name,
        sum(leaf.size for leaf in jax.tree.leaves(fitted[name].params[0])),
        *(f"{value:.4f}" for value in values),
      ]
      for name, values in table.items()
    ],
  )
  best = linear_autoregression.optimum(
    linear_autoregression.sine_autocovariance(noise=settings.noise),
    -np.arange(1, settings.window + 1),
  ).error
  lost = max(table, key=lambda name: table[name][1] - table[name][2])
  page.say(
    f"""
    Mean squared errors, averaged over {settings.series} series. Of all linear
    functions of {settings.window} values the best has {best:.4f}, averaged over
    phases: the noise itself, and {best - settings.noise**2:.4f} for what so few
    noisy values leave unknown. A model that reads further back can do better
    than that, but none below {settings.noise**2:.4f}. One step ahead a window
    model loses little where it never learned: compare train and test.

    A state is not as safe. A recurrent network carries it through all
    {settings.length} steps here, and has learned on stretches of
    {settings.stretch}. For the last column the state is emptied and reads only
    the {settings.stretch} values before the one that is sought. Where that is
    better, the state had wandered to places that it had never seen in training.
    The difference is largest for the {lost}: {table[lost][1]:.4f} against
    {table[lost][2]:.4f}.
    """
  )
  series_figures.predictions(
    page.figure(
      "one_step",
      "Predictions one step ahead of the first series; below, a part enlarged.",
    ),
    many[0],
    {name: fitted[name].ahead[0][0] for name in _drawn(study, fitted, many)},
    first,
    enlarged=(first, first + 120),
  )


def _drawn(
  study: run.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> tuple[str, str]:
  """What is drawn where all models would be too many."""
  return LEAST_SQUARES, sine_models.best_network(study, fitted, many)


def _before(found: forecasts.Forecasts, first: int) -> forecasts.Forecasts:
  inside = found.times < first
  return forecasts.Forecasts(found.times[inside], found.values[inside])


def _afresh(
  study: run.Study, entry: sine_models.Fitted, many: np.ndarray
) -> float:
  """The test error where each prediction has an empty state to begin with."""
  errors, apply = [], jax.jit(entry.model.apply)
  for xs, params in zip(many, entry.params, strict=True):
    pairs = series_windows.windows(xs, study.config.settings.stretch)
    inputs = np.asarray(pairs.features.T, np.float32)
    carry = entry.model.initial_carry(inputs.shape[1])
    found = np.asarray(apply(params, carry, inputs)[1][-1])
    test = pairs.times >= sine_models.seen(study)
    errors.append(np.mean((found - pairs.labels)[test] ** 2))
  return float(np.mean(errors))


def free_run(
  study: run.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> None:
  """Adds the section on models that hear only themselves."""
  page, first = study.lesson, sine_models.seen(study)
  rest = many[:, first:]
  page.section(
    "Left to itself",
    f"""
    Now nothing after step {first} is shown. Each prediction is put in the place
    of the value that it predicted, and from {study.config.settings.window + 1}
    steps on a window holds nothing but the model's own predictions.
    """,
  )
  missed = {
    name: float(np.mean((entry.runs - rest) ** 2))
    for name, entry in fitted.items()
  }
  idle = float(np.mean(rest**2))
  page.table(
    ["model", "mean squared error", "mean square of its last prediction"],
    [
      *(
        [name, missed[name], float(np.mean(entry.runs[:, -1] ** 2))]
        for name, entry in fitted.items()
      ),
      ["always 0", idle, 0.0],
    ],
  )
  series_figures.predictions(
    page.figure("free_run", "Free runs from the dashed line on, first series."),
    many[0],
    {
      name: forecasts.Forecasts(np.arange(first, many.shape[1]), entry.runs[0])
      for name, entry in fitted.items()
    },
    first,
  )
  linear = autoregressive.to_linear(fitted[LEAST_SQUARES].params[0])
  closed = linear.free_run(
    many[0][first - len(linear.weights) : first], rest.shape[1]
  )
  gap = np.abs(closed - fitted[LEAST_SQUARES].runs[0]).max()
  page.say(
    """
    The curves leave the sine within a fraction of a period. For the linear
    model this can be worked out. Its free run is a linear recursion, a power of
    one matrix applied to the last window that was seen:
    """
  )
  page.shown(
    """
    z_{t+1} = C z_t,   z_t = [x_{t-tau+1}, ..., x_t, 1],   z_{t+k} = C^k z_t

          | 0  1  0  0  0 |
          | 0  0  1  0  0 |
    C  =  | 0  0  0  1  0 |      fixed point   b / (1 - w1 - w2 - w3 - w4)
          | w1 w2 w3 w4 b |
          | 0  0  0  0  1 |
    """
  )
  page.say(
    f"""
    For the first series the largest root of C, but for the constant's, has
    modulus {linear.radius:.4f}. Below 1 the run must shrink to the fixed point,
    here {linear.fixed_point:.3f}. Noise is the reason. Where inputs are noisy,
    the weights that miss least on average are a little too small to keep the
    sine up. Powers of C and the simulation above agree within {gap:.1g}.

    Networks have no such formula. What they do when left alone was no part of
    what they were trained for, and small errors one step ahead are no promise:
    {sum(value < idle for value in missed.values())} of the {len(missed)} models
    are better here than to say 0 at every step.
    """
  )


def k_steps(
  study: run.Study,
  fitted: dict[str, sine_models.Fitted],
  many: np.ndarray,
) -> list[results.Row]:
  """Adds the section on errors k steps ahead; returns them as rows."""
  settings, page = study.config.settings, study.lesson
  first = sine_models.seen(study)
  page.section(
    "k steps ahead",
    """
    Between one step and a free run there are k steps: from every place of the
    series the model reads the true values up to it and then k - 1 predictions
    of its own. A prediction made at t belongs to the time t + k, and that is
    where it is drawn; each k has its own shift.
    """,
  )
  rows, body = [], []
  for name, entry in fitted.items():
    line: list[Any] = [name]
    for k in settings.horizons:
      chosen = [ahead[k - 1] for ahead in entry.ahead]
      errors = [
        forecasts.errors_by_step([one], xs, first)[0]
        for one, xs in zip(chosen, many, strict=True)
      ]
      line.append(f"{np.mean(errors):.4f}")
      rows.append(
        results.row(
          f"{name}, k = {k}",
          split="test",
          evaluation="k steps ahead",
          metric="sse",
          value=float(np.mean(errors)),
          unit="mean of squares",
          count=sum(int(np.sum(one.times >= first)) for one in chosen),
          seconds=entry.seconds,
        )
      )
    body.append(line)
  page.table(["model", *(f"k = {k}" for k in settings.horizons)], body)
  page.say(
    f"""
    Mean squared errors over all values of the test, averaged over {len(many)}
    series. The variance of the series itself is 0.5 +
    {settings.noise**2:.2f}: at this level a prediction is no better than to say
    0 always, and beyond it, worse.
    """
  )
  series_figures.horizons(
    page.figure("k_steps", "Predictions k steps ahead, first series."),
    many[0],
    {
      name: {k: fitted[name].ahead[0][k - 1] for k in settings.horizons}
      for name in _drawn(study, fitted, many)
    },
    first,
  )
  return rows
