"""Figures: drawn, of moderate size, the same for the same data."""

import json
import math

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.io import results
from seqmodels.plotting import curves, style


def metrics(count=400):
  entries = []
  for step in range(1, count + 1):
    value = 2.0 + 5.0 * math.exp(-step / 20)
    entries.append(("train", step, value))
    if step % 100 == 0:
      entries.append(("valid", step, 2.2 + (step - 300) ** 2 / 1e5))
  return [
    {
      "step": step,
      "split": split,
      "name": "bits_per_character",
      "value": value,
      "unit": "bits/character",
    }
    for split, step, value in entries
  ]


def test_learning_curves_mark_the_best_step(tmp_path, drawn, png_size, lines):
  path = tmp_path / "figures" / "curves.png"
  curves.learning_curves(
    metrics(), path, name="bits_per_character", references={"paper": 1.9}
  )
  width, height = png_size(path)
  assert 600 < width < 1200
  assert 400 < height < 1000
  ((axes,),) = drawn
  shown = lines(axes)
  np.testing.assert_allclose(shown["best valid: 2.2 at step 300"], [[300, 2.2]])
  assert [step for step, _ in shown["valid"]] == [100, 200, 300, 400]
  assert shown["paper: 1.9"][:, 1].tolist() == [1.9, 1.9]
  assert axes.get_xlabel() == "training step"
  assert axes.get_ylabel() == "bits per character"


def test_learning_curves_do_not_let_the_start_flatten_the_rest(tmp_path, drawn):
  curves.learning_curves(
    metrics(), tmp_path / "a.png", name="bits_per_character"
  )
  ((axes,),) = drawn
  assert axes.get_ylim()[1] < 5.5  # the first values are near 7


def test_learning_curves_read_the_run_folder_file(tmp_path, drawn, lines):
  path = tmp_path / "metrics.jsonl"
  path.write_text("".join(json.dumps(line) + "\n" for line in metrics(20)))
  curves.learning_curves(path, tmp_path / "a.png", name="bits_per_character")
  ((axes,),) = drawn
  assert len(lines(axes)["train"]) == 20


def test_learning_curves_of_one_point_are_drawn(tmp_path, png_size):
  curves.learning_curves(
    metrics(1), tmp_path / "a.png", name="bits_per_character"
  )
  png_size(tmp_path / "a.png")


def test_a_metric_that_was_never_written_is_an_error(tmp_path):
  with pytest.raises(ValueError, match="perplexity"):
    curves.learning_curves(metrics(), tmp_path / "a.png", name="perplexity")
  assert list(tmp_path.iterdir()) == []


def search_rows():
  rows = [{"rule": "static", "bits_per_symbol": 1.4}]
  for rate in (0.001, 0.01, 0.1):
    for decay in (0.0, 0.01):
      score = 1.3 + abs(math.log10(rate) + 2) * 0.05 + decay
      rows.append(
        {
          "rule": "rms",
          "learning_rate": rate,
          "decay": decay,
          "bits_per_symbol": math.nan if rate == 0.1 else score,
        }
      )
  return rows


def test_a_search_shows_one_line_a_second_setting_and_the_best(
  tmp_path, drawn, png_size, lines
):
  curves.dynamic_search(
    search_rows(), tmp_path / "a.png", settings=["learning_rate", "decay"]
  )
  png_size(tmp_path / "a.png")
  ((axes,),) = drawn
  shown = lines(axes)
  np.testing.assert_allclose(shown["decay 0"], [[0.001, 1.35], [0.01, 1.3]])
  np.testing.assert_allclose(shown["decay 0.01"], [[0.001, 1.36], [0.01, 1.31]])
  np.testing.assert_allclose(shown["best: 1.3"], [[0.01, 1.3]])
  assert shown["static: 1.4"][:, 1].tolist() == [1.4, 1.4]
  assert axes.get_xlabel() == "learning rate (diverged at 0.1)"
  assert axes.get_xscale() == "log"


def test_a_search_over_one_setting_takes_the_best_of_the_others(
  tmp_path, drawn, lines
):
  curves.dynamic_search(
    search_rows(), tmp_path / "a.png", settings=["learning_rate"]
  )
  ((axes,),) = drawn
  np.testing.assert_allclose(
    lines(axes)["dynamic"], [[0.001, 1.35], [0.01, 1.3]]
  )


def test_a_search_where_all_diverged_is_still_drawn(tmp_path, png_size):
  rows = search_rows()[:1] + [
    {**row, "bits_per_symbol": math.inf} for row in search_rows()[1:]
  ]
  curves.dynamic_search(rows, tmp_path / "a.png", settings=["learning_rate"])
  png_size(tmp_path / "a.png")


def test_a_search_that_tried_nothing_is_an_error(tmp_path):
  with pytest.raises(ValueError):
    curves.dynamic_search(
      search_rows()[:1], tmp_path / "a.png", settings=["learning_rate"]
    )


def result_rows():
  return [
    results.row(
      name,
      split="test",
      evaluation=evaluation,
      metric="bits_per_character",
      value=value,
      count=10,
      seconds=1.0,
      reference=reference,
      reference_source="paper" if reference else None,
    )
    for name, evaluation, value, reference in (
      ("lstm", "static", 1.36, 1.32),
      ("lstm", "dynamic", 1.31, None),
      ("diverged", "dynamic", math.inf, None),
    )
  ]


def test_a_comparison_has_a_bar_a_row_and_marks_what_was_published(
  tmp_path, drawn, png_size, lines
):
  path = tmp_path / "a.png"
  curves.comparison(result_rows(), path, metric="bits_per_character")
  png_size(path)
  ((axes,),) = drawn
  assert [bar.get_width() for bar in axes.patches] == [1.36, 1.31]
  (marks,) = (data for data in lines(axes).values())
  np.testing.assert_allclose(marks, [[1.32, 0]])
  assert "published" in axes.get_xlabel()


def test_a_comparison_of_long_names_keeps_what_tells_them_apart(
  tmp_path, drawn
):
  rows = [
    {**result_rows()[0], "split": split, "name": "word " * 60}
    for split in ("valid", "test")
  ]
  curves.comparison(rows, tmp_path / "a.png", metric="bits_per_character")
  ((axes,),) = drawn
  shown = [label.get_text() for label in axes.get_yticklabels()]
  assert [text.split(":")[0] for text in shown] == [
    "static, valid",
    "static, test",
  ]
  assert all(text.count("\n") == 2 for text in shown)
  assert all(text.endswith(" ...") for text in shown)


def test_a_comparison_of_nothing_is_an_error(tmp_path):
  with pytest.raises(ValueError):
    curves.comparison(result_rows(), tmp_path / "a.png", metric="perplexity")


def test_the_same_data_give_the_same_bytes(tmp_path):
  for name in ("a.png", "b.png"):
    curves.comparison(
      result_rows(), tmp_path / name, metric="bits_per_character"
    )
  first = (tmp_path / "a.png").read_bytes()
  assert first == (tmp_path / "b.png").read_bytes()


def test_a_figure_that_cannot_be_written_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(errors.UserError, match="cannot write"),
    style.axes(tmp_path / "file" / "a.png", "title"),
  ):
    pass
