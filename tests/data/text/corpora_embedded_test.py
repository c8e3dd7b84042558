"""The embedded corpus: there, the same every time, readable."""

import subprocess
import sys

import pytest

from seqmodels import errors
from seqmodels.data.text import corpora


def test_the_corpus_is_long_enough_to_learn_from():
  data = corpora.load_embedded().parts["whole"]
  assert len(data) > 400_000
  assert data.tobytes().decode("utf-8") == corpora.embedded_text()


def test_topics_come_in_sorted_order_under_their_names():
  text = corpora.embedded_text()
  places = [text.index(f"\n{name}\n\n") for name in ("if", "lambda", "while")]
  assert places == sorted(places)


def test_another_process_reads_the_same_corpus():
  code = (
    "from seqmodels.data.text import corpora;"
    "print(corpora.load_embedded().provenance['files'][0]['sha256'])"
  )
  done = subprocess.run(
    [sys.executable, "-c", code], capture_output=True, text=True, check=True
  )
  rows = corpora.load_embedded().provenance["files"]
  assert done.stdout.strip() == rows[0]["sha256"]


def test_the_note_names_the_version_of_python():
  version = ".".join(map(str, sys.version_info[:3]))
  assert version in corpora.load_embedded().provenance["note"]


def test_a_python_without_its_documentation_is_told_what_to_do(monkeypatch):
  monkeypatch.setitem(sys.modules, "pydoc_data", None)
  with pytest.raises(errors.UserError, match=r"configs/text\.py"):
    corpora.load_embedded()
