"""Gradients that explode, and the bound on their norm."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import plain_networks, rnn_sizes
from seqmodels import trees
from seqmodels.data.text import batching
from seqmodels.plotting import style
from seqmodels.training import optimizers

# Bound on the norm of the whole gradient.
_THETA = 1.0


def clipping(study: run_lib.Study, tokens: Any) -> None:
  """A network whose gradients explode, clipped and not."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "Clipping the gradient",
    """
    A gradient through many steps is a product of many matrices and can grow
    without bound. One long step from such a gradient can undo all that was
    learned. Where the loss changes by at most L for a step of length 1, a step
    of rate eta changes it by at most L eta |g|; so the length of g is bounded
    and its direction kept. The norm is that of all weights' derivatives
    together: bounding each matrix by itself would turn the gradient.
    """,
  )
  page.shown("g <- min(1, theta / |g|) g")
  facts = clip_facts(study.random)
  page.table(["what must hold", "found"], list(facts.items()))
  scale, h = settings.stress_scale, settings.stress_features
  page.say(
    f"""
    The ten lines of above do not show what this is for: the bound hardly ever
    acts there, as their largest norm says. The following network does: {h}
    rectified units, whose recurrent weights have deviation {scale:g} / sqrt(h),
    so that a state grows with every step. Everything else is as there: windows
    of {settings.stress_segment} characters, plain descent at rate 1.
    """
  )
  seeds = range(study.config.seed, study.config.seed + settings.stress_seeds)
  runs = {
    name: [stressed(study, tokens, clip, seed) for seed in seeds]
    for name, clip in (("clipped at 1", _THETA), ("not clipped", 0.0))
  }
  symbols = tokens.vocabulary.size
  _draw(
    page.figure(
      "clipping",
      "The same network from the same weights on the same minibatches, the "
      "first of the seeds. Left, the loss of each step; right, the norm of its "
      "gradient before any clipping. A cross is where a run ends because "
      "nothing is a number any more.",
    ),
    {name: found[0] for name, found in runs.items()},
    math.log(symbols),
  )
  page.table(
    [
      "run",
      "seed",
      "first norm",
      "largest norm",
      "lost from step",
      "last loss",
    ],
    [
      [
        name,
        seed,
        f"{run.norms[0]:.3g}",
        f"{_most(run.norms):.3g}",
        lost_at(run.nats, symbols) or "never",
        float(run.nats[-1]),
      ]
      for name, found in runs.items()
      for seed, run in zip(seeds, found, strict=True)
    ],
  )
  lost = {
    name: sum(lost_at(run.nats, symbols) is not None for run in found)
    for name, found in runs.items()
  }
  page.say(
    f"""
    A run counts as lost from the first step whose loss is more than twice that
    of a uniform guess, {2 * math.log(symbols):.2f} nats, or no number, and
    after which it never returns. That befell {lost["not clipped"]} of the
    {len(seeds)} runs without clipping and {lost["clipped at 1"]} of those with
    it. The bound does not keep the loss from leaping: a step of length 1 can
    still lead over a cliff. It makes the way back short.
    """
  )


def _draw(
  path: style.Path,
  runs: dict[str, training.Trained],
  uniform: float,
) -> None:
  with style.figure(path, height=3.2) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, name in zip(pairs, ("nats", "norms"), strict=True):
      style.clean(pair)
      for (run, found), colour in zip(
        runs.items(), style.COLOURS, strict=False
      ):
        values = getattr(found, name)
        good = np.isfinite(values)
        # The first step whose value is no number ends the line.
        last = len(values) if good.all() else int(np.argmin(good))
        steps = np.arange(1, last + 1)
        pair.plot(steps, values[:last], color=colour, lw=1.5, label=run)
        if last < len(values):
          pair.plot(
            steps[-1:], values[last - 1 : last], "x", color=colour, ms=9, mew=2
          )
      pair.set_yscale("log")
      pair.set_xlabel("step")
    pairs[0].set_ylabel("loss, nats a character")
    pairs[1].set_ylabel("norm of the gradient")
    style.references(pairs[0], {"uniform, ln V": uniform})
    style.references(pairs[1], {"the bound": _THETA})
    for pair in pairs:
      pair.legend(frameon=False, fontsize=8, loc="upper right")


