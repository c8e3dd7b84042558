"""The reference scan over a cell's step, and rematerialisation in chunks.

Backpropagation through a fused sequence keeps every step's gates and carry:
memory in proportion to T. Here time is cut into chunks; the forward pass keeps
the carries at their edges only, and the backward pass runs each chunk forward
once more, its input projection included, before it runs it backward. Memory is
then in proportion to T / chunk + chunk, least near chunk = sqrt(T), besides the
inputs and outputs themselves, for one more forward pass of time.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors

Carry = Any
Inputs = Any  # an array, or a tuple of several, each with time first
Step = Callable[[Any, Carry, Any], tuple[Carry, jax.Array]]
Sequence = Callable[..., tuple[Carry, jax.Array]]


def unroll(
  step: Step,
  params: Any,
  carry: Carry,
  xs: Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
) -> tuple[Carry, jax.Array]:
  """Runs `step` over time.

  Args:
    step: `(params, carry, x) -> (carry, y)`, one time step of a batch.
    params: what `step` takes.
    carry: the state before the first step; leaves [B, ...].
    xs: [T, B, D], time first, or several such arrays in a tuple.
    reset: [T, B] booleans; where true the carry becomes `reset_carry` before
      the step is taken.
    lengths: [B]; steps at or past a row's length leave its carry untouched and
      yield zeros, whatever `xs` and `reset` hold there, NaN included.
    reverse: from the last step to the first; outputs stay at their positions.
    reset_carry: what a reset puts in; leaves broadcast to the carry's. Zeros by
      default. It may be learned.

  Returns:
    The carry after the last step, and the outputs [T, B, H].

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> unroll(add, None, jnp.zeros((1, 1)), jnp.ones((3, 1, 1)))[1].ravel()
  Array([1., 2., 3.], dtype=float32)
  """
  valid = valid_steps(lengths, jax.tree.leaves(xs)[0].shape[0])
  xs, reset = blank_padding(xs, lengths), inside_only(reset, valid)
  reset_carry = full_reset_carry(reset_carry, carry)

  def body(
    carry: Carry, inputs: tuple[Any, Any, Any]
  ) -> tuple[Carry, jax.Array]:
    x, cleared, inside = inputs
    if cleared is not None:
      carry = select(cleared, reset_carry, carry)
    after, y = step(params, carry, x)
    if inside is not None:
      after = select(inside, after, carry)
      y = select(inside, y, jnp.zeros_like(y))
    return after, y

  return jax.lax.scan(body, carry, (xs, reset, valid), reverse=reverse)


def valid_steps(lengths: jax.Array | None, steps: int) -> jax.Array | None:
  """[T, B] booleans: which steps lie inside their row; `None` if all do."""
  if lengths is None:
    return None
  return jnp.arange(steps)[:, None] < lengths[None, :]


def blank_padding(xs: Inputs, lengths: jax.Array | None) -> Inputs:
  """Zeros where a row has ended, in place of whatever the padding holds.

  The derivative that reaches a padded step is zero, but zero times a NaN input
  would still spoil the kernel's gradient.

  >>> blank_padding(jnp.array([[1.0], [jnp.nan]]), jnp.array([1])).ravel()
  Array([1., 0.], dtype=float32)
  """
  valid = valid_steps(lengths, jax.tree.leaves(xs)[0].shape[0])
  if valid is None:
    return xs

  def one(x: jax.Array) -> jax.Array:
    return jnp.where(valid.reshape(valid.shape + (1,) * (x.ndim - 2)), x, 0)

  return jax.tree.map(one, xs)


def inside_only(
  reset: jax.Array | None, valid: jax.Array | None
) -> jax.Array | None:
  """Resets without those past the end of a row."""
  return reset if reset is None or valid is None else reset & valid


def full_reset_carry(reset_carry: Carry | None, carry: Carry) -> Carry:
  """The carry after a reset, in the shapes and dtypes of `carry`."""
  if reset_carry is None:
    return jax.tree.map(jnp.zeros_like, carry)
  return jax.tree.map(
    lambda leaf, like: jnp.broadcast_to(leaf, like.shape).astype(like.dtype),
    reset_carry,
    carry,
  )


def select(mask: jax.Array, when_true: Any, when_false: Any) -> Any:
  """Leaf by leaf `where`, the mask [B] spread over trailing axes.

  A select, not a product: a NaN in the branch not taken stays out of it.
  """

  def one(a: jax.Array, b: jax.Array) -> jax.Array:
    spread = mask.reshape(mask.shape + (1,) * (b.ndim - mask.ndim))
    return jnp.where(spread, a.astype(b.dtype), b)

  return jax.tree.map(one, when_true, when_false)


def sequence_of(step: Callable[..., tuple[Carry, jax.Array]]) -> Sequence:
  """A cell's `sequence` by the plain scan over its `step`.

  Options of the step that are None are not passed on, so that a step needs to
  know only of those that are used.

  Args:
    step: `(params, carry, x, **options) -> (carry, y)`.

  Returns:
    A function of `unroll`'s arguments after `step`, and the step's options.
  """

  def sequence(
    params: Any,
    carry: Carry,
    xs: Inputs,
    *,
    reset: jax.Array | None = None,
    lengths: jax.Array | None = None,
    reverse: bool = False,
    reset_carry: Carry | None = None,
    **options: Any,
  ) -> tuple[Carry, jax.Array]:
    used = {name: x for name, x in options.items() if x is not None}
    return unroll(
      functools.partial(step, **used),
      params,
      carry,
      xs,
      reset=reset,
      lengths=lengths,
      reverse=reverse,
      reset_carry=reset_carry,
    )

  return sequence


def checkpointed(sequence: Sequence, chunk: int) -> Sequence:
  """The same function of a sequence, with the carries kept at chunk edges only.

  Args:
    sequence: `(params, carry, xs, *, reset, lengths, reverse, reset_carry,
      zoneout, **others) -> (carry, hs)`, such as a cell's `sequence`, or
      `sequence_of(step)`.
    chunk: steps a chunk; the last one may be shorter.

  Returns:
    A function of the same signature, values and gradients.

  Raises:
    UserError: a chunk below 1.

  >>> from seqmodels.cells import cell
  >>> lstm = cell.get("lstm")
  >>> params = lstm.init_params(jax.random.key(0), 3, 4)
  >>> long = checkpointed(lstm.sequence, 16)
  >>> xs = jnp.ones((100, 2, 3))
  >>> long(params, lstm.initial_carry((2,), 4), xs)[1].shape
  (100, 2, 4)
  """
  if chunk < 1:
    raise errors.UserError(f"a chunk of {chunk} steps; it takes at least 1")

  def run(
    params: Any,
    carry: Carry,
    xs: Inputs,
    *,
    reset: jax.Array | None = None,
    lengths: jax.Array | None = None,
    reverse: bool = False,
    reset_carry: Carry | None = None,
    zoneout: Any = None,
    **others: Any,
  ) -> tuple[Carry, jax.Array]:
    steps = jax.tree.leaves(xs)[0].shape[0]
    whole = steps - steps % chunk

    def one(carry: Carry, piece: Any) -> tuple[Carry, jax.Array]:
      # Weights are closed over: constants of the scan, kept once.
      start, xs, reset, zoneout = piece
      left = None if lengths is None else lengths - start
      # Only LSTMs have the argument.
      zoned = {} if zoneout is None else {"zoneout": zoneout}
      return sequence(
        params,
        carry,
        xs,
        reset=reset,
        lengths=left,
        reverse=reverse,
        reset_carry=reset_carry,
        **zoned,
        **others,
      )

    def many(carry: Carry) -> tuple[Carry, jax.Array]:
      starts = jnp.arange(0, whole, chunk)
      pieces = jax.tree.map(
        lambda x: x[:whole].reshape(-1, chunk, *x.shape[1:]),
        (xs, reset, zoneout),
      )
      # A scan's body is compiled apart, so nothing can merge the two forwards.
      body = jax.checkpoint(one, prevent_cse=False)
      carry, hs = jax.lax.scan(body, carry, (starts, *pieces), reverse=reverse)
      return carry, hs.reshape(whole, *hs.shape[2:])

    def rest(carry: Carry) -> tuple[Carry, jax.Array]:
      piece = jax.tree.map(lambda x: x[whole:], (xs, reset, zoneout))
      return jax.checkpoint(one)(carry, (jnp.asarray(whole), *piece))

    if whole == 0:
      return rest(carry)
    if whole == steps:
      return many(carry)
    if reverse:
      carry, after = rest(carry)
      carry, before = many(carry)
    else:
      carry, before = many(carry)
      carry, after = rest(carry)
    return carry, jnp.concatenate([before, after])

  return run
