"""How far one call raises the memory of this process, at its peak.

Linux only: the kernel keeps the highest resident size and can be told to begin
anew. It counts all libraries alike, whatever allocator they have.
"""

import contextlib
import ctypes
import gc
import pathlib
from collections.abc import Callable
from typing import Any

_STATUS = pathlib.Path("/proc/self/status")
_RESET = pathlib.Path("/proc/self/clear_refs")


def growth(run: Callable[[], Any]) -> int | None:
  """Bytes by which the resident size peaks above its start while `run` runs.

  Its results are counted, for they are alive at the end. Memory that the
  process had before and gave back to no one may be used again unseen, so the
  heap is trimmed first; figures are good to some megabytes.

  Returns:
    Bytes, or None where the kernel does not tell.
  """
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)
  try:
    _RESET.write_text("5")  # resets VmHWM, the peak
    before = _kilobytes("VmRSS")
  except (OSError, KeyError):
    return None
  result = run()
  peak = _kilobytes("VmHWM")
  del result
  return max(0, peak - before) * 1024


def _kilobytes(name: str) -> int:
  for line in _STATUS.read_text(encoding="utf-8").splitlines():
    key, _, value = line.partition(":")
    if key == name:
      return int(value.split()[0])
  raise KeyError(name)
