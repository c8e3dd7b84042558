"""The JAX runtime under a run: devices, processes, compilations, memory."""

import ctypes
import hashlib
import os
import pathlib
import platform
import re
import sys
import threading

import jax
from absl import logging

from seqmodels import errors

CPUINFO = pathlib.Path("/proc/cpuinfo")

# Of malloc.h: parameter and value.
_ARENA_MAX = (-8, 1)  # one heap: what one thread frees the next one finds
_MMAP_MAX = (-4, 0)  # blocks of any size come from the heap
_TRIM_THRESHOLD = (-1, 2**31 - 1)  # whose end is not given back


def keep_freed_memory() -> bool:
  """Lets this process reuse the memory it frees, which then no longer shrinks.

  A compiled program allocates its working memory each time it runs,
  hundreds of megabytes for a step of a wide network. By default glibc maps such
  a block from the kernel and unmaps it afterwards, so that every step faults
  all of its pages in again, one by one and in one thread.

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


# A cluster starts the processes of a job minutes apart.
JOIN_SECONDS = 300.0


def prepare(*, distributed: bool = False, portable: bool = False) -> None:
  """Sets JAX up, before its first computation.

  Args:
    portable: compile programs whose numbers are the same on all processors of
      a family, see `seqmodels.compression.container`.
    distributed: join the other processes; JAX_COORDINATOR_ADDRESS,
      JAX_NUM_PROCESSES and JAX_PROCESS_ID say where they are; the cluster
      (Slurm, Open MPI, Kubernetes, Cloud TPU) says what is not set. On CPUs
      they communicate through gloo, JAX's default.

  Raises:
    UserError: these variables are no numbers, no cluster is found, or JAX has
      no device of the platform that JAX_PLATFORMS names.
  """
  # Orbax logs every file it opens; a user wants the run's own lines.
  logging.set_verbosity(logging.WARNING)
  keep_compilations()
  keep_freed_memory()
  use_own_dtypes()
  if portable:
    limit_instructions()
  if distributed:
    join()
  require_device()


def use_own_dtypes() -> None:
  """Computes in the dtypes of the settings, whatever the environment asks for.

  Runs state their dtypes; 64-bit defaults and strict promotion would only
  change what their results mean, or end them.
  """
  for name, ours in (
    ("jax_enable_x64", False),
    ("jax_numpy_dtype_promotion", "standard"),
  ):
    if jax.config.values[name] != ours:
      print(
        f"note: {name.upper()}={jax.config.values[name]} is not used; a run's "
        "dtypes are those of its settings",
        file=sys.stderr,
        flush=True,
      )
      jax.config.update(name, ours)


def limit_instructions() -> None:
  """Has XLA compile for AVX, unless another limit is set; before JAX starts."""
  flags = os.environ.get("XLA_FLAGS", "")
  if platform.machine() == "x86_64" and "xla_cpu_max_isa" not in flags:
    os.environ["XLA_FLAGS"] = f"{flags} --xla_cpu_max_isa=AVX"


def require_device() -> None:
  """Starts JAX's devices.

  Raises:
    UserError: there is none of the platform that JAX_PLATFORMS names.
  """
  try:
    jax.devices()
  except (RuntimeError, AssertionError) as error:
    wanted = jax.config.values["jax_platforms"]
    if not wanted:
      raise
    reason = " ".join(str(error).split())[:200]
    raise errors.UserError(
      f"JAX_PLATFORMS is {wanted!r}, and JAX finds no such device here"
      f"{f' ({reason})' if reason else ''}; unset it, or set JAX_PLATFORMS=cpu"
    ) from None


def join(*, patience: float = JOIN_SECONDS) -> None:
  """Makes this process one of several that run the same command.

  Args:
    patience: seconds to wait for the others; then the process ends with a
      sentence and exit code 3.

  Raises:
    UserError: the addresses of the others are malformed or missing.
  """
  address = os.environ.get("JAX_COORDINATOR_ADDRESS")
  if address is not None and not re.fullmatch(r".+:\d+", address):
    raise errors.UserError(
      f"JAX_COORDINATOR_ADDRESS is {address!r}; it must be host:port, such as "
      "node1:12345"
    )
  count = _integer("JAX_NUM_PROCESSES", least=1)
  index = _integer("JAX_PROCESS_ID", least=0)
  if count is not None and index is not None and index >= count:
    raise errors.UserError(
      f"JAX_PROCESS_ID is {index}; with JAX_NUM_PROCESSES={count} it must be "
      f"below {count}"
    )
  # `seqmodels.io.distributed.preemption_notice` needs it to read SIGTERM later.
  jax.config.update("jax_enable_preemption_service", True)
  # JAX ends a process that waits too long by SIGABRT, without a word to users.
  waiting = threading.Timer(patience, _give_up, (address, patience))
  waiting.daemon = True
  waiting.start()
  try:
    jax.distributed.initialize(
      coordinator_address=address,
      num_processes=count,
      process_id=index,
      initialization_timeout=int(patience) + 60,
    )
  except Exception as error:
    # Whatever a cluster's own interface raises.
    reason = " ".join(str(error).split())
    if isinstance(error, KeyError):
      reason = f"{error.args[0]} is not set, as others of its launcher are"
    raise errors.UserError(
      "--distributed could not join the other processes; set "
      "JAX_COORDINATOR_ADDRESS=host:port, JAX_NUM_PROCESSES and "
      f"JAX_PROCESS_ID: {reason}"
    ) from None
  finally:
    waiting.cancel()


def _give_up(address: str | None, patience: float) -> None:
  print(
    f"error: the processes of this run did not all meet within {patience:g} "
    f"seconds at {address or 'the coordinator that the cluster names'}; see "
    "that each was started and reaches that address",
    file=sys.stderr,
    flush=True,
  )
  os._exit(errors.RunError.exit_code)


def keep_compilations() -> None:
  """Keeps compiled programs on disk, so that a rerun starts at once.

  A folder of its own for each kind of processor: the code is native. Where
  $JAX_COMPILATION_CACHE_DIR says otherwise, or there is no home folder or
  nothing can be written to it, this does nothing.
  """
  if jax.config.values["jax_compilation_cache_dir"]:
    return
  root = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
  if root.startswith("~"):  # this user has no home folder
    return
  folder = pathlib.Path(root) / "seqmodels" / "xla" / _processor()
  try:
    folder.mkdir(parents=True, exist_ok=True)
    if not os.access(folder, os.W_OK):
      return
  except OSError:
    return
  jax.config.update("jax_compilation_cache_dir", str(folder))
  if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
    # JAX's default of a second leaves out most of a small network's programs.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)
  # A cache that cannot be read or written costs a compilation, not the run.
  jax.config.update("jax_raise_persistent_cache_errors", False)


def _processor() -> str:
  """A short name for the instruction set that programs are compiled for."""
  text = " ".join(sorted(cpu_flags())) or platform.processor()
  return f"{platform.machine()}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def cpu_flags() -> set[str]:
  """The processor's features by Linux's names; none on other systems."""
  try:
    text = CPUINFO.read_text(encoding="utf-8")
  except OSError:
    return set()
  match = re.search(r"^(?:flags|Features)\s*:(.*)$", text, re.MULTILINE)
  return set(match[1].split()) if match else set()


def fast_dtype() -> str:
  """The quicker one of the dtypes for matrix products on this hardware.

  "bfloat16" where there are instructions that multiply it, else "float32":
  elsewhere each operand is widened first. On CPUs these are AVX512-BF16 and AMX
  (no Mac has either; Arm's have not been tried), on NVIDIA's GPUs those of
  Ampere (capability 8.0) and later.
  """
  device = jax.local_devices()[0]
  if device.platform == "cpu":
    multiplies = bool(cpu_flags() & {"avx512_bf16", "amx_bf16"})
  else:
    capability = str(getattr(device, "compute_capability", ""))
    multiplies = not re.match(r"[1-7]\.", capability)
  return "bfloat16" if multiplies else "float32"


def _integer(name: str, *, least: int) -> int | None:
  value = os.environ.get(name)
  if value is None:
    return None
  if not value.isdecimal() or int(value) < least:
    raise errors.UserError(
      f"{name} is {value!r}; it must be a whole number, at least {least}"
    )
  return int(value)
