"""The fused recurrence: a scan forward, a scan backward, the rest as products.

Autodiff of a scanned cell carries the recurrent weight's gradient through the
backward loop and rewrites all of it at every step. Here the backward loop only
yields the derivatives of the net inputs; the recurrent weight's gradient is one
product over all steps afterwards, and the input side (projected before the
loop) gets its gradients from one product each as well.

A cell joins by giving its gate arithmetic, forward and backward, as `Gates`;
resets, lengths, direction, initial carry and precision are handled here, once.

Storage policy: the forward pass keeps the activated gates and the carries of
all steps ([T, B, gates * H] and [T, B, H] each), which is the fastest. For long
sequences `segmented.checkpointed` keeps only the carry at the edge of each
chunk and computes the chunk again in the backward pass.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import products
from seqmodels.cells import unroll as unrolling

Carry = Any  # a NamedTuple whose field `h` [B, H] is the output


class Gates(NamedTuple):
  """A cell's arithmetic around its recurrent product, one step of [B, ...].

  `net_x` is the projected input with its bias, `net_h` the product of the
  previous output with the recurrent kernel, `extra` the cell's other weights.
  """

  # (extra, net_x, net_h, carry) -> (carry, saved)
  forward: Callable[[Any, jax.Array, jax.Array, Carry], tuple[Carry, Any]]
  # (extra, saved, carry before, carry after, derivative of the carry after)
  #   -> (d net_x, d net_h, derivative of the carry before), the last without
  #   the share that flows through `net_h`
  backward: Callable[..., tuple[jax.Array, jax.Array, Carry]]
  # (extra, saved, d net_h, carries before, carries after), all with a leading
  #   time axis -> d extra
  extra_gradient: Callable[..., Any]


class Schedule(NamedTuple):
  """Which steps reset, and which lie inside their row; `None` for no such."""

  reset: jax.Array | None  # [T, B]
  valid: jax.Array | None  # [T, B]


class Options(NamedTuple):
  """What is fixed when the kernel is compiled."""

  gates: Gates
  reverse: bool
  learn_reset_carry: bool
  dtype: products.Dtype


def run(
  gates: Gates,
  net_x: jax.Array,
  recurrent_kernel: jax.Array,
  extra: Any,
  carry: Carry,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
  dtype: products.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Values and gradients of `unroll.unroll` over the cell that `gates` is of.

  Args:
    gates: the cell's arithmetic.
    net_x: [T, B, F], the projected input with its bias.
    recurrent_kernel: [H, F].
    extra: the cell's other weights.
    carry: the state before the first step.
    reset: as in `unroll.unroll`, and so the next three.
    lengths: [B].
    reverse: from the last step to the first.
    reset_carry: what a reset puts in.
    dtype: dtype of the operands of each product; `None` keeps them.

  Returns:
    The last carry, and the outputs [T, B, H].
  """
  valid = unrolling.valid_steps(lengths, net_x.shape[0])
  learned = reset_carry is not None and reset is not None
  source = unrolling.full_reset_carry(reset_carry, carry)
  options = Options(gates, reverse, learned, dtype)
  schedule = Schedule(unrolling.inside_only(reset, valid), valid)
  return _run(options, net_x, recurrent_kernel, extra, carry, source, schedule)


def sigmoid(x: jax.Array) -> jax.Array:
  """The logistic function by way of tanh, for the cells' gates.

  One transcendental call and no division in XLA's fusion.

  >>> sigmoid(jnp.zeros(1))
  Array([0.5], dtype=float32)
  """
  return 0.5 * jnp.tanh(0.5 * x) + 0.5


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
  options: Options,
  net_x: jax.Array,
  recurrent_kernel: jax.Array,
  extra: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
) -> tuple[Carry, jax.Array]:
  last, (carries, _) = _scan_forward(
    options, net_x, recurrent_kernel, extra, carry, reset_carry, schedule,
    save=False,
  )  # fmt: skip
  return last, _outputs(carries.h, schedule.valid)


def _run_forward(
  options: Options,
  net_x: jax.Array,
  recurrent_kernel: jax.Array,
  extra: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
) -> tuple[tuple[Carry, jax.Array], Any]:
  last, (carries, saved) = _scan_forward(
    options, net_x, recurrent_kernel, extra, carry, reset_carry, schedule,
    save=True,
  )  # fmt: skip
  outputs = _outputs(carries.h, schedule.valid)
  residuals = (
    recurrent_kernel, extra, carry, reset_carry, schedule, carries, saved,
  )  # fmt: skip
  return (last, outputs), residuals


