import functools
import resource
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import optax
import pytest
from orbax.checkpoint import v1 as ocp

from seqmodels import errors
from seqmodels.io import checkpoints


class State(NamedTuple):
  step: Any
  params: Any
  opt_state: Any
  carry: Any
  key: Any


OPTIMIZER = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(0.1))


def create(seed=0, *, features=3):
  key = jax.random.key(seed)
  kernel = jax.random.normal(key, (2, features))
  params = {"lstm": {"kernel": kernel, "bias": jnp.zeros(features)}}
  carry = ({"h": jnp.full((2,), 0.5), "c": jnp.ones((2,), jnp.bfloat16)},)
  return State(jnp.int32(0), params, OPTIMIZER.init(params), carry, key)


@functools.partial(jax.jit, donate_argnums=0)
def train_step(state):
  noise = jax.random.normal(jax.random.fold_in(state.key, state.step), (2,))

  def loss(params):
    outputs = (noise + state.carry[0]["h"]) @ params["lstm"]["kernel"]
    return jnp.sum((outputs + params["lstm"]["bias"] - 1.0) ** 2)

  value, grads = jax.value_and_grad(loss)(state.params)
  updates, opt_state = OPTIMIZER.update(grads, state.opt_state)
  params = optax.apply_updates(state.params, updates)
  carry = jax.tree.map(lambda x: x * jnp.array(0.9, x.dtype), state.carry)
  return State(state.step + 1, params, opt_state, carry, state.key), value


def bits(tree):
  """Every leaf as its bytes, read with no help of the code under test."""

  def read(leaf):
    if isinstance(leaf, jax.Array) and jnp.issubdtype(
      leaf.dtype, jax.dtypes.prng_key
    ):
      return str(leaf.dtype), np.asarray(jax.random.key_data(leaf)).tobytes()
    array = np.asarray(leaf)
    return str(array.dtype), array.shape, array.tobytes()

  return jax.tree.structure(tree), [
    read(leaf) for leaf in jax.tree.leaves(tree)
  ]


def restore(folder, target=None):
  with checkpoints.Checkpoints(folder) as saved:
    return saved.restore_latest(create() if target is None else target)


def names(folder):
  return sorted(entry.name for entry in folder.iterdir())


