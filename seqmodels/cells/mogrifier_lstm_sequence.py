"""The Mogrifier LSTM over a whole sequence.

Values and gradients are those of `unroll.unroll(mogrifier_lstm.step, ...)`. No
product can be taken ahead of the loop, since the input depends on the output
before it; all weights' gradients are still formed after the backward loop, one
product each (see `recurrence`).
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.cells import (
  fused,
  lstm_sequence,
  mogrifier_lstm,
  products,
  projection,
  recurrence,
)
from seqmodels.cells import unroll as unrolling

Carry = mogrifier_lstm.MogrifierLSTMCarry
Params = mogrifier_lstm.MogrifierLSTMParams


def mogrifier_lstm_sequence(
  params: Params,
  carry: Carry,
  xs: projection.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Runs the layer over time; arguments and results as `lstm_sequence`.

  >>> params = mogrifier_lstm.init_params(jax.random.key(0), 3, 4)
  >>> carry = mogrifier_lstm.initial_carry((2,), 4)
  >>> mogrifier_lstm_sequence(params, carry, jnp.ones((5, 2, 3)))[1].shape
  (5, 2, 4)
  """
  xs = mogrifier_lstm.dense(unrolling.blank_padding(xs, lengths))
  return recurrence.run(
    _recurrence(gradient_clip, cell_clip, dtype),
    params,
    xs,
    carry,
    reset=reset,
    lengths=lengths,
    reverse=reverse,
    reset_carry=reset_carry,
  )


def _chain(params: Params, number: int) -> tuple[jax.Array, ...]:
  """The matrices of a round, one or (with a rank) two."""
  query = number % 2 == 0
  down = params.query if query else params.reply
  up = params.query_up if query else params.reply_up
  place = number // 2
  return (down[place],) if up is None else (down[place], up[place])


@functools.cache
def _recurrence(
  gradient_clip: float | None, cell_clip: float | None, dtype: products.Dtype
) -> recurrence.Recurrence:
  gates = lstm_sequence.gates(gradient_clip, cell_clip)

  def cast(tree: Any) -> Any:
    return (
      tree
      if dtype is None
      else jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    )

  def ready(params: Params) -> Any:
    chains = [_chain(params, number) for number in range(params.rounds)]
    kernels = (params.kernel, params.recurrent_kernel)
    return cast(chains), cast(kernels), params.bias, params.peephole

  def forward(weights: Any, x: jax.Array, carry: Carry) -> Any:
    chains, (kernel, recurrent_kernel), bias, peephole = weights
    first, h = x, carry.h
    factors, thin = [], []
    for number, chain in enumerate(chains):
      query = number % 2 == 0
      middle = products.dot(h if query else x, chain[0], dtype)
      net = middle if len(chain) == 1 else products.dot(middle, chain[1], dtype)
      thin.append(None if len(chain) == 1 else middle)
      factors.append(2.0 * fused.sigmoid(net))
      if query:
        x = x * factors[-1]
      else:
        h = h * factors[-1]
    net_x = products.dot(x, kernel, dtype) + bias[None]
    net_h = products.dot(h, recurrent_kernel, dtype)
    after, saved = gates.forward(peephole, net_x, net_h, carry)
    return after, (first, factors, thin, saved)

  def backward(
    weights: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    chains, (kernel, recurrent_kernel), _, peephole = weights
    first, factors, _, inner = saved
    d_net, _, d_before, _ = gates.backward(
      peephole, inner, before, after, d_after
    )
    d_x = products.source_gradient(d_net, kernel, dtype)
    d_h = products.source_gradient(d_net, recurrent_kernel, dtype)
    sources = _sources(first, before.h, factors)
    d_nets = []
    for number in reversed(range(len(chains))):
      query = number % 2 == 0
      factor, gated = factors[number], sources[number][1]
      d_gated = d_x if query else d_h
      # d(2 sigma(net)) = factor (1 - factor / 2)
      d_last = d_gated * gated * factor * (1.0 - 0.5 * factor)
      chain = chains[number]
      d_first = d_last
      if len(chain) == 2:
        d_first = products.source_gradient(d_last, chain[1], dtype)
      d_source = products.source_gradient(d_first, chain[0], dtype)
      if query:
        d_x, d_h = d_x * factor, d_h + d_source
      else:
        d_h, d_x = d_h * factor, d_x + d_source
      d_nets.append((d_first, None if len(chain) == 1 else d_last))
    d_before = d_before._replace(h=d_before.h + d_h)
    return d_x, d_before, (d_net, d_nets[::-1])

  def gradient(
    params: Params,
    saved: Any,
    d_xs: jax.Array,
    kept: Any,
    before: Carry,
    after: Carry,
  ) -> Params:
    del d_xs
    first, factors, thin, inner = saved
    d_net, d_nets = kept
    sources = _sources(first, before.h, factors)
    x, h = first, before.h
    for number, factor in enumerate(factors):
      x, h = (x * factor, h) if number % 2 == 0 else (x, h * factor)
    made: dict[str, list[jax.Array]] = {
      "query": [], "query_up": [], "reply": [], "reply_up": []
    }  # fmt: skip
    for number, (d_first, d_last) in enumerate(d_nets):
      name = "query" if number % 2 == 0 else "reply"
      made[name].append(
        products.weight_gradient(sources[number][0], d_first, dtype)
      )
      if d_last is not None:
        made[f"{name}_up"].append(
          products.weight_gradient(thin[number], d_last, dtype)
        )
    found = Params(
      kernel=products.weight_gradient(x, d_net, dtype),
      recurrent_kernel=products.weight_gradient(h, d_net, dtype),
      bias=jnp.sum(d_net, axis=(0, 1)),
      peephole=gates.extra_gradient(
        params.peephole, inner, d_net, None, before, after
      ),
      # A part without a round has no matrix to stack, and no gradient.
      **{
        name: jnp.stack(parts)
        if parts
        else jax.tree.map(jnp.zeros_like, getattr(params, name))
        for name, parts in made.items()
      },
    )
    return jax.tree.map(
      lambda like, part: part.astype(like.dtype), params, found
    )

  return recurrence.Recurrence(ready, forward, backward, gradient)


def _sources(
  x: jax.Array, h: jax.Array, factors: list[jax.Array]
) -> list[tuple[jax.Array, jax.Array]]:
  """Of each round: what its gate is made of, and what it scales."""
  found = []
  for number, factor in enumerate(factors):
    if number % 2 == 0:
      found.append((h, x))
      x = x * factor
    else:
      found.append((x, h))
      h = h * factor
  return found
