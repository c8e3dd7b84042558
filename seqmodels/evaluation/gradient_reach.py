"""How far back a gradient reaches: its norm by distance in time.

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

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.cells import scan as unrolling


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
