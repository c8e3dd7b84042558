"""How far gradients reach back in time.

How far back a gradient reaches: its norm by distance in time.

For a direction v at the last step, any cell has

    g_k = d(v . h_T) / d carry_{T-k},   k = 0, 1, ..., T,

and |g_k| falls or grows about geometrically: it is a product of k Jacobians. In
the linear network h_t = x_t W_x + h_{t-1} W_h it is exactly g_k = v (W_h')^k.
Then |g_k| goes as |lambda|^k in the long run, lambda being the eigenvalue of
W_h of the largest modulus (its spectral radius), and for W_h = rho Q with Q
orthogonal |g_k| = rho^k |v| at every k.

Powers of a symmetric M turn every vector towards one direction. With eigenpairs
(lambda_i, v_i) and |lambda_1| > |lambda_2|, the angle of M^k x to v_1 obeys

    tan theta_k <= |lambda_2 / lambda_1|^k tan theta_0.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import scan as unrolling
from seqmodels.plotting import style


def by_distance(
  step: unrolling.Step,
  params: Any,
  carry: unrolling.Carry,
  xs: unrolling.Inputs,
  cotangent: unrolling.Carry,
) -> unrolling.Carry:
  """|g_k| of each field of the carry.

  Args:
    step: `(params, carry, x) -> (carry, y)`, differentiable.
    params: what `step` takes.
    carry: the state before the first step; leaves [B, H].
    xs: [T, B, D], or several such arrays in a tuple.
    cotangent: v, shaped like the carry after the last step; see `direction`.

  Returns:
    Shaped like the carry: norms [T+1, B] by distance, the direction itself
    first and the derivative of the given carry last.

  >>> halve = lambda params, carry, x: (0.5 * carry + x, carry)
  >>> one = jnp.ones((1, 1))
  >>> by_distance(halve, None, one, jnp.ones((3, 1, 1)), one).ravel()
  Array([1.   , 0.5  , 0.25 , 0.125], dtype=float32)
  """

  def run(carry: Any, nudges: Any) -> Any:
    def body(carry: Any, inputs: Any) -> tuple[Any, None]:
      x, nudge = inputs
      after, _ = step(params, carry, x)
      return jax.tree.map(jnp.add, after, nudge), None

    return jax.lax.scan(body, carry, (xs, nudges))[0]

  steps = jax.tree.leaves(xs)[0].shape[0]
  nudges = jax.tree.map(
    lambda leaf: jnp.zeros((steps, *leaf.shape), leaf.dtype), carry
  )
  _, pull = jax.vjp(run, carry, nudges)
  d_carry, d_nudges = pull(cotangent)

  def norms(first: jax.Array, later: jax.Array) -> jax.Array:
    every = jnp.concatenate([first[None], later])[::-1]
    return jnp.linalg.norm(every, axis=-1)

  return jax.tree.map(norms, d_carry, d_nudges)


def direction(carry: Any, vector: jax.Array, *, field: str = "h") -> Any:
  """A cotangent of the carry that reads one of its fields along a vector.

  Args:
    carry: a NamedTuple of [B, H].
    vector: [H].
    field: of the carry.

  Raises:
    UserError: the carry has no such field.

  >>> from seqmodels.cells import lstm
  >>> direction(lstm.initial_carry((1,), 2), jnp.ones(2)).h
  Array([[1., 1.]], dtype=float32)
  """
  if field not in carry._fields:
    raise errors.UserError(
      f"the carry has no field {field!r}{errors.closest(field, carry._fields)}"
    )
  zeros = jax.tree.map(jnp.zeros_like, carry)
  like = getattr(carry, field)
  along = jnp.broadcast_to(vector[None], like.shape).astype(like.dtype)
  return zeros._replace(**{field: along})


def together(norms: Any) -> np.ndarray:
  """|g_k| of the whole carry, from those of its fields; float64 [T+1, B].

  >>> together((np.array([[3.0]]), np.array([[4.0]]))).item()
  5.0
  """
  squares = [np.square(leaf, dtype=float) for leaf in jax.tree.leaves(norms)]
  return np.sqrt(np.sum(squares, axis=0))


def per_step(norms: np.ndarray, *, first: int = 0) -> float:
  """The factor that one more step multiplies a gradient by, on average.

  Args:
    norms: [K] by distance.
    first: the distance to begin at.

  Returns:
    The geometric mean from there to the last; 0 where the gradient has died.

  Raises:
    UserError: fewer than two norms, or the first of them is 0.

  >>> per_step(np.array([1.0, 0.5, 0.25]))
  0.5
  """
  steps = len(norms) - 1 - first
  if steps < 1 or norms[first] <= 0:
    raise errors.UserError(
      f"{len(norms)} norms from distance {first} on tell no factor; give at "
      "least two, the first of them above 0"
    )
  return float((norms[-1] / norms[first]) ** (1 / steps))


def linear(
  recurrent: np.ndarray, vector: np.ndarray, *, distance: int
) -> np.ndarray:
  """|v (W_h')^k| for k = 0 to `distance`: the linear network's, in float64.

  Args:
    recurrent: W_h [H, H], as it multiplies a row h_{t-1} from the right.
    vector: v [H].
    distance: the largest k.

  >>> linear(0.5 * np.eye(2), np.array([3.0, 4.0]), distance=2).tolist()
  [5.0, 2.5, 1.25]
  """
  back = np.asarray(recurrent, float).T
  g, found = np.asarray(vector, float), []
  for _ in range(distance + 1):
    found.append(np.linalg.norm(g))
    g = g @ back
  return np.array(found)


def spectral_radius(matrix: np.ndarray) -> float:
  """The largest modulus of an eigenvalue.

  >>> round(spectral_radius(np.array([[0.0, -2.0], [2.0, 0.0]])), 12)
  2.0
  """
  return float(np.abs(np.linalg.eigvals(np.asarray(matrix, float))).max())


class Turning(NamedTuple):
  """M^k x for k = 0, 1, ...: float64 [K]."""

  tangents: np.ndarray  # of the angle to v_1
  bounds: np.ndarray  # of the same
  growth: np.ndarray  # |M^k x| / (|lambda_1|^k |x|)


def turning(matrix: np.ndarray, start: np.ndarray, *, powers: int) -> Turning:
  """The angle of M^k x to the leading eigenvector, and its bound.

  Args:
    matrix: M [N, N], symmetric.
    start: x [N].
    powers: the largest k.

  Raises:
    UserError: M is not symmetric.

  >>> found = turning(np.diag([2.0, 1.0]), np.array([1.0, 1.0]), powers=2)
  >>> found.tangents.round(6).tolist(), found.bounds.round(6).tolist()
  ([1.0, 0.5, 0.25], [1.0, 0.5, 0.25])
  """
  matrix = np.asarray(matrix, float)
  if matrix.shape != matrix.T.shape or not np.allclose(matrix, matrix.T):
    raise errors.UserError(
      f"a matrix of shape {matrix.shape} is not symmetric; the bound on the "
      "angle holds for symmetric ones, such as (M + M') / 2"
    )
  values, vectors = np.linalg.eigh(matrix)
  order = np.argsort(-np.abs(values))
  values, leading = values[order], vectors[:, order[0]]
  x = np.asarray(start, float)
  size, tangents, growth = np.linalg.norm(x), [], []
  for _ in range(powers + 1):
    along = float(leading @ x)
    tangents.append(np.linalg.norm(x - along * leading) / abs(along))
    growth.append(np.linalg.norm(x) / size)
    # Scaled as it goes: lambda_1^k alone would overflow.
    x = matrix @ x / abs(values[0])
  ratio = abs(values[1] / values[0])
  bounds = tangents[0] * ratio ** np.arange(powers + 1)
  return Turning(np.array(tangents), bounds, np.array(growth))


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


_by_distance = jax.jit(by_distance, static_argnums=0)


def mean_norms(
  step: Any, params: Any, carry: Any, xs: Any, cotangent: Any
) -> Norms:
  """|g_k| of the whole carry, the geometric mean over the rows."""
  norms = together(_by_distance(step, params, carry, xs, cotangent))
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
      cell = training.cell_of(kind)
      scale = 1 / (4 * INPUTS**0.5)
      params = training.drawn_network(cell, INPUTS, features, random, scale)
      recurrent = [radius * q for q in rotations[: len(cell.gates)]]
      params = params._replace(
        recurrent_kernel=jnp.asarray(np.concatenate(recurrent, axis=1)),
        bias=biases(cell, features, 1, 1.0 if kind == "lstm" else 0.0),
      )
      carry = cell.initial_carry((ROWS,), features, jnp.float64)
      toward = direction(carry, jnp.asarray(vector))
      norms = mean_norms(cell.step, params, carry, xs, toward)
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
  return per_step(norms, first=min(first, len(norms) - 2))


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
