"""Archives and folders: the same files, and nothing that leads elsewhere."""

import gzip
import io
import os
import tarfile
import time
import tracemalloc

import pytest

from seqmodels import errors
from seqmodels.data.handwriting import archive as archive_lib

FILES = {
  "lines/a/a-01.xml": b"<a/>" * 500,
  "lines/a/a-02.xml": b"",
  "lines/b/b-01.xml": bytes(range(256)) * 8,
  "lines/b/notes.txt": b"not wanted",
}


def header(name, size=0, kind=tarfile.REGTYPE, link=""):
  actual = tarfile.TarInfo(name)
  actual.size, actual.type, actual.linkname = size, kind, link
  return actual


def packed(path, files=FILES, more=(), form=tarfile.PAX_FORMAT):
  """A .tar.gz of files, and of (header, content) pairs as they are."""
  with tarfile.open(path, "w:gz", format=form) as archive:
    archive.addfile(header("lines", kind=tarfile.DIRTYPE))
    for name, data in files.items():
      archive.addfile(header(name, len(data)), io.BytesIO(data))
    for actual, data in more:
      archive.addfile(actual, io.BytesIO(data))
  return path


def unpacked(folder):
  for name, data in FILES.items():
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
  return folder


def read(path, suffix=".xml", **settings):
  return [tuple(m) for m in archive_lib.members(path, suffix, **settings)]


WANTED = [pair for pair in FILES.items() if pair[0].endswith(".xml")]


