"""The study of perplexity: cases, code lengths, continuations, networks."""

import math
import re

import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.studies.common import ngram_counts
from experiments.studies.perplexity import study
from seqmodels import errors, losses, units
from seqmodels.compression import range_coder


def settings(**changes):
  config = cli.load("configs/fundamentals.py:perplexity,smoke").config
  config.settings.update(changes)
  return config


def page_of(tmp_path, name="run"):
  return (tmp_path / name / "report.md").read_text()


def test_the_smoke_run_leaves_a_page_with_figures(run, tmp_path):
  rows = run(settings())["rows"]
  orders = [row for row in rows if row["evaluation"] == "static"]
  assert [row["metric"] for row in orders] == ["perplexity"] * 3
  given = [row for row in rows if row["evaluation"] == "continuation"]
  assert [row["count"] for row in given] == [7, 11, 18]
  assert given[0]["value"] < given[1]["value"] < given[2]["value"]
  page = page_of(tmp_path)
  assert "-gram, not smoothed | infinite | infinite | infinite |" in page
  text = " ".join(page.split())
  ideal, coded = (
    float(re.search(pattern, text)[1])
    for pattern in (r"by ([\d.]+) bytes in all", r"they are (\d+) bytes, from")
  )
  assert ideal - 1 < coded < 1.001 * ideal + 8
  assert "nan" not in page.replace("banana", "")
  # No context: the letters of "banana tree" are the commoner ones.
  assert "| 2, 1, 3 | 1, 2, 3 |" in page
  figures = {path.stem for path in (tmp_path / "run/figures").iterdir()}
  assert figures == {"surprise", "continuations_ngram"}


def test_words_of_other_scripts_come_out_whole(run, tmp_path, monkeypatch):
  """Vowel signs and accents that are characters of their own make prose."""
  words = ["हिन्दी", "में", "लिखा", "cafe\u0301", "nai\u0308ve"]
  path = tmp_path / "words.txt"
  path.write_text(("12345 " + " ".join(words * 30) + "\n") * 20, "utf-8")
  drawn, surprise = [], study.figures.surprise

  def keep(place, title, passages):
    drawn.append("".join(passages[0].symbols))
    surprise(place, title, passages)

  monkeypatch.setattr(study.figures, "surprise", keep)
  config = settings(prefix="हिन्दी", continuations=(" में", " लिखा"))
  config.data.update(source="text", path=str(path), limit=0)
  run(config)
  assert len(drawn[0]) > 20
  assert set(drawn[0].split()) <= set(words)


@pytest.mark.parametrize(
  ("wrong", "bits", "perplexity"),
  [(-np.inf, 0, 1), (0.0, math.log2(28), 28), (None, np.inf, np.inf)],
)
def test_the_pages_cases_are_those_of_the_loss(wrong, bits, perplexity):
  """Certain and right, all alike, and one true symbol held impossible."""
  targets = np.arange(4)
  logits = np.full((4, 28), 0.0 if wrong is None else wrong)
  logits[targets, targets] = 0.0
  if wrong is None:
    logits[2, 2] = -np.inf
  nats, count, _ = losses.nats(
    jnp.asarray(logits), jnp.asarray(targets), jnp.ones(4, bool)
  )
  nats, count = float(nats), int(count)
  assert units.bits_per_symbol(nats, count) == pytest.approx(bits)
  assert units.perplexity(nats, count) == pytest.approx(perplexity)


def test_a_code_of_the_text_is_read_back():
  text = np.random.default_rng(0).integers(5, size=200)
  counts = ngram_counts.NGramCounts.of(text, 5, order=3)
  model = ngram_counts.LaplaceNGram(counts, (1.0,) * 3)
  code, frequencies = study.encode(model, text)
  assert len(code) < 0.9 * 200 * math.log2(5) / 8
  decoder = range_coder.Decoder(code)
  np.testing.assert_array_equal(decoder.decode(frequencies), text)


def test_a_trained_network_is_asked_as_well(run, small, tmp_path):
  run(small(), "trained")
  config = settings(
    restore=str(tmp_path / "trained"),
    prefix="the cat",
    continuations=("sees", "seeess seees"),
  )
  rows = run(config)["rows"]
  asked = [
    row for row in rows if row["name"].startswith("network trained (step 24)")
  ]
  assert [row["count"] for row in asked] == [4, 12]
  assert all(row["value"] > 1 for row in asked)
  assert (tmp_path / "run/figures/continuations_network.png").exists()
  config.settings.prefix = "It is raining"
  with pytest.raises(errors.UserError, match="symbol 'I' at position 0 is not"):
    run(config, "other")


def test_symbols_that_the_text_lacks_are_read_as_unknown(run, tmp_path):
  run(settings(continuations=("outside", "漢字")))
  text = " ".join(page_of(tmp_path).split())
  assert "does not know (2 for the 3-gram) are read as `<unk>`" in text


def test_a_file_gives_prefix_and_continuations(run, tmp_path):
  path = tmp_path / "given.txt"
  path.write_text("The value of\nthe expression\n\nzzz\n", "utf-8")
  rows = run(settings(continuations_file=str(path)))["rows"]
  names = [row["name"] for row in rows if row["split"] == "given"]
  assert names == [
    "3-gram: 'the expression' after 'The value of'",
    "3-gram: 'zzz' after 'The value of'",
  ]


@pytest.mark.parametrize(
  ("content", "message"),
  [
    (b"It is\nra\xefning\n", r"given.txt is not UTF-8 at byte 8 \(0xef\)"),
    (b"It is raining\n", "has 0 continuations"),
    (b"", "has 0 continuations"),
  ],
)
def test_bad_files_are_named(run, tmp_path, content, message):
  path = tmp_path / "given.txt"
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match=message):
    run(settings(continuations_file=str(path)))


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"orders": ()}, "orders has 0 orders"),
    ({"orders": (0,)}, "orders holds 0"),
    ({"orders": (2, 8_888)}, "orders holds 8888 and the training text has"),
    ({"continuations": ()}, "has 0 continuations"),
    ({"continuations": ("a", "")}, "or an empty one"),
    ({"continuations_file": "/nowhere/at_all.txt"}, "cannot read .*at_all.txt"),
    ({"restore": "/nowhere/at_all"}, "/nowhere/at_all"),
    ({"pseudo_count": -1.0}, "a pseudo-count is -1.0"),
  ],
)
def test_bad_settings_are_named(run, tmp_path, changes, message):
  with pytest.raises(errors.UserError, match=message):
    run(settings(**changes))
  assert not (tmp_path / "run" / "results.json").exists()
