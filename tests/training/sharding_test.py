import json

import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.training import sharding

# Rounding: sums over the rows of a batch are taken in another order.
BOUND = 1e-5

# Trains 11 steps on meshes of several sizes, saves on two of them and goes on
# from each of the two on all of them. Prints what came out as one JSON object.
EIGHT_DEVICES = """
import json, sys
import jax, numpy as np
from seqmodels.data.text import batching
from seqmodels.io import checkpoints
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import optimizers, regularizers, sharding, step

options = recurrent.StackOptions(features=(6,))
network = networks.LanguageModel(7, options).as_model()
optimizer = optimizers.build(
  "adam", learning_rate=0.01, clip_norm=1.0, steps=22, average=0.75
)
tokens = np.random.default_rng(0).integers(7, size=900)
stream = batching.SequentialStream(tokens, batch=16, length=5)

def create(shardings=None):
  return step.create(
    network, optimizer, batch=16, seed=0, shardings=shardings
  )

def numbers(tree):
  return [np.asarray(leaf).tolist() for leaf in jax.tree.leaves(tree)]

shapes = jax.eval_shape(create)
fresh, resumed, averages, params, sizes = {}, {}, {}, {}, {}
saved = {}
for devices, shards in ((8, 2), (8, 1), (4, 1), (2, 1), (1, 1)):
  name = f"{devices // shards}x{shards}"
  mesh = sharding.device_mesh(
    16, model_shards=shards, devices=jax.devices()[:devices]
  )
  shardings = sharding.state_shardings(mesh, shapes)
  train = step.make_train_steps(
    network,
    optimizer,
    regularizer=sharding.gathering(regularizers.Regularizer(), mesh),
    shardings=(shardings, sharding.replicated(mesh)),
  )
  def go_on(start):
    first = int(start.step)
    placed = sharding.place_segments(mesh, stream.segments(first, 11))
    after, report = train(start, placed)
    return after, np.asarray(report.metrics.nats).tolist()
  after, fresh[name] = go_on(create(shardings))
  sizes[name] = {
    "rows": sorted({
      s.data.shape[0] for s in after.carry[0].h.addressable_shards
    }),
    "kernel": sorted({
      s.data.shape
      for tree in (
        after.params, after.evaluated, after.opt_state.inner[1][0].mu
      )
      for s in tree["stack"]["layer_0"]["kernel"].addressable_shards
    }),
  }
  if devices == 8:
    saved[name] = checkpoints.Checkpoints(f"{sys.argv[1]}/{name}")
    saved[name].save(11, after, {})
    params[name] = numbers(after.params)
  target = jax.tree.map(
    lambda leaf, where: leaf.update(sharding=where), shapes, shardings
  )
  for source, area in saved.items():
    start = area.restore_latest(target).tree
    assert numbers(start.params) == params[source], (source, name)
    assert all(
      leaf.sharding == where for leaf, where in
      zip(jax.tree.leaves(start), jax.tree.leaves(shardings))
    )
    way = f"{source} to {name}"
    end, resumed[way] = go_on(start)
    averages[way] = np.concatenate(
      [np.ravel(leaf) for leaf in jax.tree.leaves(end.evaluated)]
    ).tolist()
print(json.dumps([fresh, resumed, averages, sizes]))
"""


@pytest.fixture(scope="module")
def eight(simulated_devices, tmp_path_factory):
  """Losses from scratch and resumed, and what each device holds, by mesh."""
  folder = tmp_path_factory.mktemp("eight")
  text = simulated_devices(8, EIGHT_DEVICES, str(folder), timeout=1700)
  return json.loads(text.splitlines()[-1])


def test_losses_are_those_of_one_device_on_any_mesh(eight):
  fresh, _, _, _ = eight
  one = fresh["1x1"]
  assert len(one) == 11
  assert one[-1] < one[0]
  assert fresh.keys() == {"1x1", "2x1", "4x1", "8x1", "4x2"}
  for mesh, losses in fresh.items():
    np.testing.assert_allclose(losses, one, rtol=BOUND, err_msg=mesh)


def test_saved_on_eight_devices_a_run_goes_on_anywhere(eight):
  _, resumed, averages, _ = eight
  one = resumed["8x1 to 1x1"]
  assert len(resumed) == 2 * 5 - 1
  for way, losses in resumed.items():
    np.testing.assert_allclose(losses, one, rtol=BOUND, err_msg=way)
    np.testing.assert_allclose(
      averages[way], averages["8x1 to 1x1"], atol=BOUND, err_msg=way
    )


def test_each_device_holds_its_share_only(eight):
  *_, sizes = eight
  assert sizes["1x1"] == {"rows": [16], "kernel": [[7, 24]]}
  assert sizes["8x1"] == {"rows": [2], "kernel": [[7, 24]]}
  assert sizes["4x2"] == {"rows": [2], "kernel": [[7, 12]]}


def test_rows_that_do_not_spread_evenly_are_refused():
  devices = jax.devices()[:1] * 3
  with pytest.raises(errors.UserError, match="a multiple of 3"):
    sharding.device_mesh(4, devices=devices)


def test_shares_that_devices_do_not_divide_into_are_refused():
  devices = jax.devices()[:1] * 4
  with pytest.raises(errors.UserError, match="does not divide the 4 devices"):
    sharding.device_mesh(4, model_shards=3, devices=devices)


def test_what_does_not_divide_lies_whole_on_every_device():
  mesh = jax.sharding.AbstractMesh((2, 2), sharding.AXES)
  actual = sharding.param_shardings(
    mesh, {"odd": np.zeros((4, 3)), "even": np.zeros(4)}
  )
  assert {leaf.spec for leaf in actual.values()} == {
    jax.sharding.PartitionSpec()
  }
