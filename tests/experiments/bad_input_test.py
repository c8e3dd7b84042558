"""Mistakes of users: one sentence, an exit code, nothing half-done."""

import os

import pytest

from experiments import cli
from seqmodels import pretrained

pytestmark = pytest.mark.usefixtures("undrawn")


@pytest.fixture
def refused(small, run, tmp_path, capsys):
  """Runs something that must fail; gives its one sentence."""

  def check(action, code=2, folder="run"):
    assert cli.run_cli(action) == code
    err = capsys.readouterr().err
    sentences = [x for x in err.splitlines() if x.startswith("error: ")]
    assert len(sentences) == 1
    assert "Traceback" not in err
    assert not (tmp_path / folder / "results.json").exists()
    leftovers = [
      path
      for path in tmp_path.rglob("*")
      if path.suffix in (".tmp", ".partial") or "incomplete" in path.name
    ]
    assert not leftovers
    return sentences[0]

  return check


def test_a_missing_file(refused, small, run):
  sentence = refused(lambda: run(small(data__path="/nowhere/at_all.txt")))
  assert "/nowhere/at_all.txt" in sentence


def test_no_file_at_all(refused, small, run):
  assert "config.data.path" in refused(lambda: run(small(data__path="")))


def test_an_empty_file(refused, small, run, corpus_file):
  corpus_file.write_bytes(b"")
  assert "empty" in refused(lambda: run(small()))


def test_a_text_shorter_than_one_segment(refused, small, run, corpus_file):
  corpus_file.write_text("too short a text\n" * 2)
  assert "one segment takes 40" in refused(lambda: run(small()))


def test_a_partition_of_three_files_for_one(refused, small, run):
  sentence = refused(lambda: run(small(data__partition="mikolov")))
  assert "'mikolov' takes a corpus of three files" in sentence
  assert "use graves, standard or fractions" in sentence


def test_a_partition_of_one_file_for_three(refused, small, run, real_data):
  config = small(data__source="ptb", data__partition="graves")
  sentence = refused(lambda: run(config, data_dir=real_data))
  assert "'ptb' comes in three files and partition is 'graves'" in sentence
  assert "use 'mikolov'" in sentence


def test_a_file_too_short_for_its_partition(refused, small, run, tmp_path):
  (tmp_path / "enwik8").mkdir()
  (tmp_path / "enwik8" / "enwik8.first-12").write_bytes(b"<mediawiki x")
  config = small(
    data__source="enwik8", data__tokenizer="bytes", data__partition="graves"
  )
  sentence = refused(lambda: run(config))
  assert "12 symbols are too few for partition 'graves'" in sentence
  assert "valid would be empty" in sentence


def test_a_prefix_too_short_for_its_streams(refused, small, run, tmp_path):
  (tmp_path / "enwik8").mkdir()
  (tmp_path / "enwik8" / "enwik8.first-40").write_bytes(b"<page>[[" * 5)
  config = small(
    data__source="enwik8", data__tokenizer="bytes", data__partition="graves"
  )
  sentence = refused(lambda: run(config))
  assert "has 38 symbols and one segment takes 40 (4 rows of 10)" in sentence


def test_bytes_that_are_no_text(refused, small, run, corpus_file):
  corpus_file.write_bytes(b"fine so far\n" * 100 + b"\xff\xfe")
  sentence = refused(lambda: run(small()))
  assert "not UTF-8 at byte 1,200" in sentence
  assert "bytes" in sentence


def test_a_data_set_that_is_not_there(refused, small, run, monkeypatch):
  monkeypatch.setenv("HF_HUB_OFFLINE", "1")
  config = small(data__source="ptb", data__partition="mikolov")
  sentence = refused(lambda: run(config))
  assert "ptb.train.txt" in sentence


def test_a_data_set_that_was_changed(refused, small, run, tmp_path):
  folder = tmp_path / "ptb"
  folder.mkdir()
  # The published size, so that only the checksum can tell.
  (folder / "ptb.train.txt").write_bytes(b"x" * 5_101_618)
  config = small(data__source="ptb", data__partition="mikolov")
  assert "fcea919f6cf8" in refused(lambda: run(config))


def test_a_folder_that_is_no_run(refused, small, run, tmp_path):
  (tmp_path / "empty").mkdir()
  sentence = refused(lambda: run(small(restore=str(tmp_path / "empty"))))
  assert "is no run folder" in sentence


@pytest.mark.parametrize("name", ["dynamic_evaluation", "text_sampling"])
@pytest.mark.parametrize("restore", ["", "nowhere"])
def test_nothing_to_reload(refused, run, name, restore, monkeypatch, tmp_path):
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  config = cli.load(f"configs/{name}.py:smoke").config
  config.restore = restore
  sentence = refused(lambda: run(config))
  assert ("config.restore" if not restore else "nowhere") in sentence


def test_a_prime_of_unknown_symbols(refused, finished, run, tmp_path):
  finished("trained")
  config = cli.load("configs/text_sampling.py:smoke").config
  config.restore = str(tmp_path / "trained")
  config.sample.prime = "@"
  assert "'@'" in refused(lambda: run(config))


def test_a_workdir_that_cannot_be_written(refused, small, run, tmp_path):
  (tmp_path / "run").write_text("a file, not a folder")
  sentence = refused(lambda: run(small()), folder="other")
  assert "choose another --workdir" in sentence


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_workdir(refused, small, run, tmp_path):
  (tmp_path / "run").mkdir(mode=0o500)
  assert "--workdir" in refused(lambda: run(small()))


def test_a_diverging_loss_is_exit_code_3(refused, small, run):
  config = small(
    training__optimizer="sgd",
    training__learning_rate=1e38,
    training__clip_norm=0.0,
    training__warmup_steps=0,
  )
  sentence = refused(lambda: run(config), code=3)
  assert "learning_rate" in sentence


def test_a_run_from_other_settings_in_the_folder(
  refused, finished, small, run, tmp_path
):
  finished()
  (tmp_path / "run" / "results.json").unlink()
  sentence = refused(lambda: run(small(model__features=(9,))))
  assert "model.features was [8], now [9]" in sentence
