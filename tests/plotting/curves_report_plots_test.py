"""Figures over several runs."""

import numpy as np
import pytest

from seqmodels.plotting import curves


def learning(run, metric="bits_per_character", best=1.4):
  epochs = np.linspace(0.01, 4, 400)
  return curves.Learning(
    run,
    metric,
    (epochs.tolist(), (best - 0.1 + np.exp(-epochs)).tolist()),
    ([1.0, 2.0, 3.0, 4.0], [best + 0.3, best + 0.1, best, best + 0.02]),
  )


def test_learning_curves_have_a_panel_a_metric_and_tell_the_best(
  tmp_path, drawn, lines, png_size
):
  runs = [
    learning("one"),
    learning("two", best=1.3),
    learning("words", "perplexity", 120.0),
  ]
  curves.learning_curves_of_runs(runs, tmp_path / "a.png")
  png_size(tmp_path / "a.png")
  ((bits, words),) = drawn
  shown = lines(bits)
  assert shown["one: 1.4"][:, 0].tolist() == [1, 2, 3, 4]
  assert {"two: 1.3"} < shown.keys()
  assert {"words: 120"} < lines(words).keys()
  assert (bits.get_xlabel(), bits.get_ylabel()) == (
    "epoch of the run", "bits per character",
  )  # fmt: skip
  assert words.get_ylabel() == "perplexity"


def test_a_run_and_its_training_share_a_colour_no_other_has(tmp_path, drawn):
  runs = [learning(f"run {n}") for n in range(8)]
  curves.learning_curves_of_runs(runs, tmp_path / "a.png")
  ((axes,),) = drawn
  looks = [(line.get_color(), line.get_linestyle()) for line in axes.lines]
  assert looks[::2] == looks[1::2]
  assert len(set(looks[::2])) == 8


def test_runs_that_were_never_validated_are_an_error(tmp_path):
  run = curves.Learning("a", "perplexity", ([1.0], [9.0]), ([], []))
  with pytest.raises(ValueError):
    curves.learning_curves_of_runs([run], tmp_path / "a.png")


def test_bars_stand_in_pairs_and_what_is_missing_is_said(
  tmp_path, drawn, png_size
):
  tables = {
    "bits per character": [
      curves.Bar("none, static", 1.32, 1.36),
      curves.Bar("none, dynamic", 1.29, None),
    ],
    "perplexity": [],
  }
  curves.paper_and_ours(tables, tmp_path / "a.png")
  png_size(tmp_path / "a.png")
  ((axes,),) = drawn
  paper, ours = axes.containers
  assert [bar.get_width() for bar in paper] == [1.32, 1.29]
  assert [bar.get_width() for bar in ours] == [1.36, 0.0]
  texts = [text.get_text() for text in axes.texts]
  assert texts == ["1.32", "1.29", "1.36", "no result"]
  for above, below in zip(paper, ours, strict=True):
    assert above.get_y() + above.get_height() <= below.get_y() + 1e-9