def corrupt(folder):
  data = max(
    (path for path in folder.rglob("*") if path.is_file()),
    key=lambda path: path.stat().st_size,
  )
  content = bytearray(data.read_bytes())
  content[len(content) // 2] ^= 1
  data.write_bytes(content)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
  """A run with states 1 and 2, saved once; tests damage copies of it."""
  folder = tmp_path_factory.mktemp("pristine")
  with checkpoints.Checkpoints(folder) as saved:
    saved.save(1, create(1), {"best": 1.5})
    saved.save(2, create(2), {"best": 1.25})
  return folder


@pytest.fixture
def damaged(pristine, tmp_path):
  return shutil.copytree(pristine, tmp_path / "checkpoints")


# Round trips.


def test_state_comes_back_bit_for_bit(tmp_path):
  state, _ = train_step(create())
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(7, state, {"best": float("inf"), "vocabulary": "ab12"})
    step, restored, meta = saved.restore_latest(jax.eval_shape(create))
  assert bits(restored) == bits(state)
  assert (step, meta) == (7, {"best": float("inf"), "vocabulary": "ab12"})
  after, loss = train_step(restored)
  expected_after, expected_loss = train_step(state)
  assert bits((after, loss)) == bits((expected_after, expected_loss))


@pytest.mark.parametrize("name", ["run [1]", r"back\slash", "gs:", "50% #?*"])
def test_a_run_folder_may_have_any_name(tmp_path, name):
  state = create()
  folder = tmp_path / name / "checkpoints"
  with checkpoints.Checkpoints(folder) as saved:
    saved.save(7, state, {})
  assert names(folder / "latest") == ["7"]
  assert bits(restore(folder).tree) == bits(state)


def test_every_kind_of_leaf_comes_back_as_it_was(tmp_path):
  rng = np.random.default_rng(0)
  tree = {
    "nan": np.frombuffer(rng.bytes(400), np.float32),  # any payloads
    "bfloat16": np.frombuffer(rng.bytes(40), ml_dtypes.bfloat16),
    "float64": rng.normal(size=(2, 3)),
    "transposed": np.asfortranarray(rng.normal(size=(3, 4))),
    "bool": jnp.array([True, False]),
    "uint8": jnp.arange(5, dtype=jnp.uint8),
    "empty": jnp.zeros((0, 3), jnp.bfloat16),
    "numbers": (3, 2.5, True, np.int16(-4)),
    "keys": jax.random.split(jax.random.key(3), (2, 2)),
    "rbg": jax.random.key(5, impl="rbg"),
    "none": None,
  }
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(0, tree, {})
    restored = saved.restore_latest(tree).tree
  assert bits(restored) == bits(tree)
  kinds = [[type(x) for x in jax.tree.leaves(t)] for t in (tree, restored)]
  assert kinds[0] == kinds[1]


def test_weakly_typed_leaf_promotes_as_before(tmp_path):
  tree = {"rate": jnp.asarray(0.1), "rows": jnp.full((2, 3), -0.0), "n": 1}
  tree["rows"] = tree["rows"].at[0, 0].set(jnp.nan)
  tree["count"] = jnp.asarray(7)
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, tree, {})
    restored = saved.restore_latest(tree).tree
  assert bits(restored) == bits(tree)
  for name in ("rate", "rows"):
    product = restored[name] * jnp.ones((), jnp.bfloat16)
    assert product.dtype == jnp.bfloat16
  assert (restored["count"] * jnp.ones((), jnp.int8)).dtype == jnp.int8


def test_orbax_alone_opens_the_folder(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(3, create(), {})
  tree = ocp.load(tmp_path / "latest" / "3")
  np.testing.assert_array_equal(
    tree["params"]["lstm"]["kernel"], create().params["lstm"]["kernel"]
  )


def test_nothing_is_pickled(pristine):
  for path in (pristine / "latest" / "2").rglob("*"):
    assert not path.is_file() or b"\x80\x04\x95" not in path.read_bytes()


def test_relative_directory_is_fixed_at_once(tmp_path, monkeypatch):
  monkeypatch.chdir(tmp_path)
  with checkpoints.Checkpoints("run/checkpoints") as saved:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    saved.save(1, create(), {})
  assert names(tmp_path / "run" / "checkpoints" / "latest") == ["1"]


def test_transfer_guard_finds_no_hidden_transfer(tmp_path):
  state = create()
  with jax.transfer_guard("disallow"), checkpoints.Checkpoints(tmp_path) as c:
    c.save(1, state, {})
    restored = c.restore_latest(state).tree
  assert bits(restored) == bits(state)


# Saving while training goes on.


def test_donated_state_is_saved_as_it_was(tmp_path):
  @functools.partial(jax.jit, donate_argnums=0)
  def grow(tree):
    return jax.tree.map(lambda x: x * 2 + 1, tree)

  state = {"a": jnp.ones((300, 1000)), "b": jnp.zeros(5)}
  with checkpoints.Checkpoints(tmp_path, keep=8) as saved:
    for step in range(8):
      saved.save(step, state, {})
      state = grow(state)
    for step in reversed(range(8)):
      actual, tree, _ = saved.restore_latest(state)
      assert actual == step
      np.testing.assert_array_equal(tree["a"], 2.0 ** (step + 1) - 1)
      np.testing.assert_array_equal(tree["b"], 2.0**step - 1)
      shutil.rmtree(tmp_path / "latest" / str(step))


def test_changed_numpy_leaves_and_metadata_do_not_reach_the_file(tmp_path):
  array, meta = np.zeros(100_000), {"rows": [1]}
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, {"w": array}, meta)
    array += 1
    meta["rows"].append(2)
    restored = saved.restore_latest({"w": array})
  assert not restored.tree["w"].any()
  assert restored.meta == {"rows": [1]}


