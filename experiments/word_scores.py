"""The Penn Treebank's scores in the unit of the other alphabet.

A split's nats are the same whoever counts them. Shared out over words, they
give a perplexity that the word nets can be held against; over characters, the
bits that the character nets can.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments import phases, published
from seqmodels import units
from seqmodels.data import corpus
from seqmodels.io import report

WORD = "per word"
WORD_OR_END = "per word or line end"


def rows(
  context: phases.Context,
  split: str,
  evaluation: str,
  found: Mapping[str, Any],
  name: str,
) -> list[report.Row]:
  """Perplexity a word of character nets, bits a character of word nets.

  Two rows of perplexity, because there are two ways to count. Every symbol that
  a word net predicts is a word or a line end, 82,430 on the test split: that
  row compares with a word net's perplexity. The paper's own relation, 2 to the
  5.6 x bits a character, leaves the line ends out (442,423 characters on 78,669
  words are 5.62 a word): that row compares with the paper's column.

  Bits a character of a word net divide its bits by all characters of the split.
  The paper's column has log2(perplexity) / 5.6 there, which counts line ends
  above but not below, and gets no reference.

  Args:
    context: of the run.
    split: which was scored.
    evaluation: how.
    found: `nats`, `count` (all symbols of the split) and `seconds`.
    name: of the rows.

  Returns:
    Nothing for other data, or where only a part of the split was scored. The
    count of a row is of the symbols that were scored, as in the rows beside it.
  """
  config, tokens = context.config, context.tokens
  whole = found["count"] == len(tokens.splits[split])
  if config.data.source != "ptb" or not whole:
    return []

  def row(
    metric: str, value: float, unit: str, note: str, reference: float | None
  ) -> report.Row:
    return report.row(
      f"{name}; {note}",
      split=split,
      evaluation=evaluation,
      metric=metric,
      value=value,
      unit=unit,
      count=found["count"],
      seconds=found["seconds"],
      reference=reference,
      reference_source=published.SOURCE_1 if reference else None,
    )

  symbols = tokens.words_per_split[split]
  characters = tokens.characters_per_split[split]
  if config.data.tokenizer == "words":
    bits = units.bits_per_symbol(found["nats"], characters)
    note = f"its bits over all {characters:,} characters"
    return [row("bits_per_character", bits, "bits/character", note, None)]
  if config.data.tokenizer != "characters":
    return []
  words = symbols - line_ends(tokens, split)
  if not words:
    return []
  compared = split == "test" and bool(config.get("reference"))
  return [
    row(
      "perplexity",
      units.perplexity(found["nats"], words),
      WORD,
      f"per word, of {characters / words:.3f} characters, line ends not "
      "counted as words",
      published.perplexity(config, evaluation) if compared else None,
    ),
    row(
      "perplexity",
      units.perplexity(found["nats"], symbols),
      WORD_OR_END,
      f"per word or line end, of {characters / symbols:.3f} characters, as a "
      "word net counts",
      None,
    ),
  ]


def line_ends(tokens: corpus.Tokens, split: str) -> int:
  """Lines of a split of characters; one that is cut off counts as ended."""
  ids = np.asarray(tokens.splits[split])
  end = tokens.vocabulary.index.get("\n", -1)
  return int((ids == end).sum()) + bool(len(ids) and ids[-1] != end)
