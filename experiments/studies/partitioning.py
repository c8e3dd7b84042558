"""Reading long sequences in minibatches: which pieces, and what state."""

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import fundamentals
from experiments.studies import readers
from seqmodels import errors, units
from seqmodels.data import streams
from seqmodels.evaluation import static
from seqmodels.io import report, study_plot
from seqmodels.models import language_model, predictor
from seqmodels.training import loop, optimizers, state, step

# Windows of each of three stretches of the test text.
RUN = 1_000


class Course(NamedTuple):
  """What all trainings share."""

  network: predictor.Predictor
  optimizer: optimizers.Optimizer
  train_steps: step.TrainSteps


class Trained(NamedTuple):
  """One reader's network."""

  curve: list[tuple[int, float]]  # symbols read, bits of the validation text
  streaming: float  # bits a character of the test text, read in one go
  by_position: np.ndarray  # bits of the n-th symbol after a cleared state
  seconds: float


def run(study: fundamentals.Study) -> list[report.Row]:
  """The page: the readers on a toy, and the same network trained by each.

  Raises:
    UserError: a text too short for one minibatch.
  """
  page, settings = study.lesson, study.config.settings
  page.say("""
    A text is too long for one pass of backpropagation. It is cut into pieces of
    T symbols, and B pieces are a minibatch; the targets are the inputs one
    symbol on. Two questions remain: which pieces stand together, and what state
    a recurrent network starts a piece with.

    **Random sampling** drops a random 0 to T - 1 symbols at the front, cuts the
    rest into pieces that do not overlap, and shuffles them. Pieces of
    successive minibatches have nothing to do with each other, so each starts
    from a cleared state. **Sequential partitioning** cuts the text into B long
    rows, and each minibatch goes on where the one before stopped: the state is
    carried over, only the gradient is cut. A third reader takes **every
    window**, at every position, shuffled.
  """)
  readers.toy(study)
  tokens = study.tokens("characters")
  splits = {name: np.asarray(ids) for name, ids in tokens.splits.items()}
  _check(splits, settings)
  page.section(
    "The same network, trained by each",
    f"""
    A network of {settings.cell} cells
    ({" and ".join(map(str, settings.features))} of them) over the
    {tokens.vocabulary.size} characters of the source
    `{study.config.data.source}`, with B = {settings.batch}, T =
    {settings.length} and {settings.steps:,} minibatches for every reader, so
    that each reads {settings.steps * settings.batch * settings.length:,}
    characters. A fourth reader is sequential but clears the state before every
    minibatch. Each was run with {settings.networks} seeds, and equal seeds give
    equal weights to begin with. Scores are mean bits a character.
    """,
  )
  course = _course(settings, tokens.vocabulary.size)
  found = {
    name: [
      _trained(study, course, splits, read, study.config.seed + i)
      for i in range(settings.networks)
    ]
    for name, read in readers.READERS.items()
  }
  return _results(study, found, len(splits["test"]))


def _course(settings: Any, symbols: int) -> Course:
  """One compiled step for all readers."""
  network = language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=symbols,
      features=tuple(settings.features),
      cell=settings.cell,
    )
  )
  optimizer = optimizers.build(
    "adam", learning_rate=settings.learning_rate, clip_norm=1.0
  )
  return Course(network, optimizer, step.make_train_steps(network, optimizer))


def _check(splits: dict[str, np.ndarray], settings: Any) -> None:
  if settings.steps % settings.dispatch:
    raise errors.UserError(
      f"config.settings.steps is {settings.steps} and dispatch is "
      f"{settings.dispatch}; make the steps a multiple of it"
    )
  if len(splits["test"]) <= settings.positions:
    raise errors.UserError(
      f"the test text has {len(splits['test']):,} symbols and "
      f"config.settings.positions is {settings.positions}; give a longer text "
      "or fewer positions"
    )


def _trained(
  study: fundamentals.Study,
  course: Course,
  splits: dict[str, np.ndarray],
  read: Callable[..., readers.Reader],
  seed: int,
) -> Trained:
  settings, network = study.config.settings, course.network
  reader = read(
    splits["train"], batch=settings.batch, length=settings.length, seed=seed
  )
  start = time.perf_counter()
  curve, params = [], None
  for done, params in _steps(settings, course, reader, seed):
    bits = _streamed(network, params, splits["valid"], settings.streams)
    curve.append((done * settings.batch * settings.length, bits))
    study.signals.check()
  return Trained(
    curve,
    _streamed(network, params, splits["test"], 1),
    _by_position(network, params, splits["test"], settings.positions),
    time.perf_counter() - start,
  )


def _by_position(
  network: predictor.Predictor, params: Any, ids: np.ndarray, positions: int
) -> np.ndarray:
  """Bits of the n-th symbol after a cleared state, mean over many windows."""
  # Long runs of windows one symbol apart: every place sees nearly the same
  # symbols, and what differs is how much stands before them.
  ends = np.linspace(0, len(ids) - positions, 4).astype(int)
  first = np.concatenate(
    [
      np.arange(low, min(high, low + RUN))
      for low, high in itertools.pairwise(ends)
    ]
  )
  place = first + np.arange(positions)[:, None, None]  # [P, 1, B]
  reset = np.broadcast_to(np.arange(positions)[:, None, None] == 0, place.shape)
  scores = static.score(
    network,
    params,
    (
      ids[place].astype(np.int32),
      ids[place + 1].astype(np.int32),
      np.ones(place.shape, bool),
      reset,
    ),
    streams=len(first),
  )
  return scores.nats / scores.counts / units.LOG2


