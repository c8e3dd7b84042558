"""The input side of a layer: one matrix product for a whole sequence.

A layer may read several things at once (Graves, 2013, equation 2: the raw input
and the layer below). Each gets its own rows of one `kernel`; symbols given as
integer ids stand for one-hot vectors and become a row lookup.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp

from seqmodels.cells import products

Inputs = jax.Array | Sequence[jax.Array]


def project(
  kernel: jax.Array,
  inputs: Inputs,
  *,
  bias: jax.Array | None = None,
  widths: Sequence[int] | None = None,
  dtype: products.Dtype = None,
) -> jax.Array:
  """[inputs] kernel + bias, summed in float32 (float64 stays float64).

  Args:
    kernel: [D, F], rows in the order of `inputs`.
    inputs: one array or several. Integers [...] are ids of one-hot vectors, an
      id below 0 being the null vector; floats are dense, [..., d].
    bias: [F], if any.
    widths: rows of `kernel` that each input takes; needed only where an integer
      input stands beside others, and inferred otherwise.
    dtype: dtype of the operands (bfloat16 for speed); `None` keeps them.

  Returns:
    [..., F].

  >>> kernel = jnp.arange(6.0).reshape(3, 2)
  >>> project(kernel, jnp.array([2, -1]))
  Array([[4., 5.],
         [0., 0.]], dtype=float32)
  """
  parts = as_list(inputs)
  if widths is None:
    widths = _widths(kernel.shape[0], parts)
  total, start = None, 0
  for part, width in zip(parts, widths, strict=True):
    rows = jax.lax.slice_in_dim(kernel, start, start + width)
    term = _project_one(rows, part, dtype)
    total = term if total is None else total + term
    start += width
  if start != kernel.shape[0] or total is None:
    raise ValueError(
      f"the inputs are {start} wide, but the kernel has {kernel.shape[0]} rows"
    )
  return total if bias is None else total + along_last(bias, total.ndim)


def along_last(vector: jax.Array, ndim: int) -> jax.Array:
  """[F] as [1, ..., 1, F], to meet arrays of `ndim` axes.

  Spelled out, so that the code runs where JAX is told to refuse arrays of
  unlike ranks (`jax_numpy_rank_promotion`).

  >>> along_last(jnp.ones(4), 3).shape
  (1, 1, 4)
  """
  return vector.reshape((1,) * (ndim - 1) + vector.shape)


def as_list(inputs: Inputs) -> list[jax.Array]:
  """A layer's inputs as a list, also where there is only one."""
  if isinstance(inputs, tuple | list):
    return list(inputs)
  return [jnp.asarray(inputs)]


def _widths(rows: int, parts: list[jax.Array]) -> list[int]:
  dense = [
    None if jnp.issubdtype(part.dtype, jnp.integer) else part.shape[-1]
    for part in parts
  ]
  known = sum(width for width in dense if width is not None)
  if dense.count(None) > 1:
    raise ValueError("several integer inputs need `widths`")
  return [rows - known if width is None else width for width in dense]


def _project_one(
  rows: jax.Array, part: jax.Array, dtype: products.Dtype
) -> jax.Array:
  if jnp.issubdtype(part.dtype, jnp.integer):
    return products.lookup(rows, part, dtype)
  return products.matmul(part, rows, dtype)
