"""Small language experiments, in this process and in processes of their own."""

import functools
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import experiments
from configs import text as text_page

# A small model with its data, for tests of the loop.
from tests.training.conftest import (  # noqa: F401
  fresh,
  network,
  optimizer,
  same_bits,
  stream,
)

PROJECT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def corpus_file(tmp_path, tiny_corpus):
  path = tmp_path / "corpus.txt"
  path.write_text(tiny_corpus, encoding="utf-8")
  return path


def settings_of(corpus, **changes):
  """A config that trains 24 steps on a text; a__b sets config.a.b."""
  config = text_page.get_config("smoke")
  config.dtype = "float32"
  config.data.update(path=str(corpus), limit=0)
  config.training.update(
    epochs=3.0, max_steps=24, batch=4, segment=10, checkpoint_every=4
  )
  config.training.update(evaluations_per_epoch=8)
  config.baselines.update(ngram_order=0, compressors=False)
  config.sample.length = 0
  config.dynamic.rule = ""
  for name, value in changes.items():
    group, _, key = name.partition("__")
    if key:
      config[group][key] = value
    else:
      config[group] = value
  return config


@pytest.fixture
def small(corpus_file):
  """Gives `settings_of` the tiny corpus, with any changes."""
  return functools.partial(settings_of, corpus_file)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory, tiny_corpus):
  """The folder and the results of one run of `small()`."""
  folder = tmp_path_factory.mktemp("first_run")
  corpus = folder / "corpus.txt"
  corpus.write_text(tiny_corpus, encoding="utf-8")
  results = experiments.run(settings_of(corpus), folder / "run", folder)
  return folder / "run", results


@pytest.fixture
def finished(first_run, tmp_path):
  """Puts a finished run of `small()` into a folder; gives its results."""
  folder, results = first_run

  def put(name="run"):
    shutil.copytree(folder, tmp_path / name)
    return results

  return put


@pytest.fixture
def run(tmp_path):
  """Runs a config in this process."""

  def go(config, name="run", data_dir=None):
    return experiments.run(config, tmp_path / name, data_dir or tmp_path)

  return go


@pytest.fixture
def undrawn(monkeypatch):
  """Figures are not drawn, which takes a quarter of a small run."""
  from matplotlib import figure as figures

  def blank(self, file, **_):
    file.write(b"\x89PNG\r\n\x1a\n")

  monkeypatch.setattr(figures.Figure, "savefig", blank)


@pytest.fixture
def command(tmp_path):
  """Starts `python main.py` from another folder; gives the process."""

  def start(*arguments):
    return subprocess.Popen(
      [sys.executable, str(PROJECT / "main.py"), *map(str, arguments)],
      cwd=tmp_path,
      env={
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "HF_HUB_OFFLINE": "1",
      },
      stdout=subprocess.PIPE,
      stderr=subprocess.PIPE,
      text=True,
    )

  return start


@pytest.fixture
def metrics():
  """The lines of metrics.jsonl that do not depend on the clock."""

  def read(workdir):
    lines = (workdir / "metrics.jsonl").read_text().splitlines()
    entries = [json.loads(line) for line in lines]
    return [e for e in entries if not e["name"].endswith("_per_second")]

  return read
