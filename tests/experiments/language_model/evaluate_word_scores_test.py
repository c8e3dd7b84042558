"""Scores of one alphabet in the unit of the other."""

import math

import numpy as np
import pytest

from configs import penn_char, penn_word
from experiments import published, stages
from experiments.language_model import evaluate, task
from seqmodels import units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary

TEXT = "the cat sat\non a mat\nso it was"  # 9 words, 2 line ends, one cut off


@pytest.fixture(scope="module")
def real_tokens(real_data):
  """The whole Penn Treebank by tokenizer."""
  return {
    page.get_config().data.tokenizer: task.load_tokens(
      page.get_config(), real_data
    )
    for page in (penn_char, penn_word)
  }


def context(config, tokens):
  return stages.Context(config, None, tokens, None, None, 0, None)


def character_tokens(text):
  symbols = vocabulary.Vocabulary(tuple(sorted(set(text))))
  return tokens_lib.Tokens(
    splits={"test": symbols.encode(text, symbols.id_dtype)},
    vocabulary=symbols,
    provenance={},
    sentence_end=None,
    words_per_split={"test": len(text.split()) + text.count("\n") + 1},
    characters_per_split={"test": len(text)},
    unknown_per_split={"test": 0},
    bytes_per_split={},
  )


def totals(nats, count):
  return {"nats": nats, "count": count, "seconds": 2.0}


def of_text(config, evaluation="static", *, nats=20.0, count=len(TEXT)):
  return evaluate.word_rows(
    context(config, character_tokens(TEXT)),
    "test",
    evaluation,
    totals(nats, count),
    "net",
  )


def test_a_character_net_has_a_perplexity_of_each_way_to_count_words():
  alone, with_ends = of_text(penn_char.get_config())
  assert alone["value"] == pytest.approx(math.exp(20.0 / 9))
  assert with_ends["value"] == pytest.approx(math.exp(20.0 / 12))
  assert (alone["unit"], with_ends["unit"]) == (
    "per word", "per word or line end",
  )  # fmt: skip
  assert alone["count"] == with_ends["count"] == len(TEXT)
  assert f"of {len(TEXT) / 9:.3f} characters" in alone["name"]


@pytest.mark.parametrize(
  ("variant", "evaluation", "paper"),
  [
    ("plain", "static", 167),
    ("plain", "dynamic", 148),
    ("weight_noise", "static", 140),
    ("weight_noise", "dynamic", 124),
    ("adaptive_weight_noise", "static", 133),
    ("adaptive_weight_noise", "dynamic", 122),
    ("dropout", "dynamic", None),
  ],
)
def test_only_the_papers_way_of_counting_has_its_value(
  variant, evaluation, paper
):
  alone, with_ends = of_text(penn_char.get_config(variant), evaluation)
  assert alone["reference"] == paper
  assert with_ends["reference"] is None


def test_a_part_of_a_split_or_other_data_have_none():
  config = penn_char.get_config()
  assert of_text(config, count=len(TEXT) - 1) == []
  config.data.source = "text"
  assert of_text(config) == []


def test_on_the_real_test_split_the_papers_relation_comes_out(real_tokens):
  config, tokens = penn_char.get_config(), real_tokens["characters"]
  assert tokens.characters_per_split["test"] == published.TEST_CHARACTERS
  assert evaluate.line_ends(tokens, "test") == published.TEST_LINES
  assert tokens.words_per_split["test"] == 82_430
  for line in published.TABLE_1[:6]:
    count = len(tokens.splits["test"])
    nats = line.bits * math.log(2) * count
    alone, _ = evaluate.word_rows(
      context(config, tokens), "test", "static", totals(nats, count), "net"
    )
    # The paper: 5.6 characters a word, its bits rounded to two digits.
    assert alone["value"] == pytest.approx(2 ** (5.6 * line.bits), rel=0.025)
    assert alone["value"] == pytest.approx(line.perplexity, rel=0.05)


def test_a_word_nets_bits_are_those_of_its_characters(real_tokens, real_data):
  config, tokens = penn_word.get_config(), real_tokens["words"]
  count = len(tokens.splits["test"])
  nats = count * math.log(138)
  (bits,) = evaluate.word_rows(
    context(config, tokens), "test", "static", totals(nats, count), "net"
  )
  text = (real_data / "ptb" / "ptb.test.txt").read_text()
  characters = sum(len(line.strip()) + 1 for line in text.splitlines())
  assert bits["value"] == pytest.approx(82_430 * np.log2(138) / characters)
  assert bits["reference"] is None
  assert bits["metric"] == "bits_per_character"


def test_both_alphabets_agree_on_one_text(real_tokens):
  """Equal nats: the character net's row is the word net's perplexity."""
  nats = 412_345.6
  (pages, values) = (penn_char, penn_word), []
  for page in pages:
    config = page.get_config()
    tokens = real_tokens[config.data.tokenizer]
    count = len(tokens.splits["test"])
    rows = evaluate.word_rows(
      context(config, tokens), "test", "static", totals(nats, count), "net"
    )
    own = stages.score(task.UNITS[config.data.tokenizer].metric, nats, count)
    values.append((own, rows[-1]["value"]))
  (character_bits, converted), (word_perplexity, bits) = values
  assert converted == pytest.approx(word_perplexity)
  assert bits == pytest.approx(character_bits)
  assert bits == pytest.approx(units.bits_per_symbol(nats, 442_423))
