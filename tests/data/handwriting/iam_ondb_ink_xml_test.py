"""Line files: read as written, and refused in a sentence where hostile."""

import time

import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.handwriting import iam_ondb

HEAD = '<?xml version="1.0" encoding="ISO-8859-1"?>\n'
SPOT = '<Point x="1" y="2" time="0.5"/>'


def document(*strokes, head=HEAD, root="WhiteboardCaptureSession"):
  written = "".join(f'<Stroke colour="black">{s}</Stroke>' for s in strokes)
  return (
    f"{head}<{root}><WhiteboardDescription/><StrokeSet>{written}</StrokeSet>"
    f"</{root}>"
  ).encode("iso-8859-1")


def test_strokes_are_read_in_order():
  actual = iam_ondb.read_strokes(
    document(SPOT + '<Point time="0.52" y="-3" x="2.5"/>', SPOT)
  )
  assert [stroke.tolist() for stroke in actual] == [
    [[1, 2, 0.5], [2.5, -3, 0.52]],
    [[1, 2, 0.5]],
  ]
  assert all(stroke.dtype == np.float64 for stroke in actual)


@pytest.mark.parametrize(
  ("declared", "codec"),
  [("ISO-8859-1", "iso-8859-1"), ("UTF-8", "utf-8"), ("UTF-16", "utf-16")],
)
def test_the_declared_encoding_is_heeded(declared, codec):
  head = f'<?xml version="1.0" encoding="{declared}"?><!-- caf\xe9 -->'
  text = document(SPOT, head=head).decode("iso-8859-1")
  assert len(iam_ondb.read_strokes(text.encode(codec))) == 1


@pytest.mark.parametrize("declared", ["no-such", "utf-7", "shift_jis", "idna"])
def test_encodings_that_no_line_has_are_refused(declared):
  head = f'<?xml version="1.0" encoding="{declared}"?><!-- caf\xe9 -->'
  with pytest.raises(errors.UserError, match=r"encoding|malformed"):
    iam_ondb.read_strokes(document(SPOT, head=head))


LAUGHS = "".join(
  f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "lol"}">' for i in range(30)
)
HOSTILE = {
  "laughs": f"{HEAD}<!DOCTYPE x [{LAUGHS}]>",
  "file": f'{HEAD}<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
  "type": f"{HEAD}<!DOCTYPE WhiteboardCaptureSession>",
  "network": f'{HEAD}<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
  "parameter": f'{HEAD}<!DOCTYPE x [<!ENTITY % p "y"> %p;]>',
}


@pytest.mark.parametrize("head", HOSTILE.values(), ids=HOSTILE)
def test_document_types_and_entities_are_refused(head):
  begin = time.process_time()
  with pytest.raises(errors.UserError, match="document type or entities"):
    iam_ondb.read_strokes(document("&l29;" + SPOT, head=head))
  assert time.process_time() - begin < 5


@pytest.mark.parametrize(
  ("data", "message"),
  [
    (b"", "malformed XML at line 1, column 0: no element found"),
    (document(SPOT)[:-9], "malformed XML at line 2"),
    (document(SPOT) + b"<a/>", "malformed XML at line 2"),
    (b"\0" * 50, "malformed"),
    (document("&unknown;"), "malformed XML .* entity"),
    (document(SPOT, root="html"), "the XML is a <html>"),
    (document(), "the line has 0 strokes"),
    (document(SPOT, ""), "stroke 2 of 2 has 0 points"),
    (document(SPOT).replace(b"</Stroke>", b"</Strike>"), "mismatched tag"),
    (document(SPOT).replace(b"Stroke", b"Strike"), "outside of any <Stroke>"),
    (document(SPOT + '<Point x="1" y="2"/>'), "point 2 has no 'time'"),
    (document('<Point x="1" y="b" time="0"/>'), "point 1 has y='b'"),
    (document(SPOT + '<Point x="" y="1" time="0"/>'), "point 2 has x=''"),
  ],
)
def test_what_is_no_line_is_refused(data, message):
  with pytest.raises(errors.UserError, match=message) as caught:
    iam_ondb.read_strokes(data)
  assert "\n" not in str(caught.value)


def test_a_huge_attribute_is_quoted_in_part():
  with pytest.raises(errors.UserError, match="it must be a number") as caught:
    iam_ondb.read_strokes(
      document(f'<Point x="{"9x" * 1_000_000}" y="1" time="0"/>')
    )
  assert len(str(caught.value)) < 200


def test_a_file_beyond_the_bound_is_not_parsed():
  data = document(SPOT + " " * iam_ondb.LARGEST_FILE)
  with pytest.raises(errors.UserError, match="at most 4,194,304 are read"):
    iam_ondb.read_strokes(data)


def test_a_million_elements_in_one_another_are_survived():
  deep = "<a>" * 500_000 + "</a>" * 500_000
  assert len(iam_ondb.read_strokes(document(SPOT + deep))) == 1


def test_nan_is_a_number_that_the_ink_refuses():
  actual = iam_ondb.read_strokes(document('<Point x="nan" y="1" time="0"/>'))
  assert np.isnan(actual[0][0, 0])
