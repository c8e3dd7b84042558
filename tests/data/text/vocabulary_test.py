"""Vocabularies: ids, specials, storing, comparing."""

import collections
import hashlib
import json
import re

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import vocabulary

Vocabulary = vocabulary.Vocabulary

words = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=40)
plain_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


def test_ids_follow_falling_frequency_then_first_occurrence():
  built = Vocabulary.build(["b", "a", "c", "a", "d", "c"], specials=())
  assert built.symbols == ("a", "c", "b", "d")


def test_specials_come_first_and_are_not_repeated_from_the_text():
  text = ["<unk>", "x", "<unk>", "<eos>", "x", "x"]
  built = Vocabulary.build(text, specials=("<unk>", "<pad>", "<bos>", "<eos>"))
  assert built.symbols == ("<unk>", "<pad>", "<bos>", "<eos>", "x")
  assert (built.unk, built.pad, built.eos) == (0, 1, 3)


def test_without_specials_their_ids_are_none():
  built = Vocabulary.build("ab", specials=())
  assert (built.unk, built.pad, built.eos) == (None,) * 3


def test_the_textbooks_indices_come_out_of_its_corpus(real_data):
  # Dive into Deep Learning's first edition: 0 is <unk>, then by frequency.
  lines = (real_data / "timemachine/timemachine.txt").read_text("utf-8")
  tokens = [
    word
    for line in lines.split("\n")
    for word in re.sub("[^A-Za-z]+", " ", line).strip().lower().split()
  ]
  built = Vocabulary.build(tokens)
  top_ten = "<unk> the i and of a to was in that"
  assert " ".join(map(str, built.symbols[:10])) == top_ten
  seed = ["the", "time", "machine", "asdsa"]
  assert built.encode(seed).tolist() == [1, 19, 50, 0]
  sizes = {
    n: Vocabulary.build(tokens, min_frequency=n).size for n in (1, 2, 10)
  }
  assert sizes == {1: 4580, 2: 2183, 10: 400}


@hypothesis.given(words, st.integers(1, 4))
def test_building_keeps_exactly_what_is_frequent_enough(tokens, minimum):
  built = Vocabulary.build(tokens, min_frequency=minimum)
  counts = collections.Counter(tokens)
  expected = {t for t, n in counts.items() if n >= minimum} | {"<unk>"}
  assert set(built.symbols) == expected
  kept = [counts[symbol] for symbol in built.symbols[1:]]
  assert kept == sorted(kept, reverse=True)


@hypothesis.given(words)
def test_decode_undoes_encode_where_every_symbol_is_known(tokens):
  built = Vocabulary.build(tokens)
  assert built.decode(built.encode(tokens)) == tokens


@hypothesis.given(plain_text, plain_text)
def test_text_is_encoded_like_the_list_of_its_characters(known, text):
  built = Vocabulary.build(known)
  ids = built.encode(text)
  assert ids.dtype == np.int32
  assert ids.tolist() == built.encode(list(text)).tolist()
  expected = [c if c in known else "<unk>" for c in text]
  assert built.decode(ids) == expected


@hypothesis.given(st.binary(min_size=1))
def test_bytes_are_encoded_like_the_list_of_their_values(data):
  built = Vocabulary.of_bytes(data)
  array = np.frombuffer(data, np.uint8)
  expected = [built.symbols.index(value) for value in data]
  assert built.encode(data).tolist() == expected
  assert built.encode(array, np.uint8).tolist() == expected
  assert built.encode(list(data)).tolist() == expected
  assert bytes(built.decode(built.encode(data))) == data


def test_pieces_of_a_long_text_are_encoded_alike(monkeypatch):
  monkeypatch.setattr(vocabulary.files, "PIECE", 7)
  text = "the quick brown fox jumps over the lazy dog"
  built = Vocabulary.build(text, specials=())
  assert "".join(built.decode(built.encode(text))) == text
  of_bytes = Vocabulary.of_bytes(text.encode())
  assert bytes(of_bytes.decode(of_bytes.encode(text.encode()))) == text.encode()


@pytest.mark.parametrize(
  ("size", "dtype"),
  [(1, "uint8"), (256, "uint8"), (257, "uint16"), (65_537, "uint32")],
)
def test_the_id_type_is_the_smallest_that_holds_every_id(size, dtype):
  built = Vocabulary(tuple(map(str, range(size))))
  assert built.id_dtype == np.dtype(dtype)
  assert built.encode([str(size - 1)], built.id_dtype).tolist() == [size - 1]


@pytest.mark.parametrize(
  ("sequence", "symbol", "position"),
  [("abxa", "'x'", 2), (["a", "x"], "'x'", 1), (b"aba", "97", 0)],
)
def test_an_unknown_symbol_without_unk_is_named(sequence, symbol, position):
  built = Vocabulary.build("ab", specials=())
  message = f"symbol {symbol} at position {position} is not among the 2"
  with pytest.raises(errors.UserError, match=message):
    built.encode(sequence)


