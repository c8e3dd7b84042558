"""Matrix products whose operands, but not sums, may be bfloat16.

JAX differentiates a mixed-precision product into products of mixed operands,
which XLA runs in the wider type, and rounds the weight gradient to the narrower
one. Here all three products (value and both derivatives) take operands in
`dtype` and give float32.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

Dtype = Any

# Up to this many symbols, the gradient of a row lookup is a product with the
# one-hot matrix: on a CPU XLA's scatter runs on one core and takes longer.
ONE_HOT_LIMIT = 512


# From this many multiplications in all steps of a loop, quicker products make
# up for the transposed copy of its matrix that they need (`turned_dot`).
TURNED_LIMIT = 2**29


def dot(a: jax.Array, b: jax.Array, dtype: Dtype = None) -> jax.Array:
  """a b with operands in `dtype`, accumulated in float32 or wider.

  No derivative of its own: for code that already is one.
  """
  found = _contract(a, b, (a.ndim - 1,), (0,), dtype)
  return found if dtype is None else _apart(found)


def turned(kernel: jax.Array) -> jax.Array:
  """The transpose [F, D] of `kernel` [D, F], for `turned_dot`."""
  return _apart(kernel.T)


def pays_to_turn(
  kernel: jax.Array, steps: int, rows: int, dtype: Dtype
) -> bool:
  """Whether a loop of products takes less time with `turned_dot`.

  Args:
    kernel: [D, F].
    steps: products in the loop.
    rows: of each.
    dtype: dtype of the operands.
  """
  if rows < 8 and dtype is None:
    return False  # limited by memory either way
  return steps * max(rows, 2) * kernel.size >= TURNED_LIMIT


def turned_dot(
  a: jax.Array, kernel: jax.Array, dtype: Dtype = None
) -> jax.Array:
  """`dot(a, kernel.T)` with the matrix on the left, [..., D] by [F, D].

  On a CPU, for 8 to 32 rows and a kernel of 1000 by 4000, it takes 0.4 to 0.6
  times as long as `dot`: the matrix on the left needs no packing. No derivative
  of its own.

  >>> turned_dot(jnp.ones((2, 3)), jnp.ones((5, 3))).shape
  (2, 5)
  """
  return source_gradient(a, kernel, dtype)


def source_gradient(
  d_net: jax.Array, kernel: jax.Array, dtype: Dtype = None
) -> jax.Array:
  """The gradient of what a matrix was multiplied with, [..., D].

  Args:
    d_net: [..., F], the derivative of what came out.
    kernel: [D, F].
    dtype: dtype of the operands.

  >>> source_gradient(jnp.ones((2, 5, 3)), jnp.ones((4, 3))).shape
  (2, 5, 4)
  """
  flat = d_net.reshape(-1, d_net.shape[-1])
  rows = len(flat)
  if rows == 1 and dtype is not None:
    # In bfloat16, XLA's product of a matrix and a vector takes twice as long on
    # a CPU as that of a matrix and two.
    flat = jnp.repeat(flat, 2, axis=0)
  # The matrix on the left, where it needs no packing: on a CPU up to 1.3 times
  # faster in float32, and twice in bfloat16, than with the rows there.
  turned = _apart(_contract(kernel, flat, (1,), (1,), dtype))
  found = _apart(turned.T)[:rows]
  return found.reshape(*d_net.shape[:-1], kernel.shape[0])


def weight_gradient(
  source: jax.Array, d_net: jax.Array, dtype: Dtype = None
) -> jax.Array:
  """The gradient of a matrix from all steps and rows at once, [D, F].

  Args:
    source: [..., D], what the matrix was multiplied with.
    d_net: [..., F], the derivative of what came out.
    dtype: dtype of the operands.
  """
  if dtype is None:
    rows = source.reshape(-1, source.shape[-1]).T
    return dot(rows, d_net.reshape(-1, d_net.shape[-1]))
  # With the rows' axes merged XLA would multiply in float32 on a CPU.
  leading = tuple(range(source.ndim - 1))
  return _apart(_contract(source, d_net, leading, leading, dtype))


def _contract(
  a: jax.Array,
  b: jax.Array,
  axes_a: tuple[int, ...],
  axes_b: tuple[int, ...],
  dtype: Dtype,
) -> jax.Array:
  accumulator = jnp.promote_types(jnp.result_type(a, b), jnp.float32)
  if dtype is not None:
    a, b = a.astype(dtype), b.astype(dtype)
  return jax.lax.dot_general(
    a, b, ((axes_a, axes_b), ((), ())), preferred_element_type=accumulator
  )


def _apart(product: jax.Array) -> jax.Array:
  # XLA merges a transpose of a product into it. On a CPU that undoes the order
  # chosen above; and of some forms so made it has no bfloat16 product at all
  # ("Unsupported element type for DotThunk").
  return jax.lax.platform_dependent(
    product, cpu=jax.lax.optimization_barrier, default=lambda kept: kept
  )


def matmul(x: jax.Array, kernel: jax.Array, dtype: Dtype = None) -> jax.Array:
  """x kernel, [..., D] by [D, F], with derivatives in the same precision.

  >>> matmul(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.bfloat16).dtype
  dtype('float32')
  """
  if dtype is None and x.ndim <= 2:
    # JAX's own derivatives are these very products, and it has forward mode;
    # with more axes it contracts two at once, which costs a tenth more.
    return dot(x, kernel)
  return _matmul(x, kernel, dtype)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _matmul(x: jax.Array, kernel: jax.Array, dtype: Dtype) -> jax.Array:
  return dot(x, kernel, dtype)


def _matmul_forward(
  x: jax.Array, kernel: jax.Array, dtype: Dtype
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return dot(x, kernel, dtype), (x, kernel)


def _matmul_backward(
  dtype: Dtype,
  residuals: tuple[jax.Array, jax.Array],
  cotangent: jax.Array,
) -> tuple[jax.Array, jax.Array]:
  x, kernel = residuals
  d_x = source_gradient(cotangent, kernel, dtype)
  d_kernel = weight_gradient(x, cotangent, dtype)
  return d_x.astype(x.dtype), d_kernel.astype(kernel.dtype)


_matmul.defvjp(_matmul_forward, _matmul_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def lookup(kernel: jax.Array, ids: jax.Array, dtype: Dtype = None) -> jax.Array:
  """Rows of `kernel` [V, F]: the product with one-hot vectors.

  An id outside [0, V) stands for the null vector and reads zeros.

  >>> lookup(jnp.array([[1.0], [2.0]]), jnp.array([1, -1])).ravel()
  Array([2., 0.], dtype=float32)
  """
  # A negative index would count from the end, one past it reads the fill.
  inside = jnp.where(ids < 0, kernel.shape[0], ids)
  return kernel.at[inside].get(mode="fill", fill_value=0)


def _lookup_forward(
  kernel: jax.Array, ids: jax.Array, dtype: Dtype
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
  return lookup(kernel, ids, dtype), (kernel, ids)


def _lookup_backward(
  dtype: Dtype,
  residuals: tuple[jax.Array, jax.Array],
  cotangent: jax.Array,
) -> tuple[jax.Array, None]:
  kernel, ids = residuals
  symbols = kernel.shape[0]
  if symbols <= ONE_HOT_LIMIT:
    hot = jax.nn.one_hot(ids, symbols, dtype=cotangent.dtype)
    gradient = weight_gradient(hot, cotangent, dtype)
  else:
    inside = jnp.where(ids < 0, symbols, ids)
    gradient = jnp.zeros(kernel.shape, cotangent.dtype)
    gradient = gradient.at[inside].add(cotangent, mode="drop")
  return gradient.astype(kernel.dtype), None


lookup.defvjp(_lookup_forward, _lookup_backward)
