"""The lines of given forms, from the archives of ink and of transcripts."""

import contextlib
import os
import pathlib
from collections.abc import Container, Iterator, Sequence

import numpy as np

from seqmodels import errors
from seqmodels.data import ink, ink_xml, pen_archive, transcripts
from seqmodels.data.pen_lines import PenLines


def parse(
  strokes: str | os.PathLike[str],
  texts: str | os.PathLike[str],
  forms: Sequence[str],
  *,
  longest_step: float = ink.LONGEST_STEP,
  progress: pen_archive.Progress | None = None,
) -> PenLines:
  """Form by form in the order given, and of each line by line.

  Args:
    strokes: archive or folder of the line files, FORM-LINE.xml.
    texts: archive or folder of the transcripts, FORM.txt.
    forms: the forms wanted, each once; others are passed over.
    longest_step: see `ink.offsets`.
    progress: called with (bytes read, of how many) of the ink.

  Raises:
    UserError: something broken, and in which file; or no lines of a form.
  """
  found: dict[str, dict[int, np.ndarray]] = {form: {} for form in forms}
  for member in pen_archive.members(strokes, ".xml", progress=progress):
    with _naming(strokes, member):
      form, number = transcripts.form_of(_stem(member))
      if form not in found:
        continue
      if number in found[form]:
        raise errors.UserError(
          "another file holds this line; leave one of them"
        )
      found[form][number] = ink.offsets(
        ink_xml.strokes(member.data), longest_step=longest_step
      )
  absent = [form for form, lines in found.items() if not lines]
  if absent:
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    raise errors.UserError(
      f"{os.fspath(strokes)} has no lines of the listed form"
      f"{'s' if len(absent) > 1 else ''} {', '.join(absent[:5])}{more}; get it "
      "anew or take them out of the lists"
    )
  written = _written(texts, found.keys())
  lines = {
    f"{form}-{number:02d}": points
    for form, numbered in found.items()
    for number, points in sorted(numbered.items())
  }
  said = transcripts.matched(lines, written)
  return PenLines.of(
    list(lines.values()), list(lines), [said[name] for name in lines]
  )


def _written(
  texts: str | os.PathLike[str], forms: Container[str]
) -> dict[str, list[str]]:
  """The lines of each form's transcript, of those that have one."""
  written: dict[str, list[str]] = {}
  for member in pen_archive.members(texts, ".txt"):
    form = _stem(member)
    if form not in forms:
      continue
    with _naming(texts, member):
      if form in written:
        raise errors.UserError(
          "another file holds this form; leave one of them"
        )
      written[form] = transcripts.lines_of(member.data)
  return written


def _stem(member: pen_archive.Member) -> str:
  return pathlib.PurePosixPath(member.name).stem


@contextlib.contextmanager
def _naming(
  archive: str | os.PathLike[str], member: pen_archive.Member
) -> Iterator[None]:
  """Says which file of which archive an error is about."""
  try:
    yield
  except errors.UserError as error:
    raise errors.UserError(
      f"{os.fspath(archive)}: {member.name}: {error}"
    ) from error
