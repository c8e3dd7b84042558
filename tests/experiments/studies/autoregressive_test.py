"""The study of sequence models, shrunk to seconds, end to end."""

import re

import numpy as np
import pytest

from experiments import cli
from seqmodels import errors

PAGE = "configs/fundamentals.py:autoregressive,smoke"
FIGURES = {
  *("series", "one_step", "free_run", "k_steps", "error_growth"),
  *("window_length", "fill_in", "winners", "markov_orders", "causes"),
  *("hidden_chain", "drifting_sine"),
}
SECTIONS = (
  "Shapes of problems",
  *("A noisy sine", "A window, or a state", "One step ahead"),
  *("Left to itself", "k steps ahead", "How errors pile up"),
  *("Without noise two values are enough", "How many past values?"),
  "Four numbers from a longer past",
  *("Between known values, or beyond them", "Past winners"),
  *("Markov models of symbols", "Steps on, and the best path"),
  *("In which order?", "When a window is not enough"),
  *("The same with numbers", "A sum to check", "Exercises", "Results"),
)


def config(**settings):
  actual = cli.load(PAGE).config
  actual.settings.update(settings)
  return actual


def test_the_study_runs_to_its_end(run, tmp_path):
  rows = run(config())["rows"]
  sine = [row for row in rows if row["metric"] == "sse"]
  assert {
    row["name"] for row in sine if row["evaluation"] == "k steps ahead"
  } == {
    f"{model}, k = {k}"
    for model in (
      *("linear, least squares", "linear, gradient descent"),
      *("MLP", "GRU"),
    )
    for k in (1, 4, 16, 64)
  }
  drifting = {
    row["name"].removeprefix("drifting sine, "): row["value"]
    for row in sine
    if row["evaluation"] == "one step ahead"
  }
  assert drifting.keys() == {
    *("linear filter", "exact filter", "RNN (GRU) of 8 units"),
    *(f"window of {tau}" for tau in (1, 4, 16)),
  }
  assert drifting["exact filter"] < drifting["window of 1"]
  sine = [row for row in sine if row["evaluation"] == "k steps ahead"]
  for row in sine:
    # All values of the test, in both series.
    assert row["unit"] == "mean of squares"
    assert (row["split"], row["count"]) == ("test", 192)
    assert row["value"] > 0.03
  solved = {row["name"]: row["value"] for row in sine}
  assert solved["linear, least squares, k = 1"] < 0.07
  symbols = {
    row["name"]: row["value"] for row in rows if row["metric"] == "perplexity"
  }
  assert (
    symbols["Markov chain of order 2, model of order 2"]
    < (symbols["Markov chain of order 2, model of order 1"])
  )
  assert (
    symbols["hidden chain, filter"]
    < (symbols["hidden chain, window of 0, counted"])
  )
  assert all(np.isfinite(row["value"]) and row["count"] for row in rows)

  page = (tmp_path / "run" / "report.md").read_text()
  for section in SECTIONS:
    assert f"## {section}" in page
  drawn = {path.stem for path in (tmp_path / "run" / "figures").iterdir()}
  assert drawn == FIGURES
  for figure in FIGURES:
    assert f"(figures/{figure}.png)" in page
  assert "nan" not in page
  # Every rule is found, for examples never seen.
  for shape in ("fixed target", "aligned", "unaligned"):
    assert re.search(rf"\| {shape} \|.*\| 100\.0 \|", page), shape
  # Theory, whatever the run: the best window of four.
  assert "the best has 0.0501" in page


@pytest.mark.parametrize(
  ("settings", "words"),
  [
    ({"length": 0}, "length is 0; .* at least 8"),
    ({"window": 0}, "window is 0; .* 1 to 298"),
    ({"window": 400}, "window is 400; .* 1 to 298"),
    ({"pairs": 296}, "pairs is 296; .* 1 to 295"),
    ({"horizons": (1, 400)}, "horizons is .*400.; .* 1 to 98"),
    ({"windows": ()}, "windows is .*; .* 1 to 199"),
    ({"networks": ("GRU", "gru")}, "names 'gru'; .*LSTM"),
    ({"networks": ()}, "networks is empty"),
    ({"toys": ("alined",)}, "names 'alined'; .*aligned"),
    ({"toy_length": 30}, "205,891,132,094,649 strings of 30"),
    ({"stretch": 204}, "stretch is 204; .* 1 to 203"),
    ({"longest_window": 40}, "longest_window is 40; .* 1 to 18"),
    ({"batch": 0}, "batch is 0; .* at least 1"),
  ],
)
def test_settings_that_do_not_fit_are_named(run, settings, words):
  with pytest.raises(errors.UserError, match=words):
    run(config(**settings))
