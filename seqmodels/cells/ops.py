"""Operations all cells share: products, projection, clipping, initial weights.

1. Products whose operands, but not sums, may be bfloat16. JAX differentiates a
   mixed-precision product into products of mixed operands, which XLA runs in
   the wider type, and rounds the weight gradient to the narrower one. Here all
   three products (value and both derivatives) take operands in `dtype` and give
   float32.
2. The input side of a layer, one product for a whole sequence. A layer may read
   several inputs at once (Graves, 2013, equation 2: the raw input and the layer
   below). Each gets its own rows of one `kernel`; symbols as integer ids mean
   one-hot vectors and become a row lookup.
3. Derivative clipping inside backpropagation through time: Graves (2013,
   section 2.1) clips the derivative of the loss with respect to the net inputs
   of the LSTM layers, element by element and step by step, to a fixed range. It
   is neither a clip of the summed weight gradient nor of its norm.
4. Initializers, `(key, shape, dtype) -> array` as in `jax.nn.initializers`, so
   any of Flax's or JAX's serves. The paper gives none; the default here is
   `uniform(1/sqrt(features))` for weights and zero biases, with the forget
   gate's bias set by an initializer of its own (never by a `+ 1` inside the
   step).
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors

Dtype = Any
Inputs = jax.Array | Sequence[jax.Array]
Initializer = Callable[..., jax.Array]

# Up to this many symbols, the gradient of a row lookup is a product with the
# one-hot matrix: on a CPU XLA's scatter runs on one core and takes longer.
ONE_HOT_LIMIT = 512

# From this many multiplications in all steps of a loop, quicker products make
# up for the transposed copy of its matrix that they need (`turned_dot`).
TURNED_LIMIT = 2**29


# Whether products are sums in a fixed order, written out, and not left to
# libraries, whose order depends on the processor and the number of threads.
# Part of the key of JAX's caches; used as in `with in_order(True):`.
in_order = jax.make_user_context(default_value=False)
# Terms added at a time: AVX has as many registers.
_TERMS = 16


def dot(a: jax.Array, b: jax.Array, dtype: Dtype = None) -> jax.Array:
  """a b with operands in `dtype`, accumulated in float32 or wider.

  No derivative of its own: for code that already is one.
  """
  product = _contract(a, b, (a.ndim - 1,), (0,), dtype)
  return product if dtype is None else _apart(product)


def turned(kernel: jax.Array) -> jax.Array:
  """The transpose [F, D] of `kernel` [D, F], for `turned_dot`."""
  return _apart(kernel.T)


def pays_to_turn(
  kernel: jax.Array, steps: int, rows: int, dtype: Dtype
) -> bool:
  """True if a loop of products takes less time with `turned_dot`.

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
  gradient = _apart(turned.T)[:rows]
  return gradient.reshape(*d_net.shape[:-1], kernel.shape[0])


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
  if in_order.value:
    return _added_up(a, b, axes_a, axes_b, accumulator)
  return jax.lax.dot_general(
    a, b, ((axes_a, axes_b), ((), ())), preferred_element_type=accumulator
  )


def _added_up(
  a: jax.Array,
  b: jax.Array,
  axes_a: tuple[int, ...],
  axes_b: tuple[int, ...],
  accumulator: Dtype,
) -> jax.Array:
  """The product as one addition after another along the contracted axes."""

  def terms(x: jax.Array, axes: tuple[int, ...]) -> jax.Array:
    rest = [axis for axis in range(x.ndim) if axis not in axes]
    count = math.prod(x.shape[axis] for axis in axes)
    return x.transpose(*axes, *rest).reshape(count, -1).astype(accumulator)

  def add(
    total: jax.Array, rows: Sequence[jax.Array]
  ) -> tuple[jax.Array, None]:
    return total + rows[0][:, None] * rows[1][None], None

  left, right = terms(a, axes_a), terms(b, axes_b)
  # The longer axis last, along which registers lie.
  swap = left.shape[1] > right.shape[1]
  if swap:
    left, right = right, left
  zeros = jnp.zeros((left.shape[1], right.shape[1]), accumulator)
  total, _ = jax.lax.scan(add, zeros, (left, right), unroll=_TERMS)
  shape = [n for i, n in enumerate(a.shape) if i not in axes_a]
  shape += [n for i, n in enumerate(b.shape) if i not in axes_b]
  return (total.T if swap else total).reshape(shape)


