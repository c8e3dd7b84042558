"""Cases over LSTM layers: matrix products, one layer, its storage, stacks.

Each kind of case is a function of the settings that plans its cases; beside it
is a function that gives the libraries on a tiny shape, to compare them.
"""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from experiments.benchmark import case, peers_jax, peers_torch
from seqmodels.cells import cell as cells
from seqmodels.cells import lstm, ops, scan
from seqmodels.layers import recurrent


class Shape(NamedTuple):
  """The shape of layers and their input; H is the width of all."""

  steps: int
  batch: int
  features: int
  layers: int = 1

  def __str__(self) -> str:
    return f"T {self.steps}, B {self.batch}, H {self.features}"


TINY = Shape(steps=7, batch=3, features=8)  # to compare libraries on


def sizes(text: object, count: int) -> tuple[int, ...] | None:
  """So many positive whole numbers with an x between them; None otherwise.

  >>> sizes("100x8x700", 3), sizes("100x8", 3), sizes("0x1x1", 3)
  ((100, 8, 700), None, None)
  """
  parts = str(text).split("x")
  if len(parts) != count or not all(p.isdecimal() and int(p) for p in parts):
    return None
  return tuple(map(int, parts))


def shape(text: str) -> Shape:
  """T, B and H of a text such as "100x8x700"."""
  return Shape(*map(int, text.split("x")))


# Matrix products: the speed that a layer can hope for. One product of large
# square matrices is the machine's rate; the products of a layer's loop alone,
# [B, H] by [H, 4H] as many times as there are steps, are what is left of it for
# so few rows.

PRODUCT = "product"
LARGE = "products large"


