"""The line that the quick start begins with."""

import types

import pytest

from experiments.language_model import run
from seqmodels import pretrained


@pytest.fixture
def written(monkeypatch):
  """Texts that were written; their pictures are empty files."""
  texts = []

  def write(text, **_):
    texts.append(text)
    return types.SimpleNamespace(save=lambda path: path.touch())

  hand = types.SimpleNamespace(write=write)
  monkeypatch.setattr(run.trained, "load", lambda *_, **__: hand)
  monkeypatch.setattr(pretrained, "shipped", lambda: [run.SHIPPED])
  monkeypatch.setattr(pretrained, "path", lambda name: name)
  return texts


def test_a_greeting_is_written_once(written, tmp_path, capsys):
  for _ in range(2):
    run.greet("good day", tmp_path)
  assert written == ["good day"]
  assert (tmp_path / run.GREETING).exists()
  assert capsys.readouterr().err == f"handwriting: {tmp_path}/{run.GREETING}\n"


def test_without_shipped_weights_nothing_is_written(
  written, tmp_path, monkeypatch
):
  monkeypatch.setattr(pretrained, "shipped", list)
  run.greet("good day", tmp_path)
  assert written == []
  assert list(tmp_path.iterdir()) == []
