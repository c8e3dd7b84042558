"""The page on decoding: end to end, and its parts where they can be checked."""

import math

import numpy as np
import pytest

import experiments
from experiments import command_line
from experiments.studies import search_examples, written_texts
from seqmodels import errors
from seqmodels.models import conditional_table
from seqmodels.sampling import beam


def config(**changes):
  page = command_line.load("configs/fundamentals.py:decoding,smoke").config
  page.settings.update(changes)
  return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """One smoke run for all tests of its page."""
  folder = tmp_path_factory.mktemp("decoding")
  return experiments.run(config(), folder / "run", folder), folder / "run"


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  [row] = results["rows"]
  assert row["metric"] == "perplexity"
  assert 1 < row["value"] < 110
  assert row["count"] == 2_000
  drawn = {path.stem for path in (folder / "figures").iterdir()}
  assert drawn == {
    *("worked_example", "widths", "sharpening", "likely_and_varied"),
  }


def test_the_page_tells_of_every_way_to_choose(finished):
  text = (finished[1] / "report.md").read_text()
  assert "| greedy | A B C end | 0.048 |" in text
  assert "| beam of 2 | A C B end | 0.054 |" in text
  assert "| exhaustive | A C B end | 0.054 |" in text
  for name in written_texts.ways((2,), 0):
    assert f"[{name}]\nThe " in text
    assert f"| {name} |" in text
  assert "| the text itself |" in text


def test_the_worked_example_is_the_books():
  predictor, params = conditional_table.as_predictor(search_examples.TABLE)
  settings = {"length": 4, "end": search_examples.END}
  greedy = beam.greedy(predictor, params, **settings)
  best = beam.search(predictor, params, width=2, **settings)[0]
  assert math.exp(greedy.log_probability) == pytest.approx(0.048, rel=1e-5)
  assert math.exp(best.log_probability) == pytest.approx(0.054, rel=1e-5)


def test_no_beam_beats_exhaustive_search_and_the_widest_equals_it():
  gaps = search_examples.search_gaps(np.random.default_rng(0), 6, (1, 2, 4**4))
  assert np.all(gaps >= 0)
  assert np.all(gaps[:, -1] == 0)
  assert gaps[:, 0].max() > 0.01


def test_what_follows_a_prefix_is_found_wherever_it_stands():
  ids = np.array([1, 2, 9, 1, 2, 8, 1, 2, 7, 1, 2])
  found = written_texts.occurrences(ids, [1, 2], 1, 2)
  assert found == [(9,), (8,)]
  assert written_texts.occurrences(ids, [2, 9], 2, 5) == [(1, 2)]
  assert written_texts.occurrences(ids, [3], 1, 5) == []
  assert written_texts.occurrences(ids, [1], 20, 5) == []


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"prefix": "na\u0308chste"}, "prefix is 'na\u0308chste' and '\u0308' is"),
    ({"prefix": ""}, "config.settings.prefix is empty"),
    ({"beams": (4, 0)}, r"config.settings.beams is \(4, 0\); it must be at"),
    ({"beams": ()}, r"config.settings.beams is \(\); it must be at least 1"),
    ({"beam": 0}, "config.settings.beam is 0; it must be at least 1"),
    ({"length": 0}, "config.settings.length is 0"),
  ],
)
def test_bad_settings_are_named(changes, message, run):
  with pytest.raises(errors.UserError, match=message):
    run(config(**changes))
