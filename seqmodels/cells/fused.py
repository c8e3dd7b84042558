"""Cells with one recurrent product a step, fused: gates around h U.

The input side is projected before the loop, in one product for all steps; the
gradients of the input and of the recurrent weight are one product each after
the backward loop (see `recurrence`). A cell gives its gate arithmetic, forward
and backward, as `Gates`; `make_sequence` does the rest.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import ops, recurrence, scan
from seqmodels.cells import zoneout as zoning

Carry = Any  # a NamedTuple whose field `h` [B, H] is the output


class Gates(NamedTuple):
  """A cell's arithmetic around its recurrent product, one step of [B, ...].

  `net_x` is the projected input with its bias, `net_h` the product of the
  previous output with the recurrent kernel, `extra` the cell's other weights.
  """

  # (extra, net_x, net_h, carry) -> (carry, saved)
  forward: Callable[[Any, jax.Array, jax.Array, Carry], tuple[Carry, Any]]
  # (extra, saved, carry before, carry after, derivative of the carry after)
  #   -> (d net_x, d net_h, derivative of the carry before without the share
  #   that flows through `net_h`, what `extra_gradient` needs of the step)
  backward: Callable[..., tuple[jax.Array, jax.Array, Carry, Any]]
  # (extra, saved, d net_h, kept, carries before, carries after), all but the
  #   first with a leading time axis -> d extra
  extra_gradient: Callable[..., Any]


def make_sequence(
  gates: Callable[..., Gates],
  extra: Callable[[Any], Any] = lambda params: None,
  *,
  add_bias: bool = True,
) -> Callable[..., tuple[Any, jax.Array]]:
  """A cell's `sequence`.

  Args:
    gates: the cell's options, by name -> its arithmetic, the same object for
      the same options (it is hashed).
    extra: the cell's params -> those besides the kernels and the bias.
    add_bias: the bias is a part of the net input. It is added within the loop,
      where it costs no pass over all steps of its own.
  """

  def sequence(
    params: Any,
    carry: Carry,
    xs: ops.Inputs,
    *,
    reset: jax.Array | None = None,
    lengths: jax.Array | None = None,
    reverse: bool = False,
    reset_carry: Carry | None = None,
    zoneout: zoning.Kept | None = None,
    dtype: ops.Dtype = None,
    **options: Any,
  ) -> tuple[Any, jax.Array]:
    """Runs a cell over time, as `scan.unroll` over its `step` would.

    Args:
      params: the layer's weights.
      carry: before the first step, each leaf [B, H].
      xs: [T, B, D], or ids [T, B], or several such (see `ops.project`).
      reset: [T, B]; where true the carry is cleared before the step.
      lengths: [B]; steps past a row's length leave its carry and yield zeros.
      reverse: from the last step to the first.
      reset_carry: what a reset puts in; zeros by default.
      zoneout: what each unit of an LSTM keeps of the step before.
      dtype: dtype of the operands of each product; sums stay float32.
      **options: the other options of the cell's `step`.

    Returns:
      The last carry, and h [T, B, H].
    """
    xs = scan.blank_padding(xs, lengths)
    net_x: Any = ops.project(params.kernel, xs, dtype=dtype)
    steps, rows = net_x.shape[:2]
    turn = ops.pays_to_turn(params.recurrent_kernel, steps, rows, dtype)
    cell = _recurrence(gates(**options), dtype, turn)
    if zoneout is not None and not hasattr(carry, "c"):
      raise TypeError("zoneout needs a cell state `c`, which only LSTMs have")
    if jax.tree.leaves(zoneout):
      cell, net_x = zoning.around(cell), (net_x, zoneout)
    bias = params.bias if add_bias else None
    return recurrence.run(
      cell,
      (params.recurrent_kernel, bias, extra(params)),
      net_x,
      carry,
      reset=reset,
      lengths=lengths,
      reverse=reverse,
      reset_carry=reset_carry,
    )

  return sequence


def sigmoid(x: jax.Array) -> jax.Array:
  """The logistic function by way of tanh, for the cells' gates.

  One transcendental call and no division in XLA's fusion.

  >>> sigmoid(jnp.zeros(1))
  Array([0.5], dtype=float32)
  """
  return 0.5 * jnp.tanh(0.5 * x) + 0.5


@functools.cache
def _recurrence(
  gates: Gates, dtype: ops.Dtype, turn: bool
) -> recurrence.Recurrence:
  def cast(kernel: jax.Array) -> jax.Array:
    return kernel if dtype is None else kernel.astype(dtype)

  def ready(weights: Any) -> Any:
    kernel, bias, extra = weights
    kernel = cast(kernel)
    turned = ops.turned(kernel) if turn else None
    return kernel, turned, bias, extra

  def forward(weights: Any, net_x: jax.Array, carry: Carry) -> Any:
    kernel, turned, bias, extra = weights
    if bias is not None:
      net_x = net_x + ops.along_last(bias, net_x.ndim)
    if turned is None:
      net_h = ops.dot(carry.h, kernel, dtype)
    else:
      net_h = ops.turned_dot(carry.h, turned, dtype)
    return gates.forward(extra, net_x, net_h, carry)

  def backward(
    weights: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    kernel, _, _, extra = weights
    d_net_x, d_net_h, d_before, kept = gates.backward(
      extra, saved, before, after, d_after
    )
    through = ops.source_gradient(d_net_h, kernel, dtype)
    d_before = d_before._replace(h=d_before.h + through)
    # Where both are one, one of them is stored.
    return d_net_x, d_before, (None if d_net_x is d_net_h else d_net_h, kept)

  def gradient(
    weights: Any,
    saved: Any,
    d_net_x: jax.Array,
    kept: Any,
    before: Carry,
    after: Carry,
  ) -> Any:
    kernel, bias, extra = weights
    d_net_h, rest = kept
    if d_net_h is None:
      d_net_h = d_net_x
    d_kernel = ops.weight_gradient(before.h, d_net_h, dtype)
    d_bias = None
    if bias is not None:
      leading = tuple(range(d_net_x.ndim - 1))
      d_bias = jnp.sum(d_net_x, axis=leading).astype(bias.dtype)
    d_extra = gates.extra_gradient(extra, saved, d_net_h, rest, before, after)
    return d_kernel.astype(kernel.dtype), d_bias, d_extra

  return recurrence.Recurrence(ready, forward, backward, gradient)
