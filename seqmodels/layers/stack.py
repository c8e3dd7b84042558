"""Deep recurrent stacks, with and without a window on a text, and their heads.

The deep stack of Graves (2013, section 2) has skips in and skips out:

    h^1 = H(W x + U h^1_prev + b)                              (1)
    h^n = H(W x + V h^{n-1} + U h^n_prev + b),  n >= 2          (2)
    y   = b_y + sum_n W_{hn y} h^n                              (3)

The input reaches every layer and every layer reaches the output; each kind of
skip can be left out.

The stack that writes a given text (Graves, 2013, section 5.2) is

    h^1_t = H(W x_t + W h^1_{t-1} + W w_{t-1} + b)                       (52)
    h^n_t = H(W x_t + W h^{n-1}_t + W h^n_{t-1} + W w_t + b),  n >= 2    (53)

The lowest layer moves a soft window over the text and reads it a step late; the
layers above see what the window shows at the same step, and run on the fused
kernel, since nothing of theirs moves it.
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels.cells import cell as cells
from seqmodels.cells import ops, window_lstm
from seqmodels.cells import zoneout as zoning
from seqmodels.layers import recurrent
from seqmodels.layers.noise import Noise
from seqmodels.regularization import dropout


class _Stack(nn.Module):
  """The base of both stacks: what all layers share.

  Attributes:
    features: H of each layer, lowest first.
    in_features: D: the number of symbols for ids, the width for dense input.
    options: the cell's own options.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands.
    noise: dropped where the stack is applied with a `dropout` key: units
      between layers (`hidden`) and units that the head reads (`output`).
  """

  features: Sequence[int]
  in_features: int
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  noise: Noise = Noise()

  @abc.abstractmethod
  def _layer(self, index: int) -> Any:
    """A layer with no parent, so that its carry can be had outside `apply`.

    Inside of it, `.clone(parent=self)` makes it a part of the stack, its
    weights under the layer's name.
    """

  def _recurrent(
    self, index: int, in_features: int, **others: Any
  ) -> recurrent.RecurrentLayer:
    return recurrent.RecurrentLayer(
      features=self.features[index],
      options=self.options,
      in_features=in_features,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      time_major=True,
      return_carry=True,
      name=f"layer_{index}",
      parent=None,
      **others,
    )

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """Zeros, one carry a layer."""
    return tuple(
      self._layer(index).initial_carry(batch)
      for index in range(len(self.features))
    )

  def _dropped(self, hs: jax.Array, rate: float) -> jax.Array:
    """Units of `hs` [T, B, H] dropped, where there is a `dropout` key."""
    if not rate or not self.has_rng("dropout"):
      return hs
    key = self.make_rng("dropout")
    return dropout.drop(hs, key, rate, variational=self.noise.variational)


class DeepRecurrent(_Stack):
  """Recurrent layers over one input, time-major.

  Attributes, besides those of `_Stack`:
    cell: a name in `cells.cell.CELLS`, or a `Cell` of one's own.
    input_skips: the input feeds the layers above the first, too.
    output_skips: the head reads all layers, not only the last.
    chunk: recompute policy, see `RecurrentLayer`.

  Of its noise, zoneout is drawn in every layer with a `dropout` key, too;
  without one the expectation is taken.

  Example: the outputs that a head reads, one a layer.
  >>> stack = DeepRecurrent(features=(4, 4), in_features=9)
  >>> ids = jnp.zeros((5, 2), int)  # [T, B]
  >>> variables = stack.init(jax.random.key(0), stack.initial_carry(2), ids)
  >>> carry, outputs = stack.apply(variables, stack.initial_carry(2), ids)
  >>> [h.shape for h in outputs]
  [(5, 2, 4), (5, 2, 4)]
  """

  cell: str | cells.Cell = "lstm"
  input_skips: bool = True
  output_skips: bool = True
  chunk: int = 0

  def _layer(self, index: int) -> recurrent.RecurrentLayer:
    width = self.in_features if index == 0 or self.input_skips else 0
    below = self.features[index - 1] if index else 0
    return self._recurrent(
      index, width + below, cell=self.cell, chunk=self.chunk
    )

  @nn.compact
  def __call__(
    self,
    carry: tuple[Any, ...],
    inputs: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[tuple[Any, ...], tuple[jax.Array, ...]]:
    """Runs the stack.

    Args:
      carry: one carry a layer.
      inputs: ids [T, B] or dense [T, B, D].
      reset: [T, B]; where true all layers' carries are cleared first.

    Returns:
      The new carries, and what the head reads: [T, B, H] of every layer, or of
      the last alone without output skips.
    """
    carries: list[Any] = []
    outputs: list[jax.Array] = []
    for index in range(len(self.features)):
      feeds: list[jax.Array] = []
      if index == 0 or self.input_skips:
        feeds.append(inputs)
      if index:
        feeds.append(self._dropped(outputs[-1], self.noise.hidden))
      layer = self._layer(index).clone(parent=self)
      after, hs = layer(
        tuple(feeds),
        initial_carry=carry[index],
        reset=reset,
        zoneout=self._kept((*inputs.shape[:2], self.features[index])),
      )
      carries.append(after)
      outputs.append(hs)
    read = outputs if self.output_skips else outputs[-1:]
    read = [self._dropped(hs, self.noise.output) for hs in read]
    return tuple(carries), tuple(read)

  def _kept(self, shape: tuple[int, ...]) -> zoning.Kept | None:
    rates = self.noise.zoneout
    if not any(rates):
      return None
    if self.has_rng("dropout"):
      return rates.draw(self.make_rng("dropout"), shape)
    return rates.expected(shape[0])


class Head(nn.Module):
  """One linear map of all that the stack hands up, equation (3).

  Attributes:
    features: K outputs.
    dtype: dtype of the product's operands.

  >>> head = Head(features=3)
  >>> variables = head.init(jax.random.key(0), (jnp.ones((2, 4)),))
  >>> head.apply(variables, (jnp.ones((2, 4)),)).shape
  (2, 3)
  """

  features: int
  dtype: Any = None

  @nn.compact
  def __call__(self, outputs: Sequence[jax.Array]) -> jax.Array:
    """[..., K] from [..., H_n] of each layer."""
    width = sum(hs.shape[-1] for hs in outputs)
    init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
    kernel = self.param("kernel", init, (width, self.features), jnp.float32)
    bias = self.param(
      "bias", nn.initializers.zeros, (self.features,), jnp.float32
    )
    return ops.project(kernel, tuple(outputs), bias=bias, dtype=self.dtype)


class TiedHead(nn.Module):
  """Logits by an embedding's own rows (Press and Wolf, 2017).

      y = E p + b,    p = sum_n W_n h^n  (left out where h is as wide as E)

  Attributes:
    dtype: dtype of the products' operands.

  >>> head, table = TiedHead(), jnp.ones((5, 3))
  >>> variables = head.init(jax.random.key(0), (jnp.ones((2, 4)),), table)
  >>> head.apply(variables, (jnp.ones((2, 4)),), table).shape
  (2, 5)
  """

  dtype: Any = None

  @nn.compact
  def __call__(
    self, outputs: Sequence[jax.Array], table: jax.Array
  ) -> jax.Array:
    """[..., V] from [..., H_n] of each layer and the embedding [V, E]."""
    symbols, width = table.shape
    inner = outputs[0]
    if len(outputs) > 1 or inner.shape[-1] != width:
      init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
      total = sum(hs.shape[-1] for hs in outputs)
      kernel = self.param("kernel", init, (total, width), jnp.float32)
      inner = ops.project(kernel, tuple(outputs), dtype=self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (symbols,), jnp.float32)
    logits = ops.matmul(inner, table.T, self.dtype)
    return logits + ops.along_last(bias, logits.ndim)


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
    """Zeros; the window is before the text."""
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
    """The carry, and [h, w] [T, B, H + V]; see `window_lstm.sequence`."""
    options = dict(self.options or {})
    cell_clip = float(options.pop("cell_clip", 0.0)) or None
    if "forget_bias" in options:
      bias = float(options.pop("forget_bias"))
      options["bias_init"] = ops.forget_bias(bias)

    def fresh(key: jax.Array) -> window_lstm.WindowLSTMParams:
      return window_lstm.init_params(
        key,
        self.in_features,
        self.features,
        self.symbols,
        self.window,
        **options,
      )

    return window_lstm.sequence(
      recurrent.registered(self, fresh),
      carry,
      inputs,
      characters,
      reset=reset,
      gradient_clip=self.gradient_clip,
      cell_clip=cell_clip,
      dtype=self.dtype,
    )


class WindowedRecurrent(_Stack, kw_only=True):
  """LSTM layers over pen movements, the lowest with a window on a text.

  Attributes, besides those of `_Stack`:
    symbols: V, the size of the alphabet.
    window: K Gaussians.
    options: of the LSTMs: `peepholes`, `forget_bias`, `cell_clip`.

  >>> stack = WindowedRecurrent(features=(4, 4), in_features=3, symbols=5)
  >>> carry = stack.initial_carry(1)
  >>> text = jnp.array([[0], [3]])  # [U, B]
  >>> xs = jnp.zeros((7, 1, 3))
  >>> variables = stack.init(jax.random.key(0), carry, xs, text)
  >>> _, outputs = stack.apply(variables, carry, xs, text)
  >>> [h.shape for h in outputs]
  [(7, 1, 4), (7, 1, 4)]
  """

  symbols: int
  window: int = 10

  def _layer(self, index: int) -> Any:
    if index:
      width = self.in_features + self.features[index - 1] + self.symbols
      return self._recurrent(index, width)
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
    characters = window_lstm.letters(text, self.symbols)
    lowest = self._layer(0).clone(parent=self)
    after, both = lowest(carry[0], inputs, characters, reset)
    carries: list[Any] = [after]
    outputs = [both[..., : self.features[0]]]
    seen = both[..., self.features[0] :]
    for index in range(1, len(self.features)):
      below = self._dropped(outputs[-1], self.noise.hidden)
      layer = self._layer(index).clone(parent=self)
      feeds = (inputs, below, seen)
      after, hs = layer(feeds, initial_carry=carry[index], reset=reset)
      carries.append(after)
      outputs.append(hs)
    read = [self._dropped(hs, self.noise.output) for hs in outputs]
    return tuple(carries), tuple(read)
