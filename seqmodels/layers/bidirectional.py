"""Layers that read a sequence both ways (Schuster and Paliwal, 1997).

    f^n_t = F(h^{n-1}_t, f^n_{t-1}),    from the first step to the last
    b^n_t = B(h^{n-1}_t, b^n_{t+1}),    from the last step to the first
    h^n_t = [f^n_t, b^n_t],   h^0 = x

Every output has seen every input, so this serves to encode, to tag and to fill
blanks, and is no language model: h_t would know the symbol it is to predict.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import ops
from seqmodels.layers import recurrent


class Bidirectional(nn.Module):
  """A stack of such layers, time-major.

  Attributes:
    features: H of each layer's forward half, lowest first.
    in_features: D: the number of symbols for ids, the width for dense input.
    backward_features: H of the backward halves; as `features` by default.
    cell: a name in `cells.cell.CELLS`.
    options: the cell's own options.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands.
    chunk: recompute policy, see `RecurrentLayer`.

  Raises:
    UserError: no layer, or halves of unlike depth.

  >>> stack = Bidirectional(features=(4, 4), in_features=9)
  >>> ids = jnp.zeros((5, 2), int)  # [T, B]
  >>> variables = stack.init(jax.random.key(0), ids)
  >>> carries, outputs = stack.apply(variables, ids)
  >>> len(carries), outputs.shape
  (2, (5, 2, 8))
  """

  features: Sequence[int]
  in_features: int
  backward_features: Sequence[int] | None = None
  cell: str = "lstm"
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  chunk: int = 0

  def __post_init__(self) -> None:
    """Refuses what cannot be built."""
    super().__post_init__()
    if not len(self.features):
      raise errors.UserError(
        "a bidirectional stack was given no layer; give features with at "
        "least one width"
      )
    backward = self.backward_features
    if backward is not None and len(backward) != len(self.features):
      raise errors.UserError(
        f"backward_features has {len(backward)} widths and features has "
        f"{len(self.features)}; give one a layer, or leave it out"
      )

  @nn.compact
  def __call__(
    self, inputs: ops.Inputs, *, lengths: jax.Array | None = None
  ) -> tuple[tuple[tuple[Any, Any], ...], jax.Array]:
    """Reads whole sequences.

    Args:
      inputs: ids [T, B] or dense [T, B, D].
      lengths: [B]; steps at or past a row's length are padding: they yield
        zeros and reach no other step, whatever they hold. The backward half
        starts at the last step inside.

    Returns:
      The two last carries of each layer, the forward one after the last step
      and the backward one after the first; and the outputs of the top layer,
      [T, B, H forward + H backward].
    """
    backward = self.backward_features or self.features
    carries: list[tuple[Any, Any]] = []
    below, width = inputs, self.in_features
    for index, both in enumerate(zip(self.features, backward, strict=True)):
      carry, below = self._layer(index, both, width, below, lengths)
      carries.append(carry)
      width = sum(both)
    return tuple(carries), below  # type: ignore[return-value]

  def _layer(
    self,
    index: int,
    both: tuple[int, int],
    width: int,
    below: ops.Inputs,
    lengths: jax.Array | None,
  ) -> tuple[tuple[Any, Any], jax.Array]:
    found = []
    for name, features in zip(("forward", "backward"), both, strict=True):
      layer = recurrent.RecurrentLayer(
        features=features,
        cell=self.cell,
        options=self.options,
        in_features=width,
        gradient_clip=self.gradient_clip,
        dtype=self.dtype,
        chunk=self.chunk,
        time_major=True,
        return_carry=True,
        reverse=name == "backward",
        name=f"{name}_{index}",
      )
      found.append(layer(below, seq_lengths=lengths))
    (first, forward), (last, back) = found
    return (first, last), jnp.concatenate([forward, back], axis=-1)
