"""Speed against peers: the same work in turn, in one process.

What each contest took is kept in the run folder (`benchmark.json`) as soon as
it is known, so that a benchmark that was stopped goes on with the next one.
"""

import functools
import gc
import pathlib
import sys
from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from configs import checks
from experiments import (
  agreement,
  codec_contest,
  contest,
  contests,
  peers,
  product_contests,
  scaling,
  speed_page,
)
from seqmodels import errors
from seqmodels.io import (
  interruption,
  json_file,
  progress,
  provenance,
  report,
)

KEPT = "benchmark.json"

_PATIENCE = {"repeats": checks.whole(1), "seconds": checks.number(least=0)}

RULES = {
  **_PATIENCE,
  "warmup": checks.whole(1),
  "contests": checks.several(checks.one_of(*contests.KINDS), empty=True),
  "peers": checks.several(checks.one_of(*peers.NAMES), empty=True),
  "precisions": checks.several(checks.one_of("float32", "bfloat16")),
  "products.width": checks.whole(1),
  "storage.chunk": checks.whole(1),
  "model.symbols": checks.whole(2),
  "model.units": checks.whole(1),
  "training.clip_norm": checks.number(least=0),
  **{
    f"ink.{name}": checks.whole(1)
    for name in ("layers", "units", "components", "batch", "points")
  },
  **{
    f"words.{name}": checks.whole(1)
    for name in (
      "symbols",
      "units",
      "embedding",
      "batch",
      "segment",
      "steps_per_dispatch",
    )
  },
  "dynamic.segments": checks.several(checks.whole(1), empty=True),
  "dynamic.symbols": checks.whole(1),
  "sampling.batches": checks.several(checks.whole(1), empty=True),
  "sampling.symbols": checks.whole(1),
  "compression.bytes": checks.whole(1),
  "compression.presets": checks.several(
    checks.one_of(*codec_contest.PRESETS), empty=True
  ),
  "scaling.base": checks.Rule(
    scaling.is_point, "steps, batch, width and layers such as '50x16x512x1'"
  ),
  **{
    f"scaling.{name}": checks.several(checks.whole(1), empty=True)
    for name in ("steps", "batches", "units", "layers")
  },
  **{
    f"{kind}.{name}": rule
    for kind in ("products", "compression", "scaling")
    for name, rule in _PATIENCE.items()
  },
}


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[report.Row]:
  """Holds every contest, and writes the page and the figure.

  Args:
    config: shapes, peers and patience.
    workdir: the run folder.
    data_dir: unused: the data are random.

  Returns:
    Tokens a second of everyone, the ratios of ours to the peers, and the
    share of the machine's products that a layer reaches.

  Raises:
    UserError: bad settings.
    RunError: a peer does not compute the same.
  """
  del data_dir
  checks.validate(config, RULES)
  shared, absent = peers.setting(config)
  todo = dict(contests.every(config, shared))
  versions = provenance.facts()["versions"]
  for line in absent:
    print(f"left out: {line}", file=sys.stderr)
  with interruption.Interruption() as signals:
    kept = Kept(workdir / KEPT)

    def agree() -> dict[str, Any]:
      kinds = contests.chosen(config)
      found = [list(one) for one in agreement.check(shared, kinds)]
      return {"absent": absent, "versions": versions, "differences": found}

    agreed = kept.get("agreement", agree)
    # Of earlier releases, which kept none, the contests are others, too.
    if agreed.get("versions") != versions:
      raise errors.UserError(
        f"the benchmark in {workdir} was begun with other versions of its "
        "libraries; choose another --workdir"
      )
    if agreed["absent"] != absent:
      raise errors.UserError(
        f"the benchmark in {workdir} was begun with other peers at hand, "
        f"lacking {agreed['absent']}, now {absent}; choose another --workdir"
      )
    records: dict[str, contest.Record] = {}
    with progress.Progress(len(todo), "benchmark", unit="contest") as bar:
      for done, (key, ready) in enumerate(todo.items(), start=1):
        signals.check()
        hold = functools.partial(_held, ready, config, signals)
        records[key] = kept.get(key, hold)
        bar.update(done)
    signals.check()
  rates = product_contests.rates(records)
  speed_page.write(workdir, config, records, agreed, rates)
  return [
    row for record in records.values() for row in contest.rows(record, rates)
  ]


class Kept:
  """What was found in earlier runs of the same folder, and is added now."""

  def __init__(self, path: pathlib.Path) -> None:
    self._path = path
    self._known: dict[str, Any] = {}
    if path.is_file():
      self._known = json_file.read_sealed(path)

  def get(self, key: str, compute: Callable[[], Any]) -> Any:
    """What `compute` gives, computed once in the life of a run folder."""
    if key not in self._known:
      self._known[key] = compute()
      json_file.write_sealed(self._path, self._known)
    return self._known[key]


def _held(
  ready: Callable[[], contest.Contest],
  config: config_dict.ConfigDict,
  signals: interruption.Interruption,
) -> contest.Record:
  found = contest.hold(
    ready(),
    patience=contest.Patience(config.repeats, config.seconds),
    warmup=config.warmup,
    seed=config.seed,
    check=signals.check,
  )
  gc.collect()  # the weights of this contest, before those of the next
  return found
