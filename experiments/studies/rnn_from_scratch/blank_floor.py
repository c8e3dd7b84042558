"""How well blanks can be filled at all: a source whose law is known."""

import numpy as np

from experiments.studies import run
from experiments.studies.rnn_from_scratch import both_directions, filled_blanks
from seqmodels import units
from seqmodels.data import series
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import hidden_markov

# Two states that last, and symbols that tell little of them each.
SOURCE = hidden_markov.HiddenMarkov(
  np.array([0.5, 0.5]),
  np.array([[0.95, 0.05], [0.05, 0.95]]),
  np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]),
)
SYMBOLS = SOURCE.emission.shape[1]


def hidden_chain(
  study: run.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """The same two networks on blanks that can be filled no better than so."""
  page, settings = study.lesson, study.config.settings
  random = study.random
  train, held = (
    both_directions.Blanks(
      both_directions.windows_of(study, draw(random, count)),
      settings.blank_share,
      study.config.seed,
    )
    for count in (settings.chain_symbols, settings.chain_symbols // 10)
  )
  tests = held.segments(0, held.text.segments_per_epoch)
  floors = dict(
    zip(
      ("forwards", "both ways"), floor(tests, settings.blank_share), strict=True
    )
  )
  # The symbols are the first of the text's, so that nothing is compiled anew.
  readers = filled_blanks.networks(
    max(tokens.vocabulary.size, SYMBOLS), settings.reader_features
  )
  scores = {
    name: both_directions.score(
      network, both_directions.fit(study, network, train), tests
    )
    for name, network in readers.items()
  }
  page.section(
    "How good could it be?",
    f"""
    Of a text nobody knows the best possible guess. Of a made-up source one
    does. Here two hidden states follow each other, each lasting 20 steps on
    average, and each shows one of {SYMBOLS} symbols, some more often than
    others: a hidden Markov model. One symbol tells little of the state, its
    neighbours on both sides tell more. Sums over all ways of the states
    (forwards for what is before a blank, backwards for what is behind it) give
    the exact probabilities of what a blank hides. No network can do better on
    average; the same two learn from {settings.chain_symbols:,} symbols with
    {100 * settings.blank_share:g}% blanks.
    """,
  )
  page.table(
    ["read", "perplexity of the blanks", "the best there is"],
    [[name, found.perplexity, floors[name]] for name, found in scores.items()],
  )
  return both_directions.rows("hidden Markov source, GRU", scores)


def draw(random: np.random.Generator, count: int) -> np.ndarray:
  """Symbols of the source, [count].

  Args:
    random: of the draws.
    count: how many.
  """
  _, symbols = series.hidden_markov(
    SOURCE.initial, SOURCE.transition, SOURCE.emission, count, random=random
  )
  return symbols


def floor(segments: batching.Segment, share: float) -> tuple[float, float]:
  """The best perplexity of the blanks, by what is before, and by all.

  A blank is a symbol of its own, shown with probability `share` in any state:
  what it says of the state is nothing.

  Args:
    segments: arrays [K, T, B]; each window a sequence of its own.
    share: of the symbols that are blank.
  """
  seen = np.hstack(
    [(1 - share) * SOURCE.emission, np.full((len(SOURCE.initial), 1), share)]
  )
  blanked = hidden_markov.HiddenMarkov(SOURCE.initial, SOURCE.transition, seen)
  before, around, count = 0.0, 0.0, 0
  for truth, blank in zip(
    *(
      leaf.transpose(0, 2, 1).reshape(-1, leaf.shape[1])
      for leaf in (segments.targets, segments.mask)
    ),
    strict=True,
  ):
    read = np.where(blank, SYMBOLS, truth)
    places = np.flatnonzero(blank)
    hidden = truth[places]
    states = np.exp(blanked.forward(read)[places])
    states /= states.sum(axis=1, keepdims=True)
    before -= np.log((states * SOURCE.emission[:, hidden].T).sum(axis=1)).sum()
    whole = blanked.fill_in(read)[places, :SYMBOLS]
    whole /= whole.sum(axis=1, keepdims=True)
    around -= np.log(whole[np.arange(len(places)), hidden]).sum()
    count += len(places)
  return units.perplexity(before, count), units.perplexity(around, count)
