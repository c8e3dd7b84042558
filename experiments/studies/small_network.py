"""One cell and one linear layer above it: the networks of small studies."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import cell as cells
from seqmodels.cells import products
from seqmodels.models import predictor as predictors
from seqmodels.training import state as states


class Network(NamedTuple):
  """A recurrent layer and a linear readout, as pure functions.

  Attributes:
    kind: of the cell; an LSTM has no peepholes.
    features: H.
    inputs: width of what is read, or the number of symbols.
    outputs: width of what is said.
  """

  kind: str
  features: int
  inputs: int
  outputs: int

  @property
  def cell(self) -> cells.Cell:
    """Its functions."""
    options = {"peepholes": False} if self.kind == "lstm" else {}
    return cells.get(self.kind, **options)

  def init(self, key: jax.Array) -> Any:
    """Fresh weights: of the cell, of the readout and its bias."""
    first, second = jax.random.split(key)
    params = self.cell.init_params(first, self.inputs, self.features)
    shape = (self.features, self.outputs)
    kernel = jax.random.normal(second, shape) / self.features**0.5
    return params, kernel, jnp.zeros(self.outputs)

  def initial_carry(self, batch: int) -> Any:
    """Zeros."""
    return self.cell.initial_carry((batch,), self.features)

  def read(self, params: Any, hs: jax.Array) -> jax.Array:
    """The readout of states [T, B, H]: [T, B, outputs]."""
    _, kernel, bias = params
    return products.matmul(hs, kernel) + bias[None, None]

  def predictor(self) -> predictors.Predictor:
    """As a model of symbols."""

    def apply(params: Any, carry: Any, inputs: Any, reset: Any) -> Any:
      carry, hs = self.cell.sequence(params[0], carry, inputs, reset=reset)
      return carry, self.read(params, hs)

    return predictors.Predictor(
      apply, self.initial_carry, self.init, self.outputs
    )

  def apply(
    self, params: Any, carry: Any, inputs: jax.Array
  ) -> tuple[Any, jax.Array]:
    """As a model of one number a step: from [T, B, D], the numbers [T, B]."""
    carry, hs = self.cell.sequence(params[0], carry, inputs)
    return carry, self.read(params, hs)[..., 0]


def side_by_side(
  state: states.TrainState, params: Sequence[Any]
) -> states.TrainState:
  """Several states along a new leading axis, alike but for their weights.

  On the host: to stack every leaf apart on the device is a program each.

  Args:
    state: fresh, for the optimiser's zeros, the carry and the key.
    params: weights of each.
  """
  count = len(params)
  key = np.asarray(jax.random.key_data(state.key))

  def repeated(leaf: Any) -> Any:
    return np.stack([np.asarray(leaf)] * count)

  return states.TrainState(
    step=repeated(state.step),
    params=jax.tree.map(lambda *x: np.stack(x), *map(jax.device_get, params)),
    opt_state=jax.tree.map(repeated, state.opt_state),
    carry=jax.tree.map(repeated, state.carry),
    key=jax.random.wrap_key_data(repeated(key), impl="threefry2x32"),
  )


def apart(params: Any, count: int) -> list[Any]:
  """The weights of each of `count` networks that stand side by side."""
  host = jax.device_get(params)
  return [
    jax.tree.map(lambda leaf, place=place: leaf[place], host)
    for place in range(count)
  ]
