"""The stack that writes a given text (Graves, 2013, section 5.2).

    h^1_t = H(W x_t + W h^1_{t-1} + W w_{t-1} + b)                       (52)
    h^n_t = H(W x_t + W h^{n-1}_t + W h^n_{t-1} + W w_t + b),  n >= 2    (53)

The lowest layer moves a soft window over the text and reads it a step late; the
layers above see what the window shows at the same step, and run on the fused
kernel, since nothing of theirs moves it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax

from seqmodels.cells import (
  initializers,
  soft_window,
  window_lstm,
  window_lstm_sequence,
)
from seqmodels.stacks import deep_recurrent, recurrent_layer


class WindowedLayer(nn.Module):
  """An LSTM that moves a window over a text and reads what it shows.

  Attributes:
    features: H.
    in_features: D.
    symbols: V, the size of the alphabet.
    window: K Gaussians.
    options: `peepholes`, `forget_bias`, `cell_clip`.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands.
  """

  features: int
  in_features: int
  symbols: int
  window: int = 10
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = None
  dtype: Any = None

  def initial_carry(self, batch: int) -> window_lstm.WindowLSTMCarry:
    """Zeros; the window stands before the text."""
    return window_lstm.initial_carry(
      batch, self.features, self.symbols, self.window
    )

  @nn.compact
  def __call__(
    self,
    carry: window_lstm.WindowLSTMCarry,
    inputs: jax.Array,
    characters: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[window_lstm.WindowLSTMCarry, jax.Array]:
    """The carry, and [h, w] [T, B, H + V]; see `window_lstm_sequence`."""
    options = dict(self.options or {})
    cell_clip = float(options.pop("cell_clip", 0.0)) or None
    if "forget_bias" in options:
      bias = float(options.pop("forget_bias"))
      options["bias_init"] = initializers.forget_bias(bias)

    def fresh(key: jax.Array) -> window_lstm.WindowLSTMParams:
      return window_lstm.init_params(
        key,
        self.in_features,
        self.features,
        self.symbols,
        self.window,
        **options,
      )

    return window_lstm_sequence.window_lstm_sequence(
      recurrent_layer.registered(self, fresh),
      carry,
      inputs,
      characters,
      reset=reset,
      gradient_clip=self.gradient_clip,
      cell_clip=cell_clip,
      dtype=self.dtype,
    )


class WindowedRecurrent(nn.Module):
  """LSTM layers over pen movements, the lowest with a window on a text.

  Attributes:
    features: H of each layer, lowest first.
    in_features: D.
    symbols: V, the size of the alphabet.
    window: K Gaussians.
    options: of the LSTMs: `peepholes`, `forget_bias`, `cell_clip`.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands.
    dropout_hidden: share of units dropped between layers, where the stack is
      applied with a `dropout` key.
    dropout_output: the same of what the head reads.
    variational: one mask a sequence, not one a step.

  >>> import jax.numpy as jnp
  >>> stack = WindowedRecurrent(features=(4, 4), in_features=3, symbols=5)
  >>> carry = stack.initial_carry(1)
  >>> text = jnp.array([[0], [3]])  # [U, B]
  >>> xs = jnp.zeros((7, 1, 3))
  >>> variables = stack.init(jax.random.key(0), carry, xs, text)
  >>> _, outputs = stack.apply(variables, carry, xs, text)
  >>> [h.shape for h in outputs]
  [(7, 1, 4), (7, 1, 4)]
  """

  features: Sequence[int]
  in_features: int
  symbols: int
  window: int = 10
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  dropout_hidden: float = 0.0
  dropout_output: float = 0.0
  variational: bool = True

  def _layer(self, index: int) -> recurrent_layer.RecurrentLayer:
    return recurrent_layer.RecurrentLayer(
      features=self.features[index],
      options=self.options,
      in_features=self.in_features + self.features[index - 1] + self.symbols,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      time_major=True,
      return_carry=True,
      name=f"layer_{index}",
      parent=None,
    )

  def _lowest(self) -> WindowedLayer:
    return WindowedLayer(
      features=self.features[0],
      in_features=self.in_features,
      symbols=self.symbols,
      window=self.window,
      options=self.options,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      name="layer_0",
      parent=None,
    )

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """Zeros, one carry a layer."""
    above = range(1, len(self.features))
    return (
      self._lowest().initial_carry(batch),
      *(self._layer(index).initial_carry(batch) for index in above),
    )

  @nn.compact
  def __call__(
    self,
    carry: tuple[Any, ...],
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[tuple[Any, ...], tuple[jax.Array, ...]]:
    """Runs the stack.

    Args:
      carry: one carry a layer.
      inputs: [T, B, D].
      text: int [U, B], -1 past the end of a row's text.
      reset: [T, B]; where true all layers' carries are cleared first, and the
        window goes back before the text.

    Returns:
      The new carries, and what the head reads: [T, B, H] of every layer.
    """
    characters = soft_window.letters(text, self.symbols)
    lowest = self._lowest().clone(parent=self)
    after, both = lowest(carry[0], inputs, characters, reset)
    carries: list[Any] = [after]
    outputs = [both[..., : self.features[0]]]
    seen = both[..., self.features[0] :]
    for index in range(1, len(self.features)):
      below = self._dropped(outputs[-1], self.dropout_hidden)
      layer = self._layer(index).clone(parent=self)
      feeds = (inputs, below, seen)
      after, hs = layer(feeds, initial_carry=carry[index], reset=reset)
      carries.append(after)
      outputs.append(hs)
    read = [self._dropped(hs, self.dropout_output) for hs in outputs]
    return tuple(carries), tuple(read)

  def _dropped(self, hs: jax.Array, rate: float) -> jax.Array:
    return deep_recurrent.dropped(self, hs, rate, variational=self.variational)
