"""Powers of a symmetric matrix: all vectors turn to one direction."""

import math

import numpy as np

from experiments.studies import run
from seqmodels.evaluation import gradient_reach
from seqmodels.plotting import style


def one_direction(study: run.Study) -> None:
  """Powers of a symmetric matrix turn everything one way."""
  page, settings = study.lesson, study.config.settings
  size, ratio = 50, 1 / 1.1
  random = study.random
  basis = np.linalg.qr(random.normal(size=(size, size)))[0]
  values = np.concatenate([[1.1], np.linspace(1.0, -1.0, size - 1)])
  start = random.normal(size=size)
  found = gradient_reach.turning(
    basis @ np.diag(values) @ basis.T, start, powers=settings.powers
  )
  page.section(
    "Far gradients all point one way",
    """
    Norms are not all that is lost. Let M be symmetric with eigenvalues
    lambda_1, lambda_2, ... by falling modulus. Then M^k has the same
    eigenvectors and eigenvalues lambda_i^k, and the angle theta_k between M^k x
    and the first eigenvector closes at a known rate:
    """,
  )
  page.shown("tan theta_k  <=  |lambda_2 / lambda_1|^k  tan theta_0")
  shown = [k for k in (0, 5, 10, 20, 40) if k <= settings.powers]
  page.table(
    ("k", "tan theta_k", "bound", "|M^k x| / (|lambda_1|^k |x|)"),
    [
      [
        k,
        float(found.tangents[k]),
        float(found.bounds[k]),
        float(found.growth[k]),
      ]
      for k in shown
    ],
  )
  held = bool(np.all(found.tangents <= found.bounds * (1 + 1e-9)))
  many = random.normal(size=(20_000, size))
  cosines = np.abs(many[:, 0]) / np.linalg.norm(many, axis=1)
  near = {
    delta: float(np.mean(cosines < delta / math.sqrt(size)))
    for delta in (0.1, 0.3)
  }
  page.say(
    f"""
    Here M is {size} x {size} with |lambda_2 / lambda_1| = {ratio:.3f}, and x is
    normal. The bound {"holds" if held else "fails"} at every k up to
    {settings.powers}. It needs only that x is not orthogonal to the first
    eigenvector, and a random x hardly ever is: the probability of
    |cos theta_0| < delta / sqrt(n) is about sqrt(2/pi) delta = 0.80 delta, and
    was {near[0.1]:.3f} for delta = 0.1 and {near[0.3]:.3f} for delta = 0.3
    among {len(many):,} draws. So what arrives from far back says one thing
    only, whatever the loss asked for, and then shrinks or grows as lambda_1^k.
    """
  )
  path = page.figure(
    "one_direction",
    "Tangent of the angle between M^k x and the leading eigenvector, and its "
    "bound.",
  )
  with style.axes(path, "Powers of a matrix turn every vector") as pair:
    pair.plot(found.tangents, color=style.COLOURS[0], lw=1.6, label="measured")
    pair.plot(found.bounds, "--", color=style.GREY, lw=1.4, label="bound")
    pair.set_yscale("log")
    pair.set_xlabel("power $k$")
    pair.set_ylabel(r"$\tan\,\theta_k$")
    pair.legend(frameon=False, fontsize=9)
