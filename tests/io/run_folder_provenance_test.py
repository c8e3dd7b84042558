"""Code, versions and hardware of a run."""

import getpass
import json
import platform
import subprocess

import jax

from seqmodels.io import run_folder


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
