"""The database: packed or not, parsed or kept, and the real one."""

import os

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import batching, datasets, iam_ondb


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
  """A folder of its own for the caches of each test."""
  monkeypatch.setenv("SEQMODELS_CACHE", str(tmp_path / "cache"))
  return tmp_path / "cache" / iam_ondb.CACHE


class Told:
  """The arguments of every callback."""

  def __init__(self):
    self.warnings, self.progress = [], []

  def read(self, folder, **settings):
    return iam_ondb.read(
      folder,
      warn=self.warnings.append,
      progress=lambda *bytes: self.progress.append(bytes),
      **settings,
    )


def equal(one, other):
  assert one.keys() == other.keys()
  for name, lines in one.items():
    assert lines.names == other[name].names
    assert lines.texts == other[name].texts
    np.testing.assert_array_equal(lines.points, other[name].points)
    np.testing.assert_array_equal(lines.edges, other[name].edges)


def test_lists_are_read_and_put_together_as_graves_does(tiny_iamondb, tmp_path):
  actual = iam_ondb.read(tiny_iamondb(tmp_path / "data"))
  assert {name: len(part) for name, part in actual.splits.items()} == {
    "trainset": 4,
    "testset_f": 3,
    "testset_t": 1,
    "testset_v": 2,
  }
  train, valid = (actual.graves()[name] for name in ("train", "valid"))
  assert [name[0] for name in train.names] == list("aaaabbbc")
  assert valid.names == ("d01-000-01", "d01-000-02")
  np.testing.assert_array_equal(
    valid.line(1), actual.splits["testset_v"].line(1)
  )
  assert "10 lines of the four lists, 2 without a transcript" in actual.note
  assert [row["name"] for row in actual.files] == [
    "lineStrokes-all.tar.gz",
    "ascii-all.tar.gz",
    *(f"{name}.txt" for name in iam_ondb.LISTS),
  ]


def test_packed_and_unpacked_are_the_same(tiny_iamondb, tmp_path):
  one = Told().read(tiny_iamondb(tmp_path / "packed"))
  other = Told()
  actual = other.read(tiny_iamondb(tmp_path / "unpacked", packed=False))
  equal(one.splits, actual.splits)
  assert other.progress[-1][0] == other.progress[-1][1]
  # The cache of the packed one is of other files.
  assert len(other.warnings) == 1


def test_names_of_files_that_are_no_text_are_no_reason_to_stop(
  tiny_iamondb, tmp_path
):
  folder = tiny_iamondb(tmp_path, packed=False) / "iamondb" / "ascii"
  (folder / os.fsdecode(b"caf\xe9.bin")).write_bytes(b"not wanted")
  assert len(iam_ondb.read(tmp_path).splits["trainset"]) == 4


@pytest.mark.parametrize("packed", [True, False])
def test_the_second_time_nothing_is_parsed(
  tiny_iamondb, tmp_path, packed, cache
):
  data = tiny_iamondb(tmp_path / "data", packed=packed)
  first, second = Told(), Told()
  fresh = first.read(data)
  assert first.progress
  assert cache.is_file()
  equal(second.read(data).splits, fresh.splits)
  assert second.progress == second.warnings == []


def test_a_broken_cache_is_made_anew_and_said_so(tiny_iamondb, tmp_path, cache):
  data = tiny_iamondb(tmp_path / "data")
  fresh = Told().read(data)
  whole = cache.read_bytes()
  for place in np.linspace(0, len(whole) - 1, 12).astype(int):
    changed = bytearray(whole)
    changed[place] ^= 0x10
    cache.write_bytes(changed)
    told = Told()
    equal(told.read(data).splits, fresh.splits)
    assert len(told.warnings) == 1
    assert str(cache) in told.warnings[0]
    assert cache.read_bytes() == whole


NEW_LINE = b"""<WhiteboardCaptureSession><Stroke><Point x="0" y="0" time="0"/>
<Point x="9" y="0" time="0"/></Stroke></WhiteboardCaptureSession>"""


@pytest.mark.parametrize(
  ("name", "data"),
  [
    ("lineStrokes/d01/d01-000/d01-000-02.xml", NEW_LINE),
    ("ascii/a01/a01-000/a01-000u.txt", b"CSR:\nother\nlines\n"),
    ("testset_v.txt", b"z01-000"),
  ],
)
@pytest.mark.parametrize("packed", [True, False])
def test_a_cache_of_other_files_or_settings_is_not_used(
  tiny_iamondb, tmp_path, name, data, packed
):
  old = Told().read(tiny_iamondb(tmp_path / "old", packed=packed))
  new = tiny_iamondb(tmp_path / "new", packed=packed, change={name: data})
  told, again = Told(), Told()
  actual = told.read(new)
  assert "made from other files" in told.warnings[0]
  assert told.progress
  assert actual.files != old.files
  again.read(new, longest_step=99.0)
  assert "or in another way" in again.warnings[0]


