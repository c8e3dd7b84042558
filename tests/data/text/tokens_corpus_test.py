"""From a corpus by name to the ids of its splits."""

import collections
import json

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.data.text import batching, vocabulary
from seqmodels.data.text import tokens as tokens_lib

FRACTIONS = (0.5, 0.25, 0.25)


@pytest.fixture
def write(tmp_path):
  def write(content):
    path = tmp_path / "text"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path

  return write


def load(path, tokenizer="characters", **options):
  settings = {
    "source": "text",
    "partition": "fractions",
    "fractions": FRACTIONS,
    **options,
  }
  return tokens_lib.load_tokens(tokenizer=tokenizer, path=path, **settings)


def text_of(tokens, split, tokenizer="characters"):
  symbols = tokens.vocabulary.decode(tokens.splits[split])
  return vocabulary.named(tokenizer).join(symbols)


def test_penn_treebank_as_characters_has_the_published_counts(real_data):
  tokens = tokens_lib.load_tokens(
    source="ptb",
    tokenizer="characters",
    partition="mikolov",
    data_dir=real_data,
    sentences=True,
  )
  sizes = {split: len(ids) for split, ids in tokens.splits.items()}
  assert sizes == {"train": 5_017_482, "valid": 393_042, "test": 442_423}
  assert tokens.vocabulary.size == 50
  assert tokens.vocabulary.unk is None
  assert {ids.dtype for ids in tokens.splits.values()} == {np.dtype("uint8")}
  assert tokens.vocabulary.symbols[tokens.sentence_end] == "\n"
  lines = {
    s: int(np.sum(i == tokens.sentence_end)) for s, i in tokens.splits.items()
  }
  assert lines == {"train": 42_068, "valid": 3_370, "test": 3_761}
  assert tokens.characters_per_split == sizes
  assert tokens.words_per_split == {
    "train": 929_589,
    "valid": 73_760,
    "test": 82_430,
  }


def test_penn_treebank_as_words_has_the_published_counts(real_data):
  tokens = tokens_lib.load_tokens(
    source="ptb",
    tokenizer="words",
    partition="mikolov",
    data_dir=real_data,
    sentences=True,
  )
  sizes = {split: len(ids) for split, ids in tokens.splits.items()}
  assert sizes == {"train": 929_589, "valid": 73_760, "test": 82_430}
  assert tokens.vocabulary.size == 10_000
  assert tokens.sentence_end == tokens.vocabulary.eos
  assert {ids.dtype for ids in tokens.splits.values()} == {np.dtype("uint16")}
  assert tokens.words_per_split == sizes
  assert tokens.characters_per_split == {
    "train": 5_017_482,
    "valid": 393_042,
    "test": 442_423,
  }
  # An unknown word in the text is the <unk> of the vocabulary, id 0.
  raw = (real_data / "ptb/ptb.test.txt").read_text("ascii").split()
  test = tokens.splits["test"]
  assert int(np.sum(test == tokens.vocabulary.unk)) == raw.count("<unk>")


def test_the_wikipedia_prefix_is_cut_by_graves_fractions(real_data):
  tokens = tokens_lib.load_tokens(
    source="enwik8",
    tokenizer="bytes",
    partition="graves",
    data_dir=real_data,
  )
  whole = (real_data / "enwik8/enwik8.first-4154400").read_bytes()
  assert {s: len(i) for s, i in tokens.splits.items()} == {
    "train": 3_988_224,
    "valid": 166_176,
  }
  assert tokens.vocabulary.symbols == tuple(sorted(set(whole)))
  assert text_of(tokens, "valid", "bytes") == whole[3_988_224:]
  assert tokens.provenance["note"].startswith("prefix: first 4,154,400 bytes")
  assert {ids.dtype for ids in tokens.splits.values()} == {np.dtype("uint8")}


def test_provenance_goes_into_a_run_record(write):
  tokens = load(write("hello world " * 10), limit=7)
  again = json.loads(json.dumps(tokens.provenance))
  assert again == tokens.provenance
  assert again["tokenizer"] == "characters"
  assert again["partition"] == "fractions"
  assert again["limit"] == 7


