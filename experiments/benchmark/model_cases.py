"""Cases over whole models: training, dynamic evaluation, sampling, compression.

The library's own compiled steps are timed, the ones that experiments run, with
everything that belongs to them (losses, counts, norms, resets). Their data are
random, but for the text that is compressed.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import config_dict

from configs import compression as compression_page
from experiments.benchmark import case, peers_jax, peers_torch
from experiments.compression import report as compression_report
from seqmodels import errors, losses
from seqmodels.cells import cell as cells
from seqmodels.cells import ops
from seqmodels.compression import codec, container
from seqmodels.compression import model as model_lib
from seqmodels.compression import settings as settings_lib
from seqmodels.data.handwriting import batching
from seqmodels.data.text import corpora
from seqmodels.evaluation import dynamic as dynamic_lib
from seqmodels.evaluation import static
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.sampling import text as text_sampling
from seqmodels.training import optimizers, step


class Work(NamedTuple):
  """Training on the same segments at every call.

  The first call compiles.
  """

  run: Callable[[], np.ndarray]  # nats of each segment; waits until done
  temporary: Callable[[], int | None]  # bytes XLA sets aside
  params: Any  # before the first call

  def entry(self, library: str, precision: str, kind: str = "") -> case.Entry:
    """A library at this work."""
    return case.Entry(library, precision, self.run, self.temporary, kind)


class Sizes(NamedTuple):
  """The sizes of a language model and of its input."""

  symbols: int
  units: int
  batch: int
  length: int  # T of a segment
  segments: int  # in one run
  embedding: int = 0  # its width; 0 for one-hot vectors

  def __str__(self) -> str:
    embedding = f", embedding {self.embedding}" if self.embedding else ""
    return (
      f"1x{self.units} LSTM{embedding}, {self.symbols:,} symbols, "
      f"B {self.batch}, T {self.length}"
    )

  @property
  def tokens(self) -> int:
    """Symbols read in one run."""
    return self.batch * self.length * self.segments


TINY = Sizes(symbols=5, units=8, batch=3, length=6, segments=4)


def character_sizes(config: config_dict.ConfigDict, **others: int) -> Sizes:
  """Those of the character model in training, but for the others."""
  sizes = Sizes(
    symbols=config.model.symbols,
    units=config.model.units,
    batch=config.training.batch,
    length=config.training.segment,
    segments=config.training.steps_per_dispatch,
  )
  return sizes._replace(**others)


def random_text(sizes: Sizes, *, seed: int) -> static.Chunk:
  """Segments [K, T, B] of uniformly random symbols, on the host."""
  shape = (sizes.segments, sizes.length, sizes.batch)
  draw = np.random.default_rng(seed).integers
  size = (sizes.segments * sizes.length + 1, sizes.batch)
  ids = draw(sizes.symbols, size=size, dtype=np.int32)
  return static.Chunk(
    inputs=ids[:-1].reshape(shape),
    targets=ids[1:].reshape(shape),
    mask=np.ones(shape, bool),
    reset=np.zeros(shape, bool),
  )


def our_language_model(
  sizes: Sizes, *, peepholes: bool, dtype: ops.Dtype = None
) -> networks.SequenceModel:
  """Our language model with one layer, over one-hot or embedded symbols."""
  return networks.LanguageModel(
    sizes.symbols,
    recurrent.StackOptions(
      features=(sizes.units,),
      dtype=dtype,
      cell=cells.get("lstm", peepholes=peepholes),
    ),
    embedding=sizes.embedding,
  ).as_model()


# Training: truncated backpropagation, clipping, Adam.


class Model(NamedTuple):
  """A model to train, with its data."""

  title: str  # of its case
  label: str
  segments: Any  # [K, T, B], of one run
  build: Callable[..., Any]  # ours, (peepholes=..., dtype=...) -> network
  flax: Callable[..., Any]  # of Flax's parts, (ours, dtype=...) -> network


def character_training(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Training of the character model."""
  sizes = character_sizes(config)
  model = functools.partial(text_to_train, sizes, shared, "characters")
  yield "training", functools.partial(_training_case, config, shared, model)


