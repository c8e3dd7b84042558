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
    "c.txt": b"three",
    ".hidden": b"no",
    ".git/config": b"no",
    "empty": b"",
  }.items():
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_bytes(data)
  corpus = corpora.load_files(tmp_path)
  # As parts of a path sort: the folder c before the file c.txt.
  assert corpus.parts["whole"].tobytes() == b"onetwofourthree"
  assert corpus.provenance["files"][0]["bytes"] == 15
  assert corpus.provenance["note"].endswith("joined: 5")


def test_a_byte_of_a_folder_is_traced_to_its_file(tmp_path):
  (tmp_path / "a").write_bytes(b"012")
  (tmp_path / "b").write_bytes(b"")
  (tmp_path / "c").write_bytes(b"345")
  corpus = corpora.load_files(tmp_path)
  assert corpus.locate("whole", 2) == (str(tmp_path / "a"), 2)
  assert corpus.locate("whole", 4) == (str(tmp_path / "c"), 1)


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


def test_links_that_lead_nowhere_are_passed_over(tmp_path):
  (tmp_path / "a").write_text("text")
  os.symlink(tmp_path / "gone", tmp_path / "b")
  os.symlink(tmp_path, tmp_path / "loop")
  assert corpora.load_files(tmp_path).parts["whole"].tobytes() == b"text"


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
