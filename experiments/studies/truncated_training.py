"""The strategies in training on text, and their gradients side by side."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fundamentals
from experiments.studies import (
  small_network,
  truncated_copying,
  weighed_training,
)
from seqmodels.data import streams, windows
from seqmodels.io import report, study_plot

_KEEP, _WINDOW = weighed_training.KEEP, weighed_training.WINDOW
_FULL, _CHUNKS = "full", f"segments of {_WINDOW}"
_SLIDING = f"window of {_WINDOW}"
_RANDOM = f"randomised, p = {_KEEP:g}"


def compare(study: fundamentals.Study) -> list[report.Row]:
  """Trains with each strategy and writes what came of it."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "The strategies in training",
    f"""
    The same small network is trained from the same start by each strategy, on
    the same minibatches: characters of the corpus, {settings.batch} windows of
    {settings.length} from an empty state, {settings.steps} steps of Adam with
    the norm of the gradient clipped at 1. Segments and windows have {_WINDOW}
    steps, and p = {_KEEP:g} gives lengths of {1 / (1 - _KEEP):.0f} on average.
    """,
  )
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = small_network.Network("elman", settings.hidden, symbols, symbols)
  train = windows.RandomWindows(
    tokens.splits["train"],
    batch=settings.batch,
    length=settings.length,
    seed=study.config.seed,
  )
  curves, trained = _train_all(study, network, train)
  valid = streams.SequentialStream(
    tokens.splits["valid"], batch=settings.batch, length=settings.length
  )
  rows = weighed_training.scored(
    network,
    trained,
    valid.segments(0, valid.segments_per_epoch),
    split="valid",
  )
  study.signals.check()
  facts = _against_full(study, network, trained[_FULL], train)
  page.table(
    (
      "strategy",
      "validation perplexity",
      "cosine to the full gradient",
      "|mean - full| / |full|",
      "standard deviation / |full|",
    ),
    [[row["name"], row["value"], *facts[row["name"]]] for row in rows],
  )
  best = min(rows, key=lambda row: row["value"])
  random = next(row for row in rows if row["name"].startswith("randomised"))
  chunks = next(row for row in rows if row["name"] == _CHUNKS)
  full = next(row for row in rows if row["name"] == _FULL)
  page.say(
    f"""
    The gradients are compared on one minibatch with the weights that the full
    gradient had trained; those of the randomised strategy are
    {settings.gradients} draws, whose mean is as far from the full gradient as
    their deviation and number let one expect, while truncation is off for good.
    The lowest perplexity is that of "{best["name"]}". Truncation to {_WINDOW}
    steps ends at {chunks["value"]:.2f} against {full["value"]:.2f} for the full
    gradient: most of what helps to predict a character lies a few characters
    back, and that is what so short a training learns. Randomised truncation
    ends at {random["value"]:.2f}
    ({100 * (random["value"] / chunks["value"] - 1):+.1f} % against segments):
    it has no bias, but one draw points where its noise does. These are single
    runs: differences of a few parts in a hundred may be chance.
    """
  )
  study_plot.curves(
    page.figure(
      "training",
      "Training loss by step beside that of the full gradient, the mean over "
      f"stretches of {weighed_training.DISPATCH} minibatches. Below 0 a "
      "strategy is ahead of the full gradient.",
    ),
    "Learning characters by a shortened gradient",
    {
      name: (
        weighed_training.DISPATCH * (0.5 + np.arange(len(nats))),
        nats - curves[_FULL],
      )
      for name, nats in curves.items()
      if name != _FULL
    },
    x="steps",
    y="nats a character more than the full gradient",
    references={"full gradient": 0.0},
  )
  study.signals.check()
  return rows + truncated_copying.copying(study)


def _train_all(
  study: fundamentals.Study,
  network: small_network.Network,
  train: windows.RandomWindows,
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
  """Training nats by dispatch, and weights, of each strategy."""
  settings = study.config.settings

  def segments(step: int, count: int, kind: str) -> weighed_training.Weighed:
    drawn = train.segments(step, count)
    factors = weighed_training.factors(study, drawn.inputs.shape, step, kind)
    return weighed_training.Weighed(*drawn, factors)

  curves, trained = weighed_training.train(
    study,
    network,
    {
      name: functools.partial(segments, kind=kind)
      for name, kind in (
        (_FULL, "full"),
        (_CHUNKS, "chunks"),
        (_RANDOM, "keep"),
      )
    },
    steps=settings.steps,
    losses=weighed_training.weighed_losses,
  )
  study.signals.check()
  more = weighed_training.train(
    study,
    network,
    {_SLIDING: functools.partial(segments, kind="full")},
    steps=settings.steps,
    losses=weighed_training.windowed_losses,
  )
  return curves | more[0], trained | more[1]


def _against_full(
  study: fundamentals.Study,
  network: small_network.Network,
  params: Any,
  train: windows.RandomWindows,
) -> dict[str, list[float]]:
  """Cosine, distance of the mean, and deviation of each strategy's gradient."""
  settings = study.config.settings
  # Past all steps of training: characters in an order not yet seen.
  drawn = train.segment(settings.steps)
  carry = network.initial_carry(settings.batch)

  def gradient(losses: Any) -> Any:
    def total(params: Any, segment: weighed_training.Weighed) -> jax.Array:
      return jnp.sum(losses(network, params, carry, segment, None)[0])

    def row(params: Any, segment: weighed_training.Weighed) -> jax.Array:
      found = jax.grad(total)(params, segment)
      return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found)])

    return jax.jit(row)

  weighed, windowed = (
    gradient(weighed_training.weighed_losses),
    gradient(weighed_training.windowed_losses),
  )

  def of(kind: str, draw: int = 0) -> np.ndarray:
    shape = (1, *drawn.inputs.shape)
    # The draws of training have the steps' own numbers.
    factors = weighed_training.factors(
      study, shape, settings.steps + 1 + draw, kind
    )[0]
    segment = weighed_training.Weighed(*drawn, factors)
    run = windowed if kind == "window" else weighed
    return np.asarray(run(params, segment), np.float64)

  full = of("full")
  size = np.linalg.norm(full)
  draws = np.stack([of("keep", draw) for draw in range(settings.gradients)])
  cosines = draws @ full / np.linalg.norm(draws, axis=1) / size
  mean = draws.mean(axis=0)

  def fixed(found: np.ndarray) -> list[float]:
    cosine = float(found @ full / np.linalg.norm(found) / size)
    return [cosine, float(np.linalg.norm(found - full) / size), 0.0]

  return {
    _FULL: fixed(full),
    _CHUNKS: fixed(of("chunks")),
    _SLIDING: fixed(of("window")),
    _RANDOM: [
      float(cosines.mean()),
      float(np.linalg.norm(mean - full) / size),
      float(np.sqrt(draws.var(axis=0, ddof=1).sum()) / size),
    ],
  }
