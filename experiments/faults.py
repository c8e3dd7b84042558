"""Kills trainings at random and compares their ends with one left in peace.

    python -m experiments.faults --kills=200 --workdir=runs/faults

Each training is a tiny one. It is killed with SIGKILL again and again, half of
the times after a random while and half at a random change of a file, and gone
on with until it is done. Weights, optimiser state, metrics, rows and figures
must then be, bit for bit, those of the same training without a kill. Trainings
follow each other until the kills are used up; a table of all that was counted
is printed and kept in the folder. The exit code is 1 if anything differed.
"""

import argparse
import collections
import pathlib
import random
import shutil
import signal
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
from ml_collections import config_dict

from configs import common, handwriting_synthesis
from configs import compression as compression_page
from experiments import cli, killed_runs
from seqmodels import errors
from seqmodels.io import files, metrics, progress, results

PAGE = "faults.md"
# Of one training, so that those that are soon started get no more than others.
_MOST = 10
# What there must be none of.
_FAULTS = ("failed starts", "torn checkpoints", "differing files")


def text() -> config_dict.ConfigDict:
  """An LSTM over characters, then evaluated statically and dynamically."""
  config = _small(common.base())
  config.training.update(random_offset=True)
  config.dynamic.update(search=True, search_segments=(20,))
  return config


def noise() -> config_dict.ConfigDict:
  """Adaptive weight noise and every dropout, over whole lines."""
  config = _small(common.base())
  config.data.update(sentences=True)
  config.model.update(features=(6, 6), embedding=5, cell="gru")
  config.training.update(sampling="sentences", optimizer="sgd")
  config.regularization.update(
    adaptive=0.05, dropout_embedding=0.1, dropout_input=0.1,
    dropout_hidden=0.1, dropout_output=0.1, drop_connect=0.1,
  )  # fmt: skip
  config.dynamic.rule = ""
  return config


def ink() -> config_dict.ConfigDict:
  """A network that writes a text with a made-up pen."""
  config = handwriting_synthesis.get_config("quickstart,smoke")
  config.data.limit = 8
  config.training.update(
    epochs=100.0, max_steps=48, checkpoint_every=4, evaluations_per_epoch=1
  )
  config.regularization.weight_noise = 0.05
  config.sample.update(biases=(0.5,), statistics=0)
  return config


def compression() -> config_dict.ConfigDict:
  """A file coded and decoded block by block, its state saved at each."""
  config = compression_page.get_config("compress,fast,smoke")
  config.update(baselines=False, save_every=0.0, overwrite=True)
  return config


TRAININGS: dict[str, Callable[[], config_dict.ConfigDict]] = {
  "text": text,
  "noise": noise,
  "ink": ink,
  "compression": compression,
}


def _small(config: config_dict.ConfigDict) -> config_dict.ConfigDict:
  common.smoke(config)
  config.data.update(limit=3_000)
  config.training.update(
    epochs=100.0, max_steps=160, batch=4, segment=10, steps_per_dispatch=4,
    checkpoint_every=12, evaluations_per_epoch=2,
  )  # fmt: skip
  config.evaluation.update(train_symbols=500)
  config.baselines.update(ngram_order=3, compressors=False)
  return config


def main(arguments: Sequence[str] | None = None) -> int:
  """Runs the campaign; 0 if nothing was lost."""
  parser = argparse.ArgumentParser(
    prog="python -m experiments.faults",
    description="Kills trainings at random and compares what they end in.",
  )
  parser.add_argument("--kills", type=int, default=200)
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--workdir", type=pathlib.Path, required=True)
  parser.add_argument(
    "--trainings", nargs="+", choices=TRAININGS, default=list(TRAININGS)
  )
  given = parser.parse_args(arguments)
  campaign = Campaign(given.workdir.absolute(), random.Random(given.seed))
  while campaign.kills < given.kills:
    for name in given.trainings:
      if campaign.kills < given.kills:
        campaign.train(name, min(_MOST, given.kills - campaign.kills))
        print(campaign.table(), flush=True)
        files.write_text(campaign.folder / PAGE, campaign.table() + "\n")
  return 1 if campaign.lost else 0


