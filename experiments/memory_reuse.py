"""Memory that glibc keeps for the next step instead of handing it back.

A compiled program asks for its working memory anew each time it runs, hundreds
of megabytes for a step of a wide network. By default glibc maps such a block
from the kernel and unmaps it afterwards, so that every step faults all of its
pages in again, one by one and in one thread.
"""

import ctypes
import platform

# Of malloc.h: parameter and value.
_ARENA_MAX = (-8, 1)  # one heap: what one thread frees the next one finds
_MMAP_MAX = (-4, 0)  # blocks of any size come from the heap
_TRIM_THRESHOLD = (-1, 2**31 - 1)  # whose end is not given back


def keep_freed_memory() -> bool:
  """Lets this process reuse what it frees; its memory no longer shrinks.

  To be called before JAX starts its threads. Where the C library is not glibc
  nothing is changed.

  Returns:
    Whether all was set.

  >>> keep_freed_memory() in (True, False)
  True
  """
  if platform.libc_ver()[0] != "glibc":
    return False
  mallopt = ctypes.CDLL(None).mallopt
  return all(
    mallopt(*setting) for setting in (_ARENA_MAX, _MMAP_MAX, _TRIM_THRESHOLD)
  )
