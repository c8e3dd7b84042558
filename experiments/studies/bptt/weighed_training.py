"""Networks whose gradients through time are weighed, trained side by side."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import small_network
from seqmodels import losses as losses_lib
from seqmodels.cells import scan as unrolling
from seqmodels.cells import truncation
from seqmodels.evaluation import metrics, static
from seqmodels.io import results
from seqmodels.training import loop, loss, optimizers
from seqmodels.training import step as states

KEEP = 0.8  # of the randomised truncation
WINDOW = 5  # steps, 1 / (1 - KEEP)


class Strategy(NamedTuple):
  """How the recurrent derivatives are weighed."""

  name: str
  kind: str  # "full", "chunks", "random" or "window"
  keep: float = 1.0  # of "random"
  length: int = 0  # of "chunks" and "window"


class Weighed(NamedTuple):
  """A minibatch with the factors of its recurrent derivatives, [T, B]."""

  inputs: Any
  targets: Any
  mask: Any
  reset: Any
  factors: Any


class Member(NamedTuple):
  """One run: a strategy, and the seed of its weights and minibatches."""

  strategy: Strategy
  seed: int


class Trained(NamedTuple):
  """What became of a member."""

  nats: np.ndarray  # a scored symbol, by dispatch
  params: Any


def members_of(
  study: run_lib.Study, strategies: Sequence[Strategy]
) -> list[Member]:
  """Every strategy under every seed."""
  first, count = study.config.seed, study.config.settings.runs
  return [
    Member(strategy, first + place)
    for strategy in strategies
    for place in range(count)
  ]


def losses_of(strategy: Strategy) -> Callable[..., Any]:
  """Nats of each row [B] of a `Weighed`, their derivatives by the strategy.

  Every minibatch starts from `carry`, the cleared state.
  """

  def losses(
    network: small_network.Network,
    params: Any,
    carry: Any,
    segment: Weighed,
    key: Any,
  ) -> tuple[jax.Array, loss.Outcome]:
    del key
    step = network.cell.step
    if strategy.kind == "window":
      run = truncation.windowed(step, strategy.length)
      _, hs = run(params[0], carry, segment.inputs)
    else:
      xs = (segment.inputs, segment.factors)
      weighed = truncation.weighted(step)
      _, hs = unrolling.unroll(weighed, params[0], carry, xs)
    found, wrong = losses_lib.cross_entropy(
      network.read(params, hs), segment.targets, segment.mask
    )
    nats = jnp.sum(found, axis=0)
    return nats, loss.Outcome(
      carry,
      jnp.sum(nats),
      jnp.sum(segment.mask, dtype=jnp.int32),
      jnp.sum(wrong, dtype=jnp.int32),
    )

  return losses


def train(
  study: run_lib.Study,
  network: small_network.Network,
  members: Sequence[Member],
  segments: Callable[[int, int, int], Any],
  *,
  steps: int,
) -> dict[Member, Trained]:
  """Trains all of them; members of one seed begin alike and read alike.

  Args:
    study: its rate and minibatch.
    network: of all.
    members: what is trained; all but windows are one compiled program.
    segments: (seed, step, count) -> minibatches [K, T, B].
    steps: how many.
  """
  found: dict[Member, Trained] = {}
  windows = [m for m in members if m.strategy.kind == "window"]
  for group in ([m for m in members if m not in windows], windows):
    if group:
      found |= _train(study, network, group, segments, steps)
  return {member: found[member] for member in members}


def _train(
  study: run_lib.Study,
  network: small_network.Network,
  members: Sequence[Member],
  segments: Callable[[int, int, int], Any],
  steps: int,
) -> dict[Member, Trained]:
  settings = study.config.settings
  optimizer = optimizers.build(
    "adam", learning_rate=settings.rate, clip_norm=1.0
  )
  one = states.create(
    network, optimizer, batch=settings.batch, seed=study.config.seed
  )
  seeds = sorted({member.seed for member in members})
  init = jax.jit(network.init)
  begun = {seed: init(jax.random.key(seed)) for seed in seeds}

  def drawn(start: int, count: int) -> list[Weighed]:
    read = {seed: segments(seed, start, count) for seed in seeds}
    return [
      weighed(m.strategy, read[m.seed], seed=m.seed, step=start)
      for m in members
    ]

  course = small_network.train_side_by_side(
    one,
    [begun[member.seed] for member in members],
    loop.make_joint_train_steps(
      network, optimizer, losses=losses_of(members[0].strategy)
    ),
    drawn,
    steps=steps,
    check=study.signals.check,
  )
  return {
    member: Trained(curve, params)
    for member, curve, params in zip(
      members, course.nats, course.params, strict=True
    )
  }


def weighed(
  strategy: Strategy, segments: Any, *, seed: int, step: int
) -> Weighed:
  """Minibatches [K, T, B] with a strategy's factors, 1 for windows.

  Args:
    strategy: how.
    segments: what is read.
    seed: of what is drawn, and so the next.
    step: of the first minibatch.
  """
  inputs, targets, mask, reset = segments
  count, steps, batch = inputs.shape
  if strategy.kind == "random":
    key = jax.random.fold_in(jax.random.key(seed), step)
    drawn = np.asarray(
      truncation.random_factors(key, steps, count * batch, keep=strategy.keep)
    )
    factors = np.moveaxis(drawn.reshape(steps, count, batch), 1, 0)
  else:
    chunk = strategy.length if strategy.kind == "chunks" else steps
    one = np.asarray(truncation.chunk_factors(steps, batch, chunk=chunk))
    factors = np.broadcast_to(one, inputs.shape)
  return Weighed(inputs, targets, mask, reset, factors.astype(np.float32))


def scored(
  network: small_network.Network,
  found: Mapping[Member, Trained],
  segments: Callable[[int], Any],
) -> dict[Strategy, list[metrics.Totals]]:
  """What every run of each strategy scores.

  Args:
    network: of all.
    found: what `train` gave.
    segments: by the seed of the run, [K, T, B].
  """
  predictor = network.predictor()  # one for all, that it compiles once
  scores: dict[Strategy, list[metrics.Totals]] = {}
  for member, one in found.items():
    read = segments(member.seed)
    streams = read.inputs.shape[2]
    total = static.evaluate(predictor, one.params, tuple(read), streams=streams)
    scores.setdefault(member.strategy, []).append(total)
  return scores


def row(name: str, split: str, runs: Sequence[metrics.Totals]) -> results.Row:
  """The perplexity of several runs together: exp of their mean nats."""
  together = functools.reduce(metrics.Totals.merge, runs)
  return results.row(
    name,
    split=split,
    evaluation="static",
    metric="perplexity",
    value=together.perplexity,
    count=together.count,
    seconds=together.seconds,
  )


def mean_curve(
  found: Mapping[Member, Trained], strategy: Strategy
) -> tuple[np.ndarray, np.ndarray]:
  """(steps, nats a scored symbol) of a strategy, the mean of its runs."""
  curves = [one.nats for m, one in found.items() if m.strategy == strategy]
  nats = np.mean(curves, axis=0)
  return small_network.middles(len(nats)), nats
