"""Tasks that only a memory solves: recall, copying and adding over a given lag.

    recall    c, one of K equally likely symbols; L fillers; c again: a
              language, in which all places are predicted
    copying   S symbols, each one of K equally likely; blanks; from step `lag`
              on a signal, and the symbol read `lag` steps before is to be said
    adding    numbers from [0, 1), two of them marked, one in each half of the
              sequence; their sum is to be said at the last step

(the last two by Hochreiter and Schmidhuber, 1997, in the form of Arjovsky et
al., 2016). Minibatches are pure in (seed, step), like those of a text.
"""

import abc
import dataclasses
import math

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.text import batching as batching_lib


class _Task(batching.Stream[batching_lib.Segment]):
  """Minibatches of sequences, each from a fresh carry."""

  seed: int  # of all draws

  def segments(self, start: int, count: int) -> batching_lib.Segment:
    """Minibatches `start` to `start + count`, stacked: [count, T, B, ...]."""
    drawn = [
      self._drawn(batching.generator(self.seed, step))
      for step in batching.steps(start, count)
    ]
    inputs, targets, mask = map(np.stack, zip(*drawn, strict=True))
    reset = np.zeros_like(mask)
    reset[:, 0] = True
    return batching_lib.Segment(inputs, targets, mask, reset)

  @abc.abstractmethod
  def _drawn(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    """Inputs, targets and mask of a minibatch, [T, B, ...]."""


@dataclasses.dataclass(frozen=True)
class CopyTask(_Task):
  """Symbols to be said again `lag` steps after each was read.

  Inputs are ids: K kinds of symbol, then the blank, then the signal. The answer
  to step t is scored where t >= lag; sequences have T = lag + S steps.

  >>> task = CopyTask(lag=4, batch=1, symbols=2, kinds=8, seed=0)
  >>> segment = task.segment(0)
  >>> segment.inputs[:, 0].tolist(), segment.targets[:, 0].tolist()
  ([6, 5, 8, 8, 9, 9], [0, 0, 0, 0, 6, 5])
  """

  lag: int  # steps between reading and saying, at least S
  batch: int  # B
  symbols: int = 1  # S, how many there are to copy
  kinds: int = 8  # K
  seed: int = 0  # of all draws

  def __post_init__(self) -> None:
    if self.lag < self.symbols:
      raise errors.UserError(
        f"the lag is {self.lag} and there are {self.symbols} symbols to copy; "
        "the lag must be at least as many, so that all are read before the "
        "first is said"
      )

  @property
  def vocabulary_size(self) -> int:
    """Kinds, the blank and the signal."""
    return self.kinds + 2

  @property
  def length(self) -> int:
    """T."""
    return self.lag + self.symbols

  @property
  def chance(self) -> float:
    """Nats a scored symbol without any memory."""
    return math.log(self.kinds)

  def _drawn(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    symbols = random.integers(self.kinds, size=(self.symbols, self.batch))
    inputs = np.full((self.length, self.batch), self.kinds, np.int32)
    targets, mask = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
    inputs[: self.symbols] = symbols
    inputs[self.lag :] = self.kinds + 1
    targets[self.lag :] = symbols
    mask[self.lag :] = True
    return inputs, targets, mask


@dataclasses.dataclass(frozen=True)
class RecallTask(_Task):
  """Words c, L fillers, c; each from the null vector and a fresh carry.

  Inputs are ids: K kinds of c, then the filler. T = L + 2.

  >>> segment = RecallTask(fillers=2, batch=1, kinds=5).segment(0)
  >>> segment.inputs[:, 0].tolist(), segment.targets[:, 0].tolist()
  ([-1, 4, 5, 5], [4, 5, 5, 4])
  """

  fillers: int  # L
  batch: int  # B
  kinds: int = 8  # K
  seed: int = 0  # of all draws

  @property
  def length(self) -> int:
    """T."""
    return self.fillers + 2

  def _drawn(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    targets = np.full((self.length, self.batch), self.kinds, np.int32)
    targets[[0, -1]] = random.integers(self.kinds, size=self.batch)
    nothing = np.full_like(targets[:1], batching_lib.NULL)
    inputs = np.concatenate([nothing, targets[:-1]])
    return inputs, targets, np.ones(targets.shape, bool)


@dataclasses.dataclass(frozen=True)
class AddingTask(_Task):
  """The sum of two marked numbers, to be said at the end.

  Inputs are float32 [..., T, B, 2], a number and its mark; targets are float32,
  the sum at the last step and 0 before it.

  >>> task = AddingTask(length=6, batch=1, seed=0)
  >>> segment = task.segment(0)
  >>> segment.inputs[:, 0, 1]
  array([0., 1., 0., 0., 1., 0.], dtype=float32)
  """

  length: int  # T, at least 2
  batch: int  # B
  seed: int = 0  # of all draws

  # The variance of the sum of two numbers, and of one.
  chance = 1 / 6
  half = 1 / 12

  def __post_init__(self) -> None:
    if self.length < 2:
      raise errors.UserError(
        f"the adding task over {self.length} steps; two numbers take at least 2"
      )

  def _drawn(self, random: np.random.Generator) -> tuple[np.ndarray, ...]:
    middle, rows = self.length // 2, np.arange(self.batch)
    inputs = np.zeros((self.length, self.batch, 2), np.float32)
    inputs[..., 0] = random.random((self.length, self.batch))
    inputs[random.integers(middle, size=self.batch), rows, 1] = 1
    later = random.integers(middle, self.length, size=self.batch)
    inputs[later, rows, 1] = 1
    mask = np.zeros(inputs.shape[:2], bool)
    mask[-1] = True
    targets = np.where(mask, np.prod(inputs, axis=-1).sum(axis=0), 0)
    return inputs, targets.astype(np.float32), mask
