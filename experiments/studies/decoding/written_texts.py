"""Texts written after one prefix in every way, and what tells them apart."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.common import spelling
from seqmodels.evaluation import continuations
from seqmodels.plotting import style
from seqmodels.sampling import beam, diversity, text

# What is done to the distribution before a draw, by its name.
SHARPENINGS: dict[str, text.Sharpening] = {
  "as it is": text.Sharpening(),
  "temperature 0.5": text.Sharpening(temperature=0.5),
  "temperature 1.5": text.Sharpening(temperature=1.5),
  "top-k, k = 5": text.Sharpening(top_k=5),
  "nucleus 0.9": text.Sharpening(nucleus=0.9),
}

# Lengths of n-grams whose variety is measured.
_GRAMS = (1, 2, 4)


class Writer(NamedTuple):
  """The trained model, and the prefix that all texts go on from.

  Attributes:
    network: a predictor.
    params: its weights.
    tokens: the text it was trained on.
    prime: ids of the prefix.
    length: characters to write.
  """

  network: Any
  params: Any
  tokens: Any
  prime: list[int]
  length: int


def texts(study: run.Study, writer: Writer) -> None:
  """The same prefix, gone on from in every way."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "Likely texts and good ones",
    f"""
    Every way to choose, {writer.length} characters each. The total log
    probability is the model's own, whatever the text was drawn from.
    Distinct-n is the share of its n-grams that are different: it shows loops.
    Of what is drawn there are {settings.draws} texts, and their mean; the last
    line is what the held-out text has after the same prefix.
    """,
  )
  written = {
    name: [tuple(row) for row in write(writer, settings.draws)]
    for name, write in ways(settings.beams, study.config.seed).items()
  }
  truth = occurrences(
    writer.tokens.splits["valid"], writer.prime, writer.length, settings.draws
  )
  if truth:
    written["the text itself"] = truth
  table = {name: measured(writer, rows) for name, rows in written.items()}
  page.table(
    ["chosen", "log P, nats", "a character"]
    + [f"distinct-{n}" for n in _GRAMS],
    [
      [name, f"{nats:.1f}", nats / writer.length, *shares]
      for name, (nats, *shares) in table.items()
    ],
  )
  _scatter(
    page.figure(
      "likely_and_varied",
      "Each way to choose by how likely its texts are to the model and by how "
      "little they repeat themselves.",
    ),
    {
      name: (shares[-1], nats / writer.length)
      for name, (nats, *shares) in table.items()
    },
  )
  widest = f"beam of {max(settings.beams)}"
  (greedy, *_, looped), (best, *_, circled) = table["greedy"], table[widest]
  page.say(
    f"""
    Greedy decoding writes a text whose log probability is {greedy:.1f} nats,
    the widest beam one of {best:.1f}. What is likeliest at a place is often
    what has just been said, and so searches run in circles: their distinct-4 is
    {looped:.2f} and {circled:.2f}.
    """
  )
  if truth:
    real, *_, varied = table["the text itself"]
    page.say(
      f"""
      The text itself has {real:.1f} nats, on average over the places where the
      prefix stands, and a distinct-4 of {varied:.2f}: what people write is not
      what is likeliest. A model that fits expects as many
      surprises as they make, and draws texts with as many, but those of a small
      model are misspellings. Sharper distributions stand in between; which is
      best is a matter of use.
      """
    )
  page.say("The first of each, with runs of spaces made visible:")
  for name, rows in written.items():
    spelt = spelling.decode(writer.tokens, rows[0])
    shown = spelling.visible(settings.prefix + spelt)
    page.shown(f"[{name}]\n{shown}")


Write = Callable[[Writer, int], Sequence[Sequence[int]]]


def ways(beams: Sequence[int], seed: int) -> dict[str, Write]:
  """Every way to choose, by its name.

  Args:
    beams: widths.
    seed: of the draws.
  """

  def searched(writer: Writer, draws: int, *, width: int) -> Any:
    del draws
    found = beam.search(
      writer.network,
      writer.params,
      width=width,
      length=writer.length,
      prime=writer.prime,
    )
    return [found[0].symbols]

  def drawn(
    writer: Writer, draws: int, *, place: int, sharpen: text.Sharpening
  ) -> Any:
    return text.sample(
      writer.network,
      writer.params,
      jax.random.fold_in(jax.random.key(seed), place),
      length=writer.length,
      prime=writer.prime,
      batch=draws,
      sharpening=sharpen,
    ).T.tolist()

  found: dict[str, Write] = {"greedy": functools.partial(searched, width=1)}
  for width in beams:
    found[f"beam of {width}"] = functools.partial(searched, width=width)
  for place, (name, sharpen) in enumerate(SHARPENINGS.items()):
    name = "drawn as it is" if name == "as it is" else name
    found[name] = functools.partial(drawn, place=place, sharpen=sharpen)
  return found


def measured(
  writer: Writer, rows: Sequence[Sequence[int]]
) -> tuple[float, ...]:
  """Mean log P in nats and mean distinct-n of some texts after the prefix."""
  scored = continuations.by_network(
    writer.network, writer.params, writer.prime, rows
  )
  nats = math.fsum(one.total for one in scored) / len(rows)
  shares = (
    math.fsum(diversity.distinct(row, n) for row in rows) / len(rows)
    for n in _GRAMS
  )
  return (nats, *shares)


def occurrences(
  ids: Any, prime: Sequence[int], length: int, most: int
) -> list[tuple[int, ...]]:
  """What follows a prefix where a text has it, the first few times.

  Args:
    ids: the text [N].
    prime: ids of the prefix.
    length: symbols to take after it.
    most: how many places.
  """
  whole = len(prime) + length
  if len(ids) < whole:
    return []
  places = np.lib.stride_tricks.sliding_window_view(np.asarray(ids), whole)
  same = np.all(places[:, : len(prime)] == np.asarray(prime), axis=1)
  chosen = places[np.flatnonzero(same)[:most], len(prime) :]
  return [tuple(row) for row in chosen.tolist()]


def _scatter(path: style.Path, points: dict[str, tuple[float, float]]) -> None:
  searched, drawn, real = *style.COLOURS[1::-1], "black"
  heights = [y for _, y in points.values()]
  # Labels stand beside their points, at least so far apart.
  apart = 0.065 * (max(heights) - min(heights) + 1e-9)
  last = {"left": float("inf"), "right": float("inf")}
  # Those of a cluster on the left begin behind its last point.
  behind = max((x for x, _ in points.values() if x < 0.5), default=0.0) + 0.06
  with style.axes(path, "Likely or varied", height=4.0) as pair:
    for name, (x, y) in sorted(points.items(), key=lambda item: -item[1][1]):
      side = "left" if x < 0.5 else "right"
      colour = searched if name == "greedy" or "beam" in name else drawn
      colour = real if name == "the text itself" else colour
      mark, size = ("*", 12) if colour == real else ("o", 7)
      pair.plot(x, y, mark, ms=size, color=colour, zorder=3)
      height = min(y, last[side] - apart)
      last[side] = height
      pair.annotate(
        name, (x, y), xytext=(behind if side == "left" else x - 0.04, height),
        ha=side, va="center", fontsize=8, color=colour,
        arrowprops={"arrowstyle": "-", "color": style.GREY, "lw": 0.6},
      )  # fmt: skip
    pair.set_xlim(0.0, 1.05)
    pair.margins(y=0.1)
    pair.set_xlabel("distinct-4: share of 4-grams that are different")
    pair.set_ylabel("log probability, nats a character")
