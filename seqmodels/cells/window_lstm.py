"""The LSTM that moves a soft window over a text (Graves, 2013, section 5).

From the layer's output h, K Gaussians say which part of the text is being
written:

    (alpha^, beta^, kappa^) = W h + b                             (48)
    alpha = exp(alpha^),  beta = exp(beta^)                       (49, 50)
    kappa = kappa_before + exp(kappa^)                            (51)
    phi(u) = sum_k alpha_k exp(-beta_k (kappa_k - u)^2)           (46)
    w = sum_u phi(u) c_u                                          (47)

with u counted from 1 and c_u the one-hot character. The offsets only grow, so
that the window only moves forward; it is not normalised.

The LSTM reads what the window showed a step before,

    h_t = H(W_x x_t + W_w w_{t-1} + W_h h_{t-1} + b)              (52)

after which h_t moves the window and reads w_t. The layer's
output is [h_t, w_t], both of which the layers above see; the recurrent kernel
takes the same two a step later, so its rows are those of h first, then of w.

Over a sequence, values and gradients are those of `scan.unroll(step, ...)`. The
input is projected before the loop; the window has to move inside it, as the
next step reads it. Its derivatives are the closed forms of the paper:

    E(k, u) = alpha_k exp(-beta_k (kappa_k - u)^2) <dL/dw, c_u>
    dL/dalpha^_k = sum_u E,   dL/dbeta^_k = -beta_k sum_u E (kappa_k - u)^2
    dL/dkappa = dL/dkappa_next + 2 beta_k sum_u E (u - kappa_k)   (56 to 60)
    dL/dkappa^ = exp(kappa^) dL/dkappa
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import fused, lstm, ops

# A letter takes about 25 points, and the window's position, in letters, moves
# by exp(kappa^) a point: started at one letter a point, it would have left the
# text before anything could be learned from it.
POINTS_PER_LETTER = 25.0


class WindowParams(NamedTuple):
  """The map from h to the window: kernel [H, 3K] and bias [3K]."""

  kernel: jax.Array
  bias: jax.Array


class Window(NamedTuple):
  """The window's shape and position, each [..., K]."""

  alpha: jax.Array  # importance
  beta: jax.Array  # inverse width
  kappa: jax.Array  # position, in characters


