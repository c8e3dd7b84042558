"""A scan forward and a scan backward, and what is left for after the loops.

Autodiff of a scanned cell carries the gradient of every weight through the
backward loop and rewrites all of it at each step. Here the backward loop only
yields derivatives of what entered the products; the weights' gradients are
formed afterwards, as one product each over all steps.

A kernel joins by giving its arithmetic as a `Recurrence`; resets, lengths,
direction and initial carry are handled here, once, for all of them.

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

from seqmodels.cells import scan as unrolling

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


class Schedule(NamedTuple):
  """Masks of the steps that reset and of those inside their row, or None."""

  reset: jax.Array | None  # [T, B]
  valid: jax.Array | None  # [T, B]


class Options(NamedTuple):
  """Static arguments of the compiled kernel."""

  recurrence: Recurrence
  reverse: bool
  learn_reset_carry: bool


def run(
  recurrence: Recurrence,
  weights: Weights,
  xs: Any,
  carry: Carry,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
) -> tuple[Carry, jax.Array]:
  """Values and gradients of `scan.unroll` over the cell of `recurrence`.

  Args:
    recurrence: the cell's arithmetic.
    weights: what its loops read.
    xs: tree of [T, B, ...], the input of each step.
    carry: the state before the first step.
    reset: as in `scan.unroll`, and so the next three.
    lengths: [B].
    reverse: from the last step to the first.
    reset_carry: what a reset puts in.

  Returns:
    The last carry, and the outputs [T, B, H].
  """
  valid = unrolling.valid_steps(lengths, jax.tree.leaves(xs)[0].shape[0])
  learned = reset_carry is not None and reset is not None
  source = unrolling.full_reset_carry(reset_carry, carry)
  options = Options(recurrence, reverse, learned)
  schedule = Schedule(unrolling.inside_only(reset, valid), valid)
  return _run(options, weights, xs, carry, source, schedule)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _run(
  options: Options,
  weights: Weights,
  xs: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
) -> tuple[Carry, jax.Array]:
  last, (carries, _) = _scan_forward(
    options, weights, xs, carry, reset_carry, schedule, save=False
  )
  return last, _outputs(carries.h, schedule.valid)


def _run_forward(
  options: Options,
  weights: Weights,
  xs: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
) -> tuple[tuple[Carry, jax.Array], Any]:
  last, (carries, saved) = _scan_forward(
    options, weights, xs, carry, reset_carry, schedule, save=True
  )
  outputs = _outputs(carries.h, schedule.valid)
  residuals = (weights, carry, reset_carry, schedule, carries, saved)
  return (last, outputs), residuals


def _scan_forward(
  options: Options,
  weights: Weights,
  xs: Any,
  carry: Carry,
  reset_carry: Carry,
  schedule: Schedule,
  *,
  save: bool,
) -> tuple[Carry, tuple[Carry, Any]]:
  ready = options.recurrence.ready(weights)

  def body(carry: Carry, inputs: Any) -> tuple[Carry, Any]:
    x, cleared, inside = inputs
    if cleared is not None:
      carry = unrolling.select(cleared, reset_carry, carry)
    after, saved = options.recurrence.forward(ready, x, carry)
    if inside is not None:
      after = unrolling.select(inside, after, carry)
    kept = after if save else after._replace(**dict.fromkeys(_state(after)))
    return after, (kept, saved if save else None)

  steps = (xs, *schedule)
  if jax.tree.leaves(xs)[0].shape[0] == 1:
    # A sampler's step. In a loop around it, XLA would take a loop of one step
    # apart too late to cast bfloat16 weights outside of its own.
    carry, kept = body(carry, jax.tree.map(lambda leaf: leaf[0], steps))
    return carry, jax.tree.map(lambda leaf: leaf[None], kept)
  return jax.lax.scan(body, carry, steps, reverse=options.reverse)


def _state(carry: Carry) -> list[str]:
  """Fields that only the backward pass looks at again."""
  return [name for name in carry._fields if name != "h"]


def _outputs(hs: jax.Array, valid: jax.Array | None) -> jax.Array:
  return hs if valid is None else jnp.where(valid[..., None], hs, 0)


def _run_backward(
  options: Options, residuals: Any, cotangents: tuple[Carry, jax.Array]
) -> tuple[Any, ...]:
  weights, carry, reset_carry, schedule, carries, saved = residuals
  d_last, d_outputs = cotangents
  before = _carries_before(options, carries, carry, reset_carry, schedule)
  ready = options.recurrence.ready(weights)

  def body(state: Any, inputs: Any) -> tuple[Any, Any]:
    d_carry, d_source = state
    d_output, step, previous, after, cleared, inside = inputs
    d_after = d_carry._replace(h=d_carry.h + d_output)
    d_x, d_before, kept = options.recurrence.backward(
      ready, step, previous, after, d_after
    )
    if inside is not None:
      zeros = jax.tree.map(jnp.zeros_like, (d_x, kept))
      d_x, kept = unrolling.select(inside, (d_x, kept), zeros)
      # Past a row's end the carry, and not its output, was handed on.
      d_before = unrolling.select(inside, d_before, d_carry)
    if cleared is not None:
      zeros = jax.tree.map(jnp.zeros_like, d_before)
      if options.learn_reset_carry:
        share = unrolling.select(cleared, d_before, zeros)
        d_source = jax.tree.map(jnp.add, d_source, share)
      d_before = unrolling.select(cleared, zeros, d_before)
    return (d_before, d_source), (d_x, kept)

  zeros = jax.tree.map(jnp.zeros_like, reset_carry)
  (d_carry, d_reset_carry), (d_xs, kept) = jax.lax.scan(
    body,
    (d_last, zeros),
    (d_outputs, saved, before, carries, *schedule),
    reverse=not options.reverse,
  )
  d_weights = options.recurrence.gradient(
    weights, saved, d_xs, kept, before, carries
  )
  return d_weights, d_xs, d_carry, d_reset_carry, Schedule(None, None)


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
