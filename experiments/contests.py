"""The contests of the benchmark, built one by one from its settings."""

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
  pen_contest,
  scan_peer,
  text_work,
  torch_peer,
)
from seqmodels import errors
from seqmodels.models import predictor as predictors

PEERS = {
  "flax": flax_peer.NAME,
  "nnx": nnx_peer.NAME,
  "scan": scan_peer.NAME,
  "torch": torch_peer.NAME,
  "cudnn": cudnn_peer.NAME,
}
# Those written in JAX: a layer over a task, in any precision.
LAYERS: dict[str, Callable[..., layer_work.Layer]] = {
  "flax": flax_peer.layer,
  "nnx": nnx_peer.layer,
  "scan": scan_peer.layer,
}
PEEPHOLES = contest.PEEPHOLES
Setting = contest.Setting


class Shape(NamedTuple):
  """Of a layer's input; H is its width, too."""

  steps: int
  batch: int
  features: int

  def __str__(self) -> str:
    return f"T {self.steps}, B {self.batch}, H {self.features}"


class Sizes(NamedTuple):
  """Of a language model and what it reads at a time."""

  symbols: int
  units: int
  batch: int
  length: int  # T of a segment
  segments: int  # in one run
  embedding: int = 0  # its width; 0 for one-hot vectors

  def __str__(self) -> str:
    embedded = f", embedding {self.embedding}" if self.embedding else ""
    return (
      f"1x{self.units} LSTM{embedded}, {self.symbols:,} symbols, "
      f"B {self.batch}, T {self.length}"
    )

  @property
  def tokens(self) -> int:
    """Symbols read in one run."""
    return self.batch * self.length * self.segments


class Made(NamedTuple):
  """A layer with what tells it from the others; see `contest.Entry`."""

  maker: str
  precision: str
  layer: layer_work.Layer
  kind: str = ""
  note: str = ""


def setting(config: config_dict.ConfigDict) -> tuple[Setting, list[str]]:
  """What all contests share; and why peers are left out, a line each."""
  reasons = {"torch": torch_peer.missing, "cudnn": cudnn_peer.missing}
  absent = {
    name: reasons[name]() if name in reasons else "" for name in config.peers
  }
  found = Setting(
    config.seed,
    tuple(config.precisions),
    tuple(name for name, reason in absent.items() if not reason),
  )
  return found, [f"{PEERS[n]}: {why}" for n, why in absent.items() if why]


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


