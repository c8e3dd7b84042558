"""The two handwriting networks of Graves (2013): prediction and synthesis.

Both are deep recurrent stacks with skips under a mixture density head; the one
for synthesis has a soft window on the text between its layers.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from seqmodels.cells import soft_window
from seqmodels.distributions import bivariate_mixture as mixtures
from seqmodels.models import noise as noises
from seqmodels.models import pen_network
from seqmodels.regularization import drop_connect
from seqmodels.stacks import deep_recurrent, windowed_recurrent

INPUTS = 3  # x offset, y offset, end of stroke


class _PenModel(nn.Module):
  """Recurrent stack -> mixture density; the stack is the subclass's."""

  features: Sequence[int] = (400, 400, 400)
  components: int = 20
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = 10.0
  output_clip: float | None = 100.0
  dtype: Any = None
  noise: noises.Noise = noises.Noise()

  symbols = 0

  def _stack(self) -> nn.Module:
    raise TypeError(f"{type(self).__name__} has no stack")

  def _shared(self) -> dict[str, Any]:
    """What both stacks are given."""
    return {
      "features": tuple(self.features),
      "in_features": INPUTS,
      "options": self.options,
      "gradient_clip": self.gradient_clip,
      "dtype": self.dtype,
      "dropout_hidden": self.noise.hidden,
      "dropout_output": self.noise.output,
      "variational": self.noise.variational,
      "name": "stack",
      "parent": None,
    }

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """The state before a line, one carry a layer."""
    return self._stack().initial_carry(batch)

  @nn.compact
  def __call__(
    self,
    carry: tuple[Any, ...],
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[tuple[Any, ...], jax.Array]:
    """The new carry, and outputs [T, B, 6M + 1]."""
    read = (text,) if self.symbols else ()
    stack = self._stack().clone(parent=self)
    carry, outputs = stack(carry, inputs, *read, reset)
    head = deep_recurrent.Head(
      mixtures.outputs(self.components), dtype=self.dtype, name="head"
    )
    return carry, head(outputs)


class HandwritingPrediction(_PenModel):
  """Pen movements -> deep recurrent stack -> mixture density (section 4).

  Attributes:
    features: H of each layer.
    components: M bivariate Gaussians.
    options: the cell's own options.
    gradient_clip: bound on each derivative with respect to a net input.
    output_clip: bound on each derivative with respect to an output.
    dtype: dtype of the products' operands; `None` keeps float32.
    noise: what training drops: between layers, of what the head reads, of the
      recurrent weights.
    cell: a name in `cells.cell.CELLS`.
    chunk: recompute policy, see `RecurrentLayer`.

  >>> network = predicting(HandwritingPrediction(features=(900,)))
  >>> params = jax.eval_shape(network.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  3366121
  """

  cell: str = "lstm"
  chunk: int = 0

  def _stack(self) -> deep_recurrent.DeepRecurrent:
    return deep_recurrent.DeepRecurrent(
      cell=self.cell, chunk=self.chunk, **self._shared()
    )


class HandwritingSynthesis(_PenModel):
  """Pen movements and a text -> windowed stack -> mixture density (section 5).

  Attributes:
    symbols: V, the size of the alphabet.
    window: K Gaussians over the text.
    options: of the LSTMs: `peepholes`, `forget_bias`.
    features: see `HandwritingPrediction`, and so the rest.

  >>> network = writing(HandwritingSynthesis(symbols=57))
  >>> params = jax.eval_shape(network.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  3653751
  """

  symbols: int = 57
  window: int = 10

  def _stack(self) -> windowed_recurrent.WindowedRecurrent:
    return windowed_recurrent.WindowedRecurrent(
      symbols=self.symbols, window=self.window, **self._shared()
    )


def predicting(model: HandwritingPrediction) -> pen_network.PenNetwork:
  """The prediction network as pure functions."""
  return pen_network.from_module(model, drop=_drop(model.noise))


def writing(model: HandwritingSynthesis) -> pen_network.PenNetwork:
  """The synthesis network as pure functions."""
  width = model.features[0]

  def window(params: Any, carry: tuple[Any, ...]) -> soft_window.Window:
    layer = params["stack"]["layer_0"]
    weights = soft_window.WindowParams(
      layer["window_kernel"], layer["window_bias"]
    )
    lowest = carry[0]
    alpha, beta, _ = soft_window.gates(
      weights, lowest.h[..., :width], model.dtype
    )
    return soft_window.Window(alpha, beta, lowest.kappa)

  return pen_network.from_module(model, drop=_drop(model.noise), window=window)


def _drop(noise: noises.Noise) -> Any:
  def drop(params: Any, key: jax.Array) -> Any:
    return drop_connect.drop(params, key, noise.drop_connect)

  return drop
