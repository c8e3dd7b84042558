"""Weights of Flax's recurrent cells, to and from ours.

Flax keeps one small matrix a gate, `i*` for the input's and `h*` for the
recurrent ones; ours are stacked. These functions speak plain nested dicts, the
"params" of one cell: of `nn.RNN(cell)` that is `variables["params"]["cell"]`.
Flax itself is not needed here.

`LSTMCell` and `OptimizedLSTMCell` share one layout. Flax's LSTM has no
peepholes, and its forget gate's bias starts at 0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors, trees
from seqmodels.cells import elman, gru, lstm

Tree = Mapping[str, Any]

_LSTM_GATES = ("i", "f", "g", "o")
_GRU_GATES = ("r", "z", "n")


def lstm_from_flax(params: Tree) -> lstm.LSTMParams:
  """Ours from those of `LSTMCell` or `OptimizedLSTMCell`.

  Args:
    params: {"ii": {"kernel": [D, H]}, "hi": {"kernel": [H, H], "bias": [H]},
      ...}, two entries for each of the gates i, f, g, o.

  Returns:
    The same LSTM, without peepholes.

  Raises:
    UserError: other names or shapes, each of them named.

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_from_flax(lstm_to_flax(params)).kernel.shape
  (3, 8)
  """
  biased = [f"h{gate}" for gate in _LSTM_GATES]
  _check(params, "LSTMCell", _LSTM_GATES, biased)
  return lstm.LSTMParams(
    kernel=_stack(params, "i", _LSTM_GATES),
    recurrent_kernel=_stack(params, "h", _LSTM_GATES),
    bias=_stack(params, "h", _LSTM_GATES, "bias"),
    peephole=None,
  )


def lstm_to_flax(params: lstm.LSTMParams) -> dict[str, Any]:
  """Those of `LSTMCell` and `OptimizedLSTMCell` from ours.

  Raises:
    UserError: the LSTM has peepholes, which Flax's has not.

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_to_flax(params)["hf"]["bias"]
  Array([1., 1.], dtype=float32)
  """
  lstm.refuse_peepholes(params, "Flax's LSTMCell")
  tree = _split(_LSTM_GATES, params.kernel, params.recurrent_kernel)
  biases = jnp.split(params.bias, len(_LSTM_GATES))
  for gate, bias in zip(_LSTM_GATES, biases, strict=True):
    tree[f"h{gate}"]["bias"] = bias
  return tree


def gru_from_flax(params: Tree) -> gru.GRUParams:
  """Ours from those of `GRUCell`.

  Args:
    params: {"ir": {"kernel": [D, H], "bias": [H]}, "hr": {"kernel": [H, H]},
      ...}, two entries for each of the gates r, z, n, and a bias in "hn".

  Raises:
    UserError: other names or shapes, each of them named.

  >>> params = gru.init_params(jax.random.key(0), 3, 2)
  >>> gru_from_flax(gru_to_flax(params)).kernel.shape
  (3, 6)
  """
  biased = [*(f"i{gate}" for gate in _GRU_GATES), "hn"]
  _check(params, "GRUCell", _GRU_GATES, biased)
  return gru.GRUParams(
    kernel=_stack(params, "i", _GRU_GATES),
    recurrent_kernel=_stack(params, "h", _GRU_GATES),
    bias=_stack(params, "i", _GRU_GATES, "bias"),
    recurrent_bias=jnp.asarray(params["hn"]["bias"]),
  )


def gru_to_flax(params: gru.GRUParams) -> dict[str, Any]:
  """Those of `GRUCell` from ours.

  >>> params = gru.init_params(jax.random.key(0), 3, 2)
  >>> gru_to_flax(params)["hn"]["bias"]
  Array([0., 0.], dtype=float32)
  """
  tree = _split(_GRU_GATES, params.kernel, params.recurrent_kernel)
  biases = jnp.split(params.bias, len(_GRU_GATES))
  for gate, bias in zip(_GRU_GATES, biases, strict=True):
    tree[f"i{gate}"]["bias"] = bias
  tree["hn"]["bias"] = params.recurrent_bias
  return tree


def elman_from_flax(params: Tree) -> elman.ElmanParams:
  """Ours from those of `SimpleCell`.

  Args:
    params: {"i": {"kernel": [D, H], "bias": [H]}, "h": {"kernel": [H, H]}}.

  Raises:
    UserError: other names or shapes, each of them named.

  >>> params = elman.init_params(jax.random.key(0), 3, 2)
  >>> elman_from_flax(elman_to_flax(params)).kernel.shape
  (3, 2)
  """
  _check(params, "SimpleCell", ("",), ["i"])
  return elman.ElmanParams(
    kernel=_stack(params, "i", ("",)),
    recurrent_kernel=_stack(params, "h", ("",)),
    bias=_stack(params, "i", ("",), "bias"),
  )


def elman_to_flax(params: elman.ElmanParams) -> dict[str, Any]:
  """Those of `SimpleCell` from ours.

  >>> params = elman.init_params(jax.random.key(0), 3, 2)
  >>> sorted(elman_to_flax(params))
  ['h', 'i']
  """
  tree = _split(("",), params.kernel, params.recurrent_kernel)
  tree["i"]["bias"] = params.bias
  return tree


def _stack(
  params: Tree, side: str, gates: Sequence[str], leaf: str = "kernel"
) -> jax.Array:
  blocks = [jnp.asarray(params[side + gate][leaf]) for gate in gates]
  return jnp.concatenate(blocks, axis=-1)


def _split(
  gates: Sequence[str], kernel: jax.Array, recurrent_kernel: jax.Array
) -> dict[str, dict[str, Any]]:
  tree = {}
  for side, stacked in (("i", kernel), ("h", recurrent_kernel)):
    blocks = jnp.split(stacked, len(gates), axis=-1)
    for gate, block in zip(gates, blocks, strict=True):
      tree[side + gate] = {"kernel": block}
  return tree


def _check(
  params: Tree, cell: str, gates: Sequence[str], biased: Sequence[str]
) -> None:
  """Raises UserError unless `params` has the names and shapes of `cell`."""
  first = f"i{gates[0]}"
  try:
    kernel = jnp.asarray(params[first]["kernel"])
    in_features, features = kernel.shape
  except (KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
      f"no params of Flax's {cell}: there is no matrix {first}/kernel among "
      f"{list(trees.leaves_by_name(params))}"
    ) from error
  expected: dict[str, dict[str, Any]] = {}
  for side, rows in (("i", in_features), ("h", features)):
    for gate in gates:
      leaves = {"kernel": jax.ShapeDtypeStruct((rows, features), kernel.dtype)}
      if side + gate in biased:
        leaves["bias"] = jax.ShapeDtypeStruct((features,), kernel.dtype)
      expected[side + gate] = leaves
  notes = trees.differences(expected, params)
  if notes:
    raise errors.UserError(f"no params of Flax's {cell}: {'; '.join(notes)}")
