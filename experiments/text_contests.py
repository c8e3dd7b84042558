"""The contests over language models: learning, dynamic evaluation, drawing."""

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from experiments import (
  contest,
  flax_peer,
  layer_work,
  samplers,
  text_work,
  torch_peer,
)
from seqmodels.models import predictor as predictors


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


def characters(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Training of the character network."""
  yield "training", _training(config, shared, _sizes(config))


def words(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Training of the word network."""
  given = config.words
  sizes = Sizes(
    symbols=given.symbols,
    units=given.units,
    batch=given.batch,
    length=given.segment,
    segments=given.steps_per_dispatch,
    embedding=given.embedding,
  )
  yield "training words", _training(config, shared, sizes)


def dynamics(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Dynamic evaluation of the character network, by length of a segment."""
  for length in config.dynamic.segments:
    segments = max(1, config.dynamic.symbols // length)
    sizes = _sizes(config)._replace(batch=1, length=length, segments=segments)
    yield (
      f"dynamic {length}",
      functools.partial(
        dynamic,
        shared,
        sizes,
        rate=config.dynamic.learning_rate,
        momentum=config.dynamic.momentum,
      ),
    )


def samplings(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """Text drawn from the character network, by the number of texts."""
  for batch in config.sampling.batches:
    sizes = _sizes(config)._replace(
      batch=batch, length=config.sampling.symbols, segments=1
    )
    yield f"sampling {batch}", functools.partial(sampling, shared, sizes)


def training(
  shared: contest.Setting, sizes: Sizes, *, rate: float, clip_norm: float
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
    entries.append(
      _entry(contest.OURS, precision, peepholes, contest.PEEPHOLES)
    )
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
  shared: contest.Setting, sizes: Sizes, *, rate: float, momentum: float
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
    kind = contest.PEEPHOLES if peepholes else ""
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


def sampling(shared: contest.Setting, sizes: Sizes) -> contest.Contest:
  """Text drawn at temperature 1; a run of an entry gives the ids."""
  return contest.Contest(
    str(sizes),
    "sampling",
    sizes.tokens,
    [entry for entry, _ in drawn(shared, sizes)],
  )


def drawn(
  shared: contest.Setting, sizes: Sizes
) -> list[tuple[contest.Entry, samplers.Sampler]]:
  """Every library's sampler, of the same weights."""
  found = []

  def add(
    maker: str,
    precision: str,
    sampler: samplers.Sampler,
    kind: str = "",
    note: str = "",
  ) -> None:
    entry = contest.Entry(maker, precision, sampler.run, kind=kind, note=note)
    found.append((entry, sampler))

  def fresh(
    precision: str, *, peepholes: bool = False
  ) -> tuple[predictors.Predictor, Any]:
    network = _predictor(sizes, precision, peepholes=peepholes)
    return network, jax.jit(network.init)(jax.random.key(shared.seed))

  given = samplers.Task(sizes.length, sizes.batch, shared.seed)
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    plain, weights = fresh(precision)
    add(contest.OURS, precision, samplers.ours(plain, weights, given))
    sampler = samplers.ours(*fresh(precision, peepholes=True), given)
    add(contest.OURS, precision, sampler, kind=contest.PEEPHOLES)
    if "flax" in shared.peers:
      add(samplers.FLAX, precision, samplers.flax(weights, given, dtype=dtype))
    if "torch" in shared.peers:
      cast = precision != "float32"
      for cell in samplers.TORCH_CELLS:
        sampler = samplers.torch(weights, given, cell=cell, cast=cast)
        add(f"torch.nn.{cell}", precision, sampler, note="cast" if cast else "")
  return found


def _training(
  config: config_dict.ConfigDict, shared: contest.Setting, sizes: Sizes
) -> Callable[[], contest.Contest]:
  return functools.partial(
    training,
    shared,
    sizes,
    rate=config.training.learning_rate,
    clip_norm=config.training.clip_norm,
  )


def _sizes(config: config_dict.ConfigDict) -> Sizes:
  """Of the character network in training."""
  return Sizes(
    symbols=config.model.symbols,
    units=config.model.units,
    batch=config.training.batch,
    length=config.training.segment,
    segments=config.training.steps_per_dispatch,
  )


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
