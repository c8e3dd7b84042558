"""Backpropagation through time, and what to do where it is long."""

import functools
import inspect
import itertools
import math
import time as clock
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util

from experiments.studies import run as run_lib
from experiments.studies.bptt import gradients, strategies, truncation
from experiments.studies.common import (
  cleaning,
  figures,
  gradient_reach,
  training,
)
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, scan
from seqmodels.io import results
from seqmodels.plotting import style


def run(study: run_lib.Study) -> list[results.Row]:
  """Computes the page, part by part."""
  training.check_sizes(study.config.settings, "other_radii")
  study.page.verbatim("backward", inspect.getsource(gradients.backward))
  for part in (
    by_radius,
    by_initialisation,
    one_direction,
    costs,
    three_ways,
    unbiased,
    variance,
  ):
    part(study)
    study.signals.check()
  rows = strategies.characters(study)
  study.signals.check()
  return rows + strategies.copying(study)


_INPUTS, _ROWS = 16, 8  # of the networks whose gradients are followed
_FROM = 10  # where the first steps are forgotten: factors are taken from here
_SETTLING = 20  # steps in which the state forgets that it began at 0
_SHOWN = (1e-16, 1e6)  # norms in the figure


def factor(norms: np.ndarray, first: int = _FROM) -> float:
  """The factor of one step, the geometric mean from the first distance on.

  >>> factor(np.array([1.0, 0.5, 0.25]), first=0)
  0.5
  """
  first = min(first, len(norms) - 2)
  return float((norms[-1] / norms[first]) ** (1 / (len(norms) - 1 - first)))


def _drawn(
  cell: cells.Cell, features: int, random: np.random.Generator, scale: float
) -> Any:
  init = functools.partial(
    cell.init_params, in_features=_INPUTS, features=features
  )
  return training.drawn(init, random, scale)


def _biases(
  cell: cells.Cell, features: int, gate: int, value: float
) -> jax.Array:
  """Zeros, but for one gate's."""
  result = np.zeros((len(cell.gates), features))
  if value:
    result[gate] = value
  return jnp.asarray(result.ravel())


