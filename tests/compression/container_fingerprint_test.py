"""Machines on which a file may be decoded."""

import jax
import pytest

from seqmodels import errors
from seqmodels.compression import container


@pytest.mark.parametrize("portable", [True, False])
def test_here_is_here(portable):
  container.require_same(container.current(portable=portable))


@pytest.mark.parametrize(
  ("name", "theirs"),
  [("jaxlib", "0.0.1"), ("threads", "64"), ("platform", "tpu"), ("new", "1")],
)
def test_another_place_is_refused_with_both_named(name, theirs):
  here = container.current(portable=False)
  with pytest.raises(errors.UserError) as caught:
    container.require_same({**here, name: theirs})
  assert f"{name} {theirs!r} (here {here.get(name, '')!r})" in str(caught.value)


@pytest.fixture
def machine(tmp_path, monkeypatch):
  """Pretends to be one with that processor and so many threads."""

  def become(name, flags, threads):
    path = tmp_path / "cpuinfo"
    path.write_text(f"model name\t: {name}\nflags\t\t: {flags}\n")
    monkeypatch.setattr(container, "CPUINFO", path)
    monkeypatch.setattr(
      container.os, "sched_getaffinity", lambda _: set(range(threads))
    )

  return become


def test_portable_files_move_and_others_do_not(machine, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_max_isa=AVX")
  machine("AMD EPYC", "avx avx2", 2)
  made = container.current(), container.current(portable=False)
  assert made[0]["processor"] == "AVX"
  machine("Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz", "avx avx512f", 96)
  container.require_same(made[0])
  with pytest.raises(errors.UserError, match=r"processor .*threads '2'"):
    container.require_same(made[1])
  # As long on every machine: so are the headers.
  assert len(container.current(portable=False)["processor"]) == 8


def test_without_a_limit_the_features_count_and_not_the_name(
  machine, monkeypatch
):
  monkeypatch.delenv("XLA_FLAGS", raising=False)
  machine("Xeon Gold", "avx fma", 2)
  made = container.current()
  machine("Xeon Platinum", "fma avx", 4)
  container.require_same(made)
  machine("Xeon Platinum", "avx fma avx512f", 4)
  with pytest.raises(errors.UserError, match="processor"):
    container.require_same(made)


@pytest.mark.parametrize(
  ("name", "value"),
  [("jax_threefry_partitionable", False), ("jax_random_seed_offset", 1)],
)
def test_a_switch_that_changes_numbers_is_named(name, value):
  made, usual = container.current(), jax.config.values[name]
  assert name not in made
  jax.config.update(name, value)
  try:
    with pytest.raises(errors.UserError, match=f"{name} '' .here '{value}'"):
      container.require_same(made)
  finally:
    jax.config.update(name, usual)


def test_an_accelerator_makes_no_portable_files(monkeypatch):
  container.require_repeatable()
  monkeypatch.setattr(jax, "default_backend", lambda: "tpu")
  container.require_repeatable(portable=False)
  with pytest.raises(errors.UserError, match=r"config\.portable=False"):
    container.require_repeatable()


def test_a_gpu_that_does_not_repeat_itself_is_refused(monkeypatch):
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  monkeypatch.setenv("XLA_FLAGS", "")
  with pytest.raises(errors.UserError, match="deterministic_ops=true"):
    container.require_repeatable(portable=False)
  monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
  container.require_repeatable(portable=False)


def test_a_missing_fact_is_another_place():
  theirs = container.current()
  del theirs["xla_flags"]
  with pytest.raises(errors.UserError, match="xla_flags"):
    container.require_same(theirs)


def test_programs_compiled_otherwise_are_named(optimized):
  users = container.current()
  assert not [name for name in users if name.startswith("jax_")]
  jax.config.update("jax_disable_most_optimizations", True)
  with pytest.raises(errors.UserError, match=r"optimizations '' .here 'True"):
    container.require_same(users)
