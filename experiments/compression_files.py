"""Where a compression reads and writes: files, pipes, standard streams."""

import contextlib
import filecmp
import hashlib
import io
import os
import pathlib
import select
import shutil
import stat
import sys
import tempfile
from collections.abc import Iterator

import numpy as np
from ml_collections import config_dict

from seqmodels import errors
from seqmodels.compression import words
from seqmodels.io import atomic, interruption

_STANDARD = "-"
_CHUNK = 1 << 20
# Seconds after which a signal is seen by who waits for a stream.
_PATIENCE = 0.5


class Watched:
  """A file whose reader stops when a signal has come."""

  def __init__(
    self, file: io.BufferedReader, signals: interruption.Interruption
  ) -> None:
    self._file = file
    self._signals = signals

  def read(self, size: int) -> bytes:
    """At most so many bytes; raises errors.Interrupted."""
    self._signals.check()
    return self._file.read(size)


def require_place(config: config_dict.ConfigDict, *, begun: bool) -> None:
  """Refuses files that cannot or must not be used, before any work.

  Args:
    config: names `input` and `output`, and whether to `overwrite`.
    begun: an earlier start may have written the output: `publish` looks.

  Raises:
    UserError: says which and why.
  """
  if not config.input or not config.output:
    raise errors.UserError(
      "name the files: --config.input=FILE --config.output=FILE, or - for "
      "standard input and output"
    )
  if config.output == _STANDARD:
    return
  output = pathlib.Path(config.output)
  if output.is_dir() or not output.absolute().parent.is_dir():
    raise errors.UserError(
      f"config.output={config.output} is a folder, or lies in none that "
      "exists; name a file"
    )
  if output.exists() and not output.is_file():
    raise errors.UserError(
      f"config.output={config.output} is no ordinary file, which would be "
      "replaced; name a file, or - for standard output"
    )
  if config.input != _STANDARD and output.exists():
    with contextlib.suppress(OSError):
      if output.samefile(config.input):
        raise errors.UserError(
          f"config.input and config.output are both {config.output}; write to "
          "another file"
        )
  if output.exists() and not config.overwrite and not begun:
    raise errors.UserError(_exists(config.output))
  with atomic.refusals(output):
    tempfile.TemporaryFile(dir=os.path.realpath(output.parent)).close()


@contextlib.contextmanager
def opened(
  name: str, kept: pathlib.Path, signals: interruption.Interruption
) -> Iterator[io.BufferedReader]:
  """The input as a file that can be read twice; a stream is kept in `kept`.

  Raises:
    UserError: it cannot be read, or is a stream that brings other bytes than
      when the job was begun.
  """
  path = pathlib.Path(name)
  try:
    if name == _STANDARD or not _rereadable(path):
      _keep(name, kept, signals)
      path = kept
    with open(path, "rb") as file:
      yield file
  except OSError as error:
    if error.filename is None or pathlib.Path(error.filename) != path:
      raise
    raise errors.UserError(
      f"config.input={name} cannot be read: {(error.strerror or '').lower()}"
    ) from error


def mapped(file: io.BufferedReader) -> np.ndarray:
  """The bytes of a file, uint8, without reading them."""
  size = os.fstat(file.fileno()).st_size
  return np.memmap(file, np.uint8, "r") if size else np.empty(0, np.uint8)


def respelled(
  least: int,
  source: io.BufferedReader,
  path: pathlib.Path,
  signals: interruption.Interruption,
) -> np.ndarray | None:
  """The input with codes for frequent words, mapped; None if not shorter."""
  watched = Watched(source, signals)
  source.seek(0)
  dictionary = words.choose(watched, least=least)
  if dictionary is None:
    return None
  source.seek(0)
  with atomic.writer(path) as file:
    file.writelines(words.respell(watched, dictionary))
  with open(path, "rb") as made:
    held = mapped(made)
  return held if len(held) < os.fstat(source.fileno()).st_size else None


def publish(made: pathlib.Path, config: config_dict.ConfigDict) -> None:
  """Puts the result in its place, whole.

  Raises:
    UserError: something else has appeared there.
  """
  output = config.output
  with open(made, "rb") as file:
    if output == _STANDARD:
      shutil.copyfileobj(file, sys.stdout.buffer, _CHUNK)
      sys.stdout.buffer.flush()
      return
    if pathlib.Path(output).exists() and not config.overwrite:
      # What an earlier start put there before it was killed may stay.
      if filecmp.cmp(made, output, shallow=False):
        return
      raise errors.UserError(_exists(output))
    with atomic.writer(output) as target:
      shutil.copyfileobj(file, target, _CHUNK)


def _exists(output: str) -> str:
  return (
    f"config.output={output} exists; write to another file, or over it with "
    "--config.overwrite=True"
  )


def _rereadable(path: pathlib.Path) -> bool:
  """Whether a file is ordinary, and as long as it says: /proc has others."""
  found = path.stat()
  if stat.S_ISDIR(found.st_mode):
    return True  # Opening it says why not.
  return stat.S_ISREG(found.st_mode) and found.st_size > 0


def _keep(
  name: str, kept: pathlib.Path, signals: interruption.Interruption
) -> None:
  """Copies a stream, or finds that it brings what was copied before."""
  if not kept.exists():
    with atomic.writer(kept) as file:
      file.writelines(_stream(name, signals))
    return
  sha256 = hashlib.sha256()
  for piece in _stream(name, signals):
    sha256.update(piece)
  with open(kept, "rb") as file:
    same = hashlib.file_digest(file, "sha256").digest() == sha256.digest()
  if not same:
    raise errors.UserError(
      f"config.input={name} brings other bytes than when this job was begun; "
      "send the same again, or give another --workdir"
    )


def _stream(name: str, signals: interruption.Interruption) -> Iterator[bytes]:
  """What comes through a pipe, a device or standard input."""
  if name == _STANDARD:
    if sys.stdin is None:
      raise errors.UserError("standard input is closed; name a file")
    yield from _pieces(sys.stdin.fileno(), signals)
    return
  # Without waiting for somebody to write, who may never come.
  descriptor = os.open(name, os.O_RDONLY | os.O_NONBLOCK)
  try:
    yield from _pieces(descriptor, signals)
  finally:
    os.close(descriptor)


def _pieces(
  descriptor: int, signals: interruption.Interruption
) -> Iterator[bytes]:
  while True:
    ready, _, _ = select.select([descriptor], [], [], _PATIENCE)
    signals.check()
    if not ready:
      continue
    try:
      piece = os.read(descriptor, _CHUNK)
    except BlockingIOError:
      continue
    if not piece:
      return
    yield piece
