"""One recurrent layer as a Flax module: a fused kernel and its weights."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels.cells import cell as cells
from seqmodels.cells import initializers, projection, segmented
from seqmodels.cells import zoneout as zoning


class RecurrentLayer(nn.Module):
  """A cell over a sequence, with the call signature of `nn.RNN`.

  The weights lie in the `params` collection under the cell's own names
  (`kernel`, `recurrent_kernel`, `bias`, and `peephole` where it has them).

  Attributes:
    features: H.
    cell: a name in `cells.cell.CELLS`.
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
    keep_order: a reversed run's outputs stay at their positions; False hands
      them out as they were made, last step first, which is `nn.RNN`'s default.

  Example:
  >>> layer = RecurrentLayer(features=4)
  >>> xs = jnp.ones((2, 5, 3))  # [B, T, D]
  >>> variables = layer.init(jax.random.key(0), xs)
  >>> layer.apply(variables, xs).shape
  (2, 5, 4)
  """

  features: int
  cell: str = "lstm"
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
    return self._cell().initial_carry((batch,), self.features, jnp.float32)

  @nn.compact
  def __call__(
    self,
    inputs: projection.Inputs,
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
      init_key: taken for the signature's sake: zeros need no key.
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
    parts = projection.as_list(inputs)
    if not time_major:
      parts = [jnp.swapaxes(part, 0, 1) for part in parts]
      reset = None if reset is None else jnp.swapaxes(reset, 0, 1)
    cell = self._cell()
    params = self._params(cell, parts)
    if initial_carry is None:
      initial_carry = self.initial_carry(parts[0].shape[1])
    sequence = cell.sequence
    if self.chunk:
      sequence = segmented.checkpointed(sequence, self.chunk)
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
    options = {}
    if symbolic:
      options["kernel_init"] = initializers.one_hot_rows(
        in_features - dense, self.features
      )

    def fresh(key: jax.Array) -> Any:
      return cell.init_params(
        key,
        in_features,
        self.features,
        param_dtype=self.param_dtype,
        **options,
      )

    return registered(self, fresh)


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