def every(
  config: config_dict.ConfigDict, shared: Setting
) -> Iterator[tuple[str, Callable[[], contest.Contest]]]:
  """All contests in their order: a key, and a function that readies it.

  Raises:
    UserError: a shape that is none.
  """
  for text in config.layer.shapes:
    for work in ("forward", "forward+backward"):
      ready = functools.partial(layer, shared, shape(text), work)
      yield f"layer {text} {work}", ready
  for text in config.storage.shapes:
    yield (
      f"storage {text}",
      functools.partial(storage, shared, shape(text), config.storage.chunk),
    )
  sizes = Sizes(
    symbols=config.model.symbols,
    units=config.model.units,
    batch=config.training.batch,
    length=config.training.segment,
    segments=config.training.steps_per_dispatch,
  )
  yield (
    "training",
    functools.partial(
      training,
      shared,
      sizes,
      rate=config.training.learning_rate,
      clip_norm=config.training.clip_norm,
    ),
  )
  words = config.words
  yield (
    "training words",
    functools.partial(
      training,
      shared,
      Sizes(
        symbols=words.symbols,
        units=words.units,
        batch=words.batch,
        length=words.segment,
        segments=words.steps_per_dispatch,
        embedding=words.embedding,
      ),
      rate=config.training.learning_rate,
      clip_norm=config.training.clip_norm,
    ),
  )
  yield "training ink", functools.partial(pen_contest.training, config, shared)
  for length in config.dynamic.segments:
    segments = max(1, config.dynamic.symbols // length)
    yield (
      f"dynamic {length}",
      functools.partial(
        dynamic,
        shared,
        sizes._replace(batch=1, length=length, segments=segments),
        rate=config.dynamic.learning_rate,
        momentum=config.dynamic.momentum,
      ),
    )


def layers(shared: Setting, given: layer_work.Task) -> list[Made]:
  """Every library's layer in every precision, over one task."""
  makers = {contest.OURS: layer_work.ours}
  makers |= {PEERS[n]: LAYERS[n] for n in shared.peers if n in LAYERS}
  made = []
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    for maker, make in makers.items():
      made.append(Made(maker, precision, make(given, dtype=dtype)))
    if "torch" in shared.peers:
      for mode in torch_peer.MODES[precision]:
        found = torch_peer.layer(given, mode=mode)
        made.append(Made(torch_peer.NAME, precision, found, note=mode))
    if "cudnn" in shared.peers and precision == "float32":
      made.append(Made(cudnn_peer.NAME, precision, cudnn_peer.layer(given)))
  return made


def layer(shared: Setting, size: Shape, work: str) -> contest.Contest:
  """One layer, forward or forward+backward; ours with peepholes, too."""
  given = layer_work.task(*size, seed=shared.seed)
  made = layers(shared, given)
  peepholes = layer_work.task(*size, seed=shared.seed, peepholes=True)
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    found = layer_work.ours(peepholes, dtype=dtype)
    made.append(Made(contest.OURS, precision, found, kind=PEEPHOLES))
  return _layer_contest(f"LSTM layer, {size}", work, size, made)


def storage(shared: Setting, size: Shape, chunk: int) -> contest.Contest:
  """One layer forward+backward, keeping all or recomputing by chunks."""
  given = layer_work.task(*size, seed=shared.seed)
  made = layers(shared._replace(precisions=("float32",)), given)
  kind = f"chunks of {chunk}"
  made.append(
    Made(
      contest.OURS, "float32", layer_work.ours(given, chunk=chunk), kind=kind
    )
  )
  if "flax" in shared.peers:
    found = flax_peer.layer(given, chunk=chunk)
    made.append(Made(flax_peer.NAME, "float32", found, kind=kind))
  title = f"storage in an LSTM layer, {size}"
  return _layer_contest(title, "forward+backward", size, made)


def _layer_contest(
  title: str, work: str, size: Shape, made: Sequence[Made]
) -> contest.Contest:
  both = work == "forward+backward"
  return contest.Contest(
    title=title,
    work=work,
    tokens=size.steps * size.batch,
    entries=[
      contest.Entry(
        one.maker,
        one.precision,
        one.layer.backward if both else one.layer.forward,
        one.layer.temporary if both else lambda: None,
        one.kind,
        one.note,
      )
      for one in made
    ],
    resident=both,
  )


def training(
  shared: Setting, sizes: Sizes, *, rate: float, clip_norm: float
) -> contest.Contest:
  """Whole training steps: forward, backward, clipping, Adam.

  Each run of an entry gives the nats of its segments.
  """
  segments = text_work.text(
    sizes.segments, sizes.length, sizes.batch, sizes.symbols, seed=shared.seed
  )

  def work(network: predictors.Predictor) -> text_work.Work:
    return text_work.training(
      network, segments, rate=rate, clip_norm=clip_norm, seed=shared.seed
    )

  entries = []
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    plain = _predictor(sizes, precision)
    ours = work(plain)
    entries.append(_entry(contest.OURS, precision, ours))
    peepholes = work(_predictor(sizes, precision, peepholes=True))
    entries.append(_entry(contest.OURS, precision, peepholes, PEEPHOLES))
    if "flax" in shared.peers:
      network = flax_peer.predictor(plain, sizes.units, dtype=dtype)
      entries.append(_entry(flax_peer.NAME, precision, work(network)))
    if "torch" in shared.peers:
      mixed = precision != "float32"
      run = torch_peer.learner(
        *flax_peer.split(ours.params),
        segments.inputs,
        segments.targets,
        optimizer=torch_peer.adam(rate),
        reduction="mean",
        mixed=mixed,
        clip_norm=clip_norm,
      )
      note = "autocast" if mixed else ""
      entries.append(contest.Entry(torch_peer.NAME, precision, run, note=note))
  return contest.Contest(str(sizes), "training", sizes.tokens, entries)


def dynamic(
  shared: Setting, sizes: Sizes, *, rate: float, momentum: float
) -> contest.Contest:
  """Dynamic evaluation by gradient descent, in float32.

  Each run of an entry gives the nats of its segments.
  """
  segments = text_work.text(
    sizes.segments, sizes.length, sizes.batch, sizes.symbols, seed=shared.seed
  )
  entries = []
  for peepholes in (False, True):
    ours = text_work.dynamic_evaluation(
      _predictor(sizes, "float32", peepholes=peepholes),
      segments,
      rate=rate,
      momentum=momentum,
      seed=shared.seed,
    )
    kind = PEEPHOLES if peepholes else ""
    entries.append(_entry(contest.OURS, "float32", ours, kind))
    if "torch" in shared.peers and not peepholes:
      run = torch_peer.learner(
        *flax_peer.split(ours.params),
        segments.inputs,
        segments.targets,
        optimizer=torch_peer.sgd(rate, momentum),
        reduction="sum",
      )
      entries.append(contest.Entry(torch_peer.NAME, "float32", run))
  return contest.Contest(str(sizes), "dynamic", sizes.tokens, entries)


def _predictor(
  sizes: Sizes, precision: str, *, peepholes: bool = False
) -> predictors.Predictor:
  return text_work.predictor(
    sizes.symbols,
    sizes.units,
    peepholes=peepholes,
    embedding=sizes.embedding,
    dtype=layer_work.operands(precision),
  )


def _entry(
  maker: str, precision: str, work: text_work.Work, kind: str = ""
) -> contest.Entry:
  return contest.Entry(maker, precision, work.run, work.temporary, kind)
