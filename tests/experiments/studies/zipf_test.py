"""The study of frequencies: its page, and the textbook's numbers."""

import json
import re

import pytest

from experiments import cli
from seqmodels import errors


def settings(variants="zipf,smoke", **data):
  config = cli.load(f"configs/fundamentals.py:{variants}").config
  config.data.update(data)
  return config


def test_the_smoke_run_leaves_a_page_with_figures(run, tmp_path):
  rows = run(settings())["rows"]
  assert {row["metric"] for row in rows} == {"perplexity"}
  fitted = {row["name"]: row["value"] for row in rows}
  for name in ("words, single", "words, triples", "characters, pairs"):
    # The frequencies themselves are the best code of their own text.
    law, shifted, own = (
      fitted[f"{name}: {x}"]
      for x in ("truncated Zipf law", "Zipf-Mandelbrot law", "own frequencies")
    )
    assert 1 < own <= shifted <= law
  page = (tmp_path / "run" / "report.md").read_text()
  for heading in (
    *("Zipf's law", "Stop words", "Longer documents", "Characters"),
    "Between characters and words",
  ):
    assert f"## {heading}" in page
  # What is made of bytes comes back; words that are new do not.
  for pieces, back in (("bytes | 256", "yes"), ("40 byte pairs | 296", "yes")):
    assert re.search(rf"\| {re.escape(pieces)} \|.*\| {back} \|", page)
  assert re.search(r"\| words \|.*\| no \|", page)
  unknown = re.search(
    r"is `<unk>`; ([\d.]+)% of the new", " ".join(page.split())
  )
  assert 0 < float(unknown[1]) < 100
  figures = {path.stem for path in (tmp_path / "run/figures").iterdir()}
  assert figures == {"zipf_words", "zipf_characters", "growth"}
  saved = json.loads((tmp_path / "run" / "results.json").read_text())
  assert saved["rows"] == rows


def test_the_time_machine_gives_the_textbooks_numbers(run, real_data, tmp_path):
  config = settings("zipf", source="timemachine")
  run(config, data_dir=real_data)
  page = (tmp_path / "run" / "report.md").read_text()
  assert "the time machine by h g wells" in page
  assert "| number | 1 | 19 | 50 | 0 |" in page
  assert "['the', 'time', 'machine', 'asdsa'] -> [1, 19, 50, 0]" in page
  flowing = " ".join(page.split())
  assert "32,775 tokens, and 4,579 different ones" in flowing
  ranks = [
    *("the 2,261", "i 1,267", "and 1,245", "of 1,155", "a 816", "to 695"),
    *("was 552", "in 541", "that 443", "my 440"),
  ]
  pairs = [
    *("of the 309", "in the 169", "i had 130", "i was 112", "and the 109"),
    *("the time 102", "it was 99", "to the 85", "as i 78", "of a 73"),
  ]
  triples = [
    *("the time traveller 59", "the time machine 30", "the medical man 24"),
    *("it seemed to 16", "it was a 15", "here and there 15"),
    *("seemed to me 14", "i did not 14", "i saw the 13", "i began to 13"),
  ]
  for rank, row in enumerate(zip(ranks, pairs, triples, strict=True), 1):
    cells = (f"`{' '.join(c.split()[:-1])}` {c.split()[-1]}" for c in row)
    assert f"| {rank} | {' | '.join(cells)} |" in page
  for line in (
    "| 1 | 32,775 | 4,579 | 0.523 |",
    "| 2 | 32,774 | 20,234 | 0.822 |",
    "| 3 | 32,773 | 29,882 | 0.945 |",
    # Least count, vocabulary, unknown words in %.
    "| 2 | 2,183 | 7.3 |",
    "| 5 | 825 | 18.1 |",
    "| 50 | 85 | 46.3 |",
    # The four fits: unigrams steeper than bigrams steeper than trigrams.
    "| single | 1.035 (0.97) | 1.044 (1.00) | 1.038 (0.99) | 0.974 ± 0.002 | ",
    "| pairs | 0.464 (0.81) | 0.689 (0.99) | 0.678 (0.99) | 0.605 ± 0.003 | ",
    "| triples | 0.164 (0.53) | 0.466 (0.95) | 0.397 (0.97) | 0.259 ± 0.004 | ",
  ):
    assert line in page, line
  assert "2,397 of the 4,579 types occur once" in flowing
  assert "('the', 2261)\n('i', 1267)\n('and', 1245)" in page
  assert "Of the 10 most frequent pairs, 9 are two stop words" in flowing


def test_the_textbooks_example_is_shown_where_its_text_is_at_hand(
  run, real_data, tmp_path
):
  run(settings(), "with", data_dir=real_data)
  run(settings(), "without")
  shown = "['the', 'time', 'machine', 'asdsa'] -> [1, 19, 50, 0]"
  assert shown in (tmp_path / "with" / "report.md").read_text()
  assert shown not in (tmp_path / "without" / "report.md").read_text()


def test_the_penn_treebank_is_taken_as_it_is(run, real_data, tmp_path):
  run(settings(source="ptb", limit=400), data_dir=real_data)
  page = (tmp_path / "run" / "report.md").read_text()
  assert "aer banknote berlitz calloway" in page
  assert "`<unk>`" in page


def test_any_file_will_do(run, tmp_path):
  path = tmp_path / "german.txt"
  path.write_text("Über den Wolken, über dem Meer. Über allem?\n" * 3, "utf-8")
  config = settings(source="text", path=str(path), limit=0)
  config.settings.example = "über wolken"
  run(config)
  page = (tmp_path / "run" / "report.md").read_text()
  assert "| number | 1 | 3 |" in page


def test_words_of_other_scripts_come_out_whole(run, tmp_path):
  """Vowel signs and accents that are characters of their own stay inside."""
  path = tmp_path / "words.txt"
  path.write_text("हिन्दी में लिखा, cafe\u0301 nai\u0308ve! हिन्दी?\n" * 3, "utf-8")
  config = settings(source="text", path=str(path), limit=0)
  config.settings.example = "हिन्दी cafe\u0301"
  run(config)
  page = (tmp_path / "run" / "report.md").read_text("utf-8")
  assert "| 1 | `हिन्दी` 6 |" in page
  assert "| number | 1 | " in page
  assert "`cafe\u0301` 3" in page
  assert "`nai\u0308ve` 3" in page


@pytest.mark.parametrize(
  ("content", "order", "message"),
  [
    (b"12 34, 56!\n" * 20, 3, "has 0 words in 220 characters"),
    (b"one two", 3, "order is 3 and the text has 2 symbols"),
    (b"one two one", 0, "order is 0"),
    (b"one one one", 1, "fitted to 1 symbols"),
    (b"caf\xe9 au lait", 1, "is not UTF-8 at byte 3"),
    (b"", 1, "is empty"),
  ],
)
def test_bad_texts_and_orders_are_named(run, tmp_path, content, order, message):
  path = tmp_path / "text.txt"
  path.write_bytes(content)
  config = settings(source="text", path=str(path), limit=0)
  config.settings.order = order
  with pytest.raises(errors.UserError, match=message):
    run(config)
  assert not (tmp_path / "run" / "results.json").exists()
