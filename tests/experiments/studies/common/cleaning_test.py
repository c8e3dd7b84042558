"""Cleaning: idempotent, nothing but letters and single spaces."""

import hypothesis
import hypothesis.strategies as st

from experiments.studies.common import cleaning
from experiments.studies.zipf import study
from seqmodels.data.text import corpora, vocabulary


@hypothesis.given(st.text())
def test_cleaning_twice_changes_nothing(text):
  once = cleaning.letters(text)
  assert cleaning.letters(once) == once


@hypothesis.given(st.text(alphabet=st.characters(max_codepoint=127)))
def test_ascii_leaves_small_letters_and_single_spaces(text):
  cleaned = cleaning.letters(text)
  assert set(cleaned) <= set("abcdefghijklmnopqrstuvwxyz ")
  assert "  " not in cleaned
  assert cleaning.words(text) == cleaned.split()
  letters = [c for c in text.lower() if c.isalpha()]
  assert [c for c in cleaned if c != " "] == letters


def test_other_alphabets_keep_their_letters():
  assert cleaning.words("Über 4 Straßen, что?") == ["über", "straßen", "что"]


def test_combining_marks_belong_to_their_word():
  assert cleaning.words("हिन्दी में लिखा है।") == ["हिन्दी", "में", "लिखा", "है"]
  decomposed = "cafe\u0301 nai\u0308ve"
  assert cleaning.words(decomposed) == decomposed.split()
  # A mark without a letter is no word.
  assert cleaning.words("\u0301a 1\u0301 b") == ["a", "b"]


def test_a_text_without_letters_has_no_words():
  assert cleaning.letters("12_34\n!") == " "
  assert cleaning.words("12_34\n!") == []
  assert cleaning.letters("") == ""


def test_the_time_machine_has_the_lengths_of_both_editions(real_data):
  corpus = corpora.load_time_machine(real_data, downloads=False)
  text = corpus.parts["whole"].tobytes().decode("ascii")
  lines = text.splitlines()
  assert len(lines) == 3_221
  assert cleaning.letters(lines[0]).strip() == "the time machine by h g wells"
  assert len(cleaning.letters(text)) == 173_428
  glued = "".join(cleaning.letters(line).strip() for line in lines)
  assert len(glued) == 170_580
  words = cleaning.words(text)
  assert (len(words), len(set(words))) == (32_775, 4_579)
  title = vocabulary.Vocabulary.build(words).encode(words[:7])
  assert title.tolist() == [1, 19, 50, 40, 2183, 2184, 400]


def test_stop_words_are_words_as_cleaning_leaves_them():
  assert all(cleaning.words(word) == [word] for word in study.STOP_WORDS)
  assert {"the", "of", "i", "t"} <= study.STOP_WORDS
  assert not {"time", "machine"} & study.STOP_WORDS
