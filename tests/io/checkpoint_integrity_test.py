import dataclasses
import json
import os
import pathlib
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.io import checkpoint_integrity, checkpoints, files

PROJECT = pathlib.Path(__file__).resolve().parents[2]


def test_description_names_shape_dtype_and_implementation():
  keys = jax.random.split(jax.random.key(0, impl="rbg"), 3)
  copies = checkpoint_integrity.copies({"keys": keys, "w": jnp.ones((2, 1))})
  arrays, described = checkpoint_integrity.to_host(copies)
  assert described["keys"].shape == (3,)
  assert described["keys"].dtype == "key<rbg>"
  assert described["keys"].prng == "rbg"
  assert checkpoint_integrity.storage(described["keys"]) == (
    arrays["keys"].shape,
    arrays["keys"].dtype,
  )
  assert (described["w"].shape, described["w"].dtype) == ((2, 1), "float32")


def test_fingerprint_sees_the_sign_of_zero():
  plus, minus = np.zeros(3, np.float32), np.zeros(3, np.float32)
  minus[1] = -0.0
  assert (plus == minus).all()
  assert checkpoint_integrity.sha256(plus) != checkpoint_integrity.sha256(minus)


def test_copies_share_no_memory():
  leaves = {"jax": jnp.ones(1000), "numpy": np.ones(1000)}
  copies = checkpoint_integrity.copies(leaves)
  assert not np.shares_memory(copies["numpy"], leaves["numpy"])
  pointers = [t["jax"].unsafe_buffer_pointer() for t in (copies, leaves)]
  assert pointers[0] != pointers[1]


def test_leaves_of_one_name_are_refused():
  tree = {"a/b": np.zeros(1), "a": {"b": np.ones(1)}}
  with pytest.raises(ValueError, match="2 leaves have only 1"):
    checkpoint_integrity.copies(tree)


SHARDED = """
import sys
import jax, jax.numpy as jnp, numpy as np
from seqmodels.io import checkpoints

if len(sys.argv) > 2:
  jax.distributed.initialize(
    "127.0.0.1:" + sys.argv[2], num_processes=2, process_id=int(sys.argv[3]))
  assert jax.process_count() == 2

def abstract(devices):
  mesh = jax.sharding.Mesh(devices, ("batch",))
  def leaf(spec, shape, dtype):
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)
  P = jax.sharding.PartitionSpec
  return {
    "carry": leaf(P("batch"), (16, 3), jnp.float32),
    "weak": leaf(P("batch"), (8,), jnp.float32),
    "params": leaf(P(), (5,), jnp.float32),
    "keys": leaf(P("batch"), (16,), jax.random.key(0).dtype),
    "key": leaf(P(), (), jax.random.key(0).dtype),
  }

def values():
  return {
    "carry": jnp.arange(48.0).reshape(16, 3), "weak": jnp.full(8, 0.5),
    "params": jnp.arange(5.0), "keys": jax.random.split(jax.random.key(7), 16),
    "key": jax.random.key(5)}

def data(leaf):
  is_key = jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)
  return np.asarray(jax.random.key_data(leaf) if is_key else leaf)

devices = jax.devices()
shardings = jax.tree.map(lambda x: x.sharding, abstract(devices))
tree = jax.jit(values, out_shardings=shardings)()
expected = {name: data(leaf) for name, leaf in values().items()}
with checkpoints.Checkpoints(sys.argv[1]) as saved:
  saved.save(1, tree, {})
  for count in (8, 2, 1) if len(sys.argv) == 2 else (4,):
    target = abstract(devices[:count])
    restored = saved.restore_latest(target).tree
    for name, leaf in restored.items():
      assert leaf.sharding.is_equivalent_to(target[name].sharding, leaf.ndim)
      for shard in leaf.addressable_shards:
        assert (data(shard.data) == expected[name][shard.index]).all(), name
    assert restored["weak"].weak_type
    print(len(restored["carry"].sharding.device_set))
"""


def check_on_one_device(folder):
  expected = {
    "carry": jnp.arange(48.0).reshape(16, 3),
    "weak": jnp.full(8, 0.5),
    "params": jnp.arange(5.0),
    "keys": jax.random.split(jax.random.key(7), 16),
    "key": jax.random.key(5),
  }
  with checkpoints.Checkpoints(folder) as saved:
    restored = saved.restore_latest(jax.eval_shape(lambda: expected)).tree
  for name, leaf in restored.items():
    assert (leaf == expected[name]).all()
    assert leaf.dtype == expected[name].dtype


