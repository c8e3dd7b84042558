"""One program run by several processes: who writes, what all agree on."""

import jax
import numpy as np
from jax.experimental import multihost_utils


def is_first() -> bool:
  """Whether this process is the one that writes files.

  >>> is_first()
  True
  """
  return jax.process_index() == 0


def agreed(number: int) -> int:
  """What the first process calls with; all have to call, and wait for it.

  >>> agreed(3)
  3
  """
  if jax.process_count() == 1:
    return number
  with jax.transfer_guard("allow"):
    return int(multihost_utils.broadcast_one_to_all(np.int32(number)))
