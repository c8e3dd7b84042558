"""Character models trained on a text: simple, gated, deep, embedded."""

import math
from typing import Any

import numpy as np

from experiments import fundamentals
from experiments.studies import character_training, rnn_equations
from seqmodels import trees
from seqmodels.io import report, study_plot
from seqmodels.models import language_model


def training(
  study: fundamentals.Study, tokens: Any
) -> tuple[list[report.Row], Any, Any]:
  """Characters of a text; returns the rows, the LSTM and its weights."""
  page, settings = study.lesson, study.config.settings
  symbols, h = tokens.vocabulary.size, settings.features
  page.section(
    "Learning the characters of a text",
    f"""
    The input is a character, the target the next one, the output a score for
    each of the {symbols} characters there are. The text is cut into
    {settings.batch} rows that are read side by side, {settings.segment}
    characters at a time: the state goes on from one piece to the next, the
    gradient stops between them. So a prediction may depend on all of the row
    before it, but what is learned reaches back {settings.segment} characters at
    most. All networks take {settings.steps:,} steps of Adam, with a
    {settings.schedule} rate of {settings.learning_rate:g} and the norm of the
    gradient clipped at 1.
    """,
  )
  contestants = {
    "RNN": rnn_equations.model("elman", symbols, features=(h,)),
    f"RNN, embedding of {settings.embedding}": rnn_equations.model(
      "elman", symbols, features=(h,), embedding=settings.embedding
    ),
    "GRU": rnn_equations.model("gru", symbols, features=(h,)),
    "GRU, two layers": rnn_equations.model("gru", symbols, features=(h, h)),
    "LSTM": rnn_equations.model("lstm", symbols, features=(h,)),
  }
  rows, body, drawn = [], [], {}
  network, params = None, None
  for name, model in contestants.items():
    network = language_model.as_predictor(model)
    found = character_training.on_streams(
      study, network, tokens.splits["train"]
    )
    params = found.params
    scored = character_training.held_out(
      network, params, tokens.splits["valid"]
    )
    last = math.exp(found.nats[-max(1, settings.steps // 10) :].mean())
    size = trees.count_parameters(params)
    speed = f"{found.symbols_per_second:,.0f}"
    body.append([name, f"{size:,}", last, scored.perplexity, speed])
    rows.append(
      report.row(
        f"{name}, {h} units",
        split="valid",
        evaluation="static",
        metric="perplexity",
        value=scored.perplexity,
        count=scored.count,
        seconds=scored.seconds,
      )
    )
    curve = character_training.smooth(found.nats)
    drawn[name] = (np.arange(1, len(curve) + 1), np.exp(curve))
  page.table(
    ["network", "parameters", "training", "held out", "characters/s"], body
  )
  unigram = _unigram(tokens.splits["train"], symbols)
  study_plot.curves(
    page.figure(
      "learning",
      "Perplexity of the characters being learned from, each point a mean over "
      "the last tenth of the steps so far. The networks start at the uniform "
      "distribution and first learn how frequent each character is; below the "
      "second line they use its context.",
    ),
    "Learning to predict the next character",
    drawn,
    x="step",
    y="perplexity",
    log_x=True,
    log_y=True,
    references={"uniform, V": symbols, "frequencies alone": unigram},
  )
  page.say(
    f"""
    The perplexity is e to the mean nats a character: {symbols} for a uniform
    guess, {unigram:.1f} for one by frequency alone, 1 for certainty. "Training"
    is the mean over the last tenth of the steps, "held out" a part of the text
    that no network has learned from.
    """
  )
  return rows, network, params


def _unigram(ids: Any, symbols: int) -> float:
  """The perplexity of a text under its own frequencies."""
  shares = np.bincount(np.asarray(ids), minlength=symbols) / len(ids)
  shares = shares[shares > 0]
  return float(np.exp(-np.sum(shares * np.log(shares))))
