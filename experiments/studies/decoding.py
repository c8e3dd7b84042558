"""From a model's probabilities to text: search and sampling."""

from typing import Any

import jax
import numpy as np

from experiments import fundamentals
from experiments.studies import (
  character_training,
  rnn_equations,
  search_examples,
  written_texts,
)
from seqmodels import errors
from seqmodels.io import canvas, report
from seqmodels.models import language_model
from seqmodels.sampling import beam, continuation, sharpening


def run(study: fundamentals.Study) -> list[report.Row]:
  """Writes the page; see `configs.fundamentals`."""
  tokens = study.tokens("characters")
  prime = character_training.encode(tokens, study.config.settings.prefix)
  check(study.config.settings)
  study.lesson.say(
    """
    A language model gives probabilities; a text needs choices. One can look for
    the likeliest text, or draw one. This page does both, first where everything
    can be tried, then on a model of characters.
    """
  )
  search_examples.worked_example(study)
  search_examples.length_penalty(study)
  search_examples.random_models(study)
  study.signals.check()
  writer, rows = train(study, tokens, prime.tolist())
  sharpened(study, writer)
  words(study, writer)
  written_texts.texts(study, writer)
  return rows


def check(settings: Any) -> None:
  """Refuses sizes that no search has, before anything is trained.

  Args:
    settings: `config.settings`.

  Raises:
    UserError: naming the first such setting.
  """
  sizes = {
    name: settings[name]
    for name in ("models", "length", "draws", "beam", "longest")
  }
  sizes |= {"beams": min(settings.beams, default=0)}
  for name, value in sizes.items():
    if value < 1:
      raise errors.UserError(
        f"config.settings.{name} is {settings[name]}; it must be at least 1"
      )


def train(
  study: fundamentals.Study, tokens: Any, prime: list[int]
) -> tuple[written_texts.Writer, list[report.Row]]:
  """A small LSTM of the text's characters."""
  settings = study.config.settings
  network = language_model.as_predictor(
    rnn_equations.model(
      "lstm", tokens.vocabulary.size, features=(settings.features,)
    )
  )
  found = character_training.on_streams(study, network, tokens.splits["train"])
  scored = character_training.held_out(
    network, found.params, tokens.splits["valid"]
  )
  study.lesson.section(
    "A model of characters",
    f"""
    From here on the model is an LSTM of {settings.features} units, trained for
    {settings.steps:,} steps of {settings.batch} x {settings.segment}
    characters. Its perplexity on held-out text is {scored.perplexity:.2f}. All
    texts go on from {settings.prefix!r}, which it reads first.
    """,
  )
  row = report.row(
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


def sharpened(study: fundamentals.Study, writer: written_texts.Writer) -> None:
  """What temperature, top-k and nucleus make of one distribution."""
  page = study.lesson
  page.section(
    "Sharpening the distribution",
    """
    Drawing from the model as it is, each symbol by its probability, gives texts
    that are distributed as the model says all texts are. Most draws of a long
    text meet some symbol from the long tail, each unlikely and together not,
    and a small model does not find back from there. So one draws from something
    sharper. The temperature raises all probabilities to a power; top-k keeps a
    fixed number of symbols; the nucleus keeps as many as hold a fixed share,
    few where the model is sure and many where it is not.
    """,
  )
  page.shown(
    """
    power        Q(x) ~ P(x)^alpha          temperature T = 1 / alpha
    top-k        Q(x) ~ P(x)                on the k likeliest, else 0
    nucleus      Q(x) ~ P(x)                on the fewest that hold p, else 0
    """
  )
  read = continuation.prime_ids(writer.prime)
  _, logits = continuation.read(writer.network, writer.params, read, 1)
  logits = logits[0]
  body = []
  for name, sharpen in written_texts.SHARPENINGS.items():
    after = sharpen(logits)
    shares = np.asarray(jax.nn.softmax(after))
    body.append(
      [
        name,
        float(sharpening.entropy(after)),
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
    float(sharpening.entropy(sharpening.power(logits, alpha)))
    for alpha in alphas
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


def _bars(path: canvas.Path, logits: jax.Array, tokens: Any) -> None:
  """The likeliest symbols, before and after each sharpening."""
  order = np.argsort(-np.asarray(logits))[:14]
  names = [_visible(tokens.vocabulary.symbols[i]) for i in order]
  usual = np.asarray(jax.nn.softmax(logits))[order]
  shown = {
    n: s for n, s in written_texts.SHARPENINGS.items() if n != "as it is"
  }
  with canvas.figure(path, height=4.4) as drawing:
    pairs = drawing.subplots(2, 2, sharex=True, sharey=True).ravel()
    places = np.arange(len(order))
    for pair, (name, sharpen) in zip(pairs, shown.items(), strict=True):
      canvas.clean(pair)
      after = np.asarray(jax.nn.softmax(sharpen(logits)))[order]
      pair.bar(places, usual, color="#D0D0D0", width=0.85)
      pair.bar(places, after, color=canvas.COLOURS[0], width=0.45)
      pair.set_title(name, fontsize=10)
      pair.set_xticks(places, names, fontsize=9, family="monospace")
    for pair in pairs[::2]:
      pair.set_ylabel("probability")


def _visible(symbol: Any) -> str:
  return {" ": "\u2423", "\n": "\u00b6"}.get(str(symbol), str(symbol))


def words(study: fundamentals.Study, writer: written_texts.Writer) -> None:
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
    shown = [character_training.decode(writer.tokens, x.symbols) for x in found]
    listed = ", ".join(
      f"`{''.join(map(_visible, text))}`" for text in shown[:4]
    )
    best = found[0]
    body.append([f"{alpha:g}", listed, len(best.symbols), best.log_probability])
  page.table(
    ["alpha", "the four best", "length of the first", "its log P, nats"], body
  )
