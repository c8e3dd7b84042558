"""The benchmark: the same work for every library in turn, in one process.

The measurements of each case are written to the run folder (`benchmark.json`)
when the case is done, so that a stopped benchmark resumes with the next one.
"""

import functools
import gc
import pathlib
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
from ml_collections import config_dict

from configs import checks
from experiments.benchmark import (
  case,
  layer_cases,
  model_cases,
  peers_jax,
  peers_torch,
  report,
)
from seqmodels import errors
from seqmodels.io import distributed, files, progress, run_folder
from seqmodels.io import results as reports

MEASUREMENTS = "benchmark.json"


class Kind(NamedTuple):
  """A kind of cases.

  Attributes:
    cases: plans them; their settings have the kind's name.
    differences: compares the libraries at its work on tiny shapes; None if
      there is nothing to compare.
  """

  cases: Callable[
    [config_dict.ConfigDict, case.Settings], Iterator[case.Planned]
  ]
  differences: Callable[[case.Settings], Iterator[case.Difference]] | None


KINDS = {
  "products": Kind(layer_cases.matrix_products, None),
  "layer": Kind(layer_cases.layers, layer_cases.layer_differences),
  "storage": Kind(layer_cases.storage, layer_cases.layer_differences),
  "training": Kind(
    model_cases.character_training, model_cases.training_differences
  ),
  "words": Kind(model_cases.word_training, model_cases.training_differences),
  "ink": Kind(model_cases.handwriting_training, None),
  "dynamic": Kind(model_cases.dynamic, model_cases.dynamic_differences),
  "sampling": Kind(model_cases.sampling, model_cases.sampling_differences),
  "compression": Kind(model_cases.compression, None),
  "scaling": Kind(layer_cases.scaling, layer_cases.stack_differences),
}

# The reason why a peer cannot be measured here, if there is one.
MISSING = {"torch": peers_torch.missing, "cudnn": peers_jax.cudnn_missing}
# Versions of the peers that are no part of what `provenance` names.
VERSIONS = {"torch": lambda: str(peers_torch.module().__version__)}

# Largest difference, relative to the largest value of an array. On a GPU
# float32 products may run in TF32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
TF32_TOLERANCE = 1e-2

_ROUNDS = {"repeats": checks.whole(1), "seconds": checks.number(least=0)}

RULES = {
  **_ROUNDS,
  "warmup": checks.whole(1),
  "contests": checks.several(checks.one_of(*KINDS), empty=True),
  "peers": checks.several(checks.one_of(*case.PEERS), empty=True),
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
    checks.one_of(*model_cases.PRESETS), empty=True
  ),
  "scaling.base": checks.Rule(
    lambda text: layer_cases.sizes(text, 4) is not None,
    "steps, batch, width and layers such as '50x16x512x1'",
  ),
  **{
    f"scaling.{name}": checks.several(checks.whole(1), empty=True)
    for name in ("steps", "batches", "units", "layers")
  },
  **{
    f"{kind}.{name}": rule
    for kind in ("products", "compression", "scaling")
    for name, rule in _ROUNDS.items()
  },
}


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[reports.Row]:
  """Measures every case, then writes the report and the figures.

  Args:
    config: shapes, peers and rounds.
    workdir: the run folder.
    data_dir: unused: the data are random.

  Returns:
    Tokens a second of every library, the ratios of ours to the peers, and the
    fraction of the machine's rate of products that a layer reaches.

  Raises:
    UserError: bad settings, or a folder that was begun with other libraries.
    RunError: a peer does not compute the same.
  """
  del data_dir
  checks.validate(config, RULES)
  reasons = {
    peer: MISSING[peer]() if peer in MISSING else "" for peer in config.peers
  }
  absent = [
    f"{case.PEERS[peer]}: {why}" for peer, why in reasons.items() if why
  ]
  shared = case.Settings(
    config.seed,
    tuple(config.precisions),
    tuple(peer for peer, why in reasons.items() if not why),
  )
  planned = dict(plan(config, shared))
  versions = run_folder.facts()["versions"] | {
    peer: version()
    for peer, version in VERSIONS.items()
    if peer in shared.peers
  }
  for line in absent:
    print(f"left out: {line}", file=sys.stderr)
  with distributed.Interruption() as signals:
    measurements = Measurements(workdir / MEASUREMENTS)
    measurements.require("equivalence", ("absent", "versions", "differences"))

    def compare() -> dict[str, Any]:
      differences = map(list, check_equivalence(shared, chosen(config)))
      return {
        "absent": absent,
        "versions": versions,
        "differences": list(differences),
      }

    equivalence = measurements.get("equivalence", compare)
    if equivalence["absent"] != absent:
      raise errors.UserError(
        f"the benchmark in {workdir} was begun with other peers at hand, "
        f"lacking {equivalence['absent']}, now {absent}; choose another "
        "--workdir"
      )
    if equivalence["versions"] != versions:
      raise errors.UserError(
        f"the benchmark in {workdir} was begun with other versions of its "
        "libraries; choose another --workdir"
      )
    records: dict[str, case.Record] = {}
    with progress.Progress(len(planned), "benchmark", unit="case") as bar:
      for done, (key, build) in enumerate(planned.items(), start=1):
        signals.check()
        measure = functools.partial(_measure, build, config, signals)
        records[key] = measurements.get(key, measure)
        bar.update(done)
    signals.check()
  rates = layer_cases.product_rates(records)
  report.write(workdir, config, records, equivalence, rates)
  return [
    row for record in records.values() for row in case.rows(record, rates)
  ]


