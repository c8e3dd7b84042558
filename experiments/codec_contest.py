"""The contest of compression: bytes a second, in memory, each way.

Our coder (predictors, mixer, range coder; no file around the code) learns the
bytes while it codes them, one by one, and no other library does the same work:
other compressors stand beside it for scale alone, with what they make of the
bytes, and no ratio is taken.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from ml_collections import config_dict

from configs import compression as page
from experiments import compression_page, contest
from seqmodels import errors
from seqmodels.compression import (
  building,
  codec,
  container,
  model,
  plan,
)
from seqmodels.compression import settings as settings_lib
from seqmodels.data import embedded

# "smoke" is of use in tests alone.
PRESETS = (*page.PRESETS, "smoke")
OTHERS = "another algorithm, for scale"


class Coder(NamedTuple):
  """A model of bytes for a file of some size, and what it is in words."""

  words: str
  settings: settings_lib.Settings
  model: model.Model


def every(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Compressing and decompressing; the others only compress."""
  for work, make in {"compress": compressing, "decompress": expanding}.items():
    yield f"compression {work}", functools.partial(make, config, shared)


def compressing(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> contest.Contest:
  """A run of an entry gives the code."""
  data = text(config.compression.bytes)
  entries = [
    _entry(one, packed(one, data), functools.partial(packed, one, data))
    for one in coders(config, shared, len(data))
  ]
  for name, compress in compression_page.peers().items():
    entries.append(
      contest.Entry(
        name,
        "",
        functools.partial(compress, data),
        kind=OTHERS,
        note=f"{len(compress(data)):,} bytes",
      )
    )
  return _contest(config, data, "compress", entries)


def expanding(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> contest.Contest:
  """A run of an entry gives the bytes again.

  Raises:
    RunError: they are others.
  """
  data = text(config.compression.bytes)
  entries = []
  for one in coders(config, shared, len(data)):
    codes = packed(one, data)
    if unpacked(one, codes, len(data)) != data:
      raise errors.RunError(
        f"{one.words} decompressed other bytes than the {len(data):,} it had "
        "compressed, so its speed means nothing; leave it out with "
        "--config.compression.presets"
      )
    run = functools.partial(unpacked, one, codes, len(data))
    entries.append(_entry(one, codes, run))
  return _contest(config, data, "decompress", entries)


def text(size: int) -> bytes:
  """The first bytes of the embedded corpus.

  >>> text(6)
  b'assert'
  """
  return embedded.text().encode("utf-8")[:size]


def coders(
  config: config_dict.ConfigDict, shared: contest.Setting, size: int
) -> Iterator[Coder]:
  """The models that `configs/compression.py` has for such a file."""
  for preset in config.compression.presets:
    given = {**page.model([preset]), "seed": shared.seed}
    settings = settings_lib.Settings.of(given)
    header = container.Header(size, "", settings, {}, preset=preset)
    words = compression_page.describe(header)
    yield Coder(words, settings, building.build(settings, size))


def packed(coder: Coder, data: bytes) -> list[bytes]:
  """The code of each block."""
  shared, found = coder.model.init(), []
  for block in plan.blocks(coder.settings, len(data)):
    piece = np.frombuffer(data, np.uint8, block.size, block.begin)
    code, shared = codec.encode(coder.model, shared, block, piece)
    found.append(code)
  return found


def unpacked(coder: Coder, codes: Sequence[bytes], size: int) -> bytes:
  """The bytes that were compressed."""
  shared, found = coder.model.init(), []
  blocks = plan.blocks(coder.settings, size)
  for block, code in zip(blocks, codes, strict=True):
    piece, shared = codec.decode(coder.model, shared, block, code)
    found.append(piece.tobytes())
  return b"".join(found)


def _entry(
  coder: Coder, codes: Sequence[bytes], run: Callable[[], Any]
) -> contest.Entry:
  return contest.Entry(
    contest.OURS,
    coder.settings.dtype,
    run,
    kind=coder.words,
    note=f"{sum(map(len, codes)):,} bytes",
  )


def _contest(
  config: config_dict.ConfigDict,
  data: bytes,
  work: str,
  entries: list[contest.Entry],
) -> contest.Contest:
  given = config.compression
  return contest.Contest(
    f"{len(data):,} bytes of the embedded corpus",
    work,
    len(data),
    entries,
    unit="bytes/s",
    patience=contest.Patience(given.repeats, given.seconds),
  )
