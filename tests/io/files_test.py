"""JSON objects in files: the same ones, or one sentence about the file."""

import errno
import json
import os
import resource
import stat

import pytest

from seqmodels import errors
from seqmodels.io import files


@pytest.fixture
def small_disk():
  """No file of this process may grow beyond 4096 bytes meanwhile."""
  soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
  resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
  yield
  resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder):
  return sorted(entry.name for entry in folder.iterdir())


def test_content_is_exact_and_alone(tmp_path):
  files.write_bytes(tmp_path / "a", bytes(range(256)) * 40)
  files.write_text(tmp_path / "b", "a\r\nb\u00e9\n")
  assert (tmp_path / "a").read_bytes() == bytes(range(256)) * 40
  assert (tmp_path / "b").read_bytes() == b"a\r\nb\xc3\xa9\n"
  assert names(tmp_path) == ["a", "b"]


def test_json_round_trip_with_infinities(tmp_path):
  value = {"best": float("inf"), "row": [1, 0.1, None, "\u00e9"]}
  files.write_json(tmp_path / "v.json", value)
  text = (tmp_path / "v.json").read_text(encoding="utf-8")
  assert json.loads(text) == value
  assert text.endswith("}\n")


def test_value_that_is_no_json_leaves_the_former_file(tmp_path):
  path = tmp_path / "v.json"
  path.write_text("former")
  with pytest.raises(TypeError):
    files.write_json(path, {"a": object()})
  assert path.read_text() == "former"
  assert names(tmp_path) == ["v.json"]


def test_former_content_is_seen_until_the_block_ends(tmp_path):
  path = tmp_path / "a"
  path.write_text("former")
  with files.writer(path) as file:
    file.write(b"new")
    file.flush()
    assert path.read_text() == "former"
  assert path.read_text() == "new"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_block_that_raises_changes_nothing(tmp_path, error):
  path = tmp_path / "a"
  path.write_text("former")

  def run():
    with files.writer(path) as file:
      file.write(b"half")
      raise error

  with pytest.raises(error):
    run()
  assert path.read_text() == "former"
  assert names(tmp_path) == ["a"]


@pytest.mark.usefixtures("small_disk")
def test_full_disk_is_a_run_error_and_leaves_no_file(tmp_path):
  path = tmp_path / "a"
  path.write_text("former")
  with pytest.raises(errors.RunError, match=r"cannot write .*free some space"):
    files.write_bytes(path, bytes(100_000))
  assert path.read_text() == "former"
  assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_failure_to_reach_the_disk_counts_as_full(
  tmp_path, monkeypatch, number
):
  def fail(_):
    raise OSError(number, os.strerror(number))

  monkeypatch.setattr(os, "fsync", fail)
  with pytest.raises(errors.RunError, match=os.strerror(number).lower()):
    files.write_bytes(tmp_path / "a", b"x")
  assert names(tmp_path) == []


@pytest.mark.parametrize("name", ["missing/a", "file/a", "folder"])
def test_path_that_cannot_be_written_is_a_user_error(tmp_path, name):
  (tmp_path / "file").write_text("in the way")
  (tmp_path / "folder").mkdir()
  with pytest.raises(errors.UserError, match="choose a folder") as caught:
    files.write_text(tmp_path / name, "x")
  assert caught.value.exit_code == 2
  assert name in str(caught.value)
  assert "\n" not in str(caught.value)
  assert names(tmp_path) == ["file", "folder"]


def test_reading_another_file_in_the_block_fails_as_itself(tmp_path):
  elsewhere = tmp_path / "elsewhere" / "source"
  (tmp_path / "here").mkdir()
  with (
    pytest.raises(FileNotFoundError),
    files.writer(tmp_path / "here" / "a"),
    elsewhere.open(),
  ):
    pass
  assert names(tmp_path / "here") == []


def test_link_stays_and_its_target_is_replaced(tmp_path):
  (tmp_path / "real").write_text("former")
  (tmp_path / "link").symlink_to("real")
  files.write_text(tmp_path / "link", "new")
  assert (tmp_path / "link").is_symlink()
  assert (tmp_path / "real").read_text() == "new"


def test_new_file_has_the_usual_permissions(tmp_path):
  (tmp_path / "usual").write_text("x")
  files.write_text(tmp_path / "a", "x")
  mode = [stat.S_IMODE((tmp_path / n).stat().st_mode) for n in ("usual", "a")]
  assert mode[0] == mode[1]


def test_name_of_the_greatest_length_is_possible(tmp_path):
  files.write_text(tmp_path / ("n" * 255), "x")
  assert names(tmp_path) == ["n" * 255]


VALUE = {"step": 3, "name": "caf\u00e9", "rates": [0.1, float("inf")]}


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "Expecting value"),
    (b'{"step": 3', "Expecting"),
    (b"\xff{}", "can't decode"),
    (b"[1]", "holds no JSON object"),
    (b"[" * 100_000, "nested too deeply"),
    (b'{"step": ' + b"9" * 5_000 + b"}", "digits"),
    (b"{}", "'step' is missing or no whole number"),
    (b'{"step": true}', "'step' is missing or no whole number"),
    (b'{"step": 1e999}', "'step' is missing or no whole number"),
    (b'{"step": ' + b"9" * 99 + b"}", "'step' is missing or no whole number"),
  ],
)
def test_a_file_that_is_no_such_object_is_refused(tmp_path, data, message):
  path = tmp_path / "x.json"
  path.write_bytes(data)
  with pytest.raises(errors.UserError, match=r"x\.json is damaged") as caught:
    files.read(path, step=int)
  assert message in str(caught.value)


def test_a_file_beyond_the_bound_is_not_parsed(tmp_path, monkeypatch):
  monkeypatch.setattr(files, "LARGEST", 9)
  (tmp_path / "x.json").write_bytes(b'{"a": 123}')
  with pytest.raises(errors.UserError, match="has 10 bytes and may have 9"):
    files.read(tmp_path / "x.json")


def test_a_pipe_is_not_waited_for_and_a_missing_file_is_named(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  with pytest.raises(errors.UserError, match="it is no regular file"):
    files.read(tmp_path / "pipe")
  with pytest.raises(errors.UserError, match="No such file"):
    files.read(tmp_path / "none")


def test_what_was_sealed_comes_back_as_json_has_it(tmp_path):
  path = tmp_path / "x.json"
  files.write_sealed(path, {**VALUE, "pair": (1, 2), "by number": {1: "a"}})
  assert files.read_sealed(path, step=int) == {
    **VALUE, "pair": [1, 2], "by number": {"1": "a"},
  }  # fmt: skip


def test_no_flipped_bit_changes_what_was_sealed(tmp_path):
  path = tmp_path / "x.json"
  files.write_sealed(path, VALUE)
  text, refused = path.read_bytes(), 0
  for bit in range(0, len(text) * 8, 3):
    flipped = bytearray(text)
    flipped[bit // 8] ^= 1 << (bit % 8)
    path.write_bytes(flipped)
    try:
      actual = files.read_sealed(path)
    except errors.UserError:
      refused += 1
      continue
    # White space of another kind, or a seal by another name.
    assert {name: actual[name] for name in VALUE} == VALUE
  assert refused > len(text)


def test_a_file_of_an_earlier_release_has_no_seal(tmp_path):
  path = tmp_path / "x.json"
  path.write_text(json.dumps(VALUE))
  assert files.read_sealed(path) == VALUE
