"""Words and their codes, there and back."""

import io
from pydoc_data import topics

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.compression import dictionary as dictionary_lib


def respell(text, dictionary):
  return b"".join(dictionary_lib.respell(io.BytesIO(text), dictionary))


def restore(data):
  return b"".join(dictionary_lib.restore(io.BytesIO(data)))


def there_and_back(text, least=2):
  dictionary = dictionary_lib.choose(io.BytesIO(text), least=least)
  if dictionary is not None:
    assert restore(respell(text, dictionary)) == text
  return dictionary


CASES = [b"the", b"The", b"THE", b"tHE", b"A", b"a", b"AB", b"I'm", b"Q" * 64]
OTHERS = [b" ", b"\n", b"\r\n", b".", b"\xc3\xa9", b"\x00", b"^", b"\xff"]
LONG = [b"x" * 31, b"y" * 32, b"Z" * 33, b"Q" * 32]
PIECES = st.sampled_from([*CASES, *OTHERS, *LONG])


@hypothesis.given(st.lists(PIECES, max_size=60))
def test_pieces_of_text_come_back(pieces):
  there_and_back(b"".join(pieces))


@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_come_back(data):
  there_and_back(data, least=1)


@hypothesis.given(st.text("ABCDE aé", max_size=80), st.integers(1, 3))
def test_a_text_in_capitals_comes_back(text, least):
  there_and_back(text.encode(), least=least)


def test_letters_are_no_codes_where_capitals_use_them():
  rng = np.random.default_rng(1)
  letters = np.frombuffer(b"ABCDEFGHIJ", np.uint8)
  vocabulary = [rng.choice(letters, 4).tobytes() for _ in range(1000)]
  dictionary = there_and_back(b" ".join(vocabulary * 2))
  assert len(dictionary.words) > 200
  # Of the small letters only those that no capital stands for.
  assert not set(b"abcdefghij") & set(dictionary.codes + dictionary.marks)


@pytest.mark.parametrize("chunk", [1, 2, 7, 35, 64])
def test_chunks_do_not_show(chunk, monkeypatch):
  text = b"The THE the Anderson's ABCdef " * 3 + b"M" * 80 + b"n" * 80
  dictionary = dictionary_lib.choose(io.BytesIO(text), least=1)
  whole = respell(text, dictionary)
  monkeypatch.setattr(dictionary_lib, "_CHUNK", chunk)
  assert dictionary_lib.choose(io.BytesIO(text), least=1) == dictionary
  assert respell(text, dictionary) == whole
  assert restore(whole) == text


def test_text_gets_shorter():
  text = " ".join(topics.topics.values()).encode()
  dictionary = there_and_back(text, least=8)
  assert len(respell(text, dictionary)) < 0.9 * len(text)


def test_many_words_take_pairs():
  rng = np.random.default_rng(0)
  letters = np.frombuffer(b"abcdefghij", np.uint8)
  vocabulary = [rng.choice(letters, 5).tobytes() for _ in range(2000)]
  text = b" ".join(vocabulary * 2)
  dictionary = there_and_back(text)
  assert dictionary.leads > 0
  assert len(set(dictionary.table.values())) == len(dictionary.words)
  alone = len(dictionary.codes) - dictionary.leads
  for number, code in enumerate(dictionary.table.values()):
    assert len(code) == (1 if number < alone else 2)


def test_the_word_that_saves_most_has_the_only_code():
  unused = {200, 201, 202}  # Two of them are marks.
  others = b" ".join(bytes([v]) for v in range(256) if v not in unused)
  actual = dictionary_lib.choose(
    io.BytesIO(b"extraordinary " * 5 + b"cat " * 6 + others), least=2
  )
  assert actual.table == {b"extraordinary": bytes([202])}


@pytest.mark.parametrize(
  "text", [b"", b"a", b"words that occur once only", bytes(range(256)) * 50]
)
def test_where_nothing_is_to_be_had_there_is_no_dictionary(text):
  assert dictionary_lib.choose(io.BytesIO(text), least=2) is None


def test_more_words_than_are_counted_lose_the_rarest(monkeypatch):
  monkeypatch.setattr(dictionary_lib, "_MOST_COUNTED", 8)
  rare = b" ".join(
    bytes([97 + a, 97 + b, 97 + a]) for a in range(20) for b in range(20)
  )
  actual = dictionary_lib.choose(io.BytesIO(b"often " * 40 + rare), least=4)
  assert actual.words == (b"often",)


KNOWN = dictionary_lib.Dictionary(
  b"^~", b"1234", 2, (b"the", b"and", b"cat", b"dog")
)


@pytest.mark.parametrize(
  ("bad", "sentence"),
  [
    (b"", "dictionary of words makes no sense"),
    (b"\x04^~1234\x02the and", "dictionary of words makes no sense"),
    (b"\x04^~1234\x05the and\n", "dictionary of words makes no sense"),
    (b"\x04^~1134\x02the and\n", "dictionary of words makes no sense"),
    (b"\x04^~1234\x02the  and\n", "dictionary of words makes no sense"),
    (b"\x04^~1234\x02" + b"the " * 20 + b"\n", "makes no sense"),
    (b"\x04^~1234\x02" + b"a" * (1 << 21) + b"\n", "makes no sense"),
    (KNOWN.pack() + b"^", "stand where none can"),
    (KNOWN.pack() + b"^ and so on and so on and so on", "none can"),
    (KNOWN.pack() + b"~a", "stand where none can"),
    (KNOWN.pack() + b"3", "stand where none can"),
    (KNOWN.pack() + b"3 ", "stand where none can"),
  ],
)
def test_what_respelling_cannot_have_made_is_refused(bad, sentence):
  with pytest.raises(errors.UserError, match=sentence):
    restore(bad)


@hypothesis.given(st.binary(max_size=300))
def test_any_bytes_are_restored_or_refused(data):
  for head in (b"", KNOWN.pack()):
    try:
      restore(head + data)
    except errors.UserError:
      continue
