"""The models of the noisy sine, fitted to several series: part of a study."""

import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import run
from seqmodels import errors
from seqmodels.cells import elman
from seqmodels.data import series_windows
from seqmodels.evaluation import forecasts
from seqmodels.models import autoregressive, linear_autoregression
from seqmodels.training import optimizers, series_fitting

LEAST_SQUARES = "linear, least squares"
# Cells of the recurrent networks, by their names on the page.
CELLS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


class Fitted(NamedTuple):
  """A model with its weights for each series, and what it predicts.

  Attributes:
    model: as `autoregressive` makes it.
    params: the weights, one tree a series.
    ahead: the predictions 1, 2, ... steps ahead, for each series.
    runs: the free run after the part to learn from, [series, steps].
    seconds: what predicting took.
  """

  model: autoregressive.Forecaster
  params: list[Any]
  ahead: list[list[forecasts.Forecasts]]
  runs: np.ndarray
  seconds: float


def networks(study: run.Study) -> dict[str, str]:
  """Cells of the networks that the settings name.

  Raises:
    UserError: no network, or one of another name.
  """
  names = study.config.settings.networks
  for name in names or ("",):
    if name not in CELLS:
      raise errors.UserError(
        f"config.settings.networks names {name!r}" + errors.closest(name, CELLS)
      )
  return {name: CELLS[name] for name in names}


def best_network(
  study: run.Study, fitted: dict[str, Fitted], many: np.ndarray
) -> str:
  """That which misses least one step ahead on the test; it is drawn."""

  def missed(name: str) -> float:
    ahead = (found[0] for found in fitted[name].ahead)
    return sum(
      float(forecasts.errors_by_step([one], xs, seen(study))[0])
      for one, xs in zip(ahead, many, strict=True)
    )

  return min(networks(study), key=missed)


def seen(study: run.Study) -> int:
  """How many values of a series may be learned from."""
  return study.config.settings.window + study.config.settings.pairs


def fit(study: run.Study, many: np.ndarray) -> dict[str, Fitted]:
  """All models on all series.

  Args:
    study: whose settings say how.
    many: the series, [series, length].
  """
  settings, tau = study.config.settings, study.config.settings.window
  linear, mlp = (autoregressive.window(tau, hidden) for hidden in ((), (10,)))
  solutions = [autoregressive.of_linear(solved(study, xs)) for xs in many]
  adam = optimizers.build("adam", learning_rate=0.01)
  found = {
    LEAST_SQUARES: _predicted(study, many, linear, solutions),
    "linear, gradient descent": _predicted(
      study, many, linear, descended(study, many)
    ),
    "MLP": _predicted(
      study, many, mlp, learned(study, many, mlp, adam, tau, settings.epochs)
    ),
  }
  length, epochs = settings.stretch, settings.network_epochs
  gentle = optimizers.build(
    "adam",
    learning_rate=0.005,
    schedule="cosine",
    steps=epochs * -(-(seen(study) - length) // settings.batch),
    clip_norm=1.0,
  )
  for name, cell in networks(study).items():
    study.signals.check()
    model = autoregressive.latent(cell, (settings.hidden,))
    params = learned(study, many, model, gentle, length, epochs)
    found[name] = _predicted(study, many, model, params)
  return found


def solved(study: run.Study, xs: np.ndarray) -> linear_autoregression.Linear:
  """The linear model by least squares on the pairs to learn from."""
  settings = study.config.settings
  pairs = series_windows.windows(xs, settings.window)
  past, _ = series_windows.split(pairs, settings.pairs)
  return linear_autoregression.least_squares(past.features, past.labels)


def descended(study: run.Study, many: np.ndarray) -> list[Any]:
  """The linear model's weights by gradient descent, for each series."""
  settings = study.config.settings
  model = autoregressive.window(settings.window)
  rule = optimizers.build("sgd", learning_rate=0.01, momentum=0.0)
  return learned(study, many, model, rule, settings.window, settings.epochs)


def learned(
  study: run.Study,
  many: np.ndarray,
  model: autoregressive.Forecaster,
  rule: optax.GradientTransformation,
  length: int,
  epochs: int,
) -> list[Any]:
  """Weights for each series, from stretches of its part to learn from.

  Args:
    study: whose settings say the rest.
    many: the series, [series, length].
    model: what learns.
    rule: how.
    length: steps of a stretch, each from an empty state.
    epochs: how often a stretch begins at each place.

  Raises:
    UserError: a stretch as long as the part to learn from.
  """
  if length >= seen(study):
    raise errors.UserError(
      f"a stretch of {length} steps and its last target do not fit into the "
      f"{seen(study)} values to learn from; shorten config.settings.stretch or "
      "raise config.settings.pairs"
    )
  # Other numbers than those that the series were drawn from.
  settings, random = study.config.settings, study.random.spawn(1)[0]
  # A window is asked when it is full, and a state when it has read as much.
  scored = max(1, length - settings.window)
  parts = []
  for xs in many:
    starts = series_windows.shuffled(
      seen(study) - length, batch=settings.batch, epochs=epochs, random=random
    )
    parts.append(
      series_windows.segments(xs, starts, length=length, scored=scored)
    )
  segments = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
  keys = jax.random.split(jax.random.key(study.config.seed), len(many))
  params = jax.device_get(series_fitting.fit_each(model, rule, keys, segments))
  return [
    jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(len(many))
  ]


def _predicted(
  study: run.Study,
  many: np.ndarray,
  model: autoregressive.Forecaster,
  params: list[Any],
) -> Fitted:
  # Two at least, that there is a growth to tell of.
  longest = max((2, *study.config.settings.horizons))
  start = time.perf_counter()
  ahead, runs = [], []
  for xs, weights in zip(many, params, strict=True):
    ahead.append(forecasts.k_steps(model, weights, xs, longest))
    part, rest = xs[: seen(study)], len(xs) - seen(study)
    runs.append(forecasts.free_run(model, weights, part, rest))
  spent = time.perf_counter() - start
  return Fitted(model, params, ahead, np.stack(runs), spent)


def shift_register_gap(fitted: Fitted, xs: np.ndarray) -> float:
  """How far a hand-set Elman network is from the linear window model."""
  linear = autoregressive.to_linear(fitted.params[0])
  tau, raised = len(linear.weights), 10.0
  last = np.arange(tau) == tau - 1
  model = autoregressive.latent("elman_relu", (tau,))
  # Unit i hands on to unit i - 1, and the newest value enters the last one.
  layer = elman.ElmanParams(
    kernel=jnp.array(last[None, :], jnp.float32),
    recurrent_kernel=jnp.eye(tau, k=-1),
    bias=jnp.array(raised * last, jnp.float32),
  )
  bias = linear.bias - raised * linear.weights.sum()
  readout = {
    "kernel": jnp.array(linear.weights[:, None], jnp.float32),
    "bias": jnp.full(1, bias, jnp.float32),
  }
  params = {"stack": {"layer_0": layer._asdict()}, "readout": readout}
  theirs = forecasts.one_step(model, params, xs).values[tau - 1 :]
  ours = forecasts.one_step(fitted.model, fitted.params[0], xs).values
  return float(np.abs(theirs - ours).max())
