"""cuDNN's LSTM through `jax.experimental.rnn`, the peer on an NVIDIA GPU.

It takes float32 alone (its products may run in TF32, as XLA's may), the batch
first, and all weights in one vector. Inputs and cotangent are laid out for it
before the clock starts.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.experimental import rnn

from experiments import layer_work
from seqmodels.cells import lstm

NAME = "jax.experimental.rnn (cuDNN)"


def missing() -> str:
  """Why it cannot be measured here; empty if it can."""
  if jax.default_backend() != "gpu":
    return f"cuDNN needs a GPU, and JAX runs on {jax.default_backend()}"
  if "NVIDIA" not in jax.devices()[0].device_kind.upper():
    return f"cuDNN does not run on {jax.devices()[0].device_kind}"
  return ""


def layer(given: layer_work.Task) -> layer_work.Layer:
  """The layer over a task, without peepholes."""
  batch, features = given.xs.shape[1:]
  return layer_work.compiled(
    function(batch, features),
    pack(given.params),
    given.xs.swapaxes(0, 1),
    given.cotangent.swapaxes(0, 1),
    lambda weights: unpack(weights, features, features),
    batch_first=True,
  )


def function(
  batch: int, features: int
) -> Callable[[jax.Array, jax.Array], jax.Array]:
  """(weights, xs [B, T, H]) -> outputs [B, T, H], from zeros."""

  def run(weights: jax.Array, xs: jax.Array) -> jax.Array:
    zeros = jnp.zeros((1, batch, features))
    outputs, _, _ = rnn.lstm(
      xs,
      zeros,
      zeros,
      weights,
      jnp.full((batch,), xs.shape[1], jnp.int32),
      input_size=features,
      hidden_size=features,
      num_layers=1,
      dropout=0.0,
      bidirectional=False,
    )
    return outputs

  return run


def pack(params: lstm.LSTMParams) -> jax.Array:
  """All weights in cuDNN's order; its second bias is zero.

  Per layer W_ih [4H, D], W_hh [4H, H], b_ih, b_hh, gates in our order.

  >>> params = lstm.init_params(jax.random.key(0), 3, 3, peepholes=False)
  >>> pack(params).size == rnn.get_num_params_in_lstm(3, 3, 1, False)
  True
  """
  lstm.refuse_peepholes(params, NAME)
  parts = (params.kernel.T, params.recurrent_kernel.T, params.bias)
  flat = [part.ravel() for part in parts]
  return jnp.concatenate([*flat, jnp.zeros_like(params.bias)])


def unpack(weights: jax.Array, width: int, features: int) -> lstm.LSTMParams:
  """Our weights from cuDNN's vector, or our gradients from its.

  The first bias is taken as ours: the gradients of the two are equal, and
  `pack` leaves the second at zero.
  """
  w_ih, w_hh, b_ih, _ = rnn.unpack_lstm_weights(
    weights, width, features, 1, False
  )
  return lstm.LSTMParams(w_ih[0].T, w_hh[0].T, b_ih[0], None)
