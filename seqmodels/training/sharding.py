"""The layout of a training state on a mesh of devices, `data` by `model`.

The streams of a batch are spread over all devices. Weights and the optimiser's
memory lie whole on each of them, or divided along the axis `model`: then a step
begins by gathering the weights and ends by updating shares (fully sharded data
parallelism). Gathering once a step and not once a layer and position is what a
recurrent network can afford: a product divided over devices would have to talk
at every position of the sequence.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqmodels import errors
from seqmodels.training import regularizers
from seqmodels.training import step as states

Tree = Any

AXES = ("data", "model")


def device_mesh(
  batch: int,
  *,
  model_shards: int = 1,
  devices: list[jax.Device] | None = None,
) -> Mesh:
  """A mesh of the axes `data` and `model` over all devices.

  Args:
    batch: B; must be a multiple of the number of devices.
    model_shards: devices that share one copy of the state between them.
    devices: those of all processes by default.

  Raises:
    UserError: if rows or devices do not divide evenly.

  >>> device_mesh(4, devices=jax.devices()[:1]).shape["data"]
  1
  """
  devices = devices or jax.devices()
  count = len(devices)
  if count % model_shards:
    raise errors.UserError(
      f"config.training.model_shards is {model_shards}, which does not divide "
      f"the {count} devices; choose a divisor of {count}"
    )
  if batch % count:
    raise errors.UserError(
      f"a batch of {batch} streams does not spread evenly over {count} "
      f"devices; choose a multiple of {count}"
    )
  return Mesh(np.array(devices).reshape(-1, model_shards), AXES)


def replicated(mesh: Mesh) -> NamedSharding:
  """The whole on every device."""
  return NamedSharding(mesh, PartitionSpec())


def param_shardings(mesh: Mesh, tree: Tree) -> Tree:
  """Shardings that divide the matrices of a tree along `model`.

  A matrix is divided by its last dimension, the gates of a recurrent layer or
  the symbols of the output, where that goes evenly; the rest is small and lies
  whole on every device.

  Args:
    mesh: of `device_mesh`.
    tree: arrays or their shapes: weights, or what an optimiser keeps of them.

  >>> mesh = device_mesh(1, devices=jax.devices()[:1])
  >>> params = {"kernel": np.zeros((2, 4)), "bias": np.zeros(4)}
  >>> found = param_shardings(mesh, params)
  >>> tuple(found["kernel"].spec), tuple(found["bias"].spec)
  ((None, 'model'), ())
  """

  def one(leaf: Any) -> NamedSharding:
    if leaf.ndim < 2 or leaf.shape[-1] % mesh.shape["model"]:
      return replicated(mesh)
    last = (None,) * (leaf.ndim - 1) + ("model",)
    return NamedSharding(mesh, PartitionSpec(*last))

  return jax.tree.map(one, tree)


def state_shardings(mesh: Mesh, state: states.TrainState) -> Any:
  """Carry rows over all devices, weights and their statistics in shares.

  Args:
    mesh: of `device_mesh`.
    state: arrays or their shapes.
  """
  rows = NamedSharding(mesh, PartitionSpec(AXES))
  shardings = jax.tree.map(lambda _: replicated(mesh), state)
  return shardings._replace(
    params=param_shardings(mesh, state.params),
    opt_state=param_shardings(mesh, state.opt_state),
    carry=jax.tree.map(lambda _: rows, state.carry),
  )


def place_segments(mesh: Mesh, segments: Tree) -> Tree:
  """Segments [K, T, B, ...] on the devices, their rows spread over all.

  Every process gives all rows and places those of its own devices.
  """
  rows = NamedSharding(mesh, PartitionSpec(None, None, AXES))
  if rows.is_fully_addressable:
    return jax.device_put(segments, rows)
  return jax.tree.map(
    lambda leaf: jax.make_array_from_callback(
      leaf.shape, rows, lambda index: leaf[index]
    ),
    segments,
  )


def to_host(tree: Tree) -> Tree:
  """A tree of a mesh on this process's first device alone, all of it.

  Where other processes hold a part, they have to call, too.
  """
  here = jax.local_devices()[0]

  def one(leaf: jax.Array) -> jax.Array:
    if leaf.is_fully_addressable:
      return jax.device_put(leaf, here)
    assert isinstance(leaf.sharding, NamedSharding)
    everyone = NamedSharding(leaf.sharding.mesh, PartitionSpec())
    gather = jax.jit(_itself, out_shardings=everyone)
    return jax.device_put(gather(leaf).addressable_data(0), here)

  return jax.tree.map(one, tree)


def warm_up_collectives(mesh: Mesh) -> None:
  """Has all devices of a mesh talk once, along each of its axes and all.

  Processes that first do so in a training step come to it when they have
  compiled it, which may lie further apart than they wait for each other then.
  """
  ones = jax.jit(
    lambda: jnp.ones(mesh.devices.shape, jnp.int32),
    out_shardings=NamedSharding(mesh, PartitionSpec(*AXES)),
  )()
  for axes in ((0,), (1,), (0, 1)):
    add = jax.jit(
      functools.partial(jnp.sum, axis=axes), out_shardings=replicated(mesh)
    )
    add(ones).block_until_ready()


def gathering(
  rule: regularizers.Regularizer, mesh: Mesh
) -> regularizers.Regularizer:
  """`rule` for a state that is divided along `model`.

  What is trained is gathered before its gradient is formed, and of the
  gradient each device keeps its share.
  """
  if mesh.shape["model"] == 1:
    return rule

  def gradient(objective: Any, trained: Tree, key: jax.Array) -> Any:
    gathered = jax.lax.with_sharding_constraint(trained, replicated(mesh))
    if rule.gradient is None:
      gradients, outcome = objective.gradient(gathered)
    else:
      gradients, outcome = rule.gradient(objective, gathered, key)
    divided = jax.lax.with_sharding_constraint(
      gradients, param_shardings(mesh, gradients)
    )
    return divided, outcome

  return rule._replace(gradient=gradient)


def _itself(leaf: jax.Array) -> jax.Array:
  return leaf
