"""Notes in tables on scores that look better, or worse, than they are."""

import gzip
import math

import pytest

from configs import text as text_page
from experiments import stages, train
from experiments.language_model import evaluate
from seqmodels import errors
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary


def test_unknown_symbols_are_said_and_compressors_see_the_text(
  small, run, corpus_file, tiny_corpus, tmp_path, capsys
):
  edge = len(tiny_corpus) * 95 // 100
  new = (chr(0x4E00 + number) for number in range(2000))
  strange = [next(new) if c == " " else c for c in tiny_corpus[edge:]]
  text = tiny_corpus[:edge] + "".join(strange)
  text = text.replace("\n", "\u2028\n", 1)
  corpus_file.write_text(text, encoding="utf-8")
  results = run(small(baselines__compressors=True, baselines__ngram_order=2))
  test = [row for row in results["rows"] if row["split"] == "test"]
  count = test[0]["count"]
  unknown = sum(ord(c) > 127 for c in text[-count:])
  assert unknown > 20

  gz = next(row for row in test if row["name"].startswith("gzip -9;"))
  size = len(gzip.compress(text[-count:].encode(), 9, mtime=0))
  assert gz["value"] == pytest.approx(8 * size / count)
  assert f"{unknown} symbols of it are <unk> to the network" in gz["name"]

  said = f"{100 * unknown / count:.1f}% of this split is <unk>"
  scored = [row for row in test if row["evaluation"] != "compressed"]
  assert len(scored) == 3  # bits, errors, and the n-gram's bits
  assert all(row["name"].endswith(said) for row in scored)
  others = [row for row in results["rows"] if row["split"] != "test"]
  assert others
  assert not any("<unk>" in row["name"] for row in others)
  told = capsys.readouterr()
  assert f"{100 * unknown / count:.1f}% of this" in told.out
  assert (
    "warning: corpus.txt has line ends other than '\\n': 1 U+2028" in told.err
  )
  page = (tmp_path / "run" / "report.md").read_text()
  assert f"- unknown symbols, test: {said}" in page


def rows_of(nats, count=100):
  """Rows of a score among five symbols, with 40 of 100 unknown."""
  symbols = vocabulary.Vocabulary(("<unk>", *"abcd"))
  tokens = tokens_lib.Tokens(
    splits={"test": symbols.encode(["a"] * 60 + ["<unk>"] * 40)},
    vocabulary=symbols,
    provenance={"note": ""},
    sentence_end=None,
    words_per_split={"test": 100},
    characters_per_split={"test": 100},
    unknown_per_split={"test": 40},
    bytes_per_split={},
  )
  context = stages.Context(
    text_page.get_config(), None, tokens, None, None, 0, None
  )
  actual = {"nats": nats, "count": count, "errors": 1, "seconds": 1.0}
  return evaluate.rows_of(context, "test", "dynamic", actual, note="sgd")


@pytest.mark.parametrize(
  ("nats", "worse"),
  [(100 * math.log(4.99), False), (100 * math.log(5.01), True)]
  + [(value, True) for value in (1e40, math.inf, math.nan)],
)
def test_a_score_that_needs_no_network_says_so(nats, worse):
  for row in rows_of(nats):
    _, *notes = row["name"].split("; ")
    assert notes == [
      "sgd",
      *(["WORSE than uniform guesses among 5 symbols"] if worse else []),
      "40.0% of this split is <unk>",
    ]


@pytest.mark.parametrize(
  ("sampling", "less"),
  [
    ("sequential", "a smaller config.training.segment, config.training.batch"),
    ("sentences", "shorter lines or config.training.batch"),
  ],
)
def test_memory_that_training_exhausts_is_told_so(
  small, run, monkeypatch, sampling, less
):
  def exhausted(*_):
    raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes")

  monkeypatch.setattr(train, "train", exhausted)
  config = small(
    data__sentences=sampling == "sentences", training__sampling=sampling
  )
  with pytest.raises(errors.RunError) as caught:
    run(config)
  assert str(caught.value).startswith(f"out of memory during training; {less} ")
