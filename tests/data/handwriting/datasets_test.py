"""Handwriting by name: standardised, limited, with what was read."""

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import datasets, iam_ondb, synthetic


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  monkeypatch.setenv("SEQMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tiny(tiny_iamondb, tmp_path):
  return tiny_iamondb(tmp_path / "data")


def test_the_made_up_pen_is_standardised_by_its_training_lines():
  actual = datasets.load("synthetic", seed=3)
  sizes = {name: len(lines) for name, lines in actual.splits.items()}
  assert sizes == datasets.SYNTHETIC_LINES
  points = actual.splits["train"].points[:, :2].astype(np.float64)
  np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-5)
  np.testing.assert_allclose(points.std(axis=0), 1, atol=1e-5)
  raw = synthetic.synthetic(lines=2, seed=3)
  np.testing.assert_array_equal(
    actual.splits["valid"].line(1), actual.scaling.standardise(raw.line(1))
  )
  assert not set(actual.splits["train"].names) & set(
    actual.splits["valid"].names
  )
  assert actual.provenance == {
    "source": "synthetic",
    "files": [],
    "note": "lines of a made-up pen, seed 3",
  }


def test_a_limit_keeps_the_first_lines_and_the_scaling_of_all():
  whole = datasets.load("synthetic")
  part = datasets.load("synthetic", limit=5)
  for name, lines in part.splits.items():
    assert lines.names == whole.splits[name].names[:5]
    np.testing.assert_array_equal(
      lines.points, whole.splits[name].span(0, 5).points
    )
  np.testing.assert_array_equal(part.scaling.mean, whole.scaling.mean)
  assert "the first 5 of 1,024 train lines" in part.provenance["note"]


def test_the_database_is_split_as_graves_does(tiny):
  actual = datasets.load("iamondb", tiny)
  assert [len(actual.splits[name]) for name in ("train", "valid")] == [8, 2]
  raw = iam_ondb.read(tiny)
  assert actual.provenance["files"] == raw.files
  np.testing.assert_allclose(
    actual.scaling.restore(actual.splits["valid"].points),
    raw.splits["testset_v"].points,
    atol=1e-4,
  )


def test_lines_without_a_transcript_are_left_out_and_counted(tiny):
  actual = datasets.load("iamondb", tiny, transcribed=True, limit=3)
  assert actual.splits["train"].names == (
    "a01-000u-01",
    "a01-000u-02",
    "b01-000-01",
  )
  assert all(actual.splits["train"].texts)
  note = actual.provenance["note"]
  assert "2 of 8 train lines left out: no transcript" in note
  assert "the first 3 of 6 train lines" in note
  whole = datasets.load("iamondb", tiny)
  np.testing.assert_array_equal(actual.scaling.mean, whole.scaling.mean)


def test_progress_warnings_and_the_threshold_reach_the_source(tiny):
  told, warned = [], []

  def load(**settings):
    return datasets.load(
      "iamondb",
      tiny,
      progress=lambda *sizes: told.append(sizes),
      warn=warned.append,
      **settings,
    )

  load()
  assert told[-1][0] == told[-1][1]
  assert not warned
  load(longest_step=12.5)
  assert len(warned) == 1
  assert "above 12.5 removed" in load(longest_step=12.5).provenance["note"]


def test_a_split_without_any_transcript_is_refused(tiny_iamondb, tmp_path):
  data = tiny_iamondb(
    tmp_path / "more", change={"ascii/d01/d01-000/d01-000.txt": None}
  )
  assert len(datasets.load("iamondb", data).splits["valid"]) == 2
  with pytest.raises(errors.UserError, match=r"the valid split .* has 0 lines"):
    datasets.load("iamondb", data, transcribed=True)


@pytest.mark.parametrize(
  ("source", "settings", "message"),
  [
    ("iamdb", {}, "source 'iamdb' .did you mean 'iamondb'"),
    ("synthetic", {"limit": -1}, "limit is -1"),
    ("synthetic", {"alphabet": "latin"}, "unknown alphabet 'latin'"),
    ("iamondb", {}, "missing iamondb/lineStrokes-all.tar.gz"),
  ],
)
def test_what_is_not_there_is_refused(tmp_path, source, settings, message):
  with pytest.raises(errors.UserError, match=message):
    datasets.load(source, tmp_path, **settings)
