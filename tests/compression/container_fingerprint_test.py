"""Where a file may be decoded."""

import pytest

from seqmodels import errors
from seqmodels.compression import container


def test_here_is_here():
  container.require_same(container.current())


@pytest.mark.parametrize(
  ("name", "theirs"),
  [("jaxlib", "0.0.1"), ("threads", "64"), ("platform", "tpu"), ("new", "1")],
)
def test_another_place_is_refused_with_both_named(name, theirs):
  with pytest.raises(errors.UserError) as caught:
    container.require_same({**container.current(), name: theirs})
  here = container.current().get(name, "")
  assert f"{name} {theirs!r} (here {here!r})" in str(caught.value)


def test_a_gpu_that_does_not_repeat_itself_is_refused(monkeypatch):
  container.require_repeatable()
  monkeypatch.setattr(container.jax, "default_backend", lambda: "gpu")
  monkeypatch.setenv("XLA_FLAGS", "")
  with pytest.raises(errors.UserError, match="deterministic_ops=true"):
    container.require_repeatable()
  monkeypatch.setenv("XLA_FLAGS", "--xla_gpu_deterministic_ops=true")
  container.require_repeatable()


def test_a_missing_fact_is_another_place():
  theirs = container.current()
  del theirs["xla_flags"]
  with pytest.raises(errors.UserError, match="xla_flags"):
    container.require_same(theirs)


def test_programs_compiled_otherwise_are_told(optimized):
  users = container.current()
  assert "compiler" not in users
  container.jax.config.update("jax_disable_most_optimizations", True)
  with pytest.raises(errors.UserError, match=r"compiler '' .here 'unopt"):
    container.require_same(users)
