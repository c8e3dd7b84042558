"""Transcripts: the corrected part, matched to lines only where they agree."""

import pytest

from seqmodels import errors
from seqmodels.data.handwriting import iam_ondb

FORM = b"OCR:\r\n\r\nonce more\r\n\r\nCSR: \r\n\r\n  once\r\n\r\nmoore \r\n\r\n"


def test_lines_are_those_below_the_second_heading_without_white_space():
  assert iam_ondb.lines_of(FORM) == ["once", "moore"]
  assert iam_ondb.lines_of(FORM.replace(b"\r\n", b"\n")) == ["once", "moore"]
  assert iam_ondb.lines_of(b"CSR:\ncaf\xe9") == ["caf\xe9"]
  assert iam_ondb.lines_of(b"CSR:\n") == []


@pytest.mark.parametrize("data", [b"", b"OCR:\nCSR : x\n", FORM + FORM])
def test_a_transcript_has_the_part_once(data):
  with pytest.raises(errors.UserError, match="lines 'CSR:'; it must have 1"):
    iam_ondb.lines_of(data)


@pytest.mark.parametrize(
  "name", ["a01", "-01", "a01-000u", "a01-x", "a-\xb2", "a-" + "1" * 5_000]
)
def test_names_that_are_no_lines_are_refused(name):
  with pytest.raises(errors.UserError, match="is no line of the database"):
    iam_ondb.form_of(name)


@pytest.mark.parametrize(
  ("names", "texts"),
  [
    (["f-01", "f-02"], ["one", "two"]),
    (["f-02", "f-01"], ["two", "one"]),
    (["f-01"], [""]),  # a line file too few
    (["f-01", "f-02", "f-03"], [""] * 3),  # one too many
    (["f-01", "f-03"], [""] * 2),  # as many, but another
    (["f-00", "f-01"], [""] * 2),
    (["f-02", "f-2"], [""] * 2),  # the same twice
    (["g-01", "g-02"], [""] * 2),  # no transcript
  ],
)
def test_lines_have_a_text_where_numbers_agree(names, texts):
  actual = iam_ondb.matched(names, {"f": ["one", "two"]})
  assert [actual[name] for name in names] == texts
