"""The compilation cache: found again, harmless, and without effect on bits."""

import os
import pathlib
import subprocess
import sys
import types

import jax
import pytest

from experiments import runtime
from seqmodels import errors

PROJECT = pathlib.Path(runtime.__file__).resolve().parent.parent

TRAIN = """
import hashlib, sys
import jax, jax.numpy as jnp, numpy as np
from experiments import runtime
if sys.argv[1] == "cached":
  runtime.keep_compilations()
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)

def loss(kernel, xs):
  def step(h, x):
    h = jnp.tanh(x + h @ kernel)
    return h, h
  return jnp.mean(jax.lax.scan(step, jnp.zeros((4, 32)), xs)[1] ** 2)

@jax.jit
def train(kernel, xs):
  def update(kernel, _):
    value, gradient = jax.value_and_grad(loss)(kernel, xs)
    return kernel - 0.1 * gradient, value
  return jax.lax.scan(update, kernel, None, length=5)

key = jax.random.key(0)
kernel, losses = train(
  jax.random.normal(key, (32, 32)) / 6, jax.random.normal(key, (10, 4, 32))
)
data = np.asarray(kernel).tobytes() + np.asarray(losses).tobytes()
print(hashlib.sha256(data).hexdigest())
"""


@pytest.fixture
def cache_setting():
  names = (
    "jax_compilation_cache_dir",
    "jax_persistent_cache_min_compile_time_secs",
    "jax_raise_persistent_cache_errors",
  )
  before = {name: jax.config.values[name] for name in names}
  jax.config.update("jax_compilation_cache_dir", None)
  yield lambda: jax.config.values["jax_compilation_cache_dir"]
  for name, value in before.items():
    jax.config.update(name, value)


def test_programs_are_kept_in_the_users_cache(
  tmp_path, monkeypatch, cache_setting
):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  runtime.keep_compilations()
  folder = pathlib.Path(cache_setting())
  assert folder.parent == tmp_path / "seqmodels" / "xla"
  assert folder.is_dir()


def test_a_folder_that_was_chosen_is_left(tmp_path, monkeypatch, cache_setting):
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
  jax.config.update("jax_compilation_cache_dir", "/chosen")
  runtime.keep_compilations()
  assert cache_setting() == "/chosen"


def test_without_a_place_to_write_nothing_is_kept(
  tmp_path, monkeypatch, cache_setting
):
  (tmp_path / "file").write_text("")
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
  runtime.keep_compilations()
  assert cache_setting() is None


def test_kept_programs_compute_the_same_bits(tmp_path):
  # Without the tests' own cache.
  environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
  environment = {
    name: value
    for name, value in environment.items()
    if not name.startswith(("JAX_COMPILATION", "JAX_PERSISTENT"))
  }

  def train(mode):
    return subprocess.run(
      [sys.executable, "-c", TRAIN, mode],
      env={**environment, "JAX_PLATFORMS": "cpu"},
      cwd=PROJECT,
      capture_output=True,
      text=True,
      check=True,
    ).stdout

  plain = train("plain")
  assert len(plain) == 65
  assert list(tmp_path.iterdir()) == []
  assert train("cached") == plain
  kept = [path.name for path in tmp_path.rglob("jit_train-*")]
  assert len(kept) == 1
  assert train("cached") == plain
  # A kill while it was written: compiled again.
  (program,) = tmp_path.rglob("jit_train-*")
  program.write_bytes(program.read_bytes()[:100])
  assert train("cached") == plain


@pytest.mark.parametrize(
  ("variables", "words"),
  [
    (
      {"JAX_COORDINATOR_ADDRESS": "node1"},
      "JAX_COORDINATOR_ADDRESS is 'node1'; it must be host:port",
    ),
    ({"JAX_NUM_PROCESSES": "two"}, "JAX_NUM_PROCESSES is 'two'; it must be"),
    ({"JAX_NUM_PROCESSES": "0"}, "JAX_NUM_PROCESSES is '0'; it must be"),
    ({"JAX_PROCESS_ID": "-1"}, "JAX_PROCESS_ID is '-1'; it must be"),
    (
      {"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "2"},
      "JAX_PROCESS_ID is 2; with JAX_NUM_PROCESSES=2 it must be below 2",
    ),
  ],
)
def test_processes_that_cannot_be_are_refused(monkeypatch, variables, words):
  for name, value in variables.items():
    monkeypatch.setenv(name, value)
  with pytest.raises(errors.UserError) as caught:
    runtime.join()
  assert str(caught.value).startswith(words)


@pytest.mark.parametrize(
  ("cpuinfo", "dtype"),
  [
    ("flags\t\t: fpu avx2 avx512f avx512_bf16\n", "bfloat16"),
    ("flags\t\t: fpu avx2 amx_tile amx_bf16\n", "bfloat16"),
    ("flags\t\t: fpu avx2 avx512f avx512_vnni\n", "float32"),
    ("Features\t: fp asimd bf16\n", "float32"),
    ("processor\t: 0\n", "float32"),
    (None, "float32"),
  ],
)
def test_a_cpu_gets_bfloat16_where_it_multiplies_it(
  tmp_path, monkeypatch, cpuinfo, dtype
):
  path = tmp_path / "cpuinfo"
  if cpuinfo is not None:
    path.write_text(f"processor\t: 0\n{cpuinfo}\nbogomips\t: 1\n")
  monkeypatch.setattr(runtime, "CPUINFO", path)
  assert runtime.fast_dtype() == dtype


@pytest.mark.parametrize(
  ("platform", "capability", "dtype"),
  [
    ("gpu", "9.0", "bfloat16"),
    ("gpu", "10.0", "bfloat16"),
    ("gpu", "7.5", "float32"),
    ("gpu", "gfx90a", "bfloat16"),
    ("tpu", None, "bfloat16"),
  ],
)
def test_accelerators_get_bfloat16_but_old_ones(
  monkeypatch, platform, capability, dtype
):
  device = types.SimpleNamespace(platform=platform)
  if capability:
    device.compute_capability = capability
  monkeypatch.setattr(jax, "local_devices", lambda: [device])
  assert runtime.fast_dtype() == dtype


@pytest.mark.parametrize(
  ("machine", "before", "after"),
  [
    ("x86_64", "", "--xla_cpu_max_isa=AVX"),
    ("x86_64", "--xla_a=1", "--xla_a=1 --xla_cpu_max_isa=AVX"),
    ("x86_64", "--xla_cpu_max_isa=SSE4_2", "--xla_cpu_max_isa=SSE4_2"),
    ("aarch64", "", ""),
  ],
)
def test_instructions_are_limited_unless_they_are(
  monkeypatch, machine, before, after
):
  monkeypatch.setattr(runtime.platform, "machine", lambda: machine)
  monkeypatch.setenv("XLA_FLAGS", before)
  runtime.limit_instructions()
  assert os.environ["XLA_FLAGS"].strip() == after
