"""What the lines of a form say: the corrected part of its transcript."""

import collections
import re
from collections.abc import Iterable, Mapping, Sequence

from seqmodels import errors

_HEADING = "CSR:"


def lines_of(data: bytes) -> list[str]:
  r"""The lines of a form, as they were written on the board.

  A transcript has what a recognizer was given ("OCR:"), and below it what the
  writer made of it, slips and line breaks included ("CSR:"), with empty lines
  between, before and after.

  >>> lines_of(b"OCR:\n\nA MOVE to stop\n\nCSR:\n\nA MOVE\nto stopp \n")
  ['A MOVE', 'to stopp']

  Args:
    data: the file, ISO-8859-1, with any ends of lines.

  Raises:
    UserError: there is no such part, or two of them.
  """
  lines = [line.strip() for line in data.decode("iso-8859-1").splitlines()]
  found = lines.count(_HEADING)
  if found != 1:
    raise errors.UserError(
      f"the transcript has {found} lines {_HEADING!r}; it must have 1, with "
      "the lines of the form below it: get the file anew"
    )
  return [line for line in lines[lines.index(_HEADING) + 1 :] if line]


def form_of(line: str) -> tuple[str, int]:
  """The form of a line, and which of its lines it is, from 1.

  >>> form_of("a01-000u-01")
  ('a01-000u', 1)

  Raises:
    UserError: this is no line's name.
  """
  form, _, number = line.rpartition("-")
  if not form or not re.fullmatch(r"[0-9]{1,6}", number):
    raise errors.UserError(
      f"{line[:80]!r} is no line of the database, whose lines are called like "
      "a01-000u-01"
    )
  return form, int(number)


def matched(
  names: Iterable[str], forms: Mapping[str, Sequence[str]]
) -> dict[str, str]:
  """The text of every line, "" where it is not known.

  Line n of a form says what line n of its transcript does, provided that there
  are as many and they are numbered 1, 2, ...: one too few, and who knows which
  it was. (In the four lists of the database that is one form, a08-551z, with 9
  lines and 8 in the transcript.)

  >>> matched(["a-01", "a-02", "b-01"], {"a": ["one", "two"], "b": ["1", "2"]})
  {'a-01': 'one', 'a-02': 'two', 'b-01': ''}

  Args:
    names: of lines, such as "a01-000u-01"; all of a form that there are.
    forms: the lines of each transcript.
  """
  numbers: dict[str, list[int]] = collections.defaultdict(list)
  places = {name: form_of(name) for name in names}
  for form, number in places.values():
    numbers[form].append(number)
  whole = {
    form
    for form, found in numbers.items()
    if sorted(found) == list(range(1, len(forms.get(form, ())) + 1))
  }
  return {
    name: forms[form][number - 1] if form in whole else ""
    for name, (form, number) in places.items()
  }