@pytest.mark.parametrize("ids", [[0, 2], [-1], np.array([[5]])])
def test_an_id_outside_the_vocabulary_is_refused(ids):
  with pytest.raises(errors.UserError, match="outside this vocabulary of 2"):
    Vocabulary(("a", "b")).decode(ids)


def test_decoding_nothing_gives_nothing():
  assert Vocabulary(("a",)).decode([]) == []
  assert Vocabulary(("a",)).encode("").tolist() == []


def test_a_vocabulary_cannot_be_changed():
  symbols = ["a", "b"]
  built = Vocabulary(symbols)  # type: ignore[arg-type]
  symbols.append("c")
  assert built.symbols == ("a", "b")
  with pytest.raises(AttributeError):
    built.symbols = ("c",)  # type: ignore[misc]


def test_a_symbol_given_twice_is_refused():
  with pytest.raises(errors.UserError, match="'a' occur more often"):
    Vocabulary(("a", "b", "a"))


def test_an_empty_vocabulary_is_refused():
  with pytest.raises(errors.UserError, match="at least one symbol"):
    Vocabulary.build([], specials=())


@pytest.mark.parametrize(
  ("arguments", "message"),
  [
    ({"min_frequency": 0}, "min_frequency is 0; it must be at least 1"),
    ({"order": "frequent"}, "unknown vocabulary order.*'frequency'"),
  ],
)
def test_bad_arguments_are_refused(arguments, message):
  with pytest.raises(errors.UserError, match=message):
    Vocabulary.build("abc", **arguments)


# Any string, lone surrogates too, and bytes among them.
@hypothesis.given(
  st.lists(st.text() | st.integers(0, 255), min_size=1, unique=True)
)
def test_json_round_trip_keeps_symbols_and_hash(symbols):
  built = Vocabulary(tuple(symbols))
  again = Vocabulary.from_json(built.to_json())
  assert again.symbols == built.symbols
  assert again.hash == built.hash
  built.require_same(again)


def test_the_hash_tells_a_character_from_a_byte():
  assert Vocabulary(("7",)).hash != Vocabulary((7,)).hash


def test_the_hash_stays_the_same_between_versions():
  # Stored in every run: a change of the form makes old runs unreadable.
  form = rb'{"symbols":["<unk>","\u00e9",10]}'
  expected = hashlib.sha256(form).hexdigest()
  assert Vocabulary(("<unk>", "é", 10)).hash == expected


def test_saving_and_loading_gives_an_equal_vocabulary(tmp_path):
  built = Vocabulary.build("hello wörld")
  path = tmp_path / "new" / "vocabulary.json"
  built.save(path)
  assert Vocabulary.load(path) == built
  assert [file.name for file in path.parent.iterdir()] == ["vocabulary.json"]


def test_numpy_numbers_are_stored_as_numbers():
  built = Vocabulary(tuple(np.array([3, 1], np.uint8)))
  assert json.loads(built.to_json()) == {"symbols": [3, 1]}


@pytest.mark.parametrize(
  "content",
  [
    b"",
    b"{",
    b"[]",
    b'{"symbols": 3}',
    b'{"symbols": [1.5]}',
    b'{"symbols": [true]}',
    b'{"symbols": [300]}',
    b'{"symbols": []}',
    b'{"symbols": ["a", "a"]}',
    b"\xff",
  ],
)
def test_a_file_that_is_no_vocabulary_is_refused_by_name(tmp_path, content):
  path = tmp_path / "vocabulary.json"
  path.write_bytes(content)
  with pytest.raises(errors.UserError, match=r"vocabulary\.json holds no"):
    Vocabulary.load(path)


def test_a_missing_file_is_refused_by_name(tmp_path):
  with pytest.raises(errors.UserError, match=r"cannot read .*gone\.json"):
    Vocabulary.load(tmp_path / "gone.json")


def test_a_mismatch_lists_symbols_and_hashes():
  old, new = Vocabulary(("a", "b", "c")), Vocabulary(("b", "a", "d"))
  with pytest.raises(errors.UserError) as caught:
    old.require_same(new)
  message = str(caught.value)
  for part in (
    "missing 'c'",
    "new 'd'",
    "other ids for 'a', 'b'",
    old.hash[:12],
    new.hash[:12],
  ):
    assert part in message


def test_a_long_mismatch_is_cut_short():
  old = Vocabulary(tuple(map(str, range(1000))))
  with pytest.raises(errors.UserError, match="and 991 more") as caught:
    old.require_same(Vocabulary(("0",)))
  assert len(str(caught.value)) < 500
