"""A memory that runs out during a stage."""

import types

import pytest

from experiments import stages
from seqmodels import errors


@pytest.mark.parametrize(
  ("name", "less"),
  [
    ("static test", "config.evaluation.segment"),
    ("dynamic test: sgd", "config.dynamic.segment"),
    ("6-gram test", "config.model.features"),
  ],
)
def test_the_stage_and_what_helps_are_named(tmp_path, name, less):
  context = types.SimpleNamespace(
    workdir=tmp_path,
    step=1,
    params=(),
    signals=types.SimpleNamespace(check=lambda: None),
  )

  def compute():
    raise RuntimeError("RESOURCE_EXHAUSTED: out of memory")

  with pytest.raises(errors.RunError) as caught:
    stages.phase(context, name, compute)
  assert str(caught.value).startswith(f"out of memory during {name}; ")
  assert less in str(caught.value)
  assert not (tmp_path / stages.PHASES).exists()
