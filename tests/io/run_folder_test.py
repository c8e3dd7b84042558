"""The record of a run: settings held, facts kept, one process at a time."""

import errno
import getpass
import json
import pathlib
import platform
import signal
import subprocess
import sys

import jax
import pytest

from seqmodels import errors
from seqmodels.io import run_folder

CONFIG = {"seed": 4, "model": {"features": (8, 8), "cell": "lstm"}}


def read(workdir, name=run_folder.RUN):
  return json.loads((workdir / name).read_text())


def test_a_new_folder_gets_settings_and_facts(tmp_path):
  workdir = tmp_path / "runs" / "a"
  with run_folder.start(workdir, config=CONFIG, command="python m") as record:
    assert record.results is None
    assert not record.resumed
    assert record.primary
    open_run = read(workdir)
  assert open_run["end"] is None
  assert open_run["outcome"] == "running"
  assert read(workdir, run_folder.CONFIG) == {
    "model": {"cell": "lstm", "features": [8, 8]},
    "seed": 4,
  }
  run = read(workdir)
  assert run["seed"] == 4
  assert run["command"] == "python m"
  assert run["outcome"] == "finished"
  assert run["start"] <= run["end"]
  assert run["seconds"] >= 0
  assert run["resumes"] == []


def test_the_settings_are_the_same_bytes_whatever_their_order(tmp_path):
  turned = {"model": {"cell": "lstm", "features": [8, 8]}, "seed": 4}
  for name, config in (("a", CONFIG), ("b", turned)):
    with run_folder.start(tmp_path / name, config=config):
      pass
  first = (tmp_path / "a" / run_folder.CONFIG).read_bytes()
  assert first == (tmp_path / "b" / run_folder.CONFIG).read_bytes()


def work(workdir):
  """An output of a run that is worth resuming."""
  (workdir / "metrics.jsonl").write_text("")


def test_every_resume_is_appended(tmp_path):
  for command in ("one", "two", "three"):
    with run_folder.start(tmp_path, config=CONFIG, command=command) as record:
      assert record.resumed == (command != "one")
      work(tmp_path)
  run = read(tmp_path)
  assert run["command"] == "one"
  assert [resume["command"] for resume in run["resumes"]] == ["two", "three"]
  assert all("versions" in resume for resume in run["resumes"])
  assert run["end"] == run["resumes"][-1]["end"]


@pytest.mark.parametrize(
  ("error", "outcome"),
  [
    (errors.Interrupted(15), "interrupted by SIGTERM"),
    (KeyboardInterrupt(), "interrupted by SIGINT"),
    (errors.RunError("the loss is nan"), "RunError: the loss is nan"),
    (ZeroDivisionError("x"), "ZeroDivisionError: x"),
  ],
)
def test_how_a_run_ended_is_recorded_and_passed_on(tmp_path, error, outcome):
  with (
    pytest.raises(type(error)),
    run_folder.start(tmp_path, config=CONFIG),
  ):
    raise error
  assert read(tmp_path)["outcome"] == outcome
  assert read(tmp_path)["end"] is not None


def test_a_finished_folder_gives_its_results_and_is_left_alone(tmp_path):
  results = {"finished": True, "rows": [{"value": 1.5}]}
  with run_folder.start(tmp_path, config=CONFIG) as record:
    assert not run_folder.finished(tmp_path)
    record.finish(results)
  assert run_folder.finished(tmp_path)
  before = (tmp_path / run_folder.RUN).read_bytes()
  with run_folder.start(tmp_path, config=CONFIG) as record:
    assert record.results == results
  assert (tmp_path / run_folder.RUN).read_bytes() == before


def test_a_run_that_failed_before_its_first_output_is_begun_anew(tmp_path):
  with (
    pytest.raises(errors.UserError),
    run_folder.start(tmp_path, config={"restore": "nowhere"}),
  ):
    raise errors.UserError("nowhere is no run folder")
  with run_folder.start(tmp_path, config={"restore": "there"}) as record:
    assert not record.resumed
  assert read(tmp_path, run_folder.CONFIG) == {"restore": "there"}
  assert read(tmp_path)["resumes"] == []