def test_saved_on_eight_devices_loads_on_fewer(tmp_path, simulated_devices):
  assert (
    simulated_devices(8, SHARDED, str(tmp_path), timeout=1700) == "8\n2\n1\n"
  )
  check_on_one_device(tmp_path)


def test_two_processes_save_one_checkpoint_and_agree_on_it(tmp_path):
  with socket.socket() as probe:
    probe.bind(("127.0.0.1", 0))
    port = str(probe.getsockname()[1])
  environment = {
    **os.environ,
    "PYTHONPATH": str(PROJECT),
    "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
  }
  running = [
    subprocess.Popen(
      [sys.executable, "-c", SHARDED, str(tmp_path), port, str(rank)],
      env=environment,
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )
    for rank in range(2)
  ]
  try:
    said = [process.communicate(timeout=1700) for process in running]
  finally:
    for process in running:
      process.kill()
  assert [out.splitlines()[-1:] for out, _ in said] == [["4"], ["4"]], said
  check_on_one_device(tmp_path)


@pytest.fixture
def record():
  return checkpoint_integrity.Record(
    step=3,
    meta={"best": float("inf"), "rate": 0.1, "name": "\u00e9"},
    leaves={
      "w": checkpoint_integrity.Description((2, 0), "bfloat16", "ab"),
      "key": checkpoint_integrity.Description(
        (), "key<fry>", "cd", "threefry2x32"
      ),
    },
    files={"state/d": (12, "ef")},
    prng={"default": "threefry2x32", "partitionable": True},
  )


def test_record_comes_back_equal(record):
  again = checkpoint_integrity.Record.from_json(record.to_json())
  assert again == record
  assert again.fingerprint == record.fingerprint


def test_no_flipped_bit_changes_a_record(record):
  text = record.to_json().encode()
  for bit in range(len(text) * 8):
    flipped = bytearray(text)
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
      actual = checkpoint_integrity.Record.from_json(flipped.decode())
    except (checkpoint_integrity.CorruptError, UnicodeDecodeError):
      continue
    assert actual == record  # one kind of white space for another


def test_no_shortened_record_is_read(record):
  text = record.to_json()
  for length in range(len(text.rstrip())):
    with pytest.raises(checkpoint_integrity.CorruptError):
      checkpoint_integrity.Record.from_json(text[:length])


@pytest.mark.parametrize(
  "text", ["", "[]", "3", "null", "{}", '{"sha256": 1}', "[" * 100_000]
)
def test_text_that_is_no_record_is_corrupt(text):
  with pytest.raises(checkpoint_integrity.CorruptError):
    checkpoint_integrity.Record.from_json(text)


@pytest.mark.parametrize(
  "change",
  [
    {"step": 4},
    {"meta": {"best": 1.0}},
    {"leaves": {}},
    {"prng": {"default": "rbg"}},
  ],
)
def test_fingerprint_changes_with_the_content(record, change):
  assert dataclasses.replace(record, **change).fingerprint != record.fingerprint


def test_fingerprint_ignores_how_files_are_called(record):
  other = dataclasses.replace(record, files={"state/e": (12, "ef")})
  assert other.fingerprint == record.fingerprint


def test_later_format_is_a_user_error(record, monkeypatch):
  monkeypatch.setattr(checkpoint_integrity, "FORMAT", 2)
  text = record.to_json()
  monkeypatch.undo()
  assert json.loads(text)["format"] == 2
  with pytest.raises(errors.UserError, match=r"format 2.*reads up to 1"):
    checkpoint_integrity.Record.from_json(text)


@pytest.mark.parametrize(
  "change",
  [
    {"step": "3"},
    {"step": -1},
    {"step": True},
    {"meta": []},
    {"prng": None},
    {"files": {"a": ["12", "ef"]}},
    {"files": {"a": [12, 0]}},
    *(
      {"leaves": {"w": {"shape": [2], "dtype": "int8", "sha256": "", **leaf}}}
      for leaf in (
        {"shape": [-2]}, {"shape": ["2"]}, {"shape": "2"}, {"dtype": 0},
        {"sha256": None}, {"prng": 5}, {"weak": "no"},
      )
    ),
  ],
)  # fmt: skip
def test_a_right_checksum_does_not_make_right_members(record, change):
  document = {**json.loads(record.to_json()), **change}
  del document["sha256"]
  document["sha256"] = files.json_sha256(document)
  with pytest.raises(checkpoint_integrity.CorruptError, match="unreadable"):
    checkpoint_integrity.Record.from_json(json.dumps(document))