def clip_facts(random: np.random.Generator) -> dict[str, str]:
  """What the library's rule does to a gradient, in words."""
  shapes = {"w_hh": (8, 8), "w_hq": (8, 5), "b": (8,)}
  gradient = {
    name: jnp.asarray(random.normal(size=shape, scale=1 + 3 * len(shape)))
    for name, shape in shapes.items()
  }
  clipped = _clipped(gradient)
  small = jax.tree.map(lambda leaf: leaf * 1e-3, gradient)
  zero = jax.tree.map(jnp.zeros_like, gradient)
  alone = {
    name: _clipped({name: leaf})[name] for name, leaf in gradient.items()
  }
  norm, after = (float(trees.global_norm(g)) for g in (gradient, clipped))
  return {
    "the norm is at most 1": f"{norm:.2f} before, {after:.6f} after",
    "the direction is kept": f"cosine {_cosine(gradient, clipped):.6f}",
    "a short gradient is left alone": (
      f"largest change {plain_networks.far(small, _clipped(small)):.1g}"
    ),
    "a gradient of 0 stays 0": (
      f"largest entry {plain_networks.far(zero, _clipped(zero)):g}"
    ),
    "matrix by matrix is something else": (
      f"cosine {_cosine(gradient, alone):.4f}"
    ),
  }


def _clipped(gradient: dict[str, jax.Array]) -> dict[str, jax.Array]:
  rule = _descent(_THETA)
  updates, _ = rule.update(gradient, rule.init(gradient))
  return jax.tree.map(lambda leaf: -leaf, updates)


def _flat(tree: Any) -> np.ndarray:
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _cosine(a: Any, b: Any) -> float:
  one, two = _flat(a).astype(float), _flat(b).astype(float)
  return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


def stressed(
  study: run_lib.Study, tokens: Any, clip: float, seed: int
) -> training.Trained:
  """Rectified units with growing states, by plain descent.

  Args:
    study: its settings give the sizes.
    tokens: the text.
    clip: bound on the norm; 0 for none.
    seed: of weights and minibatches.
  """
  settings, symbols = study.config.settings, tokens.vocabulary.size
  h, random = settings.stress_features, np.random.default_rng(seed)
  network = training.network("elman_relu", symbols, (h,))
  params = rnn_sizes.small(network, random)
  deviation = settings.stress_scale / math.sqrt(h)
  params["stack"]["layer_0"]["recurrent_kernel"] = np.float32(
    deviation * random.normal(size=(h, h))
  )
  return training.train(
    network,
    batching.RandomWindows(
      tokens.splits["train"],
      batch=settings.stress_batch,
      length=settings.stress_segment,
      seed=seed,
    ),
    _descent(clip),
    steps=settings.stress_steps,
    seed=seed,
    params=params,
    check=study.signals.check,
  )


@functools.cache
def _descent(clip: float) -> Any:
  return optimizers.build(
    "sgd", learning_rate=1.0, momentum=0.0, clip_norm=clip
  )


def _most(norms: np.ndarray) -> float:
  finite = norms[np.isfinite(norms)]
  return float(finite.max()) if len(finite) == len(norms) else math.inf


def lost_at(nats: np.ndarray, symbols: int) -> int | None:
  """The step from which a run never returns, counted from 1; None if it does.

  Args:
    nats: the loss of each step.
    symbols: V; a loss above 2 ln V, or that is no number, is lost.
  """
  bad = ~(nats < 2 * math.log(symbols))
  if not bad[-1]:
    return None
  good = np.flatnonzero(~bad)
  return int(good[-1]) + 2 if len(good) else 1
