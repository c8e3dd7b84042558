"""What a model must offer to take part in compression."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

State = Any
# Offsets in a file are told modulo this, which 32 bits hold.
OFFSETS = 1 << 30


class Evidence(NamedTuple):
  """What an expert says of the next byte of each stream.

  Attributes:
    log_odds: float32 [B, 255, I], one column an input of the mixer; see
      `byte_tree`. 0 says nothing.
    situations: int32 [B] each: the mixer learns separate weights for every
      value of each.
    memo: whatever `learn` wants to see again.
  """

  log_odds: jax.Array
  situations: tuple[jax.Array, ...]
  memo: State


class Expert(NamedTuple):
  """A model of bytes that learns while it is used, as pure functions.

  What it knows is in two states: `shared` is learnt from all streams and lasts;
  `streams` is where each stream stands and is begun anew for every block.

  Attributes:
    inputs: a name for each of the I columns of its evidence.
    situations: how many values each situation has.
    init: `() -> shared`.
    begin: `(shared, offsets) -> streams`; offsets, int32 [B], say where in the
      file each stream begins, modulo `OFFSETS`.
    predict: `(shared, streams) -> Evidence`.
    learn: `(shared, streams, memo, symbols) -> (shared, streams)`, where
      symbols, int32 [B], are the bytes that came and memo is the evidence's.
  """

  inputs: tuple[str, ...]
  situations: tuple[int, ...]
  init: Callable[[], State]
  begin: Callable[[State, jax.Array], State]
  predict: Callable[[State, State], Evidence]
  learn: Callable[[State, State, State, jax.Array], tuple[State, State]]
