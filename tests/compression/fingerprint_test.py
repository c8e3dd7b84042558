"""Where a file may be decoded."""

import pytest

from seqmodels import errors
from seqmodels.compression import fingerprint


def test_here_is_here():
  fingerprint.require_same(fingerprint.current())


@pytest.mark.parametrize(
  ("name", "theirs"),
  [("jaxlib", "0.0.1"), ("threads", "64"), ("platform", "tpu"), ("new", "1")],
)
def test_another_place_is_refused_with_both_named(name, theirs):
  with pytest.raises(errors.UserError) as caught:
    fingerprint.require_same({**fingerprint.current(), name: theirs})
  here = fingerprint.current().get(name, "")
  assert f"{name} {theirs!r} (here {here!r})" in str(caught.value)


def test_a_gpu_that_does_not_repeat_itself_is_refused(monkeypatch):
  fingerprint.require_repeatable()
  monkeypatch.setattr(fingerprint.jax, "default_backend", lambda: "gpu")
  monkeypatch.setenv("XLA_FLAGS", "")
  with pytest.raises(errors.UserError, match="deterministic_ops=true"):
    fingerprint.require_repeatable()
  monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
  fingerprint.require_repeatable()


def test_a_missing_fact_is_another_place():
  theirs = fingerprint.current()
  del theirs["xla_flags"]
  with pytest.raises(errors.UserError, match="xla_flags"):
    fingerprint.require_same(theirs)


def test_programs_compiled_otherwise_are_told(optimized):
  users = fingerprint.current()
  assert "compiler" not in users
  fingerprint.jax.config.update("jax_disable_most_optimizations", True)
  with pytest.raises(errors.UserError, match=r"compiler '' .here 'unopt"):
    fingerprint.require_same(users)
