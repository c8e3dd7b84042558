"""Randomised truncation has no bias: all outcomes, then many draws."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from seqmodels.cells import elman, truncation
from seqmodels.cells import scan as unrolling
from seqmodels.plotting import style as style_lib

_STEPS, _WIDTH, _FEATURES = 6, 2, 3
_KEEPS = (0.5, 0.8)


class _Problem(NamedTuple):
  """A small tanh network, and its gradient as a function of the factors."""

  full: np.ndarray  # [P], all weights in one row
  names: list[str]
  gradients: Any  # factors [N, T] -> [N, P]
  windows: dict[int, np.ndarray]  # by their length, [P]


def unbiased(study: run_lib.Study) -> None:
  """All outcomes added up, then many draws beside regular truncation."""
  page = study.lesson
  problem = _problem(study)
  page.section(
    "Randomised truncation has no bias",
    f"""
    Since the xi_t are independent of each other and E xi_t = 1, the expectation
    of a product of them is 1, and E z_t = dh_t/dw follows for any network. For
    {_STEPS} steps this can be checked without chance: {_STEPS - 1} factors
    matter, so there are 2^{_STEPS - 1} outcomes, each with its probability. A
    tanh network of {_FEATURES} units with {len(problem.full)} weights is used,
    in float64.
    """,
  )
  body: list[list[Any]] = []
  draws: dict[float, np.ndarray] = {}
  for keep in _KEEPS:
    factors, shares = truncation.outcomes(_STEPS, keep=keep)
    exact = shares @ problem.gradients(factors)
    sampled = _draws(study, problem, keep)
    draws[keep] = sampled
    error = sampled.std(axis=0, ddof=1) / math.sqrt(len(sampled))
    scores = np.abs(sampled.mean(axis=0) - problem.full) / error
    body.append(
      [
        f"{keep:g}",
        float(np.abs(exact - problem.full).max()),
        float(scores.max()),
        f"{np.sum(scores < 1.96)} of {len(scores)}",
        _relative_deviation(sampled, problem.full),
      ]
    )
  page.table(
    (
      "p",
      "all outcomes: largest difference from the full gradient",
      f"{len(sampled):,} draws: largest |difference| in standard errors",
      "weights whose 95 % interval holds the full gradient",
      "standard deviation of one draw, of |gradient|",
    ),
    body,
  )
  keep = _KEEPS[-1]
  sampled = draws[keep]
  error = sampled.std(axis=0, ddof=1) / math.sqrt(len(sampled))
  window = max(problem.windows)
  miss = np.abs(problem.windows[window] - problem.full) / error
  page.say(
    f"""
    The sum over all outcomes is the full gradient but for rounding. The 95 %
    interval of a mean of draws should hold it for about 95 of 100 weights, and
    the table counts for how many it does. A sliding window of {window} steps,
    held against the same intervals, is off by up to {miss.max():,.0f} standard
    errors: no number of draws would mend that, since it has none. For some
    weights, at p = {keep:g}:
    """
  )
  mean = sampled.mean(axis=0)
  shown = [i for i, name in enumerate(problem.names) if name.startswith("W_h")]
  page.table(
    (
      "weight",
      "full",
      "randomised: mean and 95 % interval",
      f"window of {window}",
      "window of 1",
    ),
    [
      [
        problem.names[i],
        float(problem.full[i]),
        f"{mean[i]:.4f} +- {1.96 * error[i]:.4f}",
        float(problem.windows[window][i]),
        float(problem.windows[1][i]),
      ]
      for i in shown[:5]
    ],
  )
  _figure_of_means(study, problem, draws)


def _problem(study: run_lib.Study) -> _Problem:
  random = study.random
  with jax.enable_x64(True):
    params = elman.ElmanParams(
      jnp.asarray(random.normal(size=(_WIDTH, _FEATURES))),
      jnp.asarray(random.normal(size=(_FEATURES, _FEATURES))),
      jnp.asarray(0.1 * random.normal(size=_FEATURES)),
    )
    xs = jnp.asarray(random.normal(size=(_STEPS, 1, _WIDTH)))
    readers = jnp.asarray(random.normal(size=(_STEPS, 1, _FEATURES)))
    carry = elman.initial_carry((1,), _FEATURES, jnp.float64)

    def row(gradient: elman.ElmanParams) -> jax.Array:
      return jnp.concatenate([jnp.ravel(leaf) for leaf in gradient])

    def weighed(factors: jax.Array) -> jax.Array:
      def loss(params: elman.ElmanParams) -> jax.Array:
        step = truncation.weighted(elman.step)
        _, hs = unrolling.unroll(step, params, carry, (xs, factors[:, None]))
        return jnp.sum(hs * readers)

      return row(jax.grad(loss)(params))

    many = jax.jit(jax.vmap(weighed))

    def gradients(factors: np.ndarray) -> np.ndarray:
      with jax.enable_x64(True):
        return np.asarray(many(jnp.asarray(factors)))

    def windowed(window: int) -> np.ndarray:
      def loss(params: elman.ElmanParams) -> jax.Array:
        run = truncation.windowed(elman.step, window)
        return jnp.sum(run(params, carry, xs)[1] * readers)

      return np.asarray(row(jax.jit(jax.grad(loss))(params)))

    full = gradients(np.ones((1, _STEPS)))[0]
    windows = {window: windowed(window) for window in (1, 2)}
  names = [
    f"{name}[{', '.join(map(str, place))}]"
    for name, leaf in zip(("W_x", "W_h", "b"), params, strict=True)
    for place in np.ndindex(leaf.shape)
  ]
  return _Problem(full, names, gradients, windows)


def _draws(study: run_lib.Study, problem: _Problem, keep: float) -> np.ndarray:
  key = jax.random.fold_in(
    jax.random.key(study.config.seed), round(1000 * keep)
  )
  with jax.enable_x64(True):
    factors = truncation.random_factors(
      key, _STEPS, study.config.settings.draws, keep=keep
    )
    return problem.gradients(np.asarray(factors).T)


def _relative_deviation(sampled: np.ndarray, full: np.ndarray) -> float:
  total = math.sqrt(sampled.var(axis=0, ddof=1).sum())
  return total / float(np.linalg.norm(full))


def _figure_of_means(
  study: run_lib.Study, problem: _Problem, draws: dict[float, np.ndarray]
) -> None:
  drawn = study.lesson.figure(
    "unbiased",
    "Distance of the averaged estimate from the full gradient, by the number "
    "of draws. Without a bias it falls as one over the root of their number "
    "(dashed); regular truncation stays where it is.",
  )
  size = np.linalg.norm(problem.full)
  with style_lib.axes(drawn, "An average loses variance, never bias") as pair:
    for (keep, sampled), colour in zip(
      draws.items(), style_lib.COLOURS, strict=False
    ):
      counts = np.unique(np.geomspace(1, len(sampled), 60).astype(int))
      sums = np.cumsum(sampled, axis=0)[counts - 1]
      apart = np.linalg.norm(sums / counts[:, None] - problem.full, axis=1)
      label = f"randomised, p = {keep:g}"
      pair.plot(counts, apart / size, color=colour, lw=1.6, label=label)
      expected = _relative_deviation(sampled, problem.full) / np.sqrt(counts)
      pair.plot(counts, expected, "--", color=colour, lw=1.0)
    styles = zip(problem.windows.items(), (":", "-."), strict=True)
    for (window, found), style in styles:
      steps = "1 step" if window == 1 else f"{window} steps"
      pair.axhline(
        np.linalg.norm(found - problem.full) / size,
        color=style_lib.GREY,
        lw=1.4,
        ls=style,
        label=f"window of {steps}",
      )
    pair.set_xscale("log")
    pair.set_yscale("log")
    pair.set_xlabel("draws averaged")
    pair.set_ylabel("distance / |full gradient|")
    pair.legend(frameon=False, fontsize=9, loc="lower left")
