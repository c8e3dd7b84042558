"""The figures of a series and what models say of it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from seqmodels.evaluation import forecasts
from seqmodels.plotting import style as style_lib

_DATA = "#B9B9B9"


def noisy_series(
  path: style_lib.Path, xs: np.ndarray, clean: np.ndarray, first: int
) -> None:
  """A series with the curve inside it; the test begins at position `first`."""
  with style_lib.axes(path, "A sine with noise", height=3.2) as pair:
    places = np.arange(1, len(xs) + 1)
    pair.plot(places, xs, color=style_lib.COLOURS[0], lw=0.7, label="series")
    pair.plot(places, clean, color=style_lib.COLOURS[1], lw=1.6, label="sine")
    _part(pair, first, named=True)
    pair.set_xlabel("time")
    pair.set_ylabel("x")
    _legend(pair)


def predictions(
  path: style_lib.Path,
  xs: np.ndarray,
  drawn: Mapping[str, forecasts.Forecasts],
  first: int,
  *,
  enlarged: tuple[int, int] | None = None,
) -> None:
  """A series in grey, and predictions of it; a part of it once more below."""
  views = [(0, len(xs))] + ([enlarged] if enlarged else [])
  with style_lib.figure(path, height=0.6 + 2.8 * len(views)) as drawing:
    pairs = drawing.subplots(len(views), 1, squeeze=False)[:, 0]
    for pair, (start, stop) in zip(pairs, views, strict=True):
      style_lib.clean(pair)
      _data(pair, xs[start:stop], start)
      for colour, (name, (times, values)) in zip(
        style_lib.COLOURS, drawn.items(), strict=False
      ):
        inside = (times >= start) & (times < stop)
        pair.plot(
          times[inside] + 1, values[inside], color=colour, lw=1.3, label=name
        )
      if start < first:
        _part(pair, first)
      pair.set_ylabel("x")
    pairs[-1].set_xlabel("time")
    _legend(pairs[0])


def horizons(
  path: style_lib.Path,
  xs: np.ndarray,
  drawn: Mapping[str, Mapping[int, forecasts.Forecasts]],
  first: int,
) -> None:
  """For each model a panel with one curve for each k."""
  with style_lib.figure(path, height=2.6 * len(drawn)) as drawing:
    pairs = drawing.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
    for pair, (name, curves) in zip(pairs, drawn.items(), strict=True):
      style_lib.clean(pair)
      _data(pair, xs)
      for colour, (k, (times, values)) in zip(
        style_lib.COLOURS, curves.items(), strict=False
      ):
        pair.plot(times + 1, values, color=colour, lw=1.4, label=f"k = {k}")
      _part(pair, first)
      pair.set_title(name, fontsize=10)
      pair.set_ylabel("x")
    pairs[-1].set_xlabel("time that is predicted")
    _legend(pairs[0])


def growth(
  path: style_lib.Path,
  ks: np.ndarray,
  curves: Mapping[str, np.ndarray],
  laws: Mapping[str, np.ndarray],
  levels: Mapping[str, float],
) -> None:
  """Errors by steps ahead, with the laws that they might follow in grey."""
  with style_lib.axes(path, "Errors pile up with the steps") as pair:
    top = 2 * max(levels.values())
    for name, values in laws.items():
      pair.plot(ks, values, color=style_lib.GREY, lw=1.0, zorder=1)
      # Beside the line where it ends or leaves the axes.
      inside = np.flatnonzero(values < 0.85 * top)
      last = inside[-1] if len(inside) else 0
      _note(pair, name, (ks[last], values[last]), "right", "bottom")
    for name, level in levels.items():
      pair.axhline(level, color=style_lib.GREY, lw=1.0, ls="--", zorder=1)
      _note(pair, name, (ks[0], level), "left", "bottom")
    for colour, (name, values) in zip(
      style_lib.COLOURS, curves.items(), strict=False
    ):
      pair.plot(ks, values, color=colour, lw=1.7, label=name)
    pair.set_yscale("log")
    pair.set_ylim(0.7 * min(c.min() for c in curves.values()), top)
    pair.set_xlabel("steps ahead, k")
    pair.set_ylabel("root mean squared error, without the noise")
    pair.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    _doubling(pair)
    _legend(pair)


def errors(
  path: style_lib.Path,
  title: str,
  places: Sequence[int] | np.ndarray,
  curves: Mapping[str, Sequence[float]],
  *,
  x: str,
  noise: float,
  marks: Mapping[str, Sequence[float]] | None = None,
  levels: Mapping[str, float] | None = None,
) -> None:
  """Mean squared errors over places that double, above the noise's.

  Args:
    path: the PNG to write.
    title: above the axes.
    places: of all values.
    curves: values by name.
    x: label of the places.
    noise: the floor.
    marks: values by the name of the curve whose colour they have; without any,
      the curves themselves are marked.
    levels: of models that have no such place, by name.
  """
  with style_lib.axes(path, title, height=3.8) as pair:
    for colour, (name, values) in zip(
      style_lib.COLOURS, curves.items(), strict=False
    ):
      style = "o-" if marks is None else "-"
      pair.plot(places, values, style, ms=3.5, lw=1.6, color=colour, label=name)
      if marks is not None:
        pair.plot(
          places, marks[name], "o", ms=5, color=colour, label=f"{name}, learned"
        )
    pair.axhline(noise, color=style_lib.GREY, lw=1.0, ls="--", zorder=1)
    _note(pair, "noise", (places[0], noise), "left", "top")
    style_lib.references(pair, levels or {})
    lowest = min(noise, *(min(values) for values in curves.values()))
    pair.set_ylim(bottom=0.7 * lowest)
    pair.set_xlabel(x)
    pair.set_ylabel("mean squared error")
    _doubling(pair)
    _legend(pair)


def _note(
  pair: Any, text: str, place: tuple[float, float], side: str, edge: str
) -> None:
  """Small grey words in the axes."""
  pair.annotate(
    text, place, ha=side, va=edge, fontsize=8, color=style_lib.GREY, zorder=1
  )


def _doubling(pair: Any) -> None:
  """An axis on which places double, with their numbers written out."""
  pair.set_xscale("log", base=2)
  pair.xaxis.set_major_formatter(lambda value, _: f"{value:g}")


def _data(pair: Any, xs: np.ndarray, start: int = 0) -> None:
  places = np.arange(start + 1, start + 1 + len(xs))
  pair.plot(places, xs, color=_DATA, lw=0.7, label="series", zorder=1)


def _part(pair: Any, first: int, *, named: bool = False) -> None:
  """A dashed line between what was learned from and the test."""
  pair.axvline(first + 0.5, color=style_lib.GREY, lw=1.1, ls="--")
  if named:
    top = pair.get_ylim()[1]
    for shift, side, text in (
      (-8, "right", "to learn from"),
      (8, "left", "test"),
    ):
      _note(pair, text, (first + 0.5 + shift, top), side, "top")


def _legend(pair: Any) -> None:
  pair.legend(
    frameon=False,
    fontsize=8,
    loc="upper left",
    bbox_to_anchor=(1.0, 1.0),
  )


def winners(path: style_lib.Path, prices: np.ndarray, steps: int) -> None:
  """Prices [walks, times], the five best at `steps` in colour."""
  order = np.argsort(prices[:, steps])
  with style_lib.axes(path, "Past winners", height=3.6) as pair:
    shown = order[:: max(1, len(order) // 80)]
    pair.plot(prices[shown].T, color=_DATA, lw=0.5, zorder=1)
    for colour, row in zip(style_lib.COLOURS, order[:-6:-1], strict=False):
      pair.plot(prices[row], color=colour, lw=1.6)
    pair.axvline(steps, color=style_lib.GREY, lw=1.1, ls="--")
    top = pair.get_ylim()[1]
    for shift, side, text in (
      (-0.8, "right", "picked by this"),
      (0.8, "left", "and then"),
    ):
      _note(pair, text, (steps + shift, top), side, "top")
    pair.set_xlabel("time")
    pair.set_ylabel("price, 1 at the start")


def residuals(
  path: style_lib.Path, drawn: Mapping[str, tuple[np.ndarray, np.ndarray]]
) -> None:
  """Errors against what they were predicted from, a panel each."""
  with style_lib.figure(path, height=3.2) as drawing:
    pairs = drawing.subplots(1, len(drawn), sharey=True, squeeze=False)[0]
    for pair, (name, (given, missed)) in zip(pairs, drawn.items(), strict=True):
      style_lib.clean(pair)
      pair.plot(
        given,
        missed,
        ".",
        ms=2.5,
        alpha=0.35,
        color=style_lib.COLOURS[0],
        mew=0,
      )
      pair.set_title(name, fontsize=10)
      pair.set_xlabel("value that is given")
    pairs[0].set_ylabel("error of the prediction")
