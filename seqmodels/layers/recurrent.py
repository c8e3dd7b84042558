"""Recurrent layers, and deep stacks with and without a window on a text.

`RecurrentLayer` is a cell over a sequence, and `RecurrentCell` one for Flax's
`nn.RNN`. The deep stack of Graves (2013,
section 2) has skips in and skips out:

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
import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import ops, scan, window_lstm
from seqmodels.cells import zoneout as zoning
from seqmodels.regularization import dropout


class Noise(NamedTuple):
  """Dropout rates of training, each in [0, 1); all of them off by default.

  Zoneout's rates count in evaluation, too, as the expectation.

  Attributes:
    embedding: whole symbols of the vocabulary, for a segment.
    input: units of the embedding, or positions of one-hot inputs.
    hidden: units between layers.
    output: units that the softmax reads.
    drop_connect: recurrent weights, for a segment.
    variational: one mask of units a segment and stream, not one a step.
    zoneout_cell: units of the cells that keep their value of the step before,
      drawn for every step.
    zoneout_state: the same of the layers' outputs.

  >>> Noise().any, Noise(output=0.5).any
  (False, True)
  """

  embedding: float = 0.0
  input: float = 0.0
  hidden: float = 0.0
  output: float = 0.0
  drop_connect: float = 0.0
  variational: bool = True
  zoneout_cell: float = 0.0
  zoneout_state: float = 0.0

  def check(self, layers: int, cell: cells.Cell) -> None:
    """Refuses rates that mean nothing to a network of so many layers.

    Args:
      layers: how many.
      cell: of all layers.

    Raises:
      UserError: a rate outside [0, 1), dropout between layers where there is
        one, or zoneout of a cell that does not have it.
    """
    for rate in self[:5]:
      dropout.check_rate(rate)
    if self.hidden and layers < 2:
      raise errors.UserError(
        "dropout_hidden drops between layers, and there is one layer; use "
        "dropout_output or dropout_input, or give more layers"
      )
    self.zoneout.check()
    if any(self.zoneout) and not cell.zoneout:
      able = (name for name, each in cells.CELLS.items() if each.zoneout)
      raise errors.UserError(
        f"the {cell.name} cell has no zoneout; use {' or '.join(able)}, or set "
        "zoneout_cell and zoneout_state to 0"
      )

  @property
  def zoneout(self) -> zoning.Rates:
    """The rates of zoneout."""
    return zoning.Rates(self.zoneout_cell, self.zoneout_state)

  @property
  def any(self) -> bool:
    """True if training differs from use."""
    return any(self[:5]) or any(self.zoneout)


class RecurrentLayer(nn.Module):
  """A cell over a sequence, with the call signature of `nn.RNN`.

  The weights lie in the `params` collection under the cell's own names
  (`kernel`, `recurrent_kernel`, `bias`, and `peephole` where it has them).

  Attributes:
    features: H.
    cell: the recurrence: one of `cells.cell.get`, or a `Cell` of one's own.
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
  cell: cells.Cell = cells.CELLS["lstm"]
  in_features: int | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  param_dtype: Any = jnp.float32
  chunk: int = 0
  time_major: bool = False
  return_carry: bool = False
  reverse: bool = False
  keep_order: bool = True

  def initial_carry(self, batch: int) -> Any:
    """Zeros for `batch` rows."""
    return self.cell.initial_carry((batch,), self.features)

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
    params = self._params(parts)
    if initial_carry is None:
      initial_carry = self.initial_carry(parts[0].shape[1])
    sequence = self.cell.sequence
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

  def _params(self, parts: list[jax.Array]) -> Any:
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
      lambda key: self.cell.init_params(
        key, in_features, self.features, **options
      ),
    )


