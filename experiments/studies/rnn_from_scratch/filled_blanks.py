"""Blanks filled in forwards and both ways: what bidirectional networks do."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import spelling, training
from experiments.studies.rnn_from_scratch import both_directions, right_context
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import api as predictors


def blanks(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """Filling blanks, forwards and both ways."""
  page, settings = study.lesson, study.config.settings
  h = settings.reader_features
  page.section(
    "What bidirectional networks are for: filling blanks",
    f"""
    Where the whole text is at hand and some of it is missing, what follows a
    gap says as much as what comes before. Here {100 * settings.blank_share:g}%
    of the characters are replaced by a null vector, and only these are scored.
    A forward GRU of {h} units and a bidirectional one of {h} units each way
    learn from the same windows with the same blanks, {settings.reader_steps}
    steps of Adam each.
    """,
  )
  readers = networks(tokens.vocabulary.size, h)
  train, held = (
    both_directions.Blanks(
      both_directions.windows_of(study, tokens.splits[split]),
      settings.blank_share,
      study.config.seed,
    )
    for split in ("train", "valid")
  )
  tests = held.segments(0, held.text.segments_per_epoch)
  weights = {
    name: both_directions.fit(study, network, train)
    for name, network in readers.items()
  }
  scores = {
    name: both_directions.score(network, weights[name], tests)
    for name, network in readers.items()
  }
  page.table(
    ["read", "perplexity of the blanks", "wrong at first guess"],
    [
      [name, found.perplexity, f"{100 * found.error_rate:.1f}%"]
      for name, found in scores.items()
    ],
  )
  prose = _prose(tests, tokens)
  page.say("A held-out window, and the likeliest filling of its blanks:")
  _filled(study, tokens, readers, weights, prose)
  right_context.by_reach(study, tokens, readers, weights)
  return both_directions.rows(f"GRU of {h} units", scores)


def networks(symbols: int, h: int) -> dict[str, predictors.Predictor]:
  """One that reads forwards, and one that reads both ways."""
  both = both_directions.Reader(symbols, (h,))
  return {
    "forwards": training.network("gru", symbols, (h,)),
    "both ways": both_directions.as_predictor(both),
  }


def _prose(
  segments: batching.Segment, tokens: tokens_lib.Tokens
) -> batching.Segment:
  """The row of the first segment that is the most like prose, [T, 1]."""
  letters = np.array(
    [str(symbol).isalpha() for symbol in tokens.vocabulary.symbols]
  )
  row = int(np.argmax(letters[segments.targets[0]].sum(axis=0)))
  return type(segments)(*(leaf[0][:, row : row + 1] for leaf in segments))


def _filled(
  study: run_lib.Study,
  tokens: tokens_lib.Tokens,
  readers: dict[str, predictors.Predictor],
  weights: dict[str, Any],
  segment: batching.Segment,
) -> None:
  """Shows a line with blanks, and what each network puts into them."""
  spell = functools.partial(spelling.decode, tokens)
  blank, truth = segment.mask[:, 0], segment.targets[:, 0]

  def line(name: str, text: str) -> str:
    return f"{name:10} {text}".replace("\n", "\u00b6")

  hidden = zip(spell(truth), blank, strict=True)
  lines = [line("blanks", "".join("_" if b else x for x, b in hidden))]
  for name, network in readers.items():
    best = fill(network, weights[name], segment)
    guesses = spell(np.where(blank, best, truth))
    right = int(np.sum(blank & (best == truth)))
    lines.append(
      f"{line(name, guesses)}  ({right} of {int(blank.sum())} right)"
    )
  study.lesson.shown("\n".join(lines))


def fill(
  network: predictors.Predictor, params: Any, segment: batching.Segment
) -> np.ndarray:
  """The likeliest symbol at each place of a segment's first row, [T]."""
  carry = network.initial_carry(segment.inputs.shape[1])
  run = jax.jit(network.apply)
  _, logits = run(params, carry, segment.inputs, segment.reset)
  return np.asarray(jnp.argmax(logits[:, 0], axis=-1))
