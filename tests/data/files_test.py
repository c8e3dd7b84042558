"""Files: mapped, hashed, written whole or not at all."""

import hashlib
import os

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data import files


def test_sha256_is_that_of_the_whole_content(tmp_path):
  data = bytes(range(256)) * 10_000  # more than one piece
  (tmp_path / "file").write_bytes(data)
  assert files.sha256(tmp_path / "file") == hashlib.sha256(data).hexdigest()


def test_a_pipe_is_not_waited_for_and_a_folder_is_no_file(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  for path, kind in ((tmp_path / "pipe", "pipe"), (tmp_path, "folder")):
    for read in (files.opened, files.bytes_of):
      with pytest.raises(errors.UserError, match=f"it is a {kind}, not a"):
        read(path)
  with pytest.raises(errors.UserError, match="none: No such"):
    files.sha256(tmp_path / "none")


def test_bytes_are_mapped_not_loaded(tmp_path):
  (tmp_path / "file").write_bytes(b"abc")
  data = files.bytes_of(tmp_path / "file")
  assert isinstance(data, np.memmap)
  assert data.tobytes() == b"abc"


@pytest.mark.parametrize("size", [1, 4096, 5000, 10**6])
def test_pieces_of_a_mapped_file_are_the_file(tmp_path, size):
  content = np.random.default_rng(0).bytes(10_001)
  (tmp_path / "file").write_bytes(content)
  data = files.bytes_of(tmp_path / "file")
  actual = b"".join(piece.tobytes() for piece in files.pieces(data, size))
  assert actual == content
  # Pages given back are read again when they are wanted again.
  part = np.asarray(data)[100:9000]
  kept = list(files.pieces(part, size))
  assert b"".join(piece.tobytes() for piece in kept) == content[100:9000]


def test_what_was_written_to_a_private_mapping_is_not_lost(tmp_path):
  (tmp_path / "file").write_bytes(bytes(10_000))
  data = np.memmap(tmp_path / "file", np.uint8, mode="c")
  data[:] = 7
  for view in (data, np.asarray(data)[5:]):
    assert all(np.all(piece == 7) for piece in files.pieces(view, 4096))
    assert np.all(data == 7)


def test_pieces_that_break_leave_nothing(tmp_path):
  def broken():
    yield b"the beginning"
    raise errors.UserError("no more of it")

  with pytest.raises(errors.UserError, match="no more of it"):
    files.write_pieces(tmp_path / "file", broken())
  assert os.listdir(tmp_path) == []


def test_an_empty_file_is_refused_by_name(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(errors.UserError, match=r"file is empty \(0 bytes\)"):
    files.bytes_of(tmp_path / "file")


def test_a_missing_file_is_refused_by_name(tmp_path):
  with pytest.raises(errors.UserError, match=r"cannot read .*gone: No such"):
    files.bytes_of(tmp_path / "gone")


def test_writing_makes_folders_and_replaces_what_was_there(tmp_path):
  path = tmp_path / "a" / "b" / "file"
  files.write_pieces(path, [b"old"])
  files.write_pieces(path, [b"n", b"ew"])
  assert path.read_bytes() == b"new"
  assert os.listdir(path.parent) == ["file"]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
  (tmp_path / "file").touch()
  with pytest.raises(errors.UserError, match="cannot write"):
    files.write_pieces(tmp_path / "file" / "below", [b"x"])
