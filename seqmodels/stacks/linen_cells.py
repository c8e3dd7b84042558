"""Our cells as Flax cells, at home in `nn.RNN` and `nn.Bidirectional`.

These step through time one by one, as every Flax cell does, and serve where
Flax's own scan is wanted; `recurrent_layer.RecurrentLayer` is the fast form of
the same layer and reads the same weights. `nnx.bridge.ToNNX` takes either.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels.cells import cell as cells
from seqmodels.cells import elman, initializers


class RecurrentCell(nn.RNNCellBase):
  """What the shells below share: attributes, weights and carry.

  Weights lie in the `params` collection under the fields of the cell's params.
  The carry has Flax's form: `(c, h)` for the LSTM and `h` for the others.

  Attributes:
    features: H.
    kernel_init: initializer of the input weights; each one's default is said
      at `init_params` of the cell.
    recurrent_kernel_init: of the recurrent weights.
    bias_init: of the biases.
    carry_init: of the carry.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; sums and outputs stay float32.
    param_dtype: dtype of the weights.
  """

  features: int
  kernel_init: initializers.Initializer | None = None
  recurrent_kernel_init: initializers.Initializer | None = None
  bias_init: initializers.Initializer | None = None
  carry_init: initializers.Initializer = nn.initializers.zeros
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
    """How many trailing axes of the input are features."""
    return 1

  @nn.nowrap
  def _as_ours(self, carry: Any) -> Any:
    kind = type(jax.eval_shape(lambda: self.cell().initial_carry((), 1)))
    return kind(*carry) if len(kind._fields) > 1 else kind(carry)

  def _params(self, cell: cells.Cell, in_features: int) -> Any:
    given = {
      "kernel_init": self.kernel_init,
      "recurrent_kernel_init": self.recurrent_kernel_init,
      "bias_init": self.bias_init,
    }
    given = {name: init for name, init in given.items() if init is not None}

    def fresh(key: jax.Array) -> Any:
      return cell.init_params(
        key, in_features, self.features, param_dtype=self.param_dtype, **given
      )

    shapes = jax.eval_shape(fresh, jax.random.key(0))
    fields = {
      # An initializer of its own a field, so that Flax hands each its own key.
      name: None
      if shape is None
      else self.param(name, lambda key, name=name: getattr(fresh(key), name))
      for name, shape in shapes._asdict().items()
    }
    return type(shapes)(**fields)


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

  >>> xs = jnp.ones((2, 5, 3))
  >>> layer = nn.RNN(LayerNormLSTMCell(features=4))
  >>> layer.apply(layer.init(jax.random.key(0), xs), xs).shape
  (2, 5, 4)
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

  >>> xs = jnp.ones((2, 5, 3))
  >>> layer = nn.RNN(MogrifierLSTMCell(features=4, rank=2))
  >>> layer.apply(layer.init(jax.random.key(0), xs), xs).shape
  (2, 5, 4)
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

  >>> xs = jnp.ones((2, 5, 3))
  >>> layer = nn.RNN(ElmanCell(features=4, activation="relu"))
  >>> layer.apply(layer.init(jax.random.key(0), xs), xs).shape
  (2, 5, 4)
  """

  activation: str = "tanh"

  @nn.nowrap
  def cell(self) -> cells.Cell:
    """See the base."""
    elman.check_activation(self.activation)
    return cells.get("elman" if self.activation == "tanh" else "elman_relu")
