"""The container of a compressed file, and the fingerprint of its model.

Whoever decodes repeats every rounding of whoever coded, or all that follows is
lost. So a file says by what its numbers were predicted, and is refused by what
would predict others.

A portable file is predicted on a CPU, by operations that IEEE 754 rounds one by
one: products are sums in a fixed order (`ops.in_order`), and no library and no
approximation of the processor's takes part (`model.create`), so that the number
of threads does not matter. What is left to the compiler, which additions share
a register and whether a multiplication is fused with one, depends on the
instructions that it may use. With

    XLA_FLAGS=--xla_cpu_max_isa=AVX

in the environment before JAX starts (`main.py` sees to it) these are the same
on x86-64 processors, none of them fused, so that another one decodes the file
by the same releases of the packages below. The same bits came from an EPYC with
AVX2 by 1, 2, 5 and 7 threads, from code for SSE4.2, and from a Sandy Bridge as
QEMU emulates it; no other processor, none with AVX-512 among them, has been
tried. The checks in a file tell wrong bytes from right ones wherever it is
decoded.

Without the flag a file is decoded on processors with the features of the one it
was made on; and one that is not portable on the same model, with as many
threads.

The file is a header with what decoding needs, then blocks with checks:

    magic      8 bytes
    version    uint16
    length     uint32, of the header
    header     JSON, deflated with a preset dictionary: size and SHA-256 of
               the original, settings, fingerprint, and the SHA-256 of trained
               weights where it began with some
    check      uint32, CRC-32 of all before
    then for each block
      length   uint32, of the payload; the highest bit says "stored as it is"
      original uint32, CRC-32 of the block's bytes
      check    uint32, CRC-32 of these two and the payload
      payload

Integers are little-endian. Nothing follows the last block. The payload's check
finds damage before anything is decoded; the original's finds a model that went
another way than the one that coded.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import struct
import zlib
from collections.abc import Mapping
from typing import Any, BinaryIO

import jax

from seqmodels import errors
from seqmodels.compression import settings as settings_lib

# Raised whenever the same settings come to predict other numbers.
MODEL = "4"
CPUINFO = pathlib.Path("/proc/cpuinfo")
_REPEATABLE = "--xla_gpu_deterministic_ops=true"
_LIMIT = re.compile(r"--xla_cpu_max_isa=(\S*)")
_PACKAGES = ("jax", "jaxlib", "flax", "optax", "constriction")
# Switches of JAX that change numbers, and how they are set unless somebody has
# changed them: headers name the others.
_SWITCHES: Mapping[str, Any] = {
  "jax_default_matmul_precision": None,
  "jax_default_prng_impl": "threefry2x32",
  "jax_disable_jit": False,
  "jax_disable_most_optimizations": False,
  "jax_enable_x64": False,
  "jax_random_seed_offset": 0,
  "jax_softmax_custom_jvp": False,
  "jax_threefry_partitionable": True,
}


def current(*, portable: bool = True) -> dict[str, str]:
  """The fingerprint of this process, for portable files or others."""
  flags = os.environ.get("XLA_FLAGS", "")
  limit = _LIMIT.findall(flags)
  facts = {
    "model": MODEL,
    "arithmetic": "portable" if portable else "native",
    "platform": jax.default_backend(),
    "processor": limit[-1] if portable and limit else _features(portable),
    "xla_flags": " ".join(_LIMIT.sub("", flags).split()),
  }
  if not portable:
    facts["device"] = jax.devices()[0].device_kind
    facts["threads"] = str(len(os.sched_getaffinity(0)))
  for name, usual in _SWITCHES.items():
    if jax.config.values[name] != usual:
      facts[name] = str(jax.config.values[name])
  return facts | {name: importlib.metadata.version(name) for name in _PACKAGES}


def require_repeatable(*, portable: bool = True) -> None:
  """Refuses a device whose numbers are not those of the next time.

  Raises:
    UserError: a GPU without the flag that makes it repeat itself, or an
      accelerator for a portable file.
  """
  backend = jax.default_backend()
  if portable and backend != "cpu":
    raise errors.UserError(
      f"portable files are made and read on a CPU, and this is a {backend}; "
      "set JAX_PLATFORMS=cpu in the environment, or choose "
      "--config.portable=False"
    )
  flags = os.environ.get("XLA_FLAGS", "")
  if backend == "gpu" and _REPEATABLE not in flags:
    raise errors.UserError(
      "a GPU predicts the same numbers twice only with "
      f"XLA_FLAGS={_REPEATABLE} in the environment; set it, or choose "
      "JAX_PLATFORMS=cpu"
    )


def require_same(theirs: Mapping[str, str]) -> None:
  """Refuses a file that was predicted by something else.

  Raises:
    UserError: names what differs, on both sides.
  """
  ours = current(portable=is_portable(theirs))
  names = [*ours, *(name for name in theirs if name not in ours)]
  different = [
    f"{name} {theirs.get(name, '')!r} (here {ours.get(name, '')!r})"
    for name in names
    if theirs.get(name) != ours.get(name)
  ]
  if different:
    raise errors.UserError(
      "this file can only be decoded by what predicts the same numbers, and it "
      f"was made with {', '.join(different)}; use the same, or try here with "
      "--config.force=True, which finds out by the checksums"
    )


def is_portable(fingerprint: Mapping[str, str]) -> bool:
  """True of files that other processors decode, too."""
  return fingerprint.get("arithmetic") == "portable"


def _features(portable: bool) -> str:
  """A hash of what XLA compiles for, and of the model where that may matter."""
  try:
    text = CPUINFO.read_text(encoding="utf-8")
  except OSError:
    text = f"flags: {platform.processor()}"
  lines = (line.partition(":") for line in text.splitlines())
  facts = {key.strip(): value.strip() for key, _, value in lines}
  flags = sorted(facts.get("flags", facts.get("Features", "")).split())
  named = [platform.machine(), *flags]
  if not portable:
    named.append(facts.get("model name", ""))
  return hashlib.sha256(" ".join(named).encode()).hexdigest()[:8]


MAGIC = b"\x93SEQ\r\n\x1a\n"
VERSION = 1
_PREFIX = struct.Struct("<8sHI")
_CHECK = struct.Struct("<I")
_FRAME = struct.Struct("<II")
# Bounds on what a hostile file can make a reader hold.
_LONGEST_HEADER = 1 << 16
_LARGEST_FILE = 1 << 62
_STORED = 1 << 31
# What headers have in common, which then costs almost nothing; of version 1.
_DICTIONARY = (
  b'"bfloat16","lstm""gpu","tpu"'
  b'{"size":1,"sha256":"","settings":{"streams":4,"block":65536,"layers":'
  b'[256],"cell":"layer_norm_lstm","dtype":"float32","segment":8,'
  b'"learning_rate":0.005,"final_learning_rate":0.0005,"replay_every":0,'
  b'"replay_windows":16,"replay_length":64,"contexts":["1","2","3","4","5",'
  b'"6","word"],"context_bits":22,"match":6,"mixing_rate":0.002,"seed":0},'
  b'"fingerprint":{"model":"1","platform":"cpu","device":"cpu","processor":'
  b'"","threads":"2","precision":"None","x64":"False","xla_flags":"",'
  b'"random":"threefry2x32","jax":"0.10.2","jaxlib":"0.10.2","flax":"0.12.8",'
  b'"optax":"0.2.8","numpy":"2.4.6","constriction":"0.5.0"},"weights":"",'
  b'"preset":"default"}'
)
# Bytes that any block takes.
LEAST_BLOCK = _FRAME.size + _CHECK.size


@dataclasses.dataclass(frozen=True)
class Header:
  """The header of a compressed file.

  Attributes:
    size: bytes of the original.
    sha256: of the original, hexadecimal.
    settings: of the model.
    fingerprint: where it was coded, see `current`.
    weights: SHA-256 of the trained weights it began with, or "".
    preset: the name its settings go by, or "".
    respelled: bytes after `dictionary.respell`, which the blocks hold; 0 where
      they hold the original as it was.
  """

  size: int
  sha256: str
  settings: settings_lib.Settings
  fingerprint: Mapping[str, str]
  weights: str = ""
  preset: str = ""
  respelled: int = 0

  @property
  def held(self) -> int:
    """Bytes that the blocks hold."""
    return self.respelled or self.size

  @property
  def blocks(self) -> int:
    """The number of blocks that follow."""
    return settings_lib.count(self.settings, self.held)


def write_header(file: BinaryIO, header: Header) -> int:
  """Writes it; returns its bytes."""
  text = json.dumps(dataclasses.asdict(header), separators=(",", ":"))
  press = zlib.compressobj(9, wbits=-15, zdict=_DICTIONARY)
  packed = press.compress(text.encode()) + press.flush()
  data = _PREFIX.pack(MAGIC, VERSION, len(packed)) + packed
  data += _CHECK.pack(zlib.crc32(data))
  file.write(data)
  return len(data)


def read_header(file: BinaryIO) -> Header:
  """Reads it from the beginning of a file.

  Raises:
    UserError: not such a file, another version, or a damaged one.
  """
  prefix = file.read(_PREFIX.size)
  if prefix[: len(MAGIC)] != MAGIC[: len(prefix)] or not prefix:
    raise errors.UserError("this is no file that compression made")
  prefix = _whole(prefix, _PREFIX.size, "its header")
  _, version, length = _PREFIX.unpack(prefix)
  if version != VERSION:
    raise errors.UserError(
      f"this file has version {version} of the format, which this release "
      f"cannot read; it reads version {VERSION}"
    )
  if length > _LONGEST_HEADER:
    raise errors.UserError(
      f"the header claims {length:,} bytes and may have "
      f"{_LONGEST_HEADER:,}: the file is damaged"
    )
  packed = _whole(file.read(length), length, "its header")
  (check,) = _CHECK.unpack(
    _whole(file.read(_CHECK.size), _CHECK.size, "its header")
  )
  if zlib.crc32(prefix + packed) != check:
    raise errors.UserError("the header fails its check: the file is damaged")
  return _parse(packed)


def write_block(file: BinaryIO, payload: bytes, original: bytes) -> int:
  """Writes a block, as it is if its code is no shorter; returns its bytes."""
  stored = len(payload) >= len(original)
  payload = original if stored else payload
  length = len(payload) | (_STORED if stored else 0)
  frame = _FRAME.pack(length, zlib.crc32(original))
  check = _CHECK.pack(zlib.crc32(payload, zlib.crc32(frame)))
  file.write(frame + check + payload)
  return len(frame) + len(check) + len(payload)


@dataclasses.dataclass(frozen=True)
class Frame:
  """A block as the file holds it."""

  payload: bytes  # its code or, if `stored`, its bytes
  stored: bool
  original: int  # CRC-32 of its bytes
  number: int  # of the block, for messages

  def require(self, data: bytes) -> None:
    """Raises UserError where `data` is not what was compressed."""
    if zlib.crc32(data) != self.original:
      raise errors.UserError(
        f"block {self.number} comes out wrong although it is not damaged: "
        "this machine predicts other numbers than the one that compressed"
      )


def read_block(file: BinaryIO, number: int, size: int) -> Frame:
  """The block of so many original bytes that comes next.

  Raises:
    UserError: the file ends before it does, or it is damaged.
  """
  what = f"block {number}"
  frame = _whole(file.read(_FRAME.size), _FRAME.size, what)
  (check,) = _CHECK.unpack(_whole(file.read(_CHECK.size), _CHECK.size, what))
  length, original = _FRAME.unpack(frame)
  stored, length = bool(length & _STORED), length & ~_STORED
  if length > size or (stored and length != size):
    raise errors.UserError(
      f"{what} claims {length:,} bytes for {size:,}: the file is damaged"
    )
  payload = _whole(file.read(length), length, what)
  if zlib.crc32(payload, zlib.crc32(frame)) != check:
    raise errors.UserError(f"{what} fails its check: the file is damaged")
  return Frame(payload, stored, original, number)


def require_end(file: BinaryIO) -> None:
  """Raises UserError where something follows the last block."""
  if file.read(1):
    raise errors.UserError(
      "something follows the last block: the file is damaged, or another was "
      "appended to it"
    )


def _whole(data: bytes, length: int, what: str) -> bytes:
  if len(data) < length:
    raise errors.UserError(
      f"the file ends within {what}: it is damaged, or was not copied whole"
    )
  return data


def _parse(packed: bytes) -> Header:
  unpack = zlib.decompressobj(wbits=-15, zdict=_DICTIONARY)
  try:
    text = unpack.decompress(packed, _LONGEST_HEADER)
    if unpack.unconsumed_tail or not unpack.eof:
      raise ValueError("longer than it may be")
    values: Any = json.loads(text)
    settings = settings_lib.Settings.of(values.pop("settings"))
    header = Header(settings=settings, **values)
    for size in (header.size, header.respelled):
      if not isinstance(size, int) or not 0 <= size < _LARGEST_FILE:
        raise ValueError(f"size {size!r}")
    bytes.fromhex(header.sha256 + header.weights)
    if len(header.sha256) != 2 * hashlib.sha256().digest_size:
      raise ValueError("the length of a hash")
    if header.respelled and header.respelled >= header.size:
      raise ValueError(f"{header.respelled} bytes respelled")
    if not isinstance(header.fingerprint, dict):
      raise ValueError("no fingerprint")
    facts = header.fingerprint
    for name in (header.preset, *facts, *facts.values()):
      if not isinstance(name, str) or not name.isprintable():
        raise ValueError(f"a name {name!r}")
  except (
    zlib.error,
    ValueError,
    TypeError,
    KeyError,
    AttributeError,
    RecursionError,
  ) as error:
    raise errors.UserError(
      f"the header makes no sense ({error}): the file is damaged, or made by "
      "another program"
    ) from error
  return header
