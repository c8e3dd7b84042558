"""The strategies in training, and their gradients side by side."""

import collections
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import flatten_util

from experiments.studies import run as run_lib
from experiments.studies.bptt import truncation
from experiments.studies.common import figures, memory_tasks, training
from seqmodels import losses
from seqmodels.cells import scan
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.models import networks
from seqmodels.training import optimizers


class Strategy(NamedTuple):
  """Weights of the recurrent derivatives; the full gradient by default."""

  name: str
  keep: float = 1.0  # probability that a recurrent term is kept
  segment: int = 0  # steps of each segment
  window: int = 0  # steps that each state sees


_KEEP, _LENGTH = 0.8, 5  # of like mean length: 1 / (1 - 0.8) steps
FULL = Strategy("full")
SEGMENTS = Strategy(f"segments of {_LENGTH}", segment=_LENGTH)
RANDOM = Strategy(f"randomised, p = {_KEEP:g}", keep=_KEEP)
WINDOW = Strategy(f"window of {_LENGTH}", window=_LENGTH)
RARELY = Strategy("randomised, p = 0.95", keep=0.95)


Runs = Mapping[Strategy, Sequence[training.Trained]]


def predictor(
  network: training.Network, window: int = 0
) -> networks.SequenceModel:
  """The network with inputs (symbols, factors), each segment read afresh.

  Each state sees `window` steps, if any, in place of what the factors say.
  """
  step = network.cell.step

  def apply(params: Any, carry: Any, inputs: Any, reset: Any) -> Any:
    del reset  # the state is clear at the start, and nothing clears it later
    if window:
      sequence = truncation.in_windows(step, window)
      _, hs = sequence(params[0], carry, inputs[0])
    else:
      _, hs = scan.unroll(truncation.weighted(step), params[0], carry, inputs)
    return carry, network.read(params, hs)

  return network.predictor()._replace(apply=apply)


def weighed(
  strategy: Strategy, segments: batching.Segment, *, seed: int, step: int
) -> batching.Segment:
  """Minibatches [K, T, B] with the factors of a strategy beside their inputs.

  Seed and first step decide what is drawn.
  """
  count, steps, batch = segments.inputs.shape
  factors: Any
  if strategy.keep < 1:
    key = jax.random.fold_in(jax.random.key(seed), step)
    factors = truncation.random_factors(
      key, steps, count * batch, keep=strategy.keep
    )
    factors = np.moveaxis(np.reshape(factors, (steps, count, batch)), 1, 0)
  else:
    length = strategy.segment or steps
    factors = truncation.segment_factors(steps, batch, length=length)
    factors = np.broadcast_to(factors, segments.inputs.shape)
  inputs: Any = segments.inputs, factors.astype(np.float32)
  return segments._replace(inputs=inputs)


def train(
  study: run_lib.Study,
  network: training.Network,
  strategies: Sequence[Strategy],
  streams: Sequence[Any],
  *,
  steps: int,
) -> Runs:
  """Trains by each strategy on a stream for each seed.

  Runs of one seed share their first weights and all data. Strategies without a
  window are one compiled program.
  """
  settings = study.config.settings
  optimizer = optimizers.build(
    "adam", learning_rate=settings.rate, clip_norm=1.0
  )
  init = jax.jit(network.init)
  begun = [init(jax.random.key(stream.seed)) for stream in streams]
  result: dict[Strategy, list[training.Trained]] = {}
  for window, some in itertools.groupby(strategies, lambda s: s.window):
    group = list(some)

    def read(start: int, count: int, group: Any = group) -> list[Any]:
      drawn = [stream.segments(start, count) for stream in streams]
      return [
        weighed(strategy, segments, seed=stream.seed, step=start)
        for strategy in group
        for stream, segments in zip(streams, drawn, strict=True)
      ]

    result |= training.train_side_by_side(
      predictor(network, window),
      optimizer,
      dict.fromkeys(group, begun),
      read,
      steps=steps,
      batch=settings.batch,
      check=study.signals.check,
    )
  return result


