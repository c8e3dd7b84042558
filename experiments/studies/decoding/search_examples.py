"""Greedy, exhaustive and beam search where everything can be tried."""

import math
from typing import Any

from experiments.studies import run
from seqmodels.models import conditional_table
from seqmodels.plotting import style
from seqmodels.sampling import beam, text

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

# Five symbols, to watch a beam of two.
FIVE = "ABCDE"
FIVE_TABLE = {
  (): (0.35, 0.15, 0.3, 0.1, 0.1),
  (0,): (0.1, 0.5, 0.15, 0.15, 0.1),
  (2,): (0.15, 0.15, 0.15, 0.15, 0.4),
  (0, 1): (0.2, 0.1, 0.2, 0.3, 0.2),
  (2, 4): (0.1, 0.1, 0.1, 0.6, 0.1),
}


def worked_example(study: run.Study) -> None:
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


def beam_at_work(study: run.Study) -> None:
  """Three steps of a beam of two over five symbols."""
  page, symbols = study.lesson, len(FIVE)
  page.section(
    "A beam at work",
    f"""
    A beam keeps the k likeliest strings so far, extends each by every symbol
    and keeps the k likeliest of all these. One that ends is put aside and grows
    no more. Here are three steps of a beam of two over {symbols} symbols. After
    the first step {2 * symbols} extensions are tried at each, of
    {symbols}, {symbols**2} and {symbols**3} strings that there are.
    """,
  )
  page.table(
    ["step", "tried", "kept", "probability", "kept", "probability"],
    [
      [
        step,
        symbols if step == 1 else 2 * symbols,
        *(
          cell
          for one in kept
          for cell in (
            "".join(FIVE[i] for i in one.symbols),
            f"{math.exp(one.log_probability):.3f}",
          )
        ),
      ]
      for step, kept in enumerate(beam_steps(), 1)
    ],
  )
  page.say(
    """
    At the last step the second string overtakes the first: greedy search, which
    holds one alone, would have missed it. With 10,000 words
    and sentences of 10, greedy search tries 100,000 extensions, a beam of two
    about 200,000, and exhaustive search 10^40.
    """
  )


def beam_steps() -> list[list[text.Continuation]]:
  """What the beam of two holds after each step."""
  predictor, params = conditional_table.as_predictor(FIVE_TABLE)
  return [
    beam.search(predictor, params, width=2, length=length, length_penalty=0)
    for length in (1, 2, 3)
  ]


def length_penalty(study: run.Study) -> None:
  """What the division by L^alpha does."""
  page = study.lesson
  page.section(
    "Short strings and long ones",
    """
    Every further symbol multiplies by a probability, so the likeliest string
    tends to be a short one. Dividing the logarithm by a power of the length
    makes up for it:
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
    ["alpha", "best of all", "probability", "a beam of 2", "probability"], body
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


def _draw(path: style.Path) -> None:
  """The two ways through the table, as a tree."""
  ways = {(0, 1, 2, END): 1, (0, 2, 1, END): -1}
  colours = {1: style.COLOURS[0], -1: style.COLOURS[1]}
  with style.figure(path, height=2.7) as drawing:
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
          fontsize=8, color=style.GREY,
        )  # fmt: skip

    arrow((0, 0), (1, 0), 0.5, style.GREY)
    node((0, 0), "start", None, style.GREY)
    node((1, 0), "A", 0.5, style.GREY)
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
