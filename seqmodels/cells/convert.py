"""Weights of Flax's and PyTorch's recurrent layers, to and from ours.

Neither library is needed here.

Flax keeps one small matrix a gate, `i*` for the input's and `h*` for the
recurrent ones; ours are stacked. These functions take plain nested dicts, the
"params" of one cell: of `nn.RNN(cell)` that is `variables["params"]["cell"]`.
`LSTMCell` and `OptimizedLSTMCell` share one layout. Flax's LSTM has no
peepholes, and its forget gate's bias starts at 0.

`torch.nn.LSTM`, `GRU` and `RNN` name the weights of each layer and direction

    weight_ih_l0 [G H, D], weight_hh_l0 [G H, H], bias_ih_l0, bias_hh_l0 [G H]

(`..._l0_reverse` for the second direction), G gates stacked in our order:
i, f, g, o and r, z, n. Ours are their transposes. PyTorch has two biases where
one suffices; they are added here, and the way back fills the second with zeros.
Only the GRU's candidate needs both: the second one is our `recurrent_bias`.
Values may be NumPy arrays or CPU tensors, and NumPy arrays come back:

    state = {k: torch.from_numpy(v) for k, v in lstm_to_torch(params).items()}
    module.load_state_dict(state)
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors, trees
from seqmodels.cells import elman, gru, lstm

Tree = Mapping[str, Any]
Params = lstm.LSTMParams | gru.GRUParams | elman.ElmanParams


class _Flax(NamedTuple):
  """The layout of a Flax cell's params."""

  cell: str
  gates: tuple[str, ...]
  bias: str  # the side, "i" or "h", whose entries hold the biases
  recurrent_bias: str = ""  # the entry with one more bias

  def entries(self, side: str) -> list[str]:
    """Names of the entries with the gates' matrices of one side."""
    return [side + gate for gate in self.gates]


_LSTM = _Flax("LSTMCell", ("i", "f", "g", "o"), "h")
_GRU = _Flax("GRUCell", ("r", "z", "n"), "i", "hn")
_ELMAN = _Flax("SimpleCell", ("",), "i")


def lstm_from_flax(params: Tree) -> lstm.LSTMParams:
  """Ours, without peepholes, from those of `LSTMCell`.

  Args:
    params: {"ii": {"kernel": [D, H]}, "hi": {"kernel": [H, H], "bias": [H]},
      ...}, two entries for each of the gates i, f, g, o.

  Raises:
    UserError: other names or shapes, each of them named.

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_from_flax(lstm_to_flax(params)).kernel.shape
  (3, 8)
  """
  kernel, recurrent_kernel, bias = _from_flax(_LSTM, params)
  return lstm.LSTMParams(kernel, recurrent_kernel, bias, None)


def lstm_to_flax(params: lstm.LSTMParams) -> dict[str, Any]:
  """Those of `LSTMCell` and `OptimizedLSTMCell` from ours.

  Raises:
    UserError: the LSTM has peepholes, which Flax's has not.
  """
  lstm.refuse_peepholes(params, "Flax's LSTMCell")
  return _to_flax(_LSTM, params)


def gru_from_flax(params: Tree) -> gru.GRUParams:
  """Ours from those of `GRUCell`; see `lstm_from_flax`.

  Args:
    params: {"ir": {"kernel": [D, H], "bias": [H]}, "hr": {"kernel": [H, H]},
      ...}, two entries for each of the gates r, z, n, and a bias in "hn".
  """
  return gru.GRUParams(*_from_flax(_GRU, params))


def gru_to_flax(params: gru.GRUParams) -> dict[str, Any]:
  """Those of `GRUCell` from ours."""
  return _to_flax(_GRU, params)


def elman_from_flax(params: Tree) -> elman.ElmanParams:
  """Ours from those of `SimpleCell`; see `lstm_from_flax`.

  Args:
    params: {"i": {"kernel": [D, H], "bias": [H]}, "h": {"kernel": [H, H]}}.
  """
  return elman.ElmanParams(*_from_flax(_ELMAN, params))


def elman_to_flax(params: elman.ElmanParams) -> dict[str, Any]:
  """Those of `SimpleCell` from ours."""
  return _to_flax(_ELMAN, params)


def _from_flax(layout: _Flax, params: Tree) -> list[jax.Array]:
  """kernel, recurrent kernel, bias, and the recurrent bias if there is one."""
  _check_flax(layout, params)

  def stack(side: str, leaf: str) -> jax.Array:
    blocks = [jnp.asarray(params[name][leaf]) for name in layout.entries(side)]
    return jnp.concatenate(blocks, axis=-1)

  weights = [stack("i", "kernel"), stack("h", "kernel")]
  weights.append(stack(layout.bias, "bias"))
  if layout.recurrent_bias:
    weights.append(jnp.asarray(params[layout.recurrent_bias]["bias"]))
  return weights


