"""Data parallelism: streams spread over devices, weights on each of them."""

from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from seqmodels import errors
from seqmodels.training import state as states


def data_mesh(batch: int, devices: list[jax.Device] | None = None) -> Mesh:
  """A mesh of one axis, `data`, over all devices that `batch` rows divide into.

  Args:
    batch: B; must be a multiple of the number of devices.
    devices: all of them by default.

  Raises:
    UserError: if the rows do not spread evenly.

  >>> data_mesh(4, jax.devices()[:1]).shape["data"]
  1
  """
  devices = devices or jax.devices()
  if batch % len(devices):
    raise errors.UserError(
      f"a batch of {batch} streams does not spread evenly over {len(devices)} "
      f"devices; choose a multiple of {len(devices)}"
    )
  return Mesh(np.array(devices), ("data",))


def state_shardings(mesh: Mesh, state: states.TrainState) -> Any:
  """Carry rows over `data`; everything else on every device."""
  everywhere = NamedSharding(mesh, PartitionSpec())
  rows = NamedSharding(mesh, PartitionSpec("data"))
  shardings = jax.tree.map(lambda _: everywhere, state)
  return shardings._replace(carry=jax.tree.map(lambda _: rows, state.carry))


def place_state(mesh: Mesh, state: states.TrainState) -> states.TrainState:
  """The state on the devices of the mesh."""
  return jax.device_put(state, state_shardings(mesh, state))


def place_segments(mesh: Mesh, segments: Any) -> Any:
  """Segments [K, T, B] on the devices, their rows spread over `data`."""
  rows = NamedSharding(mesh, PartitionSpec(None, None, "data"))
  return jax.device_put(segments, rows)
