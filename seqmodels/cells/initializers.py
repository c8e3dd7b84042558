"""Initial weights, said once for all cells.

An initializer is `(key, shape, dtype) -> array`, as in `jax.nn.initializers`,
so any of Flax's or JAX's serves. The paper gives none; the default here is
`uniform(1/sqrt(features))` for weights and zero biases, with the forget gate's
bias set by an initializer of its own (never by a `+ 1` inside the step).
"""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp

from seqmodels import errors

Initializer = Callable[..., jax.Array]


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
  with deviation 0.1, the rest as `recurrent_uniform`.

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
