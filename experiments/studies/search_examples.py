"""Greedy, exhaustive and beam search where everything can be tried."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fundamentals
from seqmodels.io import canvas
from seqmodels.models import conditional_table
from seqmodels.models import predictor as predictors
from seqmodels.sampling import beam

# The worked example: A, B, C and the end, after each prefix.
NAMES = ("A", "B", "C", "end")
END = 3
TABLE = {
  (): (0.5, 0.2, 0.2, 0.1),
  (0,): (0.1, 0.4, 0.3, 0.2),
  (0, 1): (0.2, 0.2, 0.4, 0.2),
  (0, 1, 2): (0.0, 0.2, 0.2, 0.6),
  (0, 2): (0.1, 0.6, 0.2, 0.1),
  (0, 2, 1): (0.1, 0.2, 0.1, 0.6),
}
_LONGEST = 4

# Of the random models.
_SYMBOLS, _STEPS = 4, 6


def worked_example(study: fundamentals.Study) -> None:
  """The best next symbol is not the beginning of the best string."""
  page = study.lesson
  page.section(
    "The best next symbol, and the best string",
    """
    Greedy decoding takes the likeliest symbol at each step. The product of
    these is not the largest product: a symbol of second rank may lead to where
    the model is surer. The smallest example has three symbols and an end, and a
    model written out as a table (a prefix that it lacks is followed by all four
    alike).
    """,
  )
  page.table(
    ["after", *NAMES],
    [[_spelt(prefix) or "(nothing)", *row] for prefix, row in TABLE.items()],
  )
  predictor, params = conditional_table.as_predictor(TABLE)
  greedy = beam.greedy(predictor, params, length=_LONGEST, end=END)
  two = beam.search(predictor, params, width=2, length=_LONGEST, end=END)
  every = beam.exhaustive(predictor, params, length=_LONGEST, end=END)
  _draw(
    page.figure(
      "worked_example",
      "Two ways through the table. Numbers on the arrows are probabilities of "
      "the next symbol, those beside the symbols products since the beginning.",
    )
  )
  page.table(
    ["search", "finds", "probability", "score, alpha 0.75", "extensions tried"],
    [
      [
        name,
        _spelt(found.symbols),
        f"{math.exp(found.log_probability):.3f}",
        f"{found.log_probability / len(found.symbols) ** 0.75:.4f}",
        tried,
      ]
      for name, found, tried in (
        ("greedy", greedy, f"V T = {4 * _LONGEST}"),
        ("beam of 2", two[0], f"2 V T = {8 * _LONGEST}"),
        ("exhaustive", every[0], f"V^T = {4**_LONGEST}"),
      )
    ],
  )
  page.say(
    """
    A beam keeps the k likeliest strings so far, extends each by every symbol
    and keeps the k likeliest of all these. One that ends is put aside and grows
    no more. With 10,000 words and sentences of 10, greedy search tries 100,000
    extensions, a beam of two 200,000, and exhaustive search 10^40.
    """
  )


def length_penalty(study: fundamentals.Study) -> None:
  """What the division by L^alpha does."""
  page = study.lesson
  page.section(
    "Short strings and long ones",
    """
    Every further symbol multiplies by a probability, so the likeliest string is
    a short one. Dividing the logarithm by a power of the length makes up for
    it:
    """,
  )
  page.shown("score = (1 / L^alpha) (log P(x_1) + ... + log P(x_L | ...))")
  predictor, params = conditional_table.as_predictor(TABLE)
  body = []
  for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
    settings: dict[str, Any] = {
      "length": _LONGEST, "end": END, "length_penalty": alpha
    }  # fmt: skip
    best = beam.exhaustive(predictor, params, **settings)[0]
    found = beam.search(predictor, params, width=2, **settings)[0]
    body.append(
      [
        f"{alpha:g}",
        _spelt(best.symbols),
        f"{math.exp(best.log_probability):.3f}",
        _spelt(found.symbols),
        f"{math.exp(found.log_probability):.3f}",
      ]
    )
  page.table(
    ["alpha", "best of all", "probability", "beam of 2", "probability"], body
  )
  page.say(
    """
    Without the division one of the shortest strings is the best of all. The
    beam of two does not find it, since at no step is the end among its two
    likeliest; here its failure is a mercy, and not only here: wide beams are
    known to write worse than narrow ones where nothing makes up for length.
    """
  )


def _spelt(symbols: tuple[int, ...]) -> str:
  return " ".join(NAMES[symbol] for symbol in symbols)


def _draw(path: canvas.Path) -> None:
  """The two ways through the table, as a tree."""
  ways = {(0, 1, 2, END): 1, (0, 2, 1, END): -1}
  colours = {1: canvas.COLOURS[0], -1: canvas.COLOURS[1]}
  with canvas.figure(path, height=2.7) as drawing:
    pair = drawing.subplots()
    pair.set_axis_off()
    pair.set_xlim(-0.4, 5.3)
    pair.set_ylim(-1.5, 1.5)

    def arrow(start: Any, end: Any, share: float, colour: str) -> None:
      pair.annotate(
        "", end, start,
        arrowprops={
          "arrowstyle": "->", "color": colour, "lw": 1.6,
          "shrinkA": 21, "shrinkB": 15,
        },
      )  # fmt: skip
      middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
      pair.text(
        middle[0], middle[1] + 0.14, f"{share:g}", color=colour, fontsize=9,
        ha="center", va="bottom",
      )  # fmt: skip

    def node(place: Any, name: str, total: float | None, colour: str) -> None:
      pair.text(
        *place, name, ha="center", va="center", fontsize=10,
        bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": colour},
      )  # fmt: skip
      if total is not None:
        pair.text(
          place[0], place[1] - 0.33, f"{total:.3g}", ha="center", va="top",
          fontsize=8, color=canvas.GREY,
        )  # fmt: skip

    arrow((0, 0), (1, 0), 0.5, canvas.GREY)
    node((0, 0), "start", None, canvas.GREY)
    node((1, 0), "A", 0.5, canvas.GREY)
    for way, side in ways.items():
      total, place = 0.5, (1.0, 0.0)
      for step in range(1, 4):
        share = TABLE[way[:step]][way[step]]
        total *= share
        after = (step + 1.0, 0.75 * side)
        arrow(place, after, share, colours[side])
        node(after, NAMES[way[step]], total, colours[side])
        place = after
      name = "greedy" if side > 0 else "beam of 2"
      pair.text(
        4.4, place[1], f"{name}\n{total:.3f}", color=colours[side],
        va="center", fontsize=9,
      )  # fmt: skip


def random_models(study: fundamentals.Study) -> None:
  """How wide a beam has to be, over models that know the last two symbols."""
  page, count = study.lesson, study.config.settings.models
  page.section(
    "How wide a beam has to be",
    f"""
    A beam of V^(T-1) keeps every string but for the last symbol and so is
    exhaustive. Far fewer mostly do. {count} random models of {_SYMBOLS}
    symbols, each with probabilities that depend on the two symbols before, were
    searched for the likeliest string of {_STEPS} symbols, of which there are
    {_SYMBOLS**_STEPS:,}.
    """,
  )
  widths = (1, 2, 4, 8, 16, 32, 128, _SYMBOLS ** (_STEPS - 1))
  gaps = search_gaps(study.random, count, widths)
  found = (gaps == 0).mean(axis=0)
  _draw_widths(
    page.figure(
      "widths",
      "Left, the share of the models whose likeliest string a beam finds; "
      "right, the nats by which what it finds falls short, on average.",
    ),
    widths,
    found,
    gaps.mean(axis=0),
  )
  page.table(
    ["width", "found the best", "nats short, mean", "nats short, most"],
    [
      [f"{width}", f"{100 * share:.0f}%", float(gap.mean()), float(gap.max())]
      for width, share, gap in zip(widths, found, gaps.T, strict=True)
    ],
  )
  worse = int(np.sum(np.diff(gaps, axis=1).max(axis=1) > 0))
  page.say(
    f"""
    No beam ever finds anything better than the best, and the widest finds it
    always. A wider beam is not always the better one: the string that a narrow
    beam follows may be crowded out. That happened between some two of the
    widths in {worse} of the {count} models.
    """
  )


def _draw_widths(
  path: canvas.Path,
  widths: tuple[int, ...],
  found: np.ndarray,
  short: np.ndarray,
) -> None:
  with canvas.figure(path, height=2.9) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, values, name in zip(
      pairs,
      (100 * found, short),
      ("best string found, % of models", "short of it, nats"),
      strict=True,
    ):
      canvas.clean(pair)
      pair.plot(widths, values, "o-", ms=4, lw=1.6, color=canvas.COLOURS[0])
      pair.set_xscale("log", base=2)
      pair.set_xticks(widths, [str(width) for width in widths], fontsize=8)
      pair.minorticks_off()
      pair.set_ylim(bottom=0)
      pair.set_xlabel("width of the beam")
      pair.set_ylabel(name)


def search_gaps(
  random: np.random.Generator, count: int, widths: tuple[int, ...]
) -> np.ndarray:
  """Nats between the likeliest string and what each beam finds.

  Args:
    random: of the models.
    count: how many.
    widths: of the beams.

  Returns:
    float [count, widths].
  """
  predictor = _second_order()
  logits = random.normal(
    scale=1.5, size=(count, _SYMBOLS + 1, _SYMBOLS + 1, _SYMBOLS)
  )
  gaps = np.zeros((count, len(widths)))
  for row, one in enumerate(logits):
    params = jnp.asarray(one, jnp.float32)
    best = beam.exhaustive(predictor, params, length=_STEPS, length_penalty=0)
    for column, width in enumerate(widths):
      found = beam.search(
        predictor, params, width=width, length=_STEPS, length_penalty=0
      )[0]
      gaps[row, column] = best[0].log_probability - found.log_probability
  # What is left of float32's rounding is no gap.
  return np.where(np.abs(gaps) < 1e-4, 0.0, gaps)


def _second_order() -> predictors.Predictor:
  """Logits by the last two symbols; the null vector is one symbol more."""

  def apply(
    params: Any, carry: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    def step(
      before: jax.Array, symbol: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
      return symbol, params[before, symbol]

    return jax.lax.scan(step, carry, jnp.where(inputs < 0, _SYMBOLS, inputs))

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.full((batch,), _SYMBOLS),
    init=lambda key: jnp.zeros((_SYMBOLS + 1, _SYMBOLS + 1, _SYMBOLS)),
    vocabulary_size=_SYMBOLS,
  )
