"""A study's smoke run, once for all tests of its page."""

import pytest

import experiments
from experiments import cli


@pytest.fixture(scope="module")
def finished(request, tmp_path_factory):
  """Results and run folder of the study that the test module is named after."""
  study = request.path.stem.removesuffix("_test")
  folder = tmp_path_factory.mktemp(study)
  config = cli.load(f"configs/fundamentals.py:{study},smoke").config
  return experiments.run(config, folder / "run", folder), folder / "run"
