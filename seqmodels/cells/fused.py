"""Fused sequences: a scan forward and a scan backward, products outside.

Autodiff of a scanned cell carries the gradient of every weight through the
backward loop and rewrites all of it at each step. Here the backward loop only
yields derivatives of what entered the products; the weights' gradients are
formed afterwards, as one product each over all steps.

`run` is that derivative, for the arithmetic of one step given as a
`Recurrence`; resets, lengths, direction and initial carry are handled there,
once, for all cells. Most cells have one recurrent product a step: they give
the arithmetic around it, forward and backward, as `Gates`, and `make_sequence`
does the rest. The input side is then projected before the loop, in one product
for all steps.

Storage policy: the forward pass keeps what `forward` saves and the carries of
all steps, which is the fastest. For long sequences `scan.checkpointed`
keeps only the carry at the edge of each chunk and computes the chunk again in
the backward pass.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import ops, scan
from seqmodels.cells import zoneout as zoning

Carry = Any  # a NamedTuple whose field `h` [B, H] is the output
Weights = Any


class Recurrence(NamedTuple):
  """A cell's arithmetic, one step of [B, ...], hashable.

  Attributes:
    ready: weights -> what the loops read of them: casts belong here, since
      inside a loop they would be paid at every step.
    forward: `(ready, x, carry) -> (carry, saved)`.
    backward: `(ready, saved, before, after, d_after) -> (d_x, d_before, kept)`:
      derivatives of the step's input and of the carry it started from, and
      whatever `gradient` needs of the step.
    gradient: `(weights, saved, d_x, kept, before, after) -> d_weights`, all but
      the first with a leading time axis.
  """

  ready: Callable[[Weights], Any]
  forward: Callable[[Any, Any, Carry], tuple[Carry, Any]]
  backward: Callable[..., tuple[Any, Carry, Any]]
  gradient: Callable[..., Weights]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def run(
  recurrence: Recurrence,
  reverse: bool,
  weights: Weights,
  xs: Any,
  carry: Carry,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reset_carry: Carry | None = None,
) -> tuple[Carry, jax.Array]:
  """Values and gradients of `scan.unroll` over the cell of `recurrence`.

  Args:
    recurrence: the cell's arithmetic.
    reverse: from the last step to the first.
    weights: what its loops read.
    xs: tree of [T, B, ...], the input of each step.
    carry: the state before the first step.
    reset: as in `scan.unroll`, and so the next two.
    lengths: [B].
    reset_carry: what a reset puts in.

  Returns:
    The last carry, and the outputs [T, B, H].
  """
  return _forward(
    recurrence,
    reverse,
    weights,
    xs,
    carry,
    reset,
    lengths,
    reset_carry,
    save=False,
  )[0]


def _forward(
  recurrence: Recurrence,
  reverse: bool,
  weights: Weights,
  xs: Any,
  carry: Carry,
  reset: jax.Array | None,
  lengths: jax.Array | None,
  reset_carry: Carry | None,
  *,
  save: bool = True,
) -> tuple[tuple[Carry, jax.Array], Any]:
  """`run`, and what `_backward` needs where `save` asks for it."""
  steps = jax.tree.leaves(xs)[0].shape[0]
  valid = scan.valid_steps(lengths, steps)
  reset = scan.inside_only(reset, valid)
  source = scan.full_reset_carry(reset_carry, carry)
  ready = recurrence.ready(weights)

  def body(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
    x, cleared, inside = inputs
    if cleared is not None:
      carry = scan.select(cleared, source, carry)
    after, saved = recurrence.forward(ready, x, carry)
    if inside is not None:
      after = scan.select(inside, after, carry)
    # Only the backward pass looks at the other fields again.
    return after, (after, saved) if save else after.h

  if steps == 1:
    # A sampler's step. In a loop around it, XLA would take a loop of one step
    # apart too late to cast bfloat16 weights outside of its own.
    first = jax.tree.map(lambda leaf: leaf[0], (xs, reset, valid))
    last, kept = body(carry, first)
    kept = jax.tree.map(lambda leaf: leaf[None], kept)
  else:
    last, kept = jax.lax.scan(body, carry, (xs, reset, valid), reverse=reverse)
  hs = kept[0].h if save else kept
  outputs = hs if valid is None else jnp.where(valid[..., None], hs, 0)
  residuals = (weights, carry, reset_carry, reset, valid, kept)
  return (last, outputs), residuals


def _backward(
  recurrence: Recurrence,
  reverse: bool,
  residuals: Any,
  cotangents: tuple[Carry, jax.Array],
) -> tuple[Any, ...]:
  weights, carry, reset_carry, reset, valid, (carries, saved) = residuals
  d_last, d_outputs = cotangents
  source = scan.full_reset_carry(reset_carry, carry)
  before = _carries_before(carries, carry, source, reset, reverse=reverse)
  ready = recurrence.ready(weights)
  learned = reset_carry is not None and reset is not None

  def body(state: Any, inputs: Any) -> tuple[Any, Any]:
    d_carry, d_source = state
    d_output, step, previous, after, cleared, inside = inputs
    d_after = d_carry._replace(h=d_carry.h + d_output)
    d_x, d_before, kept = recurrence.backward(
      ready, step, previous, after, d_after
    )
    if inside is not None:
      zeros = jax.tree.map(jnp.zeros_like, (d_x, kept))
      d_x, kept = scan.select(inside, (d_x, kept), zeros)
      # Past a row's end only the carry is passed on, not its output.
      d_before = scan.select(inside, d_before, d_carry)
    if cleared is not None:
      zeros = jax.tree.map(jnp.zeros_like, d_before)
      if learned:
        share = scan.select(cleared, d_before, zeros)
        d_source = jax.tree.map(jnp.add, d_source, share)
      d_before = scan.select(cleared, zeros, d_before)
    return (d_before, d_source), (d_x, kept)

  zeros = jax.tree.map(jnp.zeros_like, source)
  (d_carry, d_source), (d_xs, kept) = jax.lax.scan(
    body,
    (d_last, zeros),
    (d_outputs, saved, before, carries, reset, valid),
    reverse=not reverse,
  )
  d_weights = recurrence.gradient(weights, saved, d_xs, kept, before, carries)
  _, unspread = jax.vjp(
    lambda reset_carry: scan.full_reset_carry(reset_carry, carry), reset_carry
  )
  return d_weights, d_xs, d_carry, None, None, *unspread(d_source)


run.defvjp(_forward, _backward)


def _carries_before(
  carries: Carry,
  carry: Carry,
  source: Carry,
  reset: jax.Array | None,
  *,
  reverse: bool,
) -> Carry:
  """The carry that each step started from, [T, B, ...]."""

  def shift(after: jax.Array, first: jax.Array) -> jax.Array:
    if reverse:
      return jnp.concatenate([after[1:], first[None]])
    return jnp.concatenate([first[None], after[:-1]])

  before = jax.tree.map(shift, carries, carry)
  if reset is None:
    return before
  cleared = reset[..., None]
  return jax.tree.map(
    lambda old, new: jnp.where(cleared, new[None], old), before, source
  )


class Loop(NamedTuple):
  """The weights that a cell's gates read in every step.

  Attributes:
    extra: those besides the kernels and the bias.
    kernel: [H, F], cast to `dtype`; None where the net input is complete.
    turned: the kernel's transpose, where the forward loop reads that.
    bias: [F], if it is added within the loop.
    dtype: dtype of the operands of the product.
  """

  extra: Any
  kernel: Any = None
  turned: jax.Array | None = None
  bias: jax.Array | None = None
  dtype: ops.Dtype = None

  def inputs(self, x: jax.Array) -> jax.Array:
    """The projected input [B, F] with its bias."""
    return x if self.bias is None else x + ops.along_last(self.bias, x.ndim)

  def product(self, h: jax.Array) -> jax.Array:
    """h U, [B, F]."""
    if self.turned is None:
      return ops.dot(h, self.kernel, self.dtype)
    return ops.turned_dot(h, self.turned, self.dtype)

  def net(self, x: jax.Array, h: jax.Array) -> jax.Array:
    """The net inputs of the gates: x + b + h U, as far as there is any."""
    inputs = self.inputs(x)
    return inputs if self.kernel is None else inputs + self.product(h)


class Gates(NamedTuple):
  """A cell's arithmetic around its recurrent product, one step of [B, ...].

  Attributes:
    forward: `(loop, x, carry) -> (carry, saved)`, where x is the projected
      input without its bias.
    backward: `(extra, saved, carry before, carry after, derivative of the carry
      after) -> (d x, d (h U), derivative of the carry before without the share
      that flows through h U, what extra_gradient needs of the step)`.
    extra_gradient: `(extra, saved, d (h U), kept, carries before, carries
      after) -> d extra`, all but the first with a leading time axis.
  """

  forward: Callable[[Loop, jax.Array, Carry], tuple[Carry, Any]]
  backward: Callable[..., tuple[jax.Array, jax.Array, Carry, Any]]
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
    weights = (params.recurrent_kernel, bias, extra(params))
    return run(
      cell, reverse, weights, net_x, carry, reset, lengths, reset_carry
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
def _recurrence(gates: Gates, dtype: ops.Dtype, turn: bool) -> Recurrence:
  def ready(weights: Any) -> Loop:
    kernel, bias, extra = weights
    kernel = kernel if dtype is None else kernel.astype(dtype)
    return Loop(
      extra, kernel, ops.turned(kernel) if turn else None, bias, dtype
    )

  def backward(
    loop: Loop, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    d_net_x, d_net_h, d_before, kept = gates.backward(
      loop.extra, saved, before, after, d_after
    )
    through = ops.source_gradient(d_net_h, loop.kernel, dtype)
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

  return Recurrence(ready, gates.forward, backward, gradient)
