"""A bidirectional network in the place of a model of the next symbol."""

import numpy as np

from experiments.studies import run
from experiments.studies.common import spelling
from experiments.studies.rnn_from_scratch import both_directions, causality
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results


def next_symbol(
  study: run.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """A bidirectional network trained as a model of the next symbol."""
  page, settings = study.lesson, study.config.settings
  symbols = tokens.vocabulary.size
  page.section("A bidirectional model of the next symbol: how not to do it")
  reader = both_directions.Reader(symbols, (settings.reader_features,))
  network = both_directions.as_predictor(reader)
  text, held = (
    both_directions.windows_of(study, tokens.splits[split])
    for split in ("train", "valid")
  )
  params = both_directions.fit(study, network, text)
  tests = held.segments(0, held.segments_per_epoch)
  inside = np.arange(held.length)[:, None] < held.length - 1
  copied, blind = (
    both_directions.score(
      network, params, tests._replace(mask=tests.mask & chosen)
    )
    for chosen in (inside, ~inside)
  )
  scored = copied.merge(blind)
  length = 2
  total = causality.total_probability(network, params, length=length)
  prime = spelling.encode(tokens, settings.prefix)
  ids = both_directions.continued(
    reader, params, prime, settings.sample_length // 2
  )
  page.say(
    f"""
    Trained like any other, {settings.reader_steps} steps on windows of
    {held.length} characters, a bidirectional GRU reaches a perplexity of
    {scored.perplexity:.2f} on windows that it has not learned from. The number
    is worth nothing: the symbol to be predicted at t is the input at t + 1, and
    the backward half has just read it. At the last place of a window, with
    nothing behind it to copy, the perplexity is {blind.perplexity:.1f}; at all
    others it is {copied.perplexity:.2f}. The "probabilities" of all
    {symbols**length:,} strings of {length} characters sum to {total:,.2f}.
    Writing takes place at the end of a text, always. There the backward half
    has nothing to read, and the forward half has hardly been taught, since it
    was never needed. With each likeliest symbol put behind {settings.prefix!r}
    and runs of spaces made visible, the network writes:
    """
  )
  written = spelling.decode(tokens, ids)
  page.shown(spelling.visible(settings.prefix + written))
  return [
    results.row(
      "bidirectional GRU, no model: it reads the symbol it predicts",
      split="valid",
      evaluation="not a probability",
      metric="perplexity",
      value=scored.perplexity,
      count=scored.count,
      seconds=scored.seconds,
    )
  ]
