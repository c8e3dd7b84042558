"""The LSTM under the soft window over a whole sequence.

Values and gradients are those of `unroll.unroll` over `window_lstm.step`. The
pen's input is projected before the loop; the window has to move inside it, as
the next step reads it. Its derivatives are the closed forms of the paper:

    E(k, u) = alpha_k exp(-beta_k (kappa_k - u)^2) <dL/dw, c_u>
    dL/dalpha^_k = sum_u E,   dL/dbeta^_k = -beta_k sum_u E (kappa_k - u)^2
    dL/dkappa = dL/dkappa_next + 2 beta_k sum_u E (u - kappa_k)   (56 to 60)
    dL/dkappa^ = exp(kappa^) dL/dkappa
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import (
  lstm,
  lstm_sequence,
  products,
  projection,
  recurrence,
  soft_window,
  window_lstm,
)

Carry = window_lstm.WindowLSTMCarry
Params = window_lstm.WindowLSTMParams


class Inner(NamedTuple):
  """The weights that the loop reads: all but those of the projected input."""

  recurrent_kernel: jax.Array
  peephole: jax.Array | None
  window_kernel: jax.Array
  window_bias: jax.Array


def window_lstm_sequence(
  params: Params,
  carry: Carry,
  xs: projection.Inputs,
  characters: jax.Array,
  *,
  reset: jax.Array | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Runs the layer over time.

  Args:
    params: of the layer.
    carry: before the first step.
    xs: [T, B, D].
    characters: one-hot, [B, U, V], zeros past the end of a row's text.
    reset: [T, B]; where true the carry is cleared before the step.
    gradient_clip: bound on each derivative with respect to the LSTM's net
      inputs.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The last carry, and [h, w] of each step, [T, B, H + V].

  >>> params = window_lstm.init_params(jax.random.key(0), 3, 4, 5, 2)
  >>> carry = window_lstm.initial_carry(1, 4, 5, 2)
  >>> text = soft_window.letters(jnp.array([[0], [3]]), 5)
  >>> window_lstm_sequence(params, carry, jnp.ones((7, 1, 3)), text)[1].shape
  (7, 1, 9)
  """
  net_x = projection.project(params.kernel, xs, bias=params.bias, dtype=dtype)
  inner = Inner(
    params.recurrent_kernel,
    params.peephole,
    params.window_kernel,
    params.window_bias,
  )
  return recurrence.run(
    _recurrence(gradient_clip, cell_clip, dtype),
    (inner, characters),
    net_x,
    carry,
    reset=reset,
  )


@functools.cache
def _recurrence(
  gradient_clip: float | None, cell_clip: float | None, dtype: products.Dtype
) -> recurrence.Recurrence:
  gates = lstm_sequence.gates(gradient_clip, cell_clip)

  def cast(kernel: jax.Array) -> jax.Array:
    return kernel if dtype is None else kernel.astype(dtype)

  def ready(weights: Any) -> Any:
    params, characters = weights
    kernels = (cast(params.recurrent_kernel), cast(params.window_kernel))
    return kernels, params.window_bias, params.peephole, characters

  def forward(weights: Any, net_x: jax.Array, carry: Carry) -> Any:
    (kernel, window_kernel), window_bias, peephole, characters = weights
    net_h = products.dot(carry.h, kernel, dtype)
    inner, gated = gates.forward(
      peephole, net_x, net_h, lstm.LSTMCarry(c=carry.c, h=carry.h)
    )
    alpha, beta, moved = soft_window.gates(
      soft_window.WindowParams(window_kernel, window_bias), inner.h, dtype
    )
    window = soft_window.Window(alpha, beta, carry.kappa + moved)
    phi = soft_window.weights(
      window, soft_window.positions(characters.shape[1])
    )
    both = jnp.concatenate(
      [inner.h, soft_window.read(phi, characters)], axis=-1
    )
    after = Carry(c=inner.c, h=both, kappa=window.kappa)
    return after, (gated, alpha, beta, moved)

  def backward(
    weights: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    (kernel, window_kernel), _, peephole, characters = weights
    gated, alpha, beta, moved = saved
    features = after.c.shape[-1]
    d_h, d_w = d_after.h[:, :features], d_after.h[:, features:]
    window = soft_window.Window(alpha, beta, after.kappa)
    places = soft_window.positions(characters.shape[1])
    d_phi = jnp.einsum("bv,buv->bu", d_w, characters)
    share = alpha[..., None] * soft_window.bumps(window, places)
    share = share * d_phi[:, None, :]
    away = after.kappa[..., None] - places[None, None, :]
    d_alpha = jnp.sum(share, axis=-1)
    d_beta = -beta * jnp.sum(share * away * away, axis=-1)
    d_kappa = d_after.kappa - 2.0 * beta * jnp.sum(share * away, axis=-1)
    d_moved = moved * d_kappa
    d_window = jnp.concatenate([d_alpha, d_beta, d_moved], axis=-1)
    d_h = d_h + products.source_gradient(d_window, window_kernel, dtype)
    d_net, _, d_inner, _ = gates.backward(
      peephole,
      gated,
      lstm.LSTMCarry(c=before.c, h=before.h),
      lstm.LSTMCarry(c=after.c, h=after.h),
      lstm.LSTMCarry(c=d_after.c, h=d_h),
    )
    d_before = Carry(
      c=d_inner.c,
      h=products.source_gradient(d_net, kernel, dtype),
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
    found = Inner(
      recurrent_kernel=products.weight_gradient(before.h, d_net, dtype),
      peephole=gates.extra_gradient(
        params.peephole, gated, d_net, None, before, after
      ),
      window_kernel=products.weight_gradient(hs, d_window, dtype),
      window_bias=jnp.sum(d_window, axis=(0, 1)),
    )
    found = jax.tree.map(
      lambda like, part: part.astype(like.dtype), params, found
    )
    # The text is given, not learned.
    return found, jnp.zeros_like(characters)

  return recurrence.Recurrence(ready, forward, backward, gradient)
