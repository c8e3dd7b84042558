"""Reading long sequences in minibatches: which pieces, and what state."""

from typing import Any

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import figures
from experiments.studies.partitioning import readers
from seqmodels import errors
from seqmodels.io import results


def run(study: run_lib.Study) -> list[results.Row]:
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
    A network of {settings.cell.upper()} cells
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
  course = readers.build(settings, tokens.vocabulary.size)
  found = {
    name: [
      readers.trained(study, course, splits, read, study.config.seed + i)
      for i in range(settings.networks)
    ]
    for name, read in readers.READERS.items()
  }
  rows = _results(study, found, len(splits["test"]))
  readers.add(
    study,
    course.network,
    found[readers.RANDOM][0].params,
    splits["train"],
    tokens.vocabulary.index.get("\n"),
  )
  return rows


def _check(splits: dict[str, np.ndarray], settings: Any) -> None:
  if settings.steps % settings.dispatch:
    raise errors.UserError(
      f"config.settings.steps is {settings.steps} and dispatch is "
      f"{settings.dispatch}; make the steps a multiple of it"
    )
  if settings.positions <= settings.length:
    raise errors.UserError(
      f"config.settings.positions is {settings.positions} and length is "
      f"{settings.length}; give more positions than a piece has"
    )
  if len(splits["test"]) <= settings.positions:
    raise errors.UserError(
      f"the test text has {len(splits['test']):,} symbols and "
      f"config.settings.positions is {settings.positions}; give a longer text "
      "or fewer positions"
    )


def _results(
  study: run_lib.Study,
  found: dict[str, list[readers.Trained]],
  count: int,
) -> list[results.Row]:
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
  figures.curves(
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
  figures.curves(
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
    results.row(
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
