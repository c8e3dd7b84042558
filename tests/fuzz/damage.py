"""Damage to files: accidents, and malice that knows about checksums."""

import copy
import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from seqmodels.compression import container
from seqmodels.compression import settings as settings_lib
from seqmodels.io import files

# Words that mean something to one format or another, and lengths that do not.
ODD_BYTES = (
  b"", b"\0", b"\xff\xfe", b"\x1b[31m", b"\n", b'"', b"\\", b"[" * 50_000,
  b'{"a":' * 50_000, b"9" * 5_000, b"-1", b"1e999", b"NaN", b"null",
  b"<!DOCTYPE x [<!ENTITY e 'ha'>]>", b"&e;", b"<Point/>", b"<Stroke>",
  b"CSR:", b"../", b"/etc/passwd", b" " * 3_000, "\u202e\u2028".encode(),
)  # fmt: skip
ODD_NUMBERS = (b"0", b"-1", b"9" * 20, b"7" * 5_000, b"1e999")
ODD_VALUES = (
  None, True, -1, 0, 1, 2, 2**31, 2**63, 2**200, 0.5, -2.0, 1e308, float("inf"),
  float("nan"), "", "x", "\ud800", "\x1b[31m", "é\u2028", "y" * 9_000, [], [1],
  ["a", "a"], [[[]]], {}, {"a": 1}, "../..", "/", "~nobody/x", "a\0b", "1",
)  # fmt: skip


@st.composite
def damaged(draw: Any, seeds: list[bytes]) -> bytes:
  """One of the seeds after one to four accidents."""
  data = draw(st.sampled_from(seeds))
  for _ in range(draw(st.integers(1, 4))):
    here = draw(st.integers(0, max(0, len(data) - 1)))
    accident = draw(st.sampled_from(ACCIDENTS))
    data = data[:here] + accident(draw, data[here:], seeds)
  return data


