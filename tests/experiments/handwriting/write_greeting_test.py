"""The line that the quick start begins with."""

import types

import pytest

from experiments.handwriting import write
from seqmodels import pretrained


@pytest.fixture
def written(monkeypatch):
  """Texts that were written; their pictures are empty files."""
  texts = []

  def page(network, params, pen, text, **_):
    texts.append(text)
    return types.SimpleNamespace(save=lambda path: path.touch())

  hand = types.SimpleNamespace(model=None, params=None, symbols=None)
  monkeypatch.setattr(write.restore, "reload", lambda *_, **__: hand)
  monkeypatch.setattr(write.trained_lib, "page", page)
  return texts


def test_a_greeting_is_written_once(written, tmp_path, capsys):
  for _ in range(2):
    write.greet("good day", tmp_path)
  assert written == ["good day"]
  assert (tmp_path / write.GREETING).exists()
  assert (
    capsys.readouterr().err == f"handwriting: {tmp_path}/{write.GREETING}\n"
  )


def test_without_shipped_weights_nothing_is_written(
  written, tmp_path, monkeypatch
):
  monkeypatch.setattr(pretrained, "shipped", list)
  write.greet("good day", tmp_path)
  assert written == []
  assert list(tmp_path.iterdir()) == []
