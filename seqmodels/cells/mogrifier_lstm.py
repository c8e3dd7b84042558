"""The Mogrifier LSTM (Melis et al., 2020): input and output gate each other.

    x^k = 2 sigma(Q^k h^{k-1}) * x^{k-2}    for odd k of 1 ... rounds
    h^k = 2 sigma(R^k x^{k-1}) * h^{k-2}    for even k

with x^{-1} = x and h^0 = h; the LSTM's step then takes the last x and the last
h (equations (1) and (2) of arXiv 1909.01792). With a rank, Q and R are products
of two thin matrices. The input must be dense: a one-hot vector has nothing to
scale but its one.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import initializers, lstm, products, projection

MogrifierLSTMCarry = lstm.LSTMCarry
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
    """How often input and output are gated in all."""
    return self.query.shape[0] + self.reply.shape[0]


def init_params(
  key: jax.Array,
  in_features: int,
  features: int,
  *,
  rounds: int = 5,
  rank: int = 0,
  peepholes: bool = False,
  kernel_init: initializers.Initializer | None = None,
  recurrent_kernel_init: initializers.Initializer | None = None,
  bias_init: initializers.Initializer | None = None,
  param_dtype: jax.typing.DTypeLike = jnp.float32,
) -> MogrifierLSTMParams:
  """Fresh weights; those of the rounds uniform on +-1/sqrt(rows).

  Args:
    key: consumed.
    in_features: D.
    features: H.
    rounds: of gating; 0 leaves an LSTM.
    rank: of Q and R; 0 for full matrices.
    peepholes: as of the LSTM, and so the next four.
    kernel_init: [D, 4H].
    recurrent_kernel_init: [H, 4H].
    bias_init: [4H].
    param_dtype: dtype of the weights.

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
    kernel_init=kernel_init,
    recurrent_kernel_init=recurrent_kernel_init,
    bias_init=bias_init,
    param_dtype=param_dtype,
  )
  odd, even = -(-rounds // 2), rounds // 2

  def draw(key: jax.Array, *shape: int) -> jax.Array:
    bound = 1.0 / math.sqrt(shape[1])
    return initializers.uniform(bound)(key, shape, param_dtype)

  return MogrifierLSTMParams(
    *plain,
    query=draw(keys[0], odd, features, rank or in_features),
    query_up=draw(keys[1], odd, rank, in_features) if rank else None,
    reply=draw(keys[2], even, in_features, rank or features),
    reply_up=draw(keys[3], even, rank, features) if rank else None,
  )


def step(
  params: MogrifierLSTMParams,
  carry: MogrifierLSTMCarry,
  x: projection.Inputs,
  *,
  gradient_clip: float | None = None,
  cell_clip: float | None = None,
  dtype: products.Dtype = None,
) -> tuple[MogrifierLSTMCarry, jax.Array]:
  """One time step.

  Args:
    params: the layer's weights.
    carry: (c, h), each [B, H].
    x: [B, D] or several dense inputs.
    gradient_clip: bound on each derivative with respect to an LSTM net input.
    cell_clip: bound on each |c'|, see `lstm.clip_cell`.
    dtype: dtype of the operands of each product; sums stay float32.

  Returns:
    The new carry, and h [B, H].

  Raises:
    UserError: the input is integer ids.

  >>> params = init_params(jax.random.key(0), 3, 4)
  >>> step(params, initial_carry((2,), 4), jnp.ones((2, 3)))[1].shape
  (2, 4)
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
  dtype: products.Dtype,
) -> jax.Array:
  net = products.matmul(source, down, dtype)
  if up is not None:
    net = products.matmul(net, up, dtype)
  return 2.0 * jax.nn.sigmoid(net)


def dense(x: projection.Inputs) -> jax.Array:
  """The inputs of a layer side by side.

  Raises:
    UserError: one of them is integer ids.

  >>> dense((jnp.ones((2, 3)), jnp.ones((2, 1)))).shape
  (2, 4)
  """
  parts = projection.as_list(x)
  if any(jnp.issubdtype(part.dtype, jnp.integer) for part in parts):
    raise errors.UserError(
      "the mogrifier_lstm cell gates its input and cannot gate one-hot "
      "symbols; give the model an embedding (config.model.embedding)"
    )
  return parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
