"""Outside bytes: a valid value, or one sentence that refuses them.

A few inputs of every row, always the same; `python -m tests.fuzz.hunt` tries
as many others as there is time for.
"""

import pytest

from tests.fuzz import hunt, parsers, valid_files

EXAMPLES = 8
# Nearly anything is text.
SELDOM_REFUSED = {"text as bytes"}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp("world")
  valid_files.fill(folder)
  return folder


@pytest.mark.parametrize("name", parsers.ROWS)
def test_outside_bytes_are_read_or_refused_in_one_sentence(name, world):
  one = hunt.Hunt(parsers.ROWS[name], world)
  one.go(EXAMPLES, seed=0)
  assert not one.found
  # Damage that nothing minds would look for nothing.
  assert one.refused or name in SELDOM_REFUSED
