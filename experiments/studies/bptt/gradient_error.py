"""How far each strategy's gradient is from the full one: bias and variance."""

import itertools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.bptt import weighed_training
from experiments.studies.bptt.weighed_training import Strategy
from experiments.studies.common import small_network
from seqmodels.data.text import batching
from seqmodels.plotting import style


class _Error(NamedTuple):
  """Of a gradient, in units of the full one's norm."""

  cosine: float  # to the full gradient, the mean of the draws
  bias: float  # |mean - full|
  deviation: float  # of one draw

  @property
  def whole(self) -> float:
    """The root of the mean square of |draw - full|."""
    return math.hypot(self.bias, self.deviation)


def beside(
  study: run_lib.Study,
  network: small_network.Network,
  params: Any,
  segments: batching.Segment,
) -> None:
  """The gradients of one minibatch by each strategy and length.

  Args:
    study: its page is written on.
    network: that was trained.
    params: its weights.
    segments: the minibatch, [1, T, B].
  """
  page, settings = study.lesson, study.config.settings
  lengths = settings.gradient_lengths
  kinds = {
    "segments": [Strategy("", "chunks", length=n) for n in lengths],
    "randomised": [Strategy("", "random", keep=1 - 1 / n) for n in lengths],
    "window": [Strategy("", "window", length=n) for n in lengths],
  }
  full, *rows = _gradients(
    study,
    network,
    params,
    segments,
    [Strategy("", "full"), *itertools.chain(*kinds.values())],
  )
  errors = iter(_error(draws, full[0]) for draws in rows)
  found = {name: [next(errors) for _ in lengths] for name in kinds}
  page.section(
    "Their gradients side by side",
    f"""
    One minibatch, the weights that the full gradient has trained, and three
    shorter gradients of the same mean length. That of segments or a window is
    one vector, off by its bias. The randomised one is drawn
    {settings.gradients} times: it scatters about the full gradient. The mean of
    the draws is off as well, but only by what their deviation and number let
    one expect.
    """,
  )
  page.table(
    (
      "mean length",
      "strategy",
      "cosine to the full gradient",
      "|mean - full| / |full|",
      "standard deviation / |full|",
      "error of one, root mean square",
    ),
    [
      [str(n), name, one.cosine, one.bias, one.deviation, one.whole]
      for place, n in enumerate(lengths)
      for name, one in ((name, found[name][place]) for name in found)
    ],
  )
  noisier = [
    str(n)
    for n, drawn, cut in zip(
      lengths, found["randomised"], found["segments"], strict=True
    )
    if drawn.whole > cut.whole
  ]
  told = (
    f"At a mean length of {', '.join(noisier)} it is further from the full "
    "gradient than the segments' gradient is, bias and all."
    if noisier
    else "At all these lengths it is nearer to the full gradient than the "
    "segments' gradient is."
  )
  page.say(
    f"""
    What a step of training feels is the error of a single draw. {told} Averaged
    over many rows or steps, noise cancels and a bias does not. The window costs
    its length times as much as the others, since every state runs its own.
    """
  )
  path = page.figure(
    "gradient_error",
    "Distance of a shortened gradient from the full one, root of the mean "
    "square over draws, by its mean length.",
  )
  with style.axes(path, "The error of one shortened gradient") as pair:
    for (name, ones), colour in zip(found.items(), style.COLOURS, strict=False):
      sizes = [one.whole for one in ones]
      pair.plot(lengths, sizes, "o-", ms=4, lw=1.6, color=colour, label=name)
    style.references(pair, {"no gradient at all": 1.0})
    pair.set_xscale("log", base=2)
    pair.set_xticks(list(lengths), [str(n) for n in lengths])
    pair.set_xlabel("mean length, steps")
    pair.set_ylabel("|gradient - full| / |full|")
    pair.legend(frameon=False, fontsize=9)


def _gradients(
  study: run_lib.Study,
  network: small_network.Network,
  params: Any,
  segments: batching.Segment,
  strategies: list[Strategy],
) -> list[np.ndarray]:
  """Gradients of each strategy, by draw: float64 [N, P]."""
  settings, seed = study.config.settings, study.config.seed
  carry = network.initial_carry(segments.inputs.shape[2])

  def compiled(strategy: Strategy) -> Any:
    losses = weighed_training.losses_of(strategy)

    def total(params: Any, weighed: weighed_training.Weighed) -> jax.Array:
      return jnp.sum(losses(network, params, carry, weighed, None)[0])

    def row(params: Any, weighed: weighed_training.Weighed) -> jax.Array:
      one = jax.tree.map(lambda leaf: leaf[0], weighed)
      found = jax.grad(total)(params, one)
      return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found)])

    return jax.jit(row)

  # Those that weigh differ in numbers only: one program for all of them.
  run, found = compiled(strategies[0]), []
  for strategy in strategies:
    if strategy.kind == "window":  # whose length is part of the program
      run = compiled(strategy)
    draws = []
    for draw in range(settings.gradients if strategy.kind == "random" else 1):
      # The draws of training have the steps' own numbers.
      step = settings.steps + 1 + draw
      drawn = weighed_training.weighed(strategy, segments, seed=seed, step=step)
      draws.append(run(params, drawn))
    found.append(np.asarray(jax.device_get(draws), np.float64))
    study.signals.check()
  return found


def _error(draws: np.ndarray, full: np.ndarray) -> _Error:
  """Of draws [N, P] about the full gradient [P]."""
  size = np.linalg.norm(full)
  cosines = draws @ full / np.linalg.norm(draws, axis=1) / size
  spread = draws.var(axis=0, ddof=1).sum() if len(draws) > 1 else 0.0
  return _Error(
    float(cosines.mean()),
    float(np.linalg.norm(draws.mean(axis=0) - full) / size),
    float(np.sqrt(spread) / size),
  )
