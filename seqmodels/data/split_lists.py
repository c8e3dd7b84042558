"""The official lists that split IAM-OnDB by forms, and Graves' use of them."""

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from seqmodels import errors
from seqmodels.data import files

# The longest list has 7,724 bytes.
_LARGEST = 1 << 20


class Published(NamedTuple):
  """What an official list is known to hold.

  Attributes:
    forms: how many it names.
    lines: how many lines they have.
    sha256: of the sorted forms, one a line without a last newline.
  """

  forms: int
  lines: int
  sha256: str


LISTS = {
  "trainset": Published(
    775,
    5364,
    "4f8e24257843725254dd7787220060a63d9943883e7ebff61cd9e5db7070bc06",
  ),
  "testset_f": Published(
    544,
    3859,
    "bb144b9a5b7e4739a9c2d588dfe93f3c0198a141d8ab6f6a8612c73e64356394",
  ),
  "testset_t": Published(
    216,
    1518,
    "5b581de5386a869e3fb2be77f95f6ddd3a9adcc9b7500bca68e1211db24c6583",
  ),
  "testset_v": Published(
    192,
    1438,
    "ca7e3edddc8e89f161aad3be2a18b938189a2444ffd62ac5789bbec3ecdd9102",
  ),
}

# Graves (2013, section 4.1) trains on all but the smaller validation set, which
# stops the training and which his tables report: 10,741 and 1,438 lines.
GRAVES = {
  "train": ("trainset", "testset_f", "testset_t"),
  "valid": ("testset_v",),
}


def forms_of(path: str | os.PathLike[str]) -> list[str]:
  """The forms that a list names, in its order and each once.

  Args:
    path: of a text file, a form such as a01-000u a line.

  Raises:
    UserError: it cannot be read, or is no such list.
  """
  with files.opened(path) as file:
    data = file.read(_LARGEST + 1)
  words = data.decode("iso-8859-1").split()
  wrong = [word for word in words if not re.fullmatch(r"[\w-]{1,40}", word)]
  if len(data) > _LARGEST or wrong or not words:
    hint = f" but begins with {wrong[0][:40]!r}" if wrong else ""
    raise errors.UserError(
      f"{os.fspath(path)} ({len(data):,} bytes) should name a form such as "
      f"a01-000u a line{hint}; get it anew"
    )
  return list(dict.fromkeys(words))


def refuse_overlap(lists: Mapping[str, Sequence[str]]) -> None:
  """Checks that no form is in two lists.

  >>> refuse_overlap({"one": ["a", "b"], "other": ["c"]})

  Args:
    lists: the forms of each.

  Raises:
    UserError: one is.
  """
  seen: dict[str, str] = {}
  for name, forms in lists.items():
    for form in forms:
      if seen.setdefault(form, name) != name:
        raise errors.UserError(
          f"form {form} is in the lists {seen[form]} and {name}; leave it in "
          "one, or what is trained on would be tested on"
        )


def check_lines(name: str, forms: Sequence[str], lines: int) -> None:
  """Checks that a published list has the lines that it is known to have.

  Lists of other forms are not checked: they are the user's own.

  Args:
    name: a key of `LISTS`.
    forms: that it names.
    lines: that were found of them.

  Raises:
    UserError: it has not.
  """
  published = LISTS[name]
  if digest(forms) == published.sha256 and lines != published.lines:
    raise errors.UserError(
      f"{lines:,} lines were found of the published list {name}, which has "
      f"{published.lines:,}; get the archive of strokes anew"
    )


def digest(forms: Sequence[str]) -> str:
  """SHA-256 of a list whatever its order, in hexadecimal."""
  return hashlib.sha256("\n".join(sorted(forms)).encode()).hexdigest()