def word_training(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Training of the word model."""
  options = config.words.to_dict()
  sizes = Sizes(
    length=options.pop("segment"),
    segments=options.pop("steps_per_dispatch"),
    **options,
  )
  model = functools.partial(text_to_train, sizes, shared, "words")
  build = functools.partial(_training_case, config, shared, model)
  yield "training words", build


def handwriting_training(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Training of handwriting prediction, in points."""
  model = functools.partial(handwriting_to_train, config.ink, shared)
  build = functools.partial(_training_case, config, shared, model)
  yield "training ink", build


def text_to_train(sizes: Sizes, shared: case.Settings, label: str) -> Model:
  """A language model and random text."""
  return Model(
    title=str(sizes),
    label=label,
    segments=random_text(sizes, seed=shared.seed),
    build=functools.partial(our_language_model, sizes),
    flax=peers_jax.flax_language_model,
  )


def handwriting_to_train(
  sizes: config_dict.ConfigDict, shared: case.Settings
) -> Model:
  """The network of handwriting prediction and random movements.

  Ours has no limits on derivatives, for Flax has none.
  """

  def build(*, peepholes: bool, dtype: ops.Dtype) -> networks.SequenceModel:
    return networks.Handwriting(
      recurrent.StackOptions(
        features=(sizes.units,) * sizes.layers,
        gradient_clip=None,
        dtype=dtype,
        cell=cells.get("lstm", peepholes=peepholes),
      ),
      components=sizes.components,
      output_clip=None,
    ).as_model()

  return Model(
    title=(
      f"handwriting prediction {sizes.layers}x{sizes.units}, "
      f"{sizes.components} components, B {sizes.batch}, T {sizes.points}"
    ),
    label="handwriting",
    segments=random_handwriting(sizes.points, sizes.batch, seed=shared.seed),
    build=build,
    flax=peers_jax.flax_handwriting,
  )


def random_handwriting(
  points: int, lines: int, *, seed: int
) -> batching.PenSegment:
  """One minibatch of random movements [1, T, B, 3], on the host."""
  shape = (1, points, lines)
  random = np.random.default_rng(seed)
  targets = random.normal(size=(*shape, 3)).astype(np.float32)
  targets[..., 2] = random.random(shape) < 0.05
  inputs = np.zeros_like(targets)
  inputs[:, 1:] = targets[:, :-1]
  return batching.PenSegment(
    inputs,
    targets,
    np.ones(shape, bool),
    np.zeros((1, 0, lines), np.int32),
    np.zeros(shape, bool),
  )


def training(
  shared: case.Settings, model: Model, *, rate: float, clip_norm: float
) -> case.Case:
  """Whole training steps: forward, backward, clipping, Adam.

  Each run of an entry gives the nats of its segments.
  """
  learn = functools.partial(
    _train, model, rate=rate, clip_norm=clip_norm, seed=shared.seed
  )
  entries = []
  for precision in shared.precisions:
    dtype = case.operands(precision)
    plain = model.build(peepholes=False, dtype=dtype)
    ours = learn(plain)
    entries.append(ours.entry(case.OURS, precision))
    peepholes = learn(model.build(peepholes=True, dtype=dtype))
    entries.append(peepholes.entry(case.OURS, precision, case.PEEPHOLES))
    if "flax" in shared.peers:
      peer = learn(model.flax(plain, dtype=dtype))
      entries.append(peer.entry(case.PEERS["flax"], precision))
    mixed = precision != "float32"
    # PyTorch's loop trains language models alone.
    if (
      "torch" in shared.peers
      and plain.loss is losses.of_symbols
      and ("autocast" if mixed else "") in peers_torch.modes(precision)
    ):
      run = peers_torch.learner(
        ours.params,
        model.segments,
        "Adam",
        lr=rate,
        reduction="mean",
        mixed=mixed,
        clip_norm=clip_norm,
      )
      note = "autocast" if mixed else ""
      entries.append(case.Entry(case.PEERS["torch"], precision, run, note=note))
  tokens = model.segments.mask.size
  return case.Case(model.title, model.label, "training", tokens, entries)


def tiny_training(shared: case.Settings) -> Sequence[case.Entry]:
  """Every library at several segments of training, all but one after an update.

  Handwriting trains by the same steps.
  """
  model = text_to_train(TINY, shared, "")
  return training(shared, model, rate=0.05, clip_norm=1.0).entries


def _training_case(
  config: config_dict.ConfigDict,
  shared: case.Settings,
  model: Callable[[], Model],
) -> case.Case:
  options = config.training
  return training(
    shared, model(), rate=options.learning_rate, clip_norm=options.clip_norm
  )


def _train(
  model: Model, network: Any, *, rate: float, clip_norm: float, seed: int
) -> Work:
  """The library's own steps with Adam, all segments in one dispatch."""
  optimizer = optimizers.build("adam", learning_rate=rate, clip_norm=clip_norm)
  batch = model.segments.inputs.shape[2]
  state = step.create(network, optimizer, batch=batch, seed=seed)
  params = jax.tree.map(np.array, state.params)
  steps: Any = step.make_train_steps(network, optimizer)
  program = case.Program(lambda: steps.lower(state, model.segments))

  def run() -> np.ndarray:
    nonlocal state
    state, report = program(state, model.segments)
    return np.asarray(report.metrics.nats)

  return Work(run, program.temporary, params)


# Dynamic evaluation.


def dynamic(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Dynamic evaluation of the character model, by length of a segment."""
  options = config.dynamic
  for length in options.segments:
    segments = max(1, options.symbols // length)
    build = functools.partial(
      dynamic_case,
      shared,
      character_sizes(config, batch=1, length=length, segments=segments),
      rate=options.learning_rate,
      momentum=options.momentum,
    )
    yield f"dynamic {length}", build


def dynamic_case(
  shared: case.Settings, sizes: Sizes, *, rate: float, momentum: float
) -> case.Case:
  """Dynamic evaluation by gradient descent, in float32.

  Each run of an entry gives the nats of its segments.
  """
  segments = random_text(sizes, seed=shared.seed)
  evaluate = functools.partial(
    _evaluate, segments, rate=rate, momentum=momentum, seed=shared.seed
  )
  ours = evaluate(our_language_model(sizes, peepholes=False))
  entries = [ours.entry(case.OURS, "float32")]
  if "torch" in shared.peers:
    run = peers_torch.learner(
      ours.params,
      segments,
      "SGD",
      lr=rate,
      momentum=momentum,
      reduction="sum",
    )
    entries.append(case.Entry(case.PEERS["torch"], "float32", run))
  peepholes = evaluate(our_language_model(sizes, peepholes=True))
  entries.append(peepholes.entry(case.OURS, "float32", case.PEEPHOLES))
  label = f"segments of {sizes.length}"
  return case.Case(str(sizes), label, "dynamic", sizes.tokens, entries)


def tiny_dynamic(shared: case.Settings) -> Sequence[case.Entry]:
  """Every library at several segments of dynamic evaluation."""
  sizes = TINY._replace(batch=1)
  return dynamic_case(shared, sizes, rate=0.05, momentum=0.9).entries


def _evaluate(
  segments: static.Chunk,
  network: networks.SequenceModel,
  *,
  rate: float,
  momentum: float,
  seed: int,
) -> Work:
  """Predicts each segment, then learns from it, in one compiled scan."""
  rule = dynamic_lib.make_rule(
    "sgd", None, {"learning_rate": rate, "momentum": momentum}
  )
  params = jax.jit(network.init)(jax.random.key(seed))
  streams = segments.inputs.shape[2]
  state = dynamic_lib.initial_state(network, params, rule, streams=streams)
  advance: Any = dynamic_lib.advance
  program = case.Program(lambda: advance.lower(network, rule, state, segments))

  def run() -> np.ndarray:
    nonlocal state
    state, sums = program(rule, state, segments)
    return np.asarray(sums[0])

  return Work(run, program.temporary, jax.tree.map(np.array, params))


# Sampling: text drawn at temperature 1. Each library reads the null vector,
# then draws a symbol and reads it, so many times.


def sampling(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Text drawn from the character model, by the number of texts."""
  length = config.sampling.symbols
  for batch in config.sampling.batches:
    sizes = character_sizes(config, batch=batch, length=length, segments=1)
    yield f"sampling {batch}", functools.partial(_sampling_case, shared, sizes)


def samplers(shared: case.Settings, sizes: Sizes) -> list[case.Entry]:
  """Every library's sampler, of the same weights.

  Their answers are the logits after random symbols.
  """
  entries = []

  def add(
    library: str,
    precision: str,
    sampler: case.Sampler,
    kind: str = "",
    note: str = "",
  ) -> None:
    def answer() -> np.ndarray:
      ids = random_text(sizes, seed=shared.seed).inputs[0]
      ids[0] = case.NULL  # a sampler reads it before anything else
      return sampler.logits(ids)

    entry = case.Entry(library, precision, sampler.run, answer=answer)
    entries.append(entry._replace(kind=kind, note=note))

  def fresh(
    dtype: ops.Dtype, *, peepholes: bool
  ) -> tuple[networks.SequenceModel, Any]:
    network = our_language_model(sizes, peepholes=peepholes, dtype=dtype)
    return network, jax.jit(network.init)(jax.random.key(shared.seed))

  task = case.SamplingTask(sizes.length, sizes.batch, shared.seed)
  for precision in shared.precisions:
    dtype = case.operands(precision)
    network, params = fresh(dtype, peepholes=False)
    add(case.OURS, precision, our_sampler(network, params, task))
    sampler = our_sampler(*fresh(dtype, peepholes=True), task)
    add(case.OURS, precision, sampler, kind=case.PEEPHOLES)
    if "flax" in shared.peers:
      sampler = peers_jax.flax_sampler(params, task, dtype=dtype)
      add(peers_jax.FLAX_SAMPLER, precision, sampler)
    if "torch" in shared.peers:
      cast = precision != "float32"
      way = "cast" if cast else ""
      able = way in peers_torch.modes(precision)
      for cell in peers_torch.SAMPLER_CELLS if able else ():
        sampler = peers_torch.sampler(params, task, cell=cell, cast=cast)
        add(f"torch.nn.{cell}", precision, sampler, note=way)
  return entries


def our_sampler(
  network: networks.SequenceModel, params: Any, task: case.SamplingTask
) -> case.Sampler:
  """The library's own sampler, as experiments call it."""
  key = jax.random.key(task.seed)

  def run() -> np.ndarray:
    return text_sampling.sample(
      network, params, key, length=task.length, batch=task.batch
    )

  @jax.jit
  def logits(ids: jax.Array) -> jax.Array:
    carry = network.initial_carry(task.batch)
    # Step by step, as the sampler applies it.
    scores = []
    for row in ids:
      carry, score = network.apply(
        params, carry, row[None], jnp.zeros((1, task.batch), bool)
      )
      scores.append(score[0])
    return jnp.stack(scores)

  return case.Sampler(run, lambda ids: np.asarray(logits(jnp.asarray(ids))))


def _sampling_case(shared: case.Settings, sizes: Sizes) -> case.Case:
  entries = samplers(shared, sizes)
  label = f"{sizes.batch} text" + ("s" if sizes.batch > 1 else "")
  return case.Case(str(sizes), label, "sampling", sizes.tokens, entries)


# Compression: bytes a second, in memory, each way. Our coder (predictors,
# mixer, range coder; no file around the code) learns the bytes while it codes
# them, one by one, and no other library does the same work: other compressors
# are measured for scale alone, with the size of their result, and no ratio is
# taken.

# "smoke" is of use in tests alone.
PRESETS = (*compression_page.PRESETS, "smoke")
FOR_SCALE = "another algorithm, for scale"


class Coder(NamedTuple):
  """A model of bytes for a file of some size, with its description."""

  description: str
  settings: settings_lib.Settings
  model: model_lib.Model


def compression(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """Compressing and decompressing; the other compressors only compress."""
  for work in ("compress", "decompress"):
    build = functools.partial(compression_case, config, shared, work)
    yield f"compression {work}", build


def compression_case(
  config: config_dict.ConfigDict, shared: case.Settings, work: str
) -> case.Case:
  """Compression to a code, or decompression of a code to its bytes.

  Raises:
    RunError: the decompressed bytes are others.
  """
  options = config.compression
  data = corpora.embedded_text().encode("utf-8")[: options.bytes]
  entries = []

  def add(library: str, precision: str, run: Any, kind: str, size: int) -> None:
    note = f"{size:,} bytes"
    entries.append(case.Entry(library, precision, run, kind=kind, note=note))

  for coder in coders(config, shared, len(data)):
    codes = compressed(coder, data)
    run: Any = functools.partial(compressed, coder, data)
    if work == "decompress":
      run = functools.partial(decompressed, coder, codes, len(data))
      if run() != data:
        raise errors.RunError(
          f"{coder.description} decompressed other bytes than the "
          f"{len(data):,} it had compressed, so its speed means nothing; leave "
          "it out with --config.compression.presets"
        )
    size = sum(map(len, codes))
    add(case.OURS, coder.settings.dtype, run, coder.description, size)
  if work == "compress":
    for name, compress in compression_report.peers().items():
      run = functools.partial(compress, data)
      add(name, "", run, FOR_SCALE, len(compress(data)))
  title = f"{len(data):,} bytes of the embedded corpus"
  rounds = case.Rounds(options.repeats, options.seconds)
  return case.Case(
    title, title, work, len(data), entries, unit="bytes/s", rounds=rounds
  )


def coders(
  config: config_dict.ConfigDict, shared: case.Settings, size: int
) -> Iterator[Coder]:
  """The models that `configs/compression.py` has for a file of `size` bytes."""
  for preset in config.compression.presets:
    settings = settings_lib.Settings.of(
      {**compression_page.model([preset]), "seed": shared.seed}
    )
    header = container.Header(size, "", settings, {}, preset=preset)
    description = compression_report.describe(header)
    yield Coder(description, settings, model_lib.build(settings, size))


def compressed(coder: Coder, data: bytes) -> list[bytes]:
  """The code of each block."""
  learned, codes = coder.model.init(), []
  for block in settings_lib.blocks(coder.settings, len(data)):
    piece = np.frombuffer(data, np.uint8, block.size, block.begin)
    code, learned = codec.encode(coder.model, learned, block, piece)
    codes.append(code)
  return codes


def decompressed(coder: Coder, codes: Sequence[bytes], size: int) -> bytes:
  """The bytes that were compressed."""
  learned, pieces = coder.model.init(), []
  blocks = settings_lib.blocks(coder.settings, size)
  for block, code in zip(blocks, codes, strict=True):
    piece, learned = codec.decode(coder.model, learned, block, code)
    pieces.append(piece.tobytes())
  return b"".join(pieces)