def scored(
  network: training.Network, runs: Runs, segments: Sequence[batching.Segment]
) -> dict[Strategy, list[losses.Metrics]]:
  """The score of every run on the segments of its seed, [K, T, B]."""
  plain = network.predictor()  # one for all: it is compiled once
  return {
    strategy: [
      static.evaluate(
        plain, run.params, tuple(read), streams=read.inputs.shape[2]
      )
      for run, read in zip(ones, segments, strict=True)
    ]
    for strategy, ones in runs.items()
  }


def _rows(
  scores: Mapping[Strategy, list[losses.Metrics]], split: str, task: str = ""
) -> list[results.Row]:
  """The perplexity of all runs of a strategy: exp of their mean nats."""
  rows = []
  for strategy, runs in scores.items():
    together = functools.reduce(losses.Metrics.merge, runs)
    name = task + strategy.name
    rows.append(training.scored_row(name, together, split=split))
  return rows


def _curve(
  runs: Sequence[training.Trained], less: Sequence[training.Trained] = ()
) -> figures.Curve:
  """Steps and the mean loss of some runs, less that of others."""
  nats = np.mean([run.nats for run in runs], axis=0)
  if less:
    nats = nats - np.mean([run.nats for run in less], axis=0)
  return training.by_dispatch(nats)


def characters(study: run_lib.Study) -> list[results.Row]:
  """Trains on text, where a short gradient is enough."""
  page, settings = study.page, study.config.settings
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = training.Network("elman", settings.hidden, symbols, symbols)
  streams = [
    batching.RandomWindows(
      tokens.splits["train"],
      batch=settings.batch,
      length=settings.length,
      seed=study.config.seed + place,
    )
    for place in range(settings.runs)
  ]
  strategies = (FULL, SEGMENTS, RANDOM, WINDOW)
  runs = train(study, network, strategies, streams, steps=settings.steps)
  stream = batching.SequentialStream(
    tokens.splits["valid"], batch=settings.batch, length=settings.length
  )
  valid = stream.segments(0, stream.segments_per_epoch)
  scores = scored(network, runs, [valid] * len(streams))
  perplexities = {
    strategy: np.array([one.perplexity for one in ones])
    for strategy, ones in scores.items()
  }
  full = perplexities[FULL]
  beside = {name: ones / full - 1 for name, ones in perplexities.items()}
  body = []
  for strategy, ones in perplexities.items():
    each = ", ".join(f"{one:.3f}" for one in ones)
    apart = ", ".join(f"{100 * one:+.1f} %" for one in beside[strategy])
    body.append([strategy.name, each, apart])
  page["training"] = body
  cut = np.concatenate([beside[s] for s in (FULL, SEGMENTS, WINDOW)])
  others = np.max([perplexities[s] for s in (FULL, SEGMENTS, WINDOW)], axis=0)
  page["by_seed"] = f"{100 * (full.max() / full.min() - 1):.1f} %"
  page["by_cutting"] = f"{100 * cut.min():+.1f} to {100 * cut.max():+.1f} %"
  page["random_last"] = int(np.sum(perplexities[RANDOM] > others))
  figures.curves(
    page.figure("training"),
    "Learning characters by a shortened gradient",
    {
      strategy.name: _curve(ones, runs[FULL])
      for strategy, ones in runs.items()
      if strategy != FULL
    },
    x="steps",
    y="nats a character more than the full gradient",
    references={"full gradient": 0.0},
  )
  study.signals.check()
  # Past all steps of training: characters in an order not yet seen.
  fresh = streams[0].segments(settings.steps, 1)
  side_by_side(study, network, runs[FULL][0].params, fresh)
  return _rows(scores, "valid")


