"""Before anything is timed: do all libraries compute the same?"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import jax
import numpy as np

from experiments import (
  contest,
  layer_contests,
  layer_work,
  samplers,
  scaling,
  stack_work,
  text_contests,
  text_work,
)
from seqmodels import errors

# Largest difference, relative to the largest value of an array. On a GPU
# float32 products may run in TF32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
TF32_TOLERANCE = 1e-2

SHAPE = layer_contests.Shape(steps=7, batch=3, features=8)
SIZES = text_contests.Sizes(symbols=5, units=8, batch=3, length=6, segments=4)


class Difference(NamedTuple):
  """How far an entry lies from ours in float32."""

  name: str
  precision: str
  largest: float


def check(
  shared: contest.Setting, kinds: Sequence[str] = ()
) -> list[Difference]:
  """Compares outputs, gradients, losses and logits on tiny shapes.

  A layer's outputs, the gradients of its weights and of its inputs, and those
  of a stack; the losses of several segments of training and of dynamic
  evaluation, each but the first behind an update; the logits that follow given
  symbols in sampling.

  Args:
    shared: whom to compare.
    kinds: of contests, whose work is compared; all where none is named.

  Raises:
    RunError: some library computes something else.
  """
  compare = dict.fromkeys(CHECKS[k] for k in kinds or CHECKS if k in CHECKS)
  found = [one for differences in compare for one in differences(shared)]
  for name, precision, largest in found:
    allowed = tolerance(precision)
    if not largest <= allowed:
      raise errors.RunError(
        f"{name} lies {largest:.2g} from ours, {allowed:g} is allowed: it does "
        "not compute the same, so its speed means nothing; leave it out with "
        "--config.peers"
      )
  return found


def tolerance(precision: str) -> float:
  """The largest relative difference that rounding explains."""
  if precision == "float32" and jax.default_backend() != "cpu":
    return TF32_TOLERANCE
  return TOLERANCES[precision]


def distance(found: np.ndarray, expected: np.ndarray) -> float:
  """The largest difference over the largest value.

  >>> distance(np.array([1.0, 4.0]), np.array([1.5, 5.0]))
  0.2
  """
  largest = np.max(np.abs(np.subtract(found, expected)))
  return float(largest / np.max(np.abs(expected)))


def _layers(shared: contest.Setting) -> Iterator[Difference]:
  given = layer_work.task(*SHAPE, seed=shared.seed)
  expected = layer_work.ours(given).answer()
  for one in layer_contests.made(shared, given):
    name = ", ".join(filter(None, (one.maker, one.note, one.precision)))
    yield Difference(
      f"layer, {name}", one.precision, _furthest(one.layer.answer(), expected)
    )


def _stacks(shared: contest.Setting) -> Iterator[Difference]:
  given = stack_work.task(*SHAPE, 3, seed=shared.seed)
  made = scaling.stacks(shared, given)
  expected = made[contest.OURS].answer()
  for maker, one in made.items():
    yield Difference(
      f"stack, {maker}, {scaling.PRECISION}",
      scaling.PRECISION,
      _furthest(one.answer(), expected),
    )


def _furthest(found: layer_work.Answer, expected: layer_work.Answer) -> float:
  pairs = zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True)
  return max(distance(*pair) for pair in pairs)


def _training(shared: contest.Setting) -> Iterator[Difference]:
  yield from _losses(
    text_contests.training(
      _with_float32(shared), SIZES, rate=0.05, clip_norm=1.0
    )
  )


def _dynamic(shared: contest.Setting) -> Iterator[Difference]:
  sizes = SIZES._replace(batch=1)
  yield from _losses(
    text_contests.dynamic(shared, sizes, rate=0.05, momentum=0.9)
  )


def _losses(held: contest.Contest) -> Iterator[Difference]:
  plain = [entry for entry in held.entries if not entry.kind]
  losses = [(entry, entry.run()) for entry in plain]
  yield from _compared(held.work, losses)


def _sampling(shared: contest.Setting) -> Iterator[Difference]:
  ids = text_work.text(
    1, SIZES.length, SIZES.batch, SIZES.symbols, seed=shared.seed
  ).inputs[0]
  # What a sampler reads before anything else.
  ids[0] = samplers.NULL
  yield from _compared(
    "sampling",
    [
      (entry, sampler.logits(ids))
      for entry, sampler in text_contests.drawn(_with_float32(shared), SIZES)
      if not entry.kind
    ],
  )


def _compared(
  work: str, answers: Sequence[tuple[contest.Entry, np.ndarray]]
) -> Iterator[Difference]:
  """Everyone's answer beside ours in float32."""
  by_name = {entry.name: answer for entry, answer in answers}
  expected = by_name[f"{contest.OURS}, float32"]
  for entry, answer in answers:
    yield Difference(
      f"{work}, {entry.name}", entry.precision, distance(answer, expected)
    )


def _with_float32(shared: contest.Setting) -> contest.Setting:
  """Ours in float32 is what all are compared with, asked for or not."""
  precisions = dict.fromkeys(("float32", *shared.precisions))
  return shared._replace(precisions=tuple(precisions))


# What is compared before contests of a kind; ink is a training like the others.
CHECKS: Mapping[str, Callable[[contest.Setting], Iterator[Difference]]] = {
  "layer": _layers,
  "storage": _layers,
  "training": _training,
  "words": _training,
  "dynamic": _dynamic,
  "sampling": _sampling,
  "scaling": _stacks,
}
