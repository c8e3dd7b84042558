"""A noisy sine: predicted one step and many steps ahead."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import run
from experiments.studies import run as run_lib
from experiments.studies.autoregressive import data, models
from experiments.studies.autoregressive import models as models_lib
from experiments.studies.common import series_fitting
from seqmodels import errors
from seqmodels.cells import elman
from seqmodels.io import results
from seqmodels.plotting import style as style_lib
from seqmodels.training import optimizers

_DATA = "#B9B9B9"


def noisy_series(
  path: style_lib.Path, xs: np.ndarray, clean: np.ndarray, first: int
) -> None:
  """A series with the curve inside it; the test begins at position `first`."""
  with style_lib.axes(path, "A sine with noise", height=3.2) as pair:
    places = np.arange(1, len(xs) + 1)
    pair.plot(places, xs, color=style_lib.COLOURS[0], lw=0.7, label="series")
    pair.plot(places, clean, color=style_lib.COLOURS[1], lw=1.6, label="sine")
    _part(pair, first, named=True)
    pair.set_xlabel("time")
    pair.set_ylabel("x")
    _legend(pair)


def predictions(
  path: style_lib.Path,
  xs: np.ndarray,
  drawn: Mapping[str, models.Forecasts],
  first: int,
  *,
  enlarged: tuple[int, int] | None = None,
) -> None:
  """A series in grey, and predictions of it; a part of it once more below."""
  views = [(0, len(xs))] + ([enlarged] if enlarged else [])
  with style_lib.figure(path, height=0.6 + 2.8 * len(views)) as drawing:
    pairs = drawing.subplots(len(views), 1, squeeze=False)[:, 0]
    for pair, (start, stop) in zip(pairs, views, strict=True):
      style_lib.clean(pair)
      _data(pair, xs[start:stop], start)
      for colour, (name, (times, values)) in zip(
        style_lib.COLOURS, drawn.items(), strict=False
      ):
        inside = (times >= start) & (times < stop)
        pair.plot(
          times[inside] + 1, values[inside], color=colour, lw=1.3, label=name
        )
      if start < first:
        _part(pair, first)
      pair.set_ylabel("x")
    pairs[-1].set_xlabel("time")
    _legend(pairs[0])


def horizons(
  path: style_lib.Path,
  xs: np.ndarray,
  drawn: Mapping[str, Mapping[int, models.Forecasts]],
  first: int,
) -> None:
  """For each model a panel with one curve for each k."""
  with style_lib.figure(path, height=2.6 * len(drawn)) as drawing:
    pairs = drawing.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for pair, (name, curves) in zip(pairs, drawn.items(), strict=True):
      style_lib.clean(pair)
      _data(pair, xs)
      for colour, (k, (times, values)) in zip(
        style_lib.COLOURS, curves.items(), strict=False
      ):
        pair.plot(times + 1, values, color=colour, lw=1.4, label=f"k = {k}")
      _part(pair, first)
      pair.set_title(name, fontsize=10)
      pair.set_ylabel("x")
    pairs[-1].set_xlabel("time that is predicted")
    _legend(pairs[0])


def growth(
  path: style_lib.Path,
  ks: np.ndarray,
  curves: Mapping[str, np.ndarray],
  laws: Mapping[str, np.ndarray],
  levels: Mapping[str, float],
) -> None:
  """Errors by steps ahead, with the laws that they might follow in grey."""
  with style_lib.axes(path, "Errors pile up with the steps") as pair:
    top = 2 * max(levels.values())
    for name, values in laws.items():
      pair.plot(ks, values, color=style_lib.GREY, lw=1.0, zorder=1)
      # Beside the line where it ends or leaves the axes.
      inside = np.flatnonzero(values < 0.85 * top)
      last = inside[-1] if len(inside) else 0
      _note(pair, name, (ks[last], values[last]), "right", "bottom")
    for name, level in levels.items():
      pair.axhline(level, color=style_lib.GREY, lw=1.0, ls="--", zorder=1)
      _note(pair, name, (ks[0], level), "left", "bottom")
    for colour, (name, values) in zip(
      style_lib.COLOURS, curves.items(), strict=False
    ):
      pair.plot(ks, values, color=colour, lw=1.7, label=name)
    pair.set_yscale("log")
    pair.set_ylim(0.7 * min(c.min() for c in curves.values()), top)
    pair.set_xlabel("steps ahead, k")
    pair.set_ylabel("root mean squared error, without the noise")
    pair.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _doubling(pair)
    _legend(pair)


def draw_errors(
  path: style_lib.Path,
  title: str,
  places: Sequence[int] | np.ndarray,
  curves: Mapping[str, Sequence[float]],
  *,
  x: str,
  noise: float,
  marks: Mapping[str, Sequence[float]] | None = None,
  levels: Mapping[str, float] | None = None,
) -> None:
  """Mean squared errors over places that double, above the noise's.

  Args:
    path: the PNG to write.
    title: above the axes.
    places: of all values.
    curves: values by name.
    x: label of the places.
    noise: the floor.
    marks: values by the name of the curve whose colour they have; without any,
      the curves themselves are marked.
    levels: of models that have no such place, by name.
  """
  with style_lib.axes(path, title, height=3.8) as pair:
    for colour, (name, values) in zip(
      style_lib.COLOURS, curves.items(), strict=False
    ):
      style = "o-" if marks is None else "-"
      pair.plot(places, values, style, ms=3.5, lw=1.6, color=colour, label=name)
      if marks is not None:
        pair.plot(
          places, marks[name], "o", ms=5, color=colour, label=f"{name}, learned"
        )
    pair.axhline(noise, color=style_lib.GREY, lw=1.0, ls="--", zorder=1)
    _note(pair, "noise", (places[0], noise), "left", "top")
    style_lib.references(pair, levels or {})
    lowest = min(noise, *(min(values) for values in curves.values()))
    pair.set_ylim(bottom=0.7 * lowest)
    pair.set_xlabel(x)
    pair.set_ylabel("mean squared error")
    _doubling(pair)
    _legend(pair)


def _note(
  pair: Any, text: str, place: tuple[float, float], side: str, edge: str
) -> None:
  """Small grey words in the axes."""
  pair.annotate(
    text, place, ha=side, va=edge, fontsize=8, color=style_lib.GREY, zorder=1
  )


def _doubling(pair: Any) -> None:
  """An axis on which places double, with their numbers written out."""
  pair.set_xscale("log", base=2)
  pair.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _data(pair: Any, xs: np.ndarray, start: int = 0) -> None:
  places = np.arange(start + 1, start + 1 + len(xs))
  pair.plot(places, xs, color=_DATA, lw=0.7, label="series", zorder=1)


def _part(pair: Any, first: int, *, named: bool = False) -> None:
  """A dashed line between what was learned from and the test."""
  pair.axvline(first + 0.5, color=style_lib.GREY, lw=1.1, ls="--")
  if named:
    top = pair.get_ylim()[1]
    for shift, side, text in (
      (-8, "right", "to learn from"),
      (8, "left", "test"),
    ):
      _note(pair, text, (first + 0.5 + shift, top), side, "top")


def _legend(pair: Any) -> None:
  pair.legend(
    frameon=False,
    fontsize=8,
    loc="upper left",
    bbox_to_anchor=(1.0, 1.0),
  )


def winners(path: style_lib.Path, prices: np.ndarray, steps: int) -> None:
  """Prices [walks, times], the five best at `steps` in colour."""
  order = np.argsort(prices[:, steps])
  with style_lib.axes(path, "Past winners", height=3.6) as pair:
    shown = order[:: max(1, len(order) // 80)]
    pair.plot(prices[shown].T, color=_DATA, lw=0.5, zorder=1)
    for colour, row in zip(style_lib.COLOURS, order[:-6:-1], strict=False):
      pair.plot(prices[row], color=colour, lw=1.6)
    pair.axvline(steps, color=style_lib.GREY, lw=1.1, ls="--")
    top = pair.get_ylim()[1]
    for shift, side, text in (
      (-0.8, "right", "picked by this"),
      (0.8, "left", "and then"),
    ):
      _note(pair, text, (steps + shift, top), side, "top")
    pair.set_xlabel("time")
    pair.set_ylabel("price, 1 at the start")


def residuals(
  path: style_lib.Path, drawn: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
  """Errors against what they were predicted from, a panel each."""
  with style_lib.figure(path, height=3.2) as drawing:
    pairs = drawing.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for pair, (name, (given, missed)) in zip(pairs, drawn.items(), strict=True):
      style_lib.clean(pair)
      pair.plot(
        given,
        missed,
        ".",
        ms=2.5,
        alpha=0.35,
        color=style_lib.COLOURS[0],
        mew=0,
      )
      pair.set_title(name, fontsize=10)
      pair.set_xlabel("value that is given")
    pairs[0].set_ylabel("error of the prediction")


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

  model: models.Forecaster
  params: list[Any]
  ahead: list[list[models.Forecasts]]
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
      float(models.errors_by_step([one], xs, seen(study))[0])
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
  linear, mlp = (models.window(tau, hidden) for hidden in ((), (10,)))
  solutions = [models.of_linear(solved(study, xs)) for xs in many]
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
    model = models.latent(cell, (settings.hidden,))
    params = learned(study, many, model, gentle, length, epochs)
    found[name] = _predicted(study, many, model, params)
  return found


def solved(study: run.Study, xs: np.ndarray) -> models.Linear:
  """The linear model by least squares on the pairs to learn from."""
  settings = study.config.settings
  pairs = data.windows(xs, settings.window)
  past, _ = data.split(pairs, settings.pairs)
  return models.least_squares(past.features, past.labels)


def descended(study: run.Study, many: np.ndarray) -> list[Any]:
  """The linear model's weights by gradient descent, for each series."""
  settings = study.config.settings
  model = models.window(settings.window)
  rule = optimizers.build("sgd", learning_rate=0.01, momentum=0.0)
  return learned(study, many, model, rule, settings.window, settings.epochs)


