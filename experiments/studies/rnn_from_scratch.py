"""Recurrent networks from their equations to models of a text."""

import inspect
import math
from typing import Any

import numpy as np

from experiments import fundamentals
from experiments.studies import (
  character_training,
  clipping,
  plain_networks,
  rnn_equations,
  rnn_sizes,
  rnn_training,
  seeing_ahead,
  warm_up,
)
from seqmodels import trees
from seqmodels.data import windows
from seqmodels.io import report
from seqmodels.models import language_model
from seqmodels.training import optimizers, step
from seqmodels.training import state as states

# Of the small networks: windows a minibatch, symbols a window.
_BATCH, _LENGTH = 32, 32

LIMITS = """
  What the network can condition on is its state, and that begins with its
  stream or window: nothing before has any effect on it. Its output layer is as
  wide as there are symbols. It is trained on true inputs and used on its own;
  its state has a fixed size; its steps must be taken one after another; a
  gradient through many of them fades or explodes; it cannot write a symbol that
  the vocabulary lacks. Gates ease the fading, clipping bounds the exploding,
  and the rest has to be lived with.
  """


def run(study: fundamentals.Study) -> list[report.Row]:
  """Writes the page; see `configs.fundamentals`."""
  tokens = study.tokens("characters")
  # A prefix that the text cannot spell shows now, not after the training.
  character_training.encode(tokens, study.config.settings.prefix)
  study.lesson.say(
    """
    A recurrent network reads a sequence step by step and keeps what it has
    read in a state of fixed size. This page builds one from plain arrays, finds
    the same numbers in the library, trains it on a text with the gates, depth
    and directions that it may be given, and checks at every turn what should
    be equal.
    """
  )
  rnn_equations.equations(study)
  rnn_equations.concatenation(study)
  rows = ten_lines(study, tokens)
  rnn_equations.gates(study)
  rnn_sizes.counts(study)
  rnn_sizes.first_loss(study, tokens)
  rnn_equations.one_hot(study)
  study.signals.check()
  trained, network, params = rnn_training.training(study, tokens)
  clipping.clipping(study, tokens)
  warm_up.prefixes(study, tokens, network, params)
  seeing_ahead.causality_tests(study)
  rows += trained + seeing_ahead.next_symbol(study, tokens)
  rows += seeing_ahead.blanks(study, tokens)
  study.lesson.section("Where this leaves the simple network", LIMITS)
  return rows


def by_the_library(
  ids: Any, symbols: int, features: int, steps: int, seed: int
) -> tuple[Any, Any]:
  """A model of a text, trained: the weights, and what each step reports."""
  net = language_model.LanguageModel(symbols, (features,), cell="elman")
  network = language_model.as_predictor(net)
  descent = optimizers.build("sgd", learning_rate=1.0, momentum=0, clip_norm=1)
  text = windows.RandomWindows(ids, batch=32, length=32, seed=seed)
  state = states.create(network, descent, batch=32, seed=seed)
  train_steps = step.make_train_steps(network, descent)
  state, metrics = train_steps(state, text.segments(0, steps))
  return state.params, metrics


def ten_lines(study: fundamentals.Study, tokens: Any) -> list[report.Row]:
  """The library's version, and the plain one trained the same way."""
  page, settings = study.lesson, study.config.settings
  ids, symbols = tokens.splits["train"], tokens.vocabulary.size
  features, steps = settings.small_features, settings.small_steps
  page.section("The same model in ten lines of the library")
  page.shown(inspect.getsource(by_the_library))
  params, metrics = by_the_library(
    ids, symbols, features, steps, study.config.seed
  )
  nats = np.asarray(metrics.nats) / np.asarray(metrics.scored)
  network = language_model.as_predictor(
    rnn_equations.model("elman", symbols, features=(features,))
  )
  plain = plain_networks.as_predictor(
    symbols,
    features,
    init=lambda key: plain_networks.from_library(network.init(key)),
  )
  found = {
    name: _trained(study, one, ids, steps)
    for name, one in (("library", network), ("plain arrays", plain))
  }
  far = np.abs(found["plain arrays"].nats - nats).max()
  speeds = {name: one.symbols_per_second for name, one in found.items()}
  page.say(
    f"""
    Started from the same {trees.count_parameters(params):,} weights and shown
    the same {steps} minibatches, the ten lines and the plain loop make the same
    descent: no step's loss differs by more than {far:.1g} nats. It began at
    {nats[0]:.3f} nats a character (ln {symbols} = {math.log(symbols):.3f}) and
    ends at {nats[-1]:.3f}. Both compiled, compilation not counted, the library
    reads {speeds["library"]:,.0f} characters a second and the plain loop
    {speeds["plain arrays"]:,.0f}. The largest gradient on the way had the norm
    {np.max(metrics.gradient_norm):.2f}.
    """
  )
  return [
    report.row(
      f"RNN of {features} units, {name}, training",
      split="train",
      evaluation="timed",
      metric="tokens_per_second",
      value=one.symbols_per_second,
      count=one.symbols,
      seconds=one.seconds,
    )
    for name, one in found.items()
  ]


def _trained(
  study: fundamentals.Study, network: Any, ids: Any, steps: int
) -> character_training.Trained:
  seed = study.config.seed
  return character_training.train(
    network,
    windows.RandomWindows(ids, batch=_BATCH, length=_LENGTH, seed=seed),
    optimizers.build("sgd", learning_rate=1.0, momentum=0, clip_norm=1),
    steps=steps,
    seed=seed,
    check=study.signals.check,
  )
