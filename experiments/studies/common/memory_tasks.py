"""Tasks that only a memory solves: recall, copying and adding over a given lag.

    recall    c, one of K symbols alike; L fillers; c again: a language, in
              which all places are predicted
    copying   S symbols, one of K alike each; blanks; from step `lag` on a
              signal, and the symbol read `lag` steps before is to be said
    adding    numbers from [0, 1), two of them marked, one in each half of the
              sequence; their sum is to be said at the last step

(the last two by Hochreiter and Schmidhuber, 1997, in the form of Arjovsky et
al., 2016). A model without memory pays ln K nats more for a sequence of the
first, ln K for each symbol of the second, and answers 1 in the third with a
squared error of 1/6 on average; one of the two numbers leaves 1/12.

Minibatches are pure in (seed, step), like those of a text.
"""

import dataclasses
import math

import numpy as np

from seqmodels import errors
from seqmodels.data import batching
from seqmodels.data.text import batching as batching_lib


@dataclasses.dataclass(frozen=True)
class CopyTask(batching.Stream[batching_lib.Segment]):
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

  def segments(self, start: int, count: int) -> batching_lib.Segment:
    """Minibatches `start` to `start + count`, stacked; arrays [count, T, B]."""
    shape = (self.symbols, self.batch)
    drawn = np.stack(
      [
        batching.generator(self.seed, step).integers(self.kinds, size=shape)
        for step in batching.steps(start, count)
      ]
    )
    inputs = np.full((count, self.length, self.batch), self.kinds, np.int32)
    targets, mask = np.zeros_like(inputs), np.zeros(inputs.shape, bool)
    inputs[:, : self.symbols] = drawn
    inputs[:, self.lag :] = self.kinds + 1
    targets[:, self.lag :] = drawn
    mask[:, self.lag :] = True
    return batching_lib.Segment(inputs, targets, mask, _first_only(mask))


@dataclasses.dataclass(frozen=True)
class RecallTask(batching.Stream[batching_lib.Segment]):
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

  @property
  def optimum(self) -> float:
    """Nats a sequence with memory; without, it is at least twice that."""
    return math.log(self.kinds)

  def segments(self, start: int, count: int) -> batching_lib.Segment:
    """Minibatches `start` to `start + count`, stacked; arrays [count, T, B]."""
    targets = np.full((count, self.length, self.batch), self.kinds, np.int32)
    for place, step in enumerate(batching.steps(start, count)):
      random = batching.generator(self.seed, step)
      drawn = random.integers(self.kinds, size=self.batch)
      targets[place, 0] = targets[place, -1] = drawn
    nothing = np.full_like(targets[:, :1], batching_lib.NULL)
    inputs = np.concatenate([nothing, targets[:, :-1]], axis=1)
    mask = np.ones(targets.shape, bool)
    return batching_lib.Segment(inputs, targets, mask, _first_only(mask))


@dataclasses.dataclass(frozen=True)
class AddingTask(batching.Stream[batching_lib.Segment]):
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

  def segments(self, start: int, count: int) -> batching_lib.Segment:
    """Minibatches `start` to `start + count`, stacked: [count, T, B, ...]."""
    inputs = np.stack(
      [self._draw(step) for step in batching.steps(start, count)]
    )
    mask = np.zeros(inputs.shape[:3], bool)
    mask[:, -1] = True
    sums = np.prod(inputs, axis=-1).sum(axis=1, keepdims=True)
    targets = np.where(mask, sums, np.float32(0))
    return batching_lib.Segment(inputs, targets, mask, _first_only(mask))

  def _draw(self, step: int) -> np.ndarray:
    random = batching.generator(self.seed, step)
    middle = self.length // 2
    inputs = np.zeros((self.length, self.batch, 2), np.float32)
    inputs[..., 0] = random.random((self.length, self.batch))
    rows = np.arange(self.batch)
    inputs[random.integers(middle, size=self.batch), rows, 1] = 1
    later = random.integers(middle, self.length, size=self.batch)
    inputs[later, rows, 1] = 1
    return inputs


def _first_only(mask: np.ndarray) -> np.ndarray:
  reset = np.zeros_like(mask)
  reset[:, 0] = True
  return reset
