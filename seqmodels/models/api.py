"""The interface of a network to everything above the models."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from seqmodels import losses
from seqmodels.cells import window_lstm
from seqmodels.regularization import dropout

Tree = Any


def symbols_and_resets(segment: Any) -> tuple[Any, ...]:
  """The inputs of a language model, from a segment."""
  return segment.inputs, segment.reset


class SequenceModel(NamedTuple):
  """A network as pure functions of its parameters, and its loss.

  Training, evaluation and sampling see a model only through this handle, so any
  network (or a two-line toy in a test) can stand behind it. It is used as a
  static argument of compiled functions: build it once.

  Attributes:
    apply: `(params, carry, *inputs) -> (carry, outputs)`. The inputs of a
      language model are `inputs`, int32 `[T, B]`, a negative id being the null
      vector, and `reset`, bool `[T, B]`, which clears a row's carry before that
      step; its outputs are float32 logits `[T, B, V]`, where `logits[t]` scores
      the symbol that follows `inputs[t]`. The inputs of a handwriting network
      are `inputs`, float `[T, B, 3]`, which begin a line with the null vector,
      `text`, int32 `[U, B]`, ids of what is being written, -1 past a row's end
      (ignored without a window), and `reset`, or None; its outputs are float32
      `[T, B, 6M + 1]` (see `seqmodels.mixture_density`).
    initial_carry: `batch -> carry`, the state before the first position.
    init: `key -> params`.
    vocabulary_size: V, of the text that it predicts or writes; 0 without one.
    loss: `(outputs, segment) -> (loss [B], Metrics)`, see `seqmodels.losses`.
    reads: `segment -> inputs` of `apply`.
    components: M, of a handwriting network.
    noisy: `apply` also takes `key=KEY`, for what training drops.
    window: `(params, carry) -> Window`, where the window stood in the step that
      left `carry`; `None` for a network without one.

  Example: a model that knows only the symbol before.

  >>> import jax.numpy as jnp
  >>> bigram = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros((3, 3)),
  ...   vocabulary_size=3,
  ... )
  >>> inputs = jnp.zeros((5, 1), int)
  >>> bigram.apply(bigram.init(None), (), inputs, inputs < 0)[1].shape
  (5, 1, 3)
  """

  apply: Callable[..., tuple[Tree, jax.Array]]
  initial_carry: Callable[[int], Tree]
  init: Callable[[jax.Array], Tree]
  vocabulary_size: int
  loss: Callable[[jax.Array, Any], tuple[jax.Array, losses.Metrics]] = (
    losses.of_symbols
  )
  reads: Callable[[Any], tuple[Any, ...]] = symbols_and_resets
  components: int = 0
  noisy: bool = False
  window: Callable[[Tree, Tree], window_lstm.Window] | None = None

  def score(
    self,
    params: Tree,
    carry: Tree,
    segment: Any,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, tuple[Tree, losses.Metrics]]:
    """The loss of a segment of every stream.

    Args:
      params: the parameters.
      carry: the state at the segment's left edge, a row a stream.
      segment: arrays `[T, B, ...]`, as `reads` and `loss` want them.
      key: of the noise of training; without it there is none.

    Returns:
      The loss of each stream `[B]`; the carry at the right edge, and metrics.
    """
    noise = {"key": key} if self.noisy and key is not None else {}
    carry, outputs = self.apply(params, carry, *self.reads(segment), **noise)
    loss, metrics = self.loss(outputs, segment)
    return loss, (carry, metrics)


def from_module(
  model: Any, example: Callable[[], Sequence[jax.Array]]
) -> dict[str, Any]:
  """The functions of a `SequenceModel`, from a Flax module.

  Args:
    model: a module of `(carry, *inputs)` with `initial_carry` and `noise`.
    example: inputs of one step, to initialise it with.
  """

  def init(key: jax.Array) -> Tree:
    return model.init(key, model.initial_carry(1), *example())["params"]

  def apply(
    params: Tree, carry: Tree, *inputs: Any, key: jax.Array | None = None
  ) -> Any:
    if key is None:
      return model.apply({"params": params}, carry, *inputs)
    weights_key, units_key = jax.random.split(key)
    params = dropout.drop_weights(params, weights_key, model.noise.drop_connect)
    return model.apply(
      {"params": params}, carry, *inputs, rngs={"dropout": units_key}
    )

  return {
    "init": init,
    "initial_carry": model.initial_carry,
    "apply": apply,
    "noisy": model.noise.any,
  }