def test_interrupted_run_equals_an_uninterrupted_one_each_time(tmp_path):
  def run(folder, steps, *, until):
    """Trains to `until` as a fresh process would; a new best every third."""
    losses = {}
    with checkpoints.Checkpoints(folder) as saved:
      state, best = create(), float("inf")
      restored = saved.restore_latest(jax.eval_shape(create))
      if restored:
        _, state, meta = restored
        best = meta["best"]
      saved.discard_after(int(state.step))
      while int(state.step) < until:
        state, loss = train_step(state)
        losses[int(state.step)] = float(loss)
        if int(state.step) % 3 == 0:
          best = min(best, float(loss))
          saved.save_best(int(state.step), state.params, {"best": best})
        if int(state.step) in steps:
          saved.save(int(state.step), state, {"best": best})
    return state, losses

  straight, losses = run(tmp_path / "a", (2, 5, 8), until=9)
  resumed = {}
  for until in (2, 4, 6, 9):  # each but the first goes on from 2 or 5
    state, part = run(tmp_path / "b", (2, 5, 8), until=until)
    resumed |= part
  assert resumed == losses
  assert bits(state) == bits(straight)
  best = []
  for folder in (tmp_path / "a", tmp_path / "b"):
    with checkpoints.Checkpoints(folder) as saved:
      assert saved.latest_steps == [5, 8]
      assert saved.best_steps == [3, 6, 9]
      best.append(saved.restore_best(state.params))
  assert bits(best[0]) == bits(best[1])


def test_failed_write_surfaces_on_the_next_call_and_is_over(tmp_path):
  state = {"w": np.random.default_rng(0).normal(size=50_000)}
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, state, {})
    saved.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
      saved.save(2, state, {})
      with pytest.raises(errors.RunError, match="latest/2: file too large"):
        saved.wait()
    finally:
      resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path / "latest") == ["1"]
    saved.save(3, state, {})
    assert saved.restore_latest(state).step == 3


def test_failed_write_does_not_hide_the_error_that_ended_the_block(tmp_path):
  (tmp_path / "latest").mkdir()
  (tmp_path / "latest" / "1.incomplete").write_text("in the way")

  def run():
    with checkpoints.Checkpoints(tmp_path) as saved:
      saved.save(1, create(), {})
      raise ZeroDivisionError

  with pytest.raises(ZeroDivisionError) as caught:
    run()
  assert "a checkpoint was not saved" in caught.value.__notes__[0]


def test_unwritable_directory_is_a_user_error(tmp_path):
  (tmp_path / "run").write_text("a file")
  saved = checkpoints.Checkpoints(tmp_path / "run" / "checkpoints")
  with saved, pytest.raises(errors.UserError, match="run/checkpoints"):
    saved.save(1, create(), {})


@pytest.mark.parametrize(
  ("tree", "said"),
  [
    ({"a": {"b": "text"}}, "a/b is a str"),
    ({"a": np.array([{}])}, "a is a ndarray"),
  ],
)
def test_leaf_that_cannot_come_back_the_same_is_refused(tmp_path, tree, said):
  with checkpoints.Checkpoints(tmp_path) as saved:
    with pytest.raises(TypeError, match=said):
      saved.save(1, tree, {})
    assert saved.latest_steps == []


def test_metadata_that_is_no_json_is_refused_at_once(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as saved:
    with pytest.raises(TypeError, match="float32"):
      saved.save(1, create(), {"best": np.float32(1)})
    assert saved.latest_steps == []


def test_names_that_would_be_confused_are_refused(tmp_path):
  confused = {"a": {"b": np.zeros(1)}, "a.b": np.ones(1)}
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, confused, {})
    with pytest.raises(errors.RunError, match="tell these names apart"):
      saved.wait()


# What is kept.


def test_newest_states_are_kept(tmp_path):
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    for step in (1, 2, 10, 9):
      saved.save(step, create(step), {})
      saved.wait()
  assert names(tmp_path / "latest") == ["10", "9"]


