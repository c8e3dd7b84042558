"""Segments and lines that are longer than anybody means."""

import numpy as np
import pytest

from configs import text as text_page
from experiments.language_model import task
from seqmodels.data.text import tokens as tokens_lib


@pytest.fixture
def lines(corpus_file):
  return tokens_lib.load_tokens(
    source="text",
    tokenizer="characters",
    partition="standard",
    path=corpus_file,
    sentences=True,
  )


@pytest.mark.parametrize(("streams", "symbols"), [(1, 0), (3, 0), (2, 31)])
def test_a_segment_is_no_longer_than_the_split(lines, streams, symbols):
  pieces = task.chunks(
    lines, "test", streams_count=streams, length=10**8, symbols=symbols
  )
  count = symbols or len(lines.splits["test"])
  [piece] = pieces
  assert piece.targets.shape == (1, -(-count // streams), streams)
  assert int(np.sum(piece.mask)) == count


def test_a_line_too_long_to_train_on_whole_is_named(lines, monkeypatch, capsys):
  config = text_page.get_config()
  config.data.sentences = True
  config.training.update(sampling="sentences", batch=2)
  task.train_stream(config, lines)
  assert capsys.readouterr().err == ""
  monkeypatch.setattr(task, "LONG_LINE", 20)
  stream = task.train_stream(config, lines)
  assert 20 < stream.longest < 60
  assert capsys.readouterr().err.startswith(
    f"warning: a line of the training text has {stream.longest} symbols, "
  )
