"""Sources by name."""

import pytest

from seqmodels import errors
from seqmodels.data.text import corpora


def test_an_unknown_name_is_refused_with_the_closest():
  with pytest.raises(errors.UserError, match=r"did you mean 'enwik8'"):
    corpora.load("enwiki8")


def test_every_row_names_its_corpus_by_its_key(real_data, tmp_path):
  (tmp_path / "file").write_text("text")
  for name in corpora.SOURCES:
    corpus = corpora.load(
      name, real_data, path=tmp_path / "file", downloads=False
    )
    assert corpus.name == name
    assert corpus.provenance["source"] == name
    assert all(len(part) for part in corpus.parts.values())


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
  monkeypatch.setenv("HOME", str(tmp_path))
  (tmp_path / "file").write_text("text")
  corpus = corpora.load("text", path="~/file")
  assert corpus.parts["whole"].tobytes() == b"text"


def test_a_byte_of_a_split_without_a_file_is_named_by_its_split():
  corpus = corpora.load("embedded")
  assert corpus.locate("whole", 3) == ("embedded whole", 3)
