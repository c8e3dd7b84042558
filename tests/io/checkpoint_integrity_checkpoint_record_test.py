import dataclasses
import json

import pytest

from seqmodels import errors
from seqmodels.io import checkpoint_integrity, files


@pytest.fixture
def record():
  return checkpoint_integrity.Record(
    step=3,
    meta={"best": float("inf"), "rate": 0.1, "name": "\u00e9"},
    leaves={
      "w": checkpoint_integrity.Description((2, 0), "bfloat16", "ab"),
      "key": checkpoint_integrity.Description(
        (), "key<fry>", "cd", "threefry2x32"
      ),
    },
    files={"state/d": (12, "ef")},
    prng={"default": "threefry2x32", "partitionable": True},
  )


def test_record_comes_back_equal(record):
  again = checkpoint_integrity.Record.from_json(record.to_json())
  assert again == record
  assert again.fingerprint == record.fingerprint


def test_no_flipped_bit_changes_a_record(record):
  text = record.to_json().encode()
  for bit in range(len(text) * 8):
    flipped = bytearray(text)
    flipped[bit // 8] ^= 1 << (bit % 8)
    try:
      found = checkpoint_integrity.Record.from_json(flipped.decode())
    except (checkpoint_integrity.CorruptError, UnicodeDecodeError):
      continue
    assert found == record  # one kind of white space for another


def test_no_shortened_record_is_read(record):
  text = record.to_json()
  for length in range(len(text.rstrip())):
    with pytest.raises(checkpoint_integrity.CorruptError):
      checkpoint_integrity.Record.from_json(text[:length])


@pytest.mark.parametrize(
  "text", ["", "[]", "3", "null", "{}", '{"sha256": 1}', "[" * 100_000]
)
def test_text_that_is_no_record_is_corrupt(text):
  with pytest.raises(checkpoint_integrity.CorruptError):
    checkpoint_integrity.Record.from_json(text)


@pytest.mark.parametrize(
  "change",
  [
    {"step": 4},
    {"meta": {"best": 1.0}},
    {"leaves": {}},
    {"prng": {"default": "rbg"}},
  ],
)
def test_fingerprint_changes_with_the_content(record, change):
  assert dataclasses.replace(record, **change).fingerprint != record.fingerprint


def test_fingerprint_ignores_how_files_are_called(record):
  other = dataclasses.replace(record, files={"state/e": (12, "ef")})
  assert other.fingerprint == record.fingerprint


def test_later_format_is_a_user_error(record, monkeypatch):
  monkeypatch.setattr(checkpoint_integrity, "FORMAT", 2)
  text = record.to_json()
  monkeypatch.undo()
  assert json.loads(text)["format"] == 2
  with pytest.raises(errors.UserError, match=r"format 2.*reads up to 1"):
    checkpoint_integrity.Record.from_json(text)


@pytest.mark.parametrize(
  "change",
  [
    {"step": "3"},
    {"step": -1},
    {"step": True},
    {"meta": []},
    {"prng": None},
    {"files": {"a": ["12", "ef"]}},
    {"files": {"a": [12, 0]}},
    *(
      {"leaves": {"w": {"shape": [2], "dtype": "int8", "sha256": "", **leaf}}}
      for leaf in (
        {"shape": [-2]}, {"shape": ["2"]}, {"shape": "2"}, {"dtype": 0},
        {"sha256": None}, {"prng": 5}, {"weak": "no"},
      )
    ),
  ],
)  # fmt: skip
def test_a_right_checksum_does_not_make_right_members(record, change):
  document = {**json.loads(record.to_json()), **change}
  del document["sha256"]
  document["sha256"] = files.json_sha256(document)
  with pytest.raises(checkpoint_integrity.CorruptError, match="unreadable"):
    checkpoint_integrity.Record.from_json(json.dumps(document))
