"""Exercises: the study's page from beginning to end."""

import contextlib
import inspect
import math
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import figures, memory_tasks, training
from experiments.studies.exercises import exact, memory
from seqmodels import errors, losses, trees
from seqmodels.cells import gru, lstm, scan
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import api as predictors
from seqmodels.models import language_model
from seqmodels.training import loop, optimizers
from seqmodels.training import step as step_lib

_EVALUATIONS = 16  # points of the curves


class _Learner(NamedTuple):
  """A network and the course of its training.

  Attributes:
    steps: where it was scored, [N].
    known: perplexity of the text that it learns, [N].
    unknown: perplexity of the text it does not see, [N].
    best: weights where the latter was lowest.
    last: weights at the end.
  """

  steps: list[int]
  known: list[float]
  unknown: list[float]
  best: Any
  last: Any


def texts(study: run_lib.Study, others: Mapping[str, str]) -> list[results.Row]:
  """Overfits on purpose, then scores texts by other hands.

  Args:
    study: its page is written on.
    others: those texts, by their names.
  """
  settings = study.config.settings
  tokens = study.tokens("characters")
  symbols = tokens.vocabulary.size
  network = language_model.as_predictor(
    language_model.LanguageModel(
      symbols, (settings.heart_features,), cell="gru"
    )
  )
  train = tokens.splits["train"]
  unseen = np.asarray(tokens.splits["valid"][: settings.unseen])
  known = train[: settings.by_heart]
  optimizer = optimizers.build(
    "adam", learning_rate=settings.heart_rate, clip_norm=1.0
  )
  train_steps = step_lib.make_train_steps(network, optimizer)
  little, much = (
    _learned(
      study,
      network,
      train_steps,
      step_lib.create(
        network, optimizer, batch=settings.batch, seed=study.config.seed
      ),
      ids,
      unseen,
    )
    for ids in (known, train)
  )
  rows = _by_heart(study, little, symbols, len(known), len(unseen))
  names = {
    f"the first {len(known):,} characters, stopped in time": little.best,
    f"the first {len(known):,} characters, by heart": little.last,
    f"all {len(train):,} characters": much.last,
  }
  return rows + elsewhere(study, network, names, tokens, unseen, others)