def test_keeping_none_is_refused():
  with pytest.raises(errors.UserError, match="keep is 0"):
    checkpoints.Checkpoints("unused", keep=0)


def test_best_of_every_kept_state_is_kept(tmp_path):
  params = create().params
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    kept = []
    for step in range(1, 9):
      if step in (1, 2, 4, 5, 7):
        saved.save_best(step, params, {"value": step})
      if step in (3, 6, 8):
        saved.save(step, create(), {})
      saved.wait()
      kept.append((saved.latest_steps, saved.best_steps))
  assert kept == [
    ([], [1]),
    ([], [2]),
    ([3], [2]),
    ([3], [2, 4]),
    ([3], [2, 5]),
    ([3, 6], [2, 5]),
    ([3, 6], [2, 5, 7]),
    ([6, 8], [5, 7]),
  ]


def test_what_a_kill_kept_from_deletion_is_deleted_by_the_next_start(
  tmp_path, monkeypatch
):
  params = create().params
  with monkeypatch.context() as patch:
    patch.setattr(checkpoints, "keep_only", lambda *arguments: None)
    with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
      for step in range(1, 5):
        saved.save_best(step, params, {})
        saved.save(step, create(), {})
  with checkpoints.Checkpoints(tmp_path, keep=2) as saved:
    assert saved.latest_steps == saved.best_steps == [1, 2, 3, 4]
    assert saved.restore_latest(create()).step == 4
    assert saved.latest_steps == saved.best_steps == [3, 4]
    assert saved.restore_best(params).step == 4


def test_best_of_a_lost_future_is_discarded(tmp_path):
  params = create().params
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save_best(2, params, {})
    saved.save(3, create(), {})
    saved.save_best(4, params, {})
    saved.discard_after(3)
    assert saved.best_steps == [2]
    saved.discard_after(-1)
    assert saved.restore_best(params) is None


def test_same_state_is_not_written_twice(tmp_path):
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, create(), {"a": 1})
    saved.wait()
    first = (tmp_path / "latest" / "1" / "checkpoint.json").stat()
    saved.save(1, create(), {"a": 1})
    saved.wait()
  second = (tmp_path / "latest" / "1" / "checkpoint.json").stat()
  assert (second.st_ino, second.st_mtime_ns) == (
    first.st_ino,
    first.st_mtime_ns,
  )


@pytest.mark.parametrize("change", ["state", "metadata", "damage"])
def test_other_content_at_the_same_step_replaces_it(tmp_path, change):
  with checkpoints.Checkpoints(tmp_path) as saved:
    saved.save(1, create(), {"a": 1})
    saved.wait()
    if change == "damage":
      corrupt(tmp_path / "latest" / "1")
    state = create(5 if change == "state" else 0)
    meta = {"a": 2 if change == "metadata" else 1}
    saved.save(1, state, meta)
    restored = saved.restore_latest(state)
  assert bits(restored.tree) == bits(state)
  assert restored.meta == meta
  assert names(tmp_path / "latest") == ["1"]


# Damage.


def test_nothing_saved_is_none(tmp_path):
  with checkpoints.Checkpoints(tmp_path / "new") as saved:
    assert saved.restore_latest(create()) is None
    assert saved.restore_best(create().params) is None
    assert saved.read_meta() is None
  assert not (tmp_path / "new").exists()


def files_of(folder):
  return sorted(
    path.relative_to(folder).as_posix()
    for path in folder.rglob("*")
    if path.is_file()
  )


