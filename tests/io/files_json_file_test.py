"""JSON objects in files: the same ones, or one sentence about the file."""

import json
import os

import pytest

from seqmodels import errors
from seqmodels.io import files

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
      found = files.read_sealed(path)
    except errors.UserError:
      refused += 1
      continue
    # White space of another kind, or a seal by another name.
    assert {name: found[name] for name in VALUE} == VALUE
  assert refused > len(text)


def test_a_file_of_an_earlier_release_has_no_seal(tmp_path):
  path = tmp_path / "x.json"
  path.write_text(json.dumps(VALUE))
  assert files.read_sealed(path) == VALUE
