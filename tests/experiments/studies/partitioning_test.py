"""The study of readers: adjacency, coverage, equal budgets."""

import numpy as np
import pytest

from experiments import command_line
from experiments.studies import readers
from seqmodels import errors


def settings(**changes):
  config = command_line.load(
    "configs/fundamentals.py:partitioning,smoke"
  ).config
  config.settings.update(changes)
  return config


def test_the_smoke_run_leaves_a_page_with_figures(run, tmp_path):
  rows = run(settings())["rows"]
  assert [row["metric"] for row in rows] == ["bits_per_character"] * 4
  assert all(0 < row["value"] < 10 for row in rows)
  page = (tmp_path / "run" / "report.md").read_text()
  assert f"| {readers.SEQUENTIAL} | 4 | 1.000 | carried |" in page
  assert f"| {readers.RANDOM} | 3 | " in page
  figures = {path.stem for path in (tmp_path / "run/figures").iterdir()}
  assert figures == {"coverage", "learning", "positions"}


@pytest.mark.parametrize("name", readers.READERS)
@pytest.mark.parametrize("seed", range(4))
def test_only_sequential_minibatches_continue_each_other(name, seed):
  """On 0, 1, ..., 34: X[b + 1][i, 0] is X[b][i, -1] + 1, and Y is X + 1."""
  reader = readers.READERS[name](np.arange(35), batch=2, length=5, seed=seed)
  epoch = reader.segments(0, reader.segments_per_epoch)
  scored = epoch.mask & (epoch.inputs >= 0)
  assert np.all(epoch.targets[scored] == epoch.inputs[scored] + 1)
  step = (epoch.targets[1:, 0] - epoch.targets[:-1, -1])[epoch.mask[1:, 0]]
  carried = ~epoch.reset[1:, 0].all()
  if "sequential" in name:
    assert np.all(step % 35 == 1)  # the text is rotated, so 34 comes before 0
    assert carried == (name == readers.SEQUENTIAL)
  else:
    assert not np.all(step == 1)
    assert epoch.reset[:, 0].all()


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"steps": 5}, "steps is 5 and dispatch is 2"),
    ({"positions": 5_000}, "positions is 5000"),
    ({"batch": 300}, "random sampling of 300 windows of 16"),
  ],
)
def test_bad_settings_are_named(run, tmp_path, changes, message):
  with pytest.raises(errors.UserError, match=message):
    run(settings(**changes))
  assert not (tmp_path / "run" / "results.json").exists()
