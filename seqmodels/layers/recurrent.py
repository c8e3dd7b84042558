"""Recurrent layers as Flax modules, and cells for `nn.RNN`.

The cells step through time one by one, as every Flax cell does, for use in
`nn.RNN` and `nn.Bidirectional`; `RecurrentLayer` is the fast form of the same
layer and reads the same weights. `nnx.bridge.ToNNX` takes either.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels.cells import cell as cells
from seqmodels.cells import elman, ops, scan
from seqmodels.cells import zoneout as zoning


class RecurrentLayer(nn.Module):
  """A cell over a sequence, with the call signature of `nn.RNN`.

  The weights lie in the `params` collection under the cell's own names
  (`kernel`, `recurrent_kernel`, `bias`, and `peephole` where it has them).

  Attributes:
    features: H.
    cell: a name in `cells.cell.CELLS`, or a `Cell` of one's own.
    options: the cell's own options, such as `{"peepholes": False}`.
    in_features: D; needed only where the first input is integer ids, for which
      it is the number of symbols together with any dense inputs' widths.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; `None` keeps float32.
    param_dtype: dtype of the weights.
    chunk: recompute instead of keeping: only the carry at every `chunk`-th step
      is kept for the backward pass. 0 keeps all.
    time_major: [T, B, ...] in and out; `nn.RNN`'s default is batch first.
    return_carry: return `(carry, outputs)` instead of the outputs.
    reverse: from the last step to the first.
    keep_order: a reversed run's outputs stay at their positions; False returns
      them last step first, which is `nn.RNN`'s default.

  Example:
  >>> layer = RecurrentLayer(features=4)
  >>> xs = jnp.ones((2, 5, 3))  # [B, T, D]
  >>> variables = layer.init(jax.random.key(0), xs)
  >>> layer.apply(variables, xs).shape
  (2, 5, 4)
  """

  features: int
  cell: str | cells.Cell = "lstm"
  options: Mapping[str, Any] | None = None
  in_features: int | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  param_dtype: Any = jnp.float32
  chunk: int = 0
  time_major: bool = False
  return_carry: bool = False
  reverse: bool = False
  keep_order: bool = True

  def _cell(self) -> cells.Cell:
    return cells.get(self.cell, **(self.options or {}))

  def initial_carry(self, batch: int) -> Any:
    """Zeros for `batch` rows."""
    return self._cell().initial_carry((batch,), self.features)

  @nn.compact
  def __call__(
    self,
    inputs: ops.Inputs,
    *,
    initial_carry: Any = None,
    init_key: jax.Array | None = None,
    seq_lengths: jax.Array | None = None,
    reset: jax.Array | None = None,
    zoneout: zoning.Kept | None = None,
    return_carry: bool | None = None,
    time_major: bool | None = None,
    reverse: bool | None = None,
    keep_order: bool | None = None,
  ) -> Any:
    """Runs the layer.

    Args:
      inputs: [B, T, D] (or [T, B, D] if time-major), ids [B, T], or several.
      initial_carry: the state before the first step; zeros by default.
      init_key: unused, as zeros need no key; `nn.RNN` has it.
      seq_lengths: [B]; steps past a row's length leave its carry and yield
        zeros.
      reset: booleans shaped like ids; where true the carry is cleared first.
      zoneout: what each unit keeps of the step before, time first; of cells
        that have it alone.
      return_carry: overrides the attribute, as do the next three.
      time_major: time before batch.
      reverse: from the last step to the first.
      keep_order: outputs of a reversed run stay at their positions.

    Returns:
      Outputs, [B, T, H] or [T, B, H]; with the carry before them if asked.
    """
    return_carry = self.return_carry if return_carry is None else return_carry
    time_major = self.time_major if time_major is None else time_major
    reverse = self.reverse if reverse is None else reverse
    keep_order = self.keep_order if keep_order is None else keep_order
    del init_key
    parts = ops.as_list(inputs)
    if not time_major:
      parts = [jnp.swapaxes(part, 0, 1) for part in parts]
      reset = None if reset is None else jnp.swapaxes(reset, 0, 1)
    cell = self._cell()
    params = self._params(cell, parts)
    if initial_carry is None:
      initial_carry = self.initial_carry(parts[0].shape[1])
    sequence = cell.sequence
    if self.chunk:
      sequence = scan.checkpointed(sequence, self.chunk)
    if zoneout is not None:
      sequence = functools.partial(sequence, zoneout=zoneout)
    carry, outputs = sequence(
      params,
      initial_carry,
      parts[0] if len(parts) == 1 else tuple(parts),
      reset=reset,
      lengths=seq_lengths,
      reverse=reverse,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
    )
    if reverse and not keep_order:
      outputs = _turned(outputs, seq_lengths)
    outputs = outputs if time_major else jnp.swapaxes(outputs, 0, 1)
    return (carry, outputs) if return_carry else outputs

  def _params(self, cell: cells.Cell, parts: list[jax.Array]) -> Any:
    """The cell's weights, each registered under its own name."""
    dense, symbolic = _widths(parts)
    in_features = self.in_features or dense
    if symbolic and in_features <= dense:
      raise ValueError("integer inputs need `in_features`: ids carry no width")
    options: dict[str, Any] = {}
    if symbolic:
      symbols = in_features - dense
      options["kernel_init"] = ops.one_hot_rows(symbols, self.features)
    if self.param_dtype != jnp.float32:
      options["param_dtype"] = self.param_dtype
    return registered(
      self,
      lambda key: cell.init_params(key, in_features, self.features, **options),
    )


