"""Inputs that are no files, outputs that are none, and jobs gone on with."""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

import experiments
from configs import compression as page
from experiments import cli
from experiments.compression import run as run_lib
from seqmodels import errors
from seqmodels.io import distributed, files

PROJECT = pathlib.Path(__file__).resolve().parents[3]
TEXT = b"a rose is a rose is a rose; " * 20


@pytest.fixture
def config(tmp_path):
  source = tmp_path / "a.in"
  source.write_bytes(TEXT)
  config = page.get_config("smoke")
  config.update(
    input=str(source),
    output=str(tmp_path / "a.seq"),
    baselines=False,
    verify=False,
  )
  return config


def opened(name, kept):
  with (
    distributed.Interruption() as signals,
    run_lib.opened(str(name), kept, signals) as file,
  ):
    return file.read()


def test_a_file_is_read_where_it_lies(tmp_path):
  (tmp_path / "a").write_bytes(TEXT)
  assert opened(tmp_path / "a", tmp_path / "kept") == TEXT
  assert not (tmp_path / "kept").exists()


def test_an_empty_file_is_empty(tmp_path):
  (tmp_path / "a").touch()
  assert opened(tmp_path / "a", tmp_path / "kept") == b""


@pytest.mark.skipif(not os.path.exists("/proc/version"), reason="no /proc")
def test_a_file_longer_than_it_says_is_read_whole(tmp_path):
  path = pathlib.Path("/proc/version")
  assert path.stat().st_size == 0
  assert opened(path, tmp_path / "kept") == path.read_bytes() != b""


def feed(path, data):
  def write():
    time.sleep(0.2)
    path.write_bytes(data)

  thread = threading.Thread(target=write)
  thread.start()
  return thread


def test_a_pipe_is_kept_and_may_bring_the_same_again(tmp_path):
  pipe, kept = tmp_path / "pipe", tmp_path / "kept"
  os.mkfifo(pipe)
  for _ in range(2):
    thread = feed(pipe, TEXT * 5000)  # More than a pipe holds.
    assert opened(pipe, kept) == TEXT * 5000
    thread.join()
  thread = feed(pipe, TEXT)
  with pytest.raises(errors.UserError, match="brings other bytes"):
    opened(pipe, kept)
  thread.join()


def test_a_signal_ends_the_wait_for_a_pipe(tmp_path):
  os.mkfifo(tmp_path / "pipe")
  timer = threading.Timer(0.3, signal.raise_signal, [signal.SIGTERM])
  timer.start()
  with pytest.raises(errors.Interrupted):
    opened(tmp_path / "pipe", tmp_path / "kept")
  timer.join()
  assert not (tmp_path / "kept").exists()


def test_a_signal_ends_the_respelling(tmp_path):
  (tmp_path / "a").write_bytes(TEXT)
  with (
    distributed.Interruption() as signals,
    open(tmp_path / "a", "rb") as file,
  ):
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(errors.Interrupted):
      run_lib.respelled(2, file, tmp_path / "b", signals)


def run(config, workdir):
  return cli.run_cli(lambda: experiments.run(config, workdir, workdir))


def test_an_output_that_is_no_file_is_left_alone(config, tmp_path, capsys):
  pipe = tmp_path / "pipe"
  os.mkfifo(pipe)
  config.update(output=str(pipe), overwrite=True)
  assert run(config, tmp_path / "run") == 2
  assert "is no ordinary file" in capsys.readouterr().err
  assert pipe.is_fifo()


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="no /proc")
def test_a_folder_that_takes_no_files_is_found_before_the_work(
  config, tmp_path, capsys, monkeypatch
):
  monkeypatch.setattr(run_lib, "compress", pytest.fail)
  config.output = "/proc/a.seq"
  assert run(config, tmp_path / "run") == 2
  assert "cannot write /proc/a.seq" in capsys.readouterr().err


