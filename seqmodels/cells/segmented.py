"""Sequences too long to keep: store the carry at chunk edges, compute the rest.

Backpropagation through a fused sequence keeps every step's gates and carry:
memory in proportion to T. Here time is cut into chunks; the forward pass keeps
the carries at their edges only, and the backward pass runs each chunk forward
once more, its input projection included, before it runs it backward. Memory is
then in proportion to T / chunk + chunk, least near chunk = sqrt(T), besides the
inputs and outputs themselves, for one more forward pass of time.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import unroll as unrolling

Carry = Any
Sequence = Callable[..., tuple[Carry, jax.Array]]


def checkpointed(sequence: Sequence, chunk: int) -> Sequence:
  """The same function of a sequence, with the storage policy said above.

  Args:
    sequence: `(params, carry, xs, *, reset, lengths, reverse, reset_carry,
      zoneout, **others) -> (carry, hs)`, such as a cell's `sequence`, or
      `functools.partial(unroll.unroll, step)`.
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
    xs: unrolling.Inputs,
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
