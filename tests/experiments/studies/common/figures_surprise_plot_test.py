"""Bars under text: as long as the bits, on the lines that the text takes."""

import numpy as np
import pytest

from experiments.studies.common import figures
from seqmodels import errors


def passage(text, bits=None, name="a text", read=0):
  symbols = list(text)
  bits = np.ones(len(symbols)) if bits is None else np.array(bits, float)
  bits[:read] = np.nan
  return figures.Passage(name, symbols, bits)


def bars(axes):
  return {
    round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height()
    for bar in axes.patches
  }


def words(axes):
  return "".join(text.get_text() for text in axes.texts)


def test_bars_hang_from_the_symbols_that_were_scored(drawn, png_size, tmp_path):
  path = tmp_path / "figures" / "surprise.png"
  figures.surprise(
    path, "It", [passage("rain out", [9, 9, 9, 9, 9, 1, 4, 2.5], read=5)]
  )
  [[axes]] = drawn
  assert bars(axes) == {5.5: 1.0, 6.5: 4.0, 7.5: 2.5}
  assert words(axes) == "rain out"
  low, high = axes.get_ylim()
  assert low > 4.0
  assert high == 0
  colours = [text.get_color() for text in axes.texts]
  assert len(set(colours[:5])) == len(set(colours[5:])) == 1
  assert colours[0] != colours[5]
  assert png_size(path)[0] == 864


def test_an_impossible_symbol_reaches_the_bottom_and_says_so(drawn, tmp_path):
  figures.surprise(tmp_path / "a.png", "It", [passage("abc", [1, np.inf, 2])])
  [[axes]] = drawn
  assert bars(axes)[1.5] == axes.get_ylim()[0]
  assert "∞" in words(axes)


def test_all_impossible_or_all_certain_is_drawn_too(drawn, tmp_path):
  for bits in ([np.inf, np.inf], [0, 0]):
    figures.surprise(tmp_path / "a.png", "It", [passage("ab", bits)])
  assert all(np.isfinite(axes.get_ylim()).all() for [axes] in drawn)


def test_lines_break_between_words_and_keep_every_symbol(drawn, tmp_path):
  text = "one two three four " * 8
  figures.surprise(tmp_path / "a.png", "It", [passage(text.strip())])
  [lines] = drawn
  assert len(lines) > 2
  shown = [words(axes) for axes in lines]
  assert "".join(shown) == text.strip()
  assert all(line.split(" ")[0] in "one two three four" for line in shown)
  assert all(len(line) <= figures.COLUMNS for line in shown)
  assert sum(len(bars(axes)) for axes in lines) == len(text.strip())
  assert len({axes.get_ylim() for axes in lines}) == 1
  assert [axes.get_title(loc="left") != "" for axes in lines][:2] == [
    True,
    False,
  ]


def test_a_word_longer_than_a_line_is_broken(drawn, tmp_path):
  figures.surprise(tmp_path / "a.png", "It", [passage("x" * 150)])
  assert [len(words(axes)) for axes in drawn[0]] == [64, 64, 22]


def test_words_stand_apart_with_bars_as_wide(drawn, tmp_path):
  one = figures.Passage("words", ["the", "cat", "sat"], np.ones(3))
  figures.surprise(tmp_path / "a.png", "It", [one])
  [[axes]] = drawn
  assert list(bars(axes)) == [1.5, 5.5, 9.5]


def test_formulas_controls_and_foreign_letters_are_text(drawn, tmp_path):
  figures.surprise(
    tmp_path / "a.png", "$x$", [passage("$x^\n\t\x07漢", name="$y_\n$")]
  )
  [[axes]] = drawn
  assert words(axes) == "$x^⏎⇥\ufffd漢"
  assert axes.get_title(loc="left") == "$y_ $"


def test_what_cannot_be_drawn_is_refused(tmp_path):
  path = tmp_path / "a.png"
  with pytest.raises(errors.UserError, match="'a text' has 0 symbols"):
    figures.surprise(path, "It", [passage("")])
  assert not path.exists()