@pytest.mark.parametrize("damage", ["deleted", "truncated", "flipped"])
def test_any_damaged_file_leads_to_the_older_state(pristine, tmp_path, damage):
  rng = np.random.default_rng(0)
  for number, name in enumerate(files_of(pristine / "latest" / "2")):
    folder = tmp_path / str(number)
    shutil.copytree(pristine, folder)
    path = folder / "latest" / "2" / name
    content = path.read_bytes()
    if damage == "deleted":
      path.unlink()
    elif not content:
      continue
    elif damage == "truncated":
      path.write_bytes(content[: rng.integers(len(content))])
    else:
      bit = rng.integers(len(content) * 8)
      flipped = bytearray(content)
      flipped[bit // 8] ^= 1 << (bit % 8)
      path.write_bytes(flipped)
    with pytest.warns(UserWarning, match=r"corrupt .*step 2.*step 1 is used"):
      restored = restore(folder)
    assert (restored.step, restored.meta) == (1, {"best": 1.5})
    assert bits(restored.tree) == bits(create(1))


def test_missing_and_truncated_files_are_named(damaged):
  newest = damaged / "latest" / "2"
  (newest / "state" / "manifest.ocdbt").unlink()
  with pytest.warns(UserWarning, match=r"state/manifest\.ocdbt is missing"):
    restore(damaged)


def test_corrupt_state_is_set_aside_and_its_step_can_be_saved_again(damaged):
  corrupt(damaged / "latest" / "2")
  with checkpoints.Checkpoints(damaged, keep=1) as saved:
    with pytest.warns(UserWarning, match="passed over"):
      saved.restore_latest(create())
    assert names(damaged / "latest") == ["1", "2.corrupt"]
    saved.save(2, create(9), {})
    assert bits(saved.restore_latest(create()).tree) == bits(create(9))
    assert saved.latest_steps == [2]


def test_only_corrupt_states_stop_the_run_and_stay(damaged):
  corrupt(damaged / "latest" / "1")
  corrupt(damaged / "latest" / "2")
  for _ in range(2):  # the second start must not begin afresh either
    with checkpoints.Checkpoints(damaged) as saved:
      with pytest.raises(errors.RunError, match=r"step 2.*step 1") as caught:
        saved.restore_latest(create())
      assert caught.value.exit_code == 3
      assert saved.latest_steps == [1, 2]


def test_only_states_set_aside_stop_the_run(damaged):
  corrupt(damaged / "latest" / "2")
  with pytest.warns(UserWarning, match="passed over"):
    restore(damaged)
  shutil.rmtree(damaged / "latest" / "1")
  with pytest.raises(errors.RunError, match=r"corrupt \(2.corrupt\)"):
    restore(damaged)


def test_renamed_checkpoint_is_not_taken_for_another_step(damaged):
  (damaged / "latest" / "2").rename(damaged / "latest" / "99")
  with pytest.warns(UserWarning, match="step 99: it holds step 2"):
    assert restore(damaged).step == 1


def test_unreadable_folder_is_an_error_and_no_fresh_start(tmp_path):
  (tmp_path / "latest").write_text("no folder")
  with pytest.raises(errors.UserError, match="cannot read the checkpoints"):
    restore(tmp_path)


def test_leftovers_of_killed_saves_are_removed_and_never_read(damaged):
  latest = damaged / "latest"
  for name in ("3.incomplete", "3.incomplete.orbax-checkpoint-tmp"):
    shutil.copytree(latest / "2", latest / name)
  shutil.copytree(latest / "2", latest / "0.removed")
  (latest / "0.removed" / "checkpoint.json").unlink()
  (latest / "notes").mkdir()
  with checkpoints.Checkpoints(damaged) as saved:
    assert saved.latest_steps == [1, 2]
    assert saved.restore_latest(create()).step == 2
  assert names(latest) == ["1", "2", "notes"]


def test_first_save_killed_is_a_fresh_start(tmp_path):
  (tmp_path / "latest" / "5.incomplete").mkdir(parents=True)
  assert restore(tmp_path) is None
  assert names(tmp_path / "latest") == []


def test_state_killed_while_replaced_comes_back(damaged):
  (damaged / "latest" / "2").rename(damaged / "latest" / "2.replaced")
  assert restore(damaged).step == 2
  assert names(damaged / "latest") == ["1", "2"]


@pytest.mark.slow
def test_fifty_restarts_leave_nothing_behind(damaged):
  before = sorted(damaged.rglob("*"))
  for number in range(50):
    (damaged / "latest" / f"{number}.incomplete").mkdir()
    assert restore(damaged).step == 2
  assert sorted(damaged.rglob("*")) == before


# Other trees.


def test_every_difference_is_listed_and_nothing_is_cast(damaged):
  target = jax.eval_shape(lambda: create(features=4))
  lstm = target.params["lstm"]
  lstm["peephole"] = jax.ShapeDtypeStruct((3, 4), jnp.float32)
  carry = ({"h": jax.ShapeDtypeStruct((2,), jnp.bfloat16)},)
  target = target._replace(carry=carry, key=jax.random.key(0, impl="rbg"))
  with pytest.raises(errors.UserError) as caught:
    restore(damaged, target)
  for said in (
    "params/lstm/kernel: expected float32[2,4], found float32[2,3]",
    "opt_state/1/0/nu/lstm/bias: expected float32[4], found float32[3]",
    "params/lstm/peephole: missing",
    "carry/0/h: expected bfloat16[2], found float32[2]",
    "carry/0/c: unexpected",
    "key: expected key<rbg>[], found key<fry>[]",
    "--workdir",
  ):
    assert said in str(caught.value)
  assert caught.value.exit_code == 2


def test_other_randomness_is_told(damaged):
  with (
    jax.threefry_partitionable(False),
    pytest.warns(UserWarning, match="'partitionable': True.*: False"),
  ):
    restore(damaged)


# What other programs read.


def test_metadata_is_read_without_arrays(damaged):
  shutil.rmtree(damaged / "latest" / "2" / "state")
  with checkpoints.Checkpoints(damaged) as saved:
    assert saved.read_meta() == (2, {"best": 1.25})


def test_other_program_reads_the_best_parameters(tmp_path):
  with checkpoints.Checkpoints(tmp_path / "checkpoints") as saved:
    saved.save(1, create(1), {"vocabulary": "v"})
    saved.wait()
    target = jax.eval_shape(create).params
    newest = checkpoints.restore_params(tmp_path, target)
    assert newest.meta == {"vocabulary": "v"}
    assert bits(newest.tree) == bits(create(1).params)
    saved.save_best(0, create(2).params, {"vocabulary": "w"})
    saved.wait()
    best = checkpoints.restore_params(tmp_path, target)
  assert checkpoints.read_meta(tmp_path) == (0, {"vocabulary": "w"})
  assert best.meta == {"vocabulary": "w"}
  assert bits(best.tree) == bits(create(2).params)


def test_other_program_changes_nothing_in_a_damaged_run(damaged):
  corrupt(damaged / "latest" / "2")
  (damaged / "latest" / "3.incomplete").mkdir()
  before = sorted(damaged.rglob("*"))
  with pytest.warns(UserWarning, match="step 1 is used"):
    restored = checkpoints.restore_params(damaged.parent, create().params)
  assert bits(restored.tree) == bits(create(1).params)
  assert sorted(damaged.rglob("*")) == before


def test_corrupt_best_is_never_replaced_by_other_parameters(damaged):
  with checkpoints.Checkpoints(damaged) as saved:
    saved.save_best(1, create(1).params, {})
  corrupt(damaged / "best" / "1")
  with pytest.raises(errors.RunError, match="best is corrupt"):
    checkpoints.restore_params(damaged.parent, create().params)


@pytest.mark.parametrize(
  ("made", "said"),
  [("nothing", "is no run folder"), ("checkpoints", "no complete checkpoint")],
)
def test_folder_without_checkpoint_is_a_user_error(tmp_path, made, said):
  (tmp_path / made).mkdir()
  for read in (
    lambda: checkpoints.restore_params(tmp_path, {}),
    lambda: checkpoints.read_meta(tmp_path),
  ):
    with pytest.raises(errors.UserError, match=said) as caught:
      read()
    assert str(tmp_path) in str(caught.value)
