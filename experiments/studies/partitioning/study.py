"""Reading long sequences in minibatches: which pieces, and what state."""

import functools
from typing import Any

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import figures
from experiments.studies.partitioning import readers
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.data.text import batching
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import optimizers


def run(study: run_lib.Study) -> list[results.Row]:
  """The readers on a toy, and the same network trained by each."""
  page, settings = study.page, study.config.settings
  toy(study)
  tokens = study.tokens("characters")
  splits = {name: np.asarray(ids) for name, ids in tokens.splits.items()}
  _check(splits, settings)
  page["symbols"] = tokens.vocabulary.size
  page["source"] = study.config.data.source
  network = networks.LanguageModel(
    tokens.vocabulary.size,
    recurrent.StackOptions(
      features=tuple(settings.features), cell=cells.get(settings.cell)
    ),
  ).as_model()
  optimizer = optimizers.build(
    "adam", learning_rate=settings.learning_rate, clip_norm=1.0
  )
  train = functools.partial(readers.train, study, network, optimizer, splits)
  result = {
    name: [train(read, study.config.seed + i) for i in range(settings.networks)]
    for name, read in readers.READERS.items()
  }
  params, end = (
    result[readers.RANDOM][0].params,
    tokens.vocabulary.index.get("\n"),
  )
  sentences(study, network, params, splits["train"], end)
  return compare(study, result, len(splits["test"]))


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


def toy(study: run_lib.Study) -> None:
  """The readers on the numbers 0, 1, ...: minibatches, and their coverage."""
  page, settings = study.page, study.config.settings
  total, batch, length = settings.toy
  ids = np.arange(total)
  shown, body, shares = [], [], {}
  for name, read in readers.READERS.items():
    reader = read(ids, batch=batch, length=length, seed=study.config.seed)
    count = reader.segments_per_epoch
    epoch = reader.segments(0, count)  # arrays [count, T, B]
    steps = epoch.targets[1:, 0] - epoch.targets[:-1, -1]
    follows = (steps % total == 1)[epoch.mask[1:, 0]]
    share = follows.mean() if follows.size else float("nan")
    state = "carried" if name == readers.SEQUENTIAL else "cleared"
    body.append([name, count, share, state])
    if name == readers.CLEARED:  # reads what the carrying reader reads
      continue
    shown += [name]
    shown += [
      f"  minibatch {i + 1}:  "
      + "   ".join(_row(part[:, row]) for row in range(batch))
      for i, part in enumerate(epoch.inputs[:3])
    ]
    times = np.zeros(total)
    epochs = settings.toy_epochs
    parts = reader.segments(0, count * epochs)
    np.add.at(times, parts.targets[parts.mask], 1.0 / epochs)
    shares[name] = (ids, times)
  page.verbatim("toy", "\n".join(shown))
  page["toy_readers"] = body
  figures.curves(
    page.figure("coverage"),
    "Which symbols an epoch predicts",
    shares,
    x="position in the text",
    y="times an epoch",
    marks=True,
  )


def _row(ids: np.ndarray) -> str:
  return " ".join(f"{i:2d}" if i >= 0 else " ." for i in ids)


def compare(
  study: run_lib.Study,
  result: dict[str, list[readers.Trained]],
  count: int,
) -> list[results.Row]:
  """Scores, curves and result rows of the readers, means over the seeds."""
  page, settings = study.page, study.config.settings
  length = settings.length
  means = {
    name: float(np.mean([one.streaming for one in several]))
    for name, several in result.items()
  }
  by_position = {
    name: np.mean([one.by_position for one in several], axis=0)
    for name, several in result.items()
  }
  body = []
  for name, several in result.items():
    spread = np.ptp([one.streaming for one in several])
    near, far = np.split(by_position[name], [length])
    body.append([name, means[name], spread, near.mean(), far.mean()])
  page["scores"] = body
  figures.curves(
    page.figure("learning"),
    "One network, one budget, four readers",
    {
      name: (
        [read / 1000 for read, _ in several[0].curve],
        np.mean([[bits for _, bits in one.curve] for one in several], axis=0),
      )
      for name, several in result.items()
    },
    x="symbols read in training, thousands",
    y="bits a character, validation",
    marks=True,
  )
  figures.curves(
    page.figure("positions"),
    "What a longer past is worth",
    {
      name: (np.arange(1, settings.positions + 1), bits)
      for name, bits in by_position.items()
    },
    x="symbols since the state was cleared",
    y="bits a character",
    log_x=True,
  )
  order = sorted(means, key=means.__getitem__)
  page["best"] = order[0]
  page["best_bits"], page["worst_bits"] = means[order[0]], means[order[-1]]
  page["ranking"] = ", ".join(f'{means[name]:.3f} ("{name}")' for name in order)
  carrying = means[readers.CLEARED] - means[readers.SEQUENTIAL]
  page["carrying"] = f"{carrying:+.3f}"
  carried = by_position[readers.SEQUENTIAL]
  page["beyond"] = f"{carried[-1] - carried[length - 1]:+.3f}"
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
    for name, several in result.items()
  ]


def sentences(
  study: run_lib.Study,
  network: networks.SequenceModel,
  params: Any,
  ids: np.ndarray,
  end: int | None,
) -> None:
  """Lines as examples, where the text has enough of them for a minibatch."""
  page, batch = study.page, study.config.settings.batch
  if end is None or np.sum(ids == end) < batch:
    return
  # One padded length for all, so that long and short ones meet.
  reader = batching.Sentences(
    ids, batch=batch, end=end, shapes=1, seed=study.config.seed
  )
  lengths = np.diff(np.append(-1, np.flatnonzero(ids == end)))
  orders = {
    "shuffled": study.random.permutation(lengths),
    "lines of like length together": np.sort(lengths),
  }
  page["padding"] = [
    [name, f"{100 * readers.padding(ordered, batch):.1f} %"]
    for name, ordered in orders.items()
  ]
  real, every = readers.scores(network, params, reader.segment(0))
  page["lines"] = {
    "shortest": lengths.min(),
    "longest": lengths.max(),
    "real": real,
    "every": every,
  }