def registered(module: nn.Module, fresh: Callable[[jax.Array], Any]) -> Any:
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
  """A cell for `nn.RNN` and `nn.Bidirectional`, one step at a time.

  `RecurrentLayer` is the fast form of the same layer and reads the same
  weights: those of the `params` collection under the cell's own names. The
  carry has Flax's form, `(c, h)` for an LSTM and `h` alone where that is all.
  `nnx.bridge.ToNNX` takes either.

  Attributes:
    features: H.
    cell: the recurrence: one of `cells.cell.get`, or a `Cell` of one's own.
    kernel_init: initializer of the input weights; each one's default is in
      `init_params` of the cell.
    recurrent_kernel_init: of the recurrent weights.
    bias_init: of the biases.
    carry_init: of the carry.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; sums and outputs stay float32.
    param_dtype: dtype of the weights.

  >>> xs = jnp.ones((2, 5, 3))  # [B, T, D], Flax's order
  >>> layer = nn.RNN(RecurrentCell(4, cells.get("gru")), return_carry=True)
  >>> variables = layer.init(jax.random.key(0), xs)
  >>> h, hs = layer.apply(variables, xs)
  >>> h.shape, hs.shape
  ((2, 4), (2, 5, 4))
  >>> sorted(variables["params"]["cell"])
  ['bias', 'kernel', 'recurrent_bias', 'recurrent_kernel']
  """

  features: int
  cell: cells.Cell = cells.CELLS["lstm"]
  kernel_init: ops.Initializer | None = None
  recurrent_kernel_init: ops.Initializer | None = None
  bias_init: ops.Initializer | None = None
  carry_init: ops.Initializer = nn.initializers.zeros
  gradient_clip: float | None = None
  dtype: Any = None
  param_dtype: Any = jnp.float32

  @nn.compact
  def __call__(self, carry: Any, inputs: jax.Array) -> tuple[Any, jax.Array]:
    """One time step: `(carry, [..., D]) -> (carry, [..., H])`."""
    limits = {"gradient_clip": self.gradient_clip, "dtype": self.dtype}
    after, h = self.cell.step(
      self._params(inputs.shape[-1]),
      self._as_ours(carry),
      inputs,
      **{name: x for name, x in limits.items() if x is not None},
    )
    return _as_flax(after), h

  @nn.nowrap
  def initialize_carry(
    self, rng: jax.Array, input_shape: tuple[int, ...]
  ) -> Any:
    """The carry before the first step for inputs of `input_shape`, [..., D]."""
    like = jax.eval_shape(
      lambda: self.cell.initial_carry(input_shape[:-1], self.features)
    )
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(rng, len(leaves))
    fresh = [
      self.carry_init(
        key, leaf.shape, jnp.promote_types(leaf.dtype, self.param_dtype)
      )
      for key, leaf in zip(keys, leaves, strict=True)
    ]
    return _as_flax(jax.tree.unflatten(structure, fresh))

  @property
  def num_feature_axes(self) -> int:
    """The number of trailing axes of the input that are features."""
    return 1

  @nn.nowrap
  def _as_ours(self, carry: Any) -> Any:
    like = jax.eval_shape(lambda: self.cell.initial_carry((), 1))
    return jax.tree.unflatten(jax.tree.structure(like), jax.tree.leaves(carry))

  def _params(self, in_features: int) -> Any:
    options = {
      "kernel_init": self.kernel_init,
      "recurrent_kernel_init": self.recurrent_kernel_init,
      "bias_init": self.bias_init,
    }
    options = {name: x for name, x in options.items() if x is not None}
    if self.param_dtype != jnp.float32:
      options["param_dtype"] = self.param_dtype
    return registered(
      self,
      lambda key: self.cell.init_params(
        key, in_features, self.features, **options
      ),
    )


def _as_flax(carry: Any) -> Any:
  """`(c, h)`, or `h` alone."""
  leaves = tuple(jax.tree.leaves(carry))
  return leaves if len(leaves) > 1 else leaves[0]


@dataclasses.dataclass(frozen=True)
class StackOptions:
  """All that describes a stack of layers, whatever it reads.

  Attributes:
    features: H of each layer, lowest first.
    cell: of all layers.
    input_skips: the input feeds the layers above the first, too.
    output_skips: the head reads all layers, not only the last.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; `None` keeps float32.
    chunk: recompute policy, see `RecurrentLayer`.
    noise: dropped where the stack is applied with a `dropout` key: units
      between layers (`hidden`) and units that the head reads (`output`).

  Raises:
    UserError: noise that such a stack cannot have, see `Noise.check`.
  """

  features: tuple[int, ...]
  cell: cells.Cell = cells.CELLS["lstm"]
  input_skips: bool = True
  output_skips: bool = True
  gradient_clip: float | None = None
  dtype: Any = None
  chunk: int = 0
  noise: Noise = dataclasses.field(default=Noise())

  def __post_init__(self) -> None:
    """Refuses what cannot be built."""
    self.noise.check(len(self.features), self.cell)


class _Stack(nn.Module):
  """The base of both stacks.

  Flax gives a module that is made inside another one's method a place in it.
  The carry is asked for outside of `apply`, where there is no such place, so
  layers are made with `parent=None`, and `.clone(parent=self)` makes one a part
  of the stack, its weights under its name. The models do the same to stacks.

  Attributes:
    options: the stack.
    in_features: D: the number of symbols for ids, the width for dense input.
  """

  options: StackOptions
  in_features: int

  @abc.abstractmethod
  def _layer(self, index: int) -> Any:
    """A layer with no parent."""

  def _recurrent(self, index: int, in_features: int) -> RecurrentLayer:
    return RecurrentLayer(
      features=self.options.features[index],
      cell=self.options.cell,
      in_features=in_features,
      gradient_clip=self.options.gradient_clip,
      dtype=self.options.dtype,
      chunk=self.options.chunk,
      time_major=True,
      return_carry=True,
      name=f"layer_{index}",
      parent=None,
    )

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """Zeros, one carry a layer."""
    return tuple(
      self._layer(index).initial_carry(batch)
      for index in range(len(self.options.features))
    )

  def _dropped(self, hs: jax.Array, rate: float) -> jax.Array:
    """Units of `hs` [T, B, H] dropped, where there is a `dropout` key."""
    if not rate or not self.has_rng("dropout"):
      return hs
    key = self.make_rng("dropout")
    return dropout.drop(
      hs, key, rate, variational=self.options.noise.variational
    )


