"""Character models trained on a text: simple, gated, deep, embedded."""

import math
import time
from typing import Any, NamedTuple

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures
from experiments.studies.common import training as training_lib
from experiments.studies.rnn_from_scratch import gate_limits
from seqmodels import trees, units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import metrics
from seqmodels.io import results
from seqmodels.models import api as predictors
from seqmodels.models import ngram


class Kind(NamedTuple):
  """A network of the comparison.

  Attributes:
    cell: a name in `cells.cell.CELLS`.
    layers: how many, of one width.
    embedded: reads an embedding, not one-hot vectors.
    rate: times the learning rate of the settings: what did best of 1/2, 1, 2
      and 3 in a trial on the embedded text.
    held: a gate (0 is R, 1 is Z) and the bias that holds it at an end. There
      its slope is exactly 0: no training moves it.
  """

  cell: str
  layers: int = 1
  embedded: bool = False
  rate: float = 1.0
  held: tuple[int, float] | None = None


NETWORKS = {
  "RNN": Kind("elman"),
  "RNN, embedding": Kind("elman", embedded=True),
  "GRU, reset gate only": Kind("gru", held=(1, gate_limits.SHUT)),
  "GRU, update gate only": Kind("gru", held=(0, gate_limits.OPEN)),
  "GRU": Kind("gru"),
  "GRU, two layers": Kind("gru", layers=2, rate=0.5),
  "LSTM": Kind("lstm", rate=3.0),
}
_ALONE = ("GRU, reset gate only", "GRU, update gate only")


class Writer(NamedTuple):
  """A trained network, for what comes after."""

  name: str
  network: predictors.Predictor
  params: Any


class _Outcome(NamedTuple):
  training: float  # perplexity over the last tenth of the steps
  held_out: metrics.Totals
  parameters: int
  speed: float  # characters a second
  curve: np.ndarray  # perplexities, smoothed


def training(
  study: run.Study, tokens: tokens_lib.Tokens
) -> tuple[list[results.Row], Writer]:
  """Trains all networks on one text; returns the rows and the last of them."""
  page, settings = study.lesson, study.config.settings
  symbols = tokens.vocabulary.size
  page.section(
    "Learning the characters of a text",
    f"""
    The input is a character, the target the next one, the output a score for
    each of the {symbols} characters there are. The text is cut into
    {settings.batch} rows that are read side by side, {settings.segment}
    characters at a time: the state goes on from one piece to the next, the
    gradient stops between them. So a prediction may depend on all of the row
    before it, but what is learned reaches back {settings.segment} characters at
    most. All networks have {settings.features} units a layer and take
    {settings.steps:,} steps of Adam, with a {settings.schedule} schedule and
    the norm of the gradient clipped at 1. Which rate suits a network depends on
    its kind; each has the one that did best of a few in a trial. The embedding
    is {settings.embedding} wide. Two of the GRUs have one of their gates alone:
    the other is held at the end where it does nothing (R at 1, Z at 0). Beside
    them stands a model that counts: an interpolated Kneser-Ney model of
    {settings.ngram_order} characters.
    """,
  )
  found: dict[str, _Outcome] = {}
  for name in settings.networks:
    found[name], writer = _trained(study, tokens, name)
  counted, row = counting(study, tokens)
  page.table(
    ["model", "parameters", "rate", "training", "held out", "characters/s"],
    [
      *(_line(settings, name, one) for name, one in found.items()),
      [f"{settings.ngram_order}-gram, counted", "", "", "", counted, ""],
    ],
  )
  unigram = _unigram(tokens.splits["train"], symbols)
  figures.curves(
    page.figure(
      "learning",
      "Perplexity of the characters being learned from, each point a mean over "
      "the last tenth of the steps so far. The networks start at the uniform "
      "distribution and first learn how frequent each character is; below the "
      "second line they use its context.",
    ),
    "Learning to predict the next character",
    {
      name: (np.arange(1, len(one.curve) + 1), one.curve)
      for name, one in found.items()
      if not NETWORKS[name].held
    },
    x="step",
    y="perplexity",
    log_x=True,
    log_y=True,
    references={"uniform, V": symbols, "frequencies alone": unigram},
  )
  _tell(study, found, counted, symbols, unigram)
  rows = [
    results.row(
      f"{name}, {settings.features} units",
      split="valid",
      evaluation="static",
      metric="perplexity",
      value=one.held_out.perplexity,
      count=one.held_out.count,
      seconds=one.held_out.seconds,
    )
    for name, one in found.items()
  ]
  return [*rows, row], writer


