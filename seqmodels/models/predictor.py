"""What every layer above the models knows of a network: four functions."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

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

  def train_apply(
    self,
    params: Tree,
    carry: Tree,
    inputs: jax.Array,
    reset: jax.Array,
    key: jax.Array,
  ) -> tuple[Tree, jax.Array]:
    """`apply` under the noise of training, which `key` decides."""
    if self.noisy is None:
      return self.apply(params, carry, inputs, reset)
    return self.noisy(params, carry, inputs, reset, key)