def init_window_params(
  key: jax.Array,
  features: int,
  components: int,
  *,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> WindowParams:
  """Fresh weights: K Gaussians of weight 1/K that move 1/25 letter a point.

  Args:
    key: consumed.
    features: H.
    components: K.
    param_dtype: dtype of the weights.

  >>> params = init_window_params(jax.random.key(0), 400, 10)
  >>> sum(leaf.size for leaf in params)
  12030
  """
  kernel = ops.recurrent_uniform(features)(
    key, (features, 3 * components), param_dtype
  )
  level = jnp.array(
    [-math.log(components), 0.0, -math.log(POINTS_PER_LETTER)], param_dtype
  )
  return WindowParams(kernel, jnp.repeat(level, components))


def letters(text: jax.Array, symbols: int) -> jax.Array:
  """Text as one-hot rows, [B, U, V]; an id below 0 is no letter: zeros.

  Args:
    text: int [U, B].
    symbols: V.
  """
  return jax.nn.one_hot(text.T, symbols, dtype=jnp.float32)


def window_gates(
  params: WindowParams, h: jax.Array, dtype: ops.Dtype = None
) -> tuple[jax.Array, jax.Array, jax.Array]:
  """Importance, inverse width and step of each Gaussian, [..., K] each.

  Args:
    params: of the window.
    h: [..., H].
    dtype: dtype of the product's operands.
  """
  net = ops.project(params.kernel, h, bias=params.bias, dtype=dtype)
  alpha, beta, forward = jnp.split(jnp.exp(net), 3, axis=-1)
  return alpha, beta, forward


def move_window(params: WindowParams, kappa: jax.Array, h: jax.Array) -> Window:
  """Equations (48) to (51): the window after h [B, H], from kappa [B, K]."""
  alpha, beta, forward = window_gates(params, h)
  return Window(alpha, beta, kappa + forward)


def window_weights(window: Window, positions: jax.Array) -> jax.Array:
  """phi(u) of equation (46), [B, U].

  Args:
    window: [B, K] each.
    positions: u, [U], counted from 1.

  >>> one = Window(*(jnp.ones((1, 1)) for _ in range(3)))
  >>> window_weights(one, jnp.array([0.0, 1.0])).round(2)
  Array([[0.37, 1.  ]], dtype=float32)
  """
  return jnp.sum(window.alpha[..., None] * bumps(window, positions), axis=-2)


def log_window_weights(window: Window, positions: jax.Array) -> jax.Array:
  """log phi(u), [B, U], finite where phi itself is too small for a float."""
  away = window.kappa[..., None] - positions[None, None, :]
  return jax.nn.logsumexp(
    jnp.log(window.alpha)[..., None] - window.beta[..., None] * away * away,
    axis=-2,
  )


def bumps(window: Window, positions: jax.Array) -> jax.Array:
  """exp(-beta_k (kappa_k - u)^2), [B, K, U]; arguments as `window_weights`."""
  away = window.kappa[..., None] - positions[None, None, :]
  return jnp.exp(-window.beta[..., None] * away * away)


def positions(count: int) -> jax.Array:
  """1, 2, ... `count`, as floats."""
  return jnp.arange(1, count + 1, dtype=jnp.float32)


def read_window(phi: jax.Array, characters: jax.Array) -> jax.Array:
  """w of equation (47): [B, V] from phi [B, U] and one-hot [B, U, V]."""
  return jnp.einsum("bu,buv->bv", phi, characters)


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
  def window(self) -> WindowParams:
    """The window's own."""
    return WindowParams(self.window_kernel, self.window_bias)


class WindowLSTMCarry(NamedTuple):
  """Cell state, output with the window's reading, and the window's position."""

  c: jax.Array  # [B, H]
  h: jax.Array  # [B, H + V]
  kappa: jax.Array  # [B, K]


Carry = WindowLSTMCarry


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  symbols: int,
  components: int = 10,
  *,
  lstm_init: Callable[..., lstm.LSTMParams] = lstm.init_params,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> WindowLSTMParams:
  """Fresh weights, as of `lstm_init` and `init_window_params`.

  Args as of these two; `in_features` is D without the window's V `symbols`.

  >>> params = init_params(jax.random.key(0), 3, 400, 57)
  >>> sum(leaf.size for leaf in params)
  750830
  """
  layer_key, letters_key, window_key = jax.random.split(key, 3)
  layer = lstm_init(layer_key, in_features, features, param_dtype=param_dtype)
  # Met by what is nearly one letter at a time, as a one-hot vector is.
  rows = ops.normal(0.1)(letters_key, (symbols, 4 * features), param_dtype)
  window = init_window_params(
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
  return Carry(
    c=jnp.zeros((batch, features)),
    h=jnp.zeros((batch, features + symbols)),
    kappa=jnp.zeros((batch, components)),
  )


def step(
  params: WindowLSTMParams,
  carry: WindowLSTMCarry,
  x: ops.Inputs,
  characters: jax.Array,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
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
  >>> text = letters(jnp.array([[0], [3]]), 5)
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
  window = move_window(params.window, carry.kappa, h)
  phi = window_weights(window, positions(characters.shape[1]))
  both = jnp.concatenate([h, read_window(phi, characters)], axis=-1)
  return WindowLSTMCarry(c=inner.c, h=both, kappa=window.kappa), both


class Inner(NamedTuple):
  """The weights that the loop reads: all but those of the projected input."""

  recurrent_kernel: jax.Array
  peephole: jax.Array | None
  window_kernel: jax.Array
  window_bias: jax.Array


def sequence(
  params: WindowLSTMParams,
  carry: Carry,
  xs: ops.Inputs,
  characters: jax.Array,
  *,
  reset: jax.Array | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Runs the layer over time.

  Args as of `step`, with time first in `xs` [T, B, D], and `reset` [T, B]:
  where true the carry is cleared before the step.

  Returns:
    The last carry, and [h, w] of each step, [T, B, H + V].
  """
  net_x = ops.project(params.kernel, xs, bias=params.bias, dtype=dtype)
  inner = Inner(
    params.recurrent_kernel,
    params.peephole,
    params.window_kernel,
    params.window_bias,
  )
  cell = _recurrence(gradient_clip, cell_clip, dtype)
  return fused.run(cell, False, (inner, characters), net_x, carry, reset)


@functools.cache
def _recurrence(
  gradient_clip: float | None, cell_clip: float | None, dtype: ops.Dtype
) -> fused.Recurrence:
  gates = lstm.gates(gradient_clip, cell_clip)

  def cast(kernel: jax.Array) -> jax.Array:
    return kernel if dtype is None else kernel.astype(dtype)

  def ready(weights: Any) -> Any:
    params, characters = weights
    kernels = (cast(params.recurrent_kernel), cast(params.window_kernel))
    return kernels, params.window_bias, params.peephole, characters

  def forward(weights: Any, net_x: jax.Array, carry: Carry) -> Any:
    (kernel, window_kernel), window_bias, peephole, characters = weights
    inner, gated = gates.forward(
      fused.Loop(peephole, kernel, dtype=dtype),
      net_x,
      lstm.LSTMCarry(c=carry.c, h=carry.h),
    )
    alpha, beta, moved = window_gates(
      WindowParams(window_kernel, window_bias), inner.h, dtype
    )
    window = Window(alpha, beta, carry.kappa + moved)
    phi = window_weights(window, positions(characters.shape[1]))
    both = jnp.concatenate([inner.h, read_window(phi, characters)], axis=-1)
    after = Carry(c=inner.c, h=both, kappa=window.kappa)
    return after, (gated, alpha, beta, moved)

  def backward(
    weights: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    (kernel, window_kernel), _, peephole, characters = weights
    gated, alpha, beta, moved = saved
    features = after.c.shape[-1]
    d_h, d_w = d_after.h[:, :features], d_after.h[:, features:]
    window = Window(alpha, beta, after.kappa)
    places = positions(characters.shape[1])
    d_phi = jnp.einsum("bv,buv->bu", d_w, characters)
    share = alpha[..., None] * bumps(window, places)
    share = share * d_phi[:, None, :]
    away = after.kappa[..., None] - places[None, None, :]
    d_alpha = jnp.sum(share, axis=-1)
    d_beta = -beta * jnp.sum(share * away * away, axis=-1)
    d_kappa = d_after.kappa - 2.0 * beta * jnp.sum(share * away, axis=-1)
    d_moved = moved * d_kappa
    d_window = jnp.concatenate([d_alpha, d_beta, d_moved], axis=-1)
    d_h = d_h + ops.source_gradient(d_window, window_kernel, dtype)
    d_net, _, d_inner, _ = gates.backward(
      peephole,
      gated,
      lstm.LSTMCarry(c=before.c, h=before.h),
      lstm.LSTMCarry(c=after.c, h=after.h),
      lstm.LSTMCarry(c=d_after.c, h=d_h),
    )
    d_before = Carry(
      c=d_inner.c,
      h=ops.source_gradient(d_net, kernel, dtype),
      kappa=d_kappa,
    )
    return d_net, d_before, d_window

  def gradient(
    weights: Any,
    saved: Any,
    d_net: jax.Array,
    d_window: jax.Array,
    before: Carry,
    after: Carry,
  ) -> Any:
    params, characters = weights
    gated = saved[0]
    hs = after.h[..., : after.c.shape[-1]]
    gradients = Inner(
      recurrent_kernel=ops.weight_gradient(before.h, d_net, dtype),
      peephole=gates.extra_gradient(
        params.peephole, gated, d_net, None, before, after
      ),
      window_kernel=ops.weight_gradient(hs, d_window, dtype),
      window_bias=jnp.sum(d_window, axis=(0, 1)),
    )
    gradients = jax.tree.map(
      lambda like, leaf: leaf.astype(like.dtype), params, gradients
    )
    # The text is data, not learned.
    return gradients, jnp.zeros_like(characters)

  return fused.Recurrence(ready, forward, backward, gradient)
