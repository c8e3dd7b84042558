import nltk
import numpy as np
import pytest

from experiments.studies.decoding import study
from seqmodels import errors


@pytest.mark.parametrize("n", [1, 2, 3])
def test_it_is_the_share_of_different_ngrams(n):
  ids = np.random.default_rng(0).integers(4, size=50).tolist()
  grams = list(nltk.ngrams(ids, n))
  assert study.distinct(ids, n) == len(set(grams)) / len(grams)


def test_a_loop_has_as_many_as_its_period():
  assert study.distinct("abc" * 10, 1) == 3 / 30
  assert study.distinct("abc" * 10, 4) == 3 / 27
  assert study.distinct("abcdefg", 2) == 1.0


@pytest.mark.parametrize(("symbols", "n"), [("abc", 0), ("abc", 4), ("", 1)])
def test_what_has_no_ngram_is_refused(symbols, n):
  with pytest.raises(errors.UserError, match=f"distinct-{n} was asked of"):
    study.distinct(symbols, n)
