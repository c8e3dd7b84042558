"""A study's smoke run, once for all tests of its page."""

import pathlib

import pytest

import experiments
from experiments import cli

FOLDER = pathlib.Path(__file__).parent


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
  """The tests of these runs are slow ones; other studies run in all tests."""
  for item in items:
    if FOLDER in item.path.parents and "finished" in item.fixturenames:
      item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="module")
def finished(request, tmp_path_factory):
  """Results and run folder of the study that the test module is named after."""
  study = request.path.stem.removesuffix("_test")
  folder = tmp_path_factory.mktemp(study)
  config = cli.load(f"configs/fundamentals.py:{study},smoke").config
  return experiments.run(config, folder / "run", folder), folder / "run"
