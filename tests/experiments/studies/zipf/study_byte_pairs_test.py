"""Pieces against a slow list of bytes strings; nothing is ever lost."""

import collections
import itertools

import hypothesis
import hypothesis.strategies as st
import numpy as np

from experiments.studies.zipf import study

SPACES = b" \t\n\r\f\v"
texts = st.one_of(
  st.binary(min_size=1, max_size=80),
  st.text("ab \n", min_size=1, max_size=80).map(str.encode),
)


def merged(pieces, pair):
  actual, i = [], 0
  while i < len(pieces):
    if tuple(pieces[i : i + 2]) == pair:
      actual.append(pieces[i] + pieces[i + 1])
      i += 2
    else:
      actual.append(pieces[i])
      i += 1
  return actual


def slowly(text, merges):
  """Learned pieces, and the text in them, by lists of byte strings."""
  pieces, known = [bytes([b]) for b in text], []
  ids = {bytes([b]): b for b in range(256)}
  for _ in range(merges):
    counts = collections.Counter(
      pair for pair in itertools.pairwise(pieces) if pair[1][0] not in SPACES
    )
    if not counts or max(counts.values()) < 2:
      break
    pair = min(counts, key=lambda p: (-counts[p], ids[p[0]], ids[p[1]]))
    known.append(pair[0] + pair[1])
    ids.setdefault(known[-1], 255 + len(known))
    pieces = merged(pieces, pair)
  return known, pieces


@hypothesis.given(texts, st.integers(0, 12))
def test_learning_and_encoding_equal_the_slow_way(text, merges):
  pairs = study.BytePairs.learn(text, merges)
  known, pieces = slowly(text, merges)
  # The slow way knows pieces by their bytes, which two merges may share.
  hypothesis.assume(len(set(known)) == len(known))
  assert list(pairs.pieces[256:]) == known
  assert [pairs.pieces[i] for i in pairs.encode(text)] == pieces


@hypothesis.given(texts, st.binary(max_size=80))
def test_any_text_comes_back(text, other):
  pairs = study.BytePairs.learn(text, 10)
  for data in (text, other):
    ids = pairs.encode(data)
    assert pairs.decode(ids) == data
    assert len(ids) <= len(data)


@hypothesis.given(texts)
def test_white_space_only_begins_a_piece(text):
  pairs = study.BytePairs.learn(text, 20)
  assert not any(set(piece[1:]) & set(SPACES) for piece in pairs.pieces)


def test_a_run_of_equal_bytes_is_paired_from_the_left():
  pairs = study.BytePairs(((97, 97),))
  assert pairs.encode(b"aaaaa b aaa").tolist() == [
    *(256, 256, 97, 32, 98, 32, 256, 97)
  ]


def test_more_merges_make_fewer_pieces_until_nothing_occurs_twice():
  text = "der Kaffee, über den Kaffee hinüber".encode()
  lengths = [
    len(study.BytePairs.learn(text, merges).encode(text))
    for merges in range(10)
  ]
  assert lengths[0] == len(text)
  assert np.all(np.diff(lengths) < 0)
  assert len(study.BytePairs.learn(text, 1_000).merges) < 30
  assert study.BytePairs.learn(b"x", 5).merges == ()