def flip(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """A bit."""
  if not rest:
    return rest
  return bytes([rest[0] ^ 1 << draw(st.integers(0, 7))]) + rest[1:]


def cut(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """All that would follow."""
  return b""


def drop(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """A few bytes."""
  return rest[draw(st.integers(1, 64)) :]


def repeat(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """A few bytes, often."""
  size = draw(st.integers(1, 64))
  return rest[:size] * draw(st.sampled_from((2, 3, 500))) + rest[size:]


def splice(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """Goes on elsewhere, perhaps in another file."""
  other = draw(st.sampled_from(seeds))
  start = draw(st.integers(0, max(0, len(other) - 1)))
  size = draw(st.sampled_from((1, 16, 512)))
  return other[start : start + size] + rest[size:]


def overstate(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """An extreme whole number where there may have been a length."""
  width = draw(st.sampled_from((1, 2, 4, 8)))
  value = draw(st.sampled_from((0, 1, -1, 1 << 31, 1 << 63, (1 << 31) - 1)))
  order = draw(st.sampled_from(("little", "big")))
  return (value % 256**width).to_bytes(width, order) + rest[width:]


def renumber(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """The same of a number in digits."""
  return re.sub(rb"\d+", draw(st.sampled_from(ODD_NUMBERS)), rest, count=1)


def insert(draw: Any, rest: bytes, seeds: list[bytes]) -> bytes:
  """Bytes that were not there."""
  return draw(st.sampled_from(ODD_BYTES)) + rest


ACCIDENTS = (flip, cut, drop, repeat, splice, overstate, renumber, insert)


@st.composite
def rewritten(draw: Any, seeds: list[bytes]) -> bytes:
  """JSON of which some members are missing, or are what they cannot be."""
  value = json.loads(draw(st.sampled_from(seeds)))
  for _ in range(draw(st.integers(1, 3))):
    places = list(members(value))
    if not places:
      break
    holder, key = draw(st.sampled_from(places))
    odd = draw(st.sampled_from(("delete", "rename", *ODD_VALUES)))
    if odd == "delete":
      del holder[key]
    elif odd == "rename" and isinstance(holder, dict):
      holder[f"{key}é"] = holder.pop(key)
    else:
      holder[key] = copy.deepcopy(odd)  # which the next may damage in turn
  return json.dumps(value).encode()


def members(value: Any) -> Iterator[tuple[Any, Any]]:
  """(container, key) of all that is within, in the order of the text."""
  if isinstance(value, dict | list):
    for key in value if isinstance(value, dict) else range(len(value)):
      yield value, key
      yield from members(value[key])


def seal_tar(data: bytes, whole: bytes) -> bytes:
  """A .tar.gz of which every header's checksum is right."""
  blocks = bytearray(data)
  for start in range(0, len(blocks) - 511, 512):
    block = blocks[start : start + 512]
    if block[257:262] == b"ustar":
      total = 8 * ord(" ") + sum(block[:148]) + sum(block[156:])
      blocks[start + 148 : start + 156] = b"%06o\0 " % total
  return gzip.compress(bytes(blocks), 1)


def seal_cache(data: bytes, whole: bytes) -> bytes:
  """A cache of lines with the digest of what follows it."""
  return data[:8] + hashlib.sha256(data[40:]).digest() + data[40:]


def header_text(data: bytes) -> bytes:
  """The header of a compressed file, as JSON."""
  _, _, length = container._PREFIX.unpack_from(data)
  unpack = zlib.decompressobj(wbits=-15, zdict=container._DICTIONARY)
  return unpack.decompress(data[container._PREFIX.size :][:length])


def seal_header(text: bytes, whole: bytes) -> bytes:
  """A compressed file of such a header, with the blocks that it had."""
  press = zlib.compressobj(1, wbits=-15, zdict=container._DICTIONARY)
  packed = press.compress(text) + press.flush()
  data = container._PREFIX.pack(container.MAGIC, 1, len(packed)) + packed
  file = io.BytesIO(whole)
  container.read_header(file)
  return data + container._CHECK.pack(zlib.crc32(data)) + file.read()


def last_block(data: bytes) -> bytes:
  """The last block of a compressed file without its check, if it is stored."""
  frame = container._FRAME.size
  block = data[-container.LEAST_BLOCK - BLOCK :]
  return block[:frame] + block[container.LEAST_BLOCK :]


def seal_block(block: bytes, whole: bytes) -> bytes:
  """A compressed file of one block: its frame, then its payload."""
  file = io.BytesIO()
  settings = settings_lib.Settings(block=BLOCK, streams=1)
  container.write_header(
    file, container.Header(BLOCK, "0" * 64, settings, container.current())
  )
  frame, payload = block[:8], block[8:]
  file.write(frame + container._CHECK.pack(zlib.crc32(block)) + payload)
  return file.getvalue()


# Bytes of a block in these files, the least that there may be.
BLOCK = 64


def model_metadata(data: bytes, member: str = "") -> bytes:
  """The metadata of a model file as JSON, or one of them."""
  size = int.from_bytes(data[:8], "little")
  actual = json.loads(data[8 : 8 + size])["__metadata__"]
  return (actual[member] if member else json.dumps(actual)).encode()


def seal_model(text: bytes, whole: bytes, member: str = "") -> bytes:
  """A model file of such metadata, with the weights that it had."""
  size = int.from_bytes(whole[:8], "little")
  header = json.loads(whole[8 : 8 + size])
  try:
    if member:
      header["__metadata__"][member] = text.decode()
    else:
      header["__metadata__"] = json.loads(text)
  except (ValueError, RecursionError):
    return whole[:8] + text + whole[8 + size :]
  packed = json.dumps(header).encode()
  return len(packed).to_bytes(8, "little") + packed + whole[8 + size :]


def seal_record(data: bytes, whole: bytes = b"") -> bytes:
  """A checkpoint's record with its own checksum, if it is one at all."""
  try:
    document = json.loads(data)
    document.pop("sha256", None)
    digest = files.json_sha256(document)
  except (ValueError, AttributeError, RecursionError):
    return data
  return json.dumps({**document, "sha256": digest}).encode()
