"""The page on decoding: end to end, and its parts where they can be checked."""

import itertools
import math
import re

import numpy as np
import pytest

from experiments import cli
from experiments.studies.common import training
from experiments.studies.decoding import models, study
from seqmodels import errors
from seqmodels.sampling import beam


def config(**changes):
  page = cli.load("configs/fundamentals.py:decoding,smoke").config
  page.settings.update(changes)
  return page


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


def test_the_page_has_every_way_to_choose(finished):
  text = (finished[1] / "report.md").read_text()
  assert "| greedy | A B C end | 0.048 |" in text
  assert "| beam of 2 | A C B end | 0.054 |" in text
  assert "| exhaustive | A C B end | 0.054 |" in text
  ways = ("greedy", "beam of 2", *study.SHARPENINGS, "the text itself")
  for name in ways:
    assert f"[{name}]\nthe" in text
    assert f"| {name} |" in text


def test_the_worked_example_is_the_books():
  predictor, params = models.table(study.TABLE)
  settings = {"length": 4, "end": study.END}
  greedy = beam.greedy(predictor, params, **settings)
  best = beam.search(predictor, params, width=2, **settings)[0]
  assert math.exp(greedy.log_probability) == pytest.approx(0.048, rel=1e-5)
  assert math.exp(best.log_probability) == pytest.approx(0.054, rel=1e-5)


def test_no_beam_beats_exhaustive_search_and_the_widest_equals_it():
  gaps = study.search_gaps(
    np.random.default_rng(0), 6, (1, 2, study.EXHAUSTIVE)
  )
  assert np.all(gaps >= 0)
  assert np.all(gaps[:, -1] == 0)
  assert gaps[:, 0].max() > 0.01


def test_the_beam_at_work_keeps_the_two_likeliest_of_all_strings():
  table, symbols = study.FIVE_TABLE, study.FIVE
  for length, kept in enumerate(study.beam_steps(), 1):
    chances = {
      string: math.prod(
        table.get(string[:i], [0.2] * 5)[string[i]] for i in range(length)
      )
      for string in itertools.product(range(5), repeat=length)
    }
    # Here the beam is wide enough to miss nothing, which is not so of any.
    best = sorted(chances, key=lambda string: -chances[string])[:2]
    assert [one.symbols for one in kept] == best
    for one in kept:
      assert math.exp(one.log_probability) == pytest.approx(
        chances[one.symbols], rel=1e-5
      )
  names = ["".join(symbols[i] for i in one.symbols) for one in kept]
  assert names == ["CED", "ABD"]


def test_confined_to_a_list_no_other_word_is_written(finished):
  text = (finished[1] / "report.md").read_text()
  [free] = re.findall(r"^\| as it is \| (.*) \|$", text, re.MULTILINE)
  [held] = re.findall(r"^\| confined \| (.*) \|$", text, re.MULTILINE)
  assert free.split(" | ")[1] != "100.0%"
  assert held.split(" | ")[1] == "100.0%"
  assert int(held.split(" | ")[0]) > 0


def test_whole_words_end_behind_the_prefix_and_before_the_end():
  actual = study.whole_words(["The cat's tail wa", "Theory. So"], 3)
  assert actual == ["cat", "s", "tail", "Theory"]


def test_marks_belong_to_their_words():
  hindi = "\u0939\u093f\u0928\u094d\u0926\u0940"
  decomposed = "na\u0308chste"
  actual = study.whole_words([f"{hindi} {decomposed}, 12."], 0)
  assert actual == [hindi, decomposed]


def test_runs_of_spaces_can_be_seen_and_single_ones_stay():
  assert training.visible("a  b   c d") == "a  b\u2423\u2423\u2423c d"


def test_what_follows_a_prefix_is_found_wherever_it_stands():
  ids = np.array([1, 2, 9, 1, 2, 8, 1, 2, 7, 1, 2])
  actual = study.occurrences(ids, [1, 2], 1, 2)
  assert actual == [[9], [8]]
  assert study.occurrences(ids, [2, 9], 2, 5) == [[1, 2]]
  assert study.occurrences(ids, [3], 1, 5) == []
  assert study.occurrences(ids, [1], 20, 5) == []


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"prefix": "na\u0308chste"}, "prefix is 'na\u0308chste' and '\u0308' is"),
    ({"prefix": ""}, "config.settings.prefix is empty"),
    ({"beams": (4, 0)}, r"config.settings.beams is \(4, 0\); it must be at"),
    ({"beams": ()}, r"config.settings.beams is \(\); it must be at least 1"),
    ({"beam": 0}, "config.settings.beam is 0; it must be at least 1"),
    ({"length": 0}, "config.settings.length is 0"),
    ({"steps": 0}, "config.settings.steps is 0"),
  ],
)
def test_bad_settings_are_named(changes, message, run):
  with pytest.raises(errors.UserError, match=message):
    run(config(**changes))