def test_other_settings_are_refused_with_the_differences(tmp_path):
  with run_folder.start(tmp_path, config=CONFIG):
    work(tmp_path)
  other = {"seed": 5, "model": {"features": (8,), "depth": 1}}
  with (
    pytest.raises(errors.UserError) as caught,
    run_folder.start(tmp_path, config=other),
  ):
    pass
  sentence = str(caught.value)
  for note in (
    "seed was 4, now 5",
    "model.features was [8, 8], now [8]",
    'model.cell was "lstm", now missing',
    "model.depth was missing, now 1",
    "another --workdir",
  ):
    assert note in sentence
  assert read(tmp_path, run_folder.CONFIG)["seed"] == 4


def test_a_resumed_run_may_change_what_is_free(tmp_path):
  with run_folder.start(tmp_path, config=CONFIG):
    work(tmp_path)
  other = {"seed": 5, "model": {"features": (8, 8), "cell": "lstm"}}
  with run_folder.start(tmp_path, config=other, free=["seed"]) as record:
    assert record.resumed
  with (
    pytest.raises(errors.UserError, match="seed was 4, now 5"),
    run_folder.start(tmp_path, config=other, free=["see", "model"]),
  ):
    pass


def test_true_and_one_are_different_settings():
  assert run_folder.differing({"a": True}, {"a": 1}) == ["a was true, now 1"]
  assert run_folder.differing({"a": 1}, {"a": 1}) == []


def test_traces_of_a_run_without_its_settings_are_refused(tmp_path):
  (tmp_path / "metrics.jsonl").write_text("")
  (tmp_path / "checkpoints").mkdir()
  with (
    pytest.raises(
      errors.UserError, match=r"metrics\.jsonl, checkpoints but no"
    ),
    run_folder.start(tmp_path, config=CONFIG),
  ):
    pass
  assert not (tmp_path / run_folder.CONFIG).exists()


@pytest.mark.parametrize("text", ["", '{"seed": 4', "[1]", "\x00"])
def test_a_damaged_record_is_named_and_not_overwritten(tmp_path, text):
  (tmp_path / run_folder.CONFIG).write_text(text)
  work(tmp_path)
  with (
    pytest.raises(errors.UserError, match=r"config\.json"),
    run_folder.start(tmp_path, config=CONFIG),
  ):
    pass
  assert (tmp_path / run_folder.CONFIG).read_text() == text


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with (
    pytest.raises(errors.UserError, match="cannot write to the run folder"),
    run_folder.start(tmp_path / "file" / "run", config=CONFIG),
  ):
    pass


def test_an_unwritable_folder_is_one_sentence(tmp_path, monkeypatch):
  def refuse(*arguments, **options):
    raise PermissionError(errno.EACCES, "Permission denied")

  # Not by its mode: the superuser of a container writes everywhere.
  monkeypatch.setattr(pathlib.Path, "mkdir", refuse)
  with (
    pytest.raises(errors.UserError) as caught,
    run_folder.start(tmp_path / "run", config=CONFIG),
  ):
    pass
  assert str(caught.value) == (
    f"cannot write to the run folder {tmp_path / 'run'}: permission denied; "
    "choose another --workdir"
  )


def test_settings_that_are_no_json_are_a_bug_of_the_caller(tmp_path):
  with (
    pytest.raises(ValueError),
    run_folder.start(tmp_path / "a", config={"rate": float("nan")}),
  ):
    pass
  assert not (tmp_path / "a").exists()


HOLDER = """
import pathlib, sys, time
from seqmodels.io import run_folder
folder = pathlib.Path(sys.argv[1])
with run_folder.start(folder, config={"seed": 4}):
  (folder / "metrics.jsonl").write_text("")
  print("held", flush=True)
  time.sleep(100)
"""


