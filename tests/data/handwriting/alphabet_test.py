"""Alphabets: ids and back, the class of other marks, what is refused."""

import string

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import alphabet as alphabets

GRAVES, FULL = alphabets.GRAVES, alphabets.FULL


def test_graves_has_57_symbols_of_which_one_is_a_class():
  assert GRAVES.size == 57
  assert set(GRAVES.symbols) == set(string.ascii_letters + ' .,"#')
  for character in string.digits + "'-?!:;()#+&/[]*%":
    assert GRAVES.ids[character] == GRAVES.other


def test_full_tells_all_its_characters_apart():
  assert FULL.size == 81
  assert FULL.other is None
  assert FULL.accepted == "".join(sorted(FULL.symbols))


@pytest.mark.parametrize("alphabet", [GRAVES, FULL])
@hypothesis.given(data=st.data())
def test_ids_are_the_characters_and_come_back(alphabet, data):
  text = data.draw(st.text(alphabet.accepted, min_size=1))
  ids = alphabet.encode(text)
  assert ids.dtype == np.int32
  other = None if alphabet.other is None else alphabet.symbols[alphabet.other]
  assert alphabet.decode(ids) == "".join(
    character if character in alphabet.symbols else other for character in text
  )
  np.testing.assert_array_equal(alphabet.encode(alphabet.decode(ids)), ids)


def test_characters_without_an_id_are_named_with_their_places():
  with pytest.raises(errors.UserError) as caught:
    FULL.encode("caf\xe9 \u2014 \xe9\n")
  message = str(caught.value)
  assert "'\xe9' at position 3, '\u2014' at position 5" in message
  assert "'\\n' at position 8" in message
  assert "A-Z, a-z, 0-9, space and " in message
  assert "\n" not in message


@pytest.mark.parametrize(
  ("symbols", "other", "collapsed"),
  [
    (("a", "bc"), None, ""),
    (("a", 1), None, ""),
    (("a", "a"), None, ""),
    (("a",), 0, ""),
    (("a",), None, "x"),
    (("a",), 1, "x"),
    (("a",), -1, "x"),
    (("a",), "0", "x"),
  ],
)
def test_what_is_no_alphabet_is_refused(symbols, other, collapsed):
  with pytest.raises(ValueError):
    alphabets.Alphabet(symbols, other, collapsed)


def test_many_characters_without_an_id_are_not_all_listed():
  with pytest.raises(errors.UserError, match="and 92 more") as caught:
    GRAVES.encode("".join(map(chr, range(0x400, 0x464))))
  assert len(str(caught.value)) < 600


def test_a_text_has_at_least_a_character_and_no_book():
  with pytest.raises(errors.UserError, match="the text is empty"):
    GRAVES.encode("")
  assert len(GRAVES.encode("a" * alphabets.MAX_LINE)) == alphabets.MAX_LINE
  with pytest.raises(errors.UserError, match="has 251 characters"):
    GRAVES.encode("a" * (alphabets.MAX_LINE + 1))


@pytest.mark.parametrize("number", [-1, 57])
def test_ids_outside_the_alphabet_are_refused(number):
  with pytest.raises(errors.UserError, match=f"id {number} is outside"):
    GRAVES.decode([0, number])


def test_an_unknown_alphabet_is_named_with_those_there_are():
  with pytest.raises(errors.UserError, match=r"'grave'.*mean 'graves'"):
    alphabets.named("grave")


@pytest.mark.parametrize(
  "arguments",
  [(("ab",),), (("a", "a"),), (("a",), 0), (("a",), None, "b")],
)
def test_alphabets_that_contradict_themselves_are_refused(arguments):
  with pytest.raises(ValueError):
    alphabets.Alphabet(*arguments)