def chosen(config: config_dict.ConfigDict) -> list[str]:
  """The kinds to measure, in the table's order; all if none is named.

  >>> chosen(config_dict.ConfigDict({"contests": ("words", "layer")}))
  ['layer', 'words']
  """
  wanted = config.contests or KINDS
  return [kind for kind in KINDS if kind in wanted]


def plan(
  config: config_dict.ConfigDict, shared: case.Settings
) -> Iterator[case.Planned]:
  """The chosen cases in their order: a key, and a function that builds it.

  Raises:
    UserError: a shape is malformed.
  """
  for kind in chosen(config):
    yield from KINDS[kind].cases(config, shared)


def check_equivalence(
  shared: case.Settings, kinds: Sequence[str] = tuple(KINDS)
) -> list[case.Difference]:
  """Compares outputs, gradients, losses and logits on tiny shapes.

  A layer's outputs, the gradients of its weights and of its inputs, and those
  of a stack; the losses of several segments of training and of dynamic
  evaluation, each but the first after an update; the logits that follow given
  symbols in sampling.

  Args:
    shared: names the libraries and precisions to compare.
    kinds: of cases, whose work is compared.

  Raises:
    RunError: some library computes something else.
  """
  comparisons = dict.fromkeys(KINDS[kind].differences for kind in kinds)
  differences = [
    difference
    for compare in comparisons
    if compare is not None
    for difference in compare(shared)
  ]
  for name, precision, largest in differences:
    allowed = TOLERANCES[precision]
    if precision == "float32" and jax.default_backend() != "cpu":
      allowed = TF32_TOLERANCE
    if not largest <= allowed:
      raise errors.RunError(
        f"{name} lies {largest:.2g} from ours, {allowed:g} is allowed: it does "
        "not compute the same, so its speed means nothing; leave it out with "
        "--config.peers"
      )
  return differences


class Measurements:
  """Measurements of a run folder: those of earlier starts, and new ones."""

  def __init__(self, path: pathlib.Path) -> None:
    self._path = path
    self._known: dict[str, Any] = {}
    if path.is_file():
      self._known = files.read_sealed(path)

  def require(self, key: str, members: Sequence[str]) -> None:
    """Refuses earlier measurements without such an object under `key`.

    Raises:
      UserError: there are some, of an earlier release.
    """
    found = self._known.get(key)
    if self._known and not (
      isinstance(found, dict) and set(members) <= found.keys()
    ):
      raise errors.UserError(
        f"{self._path} is of an earlier release; choose another --workdir"
      )

  def get(self, key: str, measure: Callable[[], Any]) -> Any:
    """The value of `measure`, called once in the life of a run folder."""
    if key not in self._known:
      self._known[key] = measure()
      files.write_sealed(self._path, self._known)
    return self._known[key]


def _measure(
  build: Callable[[], case.Case],
  config: config_dict.ConfigDict,
  signals: distributed.Interruption,
) -> case.Record:
  record = case.measure(
    build(),
    rounds=case.Rounds(config.repeats, config.seconds),
    warmup=config.warmup,
    seed=config.seed,
    check=signals.check,
  )
  gc.collect()  # frees the weights of this case before the next one's
  return record
