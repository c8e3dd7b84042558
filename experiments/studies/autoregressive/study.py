"""Autoregressive models: windows, states and chains that say what comes next.

`series.py` holds the noisy sine and the models of its next value,
`common/chains.py` the Markov models of symbols, `shapes.py` the toys of the
first section. Here they are fitted and measured, a function for each section of
`page.md`.
"""

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import series, shapes
from experiments.studies.common import (
  chains,
  figures,
  ngram_counts,
  training,
)
from seqmodels import errors, losses
from seqmodels.cells import cell as cells
from seqmodels.data.text import batching
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.models import networks, ngram
from seqmodels.plotting import style
from seqmodels.training import optimizers

LEAST_SQUARES = "linear, least squares"
_PALE = "#B9B9B9"
_LAGS = 1000  # hold all but 4e-5 of the slowest exponential average
_DRIFTING: dict[str, Any] = {"rate": 0.1, "noise": 0.5, "drift": 0.05}
_UNITS = 8  # of the networks that are set beside exact filters
# Tomorrow's weather by today's.
_DAYS = ("dry", "cloudy", "wet")
_WEATHER = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.4, 0.5]])
# Two coins that are seldom exchanged and look much alike.
_COINS = chains.HiddenMarkov(
  np.array([0.5, 0.5]),
  np.array([[0.98, 0.02], [0.02, 0.98]]),
  np.array([[0.7, 0.3], [0.3, 0.7]]),
)


def run(study: run_lib.Study) -> list[results.Row]:
  """Fits, measures and draws everything on the page."""
  settings = study.config.settings
  _check(settings)
  toys, fits = shapes.tasks(settings), fit(study)
  _shapes(study, toys)
  for predicted in (_data, _one_step, _free_run, _accumulation):
    predicted(study, fits)
  rows = _k_steps(study, fits)
  sections: Sequence[Callable[[run_lib.Study], list[results.Row] | None]] = (
    *(_linear_errors, _window_length, _averages, _fill_in, _past_winners),
    *(_paths, _causes, _markov_orders, _both_directions, _hidden_chain),
    _drifting_sine,
  )
  for section in sections:
    study.signals.check()
    rows += section(study) or []
  return rows


