"""What randomised truncation costs: the variance of its estimate."""

import math

import numpy as np

from experiments.studies import run
from seqmodels.cells import truncation
from seqmodels.plotting import style

# Of the scalar recursion a_t = 1 + c a_{t-1}.
_FACTOR = 0.9
_KEEPS = (0.95, 0.9, 0.85, 0.81, 0.7)
_SIMULATED = 0.85  # below it, a simulation's own variance is too large
_HORIZON = 60


def variance(study: run.Study) -> None:
  """The scalar case: bias of the window, variance of the draw."""
  page = study.lesson
  page.section(
    "What it costs: variance",
    """
    Where all is scalar and constant the price has a formula. Let
    a_t = b + c a_{t-1} stand for the derivative, and z_t for its estimate.
    """,
  )
  page.shown(
    """
    window of k steps     keeps 1 - c^k of a_t in the long run
    randomised            E z_t^2 = b^2 + 2 b c E z_{t-1} + c^2/p E z_{t-1}^2
                          which stays bounded if and only if c^2 < p
    """
  )
  page.table(
    ("window k", f"kept of the gradient, c = {_FACTOR:g}"),
    [
      [k, f"{100 * truncation.kept_share(_FACTOR, k):.0f} %"]
      for k in (1, 4, 8, 16, 32)
    ],
  )
  simulated = _simulated(study)
  last = {
    keep: truncation.random_moments(1.0, _FACTOR, keep=keep, steps=_HORIZON)
    for keep in _KEEPS
  }
  page.say(
    f"""
    With b = 1 and c = {_FACTOR:g} the derivative tends to
    {1 / (1 - _FACTOR):.0f}. The variance of its estimate, by formula and from
    {study.config.settings.draws:,} simulated runs:
    """
  )
  page.table(
    (
      "p",
      "mean length 1/(1 - p)",
      f"variance at t = {_HORIZON}",
      "simulated",
      "limit",
    ),
    [
      [
        f"{keep:g}",
        1 / (1 - keep),
        float(last[keep].variance[-1]),
        float(simulated[keep][-1]) if keep in simulated else "",
        _limit(keep),
      ]
      for keep in _KEEPS
    ],
  )
  page.say(
    f"""
    At p = c^2 = {_FACTOR**2:.2f} and below the variance has no limit: the
    longer the sequence, the worse the estimate. (It is not simulated there: the
    mean over any number of draws is ruled by a few enormous ones.) So the
    variance is bounded only where segments are long on average anyway, and the
    freedom from bias is bought dearly.
    """
  )
  drawn = page.figure(
    "variance",
    f"Variance of the randomised estimate of a_t = 1 + {_FACTOR:g} a_{{t-1}}: "
    "lines by formula, circles from simulation. It levels off where p is above "
    f"{_FACTOR**2:.2f}.",
  )
  times = np.arange(1, _HORIZON + 1)
  with style.axes(drawn, "Variance of the randomised estimate") as pair:
    for keep, colour in zip(_KEEPS, style.COLOURS, strict=False):
      pair.plot(
        times,
        last[keep].variance,
        color=colour,
        lw=1.6,
        label=f"p = {keep:g}, limit {_limit(keep)}",
      )
      if keep in simulated:
        places = np.arange(4, _HORIZON, 5)
        pair.plot(
          times[places],
          simulated[keep][places],
          "o",
          mfc="none",
          ms=5,
          color=colour,
        )
    pair.set_yscale("log")
    pair.set_ylim(0.5, 3 * last[_KEEPS[-1]].variance[-1])
    pair.set_xlabel("steps $t$")
    pair.set_ylabel("variance of $z_t$")
    pair.legend(frameon=False, fontsize=9, loc="upper left")


def _limit(keep: float) -> str:
  found = truncation.limit_variance(1.0, _FACTOR, keep=keep)
  return f"{found:.1f}" if math.isfinite(found) else "none"


def _simulated(study: run.Study) -> dict[float, np.ndarray]:
  """Variance of z_t over many runs of the scalar recursion, [T]."""
  random, found = study.random, {}
  for keep in _KEEPS:
    if keep < _SIMULATED:
      continue
    z = np.zeros(study.config.settings.draws)
    spread = []
    for _ in range(_HORIZON):
      kept = random.random(len(z)) < keep
      z = 1.0 + np.where(kept, _FACTOR / keep, 0.0) * z
      spread.append(z.var())
    found[keep] = np.array(spread)
  return found
