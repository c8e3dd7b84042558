"""Prose reduced to its words, as textbooks count them.

Lower-case letters stay, and every run of anything else becomes one space: the
preprocessing of Dive into Deep Learning (Zhang et al.), over all alphabets.
"""

import re

# Word characters that are neither digits nor underscores: Unicode's letters.
_OTHER = re.compile(r"[\W\d_]+")


def letters(text: str) -> str:
  """The text in lower case, one space for every run of other characters.

  Cleaning twice changes nothing. Of a text in ASCII only `a` to `z` and single
  spaces are left; a space that begins or ends it stays, so that pieces of a
  text may be cleaned one by one and joined.

  >>> letters("The Time Machine, by H. G. Wells [1898]")
  'the time machine by h g wells '

  Args:
    text: any text; a `<unk>` in it would become the word `unk`.
  """
  return _OTHER.sub(" ", text.lower())


def words(text: str) -> list[str]:
  """The words of `letters`.

  >>> words("It isn't 4 o'clock.")
  ['it', 'isn', 't', 'o', 'clock']
  """
  return letters(text).split()
