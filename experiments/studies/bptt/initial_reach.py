"""The reach of a gradient before training, by what the weights begin with."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import gradient_reach as reaches
from experiments.studies.common import small_network
from seqmodels.evaluation import gradient_reach
from seqmodels.plotting import style as style_lib

_TEXTBOOK = 0.01  # standard deviation of the textbook's weights


def by_initialisation(study: run.Study) -> None:
  """The textbook's small weights, and what biases do about them."""
  page, settings = study.lesson, study.config.settings
  steps = settings.short_distance
  page.section(
    "At the usual initialisation",
    f"""
    Textbooks draw weights from N(0, {_TEXTBOOK:g}^2). A square matrix of h x h
    such numbers has a spectral radius of about {_TEXTBOOK:g} sqrt(h), so at the
    start every step divides the gradient by a large number, and the network
    cannot see beyond a few steps. That is why its loss first falls to the level
    of single-symbol frequencies and rests there.
    """,
  )
  drawn: dict[str, reaches.Norms] = {}
  body: list[list[Any]] = []
  for features in settings.textbook:
    norms, radius = _textbook(study, "elman", features, steps)
    factor = reaches.factor(norms, first=1)
    body.append(
      [
        f"Elman, h = {features}",
        _TEXTBOOK * math.sqrt(features),
        radius,
        factor,
        f"{factor**5:.1e}",
      ]
    )
    drawn[f"Elman, h = {features}"] = norms
  features = min(settings.textbook)
  for name, cell, gate, biases in (
    ("LSTM, forget bias", "lstm", 1, (0.0, 1.0, 5.0)),
    ("GRU, update bias", "gru", 1, (0.0, 5.0)),
  ):
    for bias in biases:
      norms, _ = _textbook(study, cell, features, steps, gate=gate, bias=bias)
      factor = reaches.factor(norms, first=1)
      body.append([f"{name} {bias:g}", "", "", factor, f"{factor**5:.1e}"])
      drawn[f"{name} {bias:g}"] = norms
  page.table(
    (
      "network",
      f"{_TEXTBOOK:g} sqrt(h)",
      "spectral radius",
      "factor a step",
      "after 5 steps",
    ),
    body,
  )
  page.say(
    f"""
    The gated cells have h = {features} here, and for the LSTM the path through
    its cell is measured. What they gain is not in the weights but in the bias
    of one gate: sigma(0) = 0.5, sigma(1) = {_sigmoid(1):.2f}, sigma(5) =
    {_sigmoid(5):.3f} a step, and a little on top by way of the weights. An
    orthogonal start, rho = 1 in the figure before, is the
    plain network's own remedy. Clipping the norm of the gradient bounds its
    growth and does nothing about vanishing.
    """
  )
  path = page.figure(
    "initialisation",
    f"Norm of the gradient by distance at the start of training, with weights "
    f"from N(0, {_TEXTBOOK:g}^2).",
  )
  with style_lib.axes(path, "The reach of an untrained network") as pair:
    colours = {"Elman": 0, "LSTM": 1, "GRU": 2}
    seen: dict[str, int] = {}
    for name, norms in drawn.items():
      family = name.split(",")[0]
      style = ("-", "--", ":")[seen.get(family, 0)]
      seen[family] = seen.get(family, 0) + 1
      # An LSTM and a GRU with like gates lie on each other: wide under thin.
      wide = family == "LSTM"
      pair.plot(
        norms / norms[0],
        style,
        color=style_lib.COLOURS[colours[family]],
        lw=4.0 if wide else 1.6,
        alpha=0.5 if wide else 1.0,
        label=name,
      )
    pair.set_yscale("log")
    pair.set_ylim(1e-16, 3)
    pair.set_xlim(0, steps)
    pair.set_xlabel("steps back, $k$")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    style_lib.legend_beside(pair, "")


def _textbook(
  study: run.Study,
  kind: str,
  features: int,
  steps: int,
  *,
  gate: int = 0,
  bias: float = 0.0,
) -> tuple[reaches.Norms, float]:
  """|g_k| with small normal weights, and their spectral radius.

  Args:
    study: seeds the weights.
    kind: of the cell.
    features: h.
    steps: the largest distance.
    gate: the block of the bias that is set.
    bias: to this; all others are 0.
  """
  random, cell = study.random, small_network.cell_of(kind)
  with jax.enable_x64(True):
    params = small_network.drawn(
      cell, reaches.INPUTS, features, random, _TEXTBOOK
    )
    params = params._replace(bias=reaches.biases(cell, features, gate, bias))
    carry = cell.initial_carry((reaches.ROWS,), features, jnp.float64)
    xs = jnp.asarray(random.normal(size=(steps, reaches.ROWS, reaches.INPUTS)))
    vector = random.normal(size=features)
    # What lasts in an LSTM is its cell.
    field = "c" if "c" in carry._fields else "h"
    direction = gradient_reach.direction(
      carry, jnp.asarray(vector), field=field
    )
    norms = reaches.mean_norms(cell.step, params, carry, xs, direction)
  square = np.asarray(params.recurrent_kernel)[:, :features]
  return norms, gradient_reach.spectral_radius(square)


def _sigmoid(value: float) -> float:
  return 1 / (1 + math.exp(-value))
