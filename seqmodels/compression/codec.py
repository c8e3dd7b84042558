"""Blocks of bytes to code and back, by a model that learns on the way."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.compression import model as model_lib
from seqmodels.compression import range_coder, settings

Tree = Any
# Steps between two looks at what was predicted; memory for their frequencies.
_CHUNK = 256


def encode(
  model: model_lib.Model,
  shared: Tree,
  block: settings.Block,
  data: np.ndarray,
  *,
  watch: Callable[[int], None] = lambda done: None,
) -> tuple[bytes, Tree]:
  """The code of a block, and what the model has learnt after it.

  Args:
    model: of `model.build`.
    shared: what it has learnt before; given up to the call.
    block: the place of these bytes in the file.
    data: uint8 [block.size].
    watch: called now and then with the bytes done; may raise to stop.
  """
  encoder = range_coder.Encoder()
  whole, rest = block.split(data.astype(np.int32))
  state, frequencies = model.begin(shared, jnp.asarray(block.offsets))
  waiting: list[jax.Array] = []
  for number, symbols in enumerate(whole, start=1):
    waiting.append(frequencies)
    state, frequencies = model.step(state, symbols)
    if len(waiting) == _CHUNK or number == len(whole):
      coded = whole[number - len(waiting) : number]
      encoder.encode(coded.reshape(-1), _stack(waiting))
      waiting = []
      watch(number * block.streams)
  if len(rest):
    encoder.encode(rest, np.asarray(frequencies)[: len(rest)])
  return encoder.code(), state.shared


def decode(
  model: model_lib.Model,
  shared: Tree,
  block: settings.Block,
  code: bytes,
  *,
  watch: Callable[[int], None] = lambda done: None,
) -> tuple[np.ndarray, Tree]:
  """The bytes of a block, uint8, and what the model has learnt after it.

  Damaged code mostly gives other bytes without an error: compare a checksum.

  Raises:
    UserError: the code cannot be what `encode` made.
  """
  decoder = range_coder.Decoder(code)
  whole = np.empty((block.steps, block.streams), np.int32)
  state, frequencies = model.begin(shared, jnp.asarray(block.offsets))
  for number in range(block.steps):
    whole[number] = decoder.decode(np.asarray(frequencies))
    state, frequencies = model.step(state, whole[number])
    if (number + 1) % _CHUNK == 0:
      watch((number + 1) * block.streams)
  rest = np.empty(0, np.int32)
  if left := block.size % block.streams:
    rest = decoder.decode(np.asarray(frequencies)[:left])
  return block.join(whole, rest), state.shared


def _stack(frequencies: Sequence[jax.Array]) -> np.ndarray:
  """[N, 256] of steps' frequencies, in the order of coding."""
  return np.concatenate(jax.device_get(list(frequencies)))
