"""The LSTM under the soft window (Graves, 2013, equation 52).

    h_t = H(W_x x_t + W_w w_{t-1} + W_h h_{t-1} + b)              (52)

after which h_t moves the window (`soft_window`) and reads w_t. The layer's
output is [h_t, w_t], both of which the layers above see; the recurrent kernel
takes the same two a step later, so its rows are those of h first, then of w.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import (
  initializers,
  lstm,
  products,
  projection,
  soft_window,
)


class WindowLSTMParams(NamedTuple):
  """Weights of the layer, and of its window."""

  kernel: jax.Array  # [D, 4H]
  recurrent_kernel: jax.Array  # [H + V, 4H]
  bias: jax.Array  # [4H]
  peephole: jax.Array | None  # [3, H]
  window_kernel: jax.Array  # [H, 3K]
  window_bias: jax.Array  # [3K]

  @property
  def lstm(self) -> lstm.LSTMParams:
    """The layer's, whose recurrent kernel reads [h, w] in place of h."""
    return lstm.LSTMParams(
      self.kernel, self.recurrent_kernel, self.bias, self.peephole
    )

  @property
  def window(self) -> soft_window.WindowParams:
    """The window's own."""
    return soft_window.WindowParams(self.window_kernel, self.window_bias)


class WindowLSTMCarry(NamedTuple):
  """Cell state, output with the window's reading, and the window's position."""

  c: jax.Array  # [B, H]
  h: jax.Array  # [B, H + V]
  kappa: jax.Array  # [B, K]


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  symbols: int,
  components: int = 10,
  *,
  peepholes: bool = True,
  bias_init: initializers.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> WindowLSTMParams:
  """Fresh weights, as `lstm.init_params` and `soft_window.init_params` have it.

  Args:
    key: consumed.
    in_features: D, without the window.
    features: H.
    symbols: V.
    components: K.
    peepholes: whether the gates see the cell.
    bias_init: [4H]; by default 1 on the forget gate and 0 elsewhere.
    param_dtype: dtype of the weights.

  >>> params = init_params(jax.random.key(0), 3, 400, 57)
  >>> sum(leaf.size for leaf in params)
  750830
  """
  layer_key, letters_key, window_key = jax.random.split(key, 3)
  layer = lstm.init_params(
    layer_key,
    in_features,
    features,
    peepholes=peepholes,
    bias_init=bias_init,
    param_dtype=param_dtype,
  )
  # Met by what is nearly one letter at a time, as a one-hot vector is.
  rows = initializers.normal(0.1)(
    letters_key, (symbols, 4 * features), param_dtype
  )
  window = soft_window.init_params(
    window_key, features, components, param_dtype=param_dtype
  )
  return WindowLSTMParams(
    kernel=layer.kernel,
    recurrent_kernel=jnp.concatenate([layer.recurrent_kernel, rows]),
    bias=layer.bias,
    peephole=layer.peephole,
    window_kernel=window.kernel,
    window_bias=window.bias,
  )


def initial_carry(
  batch: int, features: int, symbols: int, components: int = 10
) -> WindowLSTMCarry:
  """Zeros: nothing read, the window before the first character."""
  return WindowLSTMCarry(
    c=jnp.zeros((batch, features)),
    h=jnp.zeros((batch, features + symbols)),
    kappa=jnp.zeros((batch, components)),
  )


def step(
  params: WindowLSTMParams,
  carry: WindowLSTMCarry,
  x: projection.Inputs,
  characters: jax.Array,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[WindowLSTMCarry, jax.Array]:
  """One time step.

  Args:
    params: of the layer.
    carry: before it.
    x: [B, D].
    characters: one-hot, [B, U, V], zeros past the end of a row's text.
    gradient_clip: bound on each derivative with respect to the LSTM's net
      inputs; the window's are not clipped.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of the LSTM's products.

  Returns:
    The new carry, and [h, w], [B, H + V].

  >>> params = init_params(jax.random.key(0), 3, 4, 5, 2)
  >>> carry = initial_carry(1, 4, 5, 2)
  >>> text = soft_window.letters(jnp.array([[0], [3]]), 5)
  >>> step(params, carry, jnp.ones((1, 3)), text)[1].shape
  (1, 9)
  """
  inner, h = lstm.step(
    params.lstm,
    lstm.LSTMCarry(c=carry.c, h=carry.h),
    x,
    gradient_clip=gradient_clip,
    cell_clip=cell_clip,
    dtype=dtype,
  )
  window = soft_window.move(params.window, carry.kappa, h)
  phi = soft_window.weights(window, soft_window.positions(characters.shape[1]))
  both = jnp.concatenate([h, soft_window.read(phi, characters)], axis=-1)
  return WindowLSTMCarry(c=inner.c, h=both, kappa=window.kappa), both
