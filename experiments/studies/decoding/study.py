"""From a model's probabilities to text: search and sampling."""

from typing import Any

import jax
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import setting_checks, spelling, training
from experiments.studies.decoding import (
  beam_widths,
  proper_words,
  search_examples,
  written_texts,
)
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.sampling import beam
from seqmodels.sampling import text as text_lib

_BARS = 26  # of the likeliest characters in a figure

# Settings that count something.
_SIZES = (
  *(
    "models",
    "widths",
    "features",
    "batch",
    "segment",
    "steps",
    "length",
    "draws",
  ),
  *("beams", "beam", "longest"),
)


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page; see `configs.fundamentals`."""
  tokens = study.tokens("characters")
  prime = spelling.encode(tokens, study.config.settings.prefix)
  setting_checks.check_sizes(study.config.settings, _SIZES)
  study.lesson.say(
    """
    A language model gives probabilities; a text needs choices. One can look for
    the likeliest text, or draw one. This page does both, first where everything
    can be tried, then on a model of characters.
    """
  )
  search_examples.worked_example(study)
  search_examples.beam_at_work(study)
  search_examples.length_penalty(study)
  beam_widths.random_models(study)
  study.signals.check()
  writer, rows = train(study, tokens, prime.tolist())
  sharpened(study, writer)
  next_words(study, writer)
  written_texts.texts(study, writer)
  study.signals.check()
  proper_words.words(study, writer)
  return rows


def train(
  study: run_lib.Study, tokens: Any, prime: list[int]
) -> tuple[written_texts.Writer, list[results.Row]]:
  """A small LSTM of the text's characters."""
  settings = study.config.settings
  network = training.network(
    "lstm", tokens.vocabulary.size, (settings.features,)
  )
  found = training.on_streams(study, network, tokens.splits["train"])
  scored = training.held_out(network, found.params, tokens.splits["valid"])
  study.lesson.section(
    "A model of characters",
    f"""
    From here on the model is an LSTM of {settings.features} units, trained for
    {settings.steps:,} steps of {settings.batch} x {settings.segment}
    characters. Its perplexity on held-out text is {scored.perplexity:.2f}. All
    texts go on from {settings.prefix!r}, which it reads first.
    """,
  )
  row = results.row(
    f"LSTM of {settings.features} units",
    split="valid",
    evaluation="static",
    metric="perplexity",
    value=scored.perplexity,
    count=scored.count,
    seconds=scored.seconds,
  )
  writer = written_texts.Writer(
    network, found.params, tokens, prime, settings.length
  )
  return writer, [row]


def sharpened(study: run_lib.Study, writer: written_texts.Writer) -> None:
  """What temperature, top-k and nucleus make of one distribution."""
  page = study.lesson
  page.section(
    "Sharpening the distribution",
    """
    Drawing from the model as it is, each symbol by its probability, gives texts
    as often as the model takes them to occur. But many symbols have a small
    probability each, and taken together not such a small one: in a long text
    some of them will be drawn, and a small model does not find its way back
    from a misspelling. So one draws from something sharper. The temperature
    raises all probabilities to a power; top-k keeps a fixed number of symbols;
    the nucleus keeps as many as hold a fixed share, few where the model is sure
    and many where it is not.
    """,
  )
  page.shown(
    """
    power        Q(x) ~ P(x)^alpha          temperature T = 1 / alpha
    top-k        Q(x) ~ P(x)                on the k likeliest, else 0
    nucleus      Q(x) ~ P(x)                on the fewest that hold p, else 0
    """
  )
  read = text_lib.prime_ids(writer.prime)
  _, logits = text_lib.read(writer.network, writer.params, read, 1)
  logits = logits[0]
  body = []
  for name, sharpen in written_texts.SHARPENINGS.items():
    after = sharpen(logits)
    shares = np.asarray(jax.nn.softmax(after))
    body.append(
      [
        name,
        float(text_lib.entropy(after)),
        f"{np.sum(shares > 0)}",
        float(shares.max()),
      ]
    )
  page.say(
    f"""
    The character after {study.config.settings.prefix!r}, of which there are
    {len(logits)}:
    """
  )
  page.table(["drawn from", "entropy, nats", "symbols left", "largest"], body)
  _bars(
    page.figure(
      "sharpening",
      f"The same after {study.config.settings.prefix!r}: the likeliest "
      "characters under the model (grey) and after sharpening.",
    ),
    logits,
    writer.tokens,
  )
  alphas = (0.5, 1.0, 2.0, 4.0, 8.0, 1000.0)
  nats = [
    float(text_lib.entropy(text_lib.power(logits, alpha))) for alpha in alphas
  ]
  falls = ", ".join(
    f"{value:.3f} at {alpha:g}"
    for alpha, value in zip(alphas, nats, strict=True)
  )
  page.say(
    f"""
    The entropy falls as alpha grows: {falls}. In the limit all probability lies
    on the likeliest symbol, and drawing is greedy.
    """
  )


def _bars(path: style.Path, logits: jax.Array, tokens: Any) -> None:
  """The likeliest symbols, before and after each sharpening."""
  order = np.argsort(-np.asarray(logits))[:_BARS]
  names = [_visible(tokens.vocabulary.symbols[i]) for i in order]
  usual = np.asarray(jax.nn.softmax(logits))[order]
  shown = {
    n: s for n, s in written_texts.SHARPENINGS.items() if n != "as it is"
  }
  with style.figure(path, height=4.4) as drawing:
    pairs = drawing.subplots(2, 2, sharex=True, sharey=True).ravel()
    places = np.arange(len(order))
    for pair, (name, sharpen) in zip(pairs, shown.items(), strict=True):
      style.clean(pair)
      after = np.asarray(jax.nn.softmax(sharpen(logits)))[order]
      pair.bar(places, usual, color="#D0D0D0", width=0.85)
      pair.bar(places, after, color=style.COLOURS[0], width=0.45)
      pair.set_title(name, fontsize=10)
      pair.set_xticks(places, names, fontsize=8, family="monospace")
    for pair in pairs[::2]:
      pair.set_ylabel("probability")


def _visible(symbol: Any) -> str:
  return {" ": "\u2423", "\n": "\u00b6"}.get(str(symbol), str(symbol))


def next_words(study: run_lib.Study, writer: written_texts.Writer) -> None:
  """A beam that stops at an end symbol, under several penalties."""
  page, settings = study.lesson, study.config.settings
  symbols = writer.tokens.vocabulary
  if settings.end not in symbols:
    return
  end = symbols.index[settings.end]
  page.section(
    "Where to stop",
    f"""
    With {settings.end!r} as the end a beam looks for the next word. That is
    {settings.beam} strings wide here, and no string longer than
    {settings.longest} characters. The penalty decides what wins: the larger
    alpha is, the longer.
    """,
  )
  body = []
  for alpha in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0):
    found = beam.search(
      writer.network,
      writer.params,
      width=settings.beam,
      length=settings.longest,
      prime=writer.prime,
      end=end,
      length_penalty=alpha,
    )
    shown = [spelling.decode(writer.tokens, x.symbols) for x in found]
    listed = ", ".join(
      f"`{''.join(map(_visible, text))}`" for text in shown[:4]
    )
    best = found[0]
    body.append([f"{alpha:g}", listed, len(best.symbols), best.log_probability])
  page.table(
    ["alpha", "the four best", "length of the first", "its log P, nats"], body
  )
