"""Fails where a test on real data was skipped: `skipped.py JUNIT_XML`.

.ci/run asks this only where the data is, so such a skip hides a broken path.
"""

import sys
from xml.etree import ElementTree

# What the skip reasons of such tests have in common; see tests/conftest.py.
SIGN = "SEQMODELS_DATA"


def for_want_of_data(report: str) -> list[str]:
  """The tests of a JUnit report that skipped because real data are missing."""
  return [
    f"{case.get('classname')}::{case.get('name')}"
    for case in ElementTree.parse(report).iter("testcase")
    for skip in case.iter("skipped")
    if SIGN in (skip.get("message") or "") + (skip.text or "")
  ]


if __name__ == "__main__":
  tests = for_want_of_data(sys.argv[1])
  for test in tests:
    print(f"skipped although the real data is here: {test}", file=sys.stderr)
  sys.exit(bool(tests))