def learned(
  study: run.Study,
  many: np.ndarray,
  model: models.Forecaster,
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
    starts = data.shuffled(
      seen(study) - length, batch=settings.batch, epochs=epochs, random=random
    )
    parts.append(data.segments(xs, starts, length=length, scored=scored))
  segments = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
  keys = jax.random.split(jax.random.key(study.config.seed), len(many))
  params = jax.device_get(series_fitting.fit_each(model, rule, keys, segments))
  return [
    jax.tree.map(lambda leaf, i=i: leaf[i], params) for i in range(len(many))
  ]


def _predicted(
  study: run.Study,
  many: np.ndarray,
  model: models.Forecaster,
  params: list[Any],
) -> Fitted:
  # Two at least, that there is a growth to tell of.
  longest = max((2, *study.config.settings.horizons))
  start = time.perf_counter()
  ahead, runs = [], []
  for xs, weights in zip(many, params, strict=True):
    ahead.append(models.k_steps(model, weights, xs, longest))
    part, rest = xs[: seen(study)], len(xs) - seen(study)
    runs.append(models.free_run(model, weights, part, rest))
  spent = time.perf_counter() - start
  return Fitted(model, params, ahead, np.stack(runs), spent)


def shift_register_gap(fitted: Fitted, xs: np.ndarray) -> float:
  """How far a hand-set Elman network is from the linear window model."""
  linear = models.to_linear(fitted.params[0])
  tau, raised = len(linear.weights), 10.0
  last = np.arange(tau) == tau - 1
  model = models.latent("elman_relu", (tau,))
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
  theirs = models.one_step(model, params, xs).values[tau - 1 :]
  ours = models.one_step(fitted.model, fitted.params[0], xs).values
  return float(np.abs(theirs - ours).max())


_RATE = 0.01


def linear_errors(study: run_lib.Study) -> None:
  """Adds the linear model's errors over many series, and the best there are."""
  settings, page = study.config.settings, study.lesson
  tau, random = settings.window, study.random
  many = np.stack(
    [
      data.noisy_sine(settings.length, random=random, noise=settings.noise)
      for _ in range(settings.repeats)
    ]
  )
  solution = [solved(study, xs) for xs in many]
  descent = [models_lib.to_linear(params) for params in descended(study, many)]
  autocovariance = models_lib.sine_autocovariance(
    rate=_RATE, noise=settings.noise
  )
  best = models_lib.Linear(
    models_lib.optimum(autocovariance, -np.arange(tau, 0, -1)).weights
  )
  body = []
  for k in settings.horizons:
    places, ahead = -np.arange(k + tau - 1, k - 1, -1), best.ahead(k)
    values = (
      *(_mean_error(models, many, k) for models in (descent, solution)),
      models_lib.error_of(autocovariance, places, ahead.weights),
      models_lib.optimum(autocovariance, places).error,
    )
    gain = models_lib.gain(ahead.weights, _RATE)
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
  models: list[models_lib.Linear], many: np.ndarray, k: int
) -> float:
  errors = []
  for xs, model in zip(many, models, strict=True):
    pairs = data.windows(xs, len(model.weights), ahead=k)
    missed = model.ahead(k).predict(pairs.features) - pairs.labels
    errors.append(np.mean(missed**2))
  return float(np.mean(errors))


