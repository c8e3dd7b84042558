"""What gated cells do where a gate is quite shut or quite open.

Biases of +-1000 hold a gate at exactly 1 or 0 in float32, whatever the input.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies.rnn_from_scratch import plain_networks
from seqmodels.cells import elman, gru, lstm

OPEN, SHUT = 1000.0, -1000.0
STEPS, ROWS, WIDTH, FEATURES = 20, 3, 4, 5


def facts(seed: int) -> list[tuple[str, str, float]]:
  """Claims about the gates, and how far the library's cells are from them.

  Args:
    seed: of the weights and inputs.

  Returns:
    (setting of the gates, claim, largest difference) each.
  """
  random = np.random.default_rng(seed)
  xs = random.normal(size=(STEPS, ROWS, WIDTH)).astype(np.float32)
  long = _drawn(lstm.init_params, random, peepholes=False)
  short = _drawn(gru.init_params, random)
  return [
    (
      "LSTM: F = 1, I = 0",
      "C never changes",
      _memory_kept(_with_bias(long, i=SHUT, f=OPEN), xs),
    ),
    ("LSTM: O = 0", "H = 0", _silent(_with_bias(long, o=SHUT), xs)),
    (
      "LSTM: F = I = G = 1",
      "C counts steps, so |C| has no bound",
      _counts(_with_bias(long, i=OPEN, f=OPEN, g=OPEN), xs),
    ),
    ("GRU: Z = 1", "H never changes", _state_kept(short, xs)),
    ("GRU: R = 1, Z = 0", "the simple network", _as_elman(short, xs)),
    (
      "GRU: R = 0, Z = 0",
      "H depends on the last input alone",
      _forgets(short, xs),
    ),
  ]


def _drawn(init: Any, random: np.random.Generator, **options: Any) -> Any:
  """Weights of the shapes that `init` gives."""
  shapes = jax.eval_shape(
    lambda: init(jax.random.key(0), WIDTH, FEATURES, **options)
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.5 * random.normal(size=leaf.shape), leaf.dtype),
    shapes,
  )


def _run(step: Any, params: Any, carry: Any, xs: np.ndarray) -> Any:
  """The last carry, and the outputs [T, B, H]."""
  outputs = []
  for x in xs:
    carry, h = step(params, carry, x)
    outputs.append(np.asarray(h))
  return carry, np.stack(outputs)


def _with_bias(params: Any, **gates: float) -> Any:
  """The LSTM with some gates held; the others are left alone."""
  blocks = jnp.split(params.bias, 4)
  for place, name in enumerate("ifgo"):
    if name in gates:
      blocks[place] = jnp.full_like(blocks[place], gates[name])
  return params._replace(bias=jnp.concatenate(blocks))


def _gru_held(params: gru.GRUParams, r: float, z: float) -> gru.GRUParams:
  _, _, n = jnp.split(params.bias, 3)
  held = [jnp.full_like(n, r), jnp.full_like(n, z), n]
  return params._replace(bias=jnp.concatenate(held))


def _some_state() -> Any:
  values = np.linspace(-0.9, 0.9, ROWS * FEATURES, dtype=np.float32)
  return values.reshape(ROWS, FEATURES)


def _memory_kept(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.LSTMCarry(c=3.0 * _some_state(), h=_some_state())
  after, _ = _run(lstm.step, params, carry, xs)
  return plain_networks.far(after.c, carry.c)


def _silent(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.LSTMCarry(c=3.0 * _some_state(), h=_some_state())
  return plain_networks.far(_run(lstm.step, params, carry, xs)[1], 0.0)


def _counts(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.initial_carry((ROWS,), FEATURES)
  after, _ = _run(lstm.step, params, carry, xs)
  return plain_networks.far(after.c, float(STEPS))


def _state_kept(params: gru.GRUParams, xs: np.ndarray) -> float:
  carry = gru.GRUCarry(_some_state())
  held = _gru_held(params, 0.0, OPEN)
  return plain_networks.far(_run(gru.step, held, carry, xs)[0].h, carry.h)


def _as_elman(params: gru.GRUParams, xs: np.ndarray) -> float:
  held = _gru_held(params, OPEN, SHUT)
  plain = elman.ElmanParams(
    kernel=params.kernel[:, 2 * FEATURES :],
    recurrent_kernel=params.recurrent_kernel[:, 2 * FEATURES :],
    bias=params.bias[2 * FEATURES :] + params.recurrent_bias,
  )
  ours = _run(gru.step, held, gru.GRUCarry(_some_state()), xs)
  theirs = _run(elman.step, plain, elman.ElmanCarry(_some_state()), xs)
  return plain_networks.far(ours[1], theirs[1])


def _forgets(params: gru.GRUParams, xs: np.ndarray) -> float:
  held = _gru_held(params, SHUT, SHUT)
  _, one = _run(gru.step, held, gru.GRUCarry(_some_state()), xs)
  # Every input but the last changed, and another state to begin with.
  other = np.concatenate([xs[:-1] + 1, xs[-1:]])
  _, two = _run(gru.step, held, gru.GRUCarry(-_some_state()), other)
  return plain_networks.far(one[-1], two[-1])
