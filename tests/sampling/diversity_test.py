import nltk
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.sampling import diversity


@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_is_the_share_of_different_ngrams(n):
  ids = np.random.default_rng(0).integers(4, size=50).tolist()
  grams = list(nltk.ngrams(ids, n))
  assert diversity.distinct(ids, n) == len(set(grams)) / len(grams)


def test_a_loop_has_as_many_as_its_period():
  assert diversity.distinct("abc" * 10, 1) == 3 / 30
  assert diversity.distinct("abc" * 10, 4) == 3 / 27
  assert diversity.distinct("abcdefg", 2) == 1.0


@pytest.mark.parametrize(("symbols", "n"), [("abc", 0), ("abc", 4), ("", 1)])
def test_what_has_no_ngram_is_refused(symbols, n):
  with pytest.raises(errors.UserError, match=f"distinct-{n} was asked of"):
    diversity.distinct(symbols, n)
