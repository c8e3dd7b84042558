"""Freed memory is found again, and not asked of the kernel a second time."""

import pathlib
import platform
import subprocess
import sys

import pytest

from experiments import runtime

PROJECT = pathlib.Path(__file__).resolve().parents[2]
# 100 MB and 256 pages of 4 kB a MB; the first round is not counted.
FAULTS = """
import resource, sys
import numpy as np
from experiments import runtime
if sys.argv[1] == "kept":
  assert runtime.keep_freed_memory()
for _ in range(2):
  before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
  block = np.ones(100 * 2**20, np.uint8)
  faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
  del block
print(faults)
"""


@pytest.mark.skipif(
  platform.libc_ver()[0] != "glibc", reason="glibc's allocator only"
)
def test_a_second_block_faults_no_pages_in():
  def faults(how):
    done = subprocess.run(
      [sys.executable, "-c", FAULTS, how],
      cwd=PROJECT,
      capture_output=True,
      text=True,
      check=True,
    )
    return int(done.stdout)

  usual, kept = faults("usual"), faults("kept")
  assert kept < 100
  assert usual > kept


def test_another_c_library_is_left_alone(monkeypatch):
  monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
  assert runtime.keep_freed_memory() is False
