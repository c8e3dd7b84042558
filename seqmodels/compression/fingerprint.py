"""What must be equal for two machines to predict the same numbers.

Whoever decodes repeats every rounding of whoever coded. Another processor,
release or number of threads may round otherwise, and then all that follows is
lost, so a file says where it was made and is refused elsewhere.
"""

import hashlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Mapping

import jax

from seqmodels import errors

# Raised whenever the same settings come to predict other numbers.
MODEL = "3"
_REPEATABLE = "--xla_gpu_deterministic_ops=true"
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", "constriction")


def current() -> dict[str, str]:
  """The fingerprint of this process."""
  device = jax.devices()[0]
  return {
    "model": MODEL,
    "platform": device.platform,
    "device": device.device_kind,
    "processor": _processor(),
    "threads": str(len(os.sched_getaffinity(0))),
    "precision": str(jax.config.values["jax_default_matmul_precision"]),
    "x64": str(jax.config.values["jax_enable_x64"]),
    "xla_flags": " ".join(os.environ.get("XLA_FLAGS", "").split()),
    "random": jax.config.values["jax_default_prng_impl"],
    # Said only where it is so: files older than the line say nothing.
    **({"compiler": "unoptimized"} if _unoptimized() else {}),
    **{name: importlib.metadata.version(name) for name in _PACKAGES},
  }


def require_repeatable() -> None:
  """Refuses a device that adds in whatever order its threads come.

  Raises:
    UserError: a GPU without the flag that makes it repeat itself.
  """
  flags = os.environ.get("XLA_FLAGS", "")
  if jax.default_backend() == "gpu" and _REPEATABLE not in flags:
    raise errors.UserError(
      "a GPU predicts the same numbers twice only with "
      f"XLA_FLAGS={_REPEATABLE} in the environment; set it, or choose "
      "JAX_PLATFORMS=cpu"
    )


def require_same(theirs: Mapping[str, str]) -> None:
  """Refuses a file that was made elsewhere.

  Raises:
    UserError: names what differs, on both sides.
  """
  ours = current()
  names = [*ours, *(name for name in theirs if name not in ours)]
  different = [
    f"{name} {theirs.get(name, '')!r} (here {ours.get(name, '')!r})"
    for name in names
    if theirs.get(name) != ours.get(name)
  ]
  if different:
    raise errors.UserError(
      "this file can only be decoded where it was made, and it was made with "
      f"{', '.join(different)}; use such a machine, or try here with "
      "--config.force=True, which finds out by the checksums"
    )


def _unoptimized() -> bool:
  return bool(jax.config.values["jax_disable_most_optimizations"])


def _processor() -> str:
  """Kind and instruction set of the processor that XLA compiles for."""
  try:
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
  except OSError:
    return f"{platform.machine()} {platform.processor()}"
  lines = (line.partition(":") for line in text.splitlines())
  facts = {key.strip(): value.strip() for key, _, value in lines}
  flags = sorted(facts.get("flags", facts.get("Features", "")).split())
  digest = hashlib.sha256(" ".join(flags).encode()).hexdigest()[:8]
  return f"{facts.get('model name', platform.machine())} {digest}"
