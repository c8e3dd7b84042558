"""One cell and a linear layer above it: small studies' networks, trained."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import cell as cells
from seqmodels.cells import ops
from seqmodels.models import api as predictors
from seqmodels.training import step

DISPATCH = 25  # steps of training a dispatch, and a point of the curves


@functools.cache
def cell_of(kind: str) -> cells.Cell:
  """A cell by its name, an LSTM without peepholes."""
  return cells.get(kind, **({"peepholes": False} if kind == "lstm" else {}))


def drawn(
  cell: cells.Cell,
  inputs: int,
  features: int,
  random: np.random.Generator,
  scale: float,
) -> Any:
  """Normal weights of that deviation, biases too; float64 where enabled."""
  shapes = jax.eval_shape(
    lambda: cell.init_params(jax.random.key(0), inputs, features)
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(scale * random.normal(size=leaf.shape)), shapes
  )


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
    return cell_of(self.kind)

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
    return ops.matmul(hs, kernel) + bias[None, None]

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


class Course(NamedTuple):
  """How S networks trained side by side fared.

  Attributes:
    nats: a scored position, by dispatch: [S, D].
    scored: positions of a dispatch, [S].
    largest: norm of a gradient on the way, before any clipping, [S].
    params: weights at the end, one a network.
  """

  nats: np.ndarray
  scored: np.ndarray
  largest: np.ndarray
  params: list[Any]


def middles(dispatches: int) -> np.ndarray:
  """The steps in the middle of so many dispatches."""
  return DISPATCH * (0.5 + np.arange(dispatches))


def train_side_by_side(
  state: step.TrainState,
  begun: Sequence[Any],
  train_steps: step.TrainSteps,
  segments: Callable[[int, int], Sequence[Any]],
  *,
  steps: int,
  check: Callable[[], None],
) -> Course:
  """Trains several networks as one compiled program.

  Args:
    state: fresh, for the optimiser's zeros, the carry and the key.
    begun: weights of each.
    train_steps: of `loop.make_joint_train_steps`.
    segments: (step, count) -> what each network reads, leaves [K, T, B, ...].
    steps: how many, in whole dispatches.
    check: called before each dispatch; may raise to stop.
  """
  together = _stacked(state, begun)
  nats, scored, largest = [], [], []
  for start in range(0, steps, DISPATCH):
    check()
    drawn = jax.tree.map(lambda *x: np.stack(x), *segments(start, DISPATCH))
    together, metrics = train_steps(together, drawn)
    scored.append(np.sum(metrics.scored, axis=1))
    nats.append(np.sum(metrics.nats, axis=1) / scored[-1])
    largest.append(np.max(metrics.gradient_norm, axis=1))
  host = jax.device_get(together.params)
  return Course(
    np.array(nats).T,
    scored[-1],
    np.max(largest, axis=0),
    [
      jax.tree.map(lambda leaf, place=place: leaf[place], host)
      for place in range(len(begun))
    ],
  )


def _stacked(state: step.TrainState, params: Sequence[Any]) -> step.TrainState:
  """States along a new leading axis, alike but for their weights.

  On the host: to stack every leaf apart on the device is a program each.
  """
  count = len(params)
  key = np.asarray(jax.random.key_data(state.key))

  def repeated(leaf: Any) -> Any:
    return np.stack([np.asarray(leaf)] * count)

  return step.TrainState(
    step=repeated(state.step),
    params=jax.tree.map(lambda *x: np.stack(x), *map(jax.device_get, params)),
    opt_state=jax.tree.map(repeated, state.opt_state),
    carry=jax.tree.map(repeated, state.carry),
    key=jax.random.wrap_key_data(repeated(key), impl="threefry2x32"),
  )