@hypothesis.given(
  st.text(st.characters(exclude_categories=["Cs"]), min_size=12, max_size=200)
)
def test_splits_join_back_to_the_text(tmp_path_factory, text):
  path = tmp_path_factory.mktemp("corpus") / "text"
  path.write_bytes(text.encode())
  as_bytes = load(path, "bytes")
  joined = b"".join(text_of(as_bytes, s, "bytes") for s in as_bytes.splits)
  assert joined == text.encode()
  tokens = load(path)
  unknown = tokens.vocabulary.unk
  cut = 0
  for split, ids in tokens.splits.items():
    part = text[cut : cut + len(ids)]
    seen = set(text[: len(tokens.splits["train"])])
    expected = [c if c in seen else "<unk>" for c in part]
    assert tokens.vocabulary.decode(ids) == expected, split
    cut += len(ids)
  assert cut == len(text)
  assert (unknown is None) == (set(text) <= seen)


def test_a_character_training_lacks_becomes_unk_and_only_then(write):
  known = load(write("abababab"))
  assert known.vocabulary.symbols == ("a", "b")
  unknown = load(write("abababxb"))
  assert unknown.vocabulary.symbols == ("<unk>", "a", "b")
  assert unknown.splits["test"].tolist() == [0, 2]


def test_the_bytes_of_each_split_are_kept_as_they_were(write):
  # Of one, two, three and four bytes each; the last two are new to the test.
  text = "a\u00e9" * 10 + "\u4e00\U0001f600" * 5
  for limit, test in ((0, text[22:]), (4, text[22:26])):
    tokens = load(write(text), limit=limit)
    assert tokens.bytes_per_split["test"].tobytes() == test.encode()
    assert tokens.unknown_per_split["test"] == len(test)
  tokens = load(write(text), "bytes")
  joined = b"".join(part.tobytes() for part in tokens.bytes_per_split.values())
  assert joined == text.encode()
  assert set(tokens.unknown_per_split.values()) == {0}
  assert load(write("a b " * 9), "words").bytes_per_split == {}


def test_unknown_words_are_counted_whether_written_so_or_not(write):
  tokens = load(write("a b a b <unk> c c d\n"), "words")
  counted = {
    name: int((ids == tokens.vocabulary.unk).sum())
    for name, ids in tokens.splits.items()
  }
  assert tokens.unknown_per_split == counted
  assert sum(counted.values()) > 2


@pytest.mark.parametrize(
  ("text", "tokenizer", "warning"),
  [
    ("one\r\ntwo\r\n", "characters", r"8 '\r\n' (Windows)"),
    ("one\r\ntwo\r\n", "words", ""),
    ("one\r\ntwo\r\n", "bytes", ""),
    ("one\rtwo\r", "words", r"8 '\r' (old Macintosh)"),
    ("one\u2028two\n", "words", "4 U+2028 (line separator)"),
    ("one\ntwo\n", "characters", ""),
  ],
)
def test_odd_line_ends_are_named(write, text, tokenizer, warning):
  actual = load(write(text * 4), tokenizer).warnings
  assert actual == (
    (f"text has line ends other than '\\n': {warning}",) if warning else ()
  )


def test_odd_line_ends_are_counted_across_pieces():
  data = np.frombuffer("a\r\n\r\u2028b\x85".encode(), np.uint8)
  whole = vocabulary.odd_line_ends(data)
  assert list(whole.values()) == [1, 1, 1, 1]
  for size in range(1, len(data)):
    assert vocabulary.odd_line_ends(data, size) == whole


def test_sentence_mode_names_the_line_ends_that_are_there(write):
  with pytest.raises(errors.UserError, match=r"convert .* \(8 .*Macin"):
    load(write("one\rtwo\r" * 4), sentences=True)


