"""The Mogrifier LSTM (Melis et al., 2020): input and output gate each other.

    x^k = 2 sigma(Q^k h^{k-1}) * x^{k-2}    for odd k of 1 ... rounds
    h^k = 2 sigma(R^k x^{k-1}) * h^{k-2}    for even k

with x^{-1} = x and h^0 = h; the LSTM's step then takes the last x and the last
h (equations (1) and (2) of arXiv 1909.01792). With a rank, Q and R are products
of two thin matrices. The input must be dense: a one-hot vector has nothing to
scale but its one.

Over a sequence no product can be taken ahead of the loop, since the input
depends on the output before it; all weights' gradients are still formed after
the backward loop, one product each (see `fused`).
"""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import fused, lstm, ops, scan

Carry = lstm.LSTMCarry
initial_carry = lstm.initial_carry


class MogrifierLSTMParams(NamedTuple):
  """Weights of one layer: the LSTM's, and those of the rounds.

  `query` holds Q of the odd rounds, `reply` R of the even ones; with a rank,
  Q = query query_up and R = reply reply_up.
  """

  kernel: jax.Array  # [D, 4H]
  recurrent_kernel: jax.Array  # [H, 4H]
  bias: jax.Array  # [4H]
  peephole: jax.Array | None  # [3, H]
  query: jax.Array  # [ceil(rounds / 2), H, D or rank]
  query_up: jax.Array | None  # [ceil(rounds / 2), rank, D]
  reply: jax.Array  # [floor(rounds / 2), D, H or rank]
  reply_up: jax.Array | None  # [floor(rounds / 2), rank, H]

  @property
  def lstm(self) -> lstm.LSTMParams:
    """The weights of the LSTM behind the rounds."""
    return lstm.LSTMParams(
      self.kernel, self.recurrent_kernel, self.bias, self.peephole
    )

  @property
  def rounds(self) -> int:
    """The number of gatings of input and output together."""
    return self.query.shape[0] + self.reply.shape[0]


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  rounds: int = 5,
  rank: int = 0,
  peepholes: bool = False,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
  **initializers: Any,
) -> MogrifierLSTMParams:
  """Fresh weights; those of the rounds uniform on +-1/sqrt(rows).

  Args as of `lstm.init_params`, and:
    rounds: of gating; 0 leaves an LSTM.
    rank: of Q and R; 0 for full matrices.

  Raises:
    UserError: a negative number of rounds, or a negative rank.

  >>> params = init_params(jax.random.key(0), 3, 4, rounds=3, rank=2)
  >>> params.query.shape, params.query_up.shape, params.reply.shape
  ((2, 4, 2), (2, 2, 3), (1, 3, 2))
  """
  if rounds < 0 or rank < 0:
    raise errors.UserError(
      f"a Mogrifier of {rounds} rounds and rank {rank} cannot be built; both "
      "are at least 0"
    )
  lstm_key, *keys = jax.random.split(key, 5)
  plain = lstm.init_params(
    lstm_key,
    in_features,
    features,
    peepholes=peepholes,
    param_dtype=param_dtype,
    **initializers,
  )
  odd, even = -(-rounds // 2), rounds // 2

  def draw(key: jax.Array, *shape: int) -> jax.Array:
    bound = 1.0 / math.sqrt(shape[1])
    return ops.uniform(bound)(key, shape, param_dtype)

  return MogrifierLSTMParams(
    *plain,
    query=draw(keys[0], odd, features, rank or in_features),
    query_up=draw(keys[1], odd, rank, in_features) if rank else None,
    reply=draw(keys[2], even, in_features, rank or features),
    reply_up=draw(keys[3], even, rank, features) if rank else None,
  )


def step(
  params: MogrifierLSTMParams,
  carry: Carry,
  x: ops.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """One time step; arguments as of `lstm.step`.

  Raises:
    UserError: the input is integer ids.
  """
  x, h = dense(x), carry.h
  for number in range(params.rounds):
    if number % 2 == 0:
      up = None if params.query_up is None else params.query_up[number // 2]
      x = x * _gate(h, params.query[number // 2], up, dtype)
    else:
      up = None if params.reply_up is None else params.reply_up[number // 2]
      h = h * _gate(x, params.reply[number // 2], up, dtype)
  return lstm.step(
    params.lstm,
    carry._replace(h=h),
    x,
    gradient_clip=gradient_clip,
    cell_clip=cell_clip,
    dtype=dtype,
  )


def _gate(
  source: jax.Array,
  down: jax.Array,
  up: jax.Array | None,
  dtype: ops.Dtype,
) -> jax.Array:
  net = ops.matmul(source, down, dtype)
  if up is not None:
    net = ops.matmul(net, up, dtype)
  return 2.0 * jax.nn.sigmoid(net)


def dense(x: ops.Inputs) -> jax.Array:
  """The inputs of a layer side by side.

  Raises:
    UserError: one of them is integer ids.

  >>> dense((jnp.ones((2, 3)), jnp.ones((2, 1)))).shape
  (2, 4)
  """
  arrays = ops.as_list(x)
  if any(jnp.issubdtype(array.dtype, jnp.integer) for array in arrays):
    raise errors.UserError(
      "the mogrifier_lstm cell gates its input and cannot gate one-hot "
      "symbols; give the model an embedding (config.model.embedding)"
    )
  return arrays[0] if len(arrays) == 1 else jnp.concatenate(arrays, axis=-1)


def sequence(
  params: MogrifierLSTMParams,
  carry: Carry,
  xs: ops.Inputs,
  *,
  reset: jax.Array | None = None,
  lengths: jax.Array | None = None,
  reverse: bool = False,
  reset_carry: Carry | None = None,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: ops.Dtype = None,
) -> tuple[Carry, jax.Array]:
  """Runs the layer over time.

  Args as of `step`, and of `lstm.sequence` but for `zoneout`.
  """
  xs = dense(scan.blank_padding(xs, lengths))
  cell = _recurrence(gradient_clip, cell_clip, dtype)
  return fused.run(
    cell, reverse, params, xs, carry, reset, lengths, reset_carry
  )


def _chain(params: MogrifierLSTMParams, number: int) -> tuple[jax.Array, ...]:
  """The matrices of a round, one or (with a rank) two."""
  query = number % 2 == 0
  down = params.query if query else params.reply
  up = params.query_up if query else params.reply_up
  place = number // 2
  return (down[place],) if up is None else (down[place], up[place])


@functools.cache
def _recurrence(
  gradient_clip: float | None, cell_clip: float | None, dtype: ops.Dtype
) -> fused.Recurrence:
  gates = lstm.gates(gradient_clip, cell_clip)

  def cast(tree: Any) -> Any:
    return (
      tree
      if dtype is None
      else jax.tree.map(lambda leaf: leaf.astype(dtype), tree)
    )

  def ready(params: MogrifierLSTMParams) -> Any:
    chains = [_chain(params, number) for number in range(params.rounds)]
    kernels = (params.kernel, params.recurrent_kernel)
    return cast(chains), cast(kernels), params.bias, params.peephole

  def forward(weights: Any, x: jax.Array, carry: Carry) -> Any:
    chains, (kernel, recurrent_kernel), bias, peephole = weights
    first, h = x, carry.h
    factors, thin = [], []
    for number, chain in enumerate(chains):
      query = number % 2 == 0
      middle = ops.dot(h if query else x, chain[0], dtype)
      net = middle if len(chain) == 1 else ops.dot(middle, chain[1], dtype)
      thin.append(None if len(chain) == 1 else middle)
      factors.append(2.0 * fused.sigmoid(net))
      if query:
        x = x * factors[-1]
      else:
        h = h * factors[-1]
    net = ops.dot(x, kernel, dtype) + bias[None]
    net = net + ops.dot(h, recurrent_kernel, dtype)
    after, saved = gates.forward(fused.Loop(peephole), net, carry)
    return after, (first, factors, thin, saved)

  def backward(
    weights: Any, saved: Any, before: Carry, after: Carry, d_after: Carry
  ) -> Any:
    chains, (kernel, recurrent_kernel), _, peephole = weights
    first, factors, _, inner = saved
    d_net, _, d_before, _ = gates.backward(
      peephole, inner, before, after, d_after
    )
    d_x = ops.source_gradient(d_net, kernel, dtype)
    d_h = ops.source_gradient(d_net, recurrent_kernel, dtype)
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
        d_first = ops.source_gradient(d_last, chain[1], dtype)
      d_source = ops.source_gradient(d_first, chain[0], dtype)
      if query:
        d_x, d_h = d_x * factor, d_h + d_source
      else:
        d_h, d_x = d_h * factor, d_x + d_source
      d_nets.append((d_first, None if len(chain) == 1 else d_last))
    d_before = d_before._replace(h=d_before.h + d_h)
    return d_x, d_before, (d_net, d_nets[::-1])

  def gradient(
    params: MogrifierLSTMParams,
    saved: Any,
    d_xs: jax.Array,
    kept: Any,
    before: Carry,
    after: Carry,
  ) -> MogrifierLSTMParams:
    del d_xs
    first, factors, thin, inner = saved
    d_net, d_nets = kept
    sources = _sources(first, before.h, factors)
    x, h = first, before.h
    for number, factor in enumerate(factors):
      x, h = (x * factor, h) if number % 2 == 0 else (x, h * factor)
    rounds: dict[str, list[jax.Array]] = {
      "query": [], "query_up": [], "reply": [], "reply_up": []
    }  # fmt: skip
    for number, (d_first, d_last) in enumerate(d_nets):
      name = "query" if number % 2 == 0 else "reply"
      rounds[name].append(
        ops.weight_gradient(sources[number][0], d_first, dtype)
      )
      if d_last is not None:
        rounds[f"{name}_up"].append(
          ops.weight_gradient(thin[number], d_last, dtype)
        )
    gradients = MogrifierLSTMParams(
      kernel=ops.weight_gradient(x, d_net, dtype),
      recurrent_kernel=ops.weight_gradient(h, d_net, dtype),
      bias=jnp.sum(d_net, axis=(0, 1)),
      peephole=gates.extra_gradient(
        params.peephole, inner, d_net, None, before, after
      ),
      # A field without a round has no matrix to stack, and no gradient.
      **{
        name: jnp.stack(matrices)
        if matrices
        else jax.tree.map(jnp.zeros_like, getattr(params, name))
        for name, matrices in rounds.items()
      },
    )
    return jax.tree.map(
      lambda like, leaf: leaf.astype(like.dtype), params, gradients
    )

  return fused.Recurrence(ready, forward, backward, gradient)


def _sources(
  x: jax.Array, h: jax.Array, factors: list[jax.Array]
) -> list[tuple[jax.Array, jax.Array]]:
  """The source of each round's gate, and what the gate scales."""
  sources = []
  for number, factor in enumerate(factors):
    if number % 2 == 0:
      sources.append((h, x))
      x = x * factor
    else:
      sources.append((x, h))
      h = h * factor
  return sources
