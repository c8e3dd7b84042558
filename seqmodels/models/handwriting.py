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


class HandwritingPrediction(nn.Module):
  """Pen movements -> deep recurrent stack -> mixture density (section 4).

  Attributes:
    features: H of each layer.
    components: M bivariate Gaussians.
    cell: a name in `cells.cell.CELLS`.
    options: the cell's own options.
    gradient_clip: bound on each derivative with respect to a net input.
    output_clip: bound on each derivative with respect to an output.
    dtype: dtype of the products' operands; `None` keeps float32.
    chunk: recompute policy, see `RecurrentLayer`.
    noise: what training drops: between layers, of what the head reads, of the
      recurrent weights.

  >>> network = predicting(HandwritingPrediction(features=(900,)))
  >>> params = jax.eval_shape(network.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  3366121
  """

  features: Sequence[int] = (400, 400, 400)
  components: int = 20
  cell: str = "lstm"
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = 10.0
  output_clip: float | None = 100.0
  dtype: Any = None
  chunk: int = 0
  noise: noises.Noise = noises.Noise()

  symbols = 0

  def _stack(self) -> deep_recurrent.DeepRecurrent:
    return deep_recurrent.DeepRecurrent(
      features=tuple(self.features),
      in_features=INPUTS,
      cell=self.cell,
      options=self.options,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      chunk=self.chunk,
      dropout_hidden=self.noise.hidden,
      dropout_output=self.noise.output,
      variational=self.noise.variational,
      name="stack",
      parent=None,
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
    """The new carry, and outputs [T, B, 6M + 1]; `text` is not looked at."""
    del text
    carry, outputs = self._stack().clone(parent=self)(carry, inputs, reset)
    head = deep_recurrent.Head(
      mixtures.outputs(self.components), dtype=self.dtype, name="head"
    )
    return carry, head(outputs)


class HandwritingSynthesis(nn.Module):
  """Pen movements and a text -> windowed stack -> mixture density (section 5).

  Attributes:
    symbols: V, the size of the alphabet.
    features: H of each layer.
    components: M bivariate Gaussians.
    window: K Gaussians over the text.
    options: of the LSTMs: `peepholes`, `forget_bias`.
    gradient_clip: see `HandwritingPrediction`, and so the rest.

  >>> network = writing(HandwritingSynthesis(symbols=57))
  >>> params = jax.eval_shape(network.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  3653751
  """

  symbols: int
  features: Sequence[int] = (400, 400, 400)
  components: int = 20
  window: int = 10
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = 10.0
  output_clip: float | None = 100.0
  dtype: Any = None
  noise: noises.Noise = noises.Noise()

  def _stack(self) -> windowed_recurrent.WindowedRecurrent:
    return windowed_recurrent.WindowedRecurrent(
      features=tuple(self.features),
      in_features=INPUTS,
      symbols=self.symbols,
      window=self.window,
      options=self.options,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      dropout_hidden=self.noise.hidden,
      dropout_output=self.noise.output,
      variational=self.noise.variational,
      name="stack",
      parent=None,
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
    carry, outputs = self._stack().clone(parent=self)(
      carry, inputs, text, reset
    )
    head = deep_recurrent.Head(
      mixtures.outputs(self.components), dtype=self.dtype, name="head"
    )
    return carry, head(outputs)


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
