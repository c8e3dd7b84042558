import numpy as np
import pytest

from experiments.studies.autoregressive import shapes
from seqmodels import errors


@pytest.mark.parametrize("length", [1, 4, 7])
def test_parity_is_counted_again_after_every_bit(length):
  actual = shapes.parity(length)
  assert len({tuple(row) for row in actual.given}) == 2**length
  for bits, targets in zip(actual.given, actual.targets, strict=True):
    assert targets.tolist() == [sum(bits[: t + 1]) % 2 for t in range(length)]


def test_half_of_all_strings_have_a_majority_of_ones():
  actual = shapes.majority(5)
  assert actual.targets.shape == (32, 1)
  assert actual.targets.sum() == 16
  for bits, [target] in zip(actual.given, actual.targets, strict=True):
    assert target == (sorted(bits)[2] == 1)


def test_signs_are_the_vector():
  actual = shapes.signs(4)
  assert np.all((actual.given > 0) == actual.targets)
  assert np.all(np.abs(actual.given) == 1)
  assert len(np.unique(actual.given, axis=0)) == 16


def test_a_reversal_turned_again_is_what_was_given():
  actual = shapes.reversal(3, 4)
  assert len(np.unique(actual.given, axis=0)) == 81
  assert ["".join(map(str, row[::-1])) for row in actual.targets] == [
    "".join(map(str, row)) for row in actual.given
  ]


def test_palindromes_are_their_mirror_images():
  actual = shapes.palindromes(3, 3)
  assert actual.given is None
  assert np.array_equal(actual.targets, actual.targets[:, ::-1])
  assert len(np.unique(actual.targets, axis=0)) == 27


def test_rows_are_of_all_parts():
  whole, chosen = shapes.reversal(2, 3), np.array([6, 1])
  part = whole.rows(chosen)
  for all_of_it, some in zip(whole, part, strict=True):
    np.testing.assert_array_equal(some, all_of_it[chosen])
  assert shapes.palindromes(2, 2).rows(chosen[:1] % 4).given is None


def test_more_strings_than_fit_are_refused():
  with pytest.raises(errors.UserError, match="1,099,511,627,776 strings of 40"):
    shapes.signs(40)
