"""How far it helps to read on behind a blank."""

import functools
from typing import Any

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.common import spelling
from experiments.studies.rnn_from_scratch import both_directions
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.models import api as predictors
from seqmodels.plotting import style

# Characters to the right of a blank that may be read.
_REACHES = (0, 1, 2, 4, 8, 16)
_SHOWN = (0, 1, 4)


def by_reach(
  study: run.Study,
  tokens: tokens_lib.Tokens,
  readers: dict[str, predictors.Predictor],
  weights: dict[str, Any],
) -> None:
  """How the guess improves with what may be read behind the blank."""
  page, settings = study.lesson, study.config.settings
  symbols, h = tokens.vocabulary.size, settings.reader_features
  reader = both_directions.Reader(symbols, (h,))
  held = both_directions.windows_of(study, tokens.splits["valid"])
  whole = held.segments(0, held.segments_per_epoch).targets
  # One blank a window, in its middle: [T, windows].
  texts = whole.transpose(1, 0, 2).reshape(whole.shape[1], -1)
  place = len(texts) // 2
  reaches = [k for k in _REACHES if place + k < len(texts)]
  logs = {
    k: at_blank(reader, weights["both ways"], texts, place, k) for k in reaches
  }
  truth = texts[place]
  perplexities = {k: _perplexity(found, truth) for k, found in logs.items()}
  forwards = _perplexity(
    _forwards(readers["forwards"], weights["forwards"], texts, place), truth
  )
  near, far = reaches[0], reaches[-1]
  row = _telling(logs[near], logs[min(4, far)], truth, texts, tokens)
  text = spelling.decode(tokens, texts[:, row])
  page.say(
    f"""
    One blank in the middle of each of {texts.shape[1]:,} held-out windows shows
    how far it helps to look ahead. The bidirectional network is given what is
    to the left, and so many characters to the right. With none its perplexity
    is {perplexities[near]:.2f}, with {far} it is {perplexities[far]:.2f}; the
    forward one has {forwards:.2f}. Most of the help comes from the nearest
    characters.
    """
  )
  _draw(
    page.figure(
      "right_context",
      "Perplexity of a blank by how many characters behind it are read.",
    ),
    perplexities,
    forwards,
  )
  page.say(
    f"""
    One of these windows, its blank the character {text[place]!r}, and the three
    likeliest fillings as more and more of the right is read:
    """
  )
  body = []
  for k in (k for k in _SHOWN if k in logs):
    chances = np.exp(logs[k][row])
    best = np.argsort(-chances)[:3]
    named = ", ".join(
      f"{tokens.vocabulary.symbols[i]!r} {chances[i]:.2f}" for i in best
    )
    seen = f"{text[:place]}_{text[place + 1 : place + 1 + k]}"
    seen = seen.replace("\n", "\u00b6")
    body.append([k, f"`{seen}`", named, float(chances[truth[row]])])
  page.table(["to the right", "seen", "likeliest", "P of the true one"], body)


def at_blank(
  reader: both_directions.Reader,
  params: Any,
  texts: np.ndarray,
  place: int,
  reach: int,
) -> np.ndarray:
  """log P of each symbol at a blank, [B, V].

  Args:
    reader: the network.
    params: its weights.
    texts: ids [T, B].
    place: of the blank.
    reach: symbols behind it that are read; the rest is padding.
  """
  inputs = texts.astype(np.int32)
  inputs[place] = batching.NULL
  lengths = np.full(texts.shape[1], place + 1 + reach)
  return np.asarray(_log_shares(reader, params, inputs, lengths)[place])


def _forwards(
  network: predictors.Predictor, params: Any, texts: np.ndarray, place: int
) -> np.ndarray:
  """The same of a network that reads forwards, [B, V]."""
  inputs = texts[: place + 1].astype(np.int32)
  inputs[place] = batching.NULL
  carry = network.initial_carry(texts.shape[1])
  never = np.zeros(inputs.shape, bool)
  _, logits = jax.jit(network.apply)(params, carry, inputs, never)
  return np.asarray(jax.nn.log_softmax(logits[place]))


def _perplexity(logs: np.ndarray, truth: np.ndarray) -> float:
  """Of log P [B, V] and the true symbols [B]."""
  return float(np.exp(-np.take_along_axis(logs, truth[:, None], axis=1).mean()))


@functools.partial(jax.jit, static_argnums=0)
def _log_shares(
  reader: both_directions.Reader,
  params: Any,
  inputs: jax.Array,
  lengths: jax.Array,
) -> jax.Array:
  logits: Any = reader.apply({"params": params}, inputs, lengths=lengths)
  return jax.nn.log_softmax(logits)


def _telling(
  before: np.ndarray,
  after: np.ndarray,
  truth: np.ndarray,
  texts: np.ndarray,
  tokens: tokens_lib.Tokens,
) -> int:
  """The window of plain prose whose true symbol gains most probability."""
  plain = np.array(
    [str(s).isalpha() or s == " " for s in tokens.vocabulary.symbols]
  )
  prose = plain[texts].all(axis=0)
  gain = np.take_along_axis(
    np.exp(after) - np.exp(before), truth[:, None], axis=1
  )[:, 0]
  return int(np.argmax(np.where(prose, gain, gain.min() - 1)))


def _draw(
  path: style.Path, perplexities: dict[int, float], forwards: float
) -> None:
  with style.axes(path, "What is behind a blank", height=3.2) as pair:
    places = np.arange(len(perplexities))
    pair.plot(
      places,
      list(perplexities.values()),
      "o-",
      color=style.COLOURS[0],
      label="bidirectional GRU",
    )
    pair.set_xticks(places, [str(k) for k in perplexities])
    style.references(pair, {"forward GRU": forwards})
    pair.set_ylim(bottom=1)
    pair.set_xlabel("characters read to the right of the blank")
    pair.set_ylabel("perplexity of the blank")
    pair.legend(frameon=False, fontsize=9)
