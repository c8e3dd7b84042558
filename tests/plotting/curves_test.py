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


def test_along_a_split_the_running_mean_ends_at_the_score(
  tmp_path, drawn, png_size, lines
):
  rng = np.random.default_rng(0)
  counts = np.full(90, 7)
  counts[-1] = 3
  static = rng.uniform(0.5, 1.5, 90) * counts
  # The same symbols, cut into other segments.
  dynamic = np.array([static[i : i + 3].sum() * 0.9 for i in range(0, 90, 3)])
  coarse = np.array([counts[i : i + 3].sum() for i in range(0, 90, 3)])
  curves.along_split(
    {"static": (static, counts), "dynamic": (dynamic, coarse)},
    tmp_path / "a.png",
  )
  png_size(tmp_path / "a.png")
  ((upper, lower),) = drawn
  score = static.sum() / counts.sum() / math.log(2)
  finals = [data[-1] for label, data in lines(upper).items() if label[0] != "_"]
  np.testing.assert_allclose(
    finals, [[counts.sum(), score], [counts.sum(), 0.9 * score]]
  )
  gains = [data[-1, 1] for data in lines(lower).values() if len(data) > 2]
  np.testing.assert_allclose(gains, [-0.1 * score])


def test_along_a_split_one_curve_has_one_panel(tmp_path, drawn):
  curves.along_split({"static": ([1.0, 2.0], [1, 1])}, tmp_path / "a.png")
  assert len(drawn[0]) == 1


@pytest.mark.parametrize("nothing", [{}, {"static": ([], [])}])
def test_along_a_split_nothing_scored_is_an_error(tmp_path, nothing):
  with pytest.raises(ValueError):
    curves.along_split(nothing, tmp_path / "a.png")


def test_the_running_mean_is_that_of_every_symbol_so_far():
  rng = np.random.default_rng(1)
  bits = rng.uniform(0.0, 3.0, 24)
  places, means = curves.running_means(
    {"a": (bits * math.log(2), np.ones(24, int))}, 8
  )
  expected = [bits[: int(place)].mean() for place in places]
  assert places.tolist() == [3, 6, 9, 12, 15, 18, 21, 24]
  np.testing.assert_allclose(means["a"], expected)


def test_a_gain_is_static_less_dynamic_of_each_run(tmp_path, drawn, lines):
  counts = [10] * 20
  static = np.linspace(8.0, 9.0, 20)
  runs = {
    name: {"static": (static, counts), "dynamic": (static - gain, counts)}
    for name, gain in (("a", 0.5), ("b", -0.25))
  }
  curves.dynamic_gain(
    runs, tmp_path / "g.png", unit="bits per character", points=10
  )
  ((upper, lower),) = drawn
  gains = lines(lower)
  a = 0.05 / math.log(2)
  np.testing.assert_allclose(gains[f"a: {a:.4f}"][:, 1], [a] * 10)
  np.testing.assert_allclose(gains[f"b: {-a / 2:.4f}"][:, 1], [-a / 2] * 10)
  assert lower.get_xlabel() == "characters scored"
  assert lower.get_ylabel() == "gain, bits per character"
  assert len(upper.get_lines()) == 4


def test_a_gain_of_no_run_is_an_error(tmp_path):
  with pytest.raises(ValueError):
    curves.dynamic_gain({}, tmp_path / "g.png", unit="bits", points=3)