class DeepRecurrent(_Stack):
  """Recurrent layers over one input, time-major.

  Of its noise, zoneout is drawn in every layer with a `dropout` key, too;
  without one the expectation is taken.

  Example: the outputs that a head reads, one a layer.
  >>> stack = DeepRecurrent(StackOptions(features=(4, 4)), in_features=9)
  >>> ids = jnp.zeros((5, 2), int)  # [T, B]
  >>> variables = stack.init(jax.random.key(0), stack.initial_carry(2), ids)
  >>> carry, outputs = stack.apply(variables, stack.initial_carry(2), ids)
  >>> [h.shape for h in outputs]
  [(5, 2, 4), (5, 2, 4)]
  """

  def _layer(self, index: int) -> RecurrentLayer:
    options = self.options
    width = self.in_features if index == 0 or options.input_skips else 0
    below = options.features[index - 1] if index else 0
    return self._recurrent(index, width + below)

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
    options = self.options
    carries: list[Any] = []
    outputs: list[jax.Array] = []
    for index, features in enumerate(options.features):
      feeds: list[jax.Array] = []
      if index == 0 or options.input_skips:
        feeds.append(inputs)
      if index:
        feeds.append(self._dropped(outputs[-1], options.noise.hidden))
      layer = self._layer(index).clone(parent=self)
      after, hs = layer(
        tuple(feeds),
        initial_carry=carry[index],
        reset=reset,
        zoneout=self._kept((*inputs.shape[:2], features)),
      )
      carries.append(after)
      outputs.append(hs)
    read = outputs if options.output_skips else outputs[-1:]
    read = [self._dropped(hs, options.noise.output) for hs in read]
    return tuple(carries), tuple(read)

  def _kept(self, shape: tuple[int, ...]) -> zoning.Kept | None:
    rates = self.options.noise.zoneout
    if not any(rates):
      return None
    if self.has_rng("dropout"):
      return rates.draw(self.make_rng("dropout"), shape)
    return rates.expected(shape[0])


class WindowedLayer(nn.Module):
  """An LSTM that moves a window over a text and reads what it shows.

  Attributes:
    options: of the stack that it is the lowest layer of.
    in_features: D.
    symbols: V, the size of the alphabet.
    window: K Gaussians.
  """

  options: StackOptions
  in_features: int
  symbols: int
  window: int = 10

  def initial_carry(self, batch: int) -> window_lstm.WindowLSTMCarry:
    """Zeros; the window is before the text."""
    return window_lstm.initial_carry(
      batch, self.options.features[0], self.symbols, self.window
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
    options = self.options

    def fresh(key: jax.Array) -> window_lstm.WindowLSTMParams:
      return window_lstm.init_params(
        key,
        self.in_features,
        options.features[0],
        self.symbols,
        self.window,
        lstm_init=options.cell.init_params,
      )

    return window_lstm.sequence(
      registered(self, fresh),
      carry,
      inputs,
      characters,
      reset=reset,
      gradient_clip=options.gradient_clip,
      dtype=options.dtype,
      **options.cell.bound,
    )


class WindowedRecurrent(_Stack):
  """LSTM layers over pen movements, the lowest with a window on a text.

  It has all skips, whatever its options say.

  Attributes, besides those of `_Stack`:
    symbols: V, the size of the alphabet.
    window: K Gaussians.

  >>> options = StackOptions(features=(4, 4))
  >>> stack = WindowedRecurrent(options, in_features=3, symbols=5)
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
      below = self.options.features[index - 1]
      return self._recurrent(index, self.in_features + below + self.symbols)
    return WindowedLayer(
      self.options,
      self.in_features,
      self.symbols,
      self.window,
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
    features, noise = self.options.features, self.options.noise
    characters = window_lstm.letters(text, self.symbols)
    lowest = self._layer(0).clone(parent=self)
    after, both = lowest(carry[0], inputs, characters, reset)
    carries: list[Any] = [after]
    outputs = [both[..., : features[0]]]
    seen = both[..., features[0] :]
    for index in range(1, len(features)):
      below = self._dropped(outputs[-1], noise.hidden)
      layer = self._layer(index).clone(parent=self)
      feeds = (inputs, below, seen)
      after, hs = layer(feeds, initial_carry=carry[index], reset=reset)
      carries.append(after)
      outputs.append(hs)
    read = [self._dropped(hs, noise.output) for hs in outputs]
    return tuple(carries), tuple(read)