def side_by_side(
  study: run_lib.Study,
  network: training.Network,
  params: Any,
  segments: batching.Segment,
) -> None:
  """The gradients of one minibatch [1, T, B] by each strategy and length."""
  page, settings, seed = study.page, study.config.settings, study.config.seed
  carry = network.initial_carry(segments.inputs.shape[2])

  def compiled(window: int) -> Any:
    model = predictor(network, window)

    def gradient(params: Any, drawn: Any) -> jax.Array:
      one = jax.tree.map(lambda leaf: leaf[0], drawn)
      _, pull, _ = jax.vjp(
        lambda params: model.score(params, carry, one), params, has_aux=True
      )
      total = pull(jnp.ones(one.mask.shape[1]))
      return flatten_util.ravel_pytree(total)[0] / jnp.sum(one.mask)

    return jax.jit(gradient)

  shared = compiled(0)  # by strategies that differ in their factors only

  def drawn(strategy: Strategy) -> np.ndarray:
    """Gradients [N, P]; draws are numbered on from the steps of training."""
    gradient = compiled(strategy.window) if strategy.window else shared
    result = []
    for draw in range(settings.gradients if strategy.keep < 1 else 1):
      step = settings.steps + 1 + draw
      some = weighed(strategy, segments, seed=seed, step=step)
      result.append(gradient(params, some))
    study.signals.check()
    return np.asarray(jax.device_get(result), np.float64)

  [full] = drawn(FULL)
  size, lengths = np.linalg.norm(full), settings.gradient_lengths
  body, errors = [], collections.defaultdict(list)
  for n in lengths:
    for name, strategy in (
      ("segments", Strategy("", segment=n)),
      ("randomised", Strategy("", keep=1 - 1 / n)),
      ("window", Strategy("", window=n)),
    ):
      draws = drawn(strategy)
      cosines = draws @ full / np.linalg.norm(draws, axis=1) / size
      bias = float(np.linalg.norm(draws.mean(axis=0) - full) / size)
      spread = draws.var(axis=0, ddof=1).sum() if len(draws) > 1 else 0.0
      deviation = float(np.sqrt(spread) / size)
      errors[name].append(math.hypot(bias, deviation))
      numbers = float(cosines.mean()), bias, deviation, errors[name][-1]
      body.append([str(n), name, *numbers])
  page["gradients"] = body
  page["noisier"] = int(
    np.sum(np.greater(errors["randomised"], errors["segments"]))
  )
  figures.curves(
    page.figure("gradient_error"),
    "The error of one shortened gradient",
    {name: (lengths, sizes) for name, sizes in errors.items()},
    x="mean length, steps",
    y="|gradient - full| / |full|",
    marks=True,
    references={"no gradient at all": 1.0},
  )


_KINDS = 4  # of symbols to copy
_SCORED = 8  # minibatches


def copying(study: run_lib.Study) -> list[results.Row]:
  """One symbol, to be said again past the edge of every segment."""
  page, settings = study.page, study.config.settings
  tasks = [
    memory_tasks.CopyTask(
      lag=settings.copy_lag,
      batch=settings.batch,
      kinds=_KINDS,
      seed=study.config.seed + place,
    )
    for place in range(settings.runs)
  ]
  symbols, chance = tasks[0].vocabulary_size, tasks[0].chance
  network = training.Network("gru", settings.hidden, symbols, symbols)
  strategies = (FULL, RARELY, RANDOM, SEGMENTS)
  steps = settings.copy_steps
  runs = train(study, network, strategies, tasks, steps=steps)
  fresh = [task.segments(steps, _SCORED) for task in tasks]
  scores = scored(network, runs, fresh)

  def halved(run: training.Trained) -> str:
    """The middle of the first dispatch that went below half of chance."""
    places, nats = training.by_dispatch(run.nats)
    below = places[nats < chance / 2]
    return f"{below[0]:.0f}" if len(below) else "never"

  body = []
  for strategy in strategies:
    survives = f"{strategy.keep**settings.copy_lag:.2g}"
    survives = "0" if strategy.segment else survives
    each = ", ".join(f"{one.perplexity:.3f}" for one in scores[strategy])
    first = ", ".join(map(halved, runs[strategy]))
    body.append([strategy.name, survives, each, first])
  page["copying"] = body
  page["kinds"] = _KINDS
  figures.curves(
    page.figure("copying"),
    f"Copying over {settings.copy_lag} steps",
    {strategy.name: _curve(ones) for strategy, ones in runs.items()},
    x="steps",
    y="nats an answer",
    references={"chance": chance},
  )
  task = f"copying over {settings.copy_lag} steps, "
  return _rows(scores, "fresh sequences", task)
