"""Nothing that is loaded can run code: read in the sources, and tried.

A page of settings (`--config=FILE.py`) is a program that its user names, and so
is a module that `config.experiment` names; nothing else that is read is one.
"""

import ast
import os
import pathlib
import subprocess
import sys

import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent
SOURCES = sorted(
  path
  for top in ("seqmodels", "experiments", "configs", ".ci", "main.py")
  for path in (
    [PROJECT / top] if top.endswith(".py") else (PROJECT / top).rglob("*.py")
  )
)

# Readers of objects that may be anything.
PACKAGES = {
  *("pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve"),
  *("marshal", "jsonpickle", "pickletools", "copyreg", "multiprocess"),
  *("yaml", "ruamel", "h5py", "dbm", "code", "codeop", "pty"),
}
# XML whose entities nobody bounds; ink goes through defusedxml.
XML = {"xml.etree", "xml.dom", "xml.parsers", "lxml", "xmlrpc"}
BUILTINS = {"eval", "exec", "compile", "__import__", "input"}
METHODS = {
  *("extractall", "extract", "unpack_archive", "read_pickle", "read_hdf"),
  *("load_module", "run_path", "run_module", "system", "popen"),
  *("exec_module", "import_module", "fromfile"),
}
KEYWORDS = {"allow_pickle", "shell", "weights_only", "trust_remote_code"}

# Where a program is run because its user named it.
NAMED_BY_THE_USER = {
  "experiments/cli.py": {"exec_module"},  # a page of settings
  "experiments/__init__.py": {"import_module"},  # an experiment
  "experiments/studies/run.py": {"import_module"},  # a study of its table
}
# XML that the project's own tests wrote.
OWN_XML = {".ci/skipped.py"}


def faults(source: str) -> set[str]:
  """The imports and calls of a module that could run what it reads."""
  actual = set()
  for node in ast.walk(ast.parse(source)):
    names: list[str] = []
    if isinstance(node, ast.Import):
      names = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
      names = [f"{node.module}.{alias.name}" for alias in node.names]
    for name in names:
      root = name.partition(".")[0]
      actual |= {root} & PACKAGES
      actual |= {x for x in XML if name == x or name.startswith(f"{x}.")}
    if not isinstance(node, ast.Call):
      continue
    called = node.func
    if isinstance(called, ast.Name):
      actual |= {called.id} & (BUILTINS | METHODS)
    elif isinstance(called, ast.Attribute):
      # A module that the source itself names is imported like any other.
      literal = bool(node.args) and isinstance(node.args[0], ast.Constant)
      if called.attr != "import_module" or not literal:
        actual |= {called.attr} & METHODS
      owner = called.value
      if called.attr == "load" and isinstance(owner, ast.Name):
        actual |= {f"{owner.id}.load"} & {"np.load", "numpy.load", "torch.load"}
    actual |= {word.arg for word in node.keywords if word.arg} & KEYWORDS
  return actual


@pytest.mark.parametrize(
  "path", SOURCES, ids=lambda path: path.relative_to(PROJECT).as_posix()
)
def test_no_source_unpickles_or_runs_what_it_reads(path):
  name = path.relative_to(PROJECT).as_posix()
  allowed = NAMED_BY_THE_USER.get(name, set())
  allowed = allowed | (XML if name in OWN_XML else set())
  assert faults(path.read_text(encoding="utf-8")) <= allowed


@pytest.mark.parametrize(
  ("source", "fault"),
  [
    ("import pickle", "pickle"),
    ("from yaml import unsafe_load", "yaml"),
    ("def f():\n  import marshal as m", "marshal"),
    ("import xml.etree.ElementTree as e", "xml.etree"),
    ("from xml.dom import minidom", "xml.dom"),
    ("eval(text)", "eval"),
    ("np.load(path)", "np.load"),
    ("numpy.load(path)", "numpy.load"),
    ("torch.load(path)", "torch.load"),
    ("x.from_file(path, allow_pickle=True)", "allow_pickle"),
    ("run(command, shell=True)", "shell"),
    ("archive.extractall()", "extractall"),
    ("os.system(command)", "system"),
    ("importlib.import_module(name)", "import_module"),
  ],
)
def test_the_reading_of_sources_would_notice(source, fault):
  assert faults(source) == {fault}


@pytest.mark.slow
def test_everything_loads_where_nothing_can_be_unpickled(tmp_path):
  """In a process of its own, whose bans cannot be lifted again."""
  done = subprocess.run(
    [sys.executable, "-m", "tests.fuzz.loading"],
    cwd=PROJECT,
    env={**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"},
    capture_output=True,
    text=True,
    timeout=1700,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  loaded = done.stdout.splitlines()
  expected = {"checkpoint", "vocabulary.json", "pen.json", "compressed file"}
  expected |= {
    "model file",
    "cache of lines",
    "config.json of a text run",
    "overrides",
  }
  expected |= {"state of a training", "download", "zip archive", "tar archives"}
  assert expected <= set(loaded)