def test_a_byte_training_lacks_has_an_id_of_its_own(write):
  tokens = load(write(b"abababxb"), "bytes")
  assert tokens.vocabulary.symbols == (97, 98, 120)
  assert tokens.splits["test"].tolist() == [2, 1]


def test_words_are_numbered_by_frequency_in_training(write):
  tokens = load(write("b a\nb a b\nc d\n"), "words")
  # Ten symbols, five of them training: b a <eos> b a.
  assert tokens.vocabulary.symbols == ("<unk>", "b", "a", "<eos>")
  assert text_of(tokens, "valid", "words") == "b\n<unk>"
  assert text_of(tokens, "test", "words") == "<unk>\n"


@pytest.mark.parametrize(
  ("tokenizer", "kept"),
  [
    ("characters", ("<unk>", " ", "a")),
    ("bytes", ("<unk>", 32, 97)),
    ("words", ("<unk>", "a")),
  ],
)
def test_rare_symbols_become_unk(write, tokenizer, kept):
  tokens = load(write("a a a b a a a a "), tokenizer, min_frequency=3)
  assert tokens.vocabulary.symbols == kept
  assert tokens.vocabulary.unk == 0


def test_a_limit_cuts_every_split_and_keeps_the_vocabulary(write):
  path = write("the quick brown fox\njumps over\n" * 20)
  whole, cut = load(path), load(path, limit=25)
  assert cut.vocabulary == whole.vocabulary
  for split, ids in cut.splits.items():
    np.testing.assert_array_equal(ids, whole.splits[split][:25])
    assert cut.characters_per_split[split] == 25
  # the quick brown fox, its end, jumps, and the end it is cut off at.
  assert cut.words_per_split["train"] == 7


@pytest.mark.parametrize("tokenizer", sorted(vocabulary.TOKENIZERS))
def test_counts_a_split_are_those_of_its_text(write, tokenizer):
  path = write("naïve café\n  two  words\n\nend" * 30)
  tokens = load(path, tokenizer)
  for split in tokens.splits:
    joined = text_of(tokens, split, tokenizer)
    text = joined.decode(errors="replace") if tokenizer == "bytes" else joined
    actual = vocabulary.words(text)
    if tokenizer != "words":
      assert tokens.words_per_split[split] == len(actual)
      assert tokens.characters_per_split[split] == len(joined)
    else:
      assert tokens.words_per_split[split] == len(tokens.splits[split])


def test_sentence_mode_names_the_end_of_a_line(write):
  path = write("ab\ncd\n" * 10)
  for tokenizer, symbol in (
    ("characters", "\n"),
    ("bytes", 10),
    ("words", "<eos>"),
  ):
    tokens = load(path, tokenizer, sentences=True)
    assert tokens.vocabulary.symbols[tokens.sentence_end] == symbol
    assert load(path, tokenizer).sentence_end is None


def test_sentence_mode_equals_a_reading_line_by_line(write):
  lines = ["ab", "b", "", "abba", "a"] * 4
  path = write("".join(line + "\n" for line in lines))
  tokens = load(path, partition="fractions", fractions=(1.0,), sentences=True)
  stream = batching.SequentialStream(
    tokens.splits["train"],
    batch=1,
    length=5,
    sentence_end=tokens.sentence_end,
  )
  epoch = stream.segments(0, stream.segments_per_epoch)
  flat = [field.reshape(-1)[epoch.mask.reshape(-1)] for field in epoch[:2]]
  index = tokens.vocabulary.index
  inputs, targets = [], []
  for line in lines:
    ids = [index[c] for c in line + "\n"]
    inputs += [-1, *ids[:-1]]
    targets += ids
  assert [f.tolist() for f in flat] == [inputs, targets]
  starts = [place for place, value in enumerate(inputs) if value == -1]
  resets = epoch.reset.reshape(-1)[epoch.mask.reshape(-1)]
  assert np.flatnonzero(resets).tolist() == starts


def test_sentence_mode_without_line_ends_is_refused(write):
  with pytest.raises(errors.UserError, match="needs line ends"):
    load(write("no line ends at all"), sentences=True)