def registered(
  module: nn.Module, fresh: Callable[[jax.Array], tuple[Any, ...]]
) -> Any:
  """A NamedTuple of weights, each a parameter of `module` under its own name.

  Args:
    module: inside its compact method.
    fresh: key -> the weights; fields may be None.
  """
  shapes: Any = jax.eval_shape(fresh, jax.random.key(0))
  fields = {
    # An initializer of its own a field, so that Flax hands each its own key.
    name: None
    if shape is None
    else module.param(name, lambda key, name=name: getattr(fresh(key), name))
    for name, shape in shapes._asdict().items()
  }
  return type(shapes)(**fields)


def _widths(parts: list[jax.Array]) -> tuple[int, bool]:
  """Width of the dense inputs together, and whether the first one is ids."""
  symbolic = [jnp.issubdtype(part.dtype, jnp.integer) for part in parts]
  if any(symbolic[1:]):
    raise ValueError("ids must come first among the inputs of a layer")
  dense = parts[1:] if symbolic[0] else parts
  return sum(part.shape[-1] for part in dense), symbolic[0]


def _turned(outputs: jax.Array, lengths: jax.Array | None) -> jax.Array:
  """[T, B, H] with each row's valid steps in the opposite order."""
  steps = outputs.shape[0]
  back = jnp.arange(steps - 1, -1, -1)[:, None]
  if lengths is not None:
    back = (back + lengths[None, :]) % steps
  return jnp.take_along_axis(outputs, back[..., None], axis=0)


