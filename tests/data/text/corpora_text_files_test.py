"""Texts of one's own: files, folders, and what is neither."""

import hashlib
import os

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import corpora


def test_a_file_is_mapped_whatever_it_holds(tmp_path):
  data = bytes(range(256))
  path = tmp_path / "any.bin"
  path.write_bytes(data)
  corpus = corpora.load_files(path)
  assert isinstance(corpus.parts["whole"], np.memmap)
  assert corpus.parts["whole"].tobytes() == data
  assert corpus.provenance["files"] == [
    {
      "name": "any.bin",
      "bytes": 256,
      "sha256": hashlib.sha256(data).hexdigest(),
    }
  ]


def test_a_folder_is_its_files_sorted_by_path_and_joined(tmp_path):
  for name, data in {
    "b.txt": b"two",
    "a/z.txt": b"one",
    "c/d/e.txt": b"four",
    "b/empty": b"",
    "c.txt": b"three",
    ".hidden": b"no",
    ".git/config": b"no",
    "empty": b"",
  }.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(data)
  corpus = corpora.load_files(tmp_path)
  # As parts of a path sort: the folder c before the file c.txt.
  assert corpus.parts["whole"].tobytes() == b"one\ntwo\nfour\nthree"
  assert corpus.provenance["files"][0]["bytes"] == 18
  assert corpus.provenance["note"].endswith("on a line of its own: 6")


def test_no_word_is_made_of_two_files(tmp_path):
  for number in range(40):
    (tmp_path / f"{number:02}").write_bytes(b"alpha beta\ngamma delta")
  (tmp_path / "40").write_bytes(b"whole\n")
  words = corpora.load_files(tmp_path).parts["whole"].tobytes()
  assert words == b"alpha beta\ngamma delta\n" * 40 + b"whole\n"


def test_only_files_that_match_are_read(tmp_path):
  for name, data in {
    "a.py": b"a",
    "a.pyc": b"\xff",
    "src/b.py": b"b",
    "src/deep/c.py": b"c",
    "src/d.txt": b"d",
  }.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(data)
  os.symlink("gone", tmp_path / "e.txt")

  def read(pattern):
    return corpora.load_files(tmp_path, pattern).parts["whole"].tobytes()

  assert read("*.py") == b"a\nb\nc"
  assert read("src/*.py") == b"b\nc"
  assert read("a.p*") == b"a\n\xff"
  with pytest.raises(errors.UserError, match=r"0 files that match '\*\.c'"):
    read("*.c")
  with pytest.raises(errors.UserError, match=r"config\.data\.files .* a file"):
    corpora.load_files(tmp_path / "a.py", "*.py")


def test_byte_order_marks_are_dropped_from_each_file(tmp_path):
  mark = b"\xef\xbb\xbf"
  (tmp_path / "a").write_bytes(mark + b"one\n")
  (tmp_path / "b").write_bytes(b"two\n")
  (tmp_path / "c").write_bytes(mark + b"three")
  folder = corpora.load_files(tmp_path)
  assert folder.parts["whole"].tobytes() == b"one\ntwo\nthree"
  assert "2 without their byte order mark" in folder.provenance["note"]
  # Positions are those in the file, as an editor shows them.
  assert folder.locate("whole", 7) == (str(tmp_path / "b"), 3)
  assert folder.locate("whole", 9) == (str(tmp_path / "c"), 4)
  file = corpora.load_files(tmp_path / "c")
  assert file.parts["whole"].tobytes() == b"three"
  assert file.locate("whole", 0) == (str(tmp_path / "c"), 3)
  assert file.provenance["files"][0]["bytes"] == 8
  (tmp_path / "c").write_bytes(mark)
  with pytest.raises(errors.UserError, match="empty but for its byte order"):
    corpora.load_files(tmp_path / "c")


def test_a_byte_of_a_folder_is_traced_to_its_file(tmp_path):
  (tmp_path / "a").write_bytes(b"012")
  (tmp_path / "b").write_bytes(b"")
  (tmp_path / "c").write_bytes(b"345")
  corpus = corpora.load_files(tmp_path)
  assert corpus.locate("whole", 2) == (str(tmp_path / "a"), 2)
  assert corpus.locate("whole", 5) == (str(tmp_path / "c"), 1)


