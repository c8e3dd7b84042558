"""The match expert."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from seqmodels.compression import experts


def test_a_match_predicts_what_came_before_in_any_stream(alone):
  expert = experts.match_expert(least=4, bits=10, size=1024)
  rng = np.random.default_rng(0)
  first = rng.integers(0, 256, 200)
  # The second stream says what the first one said fifty steps earlier.
  second = np.concatenate([rng.integers(0, 256, 50), first[:-50]])
  data = np.stack([first, second], axis=1)
  actual = alone(expert, data)
  assert actual[:50].mean() == pytest.approx(8.0, abs=0.05)
  assert actual[-20:].mean() < 4.6  # One of two streams costs next to nothing.


# Compiled as for users: the tests' own code differs by a float32 step.
UNWRITTEN = """if True:
  import runpy
  import sys

  import numpy as np

  from seqmodels.compression import experts

  alone = runpy.run_path(sys.argv[1])["_alone"]
  expert = experts.match_expert(least=2, bits=8, size=256)
  # Equal streams: each candidate is where the other one is at this moment.
  streams = np.stack([np.frombuffer(b"abcd", np.uint8)] * 3, axis=1)
  np.testing.assert_allclose(alone(expert, streams), 8.0, rtol=1e-7)
"""


def test_a_match_never_reads_what_is_not_written_yet():
  fixtures = pathlib.Path(__file__).with_name("conftest.py")
  subprocess.run(
    [sys.executable, "-c", UNWRITTEN, str(fixtures)],
    env={
      **os.environ,
      "XLA_FLAGS": "",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    },
    check=True,
  )
