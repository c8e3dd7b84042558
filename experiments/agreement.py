"""Before anything is timed: do all libraries compute the same?"""

from collections.abc import Iterator
from typing import NamedTuple

import jax
import numpy as np

from experiments import contest, contests, layer_work
from seqmodels import errors

# Largest difference, relative to the largest value of an array. On a GPU
# float32 products may run in TF32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
TF32_TOLERANCE = 1e-2

SHAPE = contests.Shape(steps=7, batch=3, features=8)
SIZES = contests.Sizes(symbols=5, units=8, batch=3, length=6, segments=4)


class Difference(NamedTuple):
  """How far an entry lies from ours in float32."""

  name: str
  precision: str
  largest: float


def check(shared: contests.Setting) -> list[Difference]:
  """Compares outputs, gradients and losses on tiny shapes.

  A layer's outputs, the gradients of its weights and of its inputs; the losses
  of several segments of training and of dynamic evaluation, each but the first
  behind an update.

  Raises:
    RunError: some library computes something else.
  """
  found = [*_layers(shared), *_learners(shared)]
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


def _layers(shared: contests.Setting) -> Iterator[Difference]:
  given = layer_work.task(*SHAPE, seed=shared.seed)
  expected = jax.tree.leaves(layer_work.ours(given).answer())
  for one in contests.layers(shared, given):
    found = jax.tree.leaves(one.layer.answer())
    parts = [distance(*pair) for pair in zip(found, expected, strict=True)]
    name = ", ".join(filter(None, (one.maker, one.note, one.precision)))
    yield Difference(f"layer, {name}", one.precision, max(parts))


def _learners(shared: contests.Setting) -> Iterator[Difference]:
  # Ours in float32 is what all are compared with, asked for or not.
  both = shared._replace(
    precisions=tuple(dict.fromkeys(("float32", *shared.precisions)))
  )
  for held in (
    contests.training(both, SIZES, rate=0.05, clip_norm=1.0),
    contests.dynamic(shared, SIZES._replace(batch=1), rate=0.05, momentum=0.9),
  ):
    plain = [entry for entry in held.entries if not entry.kind]
    losses = {entry.name: entry.run() for entry in plain}
    expected = losses[f"{contest.OURS}, float32"]
    for entry in plain:
      yield Difference(
        f"{held.work}, {entry.name}",
        entry.precision,
        distance(losses[entry.name], expected),
      )
