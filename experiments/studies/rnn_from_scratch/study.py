"""Recurrent networks from their equations to models of a text."""

import inspect
import math
from typing import Any

import jax
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import bidirectional, equations
from experiments.studies.rnn_from_scratch import training as training_lib
from seqmodels import trees
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import language_model
from seqmodels.training import optimizers, step

# Settings that count something.
_SIZES = (
  *("small_features", "small_segment", "small_steps", "features", "batch"),
  *("segment", "steps", "ngram_order", "embedding", "stress_features"),
  *("stress_batch", "stress_segment", "stress_steps", "stress_seeds"),
  *("reader_features", "reader_steps", "chain_symbols", "sample_length"),
  *("textbook_epochs", "textbook_batch"),
)

LIMITS = """
  What the network can condition on is its state, and that begins with its
  stream or window: nothing before has any effect on it. Its output layer is as
  wide as there are symbols. It is trained on true inputs and used on its own;
  its state has a fixed size; its steps must be taken one after another; a
  gradient through many of them fades or explodes; it cannot write a symbol that
  the vocabulary lacks. Gates ease the fading, clipping bounds the exploding,
  and the rest has to be lived with.
  """


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page; see `configs.fundamentals`."""
  tokens = study.tokens("characters")
  # What cannot be shows now, not after the training.
  check(study.config.settings, tokens)
  study.lesson.say(
    """
    A recurrent network reads a sequence step by step and keeps what it has
    read in a state of fixed size. This page builds one from plain arrays, finds
    the same numbers in the library, trains it on a text with the gates, depth
    and directions that it may be given, and checks at every turn what should
    be equal.
    """
  )
  equations.equations(study)
  equations.concatenation(study)
  equations.one_word(study)
  rows = ten_lines(study, tokens)
  equations.gates(study)
  equations.counts(study)
  equations.first_loss(study, tokens)
  equations.one_hot(study)
  study.signals.check()
  trained, writer = training_lib.train_network(study, tokens)
  rows += trained + training_lib.compared(study, tokens)
  study.signals.check()
  training_lib.clipping(study, tokens)
  training_lib.prefixes(study, tokens, writer)
  training_lib.depth(study)
  training_lib.causality_tests(study)
  rows += bidirectional.next_symbol(study, tokens)
  study.signals.check()
  rows += bidirectional.blanks(study, tokens)
  rows += bidirectional.hidden_chain(study, tokens)
  study.lesson.section("Where this leaves the simple network", LIMITS)
  return rows


def check(settings: Any, tokens: tokens_lib.Tokens) -> None:
  """Refuses settings that some part of the page could not go on with.

  Args:
    settings: `config.settings`.
    tokens: the text.

  Raises:
    UserError: naming the first such setting.
  """
  training.check_sizes(settings, _SIZES)
  for name, known in (
    ("networks", training_lib.NETWORKS),
    ("causal", training_lib.CAUSAL),
    ("textbook", training_lib.TEXTBOOK_NETWORKS),
  ):
    training.check_names(settings, name, known, empty=name == "textbook")
  if settings.textbook:
    training_lib.read(tokens, settings, seed=0)
  training.encode(tokens, settings.prefix)


def by_the_library(
  ids: Any, symbols: int, features: int, length: int, seed: int
) -> tuple[Any, Any, Any]:
  """A model of a text: its state, the text in pieces, and how it learns."""
  net = language_model.LanguageModel(symbols, (features,), cell="elman")
  network = language_model.as_predictor(net)
  descent = optimizers.build("sgd", learning_rate=1.0, momentum=0, clip_norm=1)
  text = batching.RandomWindows(ids, batch=32, length=length, seed=seed)
  state = step.create(network, descent, batch=32, seed=seed)
  train_steps = step.make_train_steps(network, descent)
  return state, text, train_steps


def ten_lines(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """The library's version, and the plain one trained the same way."""
  page, settings = study.lesson, study.config.settings
  ids, symbols = tokens.splits["train"], tokens.vocabulary.size
  features, steps = settings.small_features, settings.small_steps
  seed, check = study.config.seed, study.signals.check
  page.section("The same model in ten lines of the library")
  page.shown(inspect.getsource(by_the_library))
  page.say("After that a line trains it on the first 50 pieces:")
  page.shown("state, metrics = train_steps(state, text.segments(0, 50))")
  state, text, train_steps = by_the_library(
    ids, symbols, features, settings.small_segment, seed
  )
  # Training consumes the state.
  begun = equations.from_library(jax.device_get(state.params))
  size = trees.count_parameters(state.params)
  library = training.descend(train_steps, state, text, steps=steps, check=check)
  plain = training.train(
    equations.as_predictor(symbols, features, init=lambda key: begun),
    text,
    optimizers.build("sgd", learning_rate=1.0, momentum=0, clip_norm=1),
    steps=steps,
    seed=seed,
    check=check,
  )
  far = np.abs(plain.nats - library.nats).max()
  acted = int(np.sum(library.norms > 1))
  page.say(
    f"""
    The plain loop, handed to the same optimiser by a dozen lines, was started
    from the same {size:,} weights and shown the same {steps} minibatches of 32
    windows. The two make the same descent: no step's loss differs by more than
    {far:.1g} nats. It began at {library.nats[0]:.3f} nats a character (ln
    {symbols} = {math.log(symbols):.3f}) and ends at {library.nats[-1]:.3f}.
    Both compiled, compilation not counted, the library reads
    {library.symbols_per_second:,.0f} characters a second and the plain loop
    {plain.symbols_per_second:,.0f}. The largest gradient on the way had the
    norm {library.norms.max():.2f}; the bound of 1 acted in {acted} of the
    {steps} steps.
    """
  )
  return [
    results.row(
      f"RNN of {features} units, {name}, training",
      split="train",
      evaluation="timed",
      metric="tokens_per_second",
      value=one.symbols_per_second,
      count=one.symbols,
      seconds=one.seconds,
    )
    for name, one in (("library", library), ("plain arrays", plain))
    if one.seconds
  ]
