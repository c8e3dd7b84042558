"""The cache: what was put in comes out, or nothing does."""

import hashlib
import json
import pathlib

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import iam_ondb
from seqmodels.data.handwriting.strokes import PenLines

KEY = "k" * 64


@pytest.fixture
def lines():
  random = np.random.default_rng(0)
  arrays = [random.normal(size=(n, 3)) for n in (3, 1, 4)]
  return PenLines.of(arrays, ["a-01", "a-02", "b-01"], ["caf\xe9", "", '"'])


def equal(one, other):
  assert one.names == other.names
  assert one.texts == other.texts
  for name in ("points", "edges"):
    actual, expected = getattr(one, name), getattr(other, name)
    np.testing.assert_array_equal(actual, expected)
    assert actual.dtype == expected.dtype


def test_lines_come_back_bit_by_bit(lines, tmp_path):
  path = tmp_path / "new" / "lines.cache"
  assert iam_ondb.load(path, KEY) is None
  iam_ondb.store(path, lines, KEY)
  equal(iam_ondb.load(path, KEY), lines)
  assert [p.name for p in path.parent.iterdir()] == ["lines.cache"]


def test_lines_of_other_files_are_stale(lines, tmp_path):
  iam_ondb.store(tmp_path / "c", lines, KEY)
  with pytest.raises(iam_ondb.Stale, match="made from other files"):
    iam_ondb.load(tmp_path / "c", KEY[:-1] + "j")


def test_every_byte_counts(lines, tmp_path):
  path = tmp_path / "c"
  iam_ondb.store(path, lines, KEY)
  whole = path.read_bytes()
  for place in range(len(whole)):
    changed = bytearray(whole)
    changed[place] ^= 1 << place % 8
    path.write_bytes(changed)
    with pytest.raises(iam_ondb.Stale):
      iam_ondb.load(path, KEY)
  for length in range(0, len(whole), 7):
    path.write_bytes(whole[:length])
    with pytest.raises(iam_ondb.Stale):
      iam_ondb.load(path, KEY)
  path.write_bytes(whole + b"\0")
  with pytest.raises(iam_ondb.Stale):
    iam_ondb.load(path, KEY)


def sealed(header, rest, length=None):
  """A file with a right checksum, whatever is in it."""
  written = header if isinstance(header, bytes) else json.dumps(header).encode()
  size = len(written) if length is None else length
  body = size.to_bytes(8, "little") + written + rest
  return b"penlines" + hashlib.sha256(body).digest() + body


GOOD = {"key": KEY, "names": ["a"], "texts": [""], "points": 1}
EDGES = np.array([0, 1], "<i8").tobytes()


@pytest.mark.parametrize(
  "data",
  [
    sealed(b"[]", b""),
    sealed(b"{", b""),
    sealed(b"\xff", b""),
    sealed(b"[" * 100_000, b""),
    sealed(GOOD, EDGES + bytes(12), 1 << 63),
    sealed(GOOD, EDGES + bytes(11)),
    sealed(GOOD | {"points": 1 << 60}, EDGES + bytes(12)),
    sealed(GOOD | {"points": -1}, EDGES[:4]),
    sealed(GOOD | {"points": 1.0}, EDGES + bytes(12)),
    sealed(GOOD | {"names": "ab"}, EDGES + bytes(12)),
    sealed(GOOD | {"names": [1]}, EDGES + bytes(12)),
    sealed(GOOD | {"names": None}, EDGES + bytes(12)),
    sealed(GOOD | {"texts": ["", ""]}, EDGES + bytes(12)),
    sealed(GOOD, EDGES[::-1] + bytes(12)),
    sealed(GOOD, EDGES + np.full(3, np.nan, "<f4").tobytes()),
  ],
)
def test_a_right_checksum_does_not_make_right_contents(tmp_path, data):
  (tmp_path / "c").write_bytes(data)
  with pytest.raises(iam_ondb.Stale):
    iam_ondb.load(tmp_path / "c", KEY)


def test_the_smallest_file_made_by_hand_is_read(tmp_path):
  (tmp_path / "c").write_bytes(sealed(GOOD, EDGES + bytes(12)))
  assert iam_ondb.load(tmp_path / "c", KEY).points.tolist() == [[0, 0, 0]]


def test_what_is_no_file_is_stale_and_what_cannot_be_written_an_error(
  lines, tmp_path
):
  with pytest.raises(iam_ondb.Stale, match="no regular file"):
    iam_ondb.load(tmp_path, KEY)
  (tmp_path / "blocked").touch()
  with pytest.raises(errors.UserError, match="cannot write"):
    iam_ondb.store(tmp_path / "blocked" / "c", lines, KEY)


def test_places_are_beside_the_data_or_at_home(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path / "home"))
  monkeypatch.delenv("SEQMODELS_CACHE", raising=False)
  data = tmp_path / "iamondb"
  data.mkdir()
  home = pathlib.Path(tmp_path / "home" / ".cache" / "seqmodels" / "iamondb")
  assert iam_ondb.folders(data) == [data, home]
  data.chmod(0o555)
  assert iam_ondb.folders(data) == [home]
  data.chmod(0o755)
  monkeypatch.setenv("SEQMODELS_CACHE", "~/mine")
  assert iam_ondb.folders(data) == [tmp_path / "home" / "mine"]