def _check(settings: Any) -> None:
  """Refuses sizes that leave nothing to learn from or to be judged on."""
  training.check_names(settings, "networks", training.CELLS)
  length, window, pairs = settings.length, settings.window, settings.pairs
  ranges: dict[str, tuple[float, float]] = {
    "length": (8, math.inf),
    "window": (1, length - 2),
    "pairs": (1, length - window - 1),
    "stretch": (1, window + pairs - 1),
    "horizons": (1, min(pairs - 2, (length - 5) // 3)),
    "windows": (1, min(length - 2, settings.drifting - 1)),
    "drifting_stretch": (1, settings.drifting - 1),
    "chain": (100, math.inf),
    "longest_order": (1, 10),
    "longest_window": (1, 18),
    "toy_bits": (2, math.inf),
  }
  # The first limits first: later ones follow from what they allow.
  for name, (least, most) in ranges.items():
    value = settings[name]
    values = (value,) if isinstance(value, int) else tuple(value) or (0,)
    if min(values) < least or max(values) > most:
      limit = f"at least {least}" if most == math.inf else f"{least} to {most}"
      raise errors.UserError(
        f"config.settings.{name} is {value}; beside the other settings it must "
        f"be {limit}"
      )
  training.check_sizes(settings, "toys")


def _sine(
  study: run_lib.Study, random: np.random.Generator, before: int = 0
) -> np.ndarray:
  """A series as the settings want it, longer by what was before it."""
  settings = study.config.settings
  return series.noisy_sine(
    before + settings.length, random=random, noise=settings.noise
  )


def _row(
  name: str, evaluation: str, value: float, count: int, began: float
) -> results.Row:
  """A mean squared error of the test, whose predictions began at that time."""
  return results.row(
    name,
    split="test",
    evaluation=evaluation,
    metric="sse",
    value=value,
    unit="mean of squares",
    count=count,
    seconds=time.perf_counter() - began,
  )


def _measured(
  study: run_lib.Study,
  name: str,
  title: str,
  columns: Mapping[str, Sequence[float] | np.ndarray],
  *,
  unit: str = "mean squared error",
  log_x: int = 2,
  references: Mapping[str, float] | None = None,
  rest: Sequence[Sequence[str]] = (),
) -> None:
  """Scores by a size, the first column: a table and a figure of one name.

  Lines of the `rest` follow in the table, `references` lie in the figure.
  """
  (label, sizes), *drawn = columns.items()
  lines = zip(*columns.values(), strict=True)
  body = [[size, *_four(*line)] for size, *line in lines]
  study.page.table(name, [*columns], [*body, *rest])
  figures.curves(
    study.page.figure(name),
    title,
    {name: (sizes, values) for name, values in drawn},
    x=label,
    y=unit,
    log_x=log_x,
    marks=True,
    references=references,
  )


def _four(*values: float) -> list[str]:
  """Numbers with four digits after the point, to be compared with each other.

  >>> _four(0.05, 1)
  ['0.0500', '1.0000']
  """
  return [f"{value:.4f}" for value in values]


# ---- Shapes of problems


def _shapes(study: run_lib.Study, toys: Mapping[str, shapes.Task]) -> None:
  settings, body = study.config.settings, []
  for name, task in toys.items():
    right, nats, count = shapes.solved(task, study)
    body.append([name, task.problem, count, f"{100 * right:.1f}", nats])
    study.signals.check()
  study.page["toys"] = body
  floor = settings.toy_length * math.log(settings.toy_letters)
  study.page["palindrome"] = floor


# ---- A noisy sine, and what learns from it


class Fitted(NamedTuple):
  """A model with its weights for each of R series, and what it predicts."""

  model: series.Forecaster
  params: list[Any]  # one tree a series
  xs: np.ndarray  # the series, [R, T]
  first: int  # the place where their test begins
  # Of every value 1 to K steps ahead, [R, K, T]; NaN where a series does not
  # reach back that far.
  ahead: np.ndarray
  runs: np.ndarray  # the free run from the test on, [R, steps]
  seconds: float  # of predicting

  def errors(self, part: slice) -> np.ndarray:
    """Mean squared errors [K] over a part of the time and all series."""
    missed = self.ahead[..., part] - self.xs[:, None, part]
    return np.nanmean(missed**2, axis=-1).mean(axis=0)

  @property
  def test(self) -> np.ndarray:
    """The errors of the test."""
    return self.errors(slice(self.first, None))


Fits = dict[str, Fitted]  # by the names on the page


def seen(study: run_lib.Study) -> int:
  """How many values of a series may be learned from."""
  return study.config.settings.window + study.config.settings.pairs


def fit(study: run_lib.Study) -> Fits:
  """All models on all series."""
  settings, random = study.config.settings, study.random
  many = np.stack([_sine(study, random) for _ in range(settings.series)])
  tau, first, length = settings.window, seen(study), settings.stretch
  linear, epochs = series.window(tau), settings.network_epochs
  plain = optimizers.build("sgd", learning_rate=0.01, momentum=0.0)
  adam = optimizers.build("adam", learning_rate=0.01)
  falling = series.adam(0.005, epochs * -(-(first - length) // settings.batch))
  # Model, rule, length of what it learns from at a time, epochs.
  learners: dict[str, tuple[series.Forecaster, Any, int, int]] = {
    "linear, gradient descent": (linear, plain, tau, settings.epochs),
    "MLP": (series.window(tau, (10,)), adam, tau, settings.epochs),
  }
  for name in settings.networks:
    network = series.latent(training.CELLS[name], (settings.hidden,))
    learners[name] = (network, falling, length, epochs)
  past = [series.windows(xs, tau).split(settings.pairs)[0] for xs in many]
  best = [series.least_squares(part.features, part.labels) for part in past]
  weights = {LEAST_SQUARES: (linear, [*map(series.of_linear, best)])}
  for name, (model, *how) in learners.items():
    study.signals.check()
    weights[name] = (model, _learned(study, many, model, *how))
  # Two at least, that there is a growth to speak of.
  longest, steps = max((2, *settings.horizons)), many.shape[1] - first
  result = {}
  for name, (model, params) in weights.items():
    began, both = time.perf_counter(), list(zip(params, many, strict=True))
    ahead = [series.k_steps(model, own, xs, longest) for own, xs in both]
    runs = [series.free_run(model, own, xs[:first], steps) for own, xs in both]
    spent = time.perf_counter() - began
    predictions = np.stack(ahead), np.stack(runs)
    result[name] = Fitted(model, params, many, first, *predictions, spent)
  return result


def _learned(
  study: run_lib.Study,
  many: np.ndarray,
  model: series.Forecaster,
  rule: optax.GradientTransformation,
  length: int,
  epochs: int,
) -> list[Any]:
  """Weights for each series; a segment begins `epochs` times at each place."""
  # Other numbers than those that the series were drawn from.
  settings, random = study.config.settings, study.random.spawn(1)[0]
  cut = functools.partial(
    series.minibatches,
    length=length,
    # A window is asked when it is full, and a state when it has read as much.
    scored=max(1, length - settings.window),
    batch=settings.batch,
    epochs=epochs,
    random=random,
  )
  parts = [cut(xs[: seen(study)]) for xs in many]
  return series.fit_each(model, rule, study.config.seed, parts)


def _best(study: run_lib.Study, fits: Fits) -> str:
  """The network that is drawn: the best of them one step ahead."""
  return min(study.config.settings.networks, key=lambda n: fits[n].test[0])


def _draw(
  study: run_lib.Study,
  fits: Fits,
  name: str,
  panels: Mapping[str, Mapping[str, np.ndarray]],
  *,
  enlarged: int | None = None,
) -> None:
  """The first series in grey, and predictions of it by the legend's names.

  A dashed line marks where the test begins; the last panel may show only so
  many values of it, `enlarged`.
  """
  xs, first = fits[LEAST_SQUARES].xs[0], seen(study)
  path, height = study.page.figure(name), 0.8 + 2.4 * len(panels)
  with style.panels(path, "", height=height, rows=len(panels)) as pairs:
    for pair, (title, curves) in zip(pairs, panels.items(), strict=True):
      times = np.arange(len(xs))
      if enlarged and pair is pairs[-1]:
        times = times[first : first + enlarged]
      else:
        pair.axvline(first + 0.5, color=style.GREY, lw=1.1, ls="--")
      pair.plot(times + 1, xs[times], color=_PALE, lw=0.7, label="series")
      for colour, (label, values) in zip(
        style.COLOURS, curves.items(), strict=False
      ):
        pair.plot(times + 1, values[times], color=colour, lw=1.3, label=label)
      pair.set_title(title, fontsize=10)
      pair.set_ylabel("x")
    pairs[-1].set_xlabel("time")
    style.legend_beside(pairs[0], "")


def _data(study: run_lib.Study, fits: Fits) -> None:
  noise, xs = study.config.settings.noise, fits[LEAST_SQUARES].xs[0]
  clean = np.sin(0.01 * np.arange(1, len(xs) + 1))
  study.page["sine"] = {
    "periods": f"{len(xs) * 0.01 / (2 * np.pi):.1f}",
    "variance": f"{noise**2:.4f}",
    "drawn": f"{np.mean((xs - clean) ** 2):.4f}",
  }
  _draw(study, fits, "series", {"": {"sine": clean}})


def _one_step(study: run_lib.Study, fits: Fits) -> None:
  settings, page = study.config.settings, study.page
  table, body = {}, []
  for name, entry in fits.items():
    train = entry.errors(slice(entry.first))[0]
    table[name] = _four(train, entry.test[0], _afresh(study, entry))
    leaves = jax.tree.leaves(entry.params[0])
    body.append([name, sum(leaf.size for leaf in leaves), *table[name]])
  page["one_step"] = body
  covariance = series.sine_autocovariance(noise=settings.noise)
  _, best = series.optimum(covariance, -np.arange(1, settings.window + 1))
  page["best_window"] = f"{best:.4f}"
  page["best_window_excess"] = f"{best - settings.noise**2:.4f}"
  lost = max(table, key=lambda n: float(table[n][1]) - float(table[n][2]))
  page["lost"] = dict(zip(("test", "afresh"), table[lost][1:], strict=True))
  page["lost_name"] = lost
  curves = {
    name: fits[name].ahead[0, 0] for name in (LEAST_SQUARES, _best(study, fits))
  }
  views = {"whole": curves, "the beginning of the test": curves}
  _draw(study, fits, "one_step", views, enlarged=120)


def _afresh(study: run_lib.Study, entry: Fitted) -> float:
  """The test error where each prediction has an empty state to begin with."""
  missed, apply = [], jax.jit(entry.model.apply)
  for xs, params in zip(entry.xs, entry.params, strict=True):
    pairs = series.windows(xs, study.config.settings.stretch)
    inputs = np.asarray(pairs.features.T, np.float32)
    carry = entry.model.initial_carry(inputs.shape[1])
    result = np.asarray(apply(params, carry, inputs)[1][-1])
    test = pairs.times >= entry.first
    missed.append(np.mean((result - pairs.labels)[test] ** 2))
  return float(np.mean(missed))


def _free_run(study: run_lib.Study, fits: Fits) -> None:
  page, linear = study.page, fits[LEAST_SQUARES]
  rest = linear.xs[:, linear.first :]
  runs = {name: entry.runs for name, entry in fits.items()}
  runs["always 0"] = np.zeros_like(rest)
  body = [
    [name, np.mean((run - rest) ** 2), np.mean(run[:, -1] ** 2)]
    for name, run in runs.items()
  ]
  page["free_run"] = body
  *models, idle = [line[1] for line in body]
  better = sum(error < idle for error in models)
  page["free"] = {"better": better, "models": len(models)}
  before = np.full(linear.first, np.nan)
  curves = {name: np.append(before, fits[name].runs[0]) for name in fits}
  _draw(study, fits, "free_run", {"": curves})
  weights = series.to_linear(linear.params[0])
  radius = f"{weights.radius:.4f}"
  page["linear"] = {"radius": radius, "fixed_point": weights.fixed_point}


def _k_steps(study: run_lib.Study, fits: Fits) -> list[results.Row]:
  horizons, rows, body = study.config.settings.horizons, [], []
  for name, entry in fits.items():
    body.append([name, *_four(*(entry.test[k - 1] for k in horizons))])
    for k in horizons:
      count = np.isfinite(entry.ahead[:, k - 1, entry.first :]).sum()
      value, began = entry.test[k - 1], time.perf_counter() - entry.seconds
      label = f"{name}, k = {k}"
      rows.append(_row(label, "k steps ahead", value, count, began))
  head = ["model", *(f"k = {k}" for k in horizons)]
  study.page.table("k_steps", head, body)
  best, longest = _best(study, fits), max(horizons)
  views = {
    name: {f"k = {k}": fits[name].ahead[0, k - 1] for k in horizons}
    for name in (LEAST_SQUARES, best)
  }
  _draw(study, fits, "k_steps", views)
  near, far = _four(fits[best].test[0], fits[best].test[longest - 1])
  drawn = {"name": best, "near": near, "horizon": longest, "far": far}
  study.page["drawn"] = drawn
  return rows


def _accumulation(study: run_lib.Study, fits: Fits) -> None:
  """Errors by the steps ahead, and the laws that they might follow."""
  noise, best = study.config.settings.noise, _best(study, fits)
  # What is left of them without the noise that no one can predict.
  roots = {
    name: np.sqrt(np.maximum(entry.test - noise**2, 1e-4))
    for name, entry in fits.items()
  }
  ks, idle = np.arange(1, len(roots[best]) + 1), math.sqrt(0.5)
  curves = {name: (ks, root) for name, root in roots.items()}
  for c in (0.5, 1.0, 1.1):
    law = series.accumulated_error(float(roots[LEAST_SQUARES][0]), c, ks)
    inside = law < 2 * idle
    curves[f"~c = {c:g}"] = (ks[inside], law[inside])
  figures.curves(
    study.page.figure("error_growth"),
    "Errors pile up with the steps",
    curves,
    x="steps ahead, k",
    y="root mean squared error, without the noise",
    log_x=2,
    log_y=True,
    references={"always 0": idle},
  )
  study.page["rising"] = {
    key: f"{100 * np.mean(np.diff(roots[name]) > 0):.0f}"
    for key, name in (("linear", LEAST_SQUARES), ("network", best))
  }


def _linear_errors(study: run_lib.Study) -> None:
  """The best linear models there are, for one step iterated and for k steps."""
  settings, tau = study.config.settings, study.config.settings.window
  covariance = series.sine_autocovariance(noise=settings.noise)
  best = series.Linear(series.optimum(covariance, -np.arange(tau, 0, -1))[0])
  body = []
  for k in settings.horizons:
    places, ahead = -np.arange(k + tau - 1, k - 1, -1), best.ahead(k)
    iterated = series.error_of(covariance, places, ahead.weights)
    _, direct = series.optimum(covariance, places)
    height = series.gain(ahead.weights, 0.01)
    body.append([k, *_four(iterated, direct), height])
  study.page["linear_errors"] = body


# ---- Which values a window should hold


def _few_sines(study: run_lib.Study, before: int = 0) -> list[np.ndarray]:
  """Fewer than elsewhere: long windows take long to fit."""
  random, count = study.random, max(study.config.settings.repeats // 8, 2)
  return [_sine(study, random, before) for _ in range(count)]


def _choice(
  study: run_lib.Study,
  many: Sequence[np.ndarray],
  positions: np.ndarray,
  mixing: np.ndarray | None = None,
) -> tuple[float, float, float]:
  """Errors of linear models that see the values at some positions.

  Of least squares in train and test, and of the best weights there are.
  """
  settings, reach = study.config.settings, max(int(max(positions)), 0)
  covariance = series.sine_autocovariance(noise=settings.noise)
  _, best = series.optimum(covariance, positions, mixing=mixing)
  missed = []
  for xs in many:
    pairs = series.neighbours(xs, positions)
    if mixing is not None:
      pairs = pairs._replace(features=pairs.features @ mixing.T)
    count = min(settings.pairs, len(pairs.labels) - 1)
    _, future = pairs.split(count)
    # No feature to learn from may be a label of the test.
    past, _ = pairs.split(count - reach)
    model = series.least_squares(past.features, past.labels)
    wrong = (
      model.predict(part.features) - part.labels for part in (past, future)
    )
    missed.append([np.mean(part**2) for part in wrong])
  train, test = np.mean(missed, axis=0)
  return float(train), float(test), best


def _window_length(study: run_lib.Study) -> None:
  settings, many = study.config.settings, _few_sines(study)
  taus = settings.windows
  lines = [_choice(study, many, -np.arange(tau, 0, -1)) for tau in taus]
  train, test, best = zip(*lines, strict=True)
  window = taus[int(np.argmin(test))]
  study.page["choice"] = {"series": len(many), "window": window}
  _measured(
    study,
    "window_length",
    "How many past values?",
    {
      "values in the window": taus,
      "best weights": best,
      "train": train,
      "test": test,
    },
    references={"noise": settings.noise**2},
  )


def blocks(reach: int) -> np.ndarray:
  """Four means over equal parts of the last `reach` values.

  >>> blocks(8)[0]
  array([0.5, 0.5, 0. , 0. , 0. , 0. , 0. , 0. ])
  """
  return np.kron(np.eye(4), np.full((1, reach // 4), 4 / reach))


def exponential(lags: np.ndarray) -> np.ndarray:
  """Four averages, by what each keeps of itself in a step."""
  kept = np.array([0.9, 0.95, 0.975, 0.99])[:, None]
  return (1 - kept) * kept ** (lags - 1)


def _averages(study: run_lib.Study) -> None:
  """Four features from a longer past."""
  lags = np.arange(1, _LAGS + 1)
  # What was before the series, so that all features are full from the start.
  many = _few_sines(study, before=_LAGS)
  body = []
  for name, mixing in {
    "the last 4": np.eye(4),
    "every 8th of the last 25": np.eye(25)[::8],
    "means of 2 each over the last 8": blocks(8),
    "means of 8 each over the last 32": blocks(32),
    "means of 32 each over the last 128": blocks(128),
    "exponential averages": exponential(lags),
  }.items():
    reach = mixing.shape[1]
    cut = [xs[_LAGS - reach :] for xs in many]
    _, test, best = _choice(study, cut, -lags[:reach], mixing)
    body.append([name, *_four(best, test)])
  study.page["averages"] = body


def _fill_in(study: run_lib.Study) -> None:
  """Four values before a gap, or two on either side of it."""
  settings, page, many = study.config.settings, study.page, _few_sines(study)
  ks = [2**i for i in range(max(settings.horizons).bit_length())]
  ways: dict[str, Callable[[int], np.ndarray]] = {
    "forecast": lambda k: np.arange(-k - 3, 1 - k),
    "fill in": lambda k: np.array([-k - 1, -k, k, k + 1]),
  }
  label = "distance to the nearest known value, k"
  columns: dict[str, Sequence[float]] = {label: ks}
  for name, way in ways.items():
    lines = [_choice(study, many, way(k)) for k in ks]
    _, test, best = zip(*lines, strict=True)
    columns |= {f"{name}, best": best, f"{name}, test": test}
  page["gap"] = {
    "k": ks[-1],
    "forecast": columns["forecast, best"][-1],
    "fill_in": columns["fill in, best"][-1],
  }
  _measured(
    study,
    "fill_in",
    "Forecasts and interpolations",
    columns,
    references={"noise": settings.noise**2},
  )


def _past_winners(study: run_lib.Study) -> None:
  """The best past return says nothing of the next."""
  settings, page, random = study.config.settings, study.page, study.random
  steps, gains = 50, []
  for _ in range(settings.repeats):
    walks = series.random_walks(
      settings.walks, 2 * steps, random=random, scale=steps**-0.5
    )
    winner = walks[np.argmax(walks[:, steps])]
    gains.append([winner[steps], winner[-1] - winner[steps]])
  means = np.mean(gains, axis=0)
  scatter = np.std(gains, axis=0, ddof=1) / len(gains) ** 0.5
  page["winners"] = [*zip(["first", "second"], means, scatter, strict=True)]
  page["winner_errors"] = f"{abs(means[1]) / scatter[1]:.1f}"
  prices = np.exp(0.2 * walks)
  order = np.argsort(prices[:, steps])
  with style.axes(page.figure("winners"), "Past winners", height=3.6) as pair:
    shown = order[:: max(1, len(order) // 80)]
    pair.plot(prices[shown].T, color=_PALE, lw=0.5, zorder=1)
    for colour, row in zip(style.COLOURS, order[:-6:-1], strict=False):
      pair.plot(prices[row], color=colour, lw=1.6)
    pair.axvline(steps, color=style.GREY, lw=1.1, ls="--")
    pair.set(xlabel="time", ylabel="price, 1 at the start")


# ---- Chains of symbols


def _markov_orders(study: run_lib.Study) -> list[results.Row]:
  """Models of every order of a chain of order 2."""
  settings, random = study.config.settings, study.random
  kernel = random.dirichlet(np.full(4, 0.7), size=(4, 4))
  start = chains.stationary(kernel)
  train, test = (
    chains.markov_chain(kernel, settings.chain, random=random, initial=start)
    for _ in range(2)
  )
  orders, rows, lines = range(settings.longest_order + 1), [], []
  models = _counted(train, 4, orders[-1])
  for order in orders:
    began, model = time.perf_counter(), models(order)
    nats = [model.nats(part) for part in (train, test)]
    name = f"Markov chain of order 2, model of order {order}"
    score = training.counted(nats[1], began)
    rows.append(training.scored_row(name, score, split="test"))
    rate = chains.entropy_rate(kernel, min(order, 2))
    lines.append([rate, *(float(part.mean()) for part in nats)])
  rates, seen, new = zip(*lines, strict=True)
  study.page["best_order"] = int(np.argmin(new))
  _measured(
    study,
    "markov_orders",
    "A chain of order 2",
    {"order k": orders, "true rate": rates, "train": seen, "test": new},
    unit="nats a symbol",
    log_x=0,
  )
  return rows


def _counted(
  text: np.ndarray, size: int, longest: int
) -> Callable[[int], ngram_counts.LaplaceNGram]:
  """Markov models of a text, by order; one half is added to every count."""
  counts = ngram_counts.NGramCounts.of(text, size, order=longest + 1)
  return lambda k: ngram_counts.LaplaceNGram.add_k(counts, 0.5, order=k + 1)


def _paths(study: run_lib.Study) -> None:
  """Several steps on, and the best path, in a small climate."""
  page, wet = study.page, _DAYS.index("wet")
  drawn = chains.markov_chain(
    _WEATHER, study.config.settings.chain, random=study.random
  )
  body = []
  for steps in (1, 2, 5, 20):
    now, later = drawn[:-steps], drawn[steps:]
    power = np.linalg.matrix_power(_WEATHER, steps)
    counted = [np.mean(later[now == day] == wet) for day in (0, wet)]
    body.append([steps, power[0, wet], counted[0], power[wet, wet], counted[1]])
  page["days"] = body
  # It is wet today; the first day of a path is tomorrow.
  days, tomorrow = 6, _WEATHER[wet]
  path, log = chains.most_likely(tomorrow, _WEATHER, np.zeros((days, 3)))
  greedy, share = [wet], 1.0
  for _ in range(days):
    share *= _WEATHER[greedy[-1]].max()
    greedy.append(int(_WEATHER[greedy[-1]].argmax()))
  page["paths"] = {
    "wet": chains.stationary(_WEATHER)[wet],
    "days": days,
    "greedy": ", ".join(_DAYS[day] for day in greedy[1:]),
    "greedy_share": f"{share:.4f}",
    "best": ", ".join(_DAYS[day] for day in path),
    "best_share": f"{np.exp(log):.4f}",
  }


def _both_directions(study: run_lib.Study) -> list[results.Row]:
  """A text read forwards and from its end."""
  tokens = study.tokens("characters")
  train, valid = (
    np.asarray(tokens.splits[name][:], np.int64) for name in ("train", "valid")
  )
  rows, body = [], []
  for order in (2, 4, 6):
    for name, turn in (("forwards", 1), ("backwards", -1)):
      model = ngram.NGram.fit(
        train[::turn], len(tokens.vocabulary), order=order, modified=True
      )
      began, label = time.perf_counter(), f"character {order}-gram, {name}"
      score = training.counted(model.nats(valid[::turn]), began)
      rows.append(training.scored_row(label, score))
    values = [row["value"] for row in rows[-2:]]
    body.append([order, *values, 100 * (values[1] / values[0] - 1)])
  study.page["directions"] = body
  study.page["text_length"] = f"{len(train):,}"
  return rows


def _causes(study: run_lib.Study) -> None:
  """A law that is simple in the direction of time only."""
  length = min(study.config.settings.chain, 4000)
  xs = series.cubic(length, random=study.random)
  path, spreads = study.page.figure("causes"), {}
  with style.panels(path, "", height=3.2, columns=2, sharey=True) as pairs:
    for pair, name, given, sought in (
      (pairs[0], "forwards", xs[:-1], xs[1:]),
      (pairs[1], "backwards", xs[1:], xs[:-1]),
    ):
      fitted = np.polynomial.Polynomial.fit(given, sought, 7)
      missed = sought - fitted(given)
      tenths = np.array_split(missed[np.argsort(given)], 10)
      around = [part.std() for part in tenths]
      spreads[name] = f"{min(around):.2f} and {max(around):.2f}"
      dots = {"ms": 2.5, "alpha": 0.35, "mew": 0, "color": style.COLOURS[0]}
      pair.plot(given, missed, ".", **dots)
      pair.set_title(name, fontsize=10)
      pair.set_xlabel("value that is given")
    pairs[0].set_ylabel("error of the prediction")
  study.page["spread"] = spreads


def _hidden_chain(study: run_lib.Study) -> list[results.Row]:
  """Windows, a network and the filter on two coins."""
  settings, page = study.config.settings, study.page
  coins, drawn = _COINS.sample(settings.hidden_chain * 3 // 2, study.random)
  train, test = np.split(drawn, [settings.hidden_chain])
  row = functools.partial(training.scored_row, split="test")
  began = time.perf_counter()
  score = training.counted(_COINS.nats(test), began)
  floor, network = score.nats_per_symbol, f"RNN of {_UNITS} units"
  totals = _network_on_coins(study, train, test)
  recurrent = totals.nats_per_symbol
  rows = [
    row("hidden chain, filter", score),
    row(f"hidden chain, {network}", totals),
  ]
  lengths, scores = range(0, settings.longest_window + 1, 2), []
  models = _counted(train, 2, lengths[-1])
  for length in lengths:
    began = time.perf_counter()
    score = training.counted(models(length).nats(test), began)
    rows.append(row(f"hidden chain, window of {length}, counted", score))
    scores.append(score.nats_per_symbol)
  page["coins"] = {
    "changes": f"{_COINS.transition[0, 1]:.2f}",
    "shows": f"{_COINS.emission[0, 0]:g}",
    "window": lengths[int(np.argmin(scores))],
    "window_excess": f"{min(scores) - floor:.4f}",
    "network_excess": f"{recurrent - floor:.4f}",
  }
  _measured(
    study,
    "hidden_chain",
    "Two coins, and nobody says which",
    {
      "symbols in the window": lengths,
      "window, best possible": _COINS.entropy_by_window(lengths[-1])[::2],
      "window, counted": scores,
    },
    unit="nats a symbol",
    log_x=0,
    references={network: recurrent, "filter": floor},
    rest=[
      [f"all, {network}", "", *_four(recurrent)],
      ["all, filter", "", *_four(floor)],
    ],
  )
  part = min(len(test), 20_000)
  _looking_back(study, test[:part], coins[settings.hidden_chain :][:part])
  return rows


def _network_on_coins(
  study: run_lib.Study, train: np.ndarray, test: np.ndarray
) -> losses.Metrics:
  """The score of a small trained network."""
  seed = study.config.seed
  predictor = networks.LanguageModel(
    2, recurrent.StackOptions(features=(_UNITS,), cell=cells.get("elman"))
  ).as_model()
  stream = batching.SequentialStream(
    train, batch=32, length=50, seed=seed, training=True, random_offset=True
  )
  steps = stream.segments_per_epoch * study.config.settings.rnn_epochs
  rule = series.adam(0.01, steps)
  result = training.train(predictor, stream, rule, steps=steps, seed=seed)
  return training.held_out(predictor, result.params, test, rows=1, length=1000)


def _looking_back(
  study: run_lib.Study, symbols: np.ndarray, coins: np.ndarray
) -> None:
  """What both sides together know: a missing symbol, and the states."""
  filled = _COINS.fill_in(symbols)[np.arange(len(symbols)), symbols]
  study.page["throws"] = {
    "count": f"{len(symbols):,}",
    "missing": f"{-np.log(filled).mean():.4f}",
    "forecast": f"{_COINS.nats(symbols).mean():.4f}",
    "exchanges": int(np.sum(coins[1:] != coins[:-1])),
  }
  # What is known of the coin right after a throw.
  past = _COINS.forward(symbols)[:-1] + np.log(_COINS.emission.T[symbols])
  both = _COINS.state_posterior(symbols)
  body = []
  for name, guess in {
    "from the past": past.argmax(axis=1),
    "from both sides, each alone": both.argmax(axis=1),
    "best path of all (Viterbi)": _COINS.most_likely_states(symbols)[0],
  }.items():
    right = f"{100 * np.mean(guess == coins):.1f}"
    body.append([name, right, np.count_nonzero(np.diff(guess))])
  study.page["guesses"] = body


# ---- The same with numbers


def _drifting_sine(study: run_lib.Study) -> list[results.Row]:
  """Windows, a network and two filters on a sine that does not keep time."""
  settings, page, random = study.config.settings, study.page, study.random
  learned, taus = settings.drifting, settings.windows
  phase = random.uniform(0, 2 * np.pi)
  xs = series.noisy_sine(
    learned * 3 // 2, random=random, phase=phase, **_DRIFTING
  )
  kalman = series.rotation(**_DRIFTING)

  def windowed(tau: int) -> np.ndarray:
    pairs = series.windows(xs, tau)
    past, _ = pairs.split(learned - tau)
    model = series.least_squares(past.features, past.labels)
    return model.predict(pairs.features)

  network = f"RNN (GRU) of {_UNITS} units"
  ways: dict[str, Callable[[], np.ndarray]] = {
    "linear filter": lambda: kalman.predictions(xs),
    network: lambda: _network_on_sine(study, xs[:learned], xs),
    "exact filter": lambda: series.phase_predictions(xs, **_DRIFTING),
    **{f"window of {k}": functools.partial(windowed, k) for k in taus},
  }
  rows, scores = [], {}
  for name, predict in ways.items():
    began = time.perf_counter()
    # The last third is the test.
    missed = predict()[learned - len(xs) :] - xs[learned:]
    scores[name] = float(np.mean(missed**2))
    label, count = f"drifting sine, {name}", len(missed)
    rows.append(_row(label, "one step ahead", scores[name], count, began))
  covariance = series.sine_autocovariance(**_DRIFTING)
  best = [series.optimum(covariance, -np.arange(1, tau + 1))[1] for tau in taus]
  linear, recurrent, exact, *fitted = scores.values()
  page["drifting"] = {
    **{name: f"{value:g}" for name, value in _DRIFTING.items()},
    "kalman": f"{kalman.error:.4f}",
    "window": taus[int(np.argmin(fitted))],
    "window_excess": f"{min(fitted) - linear:+.4f}",
    "exact_excess": f"{exact - linear:+.4f}",
    "network_excess": f"{recurrent - exact:+.4f}",
  }
  _measured(
    study,
    "drifting_sine",
    "A sine that does not keep time",
    {
      "values in the window": taus,
      "window, best linear": best,
      "window, fitted": fitted,
    },
    references={
      "linear filter": linear,
      network: recurrent,
      "exact filter": exact,
      "noise": _DRIFTING["noise"] ** 2,
    },
    rest=[
      ["all, linear filter", *_four(kalman.error, linear)],
      [f"all, {network}", "", *_four(recurrent)],
      ["all, exact filter", "", *_four(exact)],
    ],
  )
  return rows


def _network_on_sine(
  study: run_lib.Study, past: np.ndarray, xs: np.ndarray
) -> np.ndarray:
  """Predictions of a small network that has learned from the past."""
  settings = study.config.settings
  length = settings.drifting_stretch
  part = series.minibatches(
    past,
    length=length,
    # The first half of a segment is there to find the phase.
    scored=max(1, length // 2),
    batch=16,
    epochs=settings.drifting_epochs,
    random=study.random,
  )
  model, rule = series.latent("gru", (_UNITS,)), series.adam(0.01, len(part[0]))
  [params] = series.fit_each(model, rule, study.config.seed, [part])
  return series.k_steps(model, params, xs, 1)[0]
