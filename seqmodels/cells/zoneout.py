"""Zoneout: units that keep their last value (Krueger et al., 2017).

With an LSTM's new cell and output, c~ = f * c_{t-1} + i * g and
h~ = o * tanh(c~),

    c_t = d_c * c_{t-1} + (1 - d_c) * c~
    h_t = d_h * h_{t-1} + (1 - d_h) * h~

where d_c and d_h are drawn for every unit, step and row: 1 with the
probabilities z_c and z_h ("zoneout rates") in training, and these probabilities
themselves, the expectation, everywhere else.

The tanh of the output sees c~ and not c_t, as in the paper and in the authors'
code (teganmaharaj/zoneout). Their LSTM has no peepholes; here the output gate's
sees c~, too, so that an LSTM's step stays what it is, and c~ and h~ are its
results.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import scan

Carry = Any  # a NamedTuple of `c` and `h`, as `lstm.LSTMCarry`


class Kept(NamedTuple):
  """d_c and d_h, the share of its old value that each unit keeps.

  Booleans, or numbers in [0, 1]; [T, B, H] for a sequence or of shapes that
  broadcast to it with all of T, without T for a step. None keeps nothing. They
  are constants: their derivatives are zero.
  """

  cell: jax.Array | None
  state: jax.Array | None


class Rates(NamedTuple):
  """z_c and z_h, each in [0, 1)."""

  cell: float = 0.0
  state: float = 0.0

  def check(self) -> None:
    """Refuses rates that are not in [0, 1).

    Raises:
      UserError: one sentence.

    >>> Rates(0.5, 0.05).check()
    """
    for rate in self:
      if not 0.0 <= rate < 1.0:
        raise errors.UserError(
          f"a zoneout rate is {rate}; it must be at least 0 and below 1, since "
          "at 1 no unit would ever change"
        )

  def draw(self, key: jax.Array, shape: tuple[int, ...]) -> Kept:
    """Masks for training.

    Args:
      key: consumed.
      shape: [T, B, H].

    >>> Rates(cell=0.5).draw(jax.random.key(0), (1, 1, 4))
    Kept(cell=Array([[[False, False,  True,  True]]], dtype=bool), state=None)
    """
    keys = jax.random.split(key, 2)
    return Kept(
      *(
        _mask(key, rate, shape) if rate else None
        for key, rate in zip(keys, self, strict=True)
      )
    )

  def expected(self, steps: int) -> Kept:
    """The expectation, for evaluation: the rates at each of `steps` steps.

    >>> Rates(cell=0.5).expected(2).cell.shape
    (2, 1, 1)
    """
    return Kept(
      *(jnp.full((steps, 1, 1), rate) if rate else None for rate in self)
    )


def stepwise(step: scan.Step) -> scan.Step:
  """A cell's step with zoneout, to be unrolled over pairs of input and `Kept`.

  Args:
    step: `(params, carry, x) -> (carry, h)` of an LSTM.

  Returns:
    `(params, carry, (x, kept)) -> (carry, h)`.

  >>> from seqmodels.cells import lstm
  >>> params = lstm.init_params(jax.random.key(0), 3, 4)
  >>> carry = lstm.LSTMCarry(jnp.ones((2, 4)), jnp.ones((2, 4)))
  >>> x = jnp.ones((2, 3)), Kept(cell=None, state=jnp.array([[True]]))
  >>> stepwise(lstm.step)(params, carry, x)[1][0]
  Array([1., 1., 1., 1.], dtype=float32)
  """

  def zoned(params: Any, carry: Carry, x: Any) -> tuple[Carry, jax.Array]:
    x, kept = x
    after = _mixed(kept, carry, step(params, carry, x)[0])
    return after, after.h

  return zoned


@functools.cache
def around(recurrence: Any) -> Any:
  """A `fused.Recurrence` with zoneout: its inputs are pairs of x and `Kept`."""

  def forward(ready: Any, x: Any, carry: Carry) -> Any:
    x, kept = x
    new, saved = recurrence.forward(ready, x, carry)
    return _mixed(kept, carry, new), (saved, new, kept)

  def backward(
    ready: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    del after
    saved, new, kept = saved
    d_old, d_new = _parted(kept, d_after)
    d_x, d_before, rest = recurrence.backward(ready, saved, before, new, d_new)
    return (d_x, None), jax.tree.map(jnp.add, d_before, d_old), rest

  def gradient(
    weights: Any, saved: Any, d_x: Any, rest: Any, before: Carry, after: Carry
  ) -> Any:
    del after
    saved, new, _ = saved
    return recurrence.gradient(weights, saved, d_x[0], rest, before, new)

  return recurrence._replace(
    forward=forward, backward=backward, gradient=gradient
  )


def _mask(key: jax.Array, rate: float, shape: tuple[int, ...]) -> jax.Array:
  """True with a probability of `rate`, rounded to a multiple of 2**-16.

  `jax.random.bernoulli` spends a whole word, and a hash, on every number: for a
  mask a step that is a tenth of the training's time on a CPU. Here two share a
  word.
  """
  words = jax.random.bits(key, (*shape[:-1], -(-shape[-1] // 2)), jnp.uint32)
  bits = jax.lax.bitcast_convert_type(words, jnp.uint16)
  bits = bits.reshape(*shape[:-1], -1)[..., : shape[-1]]
  return bits.astype(jnp.uint32) < round(rate * 2**16)


def _mixed(kept: Kept, old: Carry, new: Carry) -> Carry:
  def one(keep: jax.Array | None, a: jax.Array, b: jax.Array) -> jax.Array:
    if keep is None:
      return b
    if keep.dtype == bool:
      return jnp.where(keep, a, b)
    keep = keep.astype(b.dtype)
    return keep * a + (1 - keep) * b

  return new._replace(
    c=one(kept.cell, old.c, new.c), h=one(kept.state, old.h, new.h)
  )


def _parted(kept: Kept, d_after: Carry) -> tuple[Carry, Carry]:
  """The derivatives of `old` and `new` in `_mixed`, from that of its result."""
  zeros = jax.tree.map(jnp.zeros_like, d_after)
  return _mixed(kept, d_after, zeros), _mixed(kept, zeros, d_after)
