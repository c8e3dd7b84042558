import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.training import sharding

EIGHT_DEVICES = """
import jax, numpy as np
from seqmodels.data import streams
from seqmodels.models import language_model
from seqmodels.training import optimizers, sharding, state, step

network = language_model.as_predictor(
  language_model.LanguageModel(vocabulary_size=7, features=(6,))
)
optimizer = optimizers.build("adam", learning_rate=0.01, clip_norm=1.0)
tokens = np.random.default_rng(0).integers(7, size=900)
stream = streams.SequentialStream(tokens, batch=16, length=5)
for devices in (1, 2, 8):
  mesh = sharding.data_mesh(16, jax.devices()[:devices])
  start = state.create(network, optimizer, batch=16, seed=0)
  start = sharding.place_state(mesh, start)
  segments = sharding.place_segments(mesh, stream.segments(0, 11))
  steps = step.make_train_steps(network, optimizer)
  after, metrics = steps(start, segments)
  rows = {s.data.shape[0] for s in after.carry[0].h.addressable_shards}
  assert rows == {16 // devices}, rows
  print(",".join(f"{x:.9e}" for x in np.asarray(metrics.nats)))
"""


def test_losses_on_eight_devices_are_those_of_one(simulated_devices):
  lines = simulated_devices(8, EIGHT_DEVICES).strip().splitlines()
  one, two, eight = (
    np.array([float(x) for x in line.split(",")]) for line in lines
  )
  assert one.shape == (11,)
  assert one[-1] < one[0]
  np.testing.assert_allclose(two, one, rtol=1e-5)
  np.testing.assert_allclose(eight, one, rtol=1e-5)


def test_rows_that_do_not_spread_evenly_are_refused():
  devices = jax.devices()[:1] * 3
  with pytest.raises(errors.UserError, match="a multiple of 3"):
    sharding.data_mesh(4, devices)
