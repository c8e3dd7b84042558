"""The first losses of a small run, to the last bit where they were recorded.

They change when the arithmetic does: another initializer, gate order, kernel or
optimiser. If that was meant, say in the commit why, and record them anew:

    python tests/training/golden_test.py

On another processor or another jaxlib the last bits differ, so there they are
compared to a relative 1e-4 (the losses of 20 steps, before rounding can grow).
"""

import importlib.metadata
import json
import pathlib
import platform

import jax
import numpy as np
import pytest

from seqmodels.data import streams
from seqmodels.models import language_model
from seqmodels.training import optimizers, state, step

GOLDEN = pathlib.Path(__file__).resolve().parents[1] / "golden"
RECORDED = GOLDEN / "char_lstm.json"


def processor():
  """What the bits depend on: instruction set, and the code that uses it."""
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text()
    flags = next(x for x in info.splitlines() if x.startswith("flags"))
    vectors = sorted(f for f in flags.split() if "avx" in f or "amx" in f)
  except (OSError, StopIteration):
    vectors = [platform.processor()]
  version = importlib.metadata.version("jaxlib")
  return f"{platform.machine()} {' '.join(vectors)}, jaxlib {version}"


def losses():
  tokens = np.tile(np.arange(11) ** 2 % 11, 200)
  network = language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=11, features=(16, 16), gradient_clip=1.0
    )
  )
  optimizer = optimizers.build("adam", learning_rate=0.01, clip_norm=1.0)
  start = state.create(network, optimizer, batch=4, seed=0)
  stream = streams.SequentialStream(tokens, batch=4, length=12)
  steps = step.make_train_steps(network, optimizer)
  _, metrics = steps(start, stream.segments(0, 20))
  return np.asarray(metrics.nats)


@pytest.mark.skipif(
  jax.default_backend() != "cpu", reason="recorded on a CPU only"
)
@pytest.mark.usefixtures("optimized")
def test_the_first_losses_are_the_recorded_ones():
  recorded = json.loads(RECORDED.read_text())
  expected = np.array(
    [float.fromhex(value) for value in recorded["nats"]], np.float32
  )
  found = losses()
  if recorded["processor"] == processor():
    np.testing.assert_array_equal(found, expected)
  np.testing.assert_allclose(found, expected, rtol=1e-4)


if __name__ == "__main__":
  GOLDEN.mkdir(exist_ok=True)
  text = {
    "processor": processor(),
    "nats": [float(value).hex() for value in losses()],
  }
  RECORDED.write_text(json.dumps(text, indent=1) + "\n")