def _apart(product: jax.Array) -> jax.Array:
  # XLA merges a transpose of a product into it. On a CPU that undoes the order
  # chosen above; and of some forms so made it has no bfloat16 product at all
  # ("Unsupported element type for DotThunk").
  return jax.lax.platform_dependent(
    product, cpu=jax.lax.optimization_barrier, default=lambda value: value
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


def project(
  kernel: jax.Array,
  inputs: Inputs,
  *,
  bias: jax.Array | None = None,
  widths: Sequence[int] | None = None,
  dtype: Dtype = None,
) -> jax.Array:
  """[inputs] kernel + bias, summed in float32 (float64 stays float64).

  Args:
    kernel: [D, F], rows in the order of `inputs`.
    inputs: one array or several. Integers [...] are ids of one-hot vectors, an
      id below 0 being the null vector; floats are dense, [..., d].
    bias: [F], if any.
    widths: rows of `kernel` that each input takes; needed only where an integer
      input is one of several, and inferred otherwise.
    dtype: dtype of the operands (bfloat16 for speed); `None` keeps them.

  Returns:
    [..., F].

  >>> kernel = jnp.arange(6.0).reshape(3, 2)
  >>> project(kernel, jnp.array([2, -1]))
  Array([[4., 5.],
         [0., 0.]], dtype=float32)
  """
  arrays = as_list(inputs)
  if widths is None:
    widths = _widths(kernel.shape[0], arrays)
  total, start = None, 0
  for x, width in zip(arrays, widths, strict=True):
    rows = jax.lax.slice_in_dim(kernel, start, start + width)
    ids = jnp.issubdtype(x.dtype, jnp.integer)
    term = lookup(rows, x, dtype) if ids else matmul(x, rows, dtype)
    total = term if total is None else total + term
    start += width
  if start != kernel.shape[0] or total is None:
    raise ValueError(
      f"the inputs are {start} wide, but the kernel has {kernel.shape[0]} rows"
    )
  return total if bias is None else total + along_last(bias, total.ndim)


def along_last(vector: jax.Array, ndim: int) -> jax.Array:
  """[F] as [1, ..., 1, F], to meet arrays of `ndim` axes.

  Spelled out, so that the code runs where JAX refuses arrays of unlike
  ranks (`jax_numpy_rank_promotion`).

  >>> along_last(jnp.ones(4), 3).shape
  (1, 1, 4)
  """
  return vector.reshape((1,) * (ndim - 1) + vector.shape)


def as_list(inputs: Inputs) -> list[jax.Array]:
  """A layer's inputs as a list, also where there is only one."""
  if isinstance(inputs, tuple | list):
    return list(inputs)
  return [jnp.asarray(inputs)]


def _widths(rows: int, arrays: list[jax.Array]) -> list[int]:
  dense = [
    None if jnp.issubdtype(x.dtype, jnp.integer) else x.shape[-1]
    for x in arrays
  ]
  known = sum(width for width in dense if width is not None)
  if dense.count(None) > 1:
    raise ValueError("several integer inputs need `widths`")
  return [rows - known if width is None else width for width in dense]


def clip_gradient(x: jax.Array, limit: float | None) -> jax.Array:
  """The identity, whose derivative is clipped to [-limit, limit].

  Args:
    x: an array of any shape.
    limit: the bound on each element of the cotangent; `None` clips nothing.

  >>> jax.grad(lambda x: 5.0 * clip_gradient(x, 1.0))(2.0)
  Array(1., dtype=float32, weak_type=True)
  """
  return x if limit is None else _identity(x, limit)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _identity(x: jax.Array, limit: float) -> jax.Array:
  del limit
  return x


def _identity_forward(x: jax.Array, limit: float) -> tuple[jax.Array, None]:
  del limit
  return x, None


def _identity_backward(
  limit: float, residuals: None, cotangent: jax.Array
) -> tuple[jax.Array]:
  del residuals
  return (jnp.clip(cotangent, -limit, limit),)


_identity.defvjp(_identity_forward, _identity_backward)


def clip(cotangent: jax.Array, limit: float | None) -> jax.Array:
  """The same clip for derivatives that a kernel has in hand."""
  return cotangent if limit is None else jnp.clip(cotangent, -limit, limit)


def uniform(bound: float) -> Initializer:
  """Uniform on [-bound, bound].

  >>> bool(abs(uniform(0.1)(jax.random.key(0), (9,))).max() <= 0.1)
  True
  """

  def init(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike = jnp.float32,
  ) -> jax.Array:
    return jax.random.uniform(key, shape, dtype, -bound, bound)

  return init


def recurrent_uniform(features: int) -> Initializer:
  """Uniform on +-1/sqrt(features), the habit of most LSTM codes."""
  return uniform(1.0 / math.sqrt(features))


def zero_carry(
  kind: Any,
  batch_shape: tuple[int, ...],
  features: int,
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> Any:
  """A NamedTuple of that kind, each of its fields zeros [*batch_shape, H]."""
  shape = (*batch_shape, features)
  # An array of its own a field: a caller may donate all of them.
  return kind(*(jnp.zeros(shape, dtype) for _ in kind._fields))


def gate_weights(
  keys: jax.Array,
  in_features: int,
  features: int,
  gates: int,
  *,
  kernel_init: Initializer | None = None,
  recurrent_kernel_init: Initializer | None = None,
  bias_init: Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Fresh kernels and bias of a cell, one block of columns a gate.

  Args:
    keys: at least three, consumed.
    in_features: D, all inputs of the layer together.
    features: H.
    gates: G.
    kernel_init: [D, GH]; uniform +-1/sqrt(H) by default, as is the recurrent
      kernel.
    recurrent_kernel_init: [H, GH].
    bias_init: [GH]; zeros by default.
    param_dtype: dtype of the weights.

  >>> keys = jax.random.split(jax.random.key(0), 3)
  >>> [leaf.shape for leaf in gate_weights(keys, 3, 2, 4)]
  [(3, 8), (2, 8), (8,)]
  """
  fallback, width = recurrent_uniform(features), gates * features
  return (
    (kernel_init or fallback)(keys[0], (in_features, width), param_dtype),
    (recurrent_kernel_init or fallback)(
      keys[1], (features, width), param_dtype
    ),
    (bias_init or jax.nn.initializers.zeros)(keys[2], (width,), param_dtype),
  )


def orthogonal_gates(
  key: jax.Array,
  shape: tuple[int, ...],
  dtype: jax.typing.DTypeLike = jnp.float32,
) -> jax.Array:
  """A recurrent kernel whose blocks [H, H], one a gate, are orthogonal.

  >>> kernel = orthogonal_gates(jax.random.key(0), (3, 12))
  >>> (kernel[:, 3:6].T @ kernel[:, 3:6]).round(4).diagonal()
  Array([1., 1., 1.], dtype=float32)
  """
  features, width = shape
  init = jax.nn.initializers.orthogonal()
  keys = jax.random.split(key, width // features)
  blocks = [init(block, (features, features), dtype) for block in keys]
  return jnp.concatenate(blocks, axis=1)


# None leaves each cell its own default.
RECURRENT: dict[str, Initializer | None] = {
  "uniform": None,
  "orthogonal": orthogonal_gates,
}


def recurrent(name: str) -> Initializer | None:
  """The initializer of recurrent kernels of that name.

  Raises:
    UserError: no such name in `RECURRENT`.
  """
  if name not in RECURRENT:
    raise errors.UserError(
      f"no initializer {name!r}{errors.closest(name, RECURRENT)}"
    )
  return RECURRENT[name]


def forget_bias(value: float, *, gate: int = 1, gates: int = 4) -> Initializer:
  """Zeros, but `value` on one gate's block of a stacked bias.

  >>> forget_bias(1.0)(jax.random.key(0), (8,))
  Array([0., 0., 1., 1., 0., 0., 0., 0.], dtype=float32)
  """

  def init(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike = jnp.float32,
  ) -> jax.Array:
    del key
    width = shape[-1] // gates
    bias = jnp.zeros(shape, dtype)
    return bias.at[..., gate * width : (gate + 1) * width].set(value)

  return init


def normal(stddev: float) -> Initializer:
  """Gaussian of mean zero.

  >>> normal(0.1)(jax.random.key(0), (2, 3)).shape
  (2, 3)
  """

  def init(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike = jnp.float32,
  ) -> jax.Array:
    return stddev * jax.random.normal(key, shape, dtype)

  return init


def one_hot_rows(symbols: int, features: int) -> Initializer:
  """A kernel whose first `symbols` rows meet one-hot vectors.

  Such a row is met alone, not as one of a sum over D inputs: drawn as small as
  the others it would leave the input faint beside the recurrent term, and the
  first thousands of updates would go into making it heard. Its rows are normal
  with a standard deviation of 0.1, the rest as `recurrent_uniform`.

  >>> one_hot_rows(2, 4)(jax.random.key(0), (5, 16)).shape
  (5, 16)
  """

  def init(
    key: jax.Array,
    shape: tuple[int, ...],
    dtype: jax.typing.DTypeLike = jnp.float32,
  ) -> jax.Array:
    first, second = jax.random.split(key)
    dense = (shape[0] - symbols, *shape[1:])
    return jnp.concatenate(
      [
        normal(0.1)(first, (symbols, *shape[1:]), dtype),
        recurrent_uniform(features)(second, dense, dtype),
      ]
    )

  return init