def test_a_second_run_is_refused_until_the_first_is_dead(tmp_path):
  holder = subprocess.Popen(
    [sys.executable, "-c", HOLDER, str(tmp_path)],
    stdout=subprocess.PIPE,
    cwd=pathlib.Path(run_folder.__file__).parents[2],
  )
  try:
    assert holder.stdout.readline() == b"held\n"
    with (
      pytest.raises(errors.UserError, match=rf"\(process {holder.pid}\) is at"),
      run_folder.start(tmp_path, config={"seed": 4}),
    ):
      pass
  finally:
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    holder.stdout.close()
  with run_folder.start(tmp_path, config={"seed": 4}) as record:
    assert record.resumed
  run = read(tmp_path)
  assert len(run["resumes"]) == 1
  assert run["outcome"] == "finished"


def test_settings_of_an_earlier_run_can_be_read(tmp_path):
  with run_folder.start(tmp_path, config=CONFIG):
    pass
  assert run_folder.read_config(tmp_path)["model"]["cell"] == "lstm"


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path):
  with pytest.raises(errors.UserError, match=r"it has no config\.json"):
    run_folder.read_config(tmp_path)
  with pytest.raises(errors.UserError, match="it does not exist"):
    run_folder.read_config(tmp_path / "nowhere")


def git(folder, *arguments):
  subprocess.run(
    [
      *("git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@b"),
      *("-c", "commit.gpgsign=false", *arguments),
    ],
    check=True,
    capture_output=True,
  )


def test_versions_and_devices_are_those_of_this_process():
  facts = run_folder.facts()
  assert facts["versions"]["jax"] == jax.__version__
  assert facts["versions"]["python"] == platform.python_version()
  assert None not in facts["versions"].values()
  assert sum(facts["devices"].values()) == jax.device_count()
  assert facts["backend"] == "cpu"
  assert facts["cpu"]


def test_neither_host_nor_user_is_named(tmp_path):
  text = json.dumps(run_folder.facts(tmp_path)).split('"platform"')
  # The operating system's name is a short word that may be a host's too.
  names = {platform.node(), getpass.getuser()} - {"linux", "root", "vm", ""}
  assert not any(name in part for name in names for part in text)


def test_a_folder_outside_version_control_has_no_commit(tmp_path):
  facts = run_folder.facts(tmp_path)
  assert facts["commit"] is None
  assert facts["diff"] is None


def test_commit_changes_and_new_files_are_told(tmp_path):
  git(tmp_path, "init", "-q")
  (tmp_path / "code.py").write_text("x = 1\n")
  git(tmp_path, "add", "code.py")
  git(tmp_path, "commit", "-q", "-m", "one")
  clean = run_folder.facts(tmp_path)
  assert len(clean["commit"]) == 40
  assert clean["diff"] == ""
  assert clean["untracked"] == []

  (tmp_path / "code.py").write_text("x = 2\n")
  (tmp_path / "new.py").write_text("")
  dirty = run_folder.facts(tmp_path)
  assert dirty["commit"] == clean["commit"]
  assert "-x = 1\n+x = 2\n" in dirty["diff"]
  assert dirty["untracked"] == ["new.py"]


def test_a_huge_diff_is_cut_and_says_so(tmp_path):
  git(tmp_path, "init", "-q")
  (tmp_path / "code.py").write_text("")
  git(tmp_path, "add", "code.py")
  git(tmp_path, "commit", "-q", "-m", "one")
  (tmp_path / "code.py").write_text("0123456789\n" * 50_000)
  diff = run_folder.facts(tmp_path)["diff"]
  assert len(diff) < 210_000
  assert diff.endswith(" more characters]\n")


def test_a_finished_run_on_read_only_storage_is_read(tmp_path):
  with run_folder.start(tmp_path, config=CONFIG) as record:
    record.finish({"rows": []})
  # As root, nothing is read-only.
  (tmp_path / run_folder.LOCK).unlink()
  (tmp_path / run_folder.LOCK).mkdir()
  with run_folder.start(tmp_path, config=CONFIG) as record:
    assert record.results == {"rows": []}
  (tmp_path / run_folder.RESULTS).unlink()
  with (
    pytest.raises(errors.UserError, match="cannot write to the run folder"),
    run_folder.start(tmp_path, config=CONFIG),
  ):
    pass