def test_a_name_that_is_no_utf8_is_one_sentence(config, tmp_path, capsys):
  bad = os.fsdecode(b"\xff.in")
  config.input = str(tmp_path / bad)
  assert run(config, tmp_path / "run") == 2
  assert "not UTF-8" in capsys.readouterr().err


def test_a_closed_standard_input_is_one_sentence(tmp_path, monkeypatch):
  monkeypatch.setattr(sys, "stdin", None)
  with pytest.raises(errors.UserError, match="standard input is closed"):
    opened("-", tmp_path / "kept")


def test_waiting_for_standard_input_ends_with_a_signal(tmp_path):
  process = subprocess.Popen(
    [
      sys.executable, str(PROJECT / "main.py"),
      f"--config={PROJECT}/configs/compression.py:smoke",
      "--config.input=-", f"--config.output={tmp_path / 'a.seq'}",
      f"--workdir={tmp_path / 'run'}",
    ],
    env={**os.environ, "JAX_PLATFORMS": "cpu"},
    stdin=subprocess.PIPE, stderr=subprocess.PIPE,
  )  # fmt: skip
  area = tmp_path / "run" / "checkpoints"
  limit = time.monotonic() + 1500
  while not area.exists() and time.monotonic() < limit:
    time.sleep(0.05)
  time.sleep(0.5)
  process.send_signal(signal.SIGTERM)
  process.wait(timeout=1700)
  process.communicate()
  assert process.returncode == 128 + signal.SIGTERM


def test_a_job_is_not_gone_on_with_elsewhere(config, tmp_path, monkeypatch):
  def full(*_):
    raise errors.RunError("no space")

  workdir = tmp_path / "run"
  workdir.mkdir()
  monkeypatch.setattr(run_lib, "publish", full)
  with pytest.raises(errors.RunError):
    run_lib.run(config, workdir, tmp_path)
  monkeypatch.undo()
  here = run_lib.container.current()
  monkeypatch.setattr(
    run_lib.container, "current", lambda **_: {**here, "jaxlib": "0.0.1"}
  )
  with pytest.raises(errors.UserError, match="the machine, or a release"):
    run_lib.run(config, workdir, tmp_path)
  monkeypatch.undo()
  run_lib.run(config, workdir, tmp_path)
  assert (tmp_path / "a.seq").exists()


@pytest.mark.parametrize("killed", ["before", "within", "after"])
def test_a_kill_while_it_tidies_up_leaves_a_job_that_ends(
  config, tmp_path, monkeypatch, killed
):
  workdir = tmp_path / "run"
  workdir.mkdir()
  real = shutil.rmtree

  def kill(path, **_):
    if killed == "after":
      real(path, ignore_errors=True)
    elif killed == "within":
      for actual in list(pathlib.Path(path).glob("*.part")):
        actual.unlink()
    if pathlib.Path(path).name == "checkpoints.done" and (
      killed == "before" or not (workdir / "checkpoints").exists()
    ):
      raise KeyboardInterrupt

  monkeypatch.setattr(shutil, "rmtree", kill)
  with pytest.raises(KeyboardInterrupt):
    run_lib.run(config, workdir, tmp_path)
  monkeypatch.undo()
  made = (tmp_path / "a.seq").read_bytes()
  if killed == "after":
    # Nothing tells any more whose output this is.
    with pytest.raises(errors.UserError, match="exists; write to another"):
      run_lib.run(config, workdir, tmp_path)
    return
  run_lib.run(config, workdir, tmp_path)
  assert (tmp_path / "a.seq").read_bytes() == made
  assert sorted(path.name for path in workdir.glob("checkpoints*")) == []


def test_text_that_is_no_utf8_is_not_written(tmp_path):
  with pytest.raises(errors.UserError, match="not UTF-8"):
    files.write_text(tmp_path / "a", "\ud800")
  assert list(tmp_path.iterdir()) == []
