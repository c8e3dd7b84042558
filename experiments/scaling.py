"""How time and memory grow with steps, streams, width and depth.

Contests through one base point, one size changed at a time: a stack of layers
forward+backward in float32, for ours, Flax and PyTorch.
"""

import functools
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from ml_collections import config_dict

from experiments import (
  contest,
  flax_peer,
  layer_work,
  stack_work,
  torch_peer,
)

WORK = "forward+backward"
PRECISION = "float32"


class Point(NamedTuple):
  """Of a stack and its input; H is the width of all."""

  steps: int
  batch: int
  features: int
  layers: int

  def __str__(self) -> str:
    return (
      f"T {self.steps}, B {self.batch}, H {self.features}, {self.layers} layers"
    )

  @property
  def key(self) -> str:
    """Under which a run folder keeps it.

    >>> Point(50, 16, 512, 1).key
    'scaling 50x16x512x1'
    """
    return "scaling " + "x".join(map(str, self))


# What changes along an axis of the figure: settings and words, by the field.
AXES: Mapping[str, tuple[str, str]] = {
  "steps": ("steps", "steps T"),
  "batch": ("batches", "streams B"),
  "features": ("units", "width H"),
  "layers": ("layers", "layers"),
}


def is_point(text: object) -> bool:
  """Whether this names one: steps, batch, width and layers.

  >>> is_point("50x16x512x1"), is_point("50x16x512"), is_point("0x1x1x1")
  (True, False, False)
  """
  parts = str(text).split("x")
  return len(parts) == 4 and all(p.isdecimal() and int(p) > 0 for p in parts)


def series(config: config_dict.ConfigDict) -> dict[str, list[Point]]:
  """The points along each axis, by its field; all of them pass the base."""
  base = Point(*map(int, config.scaling.base.split("x")))
  found = {}
  for field, (setting, _) in AXES.items():
    values = {*config.scaling[setting], getattr(base, field)}
    found[field] = [base._replace(**{field: n}) for n in sorted(values)]
  return found


def every(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Every point once."""
  given = config.scaling
  patience = contest.Patience(given.repeats, given.seconds)
  points = dict.fromkeys(
    one for line in series(config).values() for one in line
  )
  for one in points:
    yield one.key, functools.partial(stack, shared, one, patience)


def stacks(
  shared: contest.Setting, given: stack_work.Task
) -> dict[str, layer_work.Layer]:
  """Every library's stack over one task."""
  makers: dict[str, Callable[[stack_work.Task], layer_work.Layer]] = {
    "flax": stack_work.flax,
    "torch": torch_peer.stack,
  }
  names = {"flax": flax_peer.NAME, "torch": torch_peer.NAME}
  found = {contest.OURS: stack_work.ours(given)}
  for peer in shared.peers:
    if peer in makers:
      found[names[peer]] = makers[peer](given)
  return found


def stack(
  shared: contest.Setting, size: Point, patience: contest.Patience
) -> contest.Contest:
  """One point."""
  made = stacks(shared, stack_work.task(*size, seed=shared.seed))
  return contest.Contest(
    title=f"stack of LSTM layers, {size}",
    work=WORK,
    tokens=size.steps * size.batch,
    entries=[
      contest.Entry(maker, PRECISION, one.backward, one.temporary)
      for maker, one in made.items()
    ],
    operations=layer_work.operations(
      *size[:3], layers=size.layers, backward=True
    ),
    patience=patience,
  )
