"""The interface of a network to everything above the models."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.cells import window_lstm
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

  def check(self, layers: int, cell: str = "lstm") -> None:
    """Refuses rates that mean nothing to a network of so many layers.

    Args:
      layers: how many.
      cell: of all layers, a name in `cells.cell.CELLS`.

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
    if any(self.zoneout) and not cells.get(cell).zoneout:
      able = (name for name in cells.CELLS if cells.get(name).zoneout)
      raise errors.UserError(
        f"the {cell} cell has no zoneout; use {' or '.join(able)}, or set "
        "zoneout_cell and zoneout_state to 0"
      )

  @property
  def zoneout(self) -> zoning.Rates:
    """The rates of zoneout."""
    return zoning.Rates(self.zoneout_cell, self.zoneout_state)

  @property
  def any(self) -> bool:
    """Whether training differs from use."""
    return any(self[:5]) or any(self.zoneout)


Tree = Any


class Predictor(NamedTuple):
  """A next-symbol predictor as pure functions of its parameters.

  Losses, evaluation, sampling and training see a model only through this
  handle, so any network (or a two-line toy in a test) can stand behind it.

  Attributes:
    apply: `(params, carry, inputs, reset) -> (carry, logits)`. `inputs` is
      int32 `[T, B]`, a negative id being the null vector; `reset` is bool
      `[T, B]` and clears a row's carry before that step; `logits` is float32
      `[T, B, V]`, where `logits[t]` scores the symbol that follows
      `inputs[t]`.
    initial_carry: `batch -> carry`, the state before the first symbol.
    init: `key -> params`.
    vocabulary_size: V.
    noisy: `apply` as training sees it, `(params, carry, inputs, reset, key)`,
      with dropout and its kin; `None` where training and use are the same.

  Example: a predictor that knows only the symbol before.

  >>> import jax.numpy as jnp
  >>> bigram = Predictor(
  ...   apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros((3, 3)),
  ...   vocabulary_size=3,
  ... )
  >>> inputs = jnp.zeros((5, 1), int)
  >>> bigram.apply(bigram.init(None), (), inputs, inputs < 0)[1].shape
  (5, 1, 3)
  """

  apply: Callable[[Tree, Tree, jax.Array, jax.Array], tuple[Tree, jax.Array]]
  initial_carry: Callable[[int], Tree]
  init: Callable[[jax.Array], Tree]
  vocabulary_size: int
  noisy: Callable[..., tuple[Tree, jax.Array]] | None = None


class PenNetwork(NamedTuple):
  """A predictor of pen movements as pure functions of its parameters.

  Attributes:
    apply: `(params, carry, inputs, text, reset) -> (carry, outputs)`. `inputs`
      is float `[T, B, 3]` and begins a line with the null vector; `text` is
      int32 `[U, B]`, ids of what is being written, -1 past a row's end, and is
      not looked at by a network without a window; `reset` is bool `[T, B]` and
      clears a row's carry before that step, or None; `outputs` is float32
      `[T, B, 6M + 1]`, of which `outputs[t]` scores the movement that follows
      `inputs[t]` (see `seqmodels.mixture_density`).
    initial_carry: `batch -> carry`, the state before a line.
    init: `key -> params`.
    components: M.
    output_clip: bound on each derivative with respect to an output.
    noisy: `apply` as training sees it, with a key at the end; `None` where
      training and use are the same.
    window: `(params, carry) -> Window`, where the window stood in the step that
      left `carry`; `None` for a network without one.
    symbols: V, of the alphabet; 0 without a window.
  """

  apply: Callable[..., tuple[Tree, jax.Array]]
  initial_carry: Callable[[int], Tree]
  init: Callable[[jax.Array], Tree]
  components: int
  output_clip: float | None = None
  noisy: Callable[..., tuple[Tree, jax.Array]] | None = None
  window: Callable[[Tree, Tree], window_lstm.Window] | None = None
  symbols: int = 0


def train_apply(
  model: Predictor | PenNetwork,
  params: Tree,
  carry: Tree,
  *inputs: Any,
  key: jax.Array,
) -> tuple[Tree, jax.Array]:
  """`model.apply` under the noise of training, which `key` decides."""
  if model.noisy is None:
    return model.apply(params, carry, *inputs)
  return model.noisy(params, carry, *inputs, key)


def from_module(
  model: Any, example: Callable[[], Sequence[jax.Array]]
) -> dict[str, Any]:
  """The functions that all handles have, of a Flax module.

  Args:
    model: a module of `(carry, *inputs)` with `initial_carry` and `noise`.
    example: inputs of one step, to initialise it with.
  """

  def init(key: jax.Array) -> Tree:
    return model.init(key, model.initial_carry(1), *example())["params"]

  def apply(params: Tree, carry: Tree, *inputs: Any) -> Any:
    return model.apply({"params": params}, carry, *inputs)

  def noisy(params: Tree, carry: Tree, *inputs_and_key: Any) -> Any:
    *inputs, key = inputs_and_key
    weights_key, units_key = jax.random.split(key)
    params = dropout.drop_weights(params, weights_key, model.noise.drop_connect)
    return model.apply(
      {"params": params}, carry, *inputs, rngs={"dropout": units_key}
    )

  return {
    "init": init,
    "initial_carry": model.initial_carry,
    "apply": apply,
    "noisy": noisy if model.noise.any else None,
  }