def test_folders_made_in_another_order_give_the_same_corpus(tmp_path):
  names = ["x", "b", "m"]
  for place, order in (("one", names), ("two", names[::-1])):
    (tmp_path / place).mkdir()
    for name in order:
      (tmp_path / place / name).write_text(name)
  one, two = (corpora.load_files(tmp_path / p) for p in ("one", "two"))
  assert (
    one.provenance["files"][0]["sha256"]
    == (two.provenance["files"][0]["sha256"])
  )


def test_links_are_followed_and_no_folder_is_read_twice(tmp_path):
  (tmp_path / "else").mkdir()
  (tmp_path / "else" / "far").write_text("far")
  (tmp_path / "here").mkdir()
  (tmp_path / "here" / "near").write_text("near")
  os.symlink(tmp_path / "else", tmp_path / "here" / "link")
  os.symlink(tmp_path / "here", tmp_path / "else" / "back")
  os.symlink(tmp_path / "else" / "far", tmp_path / "here" / "one_file")
  corpus = corpora.load_files(tmp_path / "here")
  assert corpus.parts["whole"].tobytes() == b"far\nnear\nfar"


def test_what_cannot_be_read_is_refused_with_what_to_do(tmp_path, monkeypatch):
  (tmp_path / "a").write_text("text")
  os.symlink(tmp_path / "gone", tmp_path / "b")
  with pytest.raises(errors.UserError, match=r"/b: No such file.*data\.files="):
    corpora.load_files(tmp_path)
  (tmp_path / "b").unlink()
  os.mkfifo(tmp_path / "b")
  with pytest.raises(errors.UserError, match="/b: it is a pipe, not a regular"):
    corpora.load_files(tmp_path)
  (tmp_path / "b").unlink()
  (tmp_path / "b").mkdir()
  listdir = os.listdir

  def forbidden(place):
    if place == tmp_path / "b":  # as root, nothing is
      raise PermissionError(13, "Permission denied")
    return listdir(place)

  monkeypatch.setattr(os, "listdir", forbidden)
  with pytest.raises(errors.UserError, match="/b: Permission denied; take it"):
    corpora.load_files(tmp_path)


def test_a_pipe_is_called_one(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with pytest.raises(errors.UserError, match=r"it is a pipe.*save its content"):
    corpora.load_files(tmp_path / "pipe")


def test_no_path_at_all_is_refused_with_the_setting_to_give():
  with pytest.raises(errors.UserError, match=r"--config\.data\.path=PATH"):
    corpora.load_files("")


def test_a_path_that_does_not_exist_is_refused_by_name(tmp_path):
  with pytest.raises(errors.UserError, match=r"no file or folder .*gone"):
    corpora.load_files(tmp_path / "gone")


def test_an_empty_file_is_refused_by_name(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(errors.UserError, match="file is empty"):
    corpora.load_files(tmp_path / "file")


def test_a_folder_without_text_is_refused_by_name(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(errors.UserError, match=r"is empty \(1 files, 0 bytes\)"):
    corpora.load_files(tmp_path)


def test_the_time_machine_is_the_published_one(real_data):
  corpus = corpora.load_time_machine(real_data, downloads=False)
  assert corpus.provenance["source"] == "timemachine"
  # The checksum that the textbook publishes is a SHA-1.
  assert hashlib.sha1(corpus.parts["whole"].tobytes()).hexdigest() == (
    "090b5e7e70c295757f55df93cb0a180b9691891a"
  )


def test_another_time_machine_is_refused(tmp_path):
  (tmp_path / "timemachine").mkdir()
  (tmp_path / "timemachine" / "timemachine.txt").write_text("The Eloi")
  with pytest.raises(errors.UserError, match=r"8 bytes where .* 178,979"):
    corpora.load_time_machine(tmp_path, downloads=False)
