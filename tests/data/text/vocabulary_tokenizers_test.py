"""Tokenizers: what they split, and that joining undoes it."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import vocabulary

texts = st.text(st.characters(exclude_categories=["Cs"]))
spaced = st.text(st.sampled_from("ab é\u00a0\u2028\x1c\t\n\r\f\v"))


def split(name, text):
  data = text if isinstance(text, bytes) else text.encode("utf-8")
  return vocabulary.named(name).split(vocabulary.bytes_(data))


@hypothesis.given(texts)
def test_characters_survive_ids_and_joining(text):
  symbols = split("characters", text)
  assert list(symbols) == vocabulary.characters(text)
  built = vocabulary.Vocabulary.build(symbols)
  ids = built.encode(symbols)
  assert vocabulary.join_characters(built.decode(ids)) == text


@hypothesis.given(st.binary())
def test_bytes_survive_ids_and_joining(data):
  built = vocabulary.Vocabulary.of_bytes()
  ids = built.encode(split("bytes", data))
  assert vocabulary.join_bytes(built.decode(ids)) == data


@hypothesis.given(texts | spaced)
def test_words_survive_ids_and_joining(text):
  symbols = split("words", text)
  built = vocabulary.Vocabulary.build(symbols)
  joined = vocabulary.join_words(built.decode(built.encode(symbols)))
  assert vocabulary.words(joined) == symbols


@hypothesis.given(spaced)
def test_words_are_those_of_each_line_by_ascii_white_space(text):
  expected = []
  for line in text.encode().removesuffix(b"\n").split(b"\n") if text else []:
    expected += [word.decode() for word in line.split()] + ["<eos>"]
  assert vocabulary.words(text) == expected


@hypothesis.given(texts | spaced, st.integers(1, 9))
def test_counting_words_agrees_with_finding_them(text, piece):
  data = vocabulary.bytes_(text.encode("utf-8"))
  assert vocabulary.count_words(data, piece) == len(vocabulary.words(text))


def test_another_end_of_sentence_can_be_chosen():
  assert vocabulary.words("a\nb", eos="</s>") == ["a", "</s>", "b", "</s>"]
  assert vocabulary.join_words(["a", "</s>", "b"], eos="</s>") == "a\nb"


def test_a_mapped_file_is_not_copied_into_memory(tmp_path):
  path = tmp_path / "data"
  path.write_bytes(b"abc")
  mapped = np.memmap(path, np.uint8, mode="r")
  assert vocabulary.named("bytes").split(mapped) is mapped


@pytest.mark.parametrize("name", ["characters", "words"])
def test_text_tokenizers_refuse_what_is_not_utf8(name):
  with pytest.raises(UnicodeDecodeError):
    split(name, b"caf\xe9")


@pytest.mark.parametrize("name", sorted(vocabulary.TOKENIZERS))
def test_each_tokenizer_names_the_symbol_that_ends_a_line(name):
  tokenizer = vocabulary.named(name)
  assert list(split(name, "a\n"))[-1] == tokenizer.sentence_end
  assert tokenizer.name == name


def test_unknown_bytes_are_shown_as_a_question_mark():
  assert vocabulary.join_bytes([72, "<unk>"]) == b"H?"


def test_an_unknown_name_is_refused_with_the_closest():
  with pytest.raises(errors.UserError, match="did you mean 'characters'"):
    vocabulary.named("character")
