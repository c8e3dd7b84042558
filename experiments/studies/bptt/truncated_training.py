"""The strategies in training on text, and their gradients side by side."""

import functools

from experiments.studies import run
from experiments.studies.bptt import (
  gradient_error,
  truncated_copying,
  weighed_training,
)
from experiments.studies.bptt.weighed_training import Strategy
from experiments.studies.common import figures, small_network
from seqmodels.data.text import batching
from seqmodels.evaluation import metrics
from seqmodels.io import results

_KEEP, _WINDOW = weighed_training.KEEP, weighed_training.WINDOW
_FULL = Strategy("full", "full")
_RANDOM = Strategy(f"randomised, p = {_KEEP:g}", "random", keep=_KEEP)
_STRATEGIES = (
  _FULL,
  Strategy(f"segments of {_WINDOW}", "chunks", length=_WINDOW),
  _RANDOM,
  Strategy(f"window of {_WINDOW}", "window", length=_WINDOW),
)


def compare(study: run.Study) -> list[results.Row]:
  """Trains with each strategy and writes what came of it."""
  page, settings = study.lesson, study.config.settings
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = small_network.Network("elman", settings.hidden, symbols, symbols)

  @functools.cache
  def text(seed: int) -> batching.RandomWindows:
    return batching.RandomWindows(
      tokens.splits["train"],
      batch=settings.batch,
      length=settings.length,
      seed=seed,
    )

  def segments(seed: int, start: int, count: int) -> batching.Segment:
    return text(seed).segments(start, count)

  found = weighed_training.train(
    study,
    network,
    weighed_training.members_of(study, _STRATEGIES),
    segments,
    steps=settings.steps,
  )
  stream = batching.SequentialStream(
    tokens.splits["valid"], batch=settings.batch, length=settings.length
  )
  valid = stream.segments(0, stream.segments_per_epoch)
  scores = weighed_training.scored(network, found, lambda seed: valid)
  study.signals.check()
  page.section(
    "The strategies in training",
    f"""
    A small plain network is trained by each strategy, with {settings.runs}
    seeds; runs of one seed start from the same weights and read the same
    minibatches: characters of the corpus, {settings.batch} windows of
    {settings.length} from an empty state, {settings.steps} steps of Adam with
    the norm of the gradient clipped at 1. Segments and windows have {_WINDOW}
    steps, and p = {_KEEP:g} gives lengths of {1 / (1 - _KEEP):.0f} on average.
    """,
  )
  page.table(
    (
      "strategy",
      "validation perplexity, each run",
      "beside the full gradient's, seed by seed",
    ),
    [
      [
        strategy.name,
        ", ".join(f"{one.perplexity:.3f}" for one in ones),
        ", ".join(f"{100 * x:+.1f} %" for x in _against(ones, scores[_FULL])),
      ]
      for strategy, ones in scores.items()
    ],
  )
  page.say(_verdict(scores))
  figures.curves(
    page.figure(
      "training",
      "Training loss by step beside that of the full gradient, the mean of the "
      f"runs over stretches of {small_network.DISPATCH} minibatches. Below "
      "0 a strategy is ahead of the full gradient.",
    ),
    "Learning characters by a shortened gradient",
    {
      strategy.name: (
        steps,
        nats - weighed_training.mean_curve(found, _FULL)[1],
      )
      for strategy in _STRATEGIES
      if strategy != _FULL
      for steps, nats in [weighed_training.mean_curve(found, strategy)]
    },
    x="steps",
    y="nats a character more than the full gradient",
    references={"full gradient": 0.0},
  )
  study.signals.check()
  begun = weighed_training.Member(_FULL, study.config.seed)
  # Past all steps of training: characters in an order not yet seen.
  fresh = text(study.config.seed).segments(settings.steps, 1)
  gradient_error.beside(study, network, found[begun].params, fresh)
  study.signals.check()
  return [
    weighed_training.row(strategy.name, "valid", ones)
    for strategy, ones in scores.items()
  ] + truncated_copying.copying(study)


def _against(
  ones: list[metrics.Totals], full: list[metrics.Totals]
) -> list[float]:
  """How much larger each run's perplexity is than the same seed's full one."""
  return [
    one.perplexity / other.perplexity - 1
    for one, other in zip(ones, full, strict=True)
  ]


def _verdict(scores: dict[Strategy, list[metrics.Totals]]) -> str:
  """What the runs allow to say."""
  full = [one.perplexity for one in scores[_FULL]]
  others = {s: ones for s, ones in scores.items() if s.kind != "random"}
  behind = sum(
    all(one.perplexity > ones[place].perplexity for ones in others.values())
    for place, one in enumerate(scores[_RANDOM])
  )
  seeds = 100 * (max(full) / min(full) - 1)
  cut = [x for s in others for x in _against(scores[s], scores[_FULL])]
  return f"""
    Seeds alone make a difference of {seeds:.1f} %. Cutting the gradient to
    {_WINDOW} steps changes the perplexity by {100 * min(cut):+.1f} to
    {100 * max(cut):+.1f} %: most of what helps to predict a character lies a
    few characters back, and so short a training learns no more than that.
    Randomised truncation of the same mean length came last in {behind} of
    {len(full)} seeds. It has no bias, but a single draw points where its noise
    does, and a step is taken along every draw.
    """
