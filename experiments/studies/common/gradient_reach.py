"""The reach of gradients: their norm by distance in time.

For a direction v at the last step T, any cell has

    g_k = d(v . h_T) / d carry_{T-k},   k = 0, 1, ..., T,

and |g_k| falls or grows about geometrically: it is a product of k Jacobians.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import cell as cells
from seqmodels.cells import scan
from seqmodels.models import networks


@functools.partial(jax.jit, static_argnums=0)
def by_distance(
  step: scan.Step, params: Any, carry: Any, xs: Any, cotangent: Any
) -> Any:
  """|g_k| of each field of the carry, for v the `cotangent` of the last carry.

  Norms [T+1, B] by distance: the direction itself first and the derivative of
  the given carry [B, H] last. `xs` may be several arrays [T, B, D] in a tuple.

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
  """A cotangent of the carry that reads one of its fields along a vector [H].

  >>> from seqmodels.cells import lstm
  >>> direction(lstm.initial_carry((1,), 2), jnp.ones(2)).h
  Array([[1., 1.]], dtype=float32)
  """
  zeros = jax.tree.map(jnp.zeros_like, carry)
  like = getattr(carry, field)
  along = jnp.broadcast_to(vector[None], like.shape).astype(like.dtype)
  return zeros._replace(**{field: along})


def mean_norms(
  cell: cells.Cell, params: Any, xs: Any, vector: jax.Array, field: str = "h"
) -> np.ndarray:
  """|g_k| of the whole carry [T+1], the geometric mean over the rows.

  A sequence [T, B, ...] is read from a carry of zeros; v reads a field of the
  last one along a vector [H].
  """
  carry = cell.initial_carry((xs.shape[1],), len(vector), vector.dtype)
  toward = direction(carry, vector, field=field)
  fields = jax.tree.leaves(by_distance(cell.step, params, carry, xs, toward))
  norms = np.sqrt(sum(np.square(field, dtype=float) for field in fields))
  with np.errstate(divide="ignore"):
    return np.exp(np.log(norms).mean(axis=1))


def between(
  predictor: networks.SequenceModel,
  params: Any,
  ids: np.ndarray,
  reset: np.ndarray | None = None,
) -> np.ndarray:
  """The largest |dO_t / dX_s| between two places of a text of ids [T].

  The ids are read as one-hot vectors; outputs t go down and inputs s across.
  """
  hot = jax.nn.one_hot(ids, predictor.vocabulary_size)[:, None]
  cleared = np.zeros(hot.shape[:2], bool) if reset is None else reset[:, None]

  def outputs(hot: jax.Array) -> jax.Array:
    carry = predictor.initial_carry(1)
    return predictor.apply(params, carry, hot, cleared)[1][:, 0]

  slopes = jax.jit(jax.jacrev(outputs))(hot)  # [T, V, T, 1, V]
  return np.abs(np.asarray(slopes)).max(axis=(1, 3, 4))
