"""Backpropagation through time, and what to do where it is long."""

import functools
import inspect
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


def biases(
  cell: cells.Cell, features: int, gate: int, value: float
) -> jax.Array:
  """Zeros, but for one gate's."""
  found = np.zeros((len(cell.gates), features))
  if value:
    found[gate] = value
  return jnp.asarray(found.ravel())


def by_radius(study: run_lib.Study) -> None:
  """Elman, GRU and LSTM with recurrent weights of a given spectral radius."""
  page, settings = study.page, study.config.settings
  found = {
    radius: _networks(study, radius)
    for radius in sorted((*settings.radii, *settings.other_radii))
  }
  factors = {
    radius: {name: factor(norms) for name, norms in networks.items()}
    for radius, networks in found.items()
  }
  largest = max(found)
  head = ("factor a step", *(f"rho = {radius:g}" for radius in found))
  body = [
    [name, *(factors[radius][name] for radius in found)]
    for name in found[largest]
  ]
  page.table("radii", head, body)
  grows = [r for r in found if factors[r]["Elman, tanh"] > 1]
  page["grows"] = (
    f"exceeds 1 from rho = {min(grows):g} on" if grows else "never exceeds 1"
  )
  page["largest_radius"] = f"{largest:g}"
  page["lstm_factor"] = f"{factors[largest]['LSTM']:.2f}"
  distances = np.arange(settings.distance + 1)
  places = distances[:: max(len(distances) // 8, 1)]
  columns = len(settings.radii)
  with style.panels(
    page.figure("reach"), "", height=3.8, columns=columns, sharey=True
  ) as pairs:
    for pair, radius in zip(pairs, settings.radii, strict=True):
      pair.set_title(rf"$\rho$ = {radius:g}", fontsize=10)
      for (name, norms), colour in zip(
        found[radius].items(), style.COLOURS, strict=False
      ):
        pair.plot(norms, color=colour, lw=1.6, label=name)
      circles = {"color": style.GREY, "mfc": "none", "ms": 5}
      powers = float(radius) ** places
      pair.plot(places, powers, "o", label=r"$\rho^k$", **circles)
      pair.set_yscale("log")
      pair.set_ylim(*_SHOWN)
      pair.set_xlabel("steps back, $k$")
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
  found = {}
  with jax.enable_x64(True):
    xs = jnp.asarray(
      random.normal(size=(settings.distance + _SETTLING, _ROWS, _INPUTS))
    )
    found["linear"] = gradient_reach.mean_norms(
      _linear_step,
      jnp.asarray(radius * rotations[0]),
      jnp.zeros((1, features)),
      jnp.zeros((settings.distance, 1, features)),
      jnp.asarray(vector)[None],
    )
    for name, kind in (
      ("Elman, tanh", "elman"),
      ("GRU", "gru"),
      ("LSTM", "lstm"),
    ):
      cell = training.cell_of(kind)
      scale = 1 / (4 * _INPUTS**0.5)
      params = _drawn(cell, features, random, scale)
      recurrent = [radius * q for q in rotations[: len(cell.gates)]]
      params = params._replace(
        recurrent_kernel=jnp.asarray(np.concatenate(recurrent, axis=1)),
        bias=biases(cell, features, 1, 1.0 if kind == "lstm" else 0.0),
      )
      carry = cell.initial_carry((_ROWS,), features, jnp.float64)
      toward = gradient_reach.direction(carry, jnp.asarray(vector))
      norms = gradient_reach.mean_norms(cell.step, params, carry, xs, toward)
      found[name] = norms[: settings.distance + 1]
  return found


def _linear_step(params: Any, carry: Any, x: Any) -> tuple[Any, Any]:
  after = carry @ params + x
  return after, after


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
  drawn, body = {}, []
  for name, kind, features, bias in networks:
    drawn[name], radius = _textbook(study, kind, features, bias)
    one = factor(drawn[name], first=1)
    plain = (_TEXTBOOK * math.sqrt(features), radius)
    radii = plain if kind == "elman" else ("", "")
    body.append([name, *radii, one, f"{one**5:.1e}"])
  head = ["network", f"{_TEXTBOOK:g} sqrt(h)", "spectral radius"]
  head += ["factor a step", "after 5 steps"]
  page.table("initialisations", head, body)
  page["textbook"] = f"{_TEXTBOOK:g}"
  page["least_features"] = least
  path = page.figure("initialisation")
  with style.axes(path, "The reach of an untrained network") as pair:
    colours = dict(zip(("Elman", "LSTM", "GRU"), style.COLOURS, strict=False))
    seen: dict[str, int] = {}
    for name, norms in drawn.items():
      family = name.split(",")[0]
      dashes = ("-", "--", ":")[seen.get(family, 0) % 3]
      seen[family] = seen.get(family, 0) + 1
      # An LSTM and a GRU with like gates lie on each other: wide under thin.
      wide = family == "LSTM"
      pair.plot(
        norms / norms[0],
        dashes,
        color=colours[family],
        lw=4.0 if wide else 1.6,
        alpha=0.5 if wide else 1.0,
        label=name,
      )
    pair.set_yscale("log")
    pair.set_ylim(1e-16, 3)
    pair.set_xlim(0, settings.short_distance)
    pair.set_xlabel("steps back, $k$")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    style.legend_beside(pair, "")


def _textbook(
  study: run_lib.Study, kind: str, features: int, bias: float
) -> tuple[np.ndarray, float]:
  """|g_k| with small normal weights, and their spectral radius."""
  random, cell = study.random, training.cell_of(kind)
  with jax.enable_x64(True):
    params = _drawn(cell, features, random, _TEXTBOOK)
    params = params._replace(bias=biases(cell, features, 1, bias))
    carry = cell.initial_carry((_ROWS,), features, jnp.float64)
    steps = study.config.settings.short_distance
    xs = jnp.asarray(random.normal(size=(steps, _ROWS, _INPUTS)))
    vector = jnp.asarray(random.normal(size=features))
    # What lasts in an LSTM is its cell.
    field = "c" if kind == "lstm" else "h"
    direction = gradient_reach.direction(carry, vector, field=field)
    norms = gradient_reach.mean_norms(cell.step, params, carry, xs, direction)
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
  found = gradients.turning(matrix, start, powers=powers)
  head = ("k", "tan theta_k", "bound", "|M^k x| / (|lambda_1|^k |x|)")
  shown = [k for k in (0, 5, 10, 20, 40) if k <= powers]
  body = [[k, *(float(values[k]) for values in found)] for k in shown]
  page.table("turning", head, body)
  page["size"], page["ratio"] = size, f"{1 / 1.1:.3f}"
  figures.curves(
    page.figure("one_direction"),
    "Powers of a matrix turn every vector",
    {
      "~bound": (np.arange(powers + 1), found.bounds),
      "measured": (np.arange(powers + 1), found.tangents),
    },
    x="power $k$",
    y=r"$\tan\,\theta_k$",
    log_y=True,
  )


_REPEATS = 5
_SCAN, _FUSED = "autodiff of the scan", "fused, all kept"
_AGAIN = "fused, recomputed"


def costs(study: run_lib.Study) -> None:
  """Memory and time against the length, with and without recomputation."""
  page, settings = study.page, study.config.settings
  lengths = sorted(settings.lengths)
  measured = [_cost(study, steps) for steps in lengths]
  names = list(measured[0])
  # [way][0 or 1][length]: megabytes and milliseconds.
  found = {name: np.array([one[name] for one in measured]).T for name in names}
  page.table(
    "costs",
    ("T", *(f"{name}: MB" for name in names), *(f"{n}: ms" for n in names)),
    [
      [
        f"{steps:,}",
        *(float(found[n][kind, i]) for kind in (0, 1) for n in names),
      ]
      for i, steps in enumerate(lengths)
    ],
  )
  last = {name: found[name][:, -1] for name in names}
  span = math.log(lengths[-1] / lengths[0])
  page["growth"] = {
    key: f"{math.log(last[name][0] / found[name][0, 0]) / span:.2f}"
    for key, name in (("scan", _SCAN), ("fused", _FUSED), ("again", _AGAIN))
  }
  page["shortest"], page["longest"] = f"{lengths[0]:,}", f"{lengths[-1]:,}"
  page["less_memory"] = f"{last[_FUSED][0] / last[_AGAIN][0]:.0f}"
  page["more_time"] = f"{last[_AGAIN][1] / last[_FUSED][1]:.2f}"
  page["platform"] = jax.devices()[0].platform
  with style.panels(page.figure("cost"), "", height=3.6, columns=2) as pairs:
    titles = "memory, MB", "processor time, ms"
    for kind, (pair, title) in enumerate(zip(pairs, titles, strict=True)):
      pair.set_title(title, fontsize=10)
      pair.set_xscale("log", base=2)
      pair.set_yscale("log")
      pair.set_xlabel("length T")
      for name, colour in zip(names, style.COLOURS, strict=False):
        ys = found[name][kind]
        pair.plot(lengths, ys, "o-", ms=4, color=colour, label=name)
    pairs[0].legend(frameon=False, fontsize=8)


def _cost(study: run_lib.Study, steps: int) -> dict[str, tuple[float, float]]:
  """Megabytes of XLA's temporary buffers, milliseconds of the processor."""
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
      start = time.process_time()  # other programs do not count
      jax.block_until_ready(compiled(params, xs))
      seconds.append(time.process_time() - start)
    study.signals.check()
    size = compiled.memory_analysis().temp_size_in_bytes
    return size / 1e6, 1e3 * min(seconds)

  again = scan.checkpointed(cell.sequence, max(1, math.isqrt(steps)))
  return {
    _SCAN: measured(plain),
    _FUSED: measured(cell.sequence),
    _AGAIN: measured(again),
  }


_CHARACTERS, _LENGTH = 64, 8  # of the figure of segments


def three_ways(study: run_lib.Study) -> None:
  """Where a gradient may flow by each strategy."""
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
  figures.strips(
    page.figure("strategies"),
    "Where a gradient may flow",
    text,
    {
      f"randomised: lengths by chance, {_LENGTH} on average": cuts,
      f"truncated: {_LENGTH} characters each": list(
        range(_LENGTH, len(text), _LENGTH)
      ),
      "full: one segment": [],
    },
  )


_STEPS, _WIDTH, _FEATURES = 6, 2, 3
_KEEPS = (0.5, 0.8)


def _problem(
  random: np.random.Generator,
) -> tuple[Callable[[np.ndarray], np.ndarray], dict[int, np.ndarray]]:
  """A small tanh network: gradients [N, P] by factors [N, T], and by window."""
  with jax.enable_x64(True):
    params = elman.ElmanParams(
      jnp.asarray(random.normal(size=(_WIDTH, _FEATURES))),
      jnp.asarray(random.normal(size=(_FEATURES, _FEATURES))),
      jnp.asarray(0.1 * random.normal(size=_FEATURES)),
    )
    xs = jnp.asarray(random.normal(size=(_STEPS, 1, _WIDTH)))
    readers = jnp.asarray(random.normal(size=(_STEPS, 1, _FEATURES)))
    carry = elman.initial_carry((1,), _FEATURES, jnp.float64)

  def gradient(sequence: Any, xs: Any) -> jax.Array:
    def loss(params: Any) -> jax.Array:
      return jnp.sum(sequence(params, carry, xs)[1] * readers)

    leaves = jax.tree.leaves(jax.grad(loss)(params))
    return jnp.concatenate([jnp.ravel(leaf) for leaf in leaves])

  factored = functools.partial(scan.unroll, truncation.weighted(elman.step))
  many = jax.jit(jax.vmap(lambda f: gradient(factored, (xs, f[:, None]))))

  def weighed(factors: np.ndarray) -> np.ndarray:
    with jax.enable_x64(True):
      return np.asarray(many(jnp.asarray(factors)))

  with jax.enable_x64(True):
    windows = {
      window: np.asarray(
        jax.jit(gradient, static_argnums=0)(
          truncation.in_windows(elman.step, window), xs
        )
      )
      for window in (1, 2)
    }
  return weighed, windows


def unbiased(study: run_lib.Study) -> None:
  """All outcomes added up, then many draws beside regular truncation."""
  page, draws = study.page, study.config.settings.draws
  weighed, windows = _problem(study.random)
  [full] = weighed(np.ones((1, _STEPS)))
  size = float(np.linalg.norm(full))
  body, sampled, deviations = [], {}, {}
  window = max(windows)
  for keep in _KEEPS:
    factors, shares = truncation.outcomes(_STEPS, keep=keep)
    exact = shares @ weighed(factors)
    key = jax.random.key(study.config.seed)
    key = jax.random.fold_in(key, round(1000 * keep))
    with jax.enable_x64(True):
      some = truncation.random_factors(key, _STEPS, draws, keep=keep)
      found = sampled[keep] = weighed(np.asarray(some).T)
    error = found.std(axis=0, ddof=1) / math.sqrt(draws)
    scores = np.abs(found.mean(axis=0) - full) / error
    deviations[keep] = math.sqrt(found.var(axis=0, ddof=1).sum()) / size
    held = f"{np.sum(scores < 1.96)} of {len(scores)}"
    apart = float(np.abs(exact - full).max()), float(scores.max())
    body.append([f"{keep:g}", *apart, held, deviations[keep]])
    missed = np.abs(windows[window] - full) / error
  page.table(
    "unbiased",
    (
      "p",
      "all outcomes: largest difference from the full gradient",
      f"{draws:,} draws: largest |difference| in standard errors",
      "weights whose 95 % interval holds the full gradient",
      "standard deviation of one draw, of |gradient|",
    ),
    body,
  )
  page["small"] = {
    "steps": _STEPS,
    "features": _FEATURES,
    "weights": len(full),
    "outcomes": 2 ** (_STEPS - 1),
  }
  page["missed"] = {"window": window, "errors": f"{missed.max():,.0f}"}
  path = page.figure("unbiased")
  with style.axes(path, "An average loses variance, never bias") as pair:
    for (keep, found), colour in zip(
      sampled.items(), style.COLOURS, strict=False
    ):
      counts = np.unique(np.geomspace(1, draws, 60).astype(int))
      sums = np.cumsum(found, axis=0)[counts - 1]
      apart = np.linalg.norm(sums / counts[:, None] - full, axis=1) / size
      label = f"randomised, p = {keep:g}"
      pair.plot(counts, apart, color=colour, lw=1.6, label=label)
      expected = deviations[keep] / np.sqrt(counts)
      pair.plot(counts, expected, "--", color=colour, lw=1.0)
    for (window, found), dashes in zip(
      windows.items(), (":", "-."), strict=True
    ):
      pair.axhline(
        np.linalg.norm(found - full) / size,
        color=style.GREY,
        lw=1.4,
        ls=dashes,
        label=f"window of {window} step{'s' * (window > 1)}",
      )
    pair.set_xscale("log")
    pair.set_yscale("log")
    pair.set_xlabel("draws averaged")
    pair.set_ylabel("distance / |full gradient|")
    pair.legend(frameon=False, fontsize=9, loc="lower left")


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
  head = ("p", "mean length 1/(1 - p)", f"variance at t = {_HORIZON}")
  page.table("variances", (*head, "simulated", "limit"), body)
  page["draws"] = f"{draws:,}"
  page["scalar"] = {
    "factor": f"{_FACTOR:g}",
    "square": f"{_FACTOR**2:.2f}",
    "limit": f"{1 / (1 - _FACTOR):.0f}",
    "kept": ", ".join(
      f"{100 * (1 - _FACTOR**k):.0f} % at k = {k}" for k in (1, 4, 8, 16, 32)
    ),
  }
  path = page.figure("variance")
  with style.axes(path, "Variance of the randomised estimate") as pair:
    times = np.arange(1, _HORIZON + 1)
    for keep, colour in zip(_VARIANCE_KEEPS, style.COLOURS, strict=False):
      label = f"p = {keep:g}, limit {limits[keep]}"
      pair.plot(times, formula[keep], color=colour, lw=1.6, label=label)
      if keep in simulated:
        circles = {"color": colour, "mfc": "none", "ms": 5}
        pair.plot(times[4::5], simulated[keep][4::5], "o", **circles)
    pair.set_yscale("log")
    pair.set_ylim(0.5, 3 * formula[_VARIANCE_KEEPS[-1]][-1])
    pair.set_xlabel("steps $t$")
    pair.set_ylabel("variance of $z_t$")
    pair.legend(frameon=False, fontsize=9, loc="upper left")
