import numpy as np

from seqmodels.data.text import vocabulary


def test_ids_of_text_and_of_bytes_are_those_of_the_index(monkeypatch):
  monkeypatch.setattr(vocabulary.files, "PIECE", 3)
  tables = vocabulary.Tables.of({"a": 4, "é": 7, 98: 2}, unknown=0)
  ids, missing = tables.ids("aébaaé", np.uint8)
  assert (ids.tolist(), missing) == ([4, 7, 0, 4, 4, 7], None)
  data = np.frombuffer(b"abba", np.uint8)
  ids, missing = tables.ids(data, np.int32)
  assert (ids.tolist(), missing) == ([0, 2, 2, 0], None)


def test_the_first_symbol_without_an_id_is_found_in_any_piece(monkeypatch):
  monkeypatch.setattr(vocabulary.files, "PIECE", 3)
  tables = vocabulary.Tables.of({"a": 0, 97: 0}, unknown=-1)
  for place in range(8):
    text = "a" * place + "z" + "a" * 3
    assert tables.ids(text, np.int32)[1] == place
    data = np.frombuffer(text.encode(), np.uint8)
    assert tables.ids(data, np.int32)[1] == place
