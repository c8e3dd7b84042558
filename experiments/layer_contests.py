"""The contests over one layer: forward, its gradients, what it stores."""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ml_collections import config_dict

from experiments import (
  contest,
  cudnn_peer,
  flax_peer,
  layer_work,
  nnx_peer,
  peers,
  scan_peer,
  torch_peer,
)
from seqmodels import errors

# Those written in JAX: a layer over a task, in any precision.
LAYERS: dict[str, Callable[..., layer_work.Layer]] = {
  "flax": flax_peer.layer,
  "nnx": nnx_peer.layer,
  "scan": scan_peer.layer,
}


class Shape(NamedTuple):
  """Of a layer's input; H is its width, too."""

  steps: int
  batch: int
  features: int

  def __str__(self) -> str:
    return f"T {self.steps}, B {self.batch}, H {self.features}"


class Made(NamedTuple):
  """A layer with what tells it from the others; see `contest.Entry`."""

  maker: str
  precision: str
  layer: layer_work.Layer
  kind: str = ""
  note: str = ""


def shape(text: str) -> Shape:
  """T, B and H of a text such as "100x8x700".

  Raises:
    UserError: it is not three whole numbers.

  >>> shape("100x8x700")
  Shape(steps=100, batch=8, features=700)
  """
  parts = str(text).split("x")
  if len(parts) != 3 or not all(p.isdecimal() and int(p) > 0 for p in parts):
    raise errors.UserError(
      f"{text!r} is no shape of a layer; give steps, batch and width as "
      "100x8x700"
    )
  return Shape(*map(int, parts))


def layers(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Every shape, forward and forward+backward."""
  for text in config.layer.shapes:
    for work in ("forward", "forward+backward"):
      ready = functools.partial(layer, shared, shape(text), work)
      yield f"layer {text} {work}", ready


def stored(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Every shape, with two ways to remember."""
  for text in config.storage.shapes:
    yield (
      f"storage {text}",
      functools.partial(storage, shared, shape(text), config.storage.chunk),
    )


def made(shared: contest.Setting, given: layer_work.Task) -> list[Made]:
  """Every library's layer in every precision, over one task."""
  makers = {contest.OURS: layer_work.ours}
  makers |= {peers.NAMES[n]: LAYERS[n] for n in shared.peers if n in LAYERS}
  found = []
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    for maker, make in makers.items():
      found.append(Made(maker, precision, make(given, dtype=dtype)))
    if "torch" in shared.peers:
      for mode in torch_peer.MODES[precision]:
        layer_of = torch_peer.layer(given, mode=mode)
        found.append(Made(torch_peer.NAME, precision, layer_of, note=mode))
    if "cudnn" in shared.peers and precision == "float32":
      found.append(Made(cudnn_peer.NAME, precision, cudnn_peer.layer(given)))
  return found


def layer(shared: contest.Setting, size: Shape, work: str) -> contest.Contest:
  """One layer, forward or forward+backward; ours with peepholes, too."""
  given = layer_work.task(*size, seed=shared.seed)
  entered = made(shared, given)
  peepholes = layer_work.task(*size, seed=shared.seed, peepholes=True)
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    found = layer_work.ours(peepholes, dtype=dtype)
    entered.append(Made(contest.OURS, precision, found, kind=contest.PEEPHOLES))
  return _layer_contest(f"LSTM layer, {size}", work, size, entered)


def storage(
  shared: contest.Setting, size: Shape, chunk: int
) -> contest.Contest:
  """One layer forward+backward, keeping all or recomputing by chunks."""
  given = layer_work.task(*size, seed=shared.seed)
  entered = made(shared._replace(precisions=("float32",)), given)
  kind = f"chunks of {chunk}"
  entered.append(
    Made(
      contest.OURS, "float32", layer_work.ours(given, chunk=chunk), kind=kind
    )
  )
  if "flax" in shared.peers:
    found = flax_peer.layer(given, chunk=chunk)
    entered.append(Made(flax_peer.NAME, "float32", found, kind=kind))
  title = f"storage in an LSTM layer, {size}"
  return _layer_contest(title, "forward+backward", size, entered)


def _layer_contest(
  title: str, work: str, size: Shape, entered: Sequence[Made]
) -> contest.Contest:
  both = work == "forward+backward"
  return contest.Contest(
    title=title,
    work=work,
    tokens=size.steps * size.batch,
    operations=layer_work.operations(*size, backward=both),
    entries=[
      contest.Entry(
        one.maker,
        one.precision,
        one.layer.backward if both else one.layer.forward,
        one.layer.temporary if both else lambda: None,
        one.kind,
        one.note,
      )
      for one in entered
    ],
    resident=both,
  )
