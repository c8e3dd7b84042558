"""What a run stood on: code, versions, machine. No host or user is named."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
import subprocess
from typing import Any

import jax

PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy")
_LONGEST_DIFF = 200_000


def facts(source: pathlib.Path | None = None) -> dict[str, Any]:
  """What a run stood on: code, versions, machine.

  Names no host and no user.
  """
  devices: dict[str, int] = {}
  for device in jax.devices():
    devices[device.device_kind] = devices.get(device.device_kind, 0) + 1
  return {
    **_code(source),
    "versions": {"python": platform.python_version(), **_versions()},
    "backend": jax.default_backend(),
    "devices": devices,
    "processes": jax.process_count(),
    "platform": platform.platform(),
    "cpu": _cpu(),
    "cpu_count": os.cpu_count(),
  }


def _versions() -> dict[str, str | None]:
  found: dict[str, str | None] = {}
  for name in PACKAGES:
    try:
      found[name] = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
      found[name] = None
  return found


def _cpu() -> str:
  with contextlib.suppress(OSError):
    text = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8")
    for line in text.splitlines():
      if line.startswith("model name"):
        return line.partition(":")[2].strip()
  return platform.processor() or platform.machine()


def _code(source: pathlib.Path | None) -> dict[str, Any]:
  """Commit, uncommitted changes and new files of a checkout, if it is one."""
  none = {"commit": None, "diff": None, "untracked": None}
  if source is None or not _git(source, "ls-files"):
    return none
  diff = _git(source, "diff", "HEAD") or ""
  if len(diff) > _LONGEST_DIFF:
    cut = len(diff) - _LONGEST_DIFF
    diff = f"{diff[:_LONGEST_DIFF]}\n[{cut} more characters]\n"
  new = _git(source, "ls-files", "--others", "--exclude-standard") or ""
  return {
    "commit": (_git(source, "rev-parse", "HEAD") or "").strip() or None,
    "diff": diff,
    "untracked": new.splitlines()[:1000],
  }


def _git(source: pathlib.Path, *arguments: str) -> str | None:
  try:
    done = subprocess.run(
      ["git", "-C", str(source), *arguments],
      capture_output=True,
      timeout=20,
      check=False,
      # Recording a run takes no lock and asks for no password.
      env={**os.environ, "GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
    )
  except (OSError, subprocess.TimeoutExpired):
    return None
  return done.stdout.decode(errors="replace") if not done.returncode else None