def _scan_forward(
  options: Options,
  net_x: jax.Array,
  recurrent_kernel: jax.Array,
  extra: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
  *,
  save: bool,
) -> tuple[Carry, tuple[Carry, Any]]:
  # Cast once, outside the loop: a cast inside is paid at every step.
  if options.dtype is not None:
    recurrent_kernel = recurrent_kernel.astype(options.dtype)

  def body(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
    net, cleared, inside = inputs
    if cleared is not None:
      carry = unrolling.select(cleared, reset_carry, carry)
    net_h = products.dot(carry.h, recurrent_kernel, options.dtype)
    after, saved = options.gates.forward(extra, net, net_h, carry)
    if inside is not None:
      after = unrolling.select(inside, after, carry)
    kept = after if save else after._replace(**dict.fromkeys(_state(after)))
    return after, (kept, saved if save else None)

  return jax.lax.scan(body, carry, (net_x, *schedule), reverse=options.reverse)


def _state(carry: Carry) -> list[str]:
  """Fields that only the backward pass looks at again."""
  return [name for name in carry._fields if name != "h"]


def _outputs(hs: jax.Array, valid: jax.Array | None) -> jax.Array:
  return hs if valid is None else jnp.where(valid[..., None], hs, 0)


def _run_backward(
  options: Options, residuals: Any, cotangents: tuple[Carry, jax.Array]
) -> tuple[Any, ...]:
  (
    recurrent_kernel, extra, carry, reset_carry, schedule, carries, saved,
  ) = residuals  # fmt: skip
  d_last, d_outputs = cotangents
  before = _carries_before(options, carries, carry, reset_carry, schedule)
  transposed = recurrent_kernel.T  # once, so that no step transposes
  if options.dtype is not None:
    transposed = transposed.astype(options.dtype)

  def body(state: Any, inputs: Any) -> tuple[Any, Any]:
    d_carry, d_source = state
    d_output, kept, previous, after, cleared, inside = inputs
    d_after = d_carry._replace(h=d_carry.h + d_output)
    d_net_x, d_net_h, d_before = options.gates.backward(
      extra, kept, previous, after, d_after
    )
    shared = d_net_x is d_net_h
    if inside is not None:
      d_net_x, d_net_h = (
        jnp.where(inside[:, None], d, 0) for d in (d_net_x, d_net_h)
      )
    through = products.dot(d_net_h, transposed, options.dtype)
    d_before = d_before._replace(h=d_before.h + through)
    if inside is not None:
      # Past a row's end the carry, and not its output, was handed on.
      d_before = unrolling.select(inside, d_before, d_carry)
    if cleared is not None:
      zeros = jax.tree.map(jnp.zeros_like, d_before)
      if options.learn_reset_carry:
        share = unrolling.select(cleared, d_before, zeros)
        d_source = jax.tree.map(jnp.add, d_source, share)
      d_before = unrolling.select(cleared, zeros, d_before)
    return (d_before, d_source), (d_net_x, None if shared else d_net_h)

  zeros = jax.tree.map(jnp.zeros_like, reset_carry)
  (d_carry, d_reset_carry), (d_net_x, d_net_h) = jax.lax.scan(
    body,
    (d_last, zeros),
    (d_outputs, saved, before, carries, *schedule),
    reverse=not options.reverse,
  )
  if d_net_h is None:
    d_net_h = d_net_x
  features = recurrent_kernel.shape[0]
  d_recurrent = products.dot(
    before.h.reshape(-1, features).T,
    d_net_h.reshape(-1, d_net_h.shape[-1]),
    options.dtype,
  )
  d_extra = options.gates.extra_gradient(extra, saved, d_net_h, before, carries)
  return (
    d_net_x, d_recurrent.astype(recurrent_kernel.dtype), d_extra, d_carry,
    d_reset_carry, Schedule(None, None),
  )  # fmt: skip


def _carries_before(
  options: Options,
  carries: Carry,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
) -> Carry:
  """The carry that each step started from, [T, B, ...]."""

  def shift(after: jax.Array, first: jax.Array) -> jax.Array:
    if options.reverse:
      return jnp.concatenate([after[1:], first[None]])
    return jnp.concatenate([first[None], after[:-1]])

  before = jax.tree.map(shift, carries, carry)
  if schedule.reset is None:
    return before
  cleared = schedule.reset[..., None]
  return jax.tree.map(
    lambda old, source: jnp.where(cleared, source[None], old),
    before,
    reset_carry,
  )


_run.defvjp(_run_forward, _run_backward)