def _line(settings: Any, name: str, one: _Outcome) -> list[Any]:
  """Of the table."""
  return [
    name,
    f"{one.parameters:,}",
    f"{NETWORKS[name].rate * settings.learning_rate:g}",
    one.training,
    one.held_out.perplexity,
    f"{one.speed:,.0f}",
  ]


def _trained(
  study: run.Study, tokens: tokens_lib.Tokens, name: str
) -> tuple[_Outcome, Writer]:
  settings, kind = study.config.settings, NETWORKS[name]
  network = training_lib.network(
    kind.cell,
    tokens.vocabulary.size,
    (settings.features,) * kind.layers,
    settings.embedding if kind.embedded else 0,
  )
  begun = training_lib.fresh(network, study.config.seed)
  if kind.held:
    begun = with_held_gate(begun, *kind.held)
  found = training_lib.on_streams(
    study, network, tokens.splits["train"], params=begun, rate=kind.rate
  )
  scored = training_lib.held_out(network, found.params, tokens.splits["valid"])
  last = found.nats[-max(1, settings.steps // 10) :].mean()
  outcome = _Outcome(
    math.exp(last),
    scored,
    trees.count_parameters(found.params),
    found.symbols_per_second,
    np.exp(training_lib.smooth(found.nats)),
  )
  return outcome, Writer(name, network, found.params)


def with_held_gate(params: Any, gate: int, bias: float) -> Any:
  """A one-layer GRU's weights with the biases of one gate at a value."""
  layer = params["stack"]["layer_0"]
  biases = np.array(layer["bias"]).reshape(3, -1)
  biases[gate] = bias
  held = {**layer, "bias": biases.reshape(-1)}
  return {**params, "stack": {**params["stack"], "layer_0": held}}


def counting(
  study: run.Study, tokens: tokens_lib.Tokens
) -> tuple[float, results.Row]:
  """The perplexity of the n-gram model on the held-out text, and its row."""
  order, begun = study.config.settings.ngram_order, time.perf_counter()
  train, valid = (
    np.asarray(tokens.splits[split], np.int64) for split in ("train", "valid")
  )
  fitted = ngram.NGram.fit(
    train, tokens.vocabulary.size, order=order, modified=True
  )
  total = float(fitted.nats(valid).sum())
  value = units.perplexity(total, len(valid))
  row = results.row(
    f"{order}-gram, modified Kneser-Ney",
    split="valid",
    evaluation="static",
    metric="perplexity",
    value=value,
    count=len(valid),
    seconds=time.perf_counter() - begun,
  )
  return value, row


def _tell(
  study: run.Study,
  found: dict[str, _Outcome],
  counted: float,
  symbols: int,
  unigram: float,
) -> None:
  """What the table shows, in numbers."""
  held_out = {name: one.held_out.perplexity for name, one in found.items()}
  best = min(held_out, key=lambda name: held_out[name])
  verdict = (
    "is below that"
    if held_out[best] < counted
    else "does not get there in so few steps"
  )
  study.lesson.say(
    f"""
    The perplexity is e to the mean nats a character: {symbols} for a uniform
    guess, {unigram:.1f} for one by frequency alone, 1 for certainty. "Training"
    is the mean over the last tenth of the steps, "held out" a part of the text
    that no model has learned from. Counting is what a network has to beat: it
    reaches {counted:.2f}. The best network here, called {best}, has
    {held_out[best]:.2f} and {verdict}.
    """
  )
  if "GRU" not in found or not all(name in found for name in _ALONE):
    return
  reset, update = (held_out[name] for name in _ALONE)
  study.lesson.say(
    f"""
    A GRU reaches {held_out["GRU"]:.2f} with both its gates, {reset:.2f} with
    the reset gate alone and {update:.2f} with the update gate alone. On this
    text, then, it is the {"reset" if reset < update else "update"} gate that
    does more of the work. (Where something has to be kept for long, the update
    gate is what counts: see the study `exercises`.)
    """
  )


def _unigram(ids: Any, symbols: int) -> float:
  """The perplexity of a text under its own frequencies."""
  shares = np.bincount(np.asarray(ids), minlength=symbols) / len(ids)
  shares = shares[shares > 0]
  return float(np.exp(-np.sum(shares * np.log(shares))))
