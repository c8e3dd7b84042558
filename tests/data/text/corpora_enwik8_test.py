"""enwik8: whole, zipped, prefix; and archives that mean harm."""

import dataclasses
import hashlib
import io
import os
import pathlib
import struct
import subprocess
import sys
import tracemalloc
import zipfile

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import corpora

PROJECT = pathlib.Path(__file__).resolve().parents[3]
MB = 1 << 20

CONTENT = b"<mediawiki> [[Anarchism]] \xe2\x80\x94 " * 40


@pytest.fixture
def small(monkeypatch):
  """enwik8 of a thousand bytes, published as such."""
  digest = hashlib.sha256(CONTENT).hexdigest()
  published = dataclasses.replace(
    corpora.ENWIK8, size=len(CONTENT), sha256=digest
  )
  monkeypatch.setattr(corpora, "ENWIK8", published)
  return published


@pytest.fixture
def folder(tmp_path):
  made = tmp_path / "enwik8"
  made.mkdir()
  return made


def zipped(*members, method=zipfile.ZIP_DEFLATED):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", method) as archive:
    for name, data in members:
      archive.writestr(name, data)
  return buffer.getvalue()


def load(tmp_path):
  return corpora.load_enwik8(tmp_path, downloads=False)


def test_the_real_prefix_says_that_it_is_one(real_data):
  corpus = corpora.load_enwik8(real_data, downloads=False)
  data = corpus.parts["whole"]
  assert len(data) == 4_154_400
  assert data[:10].tobytes() == b"<mediawiki"
  assert not corpus.complete
  note = "prefix: first 4,154,400 bytes of enwik8"
  assert corpus.provenance["note"] == note
  row = corpus.provenance["files"][0]
  file = real_data / "enwik8" / "enwik8.first-4154400"
  assert row["name"] == file.name
  assert row["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()


@pytest.mark.usefixtures("small")
def test_the_whole_file_is_read(tmp_path, folder):
  (folder / "enwik8").write_bytes(CONTENT)
  corpus = load(tmp_path)
  assert corpus.parts["whole"].tobytes() == CONTENT
  assert corpus.complete
  assert corpus.provenance["note"] == "complete enwik8"


@pytest.mark.usefixtures("small")
def test_the_archive_is_unpacked_once_beside_itself_and_mapped(
  tmp_path, folder
):
  archive = folder / "enwik8.zip"
  archive.write_bytes(zipped(("enwik8", CONTENT)))
  corpus = load(tmp_path)
  assert isinstance(corpus.parts["whole"], np.memmap)
  assert corpus.parts["whole"].tobytes() == CONTENT
  assert corpus.complete
  assert {file.name for file in folder.iterdir()} == {"enwik8", "enwik8.zip"}
  archive.write_bytes(b"no archive any more")
  again = load(tmp_path)
  assert again.parts["whole"].tobytes() == CONTENT
  assert again.provenance == corpus.provenance


@pytest.mark.usefixtures("small")
def test_beside_an_archive_in_a_read_only_folder_nothing_is_written(
  tmp_path, folder, monkeypatch
):
  (folder / "enwik8.zip").write_bytes(zipped(("enwik8", CONTENT)))
  monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
  # Root may write anywhere, so the answer is given here.
  monkeypatch.setattr(os, "access", lambda path, mode: False)
  unpacked = tmp_path / "cache" / "seqmodels" / "enwik8" / "enwik8"
  for _ in range(2):
    assert load(tmp_path).parts["whole"].tobytes() == CONTENT
    assert unpacked.read_bytes() == CONTENT
    made = unpacked.stat().st_mtime_ns
  assert unpacked.stat().st_mtime_ns == made
  unpacked.write_bytes(CONTENT[:-1])  # a damaged copy is made again
  assert load(tmp_path).parts["whole"].tobytes() == CONTENT
  assert [file.name for file in folder.iterdir()] == ["enwik8.zip"]


@pytest.mark.usefixtures("small")
def test_the_whole_goes_before_the_archive_and_that_before_prefixes(
  tmp_path, folder
):
  def name():
    return load(tmp_path).provenance["files"][0]["name"]

  (folder / "enwik8.first-3").write_bytes(CONTENT[:3])
  (folder / "enwik8.first-20").write_bytes(CONTENT[:20])
  (folder / "enwik8.first-twenty").write_bytes(CONTENT[:90])
  assert name() == "enwik8.first-20"
  (folder / "enwik8.zip").write_bytes(zipped(("enwik8", CONTENT)))
  assert load(tmp_path).complete
  (folder / "enwik8").write_bytes(CONTENT[::-1])
  with pytest.raises(errors.UserError, match="enwik8/enwik8 has SHA-256"):
    load(tmp_path)


@pytest.mark.parametrize("size", [19, 21])
def test_a_prefix_of_another_length_than_its_name_is_refused(
  tmp_path, folder, size
):
  (folder / "enwik8.first-20").write_bytes(CONTENT[:size])
  with pytest.raises(errors.UserError, match=f"has {size} bytes .* first 20"):
    load(tmp_path)


@pytest.mark.usefixtures("small")
def test_a_prefix_longer_than_the_data_set_is_refused(tmp_path, folder):
  data = CONTENT + b"x"
  (folder / f"enwik8.first-{len(data)}").write_bytes(data)
  with pytest.raises(errors.UserError, match="enwik8; name it after"):
    load(tmp_path)


def test_a_truncated_file_is_refused_with_both_sizes(tmp_path, folder):
  (folder / "enwik8").write_bytes(CONTENT)
  message = f"{len(CONTENT):,} bytes where .* 100,000,000"
  with pytest.raises(errors.UserError, match=message):
    load(tmp_path)


def test_a_missing_file_is_named_with_its_place_and_origin(tmp_path):
  with pytest.raises(errors.UserError) as caught:
    load(tmp_path)
  for part in (
    "enwik8/enwik8.zip",
    str(tmp_path / "enwik8" / "enwik8.zip"),
    "http://mattmahoney.net/dc/enwik8.zip",
  ):
    assert part in str(caught.value)


def truncated():
  return zipped(("enwik8", CONTENT))[:-30]


def damaged():
  data = bytearray(zipped(("enwik8", CONTENT), method=zipfile.ZIP_STORED))
  data[60] ^= 1
  return bytes(data)


def broken_stream():
  data = bytearray(zipped(("enwik8", CONTENT)))
  data[40:60] = b"\xff" * 20
  return bytes(data)


def lying_about_its_size():
  # A bomb whose directory promises the published size.
  data = bytearray(zipped(("enwik8", b"\0" * 5_000_000)))
  real, false = struct.pack("<I", 5_000_000), struct.pack("<I", len(CONTENT))
  assert data.count(real) == 2
  return bytes(data.replace(real, false))


def encrypted():
  data = bytearray(zipped(("enwik8", CONTENT)))
  for marker, flag_at in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
    data[data.index(marker) + flag_at] |= 1
  return bytes(data)


def unknown_method():
  data = bytearray(zipped(("enwik8", CONTENT)))
  for marker, method_at in ((b"PK\3\4", 8), (b"PK\1\2", 10)):
    data[data.index(marker) + method_at] = 97
  return bytes(data)


HOSTILE = {
  "no archive": b"not a zip",
  "empty": b"",
  "truncated": truncated(),
  "damaged": damaged(),
  "broken stream": broken_stream(),
  "lies about its size": lying_about_its_size(),
  "encrypted": encrypted(),
  "unknown method": unknown_method(),
  "climbs out": zipped(("../enwik8", CONTENT)),
  "absolute": zipped(("/enwik8", CONTENT)),
  "no member": zipped(),
  "two members": zipped(("enwik8", CONTENT), ("more", b"x")),
  "another member": zipped(("enwik9", CONTENT)),
  "a folder": zipped(("enwik8/", b"")),
  "too long": zipped(("enwik8", CONTENT + b"x")),
  "too short": zipped(("enwik8", CONTENT[:-1])),
  "other bytes": zipped(("enwik8", CONTENT[::-1])),
}


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_archive_is_refused_by_name(tmp_path, folder, name):
  (folder / "enwik8.zip").write_bytes(HOSTILE[name])
  with pytest.raises(errors.UserError) as caught:
    load(tmp_path)
  assert "enwik8.zip" in str(caught.value)
  assert "replace it by the published file" in str(caught.value)
  assert [file.name for file in tmp_path.rglob("*")] == [
    "enwik8",
    "enwik8.zip",
  ]


@pytest.mark.usefixtures("small")
def test_no_more_than_the_published_size_is_unpacked(
  tmp_path, folder, monkeypatch
):
  bomb = zipped(("enwik8", b"\0" * 50_000_000))
  (folder / "enwik8.zip").write_bytes(bomb)
  read = []
  original = zipfile.ZipExtFile.read

  def counting(self, n=-1):
    data = original(self, n)
    read.append(len(data))
    return data

  monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
  with pytest.raises(errors.UserError, match="has more bytes"):
    load(tmp_path)
  assert sum(read) == len(CONTENT) + 1


MEASURED = """
import dataclasses, os, sys
from seqmodels.data import files
from seqmodels.data.text import batching, corpora, tokens as tokens_lib

def resident(*keys):
  lines = dict(line.split(":") for line in open("/proc/self/status"))
  return [int(lines[key].split()[0]) << 10 for key in keys]

place = os.path.join(sys.argv[1], "enwik8", "enwik8")
corpora.ENWIK8 = dataclasses.replace(
  corpora.ENWIK8, size=os.path.getsize(place), sha256=files.sha256(place)
)
open("/proc/self/clear_refs", "w").write("5")  # the peak is reset
before, anonymous = resident("VmRSS", "RssAnon")
tokens = tokens_lib.load_tokens(
  source="enwik8", tokenizer="bytes", partition="fractions",
  fractions=(0.96, 0.04), data_dir=sys.argv[1],
)
[peak] = resident("VmHWM")
train = batching.SequentialStream(tokens.splits["train"], batch=32, length=100)
for start in range(0, train.segments_per_epoch - 16, 16):
  train.segments(start, 16)
valid = batching.SequentialStream(tokens.splits["valid"], batch=1, length=100)
scored = sum(int(c.mask.sum()) for c in batching.Chunks.of(valid, 80))
assert scored == len(tokens.splits["valid"])
after, peak_of_all = resident("RssAnon", "VmHWM")
print(peak - before, after - anonymous, peak_of_all - before)
"""


@pytest.mark.skipif(
  not os.access("/proc/self/clear_refs", os.W_OK), reason="no peak to measure"
)
def test_a_whole_file_is_never_in_memory(tmp_path, folder):
  # A fifth of enwik8: one copy would be 20 MB, one of int32 ids 80.
  size = 20_000_000
  line = bytes(range(205)) * 1000
  with open(folder / "enwik8", "wb") as file:
    for start in range(0, size, len(line)):
      file.write(line[: size - start])
  actual = subprocess.run(
    [sys.executable, "-c", MEASURED, str(tmp_path)],
    cwd=PROJECT,
    capture_output=True,
    text=True,
    check=True,
  )
  loading, kept, everything = map(int, actual.stdout.split())
  assert loading < 16 * MB
  assert kept < 16 * MB
  # The file's own pages come on top: the kernel's to take back.
  assert everything < size + 16 * MB


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_what_unpacks_without_bounds_is_not_begun_with(
  tmp_path, folder, small, method
):
  """A few hundred bytes of these would become as many megabytes at once."""
  bomb = zipped(("enwik8", bytes(16 << 20)), method=method)
  assert len(bomb) < 20_000
  (folder / "enwik8.zip").write_bytes(bomb)
  tracemalloc.start()
  try:
    with pytest.raises(errors.UserError, match="compressed in a way"):
      load(tmp_path)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
  finally:
    tracemalloc.stop()


@pytest.mark.usefixtures("small")
def test_an_archive_that_lists_members_without_end_is_refused(tmp_path, folder):
  many = zipped(*((f"{'x' * 999}{i}", b"") for i in range(1_200)))
  (folder / "enwik8.zip").write_bytes(many)
  with pytest.raises(errors.UserError, match="its directory is too large"):
    load(tmp_path)


@pytest.mark.usefixtures("small")
def test_a_member_whose_name_is_no_text_is_refused(tmp_path, folder):
  data = zipped(("enwik\u00e9", CONTENT)).replace(
    "\u00e9".encode(), b"\xff\xff"
  )
  (folder / "enwik8.zip").write_bytes(data)
  with pytest.raises(errors.UserError, match="is no readable zip archive"):
    load(tmp_path)


@pytest.mark.usefixtures("small")
def test_a_pipe_in_place_of_the_archive_is_not_waited_for(tmp_path, folder):
  os.mkfifo(folder / "enwik8.zip")
  with pytest.raises(errors.UserError, match="it is a pipe"):
    load(tmp_path)
