"""Lines of forms: in the lists' order, each error with its file."""

import pytest

from seqmodels import errors
from seqmodels.data.handwriting import iam_ondb, strokes

FORMS = ["b01-000", "a01-000u", "a01-001"]
PLACE = "lineStrokes/a01/a01-000/a01-000u"


@pytest.fixture
def parse(tiny_iamondb, tmp_path):
  def run(forms=FORMS, packed=True, **settings):
    base = (
      tiny_iamondb(tmp_path / "data", packed=packed, **settings) / "iamondb"
    )
    end = "-all.tar.gz" if packed else ""
    return iam_ondb.parse(
      base / f"lineStrokes{end}", base / f"ascii{end}", forms
    )

  return run


@pytest.mark.parametrize("packed", [True, False])
def test_lines_come_form_by_form_with_what_they_say(parse, packed):
  lines = parse(packed=packed)
  assert dict(zip(lines.names, lines.texts, strict=True)) == {
    "b01-000-01": "Line 1 of b.",
    "b01-000-02": "Line 2 of b.",
    "b01-000-03": "Line 3 of b.",
    "a01-000u-01": "Line 1 of a.",
    "a01-000u-02": "Line 2 of a.",
    "a01-001-01": "",
    "a01-001-02": "",
  }
  assert lines.names[0] == "b01-000-01"
  # 3 + number + length of the form's name, less the origin.
  assert lines.lengths.tolist() == [10, 11, 12, 11, 12, 10, 11]


def test_points_are_those_of_the_line(parse, tmp_path):
  lines = parse(packed=False)
  data = (tmp_path / "data" / "iamondb" / f"{PLACE}-02.xml").read_bytes()
  expected = strokes.offsets(iam_ondb.read_strokes(data))
  assert lines.line(lines.index("a01-000u-02")).tolist() == expected.tolist()


@pytest.mark.parametrize(
  ("name", "data", "message"),
  [
    (f"{PLACE}-01.xml", b"<", r"a01-000u-01\.xml: malformed XML"),
    (f"{PLACE}-x.xml", b"<a/>", r"u-x\.xml: 'a01-000u-x' is no line"),
    (f"{PLACE}-001.xml", None, ""),
    ("lineStrokes/other/a01-000u-01.xml", b"<a/>", "another file holds this l"),
    ("ascii/a01/a01-000/a01-000u.txt", b"OCR:", r"a01-000u\.txt: the trans"),
    ("ascii/other/a01-000u.txt", b"CSR:\n", "another file holds this form"),
  ],
)
def test_errors_name_the_file(parse, name, data, message):
  if data is None:
    assert len(parse(change={name: data})) == 7
    return
  with pytest.raises(errors.UserError, match=message) as caught:
    parse(change={name: data})
  assert "-all.tar.gz: " in str(caught.value)


def test_a_line_of_no_listed_form_is_not_even_parsed(parse):
  place = "lineStrokes/z01/z01-000/z01-000-01.xml"
  assert len(parse(change={place: b"no XML"})) == 7


def test_a_form_without_a_transcript_has_lines_without_text(parse):
  lines = parse(change={"ascii/b01/b01-000/b01-000.txt": None})
  assert lines.texts == ("", "", "", "Line 1 of a.", "Line 2 of a.", "", "")


def test_forms_that_are_not_there_are_named(parse):
  forms = [*FORMS, *(f"y{n:02d}-000" for n in range(7))]
  with pytest.raises(
    errors.UserError,
    match=r"no lines of the listed forms y00-000, .*, y04-000 and 2 more;",
  ):
    parse(forms)