def accumulation(
  study: run_lib.Study,
  fitted: dict[str, Fitted],
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
        models_lib.errors_by_step(ahead, xs, seen(study))
        for ahead, xs in zip(entry.ahead, many, strict=True)
      ],
      axis=0,
    )
    # What is left of it without the noise that no one can predict.
    curves[name] = np.sqrt(np.maximum(squares - settings.noise**2, 1e-4))
  unit = float(curves[LEAST_SQUARES][0])
  growth(
    page.figure(
      "error_growth",
      "Root mean squared errors beyond the noise, by steps ahead; in grey, the "
      "recursion for three values of c.",
    ),
    ks,
    curves,
    {
      f"c = {c:g}": models_lib.accumulated_error(unit, c, ks)
      for c in (0.5, 1.0, 1.1)
    },
    {"always 0": float(np.sqrt(0.5))},
  )
  rising = {
    name: 100 * float(np.mean(np.diff(curve) > 0))
    for name, curve in curves.items()
  }
  best = best_network(study, fitted, many)
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
  xs = data.noisy_sine(settings.length, random=study.random, noise=0.0)
  pairs = data.windows(xs, 2)
  past, _ = data.split(pairs, settings.pairs)
  model = models_lib.least_squares(past.features, past.labels)
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


def one_step(
  study: run.Study,
  fitted: dict[str, Fitted],
  many: np.ndarray,
) -> None:
  """Adds the section on errors one step ahead."""
  settings, page = study.config.settings, study.lesson
  first = seen(study)
  page.section("One step ahead")
  table = {}
  for name, entry in fitted.items():
    errors = [
      [
        models.errors_by_step([part], xs, start)[0]
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
  best = models.optimum(
    models.sine_autocovariance(noise=settings.noise),
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
  predictions(
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
  fitted: dict[str, Fitted],
  many: np.ndarray,
) -> tuple[str, str]:
  """What is drawn where all models would be too many."""
  return LEAST_SQUARES, best_network(study, fitted, many)


def _before(found: models.Forecasts, first: int) -> models.Forecasts:
  inside = found.times < first
  return models.Forecasts(found.times[inside], found.values[inside])


def _afresh(study: run.Study, entry: Fitted, many: np.ndarray) -> float:
  """The test error where each prediction has an empty state to begin with."""
  errors, apply = [], jax.jit(entry.model.apply)
  for xs, params in zip(many, entry.params, strict=True):
    pairs = data.windows(xs, study.config.settings.stretch)
    inputs = np.asarray(pairs.features.T, np.float32)
    carry = entry.model.initial_carry(inputs.shape[1])
    found = np.asarray(apply(params, carry, inputs)[1][-1])
    test = pairs.times >= seen(study)
    errors.append(np.mean((found - pairs.labels)[test] ** 2))
  return float(np.mean(errors))


def free_run(
  study: run.Study,
  fitted: dict[str, Fitted],
  many: np.ndarray,
) -> None:
  """Adds the section on models that hear only themselves."""
  page, first = study.lesson, seen(study)
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
  predictions(
    page.figure("free_run", "Free runs from the dashed line on, first series."),
    many[0],
    {
      name: models.Forecasts(np.arange(first, many.shape[1]), entry.runs[0])
      for name, entry in fitted.items()
    },
    first,
  )
  linear = models.to_linear(fitted[LEAST_SQUARES].params[0])
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
  fitted: dict[str, Fitted],
  many: np.ndarray,
) -> list[results.Row]:
  """Adds the section on errors k steps ahead; returns them as rows."""
  settings, page = study.config.settings, study.lesson
  first = seen(study)
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
        models.errors_by_step([one], xs, first)[0]
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
  horizons(
    page.figure("k_steps", "Predictions k steps ahead, first series."),
    many[0],
    {
      name: {k: fitted[name].ahead[0][k - 1] for k in settings.horizons}
      for name in _drawn(study, fitted, many)
    },
    first,
  )
  return rows


_SINE: dict[str, Any] = {"rate": 0.1, "noise": 0.5, "drift": 0.05}
_UNITS = 8
LINEAR = "linear filter"
EXACT = "exact filter"
NETWORK = f"RNN (GRU) of {_UNITS} units"


def add_drifting_sine(study: run.Study) -> list[results.Row]:
  """Adds the section to the study's page; returns its rows."""
  settings, page, random = study.config.settings, study.lesson, study.random
  learned = settings.drifting
  xs = data.noisy_sine(
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

  began, model = time.perf_counter(), models.rotation(**_SINE)
  states = {LINEAR: judged(LINEAR, model.predictions(xs), began)}
  began = time.perf_counter()
  states[NETWORK] = judged(NETWORK, _recurrent(study, xs[:learned], xs), began)
  began = time.perf_counter()
  exact = models.phase_predictions(xs, **_SINE)
  states[EXACT] = judged(EXACT, exact, began)
  covariance = models.sine_autocovariance(**_SINE)
  best, fitted = [], []
  for tau in settings.windows:
    began, pairs = time.perf_counter(), data.windows(xs, tau)
    past, _ = data.split(pairs, learned - tau)
    linear = models.least_squares(past.features, past.labels)
    predicted = linear.predict(pairs.features)
    fitted.append(judged(f"window of {tau}", predicted, began))
    places = -np.arange(1, tau + 1)
    best.append(models.optimum(covariance, places).error)
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
  draw_errors(
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
  starts = data.shuffled(
    len(past) - length, batch=16, epochs=epochs, random=study.random
  )
  # The first half of a stretch is there to find the phase.
  segments = data.segments(
    past, starts, length=length, scored=max(1, length // 2)
  )
  model = models.latent("gru", (_UNITS,))
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
  return models.one_step(model, params, xs).values


# Four exponential averages, by what each keeps of itself in a step.
_KEPT = (0.9, 0.95, 0.975, 0.99)
# So many lags hold all but 2e-9 of the slowest average.
_LAGS = 2000


def add_chosen_values(study: run.Study) -> None:
  """Adds the sections to the study's page."""
  random, settings = study.random, study.config.settings
  # Fewer than elsewhere: long windows take long to fit.
  many = [
    data.noisy_sine(settings.length, random=random, noise=settings.noise)
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
  autocovariance = models.sine_autocovariance(noise=settings.noise)
  body = []
  for tau in settings.windows:
    best = models.optimum(autocovariance, -np.arange(1, tau + 1)).error
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
  draw_errors(
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
    pairs = data.neighbours(xs, list(positions))
    found.append(_errors(study, pairs, reach=int(max(positions))))
  train, test = np.mean(found, axis=0)
  return float(train), float(test)


def _errors(
  study: run.Study, pairs: data.Windows, reach: int = 0
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
  past, future = data.split(pairs, count)
  if reach > 0:
    past, _ = data.split(past, count - reach)
  parts = past, future
  model = models.least_squares(parts[0].features, parts[0].labels)
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
  autocovariance = models.sine_autocovariance(noise=settings.noise)
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
    data.noisy_sine(
      _LAGS + settings.length, random=random, noise=settings.noise
    )
    for _ in range(max(settings.repeats // 4, 2))
  ]
  body = []
  for name, mixing in choices.items():
    reach = mixing.shape[1]
    best = models.optimum(autocovariance, -lags[:reach], mixing=mixing).error
    found = []
    for xs in long:
      pairs = data.windows(xs[_LAGS - reach :], reach)
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
  autocovariance = models.sine_autocovariance(noise=settings.noise)
  ways = {
    "forecast": lambda k: np.arange(-k - 3, -k + 1),
    "fill in": lambda k: np.array([-k - 1, -k, k, k + 1]),
  }
  ks = 2 ** np.arange(int(np.log2(max(settings.horizons))) + 1)
  best = {
    name: [models.optimum(autocovariance, way(k)).error for k in ks]
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
  draw_errors(
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