def matrix_products(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """The large product, and those of every layer's loop."""
  rounds = case.Rounds(config.products.repeats, config.products.seconds)
  width = config.products.width
  planned = {LARGE: (1, width, width, width)}
  for text in config.layer.shapes:
    steps, batch, features, _ = shape(text)
    planned[f"products {text}"] = (steps, batch, features, 4 * features)
  for key, product in planned.items():
    yield key, functools.partial(_product, shared, rounds, *product)


def product_rates(records: Mapping[str, case.Record]) -> dict[str, float]:
  """Operations a second of the large product by precision, if it is there."""
  if LARGE not in records:
    return {}
  record = records[LARGE]
  return {
    entry["precision"]: record["tokens"] / case.took(entry).middle
    for entry in record["entries"]
  }


def _product(
  shared: case.Settings,
  rounds: case.Rounds,
  times: int,
  rows: int,
  inner: int,
  columns: int,
) -> case.Case:
  """[rows, inner] by [inner, columns], so many times, one after another."""
  keys = jax.random.split(jax.random.key(shared.seed))
  xs = jax.random.normal(keys[0], (times, rows, inner))
  kernel = jax.random.normal(keys[1], (inner, columns))
  entries = []
  for precision in shared.precisions:
    dtype = jnp.dtype(precision)
    run = functools.partial(_multiply, kernel.astype(dtype), xs.astype(dtype))
    entries.append(case.Entry("jax.numpy.matmul", precision, run))
  often = f", {times} times" if times > 1 else ""
  title = f"[{rows}, {inner}] by [{inner}, {columns}]{often}"
  return case.Case(
    title=title,
    label=title,
    work=PRODUCT,
    tokens=times * case.operations_of(rows, inner, columns),
    entries=entries,
    unit="FLOP/s",
    rounds=rounds,
  )


def _multiply(kernel: jax.Array, xs: jax.Array) -> None:
  jax.block_until_ready(_products(kernel, xs))


@jax.jit
def _products(kernel: jax.Array, xs: jax.Array) -> jax.Array:
  # The operands already have their dtype; sums are float32, as a layer's.
  return jax.lax.map(lambda x: ops.dot(x, kernel), xs)


# One layer: forward, its gradients, what it stores.

# Peers written in JAX: layers over a task, in any precision.
JAX_LAYERS: dict[str, Callable[..., case.Layers]] = {
  "flax": peers_jax.flax_layers,
  "nnx": peers_jax.nnx_layer,
  "scan": peers_jax.scan_layer,
}


def layers(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Every shape, forward and forward+backward."""
  for text in config.layer.shapes:
    for work in ("forward", case.BACKWARD):
      build = functools.partial(_layer, shared, shape(text), work)
      yield f"layer {text} {work}", build


def storage(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Every shape, keeping all activations or recomputing them by chunks."""
  chunk = config.storage.chunk
  for text in config.storage.shapes:
    build = functools.partial(_storage, shared, shape(text), chunk)
    yield f"storage {text}", build


def tiny_layers(shared: case.Settings) -> list[case.Entry]:
  """Every library's layer on a tiny shape."""
  task = case.layer_task(*TINY, seed=shared.seed)
  return implementations(shared, task, case.BACKWARD)


def ours(
  task: case.LayerTask, *, dtype: ops.Dtype = None, chunk: int = 0
) -> case.Layers:
  """The fused LSTM of this library, over one layer.

  Args:
    task: with peepholes if its weights have some.
    dtype: of the products' operands; None keeps float32.
    chunk: of `scan.checkpointed`; 0 keeps all activations.
  """
  sequence: scan.Sequence = functools.partial(lstm.sequence, dtype=dtype)
  if chunk:
    sequence = scan.checkpointed(sequence, chunk)

  def run(params: tuple[lstm.LSTMParams], xs: jax.Array) -> jax.Array:
    (layer,) = params
    features = layer.recurrent_kernel.shape[0]
    return sequence(layer, lstm.initial_carry(xs.shape[1:2], features), xs)[1]

  return case.compiled(run, task.params, task)


def implementations(
  shared: case.Settings, task: case.LayerTask, work: str
) -> list[case.Entry]:
  """Every library's layer in every precision, over one task."""
  makers = {case.OURS: ours}
  makers |= {
    case.PEERS[peer]: JAX_LAYERS[peer]
    for peer in shared.peers
    if peer in JAX_LAYERS
  }
  entries = []
  for precision in shared.precisions:
    dtype = case.operands(precision)
    for library, make in makers.items():
      net = make(task, dtype=dtype)
      entries.append(net.entry(work, library, precision))
    if "torch" in shared.peers:
      for mode in peers_torch.modes(precision):
        net = peers_torch.layers(task, mode=mode)
        name = case.PEERS["torch"]
        entries.append(net.entry(work, name, precision, note=mode))
    if "cudnn" in shared.peers and precision == "float32":
      net = peers_jax.cudnn_layer(task)
      entries.append(net.entry(work, case.PEERS["cudnn"], precision))
  return entries


def _layer(shared: case.Settings, size: Shape, work: str) -> case.Case:
  """One layer, forward or forward+backward; ours with peepholes, too."""
  task = case.layer_task(*size, seed=shared.seed)
  entries = implementations(shared, task, work)
  peepholes = case.layer_task(*size, seed=shared.seed, peepholes=True)
  for precision in shared.precisions:
    net = ours(peepholes, dtype=case.operands(precision))
    entries.append(net.entry(work, case.OURS, precision, kind=case.PEEPHOLES))
  return _layer_case("LSTM layer", work, size, entries)


def _storage(shared: case.Settings, size: Shape, chunk: int) -> case.Case:
  """One layer forward+backward, keeping all or recomputing by chunks."""
  task = case.layer_task(*size, seed=shared.seed)
  shared = shared._replace(precisions=("float32",))
  entries = implementations(shared, task, case.BACKWARD)
  chunked = {case.OURS: ours}
  if "flax" in shared.peers:
    chunked[case.PEERS["flax"]] = peers_jax.flax_layers
  for library, make in chunked.items():
    net, kind = make(task, chunk=chunk), f"chunks of {chunk}"
    entries.append(net.entry(case.BACKWARD, library, "float32", kind=kind))
  title = "storage in an LSTM layer"
  return _layer_case(title, case.BACKWARD, size, entries)


def _layer_case(
  title: str, work: str, size: Shape, entries: Sequence[case.Entry]
) -> case.Case:
  backward = work == case.BACKWARD
  return case.Case(
    title=f"{title}, {size}",
    label=str(size),
    work=work,
    tokens=size.steps * size.batch,
    operations=case.operations(*size, backward=backward),
    entries=entries,
    resident=backward,
  )


# Stacks of layers, without skips: the growth of time and memory with steps,
# streams, width and depth. Cases through one base shape, one size changed at a
# time, forward+backward in float32.

# The axes of the figure by field of the shape: setting and label.
AXES: Mapping[str, tuple[str, str]] = {
  "steps": ("steps", "steps T"),
  "batch": ("batches", "streams B"),
  "features": ("units", "width H"),
  "layers": ("layers", "layers"),
}


def stack_key(size: Shape) -> str:
  """The key of a shape's case in the run folder.

  >>> stack_key(Shape(50, 16, 512))
  'scaling 50x16x512x1'
  """
  return "scaling " + "x".join(map(str, size))


def stack_shapes(config: config_dict.ConfigDict) -> dict[str, list[Shape]]:
  """The shapes along each axis, by its field; all axes include the base."""
  base = Shape(*map(int, config.scaling.base.split("x")))
  shapes = {}
  for field, (setting, _) in AXES.items():
    values = {*config.scaling[setting], getattr(base, field)}
    shapes[field] = [base._replace(**{field: n}) for n in sorted(values)]
  return shapes


def scaling(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Every shape of every axis once."""
  rounds = case.Rounds(config.scaling.repeats, config.scaling.seconds)
  axes = stack_shapes(config).values()
  for size in dict.fromkeys(size for axis in axes for size in axis):
    yield stack_key(size), functools.partial(_stack, shared, size, rounds)


def tiny_stacks(shared: case.Settings) -> list[case.Entry]:
  """Every library's stack on a tiny shape."""
  return stacks(shared, TINY._replace(layers=3))


def stacks(shared: case.Settings, size: Shape) -> list[case.Entry]:
  """Every library's stack, forward+backward in float32."""
  task = case.layer_task(*size, seed=shared.seed)
  makers: dict[str, Callable[[case.LayerTask], case.Layers]] = {
    "flax": peers_jax.flax_layers,
    "torch": peers_torch.layers,
  }
  nets = {case.OURS: our_stack(task)}
  for peer in shared.peers:
    if peer in makers:
      nets[case.PEERS[peer]] = makers[peer](task)
  return [
    net.entry(case.BACKWARD, library, "float32")
    for library, net in nets.items()
  ]


def our_stack(task: case.LayerTask) -> case.Layers:
  """The stack of this library, without skips, over any number of layers."""
  batch, features = task.xs.shape[1:]
  stack = recurrent.DeepRecurrent(
    recurrent.StackOptions(
      features=(features,) * len(task.params),
      input_skips=False,
      output_skips=False,
      cell=cells.get("lstm", peepholes=False),
    ),
    in_features=features,
  )

  def run(params: tuple[lstm.LSTMParams, ...], xs: jax.Array) -> jax.Array:
    named = {}
    for index, layer in enumerate(params):
      leaves = layer._asdict()
      del leaves["peephole"]
      named[f"layer_{index}"] = leaves
    applied: Any = stack.apply(
      {"params": named}, stack.initial_carry(batch), xs
    )
    return applied[1][-1]

  return case.compiled(run, task.params, task)


def _stack(
  shared: case.Settings, size: Shape, rounds: case.Rounds
) -> case.Case:
  built = _layer_case(
    "stack of LSTM layers", case.BACKWARD, size, stacks(shared, size)
  )
  title = f"{built.title}, {size.layers} layers"
  return built._replace(title=title, resident=False, rounds=rounds)
