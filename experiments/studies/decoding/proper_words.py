"""Words from a model of characters: as it likes, and confined to a list."""

import re
from collections.abc import Sequence

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.common import spelling
from experiments.studies.decoding import written_texts
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.sampling import lexicon, text

_WORD = re.compile(r"[^\W\d_]+")
_TEMPERATURE = 0.8


def words(study: run.Study, writer: written_texts.Writer) -> None:
  """Draws with and without the list of the training text's words."""
  page, settings = study.lesson, study.config.settings
  tokens = writer.tokens
  known = words_of(tokens)
  letters = letter_ids(tokens)
  separators = [i for i in range(tokens.vocabulary.size) if i not in letters]
  if not known or not separators:
    return
  page.section(
    "Proper words",
    f"""
    A model of characters has no list of words and invents some. Given a list,
    it can be confined to it: the words form a tree of prefixes, and a letter is
    allowed only where some word of the tree goes on with it, anything else only
    where a word is complete. What is left of the probability is shared out
    among what is allowed. Here the list holds the {len(known):,} different runs
    of letters in the training text, and {settings.draws} texts of
    {writer.length} characters are drawn each way, at temperature
    {_TEMPERATURE:g}.
    """,
  )
  ids = [tokens.vocabulary.encode(word).tolist() for word in sorted(known)]
  network, params = lexicon.confined(
    writer.network, writer.params, ids, separators
  )
  confined = writer._replace(network=network, params=params)
  body, first = [], {}
  for name, one in (("as it is", writer), ("confined", confined)):
    rows = draw(one, settings.draws, study.config.seed)
    texts = [settings.prefix + spelling.decode(tokens, row) for row in rows]
    found = whole_words(texts, len(settings.prefix))
    share = sum(word in known for word in found) / max(1, len(found))
    nats, *_ = written_texts.measured(writer, rows)
    body.append(
      [
        name,
        f"{len(found):,}",
        f"{100 * share:.1f}%",
        f"{len(set(found)):,}",
        nats / writer.length,
      ]
    )
    first[name] = texts[0]
  page.table(
    ["drawn", "whole words", "in the list", "different", "log P a character"],
    body,
  )
  page.say(
    """
    The log probability is the model's own, before it was confined. The first
    text of each:
    """
  )
  for name, shown in first.items():
    page.shown(f"[{name}]\n{spelling.visible(shown)}")


def words_of(tokens: tokens_lib.Tokens) -> set[str]:
  """The runs of letters in the training text."""
  ids = np.asarray(tokens.splits["train"])
  return set(_WORD.findall(spelling.decode(tokens, ids)))


def letter_ids(tokens: tokens_lib.Tokens) -> set[int]:
  """The ids of the symbols that words are made of."""
  return {
    index
    for index, symbol in enumerate(tokens.vocabulary.symbols)
    if _WORD.fullmatch(str(symbol)) and len(str(symbol)) == 1
  }


def whole_words(texts: Sequence[str], start: int) -> list[str]:
  """The runs of letters that end after a place, but before the text does.

  Args:
    texts: to look in.
    start: the place.
  """
  return [
    match.group()
    for one in texts
    for match in _WORD.finditer(one)
    if start < match.end() < len(one)
  ]


def draw(
  writer: written_texts.Writer, count: int, seed: int
) -> list[list[int]]:
  """Texts after the prefix, ids [count, length].

  Args:
    writer: the model, confined or not.
    count: of texts.
    seed: of the draws.
  """
  rows: list[list[int]] = text.sample(
    writer.network,
    writer.params,
    jax.random.key(seed),
    length=writer.length,
    prime=writer.prime,
    batch=count,
    sharpening=text.Sharpening(temperature=_TEMPERATURE),
  ).T.tolist()
  return rows
