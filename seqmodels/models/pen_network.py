"""What every layer above the models knows of a network that moves a pen."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from seqmodels.cells import soft_window

Tree = Any


class PenNetwork(NamedTuple):
  """A predictor of pen movements as pure functions of its parameters.

  Attributes:
    apply: `(params, carry, inputs, text, reset) -> (carry, outputs)`. `inputs`
      is float `[T, B, 3]` and begins a line with the null vector; `text` is
      int32 `[U, B]`, ids of what is being written, -1 past a row's end, and is
      not looked at by a network without a window; `reset` is bool `[T, B]` and
      clears a row's carry before that step, or None; `outputs` is float32
      `[T, B, 6M + 1]`, of which `outputs[t]` scores the movement that follows
      `inputs[t]` (see `distributions.bivariate_mixture`).
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
  window: Callable[[Tree, Tree], soft_window.Window] | None = None
  symbols: int = 0

  def train_apply(
    self,
    params: Tree,
    carry: Tree,
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None,
    key: jax.Array,
  ) -> tuple[Tree, jax.Array]:
    """`apply` under the noise of training, which `key` decides."""
    if self.noisy is None:
      return self.apply(params, carry, inputs, text, reset)
    return self.noisy(params, carry, inputs, text, reset, key)


def from_module(
  model: Any,
  *,
  drop: Callable[[Tree, jax.Array], Tree] | None = None,
  window: Callable[[Tree, Tree], soft_window.Window] | None = None,
) -> PenNetwork:
  """A Flax module as pure functions.

  Args:
    model: of `(carry, inputs, text)`, with `initial_carry`, `components`,
      `output_clip`, `symbols` and `noise`.
    drop: what training does to the weights, `(params, key) -> params`.
    window: see `PenNetwork`.
  """

  def init(key: jax.Array) -> Any:
    inputs, text = jnp.zeros((1, 1, 3)), jnp.zeros((1, 1), jnp.int32)
    return model.init(key, model.initial_carry(1), inputs, text)["params"]

  def apply(
    params: Any,
    carry: Any,
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[Any, jax.Array]:
    return model.apply({"params": params}, carry, inputs, text, reset)

  def noisy(
    params: Any,
    carry: Any,
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None,
    key: jax.Array,
  ) -> tuple[Any, jax.Array]:
    weights_key, units_key = jax.random.split(key)
    if drop is not None:
      params = drop(params, weights_key)
    return model.apply(
      {"params": params},
      carry,
      inputs,
      text,
      reset,
      rngs={"dropout": units_key},
    )

  return PenNetwork(
    apply=apply,
    initial_carry=model.initial_carry,
    init=init,
    components=model.components,
    output_clip=model.output_clip,
    noisy=noisy if model.noise.any else None,
    window=window,
    symbols=model.symbols,
  )
