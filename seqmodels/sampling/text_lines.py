"""Long texts as short lines, for a network that writes line by line."""

import re
import textwrap

from seqmodels import errors


def broken(text: str, width: int) -> list[str]:
  r"""Breaks a text at its spaces into lines of at most `width` characters.

  As in TeX and Markdown, a single newline is a space, and blank lines part
  paragraphs; so they do in the result, where one empty string stands for them.
  Several spaces become one; a hyphen is no place to break. A word longer than
  `width` is cut.

  Args:
    text: any text; white space around it is dropped.
    width: the most characters a line may have, about as many as the lines the
      network has seen.

  Returns:
    The lines, in order; none begins or ends with a space, and the first and
    the last are not empty.

  Raises:
    errors.UserError: nothing but white space, or a width below 1.

  >>> broken("It is a truth\nuniversally known.\n\nHe came.", 12)
  ['It is a', 'truth', 'universally', 'known.', '', 'He came.']
  """
  if width < 1:
    raise errors.UserError(
      f"the width of a line is {width} characters; it must be at least 1"
    )
  if not text.strip():
    raise errors.UserError(
      f"the text to write is {text!r}; give at least one character that is "
      "no white space"
    )
  lines: list[str] = []
  for paragraph in re.split(r"\n\s*\n", text.strip()):
    wrapped = textwrap.wrap(
      " ".join(paragraph.split()), width, break_on_hyphens=False
    )
    # Before a word that it cuts, textwrap leaves a space that fills the line.
    lines += [line.rstrip() for line in wrapped]
    lines.append("")
  return lines[:-1]