def test_a_trained_models_vocabulary_can_be_used_for_another_text(write):
  own = vocabulary.Vocabulary(("<unk>", "b", "a"))
  tokens = load(write("abcabcab"), vocabulary=own)
  assert tokens.vocabulary is own
  ids = np.concatenate(list(tokens.splits.values()))
  assert ids.tolist() == [2, 1, 0, 2, 1, 0, 2, 1]
  assert tokens.warnings == (
    "2 of 8 symbols are '<unk>' to the vocabulary of 3: 'c'",
  )


@pytest.mark.parametrize(
  ("tokenizer", "symbols", "lacking"),
  [("characters", ("b", "a"), "'c', 'd'"), ("bytes", (98, 97), "99, 100")],
)
def test_all_symbols_that_a_vocabulary_lacks_are_named(
  write, tokenizer, symbols, lacking
):
  own = vocabulary.Vocabulary(symbols)
  with pytest.raises(errors.UserError, match=f"of 2 symbols lacks {lacking} "):
    load(write("abcabcabd"), tokenizer, vocabulary=own)


@pytest.mark.parametrize("tokenizer", ["characters", "words"])
def test_text_that_is_not_utf8_is_refused_with_file_and_offset(
  tmp_path, tokenizer
):
  (tmp_path / "a.txt").write_bytes("schön ".encode() * 10)
  (tmp_path / "b.txt").write_bytes(b"caf\xe9 " * 10)
  with pytest.raises(errors.UserError) as caught:
    load(tmp_path, tokenizer)
  message = str(caught.value)
  assert f"{tmp_path / 'b.txt'} is not UTF-8 at byte 3 (0xe9)" in message
  assert "'bytes'" in message
  assert len(load(tmp_path, "bytes").splits) == 3


def test_an_empty_file_is_refused(write):
  with pytest.raises(errors.UserError, match="is empty"):
    load(write(""))


def test_a_file_too_short_to_cut_is_refused(write):
  with pytest.raises(errors.UserError, match="1 symbols are too few"):
    load(write("a"))


def test_a_file_shorter_than_a_training_segment_is_refused(write):
  tokens = load(write("a short text"))
  with pytest.raises(errors.UserError, match="6 symbols and one segment takes"):
    batching.SequentialStream(
      tokens.splits["train"], batch=2, length=4, training=True
    )


def test_bytes_are_counted_by_pieces():
  data = np.random.default_rng(0).integers(0, 256, 5000).astype(np.uint8)
  expected = collections.Counter(data.tolist())
  counts = tokens_lib._byte_counts(data, size=7)
  assert dict(enumerate(counts.tolist())) == {
    value: expected[value] for value in range(256)
  }


@pytest.mark.parametrize(
  ("options", "message"),
  [
    ({"source": "txt"}, "unknown source 'txt' .*'text'"),
    ({"tokenizer": "word"}, "unknown tokenizer 'word' .*'words'"),
    ({"partition": "standart"}, "unknown partition .*'standard'"),
    ({"partition": "mikolov"}, "three files"),
    ({"limit": -1}, "limit is -1"),
    ({"min_frequency": 0}, "min_frequency is 0"),
    ({"fractions": (0.5, 0.6)}, "add up to 1"),
  ],
)
def test_bad_settings_are_refused(write, options, message):
  with pytest.raises(errors.UserError, match=message):
    load(write("some text " * 10), **options)


def test_three_files_are_not_cut_again(real_data):
  with pytest.raises(errors.UserError, match="comes in three files"):
    tokens_lib.load_tokens(
      source="ptb",
      tokenizer="words",
      partition="standard",
      data_dir=real_data,
    )


def test_the_embedded_corpus_needs_nothing():
  tokens = tokens_lib.load_tokens(
    source="embedded", tokenizer="characters", partition="standard"
  )
  total = sum(map(len, tokens.splits.values()))
  assert total > 400_000
  assert len(tokens.splits["valid"]) == pytest.approx(total / 20, abs=1)