class Campaign:
  """Trainings one after the other, and what was counted of all of them.

  Args:
    folder: for run folders, programs and logs; new or empty.
    generator: of the moments to kill at.

  Raises:
    UserError: the folder holds something.
  """

  def __init__(self, folder: pathlib.Path, generator: random.Random):
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
      raise errors.UserError(f"{folder} is not empty; give a new --workdir")
    folder.mkdir(parents=True, exist_ok=True)
    # Its own, so that a start takes a moment and no kill harms another's.
    jax.config.update("jax_compilation_cache_dir", str(folder / "programs"))
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    self.folder = folder
    self._generator = generator
    self._counts: dict[str, collections.Counter[str]] = {}
    self._straight: dict[str, tuple[dict[str, Any], killed_runs.Ending]] = {}
    self._begun = time.monotonic()

  @property
  def kills(self) -> int:
    """So far."""
    return sum(counts["kills"] for counts in self._counts.values())

  @property
  def lost(self) -> int:
    """What should be 0."""
    return sum(
      counts[name] for counts in self._counts.values() for name in _FAULTS
    )

  def train(self, name: str, most: int) -> None:
    """One training, killed at most so many times, and its comparison."""
    counts = self._counts.setdefault(name, collections.Counter())
    if name not in self._straight:
      self._straight[name] = self._in_peace(name)
    expected, straight = self._straight[name]
    workdir = self._fresh(name)
    counts["trainings"] += 1
    ending, struck, killed = None, False, 0
    left: set[pathlib.Path] = set()  # half done by the kills so far
    while ending is None or struck:
      # A start that goes on has less to do.
      share = 0.5 if killed else 1.0
      kill = self._moment(straight, share) if killed < most else None
      ending = self._start(name, workdir, kill)
      # Any other end by a signal is a failure of the run's own.
      struck = kill is not None and ending.code == -signal.SIGKILL
      if struck:
        killed += 1
        self._count_kill(counts, workdir, ending)
        found = set(killed_runs.leftovers(workdir))
        counts["kills within a write"] += bool(found - left)
        left = found
    counts["starts"] += killed + 1
    if ending.code:
      counts["failed starts"] += 1
      return
    ended = killed_runs.content(workdir)
    differing = {
      file
      for file in expected.keys() | ended.keys()
      if expected.get(file) != ended.get(file)
    }
    for file in sorted(differing):
      print(f"{name}: {file} differs", file=sys.stderr)
    counts["compared files"] += len(expected)
    counts["differing files"] += len(differing)

  def _in_peace(self, name: str) -> tuple[dict[str, Any], killed_runs.Ending]:
    """What the training ends in without a kill, and its second end.

    Programs are compiled then, as they are for those that are killed.
    """
    for _ in range(2):
      workdir = self._fresh(name)
      ending = self._start(name, workdir, None)
      if ending.code:
        raise SystemExit(f"{name} fails without a kill; see {self.folder}")
    return killed_runs.content(workdir), ending

  def _fresh(self, name: str) -> pathlib.Path:
    """One folder for all ends of a training: its settings name it."""
    workdir = self.folder / name
    shutil.rmtree(workdir, ignore_errors=True)
    return workdir

  def _start(
    self, name: str, workdir: pathlib.Path, kill: killed_runs.Kill | None
  ) -> killed_runs.Ending:
    config = TRAININGS[name]()
    if "input" in config:
      source = self.folder / "input.txt"
      files.write_text(source, str(__doc__))
      config.input = str(source)
      # Inside the run folder, so that it is compared like all else.
      config.output = str(workdir / "compressed.seq")
    return killed_runs.start(config, workdir, self.folder / f"{name}.log", kill)

  def _moment(
    self, straight: killed_runs.Ending, share: float
  ) -> killed_runs.Kill:
    """Within that share of what a training in peace takes."""
    if self._generator.random() < 0.5:
      return killed_runs.Kill(
        seconds=self._generator.uniform(0.05, share) * straight.seconds
      )
    changes = max(int(share * straight.changes), 1)
    return killed_runs.Kill(change=self._generator.randint(1, changes))

  def _count_kill(
    self,
    counts: collections.Counter[str],
    workdir: pathlib.Path,
    ending: killed_runs.Ending,
  ) -> None:
    counts["kills"] += 1
    counts[f"kills in {ending.activity}"] += 1
    counts["torn checkpoints"] += len(killed_runs.torn(workdir))
    saved = workdir / "checkpoints" / "latest"
    steps = [int(p.name) for p in saved.glob("*") if p.name.isdecimal()]
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      told = metrics.read(workdir / metrics.METRICS)
    reached = max((entry["step"] for entry in told), default=0)
    counts["steps done again"] += max(0, reached - max(steps, default=0))

  def table(self) -> str:
    """All counts in Markdown, a column a training."""
    names = [
      *("trainings", "starts", "kills"),
      *(f"kills in {activity}" for activity in progress.ACTIVITIES),
      *("kills within a write", "steps done again", "failed starts"),
      *("torn checkpoints", "compared files", "differing files"),
    ]
    kinds = list(self._counts)
    rows = []
    for name in names:
      each = [self._counts[kind][name] for kind in kinds]
      if any(each) or name in _FAULTS:
        rows.append([name, *map(str, each), str(sum(each))])
    seconds = time.monotonic() - self._begun
    text = results.table(["", *kinds, "all"], rows)
    return f"{text}\n\n{self.kills} kills in {seconds:,.0f} s."


if __name__ == "__main__":
  sys.exit(cli.guarded(lambda: sys.exit(main())))
