"""Rows to read a network's numbers by: n-grams and common compressors."""

import time
from typing import Any

import numpy as np

from experiments import assembly, phases
from seqmodels import units
from seqmodels.data import recoded, tokenizers
from seqmodels.evaluation import compressors
from seqmodels.io import report
from seqmodels.models import ngram

# At about 90 bytes a symbol: 2 GB.
NGRAM_SYMBOLS = 20_000_000


def rows(context: phases.Context) -> list[report.Row]:
  """Baselines as configured, on the split that the results are about."""
  given = context.config.baselines
  split = phases.evaluated_splits(context.tokens)[-1]
  found: list[report.Row] = []
  if given.ngram_order:
    found += ngram_rows(context, split)
  if given.compressors:
    found += compressor_rows(context, split)
  return found


def ngram_rows(context: phases.Context, split: str) -> list[report.Row]:
  """Interpolated modified Kneser-Ney over the network's own symbols."""
  tokens, order = context.tokens, context.config.baselines.ngram_order
  # The last symbols before the split, where all of them would not fit into a
  # laptop's memory.
  train = tokens.splits["train"][-NGRAM_SYMBOLS:]
  cut = ""
  if len(train) < len(tokens.splits["train"]):
    cut = f" of the last {len(train):,} training symbols"

  def compute() -> dict[str, Any]:
    start = time.perf_counter()
    model = ngram.NGram.fit(
      np.asarray(train),
      tokens.vocabulary.size,
      order=order,
      sentence_end=tokens.sentence_end,
      modified=True,
    )
    nats = model.nats(np.asarray(tokens.splits[split]))
    return {
      "nats": float(nats.sum()),
      "count": len(nats),
      "seconds": time.perf_counter() - start,
    }

  found = phases.phase(context, f"{order}-gram {split}", compute)
  unit = assembly.UNITS[context.config.data.tokenizer]
  return [
    report.row(
      f"{order}-gram, modified Kneser-Ney{cut}{phases.data_note(context)}",
      split=split,
      evaluation="static",
      metric=unit.metric,
      value=phases.score(unit.metric, found["nats"], found["count"]),
      count=found["count"],
      seconds=found["seconds"],
    )
  ]


def compressor_rows(context: phases.Context, split: str) -> list[report.Row]:
  """gzip, bzip2 and xz of a split, alone and after the training text."""
  tokens = context.tokens
  unit = assembly.UNITS[context.config.data.tokenizer]
  if unit.metric == "perplexity":
    return []  # bits of text say nothing of a perplexity over words

  def text_of(name: str) -> bytes:
    tokenizer = tokenizers.named(context.config.data.tokenizer)
    ids = tokens.splits[name]
    if isinstance(ids, recoded.RecodedBytes):
      return ids.data.tobytes()
    text = tokenizer.join(tokens.vocabulary.decode(ids))
    return text.encode("utf-8") if isinstance(text, str) else text

  def compute() -> dict[str, Any]:
    count, data = len(tokens.splits[split]), text_of(split)
    sizes = compressors.sizes(data, symbols=count)
    sizes += compressors.sizes(data, training=text_of("train"), symbols=count)
    return {"sizes": [size._asdict() for size in sizes]}

  found = phases.phase(context, f"compressors {split}", compute)
  return [
    report.row(
      size["name"] + phases.data_note(context),
      split=split,
      evaluation="compressed",
      metric=unit.metric,
      value=units.bits_per_symbol(
        8 * size["compressed_bytes"] * units.LOG2, size["symbols"]
      ),
      count=size["symbols"],
      seconds=size["seconds"],
    )
    for size in found["sizes"]
  ]