def _learned(
  study: run_lib.Study,
  network: predictors.Predictor,
  train_steps: step_lib.TrainSteps,
  begun: step_lib.TrainState,
  ids: tokens_lib.Ids,
  unseen: np.ndarray,
) -> _Learner:
  """Trains on a text read in order, scoring it and another on the way."""
  settings = study.config.settings
  text = batching.SequentialStream(
    ids, batch=settings.batch, length=settings.heart_length, training=True
  )
  found, nats, best = _Learner([], [], [], None, None), [], {}

  def report_of(metrics: loop.Report) -> None:
    nats.append((metrics.nats, metrics.scored))

  def evaluate(params: Any, step: int) -> float:
    total = training.held_out(network, params, unseen)
    # What was read since the last time, each segment before it was learned.
    sums = np.sum(nats, axis=0)
    nats.clear()
    found.steps.append(step)
    found.known.append(float(np.exp(sums[0] / sums[1])))
    found.unknown.append(total.perplexity)
    return total.nats_per_symbol

  def improved(params: Any, step: int) -> None:
    del step
    # Copied: the buffers are given to the next step.
    best["params"] = jax.tree.map(np.array, params)

  def interrupted() -> bool:
    study.signals.check()
    return False

  every = max(1, settings.heart_steps // _EVALUATIONS)
  outcome = loop.fit(
    begun,
    loop.Stopping(),
    train_steps,
    loop.Plan(settings.heart_steps, every, every, settings.heart_steps),
    loop.Callbacks(
      lambda start, count: text.segments(start, count),
      report_of,
      evaluate,
      improved,
      lambda state, memory: None,
      interrupted,
    ),
  )
  return found._replace(
    best=best["params"], last=jax.device_get(outcome.state.params)
  )


def _by_heart(
  study: run_lib.Study,
  little: _Learner,
  symbols: int,
  known: int,
  unseen: int,
) -> list[results.Row]:
  """The section, and rows of the end."""
  page, settings = study.lesson, study.config.settings
  # Of one reading; what a row lacks at its end is masked.
  segments = -(-known // settings.batch // settings.heart_length)
  times = settings.heart_steps // max(1, segments)
  page.section(
    "Learning by heart",
    f"""
    What if a network is trained for too long on too little? A GRU of
    {settings.heart_features} units from the library reads the first {known:,}
    characters of the corpus again and again, {times:,} times, in
    {settings.batch} rows whose state is carried on. Beside it stands the
    perplexity of {unseen:,} characters that it never learns from.
    """,
  )
  low = int(np.argmin(little.unknown))
  shown = sorted({0, low, len(little.steps) // 2, len(little.steps) - 1})
  page.table(
    ("steps", "perplexity of the text it learns", "of the unseen text"),
    [
      [f"{little.steps[i]:,}", little.known[i], little.unknown[i]]
      for i in shown
    ],
  )
  above = little.unknown[-1] > symbols
  page.say(
    f"""
    The unseen text is foretold best after {little.steps[low]:,} steps, at
    {little.unknown[low]:.1f}; by the end it has risen to
    {little.unknown[-1]:.1f} while the text itself is down to
    {little.known[-1]:.2f}, where 1 is certainty. {
      f"That is above {symbols}, the perplexity of knowing nothing: who is "
      "sure and wrong does worse than who has no opinion."
      if above
      else f"Knowing nothing would have {symbols}."
    } A training loss alone cannot tell learning from learning by heart. One
    stops at the lowest point of the other curve, or gives the network more
    text.
    """
  )
  figures.curves(
    page.figure(
      "by_heart",
      "Perplexity of the text that is learned, since the mark before, and of "
      "an unseen one, by step.",
    ),
    "Learning by heart",
    {
      "the text it learns": (little.steps, little.known),
      "unseen text": (little.steps, little.unknown),
    },
    x="steps",
    y="perplexity",
    log_y=True,
    marks=True,
    references={"knowing nothing": float(symbols)},
  )
  return [
    results.row(
      f"GRU, {known:,} characters by heart, {settings.heart_steps:,} steps",
      split=split,
      evaluation=evaluation,
      metric="perplexity",
      value=value,
      count=count,
      seconds=0.0,
    )
    for split, evaluation, value, count in (
      ("train", "before each step", little.known[-1], known),
      ("valid", "static", little.unknown[-1], unseen),
    )
  ]


def read(study: run_lib.Study) -> dict[str, str]:
  """Texts by other hands, as far as they are to be had, by their names.

  Raises:
    UserError: a file of `config.settings.other_texts` that is missing, too
      short or not UTF-8.
  """
  settings, found = study.config.settings, {}
  if study.config.data.source != "embedded":
    python = _beginning(study, source="embedded")
    found["Python's language reference"] = python
  if study.config.data.source != "timemachine":
    # A page without it is a page all the same.
    with contextlib.suppress(errors.UserError):
      found["The Time Machine"] = _beginning(study, source="timemachine")
  functions = (getattr(np.linalg, name) for name in sorted(np.linalg.__all__))
  documented = (inspect.getdoc(f) or "" for f in functions)
  found["NumPy's help on linear algebra"] = "\n\n".join(documented)
  for path in settings.other_texts:
    found[pathlib.Path(path).name] = _beginning(study, source="text", path=path)
  return {name: text[: settings.unseen] for name, text in found.items()}


def _beginning(study: run_lib.Study, **where: Any) -> str:
  """The first characters of another corpus."""
  tokens = study.tokens(
    "characters",
    partition="standard",
    limit=study.config.settings.unseen,
    downloads=False,
    **where,
  )
  ids = np.asarray(tokens.splits["train"])
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def elsewhere(
  study: run_lib.Study,
  network: predictors.Predictor,
  trained: Mapping[str, Any],
  tokens: tokens_lib.Tokens,
  unseen: np.ndarray,
  others: Mapping[str, str],
) -> list[results.Row]:
  """Scores texts by the same hand and by others.

  Args:
    study: its page is written on.
    network: that was trained in several ways.
    trained: weights by what they were trained on, the best taught last.
    tokens: of the text that they learned.
    unseen: ids of more of that text.
    others: texts by other hands, by their names.
  """
  page, settings = study.lesson, study.config.settings
  known: dict[str, tuple[np.ndarray, float]] = {
    "the same text, unseen": (unseen, 0.0),
    "the same, read backwards": (unseen[::-1], 0.0),
  }
  for name, text in others.items():
    kept = [c for c in text if c in tokens.vocabulary]
    if kept:
      ids = tokens.vocabulary.encode(kept)
      known[name] = (ids, 1 - len(kept) / len(text))
  scores = {
    name: [
      training.held_out(network, params, ids) for params in trained.values()
    ]
    for name, (ids, _) in known.items()
  }
  page.section(
    "Other texts, other hands",
    f"""
    A model of one text is a model of its author and of his subject. The same
    network, after {settings.heart_steps:,} steps on little text or on much,
    scores up to {settings.unseen:,} characters from elsewhere. Symbols are
    those of the first text: what another one has besides cannot be said by the
    network at all, and is left out.
    """,
  )
  page.table(
    (
      "text",
      "characters",
      "left out",
      *(f"perplexity, learned {name}" for name in trained),
    ),
    [
      [
        name,
        f"{len(ids):,}",
        f"{100 * lost:.1f} %",
        *(one.perplexity for one in scores[name]),
      ]
      for name, (ids, lost) in known.items()
    ],
  )
  most = [ones[-1].perplexity for ones in scores.values()]
  by_heart = [ones[-2].perplexity for ones in scores.values()]
  page.say(
    f"""
    The network that has read most foretells {
      "its own text best"
      if most[0] == min(most)
      else "another text better than its own"
    }: {most[0]:.2f} there, {min(most[2:]):.2f} to {max(most[2:]):.2f} with
    others. Read backwards, the text has the same letters as often, and costs
    {most[1]:.1f}: the difference is what was learned of their order. The
    network that knows its own text by heart pays {min(by_heart):.1f} or more
    for any other, where knowing nothing costs {tokens.vocabulary.size}.
    """
  )
  return [
    results.row(
      f"GRU, all training text, on: {name}",
      split="elsewhere" if place else "valid",
      evaluation="static",
      metric="perplexity",
      value=ones[-1].perplexity,
      count=ones[-1].count,
      seconds=ones[-1].seconds,
    )
    for place, (name, ones) in enumerate(scores.items())
  ]


_READ = 100  # symbols


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page, part by part."""
  # A file that cannot be read shows now, not after the training.
  others = read(study)
  study.lesson.say(
    """
    Questions about recurrent networks that textbooks leave to the reader,
    answered by construction, by a bound, or by an experiment. What can such a
    network represent that counting cannot? How wide must its output be, and
    how far back does it look? What becomes of the gradient of a long sequence?
    Over which lag can the common cells learn to remember, and what helps? And
    what happens to a network that is trained too long on one text?
    """
  )
  rows: list[results.Row] = []
  for part in (
    exact.represented,
    exact.beyond_ngrams,
    memory.recall,
    output_width,
    memory.by_length,
    memory.at_a_window,
    gates_by_hand,
    memory.copying,
    memory.compared,
    memory.adding,
  ):
    rows += part(study) or []
    study.signals.check()
  return rows + texts(study, others)


def output_width(study: run_lib.Study) -> None:
  """V numbers out, one a symbol."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "How wide is the output?",
    """
    A model of the next symbol says a probability for each one that could come,
    so its output layer has as many units as the vocabulary has symbols, V,
    whatever the width of the state. (The input, read as one-hot vectors, is as
    wide.) Before training all of them are about alike, and the loss is about
    ln V.
    """,
  )
  body = []
  for tokenizer in ("characters", "words"):
    tokens = study.tokens(tokenizer)
    symbols = len(tokens.vocabulary)
    network = training.Network("elman", settings.features, symbols, symbols)
    ids = np.asarray(tokens.splits["train"][: _READ + 1], np.int32)[:, None]
    logits, nats = jax.jit(_first, static_argnums=0)(
      network, jax.random.key(study.config.seed), ids
    )
    params, *readout = jax.eval_shape(network.init, jax.random.key(0))
    body.append(
      [
        tokenizer,
        f"{symbols:,}",
        " x ".join(map(str, logits.shape)),
        f"{trees.count_parameters(readout):,}",
        f"{trees.count_parameters(params):,}",
        float(nats) / (len(ids) - 1),
        math.log(symbols),
      ]
    )
  page.table(
    (
      "symbols are",
      "V",
      "outputs, steps x rows x V",
      f"weights of the output layer, h = {settings.features}",
      "of the recurrent layer",
      "loss at the start",
      "ln V",
    ),
    body,
  )
  page.say(
    """
    For words nearly all weights are in the two ends of the network, which is
    one reason why models of words embed their input and models of characters
    need not.
    """
  )


def _first(
  network: training.Network, key: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Logits before any training, and nats in all, of ids [T + 1, 1]."""
  # The textbook's small weights: the logits begin near 0.
  params = jax.tree.map(lambda leaf: 0.01 * leaf, network.init(key))
  carry = network.initial_carry(1)
  _, hs = network.cell.sequence(params[0], carry, ids[:-1])
  logits = network.read(params, hs)
  scored = jnp.ones(ids[1:].shape, bool)
  return logits, losses.nats(logits, ids[1:], scored)[0]


def gates_by_hand(study: run_lib.Study) -> None:
  """Gates set by hand keep and add without loss."""
  page, length, rows = study.lesson, study.config.settings.hand_length, 16
  task = memory_tasks.AddingTask(
    length=length, batch=rows, seed=study.config.seed
  )
  segment = task.segment(0)
  gains = (1e-1, 1e-2, 1e-3)
  worst: list[list[float | str]] = []
  with jax.enable_x64(True):
    latched, summed = (
      jax.jit(lambda *given, step=step: scan.unroll(step, *given)[0])
      for step in (gru.step, lstm.step)
    )
    inputs = jnp.asarray(segment.inputs, jnp.float64)
    sums = np.asarray((inputs[..., 0] * inputs[..., 1]).sum(axis=0))
    one = inputs.at[length // 2 :, :, 1].set(0)  # the first mark alone
    first = np.asarray((one[..., 0] * one[..., 1]).sum(axis=0))
    for gain in gains:
      short = gru.initial_carry((rows,), 1, jnp.float64)
      held = latched(exact.latch(gain), short, one)
      long = lstm.initial_carry((rows,), 1, jnp.float64)
      added = summed(exact.adder(gain), long, inputs)
      worst.append(
        [
          f"{gain:g}",
          float(np.abs(held.h[:, 0] / gain - first).max()),
          float(np.abs(added.h[:, 0] / gain - sums).max()),
        ]
      )
  page.section(
    "Gates that hold",
    """
    Before any training: what are gates able to do? In the adding task a network
    reads pairs of a number and a mark, and is to say the sum of the two marked
    numbers at the end. A GRU of one unit with r = 0 and z = 0 at the mark, z =
    1 elsewhere, depends on that one input alone and keeps it unchanged for
    ever. An LSTM of one unit with f = 1 and its input gate equal to the mark
    adds the marked numbers up in its cell. Saturated gates are 0 or 1 to the
    last bit, so the number of steps does not matter; the tanh inside is passed
    by small numbers, tanh(a v) / a.
    """,
  )
  page.table(
    (
      f"a, over {length} steps",
      "GRU keeps one number: largest error",
      "LSTM adds two: largest error",
    ),
    worst,
  )
  page.say(
    """
    The error is that of tanh, about a^2/3 of the number cubed, and can be made
    as small as one likes. So both can represent the task over any lag with one
    unit. Whether they can be taught it is another question.
    """
  )
