"""The Penn Treebank: published counts, and files that are others."""

import shutil

import pytest

from seqmodels import errors
from seqmodels.data.text import corpora


def test_real_files_give_the_published_character_counts(real_data):
  corpus = corpora.load_penn_treebank(real_data)
  sizes = {split: len(data) for split, data in corpus.parts.items()}
  assert sizes == {"train": 5_017_482, "valid": 393_042, "test": 442_423}
  rows = corpus.provenance["files"]
  assert [row["bytes"] for row in rows] == [5_101_618, 399_782, 449_945]
  assert [row["sha256"] for row in rows] == [
    published.sha256 for published in corpora.PENN_TREEBANK.values()
  ]
  assert corpus.complete


def test_stripping_changes_nothing_but_the_ends_of_lines(real_data):
  raw = (real_data / "ptb/ptb.valid.txt").read_text("ascii")
  stripped = (
    corpora.load_penn_treebank(real_data).parts["valid"].tobytes().decode()
  )
  assert stripped.split("\n") == [line.strip() for line in raw.split("\n")]


def test_lines_keep_their_count_with_or_without_a_last_newline():
  assert corpora.strip_lines(b" a \n\n b ") == b"a\n\nb\n"
  assert corpora.strip_lines(b" a \n\n b \n") == b"a\n\nb\n"


def test_a_changed_file_is_refused_with_both_checksums(real_data, tmp_path):
  folder = tmp_path / "ptb"
  folder.mkdir()
  for published in corpora.PENN_TREEBANK.values():
    shutil.copyfile(real_data / "ptb" / published.name, folder / published.name)
  changed = folder / "ptb.test.txt"
  data = bytearray(changed.read_bytes())
  data[1000] ^= 1
  changed.write_bytes(data)
  with pytest.raises(errors.UserError) as caught:
    corpora.load_penn_treebank(tmp_path, downloads=False)
  message = str(caught.value)
  assert str(changed) in message
  assert corpora.PENN_TREEBANK["test"].sha256 in message
  assert message.count("SHA-256") == 1
  assert len([w for w in message.split() if len(w.strip(";,")) == 64]) == 2


def test_a_missing_file_is_named_with_its_place_and_origin(tmp_path):
  with pytest.raises(errors.UserError) as caught:
    corpora.load_penn_treebank(tmp_path, downloads=False)
  message = str(caught.value)
  for part in (
    "ptb/ptb.train.txt",
    str(tmp_path / "ptb" / "ptb.train.txt"),
    corpora.PENN_TREEBANK["train"].url,
    "--data_dir",
  ):
    assert part in message