def by_radius(study: run_lib.Study) -> None:
  """Elman, GRU and LSTM with recurrent weights of a given spectral radius."""
  page, settings = study.page, study.config.settings
  result = {
    radius: _networks(study, radius)
    for radius in sorted((*settings.radii, *settings.other_radii))
  }
  factors = {
    radius: {name: factor(norms) for name, norms in networks.items()}
    for radius, networks in result.items()
  }
  largest = max(result)
  head = ("factor a step", *(f"rho = {radius:g}" for radius in result))
  body = [
    [name, *(factors[radius][name] for radius in result)]
    for name in result[largest]
  ]
  page.table("radii", head, body)
  grows = [r for r in result if factors[r]["Elman, tanh"] > 1]
  page["grows"] = (
    f"exceeds 1 from rho = {min(grows):g} on" if grows else "never exceeds 1"
  )
  page["largest_radius"] = f"{largest:g}"
  page["lstm_factor"] = f"{factors[largest]['LSTM']:.2f}"
  distances = np.arange(settings.distance + 1)
  places = distances[:: max(len(distances) // 8, 1)]
  circles = {"color": style.GREY, "ls": "", "marker": "o", "mfc": "none"}
  columns = len(settings.radii)
  with style.panels(
    page.figure("reach"), "", height=3.8, columns=columns, sharey=True
  ) as pairs:
    for pair, radius in zip(pairs, settings.radii, strict=True):
      figures.draw(
        pair,
        {name: (distances, norms) for name, norms in result[radius].items()}
        | {r"$\rho^k$": (places, float(radius) ** places, circles)},
        title=rf"$\rho$ = {radius:g}",
        x="steps back, $k$",
        log_y=True,
      )
      pair.set_ylim(*_SHOWN)
    pairs[0].set_ylabel("$|g_k|$")
    pairs[-1].legend(frameon=False, fontsize=7.5, loc="lower left")


def _networks(study: run_lib.Study, radius: float) -> dict[str, np.ndarray]:
  """|g_k| [K + 1] of each kind of network with recurrent weights radius * Q."""
  settings = study.config.settings
  random, features = study.random, settings.features
  rotations = [
    np.linalg.qr(random.normal(size=(features, features)))[0] for _ in range(4)
  ]
  vector = random.normal(size=features)
  vector /= np.linalg.norm(vector)
  size = settings.distance + _SETTLING, _ROWS, _INPUTS
  # One product with the recurrent weights a step back.
  linear = itertools.accumulate(
    range(settings.distance),
    lambda g, _: radius * rotations[0] @ g,
    initial=vector,
  )
  result = {"linear": np.linalg.norm(list(linear), axis=1)}
  with jax.enable_x64(True):
    xs, toward = map(jnp.asarray, (random.normal(size=size), vector))
    for name, kind in {
      "Elman, tanh": "elman", "GRU": "gru", "LSTM": "lstm"
    }.items():  # fmt: skip
      cell = training.cell_of(kind)
      params = _drawn(cell, features, random, 1 / (4 * _INPUTS**0.5))
      recurrent = [radius * q for q in rotations[: len(cell.gates)]]
      params = params._replace(
        recurrent_kernel=jnp.asarray(np.concatenate(recurrent, axis=1)),
        bias=_biases(cell, features, 1, 1.0 if kind == "lstm" else 0.0),
      )
      norms = gradient_reach.mean_norms(cell, params, xs, toward)
      result[name] = norms[: settings.distance + 1]
  return result


_TEXTBOOK = 0.01  # standard deviation of the textbook's weights


def by_initialisation(study: run_lib.Study) -> None:
  """The textbook's small weights, and what biases do about them."""
  page, settings = study.page, study.config.settings
  least = min(settings.textbook)
  # Name, cell, units, the bias of its second gate.
  networks = [
    *((f"Elman, h = {h}", "elman", h, 0.0) for h in settings.textbook),
    *(
      (f"LSTM, forget bias {bias:g}", "lstm", least, bias)
      for bias in (0.0, 1.0, 5.0)
    ),
    *(
      (f"GRU, update bias {bias:g}", "gru", least, bias) for bias in (0.0, 5.0)
    ),
  ]
  looks = figures.families(name for name, *_ in networks)
  curves, body = {}, []
  for name, kind, features, bias in networks:
    norms, radius = _textbook(study, kind, features, bias)
    # An LSTM and a GRU with equal gates coincide: wide under thin.
    wide = {"lw": 4.0, "alpha": 0.5} if kind == "lstm" else {}
    places = np.arange(len(norms))
    curves[name] = (places, norms / norms[0], looks[name], wide)
    one = factor(norms, first=1)
    plain = (_TEXTBOOK * math.sqrt(features), radius)
    radii = plain if kind == "elman" else ("", "")
    body.append([name, *radii, one, f"{one**5:.1e}"])
  page["initialisations"] = body
  page["textbook"] = f"{_TEXTBOOK:g}"
  path = page.figure("initialisation")
  with style.axes(path, "The reach of an untrained network") as pair:
    figures.draw(
      pair,
      curves,
      x="steps back, $k$",
      y=r"$|g_k| \; / \; |g_0|$",
      log_y=True,
    )
    pair.set_ylim(1e-16, 3)
    pair.set_xlim(0, settings.short_distance)
    style.legend_beside(pair, "")


def _textbook(
  study: run_lib.Study, kind: str, features: int, bias: float
) -> tuple[np.ndarray, float]:
  """|g_k| with small normal weights, and their spectral radius."""
  random, cell = study.random, training.cell_of(kind)
  with jax.enable_x64(True):
    params = _drawn(cell, features, random, _TEXTBOOK)
    params = params._replace(bias=_biases(cell, features, 1, bias))
    steps = study.config.settings.short_distance
    xs = jnp.asarray(random.normal(size=(steps, _ROWS, _INPUTS)))
    vector = jnp.asarray(random.normal(size=features))
    # What lasts in an LSTM is its cell.
    field = "c" if kind == "lstm" else "h"
    norms = gradient_reach.mean_norms(cell, params, xs, vector, field)
  square = np.asarray(params.recurrent_kernel)[:, :features]
  return norms, float(np.abs(np.linalg.eigvals(square)).max())


def one_direction(study: run_lib.Study) -> None:
  """Powers of a symmetric matrix turn everything one way."""
  page, powers = study.page, study.config.settings.powers
  size, random = 50, study.random
  basis = np.linalg.qr(random.normal(size=(size, size)))[0]
  values = np.concatenate([[1.1], np.linspace(1.0, -1.0, size - 1)])
  start = random.normal(size=size)
  matrix = basis @ np.diag(values) @ basis.T
  result = gradients.turning(matrix, start, powers=powers)
  page["turning"] = [
    [k, *result[:, k].tolist()] for k in (0, 5, 10, 20, 40) if k <= powers
  ]
  page["size"], page["ratio"] = size, f"{1 / 1.1:.3f}"
  figures.curves(
    page.figure("one_direction"),
    "Powers of a matrix turn every vector",
    {
      "~bound": (np.arange(powers + 1), result[1]),
      "measured": (np.arange(powers + 1), result[0]),
    },
    x="power $k$",
    y=r"$\tan\,\theta_k$",
    log_y=True,
  )


_REPEATS = 5
_WAYS = ("autodiff of the scan", "fused, all kept", "fused, recomputed")


def costs(study: run_lib.Study) -> None:
  """Memory and time against the length, with and without recomputation."""
  page, lengths = study.page, sorted(study.config.settings.lengths)
  measured = np.array([_cost(study, steps) for steps in lengths])
  # Megabytes and milliseconds, [length, way] each.
  memory, time = np.moveaxis(measured, 2, 0)
  page["costs"] = [
    [f"{steps:,}", *memory[i].tolist(), *time[i].tolist()]
    for i, steps in enumerate(lengths)
  ]
  growth = np.log(memory[-1] / memory[0]) / math.log(lengths[-1] / lengths[0])
  names = ("scan", "fused", "again")
  page["growth"] = {k: f"{x:.2f}" for k, x in zip(names, growth, strict=True)}
  page["less_memory"] = f"{memory[-1, 1] / memory[-1, 2]:.0f}"
  page["more_time"] = f"{time[-1, 2] / time[-1, 1]:.2f}"
  page["platform"] = jax.devices()[0].platform
  with style.panels(page.figure("cost"), "", height=3.6, columns=2) as pairs:
    for pair, title, values in (
      (pairs[0], "memory, MB", memory),
      (pairs[1], "processor time, ms", time),
    ):
      figures.draw(
        pair,
        {name: (lengths, values[:, way]) for way, name in enumerate(_WAYS)},
        title=title,
        x="length T",
        log_x=2,
        log_y=True,
        marks=True,
      )
    pairs[0].legend(frameon=False, fontsize=8)


def _cost(study: run_lib.Study, steps: int) -> list[tuple[float, float]]:
  """Megabytes of XLA's buffers and milliseconds of the processor, by way."""
  settings = study.config.settings
  features, cell = settings.features, training.cell_of(settings.cost_cell)
  random = study.random
  params = _drawn(cell, features, random, features**-0.5)
  carry = cell.initial_carry((_ROWS,), features)
  xs = jnp.asarray(random.normal(size=(steps, _ROWS, _INPUTS)), jnp.float32)

  def plain(*given: Any, **options: Any) -> Any:
    return scan.unroll(cell.step, *given, **options)

  def measured(sequence: Any) -> tuple[float, float]:
    def last(params: Any, xs: Any) -> jax.Array:
      return jnp.sum(sequence(params, carry, xs)[0].h)

    compiled: Any = jax.jit(jax.grad(last)).lower(params, xs).compile()
    jax.block_until_ready(compiled(params, xs))
    seconds = []
    for _ in range(_REPEATS):
      start = clock.process_time()  # other programs do not count
      jax.block_until_ready(compiled(params, xs))
      seconds.append(clock.process_time() - start)
    study.signals.check()
    size = compiled.memory_analysis().temp_size_in_bytes
    return size / 1e6, 1e3 * min(seconds)

  again = scan.checkpointed(cell.sequence, max(1, math.isqrt(steps)))
  return [measured(sequence) for sequence in (plain, cell.sequence, again)]


_CHARACTERS, _LENGTH = 64, 8  # of the figure of segments


def three_ways(study: run_lib.Study) -> None:
  """The segments within which a gradient may flow, by strategy."""
  page = study.page
  tokens = study.tokens("characters")
  ids = np.asarray(tokens.splits["train"][: 4 * _CHARACTERS])
  text = training.decode(tokens, ids)
  words = cleaning.letters(text).strip()
  text = (words if len(words) >= _CHARACTERS else text)[:_CHARACTERS]
  keep = 1 - 1 / _LENGTH
  factors = truncation.random_factors(
    jax.random.key(study.config.seed), len(text), 1, keep=keep
  )
  cuts = np.flatnonzero(np.asarray(factors[:, 0]) == 0).tolist()
  page["segments"] = len(cuts) + 1
  page["characters"] = len(text)
  page["figure_keep"] = f"{keep:g}"
  page["figure_length"] = _LENGTH
  rows = {
    f"randomised: lengths by chance, {_LENGTH} on average": cuts,
    f"truncated: {_LENGTH} characters each": range(_LENGTH, len(text), _LENGTH),
    "full: one segment": [],
  }
  strips(page.figure("strategies"), "Where a gradient may flow", text, rows)


_ROW = 0.72  # inches


def strips(
  path: style.Path, title: str, text: str, cuts: Mapping[str, Sequence[int]]
) -> None:
  """Rows of the same characters, some 60, boxed in segments.

  The `cuts` of each row are where its segments begin, but for the first.
  """
  height = 0.5 + _ROW * len(cuts)
  with style.figure(path, height=height, dpi=160) as drawing:
    pair = drawing.subplots()
    pair.set_axis_off()
    pair.set_title(title, fontsize=11)
    pair.set_xlim(-0.7, len(text) - 0.3)
    pair.set_ylim(-len(cuts) + 0.5, 0.7)
    for row, (name, places) in enumerate(cuts.items()):
      pair.text(-0.45, 0.36 - row, name, fontsize=8.5, color=style.GREY)
      edges = [0, *sorted(places), len(text)]
      for index, (start, end) in enumerate(itertools.pairwise(edges)):
        colour = style.COLOURS[index % 2]
        look = {"color": (colour, 0.18), "edgecolor": colour, "lw": 0.8}
        pair.barh(
          -row, end - start - 0.16, left=start - 0.42, height=0.5, **look
        )
      middle = {"ha": "center", "va": "center", "parse_math": False}
      for place, character in enumerate(text):
        shown = figures.VISIBLE.get(character, character)
        pair.text(
          place, -row, shown, family="monospace", fontsize=8.5, **middle
        )


_STEPS, _WIDTH, _FEATURES = 6, 2, 3
_KEEPS = (0.5, 0.8)


def _problem(random: np.random.Generator) -> tuple[Any, dict[int, np.ndarray]]:
  """A small tanh network: gradients [N, P] by factors [N, T], and by window.

  In float64, where JAX is set to it.
  """
  params = elman.ElmanParams(
    jnp.asarray(random.normal(size=(_WIDTH, _FEATURES))),
    jnp.asarray(random.normal(size=(_FEATURES, _FEATURES))),
    jnp.asarray(0.1 * random.normal(size=_FEATURES)),
  )
  xs = jnp.asarray(random.normal(size=(_STEPS, 1, _WIDTH)))
  readers = jnp.asarray(random.normal(size=(_STEPS, 1, _FEATURES)))
  carry = elman.initial_carry((1,), _FEATURES, xs.dtype)

  def gradient(sequence: Any, xs: Any) -> jax.Array:
    def loss(params: Any) -> jax.Array:
      return jnp.sum(sequence(params, carry, xs)[1] * readers)

    return flatten_util.ravel_pytree(jax.grad(loss)(params))[0]

  factored = functools.partial(scan.unroll, truncation.weighted(elman.step))
  windows = {}
  for window in (1, 2):
    sequence = truncation.in_windows(elman.step, window)
    result = jax.jit(functools.partial(gradient, sequence))(xs)
    windows[window] = np.asarray(result)
  return (
    jax.jit(jax.vmap(lambda f: gradient(factored, (xs, f[:, None])))),
    windows,
  )


def unbiased(study: run_lib.Study) -> None:
  """All outcomes added up, then many draws beside regular truncation."""
  page, draws = study.page, study.config.settings.draws
  expected, sampled = {}, {}
  with jax.enable_x64(True):
    weighed, windows = _problem(study.random)
    full = np.asarray(weighed(np.ones((1, _STEPS))))[0]
    for keep in _KEEPS:
      factors, shares = truncation.outcomes(_STEPS, keep=keep)
      expected[keep] = shares @ np.asarray(weighed(factors))
      key = jax.random.key(study.config.seed)
      key = jax.random.fold_in(key, round(1000 * keep))
      some = truncation.random_factors(key, _STEPS, draws, keep=keep)
      sampled[keep] = np.asarray(weighed(some.T))
  size = float(np.linalg.norm(full))
  body, deviations, window = [], {}, max(windows)
  for keep, result in sampled.items():
    error = result.std(axis=0, ddof=1) / math.sqrt(draws)
    scores = np.abs(result.mean(axis=0) - full) / error
    deviations[keep] = math.sqrt(result.var(axis=0, ddof=1).sum()) / size
    held = f"{np.sum(scores < 1.96)} of {len(scores)}"
    apart = float(np.abs(expected[keep] - full).max()), float(scores.max())
    body.append([f"{keep:g}", *apart, held, deviations[keep]])
    missed = np.abs(windows[window] - full) / error
  page["unbiased"] = body
  page["small"] = {
    "steps": _STEPS,
    "features": _FEATURES,
    "weights": len(full),
    "outcomes": 2 ** (_STEPS - 1),
  }
  page["missed"] = {"window": window, "errors": f"{missed.max():,.0f}"}
  counts = np.unique(np.geomspace(1, draws, 60).astype(int))
  curves: dict[str, figures.Curve] = {}
  for (keep, result), colour in zip(
    sampled.items(), style.COLOURS, strict=False
  ):
    sums = np.cumsum(result, axis=0)[counts - 1]
    distance = np.linalg.norm(sums / counts[:, None] - full, axis=1) / size
    root = deviations[keep] / np.sqrt(counts)
    look = {"color": colour, "ls": "--", "lw": 1.0}
    curves[f"randomised, p = {keep:g}"] = (counts, distance, {"color": colour})
    curves[f"_{keep}"] = (counts, root, look)
  figures.curves(
    page.figure("unbiased"),
    "An average loses variance, never bias",
    curves,
    x="draws averaged",
    y="distance / |full gradient|",
    log_x=True,
    log_y=True,
    references={
      f"window of {window}": np.linalg.norm(result - full) / size
      for window, result in windows.items()
    },
  )


# Of the scalar recursion a_t = 1 + c a_{t-1}.
_FACTOR = 0.9
_VARIANCE_KEEPS = (0.95, 0.9, 0.85, 0.81, 0.7)
_SIMULATED = 0.85  # below it, a simulation's own variance is too large
_HORIZON = 60


def variance(study: run_lib.Study) -> None:
  """The scalar case: bias of the window, variance of the draw."""
  page, random = study.page, study.random
  draws = study.config.settings.draws
  formula, simulated, limits = {}, {}, {}
  for keep in _VARIANCE_KEEPS:
    _, formula[keep] = truncation.random_moments(
      1.0, _FACTOR, keep=keep, steps=_HORIZON
    )
    limit = truncation.limit_variance(1.0, _FACTOR, keep=keep)
    limits[keep] = f"{limit:.1f}" if math.isfinite(limit) else "none"
    if keep >= _SIMULATED:
      z, spread = np.zeros(draws), []
      for _ in range(_HORIZON):
        kept = random.random(len(z)) < keep
        z = 1.0 + np.where(kept, _FACTOR / keep, 0.0) * z
        spread.append(z.var())
      simulated[keep] = np.array(spread)
  body = []
  for keep in _VARIANCE_KEEPS:
    drawn = float(simulated[keep][-1]) if keep in simulated else ""
    length, exact = 1 / (1 - keep), float(formula[keep][-1])
    body.append([f"{keep:g}", length, exact, drawn, limits[keep]])
  page["variances"] = body
  page["scalar"] = {
    "factor": f"{_FACTOR:g}",
    "horizon": _HORIZON,
    "square": f"{_FACTOR**2:.2f}",
    "limit": f"{1 / (1 - _FACTOR):.0f}",
    "kept": ", ".join(
      f"{100 * (1 - _FACTOR**k):.0f} % at k = {k}" for k in (1, 4, 8, 16, 32)
    ),
  }
  times = np.arange(1, _HORIZON + 1)
  curves: dict[str, figures.Curve] = {}
  for keep, colour in zip(_VARIANCE_KEEPS, style.COLOURS, strict=False):
    label = f"p = {keep:g}, limit {limits[keep]}"
    curves[label] = (times, formula[keep], {"color": colour})
    if keep in simulated:
      circles = {"color": colour, "ls": "", "marker": "o", "mfc": "none"}
      curves[f"_{keep}"] = (times[4::5], simulated[keep][4::5], circles)
  figures.curves(
    page.figure("variance"),
    "Variance of the randomised estimate",
    curves,
    x="steps $t$",
    y="variance of $z_t$",
    log_y=True,
  )