def _to_flax(layout: _Flax, params: Any) -> dict[str, dict[str, Any]]:
  tree: dict[str, dict[str, Any]] = {}
  for side, leaf, stacked in (
    ("i", "kernel", params.kernel),
    ("h", "kernel", params.recurrent_kernel),
    (layout.bias, "bias", params.bias),
  ):
    blocks = jnp.split(stacked, len(layout.gates), axis=-1)
    for name, block in zip(layout.entries(side), blocks, strict=True):
      tree.setdefault(name, {})[leaf] = block
  if layout.recurrent_bias:
    tree[layout.recurrent_bias]["bias"] = params.recurrent_bias
  return tree


def _check_flax(layout: _Flax, params: Tree) -> None:
  """Raises UserError unless `params` has the layout's names and shapes."""
  first = layout.entries("i")[0]
  try:
    kernel = jnp.asarray(params[first]["kernel"])
    in_features, features = kernel.shape
  except (KeyError, TypeError, ValueError) as error:
    raise errors.UserError(
      f"no params of Flax's {layout.cell}: there is no matrix {first}/kernel "
      f"among {list(trees.leaves_by_name(params))}"
    ) from error
  expected: dict[str, dict[str, Any]] = {}
  for side, rows in (("i", in_features), ("h", features)):
    for name in layout.entries(side):
      leaves = {"kernel": jax.ShapeDtypeStruct((rows, features), kernel.dtype)}
      if side == layout.bias or name == layout.recurrent_bias:
        leaves["bias"] = jax.ShapeDtypeStruct((features,), kernel.dtype)
      expected[name] = leaves
  notes = trees.differences(expected, params)
  if notes:
    raise errors.UserError(
      f"no params of Flax's {layout.cell}: {'; '.join(notes)}"
    )


def lstm_from_torch(
  state: Tree, *, layer: int = 0, reverse: bool = False
) -> lstm.LSTMParams:
  """Ours, without peepholes, from one layer of `torch.nn.LSTM`.

  Args:
    state: the module's `state_dict()`. Without biases (`bias=False`) ours are
      zero.
    layer: which layer of the module.
    reverse: the second direction of a bidirectional module.

  Raises:
    UserError: a name that is not there, a shape that does not fit, or a module
      with a projection (`proj_size`).

  >>> params = lstm.init_params(jax.random.key(0), 3, 2, peepholes=False)
  >>> lstm_from_torch(lstm_to_torch(params)).kernel.shape
  (3, 8)
  """
  kernel, recurrent, bias, second = _from_torch(state, 4, layer, reverse)
  return lstm.LSTMParams(kernel, recurrent, bias + second, None)


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
  return _to_torch(params, layer, reverse)


def gru_from_torch(
  state: Tree, *, layer: int = 0, reverse: bool = False
) -> gru.GRUParams:
  """Ours from one layer of `torch.nn.GRU`; see `lstm_from_torch`."""
  kernel, recurrent, bias, second = _from_torch(state, 3, layer, reverse)
  start = 2 * recurrent.shape[0]  # r and z: their two biases are one
  bias = bias.at[:start].add(second[:start])
  return gru.GRUParams(kernel, recurrent, bias, second[start:])


def gru_to_torch(
  params: gru.GRUParams, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
  """One layer of `torch.nn.GRU` from ours."""
  return _to_torch(params, layer, reverse, params.recurrent_bias)


def elman_from_torch(
  state: Tree, *, layer: int = 0, reverse: bool = False
) -> elman.ElmanParams:
  """Ours from one layer of `torch.nn.RNN`; see `lstm_from_torch`.

  The activation, tanh or relu, is not among the weights: name it to the cell.
  """
  kernel, recurrent, bias, second = _from_torch(state, 1, layer, reverse)
  return elman.ElmanParams(kernel, recurrent, bias + second)


def elman_to_torch(
  params: elman.ElmanParams, *, layer: int = 0, reverse: bool = False
) -> dict[str, np.ndarray]:
  """One layer of `torch.nn.RNN` from ours."""
  return _to_torch(params, layer, reverse)


def _suffix(layer: int, reverse: bool) -> str:
  return f"_l{layer}_reverse" if reverse else f"_l{layer}"


def _from_torch(
  state: Tree, gates: int, layer: int, reverse: bool
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


def _leaf(state: Tree, name: str) -> jax.Array:
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


def _to_torch(
  params: Params,
  layer: int,
  reverse: bool,
  recurrent_bias: jax.Array | None = None,
) -> dict[str, np.ndarray]:
  suffix = _suffix(layer, reverse)
  second_bias = np.zeros(params.bias.shape)
  if recurrent_bias is not None:
    second_bias[-recurrent_bias.shape[0] :] = recurrent_bias
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
