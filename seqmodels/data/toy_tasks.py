"""Small problems of every shape, with all examples that they have.

    parity       bits -> after each, 1 if the ones so far are odd   aligned
    majority     bits -> 1 if most of them are ones                 fixed target
    signs        a vector of +1 and -1 -> its signs as bits         fixed input
    reversal     a string -> the same from its end                  unaligned
    palindromes  strings that are their own mirror images           density

Whoever finds the rule in a part of the examples makes no mistake in the rest.
"""

import itertools
from typing import NamedTuple, Self

import numpy as np

from seqmodels import errors

_MOST = 100_000


class Examples(NamedTuple):
  """What is given and what is wanted, an example a row.

  Attributes:
    given: ids [B, T] or vectors float32 [B, D]; none where nothing is given.
    targets: int32 [B, T].
  """

  given: np.ndarray | None
  targets: np.ndarray

  def rows(self, chosen: np.ndarray) -> Self:
    """Some of the examples.

    >>> parity(3).rows(np.array([5])).given
    array([[1, 0, 1]], dtype=int32)
    """
    given = None if self.given is None else self.given[chosen]
    return self._replace(given=given, targets=self.targets[chosen])


def parity(length: int) -> Examples:
  """All strings of so many bits; after each bit, 1 if the ones are odd.

  Raises:
    UserError: no bits, or too many strings.

  >>> parity(3).targets[5]
  array([1, 1, 0], dtype=int32)
  """
  bits = _strings(2, length)
  targets = np.cumsum(bits, axis=1, dtype=np.int32) % 2
  return Examples(bits, targets)


def majority(length: int) -> Examples:
  """All strings of an odd number of bits; 1 if most are ones.

  Raises:
    UserError: an even number of bits, or too many strings.

  >>> majority(3).targets.ravel()
  array([0, 0, 0, 1, 0, 1, 1, 1], dtype=int32)
  """
  if length % 2 == 0:
    raise errors.UserError(
      f"the majority of {length} bits may be none; give an odd number"
    )
  bits = _strings(2, length)
  ones = bits.sum(axis=1, keepdims=True)
  targets = (2 * ones > length).astype(np.int32)
  return Examples(bits, targets)


def signs(size: int) -> Examples:
  """All vectors of so many signs; each to be written out, 1 for a plus.

  Raises:
    UserError: no signs, or too many vectors.

  >>> found = signs(3)
  >>> found.given[5], found.targets[5]
  (array([ 1., -1.,  1.], dtype=float32), array([1, 0, 1], dtype=int32))
  """
  bits = _strings(2, size)
  return Examples((2 * bits - 1).astype(np.float32), bits)


def reversal(letters: int, length: int) -> Examples:
  """All strings of a length; each to be written from its end.

  Raises:
    UserError: no letters, no length, or too many strings.

  >>> found = reversal(3, 2)
  >>> found.given[5], found.targets[5]
  (array([1, 2], dtype=int32), array([2, 1], dtype=int32))
  """
  strings = _strings(letters, length)
  return Examples(strings, strings[:, ::-1])


def palindromes(letters: int, half: int) -> Examples:
  """All strings of a length followed by their mirror images; nothing is given.

  Their second halves follow from the first; no model that is right about all
  strings says them in fewer than `half` ln `letters` nats on average.

  Raises:
    UserError: no letters, no length, or too many strings.

  >>> palindromes(3, 2).targets[5]
  array([1, 2, 2, 1], dtype=int32)
  """
  strings = _strings(letters, half)
  targets = np.concatenate([strings, strings[:, ::-1]], axis=1)
  return Examples(None, targets)


def _strings(letters: int, length: int) -> np.ndarray:
  """All strings in order, int32 [letters ** length, length]."""
  if min(letters, length) < 1:
    raise errors.UserError(
      f"strings of {length} out of {letters} letters; both must be at least 1"
    )
  if letters**length > _MOST:
    raise errors.UserError(
      f"there are {letters**length:,} strings of {length} out of {letters} "
      f"letters; give sizes with at most {_MOST:,}"
    )
  strings = itertools.product(range(letters), repeat=length)
  return np.array(list(strings), np.int32)