def _steps(
  settings: Any, course: Course, reader: readers.Reader, seed: int
) -> Iterator[tuple[int, Any]]:
  """Steps done and weights, whenever an evaluation is due."""
  now = state.create(
    course.network, course.optimizer, batch=settings.batch, seed=seed
  )
  due = max(1, settings.steps // settings.evaluations)
  for done in range(0, settings.steps, settings.dispatch):
    segments = reader.segments(done, settings.dispatch)
    now, metrics = course.train_steps(now, segments)
    end = done + settings.dispatch
    loop.check_finite(jax.device_get(metrics), end)
    if end // due > done // due or end == settings.steps:
      yield end, now.params


def _streamed(
  network: predictor.Predictor, params: Any, ids: np.ndarray, rows: int
) -> float:
  """Bits a character of a text in so many rows, the state carried along."""
  whole = streams.SequentialStream(ids, batch=rows, length=64)
  segments = whole.segments(0, whole.segments_per_epoch)
  return static.evaluate(
    network, params, segments, streams=rows
  ).bits_per_symbol


def _results(
  study: fundamentals.Study, found: dict[str, list[Trained]], count: int
) -> list[report.Row]:
  page, settings = study.lesson, study.config.settings
  means = {
    name: float(np.mean([one.streaming for one in several]))
    for name, several in found.items()
  }
  page.table(
    [
      "reader",
      "test text in one go",
      f"spread of {settings.networks}",
      f"first {settings.length} after a cleared state, on stretches",
      f"{settings.length + 1}th to {settings.positions}th, on stretches",
    ],
    [
      [
        name,
        means[name],
        float(np.ptp([one.streaming for one in several])),
        float(positions[: settings.length].mean()),
        float(positions[settings.length :].mean()),
      ]
      for name, several in found.items()
      for positions in (np.mean([one.by_position for one in several], axis=0),)
    ],
  )
  study_plot.curves(
    page.figure(
      "learning",
      "Bits a character of the validation text, state carried along, against "
      f"the symbols read in training; means of {settings.networks} networks.",
    ),
    "One network, one budget, four readers",
    {
      name: (
        [read / 1000 for read, _ in several[0].curve],
        np.mean([[bits for _, bits in one.curve] for one in several], axis=0),
      )
      for name, several in found.items()
    },
    x="symbols read in training, thousands",
    y="bits a character, validation",
    marks=True,
  )
  study_plot.curves(
    page.figure(
      "positions",
      "Bits a character by the place after a cleared state, over three "
      f"stretches of the test text. Pieces in training had {settings.length}.",
    ),
    "What a longer past is worth",
    {
      name: (
        np.arange(1, settings.positions + 1),
        np.mean([one.by_position for one in several], axis=0),
      )
      for name, several in found.items()
    },
    x="symbols since the state was cleared",
    y="bits a character",
    log_x=True,
  )
  order = sorted(means, key=means.__getitem__)
  carried = np.mean(
    [one.by_position for one in found[readers.SEQUENTIAL]], axis=0
  )
  change = float(carried[-1] - carried[min(settings.length, len(carried)) - 1])
  page.say(f"""
    Read in one go, the test text costs {means[order[0]]:.3f} bits a character
    after training by "{order[0]}", then
    {", ".join(f'{means[name]:.3f} by "{name}"' for name in order[1:])}. The
    reader "{readers.CLEARED}" shows the same text in the same order as
    "{readers.SEQUENTIAL}" and differs only in the state: carrying it is worth
    {means[readers.CLEARED] - means[readers.SEQUENTIAL]:+.3f} bits here.
    Differences that are not larger than the spread between seeds say nothing.

    The second figure tells where it comes from. From the {settings.length}th to
    the {settings.positions}th symbol after a cleared state the curve of
    "{readers.SEQUENTIAL}" changes by {change:+.3f} bits: a small change means
    that the network uses no longer past than the others do. But its training
    was another. With cleared states the first symbols of every piece are
    learnt with hardly any context; with a carried state every symbol has one.
    The price shows at the left: a network that has met a cleared state only at
    the beginning of each epoch is lost without its past.

    It also warns of a comparison that is often made. A score over short windows
    from a cleared state is mostly a score of having little context:
    perplexities compare only if the context that the model was given is the
    same.
  """)
  return [
    report.row(
      f"{settings.cell} of {'-'.join(map(str, settings.features))}, {name}, "
      f"mean of {settings.networks}",
      split="test",
      evaluation="static",
      metric="bits_per_character",
      value=means[name],
      count=count,
      seconds=sum(one.seconds for one in several),
    )
    for name, several in found.items()
  ]
