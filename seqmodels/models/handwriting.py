"""The two handwriting networks of Graves (2013): prediction and synthesis.

Both are deep recurrent stacks with skips under a mixture density head; the one
for synthesis has a soft window on the text between its layers.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels import losses
from seqmodels import mixture_density as mixtures
from seqmodels.cells import window_lstm
from seqmodels.layers import stack as stack_lib
from seqmodels.layers.noise import Noise
from seqmodels.models import api

INPUTS = 3  # x offset, y offset, end of stroke


class Handwriting(nn.Module):
  """Pen movements, and a text if it has a window -> stack -> mixture density.

  Without symbols it is the prediction network of section 4, with them the
  synthesis network of section 5.

  Attributes:
    symbols: V, the size of the alphabet; 0 for no window on a text.
    window: K Gaussians of the window.
    features: H of each layer.
    components: M bivariate Gaussians.
    options: of the LSTMs: `peepholes`, `forget_bias`, `cell_clip`.
    gradient_clip: bound on each derivative with respect to a net input.
    output_clip: bound on each derivative with respect to an output.
    dtype: dtype of the products' operands; `None` keeps float32.
    noise: what training drops: between layers, of what the head reads, of the
      recurrent weights.

  >>> def weights(**settings):
  ...   init = network(Handwriting(**settings)).init
  ...   tree = jax.eval_shape(init, jax.random.key(0))
  ...   return sum(leaf.size for leaf in jax.tree.leaves(tree))
  >>> weights(), weights(features=(900,)), weights(symbols=57)
  (3368121, 3366121, 3653751)
  """

  symbols: int = 0
  window: int = 10
  features: Sequence[int] = (400, 400, 400)
  components: int = 20
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = 10.0
  output_clip: float | None = 100.0
  dtype: Any = None
  noise: Noise = Noise()

  def _stack(self) -> Any:
    shared: dict[str, Any] = {
      "features": tuple(self.features),
      "in_features": INPUTS,
      "options": self.options,
      "gradient_clip": self.gradient_clip,
      "dtype": self.dtype,
      "noise": self.noise,
      "name": "stack",
      "parent": None,
    }
    if not self.symbols:
      return stack_lib.DeepRecurrent(**shared)
    return stack_lib.WindowedRecurrent(
      symbols=self.symbols, window=self.window, **shared
    )

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
    head = stack_lib.Head(
      mixtures.outputs(self.components), dtype=self.dtype, name="head"
    )
    return carry, head(outputs)

  def window_of(
    self, params: Any, carry: tuple[Any, ...]
  ) -> window_lstm.Window:
    """The window of the step that left `carry`."""
    layer, lowest = params["stack"]["layer_0"], carry[0]
    weights = window_lstm.WindowParams(
      layer["window_kernel"], layer["window_bias"]
    )
    alpha, beta, _ = window_lstm.window_gates(
      weights, lowest.h[..., : self.features[0]], self.dtype
    )
    return window_lstm.Window(alpha, beta, lowest.kappa)


def points_and_text(segment: Any) -> tuple[Any, ...]:
  """The inputs of a handwriting network, from a segment."""
  return segment.inputs, segment.text, segment.reset


def network(
  model: Handwriting, *, finest: tuple[float, float] | None = None
) -> api.SequenceModel:
  """The network as pure functions.

  Args:
    model: the module.
    finest: least stddevs of the metric `coarse`, see
      `losses.mixture_density_nll`; None for no such metric.
  """

  def example() -> list[jax.Array]:
    return [jnp.zeros((1, 1, INPUTS)), jnp.zeros((1, 1), jnp.int32)]

  return api.SequenceModel(
    **api.from_module(model, example),
    vocabulary_size=model.symbols,
    loss=functools.partial(
      losses.of_points, output_clip=model.output_clip, finest=finest
    ),
    reads=points_and_text,
    components=model.components,
    window=model.window_of if model.symbols else None,
  )
