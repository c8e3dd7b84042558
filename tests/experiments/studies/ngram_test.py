"""The study of n-gram models: every form, every order, words and characters."""

import re

import pytest

from experiments import cli
from experiments.studies.ngram import smoothing
from seqmodels import errors
from seqmodels.io import results


def settings(**changes):
  config = cli.load("configs/fundamentals.py:ngram,smoke").config
  config.settings.update(changes)
  return config


def values(rows, level, metric="perplexity"):
  return {
    row["name"]: row["value"]
    for row in rows
    if row["metric"] == metric and level in row["name"]
  }


def test_the_smoke_run_leaves_a_page_with_figures(run, tmp_path):
  rows = run(settings())["rows"]
  words, characters = (values(rows, x) for x in ("words", "characters"))
  for actual in (words, characters):
    assert len(actual) == len(smoothing.FORMS) + 2  # the best at each order
    assert all(value > 1 for value in actual.values())
  for actual, level in ((words, "words"), (characters, "characters")):
    best = actual[f"3-gram, {smoothing.MODIFIED}, {level}"]
    assert best < actual[f"1-gram, {smoothing.MODIFIED}, {level}"]
    assert best < actual[f"3-gram, {smoothing.ADD_K}, {level}"]
  speeds = values(rows, "", "tokens_per_second")
  assert len(speeds) == 2
  page = (tmp_path / "run" / "report.md").read_text()
  assert "## Unknown words" in page
  # Rare words are `<unk>`, the same number of them wherever it is said.
  share = r"([\d.]+% of train, [\d.]+% of valid, [\d.]+% of test)"
  [said, *table] = re.findall(share, " ".join(page.split()))[:3]
  assert said == table[1]
  assert table[0].startswith("0.0% of train")
  assert not said.startswith("0.0%")
  first = re.search(
    r"\(([\d.]+%) of the test text is `<unk>`", " ".join(page.split())
  )
  assert f"{first[1]} of test" in said
  figures = {path.stem for path in (tmp_path / "run/figures").iterdir()}
  assert figures == {"smoothing_words", "smoothing_characters"}


def test_the_published_perplexity_of_the_penn_treebank(run, real_data):
  """Within 1 % of 141, fast: counting and scoring at order 5."""
  config = settings(
    levels=("words",), orders=(5,), added=(1.0,), pseudo_counts=(10.0,)
  )
  config.settings.update(min_frequencies=())
  config.data.update(source="ptb", limit=0)
  rows = run(config, data_dir=real_data)["rows"]
  [best] = [row for row in rows if row["reference"] is not None]
  assert best["value"] == pytest.approx(best["reference"], rel=0.01)
  assert best["value"] == pytest.approx(141.19, abs=0.01)
  assert best["count"] == 82_430
  # 20 on a quiet machine, with room for a busy one: it takes about 2.
  assert best["seconds"] < 60
  actual = values(rows, "words")
  plain = actual[f"5-gram, {smoothing.INTERPOLATED}, words"]
  assert plain == pytest.approx(143.51, abs=0.01)
  assert actual[f"5-gram, {smoothing.BACKING}, words"] > plain


def beside(corpus_file, folder, **changes):
  config = settings(
    **({"levels": ("characters",), "beside": str(folder)} | changes)
  )
  config.data.update(source="text", path=str(corpus_file), limit=0)
  return config


def test_networks_of_the_same_text_are_set_beside(
  run, small, corpus_file, tmp_path
):
  trained = run(small(), "trained")["rows"]
  rows = run(beside(corpus_file, tmp_path / "trained"))["rows"]
  [own] = [
    row
    for row in trained
    if (row["split"], row["metric"]) == ("test", "bits_per_character")
  ]
  [actual] = [row for row in rows if row["name"].startswith("trained: ")]
  assert actual["value"] == own["value"]
  page = (tmp_path / "run" / "report.md").read_text()
  assert "## Beside networks" in page
  figures = (results.figure(x) for x in (2 ** own["value"], own["value"]))
  assert f"| {' | '.join(figures)} | 280 |" in page
  # Another text, cut short, or other symbols: no comparison.
  other = tmp_path / "other.txt"
  other.write_text(corpus_file.read_text() * 2, "utf-8")
  refused = (
    beside(other, tmp_path / "trained"),
    beside(corpus_file, tmp_path / "trained", levels=("words",)),
    settings(beside=str(tmp_path / "trained")),
  )
  for i, config in enumerate(refused):
    with pytest.raises(
      errors.UserError, match="of characters of source 'text'"
    ):
      run(config, f"refused{i}")
  with pytest.raises(errors.UserError, match="at_all: does not exist; give"):
    run(beside(corpus_file, "/nowhere/at_all"), "refused")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"orders": ()}, "orders is .*; give at least one order"),
    ({"orders": (1, 0)}, "orders is .1, 0. and the training text has 2,000"),
    ({"orders": (2, 9_999)}, "orders is .2, 9999. and the training text has"),
    ({"levels": ("word",)}, "names 'word'; .* words, characters"),
    ({"pseudo_counts": (-3.0,)}, "a pseudo-count is -3.0"),
  ],
)
def test_bad_settings_are_named(run, tmp_path, changes, message):
  with pytest.raises(errors.UserError, match=message):
    run(settings(**changes))
  assert not (tmp_path / "run" / "results.json").exists()


def test_words_of_other_scripts_come_out_whole(run, tmp_path):
  """Vowel signs and accents that are characters of their own stay inside."""
  words = ["हिन्दी", "में", "लिखा", "cafe\u0301", "nai\u0308ve"]
  path = tmp_path / "words.txt"
  path.write_text(" ".join(words * 40) + "\n", "utf-8")
  config = settings(levels=("words",), min_frequencies=(1,))
  config.data.update(source="text", path=str(path), limit=0)
  run(config)
  page = (tmp_path / "run" / "report.md").read_text("utf-8")
  _, _, samples = page.partition("shows what its order can hold")
  samples = samples.partition("## Unknown words")[0].split("```")[1]
  for line in samples.split("n = ")[1:]:
    assert set(line.split()[1:]) <= {*words, "<unk>"}
  assert "हिन्दी" in samples


def test_an_empty_text_is_named(run, tmp_path):
  path = tmp_path / "empty.txt"
  path.write_text("")
  config = settings()
  config.data.update(source="text", path=str(path), limit=0)
  with pytest.raises(errors.UserError, match=r"empty\.txt is empty"):
    run(config)
