"""Runs whose data have moved, and other texts for runs trained elsewhere."""

import json
import shutil

import pytest

import experiments
from configs import dynamic_evaluation as page
from configs import text as text_page
from seqmodels import errors

MARK = "another text than it was trained on: "


def brief(path, **changes):
  """The settings of a very short training on a text."""
  config = text_page.get_config("smoke")
  config.update(dtype="float32", **changes)
  config.data.update(path=str(path), limit=0)
  config.training.update(max_steps=2, batch=4, segment=10)
  config.evaluation.train_symbols = 0
  config.baselines.update(ngram_order=0, compressors=False)
  config.sample.length = 0
  config.dynamic.rule = ""
  return config


@pytest.fixture(scope="module")
def begun(tmp_path_factory, tiny_corpus):
  """A folder with a text, and a run that was given it by a relative path."""
  folder = tmp_path_factory.mktemp("a")
  (folder / "corpus.txt").write_text(tiny_corpus)
  with pytest.MonkeyPatch.context() as patch:
    patch.chdir(folder)
    experiments.run(brief("corpus.txt"), "run", folder)
  return folder


@pytest.fixture
def elsewhere(begun, tmp_path, monkeypatch):
  """Another folder, beside that of the run, which has lost its text."""
  shutil.copytree(begun, tmp_path / "a")
  (tmp_path / "b").mkdir()
  shutil.copy(begun / "corpus.txt", tmp_path / "b" / "moved.txt")
  settings = tmp_path / "a" / "run" / "config.json"
  recorded = settings.read_text()
  assert json.loads(recorded)["data"]["path"] == str(begun / "corpus.txt")
  settings.write_text(recorded.replace(str(begun), str(tmp_path / "a")))
  (tmp_path / "a" / "corpus.txt").unlink()
  monkeypatch.chdir(tmp_path / "b")
  return tmp_path / "b"


def evaluated(workdir, **changes):
  config = page.get_config("smoke")
  config.restore = "../a/run"
  config.dynamic.search = False
  for name, value in changes.items():
    group, _, key = name.partition("__")
    config[group][key] = value
  return experiments.run(config, workdir, workdir.parent)["rows"]


def scores(rows, evaluation="static"):
  return [
    (row["name"], row["split"], row["count"], pytest.approx(row["value"]))
    for row in rows
    if row["evaluation"] == evaluation
  ]


def test_a_run_trained_elsewhere_is_evaluated_on_any_text(elsewhere):
  run = elsewhere.parent / "a" / "run"
  trained = json.loads((run / "results.json").read_text())["rows"]
  with pytest.raises(errors.UserError, match=r"no file .*config\.data\.path"):
    evaluated(elsewhere / "gone")
  moved = evaluated(elsewhere / "moved", data__path="moved.txt")
  assert scores(moved) == scores(trained)
  assert scores(moved, "dynamic")

  # A text of fewer symbols, and none but static evaluation.
  text = elsewhere / "other.txt"
  text.write_text("the cat sees the moon\n" * 60)
  other = evaluated(
    elsewhere / "other", data__path="other.txt", dynamic__rule=""
  )
  assert all(f"({MARK}other.txt)" in row["name"] for row in other)
  assert [row["count"] for row in other] == [66, 66, 66, 66]
  assert {row["evaluation"] for row in other} == {"static"}
  report = (elsewhere / "other" / "report.md").read_text()
  assert f"- data: {MARK}other.txt" in report

  # The folder remembers what it has scored.
  (elsewhere / "other" / "results.json").unlink()
  text.write_text("the moon sees the cat\n" * 60)
  with pytest.raises(errors.UserError, match="the data are not those of"):
    evaluated(elsewhere / "other", data__path="other.txt", dynamic__rule="")
  text.write_text("the caf\u00e9 sees the moon\n" * 60)
  with pytest.raises(errors.UserError, match="of 28 symbols lacks '\u00e9'"):
    evaluated(elsewhere / "lacking", data__path="other.txt")


def test_moved_data_are_known_by_their_bytes(elsewhere, capsys):
  run = elsewhere.parent / "a" / "run"

  def again(path):
    return experiments.run(brief(path), run, elsewhere)["rows"]

  finished = again("moved.txt")
  assert "already finished" in capsys.readouterr().err
  (elsewhere / "other.txt").write_text("another text\n" * 500)
  with pytest.raises(errors.UserError, match="the data are not those of"):
    again("other.txt")
  (run / "results.json").unlink()
  with pytest.raises(errors.UserError, match="the data are not those of"):
    again("other.txt")
  assert scores(again("moved.txt")) == scores(finished)


def test_training_continues_on_a_text_of_fewer_symbols(elsewhere):
  text = (elsewhere / "moved.txt").read_text()
  (elsewhere / "other.txt").write_text(text.replace("z", "s"))
  config = brief("other.txt", restore="../a/run")
  experiments.run(config, elsewhere / "second", elsewhere)
  first, second = (
    (folder / "vocabulary.json").read_bytes()
    for folder in (elsewhere.parent / "a" / "run", elsewhere / "second")
  )
  assert first == second

  (elsewhere / "other.txt").write_text(text.replace("z", "\u00e9"))
  with pytest.raises(errors.UserError, match="of 28 symbols lacks '\u00e9'"):
    experiments.run(config, elsewhere / "third", elsewhere)
  assert not (elsewhere / "third" / "vocabulary.json").exists()