@pytest.mark.parametrize(
  "form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
def test_an_archive_gives_the_files_asked_for(tmp_path, form):
  path = packed(tmp_path / "lines.tar.gz", form=form)
  assert read(path) == WANTED
  assert len(read(path, "")) == len(FILES)


def test_a_folder_gives_the_same(tmp_path):
  assert read(unpacked(tmp_path)) == WANTED


def test_progress_reaches_the_end(tmp_path):
  for path in (packed(tmp_path / "x.tar.gz"), unpacked(tmp_path / "x")):
    told = []
    read(
      path, progress=lambda done, total, told=told: told.append((done, total))
    )
    assert told[-1][0] == told[-1][1] > 0
    assert told == sorted(told)


def test_dots_in_paths_are_taken_out_and_hidden_files_left_out(tmp_path):
  files = {"./lines/./a-01.xml": b"x", "lines/._a-01.xml": b"junk"}
  assert read(packed(tmp_path / "x.tar.gz", files)) == [
    ("lines/a-01.xml", b"x")
  ]
  (tmp_path / "folder").mkdir()
  (tmp_path / "folder" / "._a-01.xml").write_bytes(b"junk")
  assert read(tmp_path / "folder") == []


def test_long_names_are_whole(tmp_path):
  name = "lines/" + "a" * 300 + ".xml"
  for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
    path = packed(tmp_path / "x.tar.gz", {name: b"x"}, form=form)
    assert read(path) == [(name, b"x")]


@pytest.mark.parametrize(
  "name",
  ["/etc/a.xml", "../a.xml", "lines/../../a.xml", "lines\\..\\a.xml", "/x.txt"],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
  path = packed(tmp_path / "x.tar.gz", {name: b"x"})
  with pytest.raises(errors.UserError, match="which leads out of it"):
    read(path)


@pytest.mark.parametrize(
  ("kind", "link"),
  [
    (tarfile.SYMTYPE, "/etc/passwd"),
    (tarfile.LNKTYPE, "lines/a/a-01.xml"),
    (tarfile.CHRTYPE, ""),
    (tarfile.BLKTYPE, ""),
    (tarfile.FIFOTYPE, ""),
    (tarfile.CONTTYPE, ""),
  ],
)
@pytest.mark.parametrize("name", ["lines/c.xml", "lines/c.txt"])
def test_links_and_devices_are_refused(tmp_path, kind, link, name):
  more = [(header(name, kind=kind, link=link), b"")]
  path = packed(tmp_path / "x.tar.gz", more=more)
  with pytest.raises(errors.UserError, match="which is no regular file"):
    read(path)


def test_links_and_pipes_of_a_folder_are_refused(tmp_path):
  for folder in ("link", "loop", "pipe"):
    unpacked(tmp_path / folder)
  (tmp_path / "link" / "c.xml").symlink_to("lines/a/a-01.xml")
  (tmp_path / "loop" / "c.xml").symlink_to(tmp_path / "loop")
  os.mkfifo(tmp_path / "pipe" / "c.xml")
  for folder in ("link", "loop", "pipe"):
    with pytest.raises(errors.UserError, match=r"c\.xml is no regular file"):
      read(tmp_path / folder)


def test_a_name_that_comes_twice_is_refused(tmp_path):
  more = [(header("./lines/a/a-01.xml", 1), b"y")]
  with pytest.raises(errors.UserError, match=r"'lines/a/a-01\.xml' twice"):
    read(packed(tmp_path / "x.tar.gz", more=more))


def test_a_member_beyond_the_bound_is_not_read(tmp_path):
  size = archive_lib.LARGEST_MEMBER + 1
  path = packed(tmp_path / "x.tar.gz", {"a.xml": bytes(size)})
  with pytest.raises(errors.UserError, match=r"'a\.xml' has 4,194,305 bytes"):
    read(path)
  (tmp_path / "a.xml").write_bytes(bytes(size))
  with pytest.raises(errors.UserError, match="has 4,194,305 bytes"):
    read(tmp_path)


def test_a_bomb_is_put_out_when_it_has_grown_enough(tmp_path, monkeypatch):
  monkeypatch.setattr(archive_lib, "LARGEST_TOTAL", 1 << 20)
  path = tmp_path / "x.tar.gz"
  packed(path, {f"{i}.txt": bytes(1 << 18) for i in range(8)})
  with pytest.raises(errors.UserError, match="holds more than 1,048,576 bytes"):
    read(path)
  # Zeros after the end of the archive are a bomb as well.
  path.write_bytes(packed(path).read_bytes() + gzip.compress(bytes(1 << 21)))
  with pytest.raises(errors.UserError, match="holds more than 1,048,576 bytes"):
    read(path)
  (tmp_path / "f").mkdir()
  for i in range(8):
    (tmp_path / "f" / f"{i}.xml").write_bytes(bytes(1 << 18))
  with pytest.raises(errors.UserError, match="holds more than 1,048,576 bytes"):
    read(tmp_path / "f")


@pytest.mark.parametrize("size", [1 << 40, 1 << 62])
@pytest.mark.parametrize(
  "kind", [tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME]
)
def test_sizes_that_are_only_declared_are_refused_at_once(tmp_path, size, kind):
  block = header("a.xml", size, kind).tobuf(tarfile.GNU_FORMAT)
  path = tmp_path / "x.tar.gz"
  path.write_bytes(gzip.compress(block + bytes(10_240)))
  begin = time.process_time()
  with pytest.raises(errors.UserError, match=f"has {size:,} bytes"):
    read(path)
  assert time.process_time() - begin < 5


def test_sizes_that_go_backwards_are_refused(tmp_path):
  actual = header("lines/c.txt", 512)
  actual.pax_headers = {"size": "-4096"}
  path = packed(tmp_path / "x.tar.gz", more=[(actual, bytes(512))])
  with pytest.raises(errors.UserError, match=r"no whole \.tar\.gz"):
    read(path)


def test_headers_without_end_are_refused(tmp_path):
  block = header("a", 0, tarfile.GNUTYPE_LONGNAME).tobuf(tarfile.GNU_FORMAT)
  path = tmp_path / "x.tar.gz"
  path.write_bytes(gzip.compress(block * 5000))
  with pytest.raises(errors.UserError, match="'a header' has 8,704 bytes"):
    read(path)


def test_more_members_than_any_data_set_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(archive_lib, "MOST_MEMBERS", 3)
  for path in (packed(tmp_path / "x.tar.gz"), unpacked(tmp_path / "f")):
    with pytest.raises(errors.UserError, match="holds more than 3 files"):
      read(path, "")


def test_an_archive_cut_anywhere_is_said_to_be_cut_off(tmp_path):
  whole = packed(tmp_path / "x.tar.gz").read_bytes()
  cut = tmp_path / "cut.tar.gz"
  for length in range(0, len(whole), 7):
    cut.write_bytes(whole[:length])
    with pytest.raises(errors.UserError, match=r"is cut off|no whole \.tar"):
      read(cut)


def test_an_archive_that_was_cut_before_it_was_packed_is_noticed(tmp_path):
  tar = gzip.decompress(packed(tmp_path / "x.tar.gz").read_bytes())
  end = len(tar.rstrip(b"\0"))
  path = tmp_path / "cut.tar.gz"
  for length in (512, 1000, 2048, 2049, end, -(-end // 512) * 512):
    path.write_bytes(gzip.compress(tar[:length]))
    with pytest.raises(errors.UserError, match=r"is cut off|no whole \.tar"):
      read(path)


def test_a_changed_byte_is_noticed(tmp_path):
  whole = packed(tmp_path / "x.tar.gz").read_bytes()
  path = tmp_path / "changed.tar.gz"
  # Before the data come a time and the names of a system and of the archive.
  for place in range(10 + len("x.tar") + 1, len(whole), 5):
    changed = bytearray(whole)
    changed[place] ^= 0x55
    path.write_bytes(changed)
    with pytest.raises(errors.UserError):
      read(path)


def test_a_damaged_header_does_not_end_the_archive_quietly(tmp_path):
  tar = bytearray(gzip.decompress(packed(tmp_path / "x.tar.gz").read_bytes()))
  tar[tar.index(b"lines/b/b-01.xml") + 3] ^= 1
  path = tmp_path / "x.tar.gz"
  path.write_bytes(gzip.compress(tar))
  with pytest.raises(errors.UserError, match="a damaged header"):
    read(path)


@pytest.mark.parametrize("data", [b"", b"plain text", b"\x1f\x8b", b"PK\3\4"])
def test_files_that_are_no_archives_are_refused(tmp_path, data):
  (tmp_path / "x.tar.gz").write_bytes(data)
  with pytest.raises(errors.UserError, match=r"cut off|no whole \.tar\.gz"):
    read(tmp_path / "x.tar.gz")


def test_a_missing_archive_is_named(tmp_path):
  with pytest.raises(errors.UserError, match=r"cannot read .*x\.tar\.gz"):
    read(tmp_path / "x.tar.gz")


def heads(*headers, data=b""):
  """A .tar.gz of bare headers, whatever they say, and a file after them."""
  blocks = b"".join(
    actual.tobuf(tarfile.GNU_FORMAT) + d for actual, d in headers
  )
  return gzip.compress(blocks + data + bytes(10_240), 1)


def pax(text):
  """An extended header: its own block, and what it says."""
  padded = text + bytes(-len(text) % 512)
  return header("x", len(text), tarfile.XHDTYPE), padded


def test_a_member_may_not_say_too_much_of_itself(tmp_path):
  path = tmp_path / "x.tar.gz"
  # Digits without end: where Python looks for a charset among them, it takes
  # the square of their number.
  digits = b"1" * (archive_lib.LARGEST_HEADER + 1)
  path.write_bytes(heads(pax(digits), (header("a.xml"), b"")))
  begin = time.process_time()
  with pytest.raises(errors.UserError, match="'a header' has 8,"):
    read(path)
  assert time.process_time() - begin < 2


@pytest.mark.parametrize("version", ["old", "1.0"])
def test_maps_of_holes_end_before_they_fill_the_memory(tmp_path, version):
  """Of a sparse file, of which a zipped kilobyte lists millions of holes."""
  if version == "old":
    block = bytearray(
      header("a.xml", 0, tarfile.GNUTYPE_SPARSE).tobuf(tarfile.GNU_FORMAT)
    )
    block[482] = 1  # more of the map follows, in this block and in all others
    total = 8 * ord(" ") + sum(block[:148]) + sum(block[156:])
    block[148:156] = b"%06o\0 " % total
    more = b"00000000001\0" * 42
    blocks = bytes(block) + (more + b"\1" + bytes(7)) * 10_000
  else:
    said = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
    extended, padded = pax(said)
    blocks = extended.tobuf() + padded + header("a.xml", 512).tobuf()
    blocks += b"99999999\n0" + b"\n0" * (5 << 20)
  path = tmp_path / "x.tar.gz"
  path.write_bytes(gzip.compress(blocks, 1))
  with pytest.raises(errors.UserError, match="'a header' has 8,"):
    read(path)


def test_what_is_said_of_all_members_is_not_copied_for_each(tmp_path):
  said = b"".join(b"%d k%05d=v\n" % (12, i) for i in range(500))
  everywhere = header("g", len(said), tarfile.XGLTYPE)
  padded = said + bytes(-len(said) % 512)
  members = [
    each
    for i in range(400)
    for each in (pax(b"11 mtime=0\n"), (header(f"{i}.txt"), b""))
  ]
  path = tmp_path / "x.tar.gz"
  path.write_bytes(heads((everywhere, padded), *members))
  tracemalloc.start()
  try:
    assert len(read(path, ".txt")) == 400
    _, peak = tracemalloc.get_traced_memory()
  finally:
    tracemalloc.stop()
  # Four hundred copies would take four hundred times 18 kilobytes.
  assert peak < 4_000_000


def test_a_pipe_in_place_of_an_archive_is_not_waited_for(tmp_path):
  os.mkfifo(tmp_path / "x.tar.gz")
  with pytest.raises(errors.UserError, match="is a pipe, not a regular file"):
    read(tmp_path / "x.tar.gz")


def test_an_archive_within_an_archive_is_a_file_like_any_other(tmp_path):
  bomb = gzip.compress(bytes(1 << 20))
  path = packed(tmp_path / "x.tar.gz", {"a.xml": bomb, "b.xml.gz": bomb})
  assert read(path) == [("a.xml", bomb)]
