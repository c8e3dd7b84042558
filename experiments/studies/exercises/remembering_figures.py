"""Figures of networks that learn to remember."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import gradient_reach as reaches
from experiments.studies.common import small_network
from experiments.studies.exercises import memory_training
from seqmodels.evaluation import gradient_reach
from seqmodels.plotting import style as style_lib


def reach(
  study: run.Study,
  found: Mapping[str, tuple[memory_training.Member, memory_training.Trained]],
) -> None:
  """How training has changed the reach of the gradient.

  Args:
    study: its page is drawn on.
    found: networks that were trained to copy over one lag, by their cells.
  """
  page = study.lesson
  lag = max(member.task.lag for member, _ in found.values())
  measured: dict[str, list[np.ndarray]] = {}
  for name, (member, trained) in found.items():
    xs = jnp.asarray(member.task.segment(0).inputs)
    kind = memory_training.ENTRANTS[name].kind
    both = [norms(kind, one, xs) for one in (trained.start, trained.params)]
    measured[name] = [one / one[0] for one in both]
  told = "; ".join(
    f"{name} {before[lag]:.0e} and {after[lag]:.0e}, at "
    f"{found[name][1].last:.2f} nats"
    for name, (before, after) in measured.items()
  )
  page.say(
    f"""
    What has been learned shows in the gradient. |g_{lag}| / |g_0|, before and
    after training over the lag {lag}, and what the network then pays: {told}. A
    network that has learned to keep a symbol has also opened a way for the
    gradient; to one that has not, the far end of its sequence stays silent.
    """
  )
  path = page.figure(
    "learned_reach",
    "Reach of the gradient in the networks that were trained to copy over "
    f"{lag} steps, on their own sequences: before (dashed) and after.",
  )
  with style_lib.axes(path, "The reach that training gives") as pair:
    for (name, both), colour in zip(
      measured.items(), style_lib.COLOURS, strict=False
    ):
      for values, style, label in zip(
        both, ("--", "-"), (None, name), strict=True
      ):
        pair.plot(values, style, color=colour, lw=1.6, label=label)
    pair.set_yscale("log")
    pair.set_xlabel("steps back, k")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    pair.legend(frameon=False, fontsize=9)


def norms(kind: str, params: Any, xs: jax.Array) -> np.ndarray:
  """|g_k| of what tells the first two symbols apart."""
  cell, kernel, _ = params
  functions = small_network.cell_of(kind)
  features = kernel.shape[0]
  carry = functions.initial_carry((xs.shape[1],), features)
  direction = gradient_reach.direction(carry, kernel[:, 0] - kernel[:, 1])
  return reaches.mean_norms(functions.step, cell, carry, xs, direction)


def lines(
  path: Any,
  title: str,
  sizes: Sequence[int],
  values: Mapping[str, Sequence[float]],
  *,
  x: str,
  y: str,
  references: Mapping[str, float],
  log_y: bool = False,
) -> None:
  """Values by lag; a cell's own colour, dashed where it was changed.

  What is none of the cells, such as a bound, is grey.
  """
  colours = dict(zip(memory_training.PLAIN, style_lib.COLOURS, strict=False))
  seen: dict[str, int] = {}
  with style_lib.axes(path, title) as pair:
    for name, found in values.items():
      cell = name.split(",")[0]
      style = ("-", "--", ":")[min(seen.get(cell, 0), 2)]
      seen[cell] = seen.get(cell, 0) + 1
      pair.plot(
        sizes,
        found,
        style,
        marker="o",
        ms=4,
        color=colours.get(cell, style_lib.GREY),
        label=name,
      )
    style_lib.references(pair, references)
    pair.set_xscale("log", base=2)
    pair.set_xticks(list(sizes), [str(size) for size in sizes])
    if log_y:
      pair.set_yscale("log")
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    style_lib.legend_beside(pair, "")
