"""One recipe under several seeds: the mean of every result, and its spread.

Each seed has a run folder of its own, `seed-N`, like that of a run alone. Small
networks are trained side by side first (`train.train_loop`), which
rounds a little differently.
"""

import contextlib
import pathlib
import statistics
import sys
from collections.abc import Collection, Sequence

import jax
from ml_collections import config_dict

import experiments
from experiments import page as page_lib
from experiments import restore, train
from experiments.language_model import task
from seqmodels import errors, trees
from seqmodels.io import checkpoints, distributed, run_folder
from seqmodels.io import results as results_lib

TEMPLATE = pathlib.Path(__file__).with_name("multi_seed.md")
# Weights of all seeds up to which they are trained side by side. Two CPU cores
# have nothing left to gain from four networks of 64 units and lose a sixth with
# four of 256.
SMALL = 4_000_000
SMALL_ON_CPU = 200_000


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results_lib.Row]:
  """Runs `config.seeds` seeds, counted up from `config.seed`.

  Args:
    config: any experiment's settings, with `seeds` above 1.
    workdir: the run folder; gets a folder `seed-N` for each.
    data_dir: where data sets are looked for.

  Returns:
    Rows of means and of standard deviations over the seeds; a row on which all
    seeds agree stays as it is.
  """
  members = _members(config, workdir)
  if config.experiment == "language_modelling":
    train_together(members, data_dir)
  results = []
  for number, (alone, folder) in enumerate(members, start=1):
    print(
      f"seed {alone.seed} ({number} of {len(members)})",
      file=sys.stderr,
      flush=True,
    )
    results.append(experiments.run(alone, folder, data_dir)["rows"])
  rows = spread(results)
  page = page_lib.Page(TEMPLATE, workdir)
  page["count"] = config.seeds
  page["first"], page["last"] = config.seed, config.seed + config.seeds - 1
  page.facts(
    "facts",
    {f"seed {a.seed}": f"`{folder.name}/report.md`" for a, folder in members},
  )
  page.write(rows)
  return rows


def require_finished(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> None:
  """As of the experiment itself, for each seed."""
  single = experiments.module(config.experiment)
  if hasattr(single, "require_finished"):
    for alone, folder in _members(config, workdir):
      single.require_finished(alone, folder, data_dir)


def _members(
  config: config_dict.ConfigDict, workdir: pathlib.Path
) -> list[tuple[config_dict.ConfigDict, pathlib.Path]]:
  """The settings and the folder of each seed."""
  members = []
  for seed in range(config.seed, config.seed + config.seeds):
    alone = config_dict.ConfigDict(config.to_dict())
    alone.update(seed=seed, seeds=1)
    members.append((alone, workdir / f"seed-{seed}"))
  return members


def spread(
  results: Sequence[Sequence[results_lib.Row]],
) -> list[results_lib.Row]:
  """Mean and standard deviation of each row over the seeds.

  Args:
    results: the rows of each seed, alike but for their values.
  """
  rows: list[results_lib.Row] = []
  for same in zip(*results, strict=True):
    values = [row["value"] for row in same]
    first = dict(same[0])
    names = {row["name"] for row in same}
    name = _in_common(names)
    if len(set(values)) == 1 and len(names) == 1:
      rows.append(first)
      continue
    if None in values:
      raise errors.RunError(
        f"a seed has no finite value of {name!r}, so there is no mean; see the "
        "pages of the seeds"
      )
    number = len(values)
    mean = first | {
      "name": f"{name}; mean of {number} seeds",
      "value": statistics.fmean(values),
    }
    deviation = first | {
      "name": f"{name}; standard deviation over {number} seeds",
      "value": statistics.stdev(values),
      "reference": None,
      "reference_source": None,
    }
    rows += [mean, deviation]
  return rows


def _in_common(names: Collection[str]) -> str:
  """The parts that all names share: a search may choose differently by seed.

  >>> _in_common(["net; sgd, rate 0.1; a word", "net; sgd, rate 1; a word"])
  'net; a word'
  """
  first, *others = [name.split("; ") for name in names]
  return "; ".join(
    part for part in first if all(part in other for other in others)
  )


def train_together(
  members: Sequence[tuple[config_dict.ConfigDict, pathlib.Path]],
  data_dir: pathlib.Path,
) -> None:
  """Trains small networks side by side and leaves their checkpoints.

  Does nothing where a seed fills the machine alone, where training may stop
  early, where minibatches are padded to their own sentences, in bfloat16 on a
  CPU (XLA has no batched product of it there), or on several devices. Seeds
  that a kill left at different steps continue from the newest that all have.

  Raises:
    Interrupted: after a signal, with all states saved.
  """
  config = members[0][0]
  on_cpu = jax.default_backend() == "cpu"
  if (
    config.training.patience
    or config.training.sampling == "sentences"
    or jax.device_count() > 1
    or (on_cpu and config.dtype != "float32")
    or any((folder / run_folder.RESULTS).exists() for _, folder in members)
  ):
    return
  with contextlib.ExitStack() as stack:
    signals = stack.enter_context(distributed.Interruption())
    symbols = restore.restored_vocabulary(config, members[0][1])
    tokens = task.load_tokens(config, data_dir, symbols)
    network = task.build_predictor(config, tokens.vocabulary.size)
    setups = [
      train.prepare(c, folder, task.task(c, tokens, network))
      for c, folder in members
    ]
    weights = trees.count_parameters(setups[0].weights)
    if weights * len(members) > (SMALL_ON_CPU if on_cpu else SMALL):
      return
    areas = [
      stack.enter_context(checkpoints.Checkpoints(setup.checkpoints))
      for setup in setups
    ]
    common = set.intersection(*(set(saved.latest_steps) for saved in areas))
    if not common and any(saved.latest_steps for saved in areas):
      return  # each continues alone, from its own newest step
    for saved in areas:
      saved.rewind(max(common, default=-1))
    runs, states = [], []
    for setup, saved in zip(setups, areas, strict=True):
      stack.enter_context(
        run_folder.start(
          setup.workdir,
          config=setup.config.to_dict(),
          source=pathlib.Path(__file__).resolve().parent.parent,
          free=(*experiments.PLACEMENT, *task.PLACEMENT),
        )
      )
      setup.task.settle(setup.workdir)
      start = train.starting_point(setup, saved)
      title = f"seed {setup.config.seed}"
      runs.append(
        train.Run(setup, start, saved, signals, stack, title=title, wait=True)
      )
      states.append(start.state)
    if len({int(state.step) for state in states}) > 1:
      return  # A newest state was corrupt: each continues alone.
    train.train_loop(
      runs,
      train.join(states),
      setups[0].train_steps(side_by_side=True),
      setups[0].task.plan,
      signals,
    )
    signals.check()
