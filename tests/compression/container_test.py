"""The file format, whole and damaged."""

import io
import zlib

import hypothesis
import pytest
from hypothesis import strategies as st

from seqmodels import errors
from seqmodels.compression import container, settings

DATA = bytes(range(200))
BLOCK = 64


def header(**changes):
  values = {
    "size": len(DATA),
    "sha256": "0123456789abcdef" * 4,
    "settings": settings.Settings(block=BLOCK),
    "fingerprint": container.current(),
    "preset": "default",
  }
  return container.Header(**{**values, **changes})


def pack():
  """A file of four blocks, coded by a toy: every other byte left out."""
  file = io.BytesIO()
  container.write_header(file, header())
  for begin in range(0, len(DATA), BLOCK):
    piece = DATA[begin : begin + BLOCK]
    container.write_block(file, piece[::2], piece)
  return file.getvalue()


def unpack(data):
  file = io.BytesIO(data)
  actual = container.read_header(file)
  pieces = []
  for number in range(actual.blocks):
    size = min(actual.settings.block, actual.size - number * BLOCK)
    frame = container.read_block(file, number, size)
    piece = DATA[number * BLOCK : number * BLOCK + size]
    if frame.stored or frame.payload != piece[::2]:
      raise AssertionError("another payload passed its check")
    frame.require(piece)
    pieces.append(piece)
  container.require_end(file)
  return b"".join(pieces)


def test_what_is_written_is_read():
  assert unpack(pack()) == DATA
  file = io.BytesIO(pack())
  assert container.read_header(file) == header()


def test_the_header_is_small(monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")  # which it names
  assert container.write_header(io.BytesIO(), header()) < 150


def test_a_code_that_is_no_shorter_is_not_used():
  file = io.BytesIO()
  container.write_block(file, b"x" * 20, b"y" * 20)
  file.seek(0)
  frame = container.read_block(file, 0, 20)
  assert (frame.stored, frame.payload) == (True, b"y" * 20)


def test_every_truncation_is_refused():
  data = pack()
  for length in range(len(data)):
    with pytest.raises(errors.UserError):
      unpack(data[:length])


def test_every_flipped_bit_is_refused():
  data = pack()
  for place in range(len(data)):
    for bit in range(8):
      wrong = bytearray(data)
      wrong[place] ^= 1 << bit
      with pytest.raises(errors.UserError):
        unpack(bytes(wrong))


@pytest.mark.parametrize("more", [b"\0", b"garbage", pack()])
def test_what_follows_the_last_block_is_refused(more):
  with pytest.raises(errors.UserError, match="follows the last block"):
    unpack(pack() + more)


@hypothesis.given(st.binary(max_size=200))
def test_other_files_are_refused(data):
  with pytest.raises(errors.UserError):
    unpack(data)


@hypothesis.given(st.binary(max_size=200))
def test_any_header_with_a_right_check_is_refused_or_read(text):
  packer = zlib.compressobj(9, wbits=-15)
  packed = packer.compress(text) + packer.flush()
  file = io.BytesIO()
  prefix = container._PREFIX.pack(
    container.MAGIC, container.VERSION, len(packed)
  )
  file.write(prefix + packed)
  file.write(container._CHECK.pack(zlib.crc32(prefix + packed)))
  file.seek(0)
  with pytest.raises(errors.UserError, match="makes no sense"):
    container.read_header(file)


@pytest.mark.parametrize(
  "changes",
  [
    {"size": -1},
    {"size": 1 << 70},
    {"size": "1"},
    {"sha256": "short"},
    {"sha256": "zz" * 32},
    {"weights": 5},
    {"respelled": -1},
    {"respelled": "1"},
    {"size": 0, "respelled": 500},
    {"size": 500, "respelled": 500},
    {"fingerprint": []},
    {"fingerprint": ["ab"]},
    {"fingerprint": {"jax": 5}},
    {"fingerprint": {"jax": "\ud800"}},
    {"preset": "\ud800"},
    {"preset": "a\nb"},
    {"preset": []},
    {"fingerprint": 5},
  ],
  ids=str,
)
def test_a_header_that_makes_no_sense_is_refused(changes):
  file = io.BytesIO()
  container.write_header(file, header(**changes))
  file.seek(0)
  with pytest.raises(errors.UserError, match="makes no sense"):
    container.read_header(file)


def test_a_bomb_is_not_unpacked():
  packer = zlib.compressobj(9, wbits=-15)
  packed = packer.compress(b" " * 50_000_000) + packer.flush()
  assert len(packed) < 65_536
  prefix = container._PREFIX.pack(
    container.MAGIC, container.VERSION, len(packed)
  )
  check = container._CHECK.pack(zlib.crc32(prefix + packed))
  with pytest.raises(errors.UserError, match="longer than it may be"):
    container.read_header(io.BytesIO(prefix + packed + check))


def test_a_terabyte_claimed_costs_nothing():
  file = io.BytesIO()
  container.write_header(file, header(size=1 << 40))
  file.seek(0)
  actual = container.read_header(file)
  assert actual.blocks == 1 << 34
  with pytest.raises(errors.UserError, match="ends within block 0"):
    container.read_block(file, 0, BLOCK)


def test_another_version_is_named():
  data = bytearray(pack())
  data[len(container.MAGIC)] = 9
  with pytest.raises(errors.UserError, match="version 9 of the format"):
    unpack(bytes(data))


def test_a_model_gone_astray_is_told_from_damage():
  file = io.BytesIO(pack())
  container.read_header(file)
  frame = container.read_block(file, 0, BLOCK)
  with pytest.raises(errors.UserError, match="although it is not damaged"):
    frame.require(b"other bytes")
