"""Text to the ids of a study's characters, and back."""

import re
from collections.abc import Sequence

import numpy as np

from seqmodels import errors
from seqmodels.data.text import tokens as tokens_lib


def encode(tokens: tokens_lib.Tokens, prefix: str) -> np.ndarray:
  """The ids of a prefix, [P].

  Raises:
    UserError: it is empty, or the text has no such character.
  """
  if not prefix:
    raise errors.UserError(
      "config.settings.prefix is empty; give at least one character to go on "
      "from"
    )
  unknown = [x for x in prefix if x not in tokens.vocabulary]
  if unknown:
    raise errors.UserError(
      f"config.settings.prefix is {prefix!r} and {unknown[0]!r} is not among "
      f"the {tokens.vocabulary.size} characters of the text; use its own"
    )
  return tokens.vocabulary.encode(prefix)


def decode(tokens: tokens_lib.Tokens, ids: Sequence[int] | np.ndarray) -> str:
  """The text of some ids."""
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def visible(text: str) -> str:
  r"""The text with a mark for each space of a run of three or more.

  >>> visible("a   b  c")
  'a\u2423\u2423\u2423b  c'
  """
  return re.sub(" {3,}", lambda run: "\u2423" * len(run.group()), text)
