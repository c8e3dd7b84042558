"""Weights of Flax's and PyTorch's recurrent layers, to and from ours.

Weights of Flax's recurrent cells, to and from ours.

Flax keeps one small matrix a gate, `i*` for the input's and `h*` for the
recurrent ones; ours are stacked. These functions speak plain nested dicts, the
"params" of one cell: of `nn.RNN(cell)` that is `variables["params"]["cell"]`.
Flax itself is not needed here.

`LSTMCell` and `OptimizedLSTMCell` share one layout. Flax's LSTM has no
peepholes, and its forget gate's bias starts at 0.

Weights of PyTorch's recurrent layers, to and from ours.

`torch.nn.LSTM`, `GRU` and `RNN` name the weights of each layer and direction

    weight_ih_l0 [G H, D], weight_hh_l0 [G H, H], bias_ih_l0, bias_hh_l0 [G H]

(`..._l0_reverse` for the second direction), G gates stacked in our order:
i, f, g, o and r, z, n. Ours are their transposes. PyTorch has two biases where
one suffices; they are added here, and the way back fills the second with zeros.
Only the GRU's candidate needs both: the second one is our `recurrent_bias`.

PyTorch is not needed here: values may be NumPy arrays or CPU tensors, and NumPy
arrays come back. To load them:

    state = {k: torch.from_numpy(v) for k, v in lstm_to_torch(params).items()}
    module.load_state_dict(state)
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

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


State = Mapping[str, Any]


def lstm_from_torch(
  state: State, *, layer: int = 0, reverse: bool = False
) -> lstm.LSTMParams:
  """Ours from one layer of `torch.nn.LSTM`.

  Args:
    state: the module's `state_dict()`. Without biases (`bias=False`) ours are
      zero.
    layer: which layer of the module.
    reverse: the second direction of a bidirectional module.

  Returns:
    The same LSTM, without peepholes.

  Raises:
    UserError: a name that is not there, a shape that does not fit, or a module
      with a projection (`proj_size`).

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_from_torch(lstm_to_torch(params)).kernel.shape
  (3, 8)
  """
  kernel, recurrent_kernel, bias, second = _read(state, 4, layer, reverse)
  return lstm.LSTMParams(kernel, recurrent_kernel, bias + second, None)


def lstm_to_torch(
  params: lstm.LSTMParams, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
  """One layer of `torch.nn.LSTM` from ours.

  Raises:
    UserError: the LSTM has peepholes, which PyTorch's has not.

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_to_torch(params, layer=1)["weight_ih_l1"].shape
  (8, 3)
  """
  lstm.refuse_peepholes(params, "torch.nn.LSTM")
  return _write(params, np.zeros(params.bias.shape), layer, reverse)


def gru_from_torch(
  state: State, *, layer: int = 0, reverse: bool = False
) -> gru.GRUParams:
  """Ours from one layer of `torch.nn.GRU`; see `lstm_from_torch`.

  >>> params = gru.init_params(jax.random.key(0), 3, 2)
  >>> gru_from_torch(gru_to_torch(params)).kernel.shape
  (3, 6)
  """
  kernel, recurrent_kernel, bias, second = _read(state, 3, layer, reverse)
  start = 2 * recurrent_kernel.shape[0]  # r and z: their two biases are one
  return gru.GRUParams(
    kernel=kernel,
    recurrent_kernel=recurrent_kernel,
    bias=bias.at[:start].add(second[:start]),
    recurrent_bias=second[start:],
  )


def gru_to_torch(
  params: gru.GRUParams, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
  """One layer of `torch.nn.GRU` from ours.

  >>> params = gru.init_params(jax.random.key(0), 3, 2)
  >>> gru_to_torch(params, reverse=True)["bias_hh_l0_reverse"].shape
  (6,)
  """
  second = np.zeros(params.bias.shape)
  second[-params.recurrent_bias.shape[0] :] = params.recurrent_bias
  return _write(params, second, layer, reverse)


def elman_from_torch(
  state: State, *, layer: int = 0, reverse: bool = False
) -> elman.ElmanParams:
  """Ours from one layer of `torch.nn.RNN`; see `lstm_from_torch`.

  The activation, tanh or relu, is not among the weights: name it to the cell.

  >>> params = elman.init_params(jax.random.key(0), 3, 2)
  >>> elman_from_torch(elman_to_torch(params)).kernel.shape
  (3, 2)
  """
  kernel, recurrent_kernel, bias, second = _read(state, 1, layer, reverse)
  return elman.ElmanParams(kernel, recurrent_kernel, bias + second)


def elman_to_torch(
  params: elman.ElmanParams, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
  """One layer of `torch.nn.RNN` from ours.

  >>> params = elman.init_params(jax.random.key(0), 3, 2)
  >>> elman_to_torch(params)["weight_hh_l0"].shape
  (2, 2)
  """
  return _write(params, np.zeros(params.bias.shape), layer, reverse)


def _suffix(layer: int, reverse: bool) -> str:
  return f"_l{layer}_reverse" if reverse else f"_l{layer}"


def _read(
  state: State, gates: int, layer: int, reverse: bool
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
  """kernel, recurrent kernel and both biases of one layer and direction."""
  suffix = _suffix(layer, reverse)
  if f"weight_hr{suffix}" in state:
    raise errors.UserError(
      "this torch module projects its output (proj_size), which our cells "
      "do not; make it without"
    )
  recurrent_kernel = _leaf(state, f"weight_hh{suffix}")
  features = recurrent_kernel.shape[-1]
  shape = (gates * features, features)
  _check_shape(recurrent_kernel, shape, f"weight_hh{suffix}")
  kernel = _leaf(state, f"weight_ih{suffix}")
  shape = (gates * features, kernel.shape[-1])
  _check_shape(kernel, shape, f"weight_ih{suffix}")
  biases = []
  for name in (f"bias_ih{suffix}", f"bias_hh{suffix}"):
    # A module made with bias=False has neither.
    bias = _leaf(state, name) if name in state else jnp.zeros(shape[0])
    _check_shape(bias, shape[:1], name)
    biases.append(bias.astype(kernel.dtype))
  return kernel.T, recurrent_kernel.T, biases[0], biases[1]


def _leaf(state: State, name: str) -> jax.Array:
  if name not in state:
    raise errors.UserError(
      f"no {name!r} in this torch state{errors.closest(name, state)}"
    )
  value = state[name]
  # A tensor by way of NumPy; JAX's own arrays may be tracers.
  return (
    value if isinstance(value, jax.Array) else jnp.asarray(np.asarray(value))
  )


def _check_shape(
  value: jax.Array, expected: tuple[int, ...], name: str
) -> None:
  if value.shape != expected:
    raise errors.UserError(
      f"{name} is {list(value.shape)}, but this cell needs {list(expected)}"
    )


def _write(
  params: lstm.LSTMParams | gru.GRUParams | elman.ElmanParams,
  second_bias: np.ndarray,
  layer: int,
  reverse: bool,
) -> dict[str, np.ndarray]:
  suffix = _suffix(layer, reverse)
  # PyTorch reads no NumPy array of bfloat16.
  dtype = np.promote_types(params.kernel.dtype, np.float32)

  def copied(value: Any) -> np.ndarray:
    # PyTorch warns of arrays that it cannot write to.
    return np.array(value, dtype=dtype, order="C")

  return {
    f"weight_ih{suffix}": copied(params.kernel.T),
    f"weight_hh{suffix}": copied(params.recurrent_kernel.T),
    f"bias_ih{suffix}": copied(params.bias),
    f"bias_hh{suffix}": copied(second_bias),
  }
