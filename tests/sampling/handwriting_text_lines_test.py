"""Texts in lines: nothing lost, nothing too long."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from seqmodels import errors
from seqmodels.sampling import handwriting

TEXTS = st.text("ab -.\n\t", min_size=1, max_size=80).filter(str.strip)


@settings(deadline=None)
@given(text=TEXTS, width=st.integers(1, 30))
@example(text="aaaaa aaa", width=2)
def test_every_character_is_kept_and_no_line_is_too_long(text, width):
  lines = handwriting.broken(text, width)
  assert "".join("".join(lines).split()) == "".join(text.split())
  assert all(len(line) <= width and line == line.strip() for line in lines)
  assert lines[0]
  assert lines[-1]


@settings(deadline=None)
@given(text=TEXTS, width=st.integers(1, 30))
def test_a_word_is_cut_only_where_it_is_longer_than_a_line(text, width):
  words = text.split()
  if max(map(len, words)) <= width:
    assert " ".join(handwriting.broken(text, width)).split() == words


def test_lines_are_as_full_as_they_can_be():
  text = "one two three four five"
  assert handwriting.broken(text, 9) == ["one two", "three", "four five"]
  assert handwriting.broken(text, len(text)) == [text]


def test_a_hyphen_is_no_place_to_break():
  lines = handwriting.broken("a well-known word", 11)
  assert lines == ["a", "well-known", "word"]


def test_blank_lines_part_paragraphs_and_single_newlines_do_not():
  text = "\n\n first\npart \n \n\n\tsecond  part\r\n\r\nthird\n"
  assert handwriting.broken(text, 20) == [
    "first part", "", "second part", "", "third",
  ]  # fmt: skip


@pytest.mark.parametrize("text", ["", " ", "\n\t\n"])
def test_nothing_to_write_is_refused(text):
  with pytest.raises(errors.UserError, match="give at least one character"):
    handwriting.broken(text, 10)


@pytest.mark.parametrize("width", [0, -3])
def test_a_width_of_nothing_is_refused(width):
  with pytest.raises(errors.UserError, match=f"is {width} characters; it must"):
    handwriting.broken("word", width)
