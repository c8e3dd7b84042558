"""The posterior of adaptive weight noise as one figure."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from seqmodels.io import canvas


def posterior(
  found: Mapping[str, Any],
  path: canvas.Path,
  *,
  metric: str,
  title: str = "",
) -> None:
  """Signal to noise of the weights, and the score without the weakest.

  Args:
    found: `edges` and `counts`, a histogram of log10(|mean| / deviation);
      `shares` of the weights set to zero, weakest first, and the `scores` that
      are left; `weights` and `complexity_nats` for the caption.
    path: the PNG to write.
    metric: of the scores.
    title: above the figure.
  """
  with canvas.figure(path, height=4.2) as drawing:
    left, right = drawing.subplots(1, 2)
    for axes in (left, right):
      canvas.clean(axes)
    edges, counts = np.array(found["edges"]), np.array(found["counts"], float)
    left.bar(
      edges[:-1],
      100.0 * counts / counts.sum(),
      np.diff(edges),
      align="edge",
      color=canvas.COLOURS[0],
    )
    left.axvline(0.0, color=canvas.GREY, lw=1.2)
    left.set_xlabel("log10 of |mean| / standard deviation")
    left.set_ylabel("% of the weights")
    bits = found["complexity_nats"] / np.log(2.0) / found["weights"]
    left.set_title(
      f"{found['weights']:,} weights, {bits:.2f} bits each", fontsize=10
    )
    right.plot(
      100.0 * np.array(found["shares"]),
      found["scores"],
      "o-",
      ms=4,
      color=canvas.COLOURS[1],
    )
    right.set_xlabel("% of the weights set to zero, weakest first")
    right.set_ylabel(canvas.label(metric))
    right.set_title("validation score without them", fontsize=10)
    drawing.suptitle(title, fontsize=10, wrap=True)
