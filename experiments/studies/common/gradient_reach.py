"""How far back a gradient reaches, by radius, by cell and by initialisation."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import small_network
from seqmodels.cells import cell as cells
from seqmodels.evaluation import gradient_reach
from seqmodels.plotting import style

_CELLS = {"Elman, tanh": "elman", "GRU": "gru", "LSTM": "lstm"}
INPUTS, ROWS = 16, 8
# The factor a step is taken from here on, where the first steps are forgotten.
_FROM = 10
_SETTLING = 20
_SHOWN = (1e-16, 1e6)  # norms in the figure

Norms = np.ndarray  # [K + 1] by distance


def by_radius(study: run.Study) -> None:
  """Elman, GRU and LSTM with recurrent weights of a given spectral radius."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "How far back a gradient reaches",
    """
    Take a direction v at the last step and ask how strongly v . h_T depends on
    the state k steps before. For the linear network the answer is closed:
    """,
  )
  page.shown(
    """
    g_k = d(v . h_T)/dh_{T-k} = v (W_h')^k,      |g_k| -> |lambda_max|^k

    W_h = rho Q, Q orthogonal:   |g_k| = rho^k |v|   for every k
    """
  )
  found: dict[float, dict[str, Norms]] = {}
  for radius in (*settings.radii, *settings.other_radii):
    found[radius] = _networks(study, radius)
    study.signals.check()
  closed = {
    radius: radius ** np.arange(settings.distance + 1) for radius in found
  }
  worst = max(
    float(np.abs(norms["linear"] / closed[radius] - 1).max())
    for radius, norms in found.items()
  )
  page.say(
    f"""
    Below 1 it vanishes, above 1 it explodes; there is no third way but the edge
    itself. The linear network, differentiated automatically over
    {settings.distance} steps in float64, agrees with rho^k to
    {worst:.1e} (relative). The other cells have the same recurrent weights,
    rho Q for each gate with {settings.features} units, and normal inputs. For
    the GRU and the LSTM the whole carry is meant, the LSTM's cell included; the
    LSTM has its forget gate's bias at 1, as is usual.
    """
  )
  order = sorted(found)
  page.table(
    ("factor a step", *(f"rho = {radius:g}" for radius in order)),
    [
      [name, *(factor(found[radius][name]) for radius in order)]
      for name in found[order[0]]
    ],
  )
  smaller = all(
    factor(norms["Elman, tanh"]) < factor(norms["linear"])
    for norms in found.values()
  )
  held = factor(found[order[-1]]["LSTM"])
  grows = [r for r in order if factor(found[r]["Elman, tanh"]) > 1]
  page.say(
    f"""
    The slope of tanh is at most 1, so that it can only shorten: the tanh
    network's factor is {"" if smaller else "not always "}below the linear one's
    at every rho of the table, and it {
      f"exceeds 1 from rho = {min(grows):g} on" if grows else "never exceeds 1"
    }. A gated cell has a second path, the
    product of its update or forget gates, that does not pass through the
    weights: 1/2 a step for a GRU whose gate is half open, sigma(1) = 0.73 for
    the LSTM. At small rho this is what is left, and the factor does not follow
    rho towards 0. {
      "Nor does it keep a gradient from growing"
      if held > 1
      else "Growth is slower as well"
    }: the LSTM's factor is {held:.2f} at rho = {order[-1]:g}.
    """
  )
  _panels(
    study,
    {f"rho = {r:g}": found[r] for r in settings.radii},
    {f"rho = {r:g}": closed[r] for r in settings.radii},
  )


_by_distance = jax.jit(gradient_reach.by_distance, static_argnums=0)


def mean_norms(
  step: Any, params: Any, carry: Any, xs: Any, cotangent: Any
) -> Norms:
  """|g_k| of the whole carry, the geometric mean over the rows."""
  norms = gradient_reach.together(
    _by_distance(step, params, carry, xs, cotangent)
  )
  with np.errstate(divide="ignore"):
    return np.exp(np.log(norms).mean(axis=1))


def _networks(study: run.Study, radius: float) -> dict[str, Norms]:
  """|g_k| of each kind of network with recurrent weights radius * Q."""
  settings = study.config.settings
  random, features = study.random, settings.features
  rotations = [
    np.linalg.qr(random.normal(size=(features, features)))[0] for _ in range(4)
  ]
  vector = random.normal(size=features)
  vector /= np.linalg.norm(vector)
  # Some steps more, for the state to forget that it began at 0.
  shape = (settings.distance + _SETTLING, ROWS, INPUTS)
  found = {}
  with jax.enable_x64(True):
    xs = jnp.asarray(random.normal(size=shape))
    still = jnp.zeros((1, features))
    found["linear"] = mean_norms(
      _linear_step,
      jnp.asarray(radius * rotations[0]),
      still,
      jnp.zeros((settings.distance, 1, features)),
      jnp.asarray(vector)[None],
    )
    for name, kind in _CELLS.items():
      cell = small_network.cell_of(kind)
      scale = 1 / (4 * INPUTS**0.5)
      params = small_network.drawn(cell, INPUTS, features, random, scale)
      recurrent = [radius * q for q in rotations[: len(cell.gates)]]
      params = params._replace(
        recurrent_kernel=jnp.asarray(np.concatenate(recurrent, axis=1)),
        bias=biases(cell, features, 1, 1.0 if kind == "lstm" else 0.0),
      )
      carry = cell.initial_carry((ROWS,), features, jnp.float64)
      direction = gradient_reach.direction(carry, jnp.asarray(vector))
      norms = mean_norms(cell.step, params, carry, xs, direction)
      found[name] = norms[: settings.distance + 1]
  return found


def biases(
  cell: cells.Cell, features: int, gate: int, value: float
) -> jax.Array:
  """Zeros, but for one gate's."""
  found = np.zeros((len(cell.gates), features))
  if value:
    found[gate] = value
  return jnp.asarray(found.ravel())


def _linear_step(params: Any, carry: Any, x: Any) -> tuple[Any, Any]:
  after = carry @ params + x
  return after, after


def factor(norms: Norms, first: int = _FROM) -> float:
  """Of one step, on average from the first distance on."""
  return gradient_reach.per_step(norms, first=min(first, len(norms) - 2))


def _panels(
  study: run.Study,
  found: Mapping[str, Mapping[str, Norms]],
  closed: Mapping[str, Norms],
) -> None:
  path = study.lesson.figure(
    "reach",
    "Norm of the gradient k steps back for recurrent weights rho Q. Circles: "
    "the closed form rho^k of the linear network.",
  )
  with style.figure(path, height=3.8) as drawing:
    pairs = drawing.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for pair, (title, networks) in zip(pairs, found.items(), strict=True):
      style.clean(pair)
      pair.set_title(title.replace("rho", r"$\rho$"), fontsize=10)
      for (name, norms), colour in zip(
        networks.items(), style.COLOURS, strict=False
      ):
        pair.plot(norms, color=colour, lw=1.6, label=name)
      places = np.arange(0, len(closed[title]), max(len(closed[title]) // 8, 1))
      pair.plot(
        places,
        closed[title][places],
        "o",
        mfc="none",
        ms=5,
        color=style.GREY,
        label=r"$\rho^k$",
      )
      pair.set_yscale("log")
      pair.set_ylim(*_SHOWN)
      pair.set_xlabel("steps back, $k$")
    pairs[0].set_ylabel("$|g_k|$")
    pairs[-1].legend(frameon=False, fontsize=7.5, loc="lower left")
