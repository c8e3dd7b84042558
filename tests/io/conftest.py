"""Figures as they were drawn, and what they are made of."""

import struct

import pytest


@pytest.fixture
def drawn(monkeypatch):
  """The axes of every figure, as they stood when it was written."""
  from matplotlib import figure as figures

  kept = []
  save = figures.Figure.savefig

  def keep(self, *arguments, **options):
    kept.append(self.axes)
    return save(self, *arguments, **options)

  monkeypatch.setattr(figures.Figure, "savefig", keep)
  return kept


@pytest.fixture
def png_size():
  """Width and height by the file's own header."""

  def read(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert 5_000 < len(data) < 300_000
    return struct.unpack(">II", data[16:24])

  return read


@pytest.fixture
def lines():
  """The points of every line of a pair of axes, by label."""

  def read(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}

  return read
