"""Programs whose numbers do not depend on the processor."""

import re

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from seqmodels.compression import codec, settings
from seqmodels.compression import model as model_lib

# What libraries compute, in an order of their own, or the C library.
LIBRARIES = re.compile(r" (?:dot|custom-call|convolution|power)\(|__\w+_fusion")


def libraries(*, portable, **changes):
  """Calls of libraries in a compiled step."""
  chosen = settings.Settings(
    streams=2, layers=(64,), segment=4, contexts=(), **changes
  )
  model = model_lib.build(chosen, 4096, portable=portable)
  state, _ = model.begin(model.init(), jnp.zeros(2, jnp.int32))
  step = model.step.lower(state, jnp.zeros(2, jnp.int32))
  return LIBRARIES.findall(step.compile().as_text())


@pytest.mark.slow
@pytest.mark.usefixtures("optimized")
def test_no_library_computes_what_is_portable():
  assert libraries(portable=False)
  replay = {"replay_every": 2, "replay_length": 16, "replay_windows": 2}
  assert libraries(portable=True, **replay) == []


@pytest.mark.slow
def test_files_that_are_not_portable_come_back_too(small):
  chosen = small(block=512)
  data = np.frombuffer(b"the cat sat on the mat; " * 21, np.uint8)
  model = model_lib.build(chosen, len(data), portable=False)
  (block,) = settings.blocks(chosen, len(data))
  code, _ = codec.encode(model, model.init(), block, data)
  actual, _ = codec.decode(model, model.init(), block, code)
  np.testing.assert_array_equal(actual, data)


def test_learning_is_adams_without_momentum():
  random = np.random.default_rng(0)
  chosen = settings.Settings(learning_rate=0.1, final_learning_rate=0.1)
  ours = model_lib.optimizer(chosen, 4096)
  adams = optax.chain(
    optax.clip_by_global_norm(1.0), optax.adam(0.1, b1=0.0, eps=1e-6)
  )
  params = {"a": jnp.zeros((2, 3)), "b": jnp.zeros(4)}
  states = [ours.init(params), adams.init(params)]
  for _ in range(5):
    gradient = {
      name: jnp.asarray(random.normal(size=leaf.shape), jnp.float32)
      for name, leaf in params.items()
    }
    have, states[0] = ours.update(gradient, states[0], params)
    want, states[1] = adams.update(gradient, states[1], params)
    for name in params:
      np.testing.assert_allclose(have[name], want[name], rtol=1e-4)
