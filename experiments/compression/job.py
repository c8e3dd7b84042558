"""Codes and decodes a file block by block; a stopped job resumes."""

import hashlib
import os
import pathlib
import time
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import jax
import numpy as np

from seqmodels import errors
from seqmodels.compression import codec, container, dictionary
from seqmodels.compression import model as model_lib
from seqmodels.compression import settings as settings_lib
from seqmodels.io import checkpoints, distributed, files, progress

Tree = Any
_COPY = 1 << 20


class Job(NamedTuple):
  """One direction over one file."""

  header: container.Header  # of the compressed file
  model: model_lib.Model  # the one that the header describes
  area: pathlib.Path  # a folder for the state between two starts
  output: pathlib.Path  # the file that grows
  signals: distributed.Interruption  # asked after every block
  save_every: float  # seconds between two saved states


class Done(NamedTuple):
  """A finished job."""

  mixed: float  # nats of all bytes, as the model predicted them
  alone: list[float]  # nats, had each of the mixer's inputs coded alone
  share: list[float]  # sums of |weight x log-odds|, the bias last
  curve: list[tuple[int, int]]  # bytes of the input and of its code, by block
  seconds: float  # of all starts together


Watch = Callable[[int], None]
# (block, state of the model, output, watch) -> (that state, bytes of the code)
CodeBlock = Callable[
  [settings_lib.Block, Tree, BinaryIO, Watch], tuple[Tree, int]
]


def code(job: Job, data: np.ndarray) -> Done:
  """Codes a file, uint8 and possibly mapped, into `job.output`."""

  def code_block(
    block: settings_lib.Block, state: Tree, output: BinaryIO, watch: Watch
  ) -> tuple[Tree, int]:
    piece = np.array(data[block.begin : block.begin + block.size])
    payload, state = codec.encode(job.model, state, block, piece, watch=watch)
    return state, container.write_block(output, payload, piece.tobytes())

  def begin(output: BinaryIO) -> None:
    container.write_header(output, job.header)

  return _blocks(job, code_block, "compressing", begin=begin)


def decode(job: Job, source: BinaryIO, title: str) -> Done:
  """Decodes a compressed file, open behind its header, into `job.output`.

  Raises:
    UserError: it is damaged, or this machine predicts other numbers.
  """
  start = source.tell()

  def decode_block(
    block: settings_lib.Block, state: Tree, output: BinaryIO, watch: Watch
  ) -> tuple[Tree, int]:
    before = source.tell()
    frame = container.read_block(source, block.number, block.size)
    if frame.stored:
      frame.require(frame.payload)
      piece = np.frombuffer(frame.payload, np.uint8)
      _, state = codec.encode(job.model, state, block, piece, watch=watch)
    else:
      code = frame.payload
      piece, state = codec.decode(job.model, state, block, code, watch=watch)
      frame.require(piece.tobytes())
    output.write(piece.tobytes())
    return state, source.tell() - before

  def resume(coded: int) -> None:
    source.seek(start + coded)

  done = _blocks(job, decode_block, title, resume=resume)
  container.require_end(source)
  return done


def original(job: Job) -> Iterator[bytes]:
  """The bytes that were compressed, piece by piece, from what was decoded.

  Raises:
    UserError: they are others, which shows after the last piece.
  """
  sha256 = hashlib.sha256()
  with open(job.output, "rb") as file:
    if job.header.respelled:
      pieces = dictionary.restore(file)
    else:
      pieces = iter(lambda: file.read(_COPY), b"")
    size = 0
    for piece in pieces:
      size += len(piece)
      if size > job.header.size:
        break
      sha256.update(piece)
      yield piece
  if size != job.header.size or sha256.hexdigest() != job.header.sha256:
    raise errors.UserError(
      "the decoded bytes are not those that were compressed (SHA-256 differs): "
      "nothing is written"
    )


@progress.spending("steps")
def _blocks(
  job: Job,
  code_block: CodeBlock,
  title: str,
  *,
  begin: Callable[[BinaryIO], Any] = lambda output: None,
  resume: Callable[[int], None] = lambda coded: None,
) -> Done:
  """Codes every block, from where an earlier start was stopped."""
  settings, size = job.header.settings, job.header.held
  target = jax.eval_shape(job.model.init)
  curve: list[tuple[int, int]] = []
  # In float64, which the model's own sums are not: those are a block's.
  account = [np.zeros(leaf.shape) for leaf in target.account]
  spent, first, length = 0.0, 0, 0
  with (
    checkpoints.Checkpoints(job.area, keep=1) as saved,
    files.os_errors_as_user_errors(job.output),
  ):
    earlier = saved.restore_latest(target)
    if earlier is None:
      state = job.model.init()
    else:
      state, first = earlier.tree, earlier.step
      curve = [tuple(pair) for pair in earlier.meta["curve"]]
      spent, length = earlier.meta["seconds"], earlier.meta["length"]
      account = [np.array(sums) for sums in earlier.meta["account"]]
    with (
      open(job.output, "r+b" if first else "w+b") as output,
      progress.Progress(size, title, unit="byte", symbols="bytes") as bar,
    ):
      if first:
        if output.seek(0, os.SEEK_END) < length:
          raise errors.RunError(
            f"{job.output} is shorter than it was when the job stopped; give "
            "another --workdir to begin again"
          )
        output.truncate(length)
        output.seek(length)
        resume(sum(coded for _, coded in curve))
      else:
        begin(output)
      begun = last = time.monotonic()
      for block in settings_lib.blocks(settings, size, first=first):
        watch = _within(bar, block, _figures(job.header, curve))
        state, coded = code_block(block, state, output, watch)
        curve.append((block.size, coded))
        newest = jax.device_get(state.account)
        account = [s + n for s, n in zip(account, newest, strict=True)]
        zeros = type(newest)(*map(np.zeros_like, newest))
        state = state._replace(account=jax.device_put(zeros))
        now = time.monotonic()
        stop = job.signals.requested
        last_one = block.number + 1 == job.header.blocks
        if stop or last_one or now - last > job.save_every:
          output.flush()
          os.fsync(output.fileno())
          meta = {
            "curve": curve,
            "seconds": spent + now - begun,
            "length": output.tell(),
            "account": [sums.tolist() for sums in account],
          }
          saved.save(block.number + 1, state, meta)
          last = now
        if stop:
          saved.wait()
          job.signals.check()
      seconds = spent + time.monotonic() - begun
      mixed, alone, share = (sums.tolist() for sums in account)
      return Done(mixed, alone, share, curve, seconds)


def _within(
  bar: progress.Progress, block: settings_lib.Block, figures: dict[str, float]
) -> Watch:
  """Shows the progress through the file, and the cost of its bytes so far."""
  before = 0

  def watch(done: int) -> None:
    nonlocal before
    bar.update(block.begin + done, figures, symbols=done - before)
    before = done

  return watch


def costs(
  header: container.Header, curve: list[tuple[int, int]]
) -> list[tuple[float, int]]:
  """Bytes of the original and of its code, by block.

  Where words were respelled the blocks share the original evenly: how many
  bytes of it each holds is not counted.
  """
  scale = header.size / header.held if header.held else 1.0
  return [(size * scale, coded) for size, coded in curve]


def _figures(
  header: container.Header, curve: list[tuple[int, int]]
) -> dict[str, float]:
  if not curve:
    return {}
  size = sum(original for original, _ in costs(header, curve))
  return {"bits_per_byte": 8 * sum(coded for _, coded in curve) / size}
