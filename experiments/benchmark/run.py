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
  """A kind of cases; their settings have its name."""

  cases: Callable[  # plans them
    [config_dict.ConfigDict, case.Settings], Iterator[case.Planned]
  ]
  # The work to compare: its name, and the libraries at it on tiny shapes.
  work: str = ""
  tiny: Callable[[case.Settings], Sequence[case.Entry]] | None = None


KINDS = {
  "products": Kind(layer_cases.matrix_products),
  "layer": Kind(layer_cases.layers, "layer", layer_cases.tiny_layers),
  "storage": Kind(layer_cases.storage, "layer", layer_cases.tiny_layers),
  "training": Kind(
    model_cases.character_training, "training", model_cases.tiny_training
  ),
  "words": Kind(
    model_cases.word_training, "training", model_cases.tiny_training
  ),
  "ink": Kind(model_cases.handwriting_training),
  "dynamic": Kind(model_cases.dynamic, "dynamic", model_cases.tiny_dynamic),
  "sampling": Kind(
    model_cases.sampling,
    "sampling",
    lambda shared: model_cases.samplers(shared, model_cases.TINY),
  ),
  "compression": Kind(model_cases.compression),
  "scaling": Kind(layer_cases.scaling, "stack", layer_cases.tiny_stacks),
}

# The reason why a peer cannot be measured here, if there is one.
MISSING = {"torch": peers_torch.missing, "cudnn": peers_jax.cudnn_missing}
# Versions of the peers that are no part of what `provenance` names.
VERSIONS = {"torch": lambda: str(peers_torch.module().__version__)}

# Largest difference, relative to the largest value of an array. On a GPU
# float32 products may run in TF32.
TOLERANCES = {"float32": 1e-4, "bfloat16": 5e-2}
TF32_TOLERANCE = 1e-2

_POSITIVE = checks.whole(1)
_SIZES = checks.several(_POSITIVE, empty=True)
_SHAPES = checks.several(
  checks.Rule(
    lambda text: layer_cases.sizes(text, 3) is not None,
    "steps, batch and width such as '100x8x700'",
  ),
  empty=True,
)
_ROUNDS = {"repeats": _POSITIVE, "seconds": checks.number(least=0)}
_GROUPS = {
  "ink": ("layers", "units", "components", "batch", "points"),
  "words": (
    *("symbols", "units", "embedding", "batch", "segment"),
    "steps_per_dispatch",
  ),
}

RULES = {
  **_ROUNDS,
  "warmup": _POSITIVE,
  "contests": checks.several(checks.one_of(*KINDS), empty=True),
  "peers": checks.several(checks.one_of(*case.PEERS), empty=True),
  "precisions": checks.several(checks.one_of("float32", "bfloat16")),
  "products.width": _POSITIVE,
  "layer.shapes": _SHAPES,
  "storage.shapes": _SHAPES,
  "storage.chunk": _POSITIVE,
  "model.symbols": checks.whole(2),
  "model.units": _POSITIVE,
  "training.clip_norm": checks.number(least=0),
  **{f"{kind}.{name}": _POSITIVE for kind in _GROUPS for name in _GROUPS[kind]},
  "dynamic.segments": _SIZES,
  "dynamic.symbols": _POSITIVE,
  "sampling.batches": _SIZES,
  "sampling.symbols": _POSITIVE,
  "compression.bytes": _POSITIVE,
  "compression.presets": checks.several(
    checks.one_of(*model_cases.PRESETS), empty=True
  ),
  "scaling.base": checks.Rule(
    lambda text: layer_cases.sizes(text, 4) is not None,
    "steps, batch, width and layers such as '50x16x512x1'",
  ),
  **{
    f"scaling.{name}": _SIZES
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

  `data_dir` is not used: the data are random.

  Returns:
    Tokens a second of every library, the ratios of ours to the peers, and the
    fraction of the machine's rate of products that a layer reaches.

  Raises:
    UserError: bad settings, or a folder that was begun with other libraries.
    RunError: a peer does not compute the same.
  """
  del data_dir
  reasons = {
    peer: MISSING[peer]() if peer in MISSING else "" for peer in config.peers
  }
  absent = [
    f"{case.PEERS[peer]}: {why}" for peer, why in reasons.items() if why
  ]
  for precision in config.precisions if not reasons.get("torch", "no") else ():
    ways = set(peers_torch.MODES[precision]) - set(peers_torch.modes(precision))
    absent += [
      f"PyTorch, {way} to {precision}: its LSTM has none on this processor"
      for way in sorted(ways)
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
    equivalence = measurements.get(
      "equivalence",
      lambda: {
        "absent": absent,
        "versions": versions,
        "differences": [
          list(row) for row in check_equivalence(shared, chosen(config))
        ],
      },
    )
    if equivalence["absent"] != absent:
      raise errors.UserError(
        f"the benchmark in {workdir} was begun with other peers available, "
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

  Raises:
    RunError: some library computes something else.
  """
  # Ours in float32 is what all are compared with, whatever is timed.
  precisions = tuple(dict.fromkeys(("float32", *shared.precisions)))
  shared = shared._replace(precisions=precisions)
  works = {KINDS[kind].work: KINDS[kind].tiny for kind in kinds}
  differences = [
    difference
    for work, tiny in works.items()
    if tiny is not None
    for difference in case.differences(work, tiny(shared))
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
    value = self._known.get(key)
    complete = isinstance(value, dict) and set(members) <= value.keys()
    if self._known and not complete:
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
