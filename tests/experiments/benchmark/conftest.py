"""Fixtures of the tests of the benchmark."""

import pytest

from configs import benchmark as page
from experiments.benchmark import case


@pytest.fixture
def entry():
  """An entry of a record, by library and seconds."""

  def build(library, seconds, **others):
    return {
      "name": library,
      "library": library,
      "seconds": seconds,
      "precision": "float32",
      **dict.fromkeys(("kind", "note"), ""),
      **dict.fromkeys(("temporary", "resident")),
      **others,
    }

  return build


@pytest.fixture
def record():
  """A record of some entries."""

  def build(*entries, **others):
    common = {"title": "layer", "label": "layer", "work": "forward"}
    common |= {"tokens": 10, "unit": case.TOKENS, "operations": 0}
    return {**common, "entries": list(entries), **others}

  return build


@pytest.fixture
def small():
  """The smoke page with less to compile."""

  def build(**changes):
    config = page.get_config("smoke")
    config.precisions = ("float32",)
    config.peers = ("flax",)
    config.storage.shapes = ()
    config.dynamic.segments = ()
    config.sampling.batches = ()
    config.contests = ("layer", "training", "words", "ink")
    config.update(changes)
    return config

  return build