def test_a_folder_that_cannot_keep_a_cache_still_reads(
  tiny_iamondb, tmp_path, monkeypatch
):
  data = tiny_iamondb(tmp_path / "data")
  (tmp_path / "blocked").touch()
  monkeypatch.setenv("SEQMODELS_CACHE", str(tmp_path / "blocked"))
  told = Told()
  assert len(told.read(data).splits["testset_v"]) == 2
  # It cannot be looked for there either.
  assert "will be parsed again" in told.warnings[-1]


@pytest.mark.parametrize("marked", [0o755, 0o555])
def test_a_cache_lies_beside_data_that_may_be_written(
  tiny_iamondb, tmp_path, monkeypatch, marked
):
  monkeypatch.delenv("SEQMODELS_CACHE")
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  data = tiny_iamondb(tmp_path / "data")
  (data / "iamondb").chmod(marked)
  Told().read(data)
  home = tmp_path / "home" / ".cache" / "seqmodels" / "iamondb" / iam_ondb.CACHE
  beside = data / "iamondb" / iam_ondb.CACHE
  assert home.exists() == (marked == 0o555)
  assert beside.exists() == (marked == 0o755)
  told = Told()
  told.read(data)
  assert told.progress == told.warnings == []
  (data / "iamondb").chmod(0o755)


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"trainset.txt": None}, "missing iamondb/trainset.txt: register with"),
    ({"testset_f.txt": b"a01-001\n"}, "a01-001 is in the lists trainset and"),
    ({"testset_v.txt": b"x99-000\n"}, "no lines of the listed form x99-000;"),
    ({"testset_v.txt": b"<html>\n"}, "should name a form"),
  ],
)
def test_lists_that_do_not_fit_are_refused(
  tiny_iamondb, tmp_path, change, message
):
  data = tiny_iamondb(tmp_path / "data", change=change)
  with pytest.raises(errors.UserError, match=message):
    iam_ondb.read(data)


def test_a_missing_archive_is_named_with_place_and_owners(tmp_path):
  with pytest.raises(errors.UserError) as caught:
    iam_ondb.read(tmp_path)
  for part in (
    "missing iamondb/lineStrokes-all.tar.gz or iamondb/lineStrokes: ",
    iam_ondb.URL,
    str(tmp_path / "iamondb" / "lineStrokes-all.tar.gz"),
    "--data_dir",
  ):
    assert part in str(caught.value)
  assert "\n" not in str(caught.value)


def test_a_published_list_must_have_its_lines(
  tiny_iamondb, tmp_path, monkeypatch
):
  published = iam_ondb.Published(1, 3, iam_ondb.digest(["d01-000"]))
  monkeypatch.setitem(iam_ondb.LISTS, "testset_v", published)
  with pytest.raises(errors.UserError, match="list testset_v, which has 3"):
    iam_ondb.read(tiny_iamondb(tmp_path / "data"))


@pytest.mark.slow
def test_the_real_database(real_data):
  """All that is known of it in one test: parsing takes 20 seconds of CPU."""
  if not (real_data / "iamondb").is_dir():
    pytest.skip(f"no IAM-OnDB in {real_data}")
  first, second = Told(), Told()
  fresh = first.read(real_data)
  assert first.warnings == []
  assert {name: len(part) for name, part in fresh.splits.items()} == {
    name: published.lines for name, published in iam_ondb.LISTS.items()
  }
  equal(second.read(real_data).splits, fresh.splits)
  assert second.progress == []

  actual = datasets.load("iamondb", real_data, alphabet="full")
  train, valid = actual.splits["train"], actual.splits["valid"]
  assert (len(train), len(valid)) == (10_741, 1_438)
  # One form of 9 lines has a transcript of 8.
  silent = [n for n, t in zip(train.names, train.texts, strict=True) if not t]
  assert silent == [f"a08-551z-{n:02d}" for n in range(1, 10)]
  assert all(valid.texts)
  # The paper: 80 characters, about 700 points a line, more than 25 a letter.
  assert len(set("".join(train.texts))) == 80
  assert set("".join(train.texts + valid.texts)) == set(actual.alphabet.symbols)
  assert train.lengths.mean() == pytest.approx(632.1, abs=0.1)
  assert train.lengths.max() == 1940
  # Another implementation, on 9,500 lines: (8.217, 0.121), (42.349, 37.073).
  np.testing.assert_allclose(actual.scaling.mean, [8.1292, 0.1113], atol=1e-4)
  np.testing.assert_allclose(
    actual.scaling.deviation, [41.7332, 36.8375], atol=1e-4
  )

  stream = batching.PenBatches(train, batch=32, dispatch=2)
  steps = range(0, stream.segments_per_epoch, 2)
  masks = [stream.segments(step, 2).mask for step in steps]
  assert 1 - sum(m.sum() for m in masks) / sum(m.size for m in masks) < 0.05
  assert len({mask.shape for mask in masks}) <= 24
