"""The first losses of every kind of network, to the last bit where recorded.

They change when the arithmetic does: another initializer, gate order, kernel or
optimiser. If that was meant, say in the commit why, and record them again:

    python tests/training/golden_test.py

On another processor, with another jaxlib or other flags of XLA the last bits
differ, so there they are compared to a relative 1e-4 (the losses of 20 steps,
before rounding can grow).
"""

import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys

import jax
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.data.handwriting import batching
from seqmodels.data.handwriting import datasets as ink
from seqmodels.data.text import batching as batching_lib
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import optimizers, step

PROJECT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = PROJECT / "tests" / "golden"
RECORDED = GOLDEN / "losses.json"
STEPS = 20
CELLS = ("elman", "lstm", "gru", "layer_norm_lstm", "mogrifier_lstm")
PENS = ("prediction", "synthesis")


def processor():
  """The instruction set, and the release of the code that uses it."""
  try:
    info = pathlib.Path("/proc/cpuinfo").read_text()
    flags = next(x for x in info.splitlines() if x.startswith("flags"))
    vectors = sorted(f for f in flags.split() if "avx" in f or "amx" in f)
  except (OSError, StopIteration):
    vectors = [platform.processor()]
  version = importlib.metadata.version("jaxlib")
  return f"{platform.machine()} {' '.join(vectors)}, jaxlib {version}"


def text(cell):
  """A network of a cell, and the symbols that it learns to predict."""
  tokens = np.tile(np.arange(11) ** 2 % 11, 200)
  network = networks.LanguageModel(
    11,
    recurrent.StackOptions(
      features=(16, 16) if cell == "lstm" else (16,),
      gradient_clip=1.0,
      cell=cells.get(cell),
    ),
    embedding=8 if cell == "mogrifier_lstm" else 0,
  ).as_model()
  stream = batching_lib.SequentialStream(tokens, batch=4, length=12)
  return network, stream


def pen(kind):
  """A network for a made-up pen, and stretches of its lines."""
  data = ink.load("synthetic", limit=8)
  letters = data.alphabet if kind == "synthesis" else None
  network = networks.Handwriting(
    recurrent.StackOptions(features=(8,), gradient_clip=10.0),
    symbols=letters.size if letters else 0,
    components=3,
    window=2,
  ).as_model()
  stream = batching.PenChunks(
    data.splits["train"], batch=4, length=12, alphabet=letters
  )
  return network, stream


def recorded(kind):
  values = json.loads(RECORDED.read_text())["nats"][kind]
  return np.array([float.fromhex(value) for value in values], np.float32)


def losses(kind):
  """Nats of each of the first steps."""
  network, stream = pen(kind) if kind in PENS else text(kind)
  optimizer = optimizers.build("adam", learning_rate=0.01, clip_norm=1.0)
  start = step.create(network, optimizer, batch=4, seed=0)
  steps = step.make_train_steps(network, optimizer)
  _, report = steps(start, stream.segments(0, STEPS))
  return np.asarray(report.metrics.nats)


@pytest.mark.skipif(
  jax.default_backend() != "cpu", reason="recorded on a CPU only"
)
@pytest.mark.parametrize("kind", [*CELLS, *PENS])
def test_the_first_losses_are_the_recorded_ones(kind):
  actual = losses(kind)
  assert len(actual) == STEPS
  np.testing.assert_allclose(actual, recorded(kind), rtol=1e-4)


@pytest.mark.slow
def test_where_they_were_recorded_they_are_so_to_the_last_bit():
  """In another process, as users run it: XLA reads its flags once."""
  there = json.loads(RECORDED.read_text())["processor"]
  if there != processor():
    pytest.skip(f"recorded elsewhere: {there}")
  done = subprocess.run(
    [sys.executable, __file__, "--print"],
    env={
      **os.environ,
      "JAX_PLATFORMS": "cpu",
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
      "PYTHONPATH": str(PROJECT),
      "XLA_FLAGS": "",
    },
    stdout=subprocess.PIPE,
    check=True,
  )
  assert json.loads(done.stdout) == json.loads(RECORDED.read_text())


if __name__ == "__main__":
  curves = {
    kind: [float(value).hex() for value in losses(kind)]
    for kind in (*CELLS, *PENS)
  }
  document = {"processor": processor(), "nats": curves}
  if sys.argv[1:] == ["--print"]:
    print(json.dumps(document))
  else:
    GOLDEN.mkdir(exist_ok=True)
    RECORDED.write_text(json.dumps(document, indent=1) + "\n")