class RecurrentCell(nn.RNNCellBase):
  """The base of the cells below: attributes, weights and carry.

  Weights lie in the `params` collection under the fields of the cell's params.
  The carry has Flax's form: `(c, h)` for the LSTM and `h` for the others.

  Attributes:
    features: H.
    kernel_init: initializer of the input weights; each one's default is in
      `init_params` of the cell.
    recurrent_kernel_init: of the recurrent weights.
    bias_init: of the biases.
    carry_init: of the carry.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; sums and outputs stay float32.
    param_dtype: dtype of the weights.
  """

  features: int
  kernel_init: ops.Initializer | None = None
  recurrent_kernel_init: ops.Initializer | None = None
  bias_init: ops.Initializer | None = None
  carry_init: ops.Initializer = nn.initializers.zeros
  gradient_clip: float | None = None
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """The pure functions behind the shell."""
    raise TypeError(f"{type(self).__name__} is a base; take one of its cells")

  @nn.compact
  def __call__(self, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
    """One time step: `(carry, [..., D]) -> (carry, [..., H])`."""
    cell = self.cell()
    before = self._as_ours(carry)
    after, h = cell.step(
      self._params(cell, inputs.shape[-1]),
      before,
      inputs,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
    )
    return tuple(after) if len(after) > 1 else after[0], h

  @nn.nowrap
  def initialize_carry(
    self, rng: jax.Array, input_shape: tuple[int, ...]
  ) -> Any:
    """The carry before the first step for inputs of `input_shape`, [..., D]."""
    like = jax.eval_shape(
      lambda: self.cell().initial_carry(
        input_shape[:-1],
        self.features,
        jnp.promote_types(self.param_dtype, jnp.float32),
      )
    )
    keys = jax.random.split(rng, len(like))
    fresh = tuple(
      self.carry_init(key, leaf.shape, leaf.dtype)
      for key, leaf in zip(keys, like, strict=True)
    )
    return fresh if len(fresh) > 1 else fresh[0]

  @property
  def num_feature_axes(self) -> int:
    """The number of trailing axes of the input that are features."""
    return 1

  @nn.nowrap
  def _as_ours(self, carry: Any) -> Any:
    kind = type(jax.eval_shape(lambda: self.cell().initial_carry((), 1)))
    return kind(*carry) if len(kind._fields) > 1 else kind(carry)

  def _params(self, cell: cells.Cell, in_features: int) -> Any:
    options = {
      "kernel_init": self.kernel_init,
      "recurrent_kernel_init": self.recurrent_kernel_init,
      "bias_init": self.bias_init,
      "param_dtype": self.param_dtype,
    }
    options = {name: x for name, x in options.items() if x is not None}
    return registered(
      self,
      lambda key: cell.init_params(key, in_features, self.features, **options),
    )


class LSTMCell(RecurrentCell):
  """LSTM with optional peepholes (`cells.lstm`); carry `(c, h)`.

  Attributes:
    peepholes: whether the gates see the cell, weights in `peephole` [3, H].

  >>> xs = jnp.ones((2, 5, 3))  # [B, T, D], Flax's order
  >>> layer = nn.RNN(LSTMCell(features=4))
  >>> variables = layer.init(jax.random.key(0), xs)
  >>> layer.apply(variables, xs).shape
  (2, 5, 4)
  >>> sorted(variables["params"]["cell"])
  ['bias', 'kernel', 'peephole', 'recurrent_kernel']
  """

  peepholes: bool = True

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    return cells.get("lstm", peepholes=self.peepholes)


class LayerNormLSTMCell(RecurrentCell):
  """LSTM with layer normalisation (`cells.layer_norm_lstm`); carry `(c, h)`.

  Attributes:
    peepholes: whether the gates see the cell.
  """

  peepholes: bool = False

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    return cells.get("layer_norm_lstm", peepholes=self.peepholes)


class MogrifierLSTMCell(RecurrentCell):
  """Mogrifier LSTM (`cells.mogrifier_lstm`); carry `(c, h)`.

  Attributes:
    rounds: of gating.
    rank: of the rounds' matrices; 0 for full ones.
    peepholes: whether the gates see the cell.
  """

  rounds: int = 5
  rank: int = 0
  peepholes: bool = False

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    return cells.get(
      "mogrifier_lstm",
      rounds=self.rounds,
      rank=self.rank,
      peepholes=self.peepholes,
    )


class GRUCell(RecurrentCell):
  """GRU (`cells.gru`); carry `h`.

  >>> xs = jnp.ones((2, 5, 3))
  >>> layer = nn.RNN(GRUCell(features=4), return_carry=True)
  >>> h, hs = layer.apply(layer.init(jax.random.key(0), xs), xs)
  >>> h.shape, hs.shape
  ((2, 4), (2, 5, 4))
  """

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    return cells.get("gru")


class ElmanCell(RecurrentCell):
  """The simple recurrent network (`cells.elman`); carry `h`.

  Attributes:
    activation: "tanh" or "relu".
  """

  activation: str = "tanh"

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    elman.check_activation(self.activation)
    return cells.get("elman" if self.activation == "tanh" else "elman_relu")
