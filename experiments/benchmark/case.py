"""A benchmark case: the same work, done by several libraries and timed.

The measurements of a case are plain data (`Record`), from which rows, tables
and figures are made, so that an interrupted benchmark resumes with the next
case. The second half holds the work as every library gets it: LSTM layers with
the same weights and inputs, and text to sample.
"""

import contextlib
import ctypes
import functools
import gc
import pathlib
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.cells import lstm, ops
from seqmodels.io import results

Record = dict[str, Any]

OURS = "ours"
# Peers: the name of each in the settings, and in rows and tables.
PEERS = {
  "flax": "flax.linen.RNN(OptimizedLSTMCell)",
  "nnx": "flax.nnx.RNN(OptimizedLSTMCell)",
  "scan": "plain lax.scan",
  "torch": "torch.nn.LSTM",
  "cudnn": "jax.experimental.rnn (cuDNN)",
}

SPLIT = "random"  # of the data: no corpus is read
PEEPHOLES = "peepholes"
PRODUCTS = "this machine's large products"
BEST = "at its best"
BACKWARD = "forward+backward"
TOKENS = "tokens/s"
SPEEDS = {
  TOKENS: "tokens_per_second",
  "bytes/s": "bytes_per_second",
  "FLOP/s": "operations_per_second",
}


class Spread(NamedTuple):
  """A median with its quartiles."""

  low: float
  middle: float
  high: float


class Settings(NamedTuple):
  """Settings that all cases share."""

  seed: int
  precisions: Sequence[str]
  peers: Sequence[str]  # keys of `PEERS` that can be measured here


class Rounds(NamedTuple):
  """The duration of a measurement: see `race`."""

  repeats: int
  seconds: float


class Entry(NamedTuple):
  """One library at the work of a case.

  `kind` is what sets the work apart, such as a storage policy: a peer is
  compared with ours of the same precision and kind.
  """

  library: str  # `OURS`, or the peer's name
  precision: str  # of its products: "float32", "bfloat16"; "" without any
  run: Callable[[], Any]  # does the work once, returns when it is done
  temporary: Callable[[], int | None] = lambda: None  # bytes XLA sets aside
  kind: str = ""
  note: str = ""  # its mode, if it has several
  # Arrays that must be those of ours; None: the result of `run`.
  answer: Callable[[], Any] | None = None

  @property
  def name(self) -> str:
    """Everything that distinguishes it from the other entries."""
    parts = (self.library, self.kind, self.note, self.precision)
    return ", ".join(part for part in parts if part)


class Case(NamedTuple):
  """The same work, done by several libraries.

  `operations` are the additions and multiplications of the products in one run,
  as the model defines them, whatever is computed again; 0 where not counted.
  """

  title: str  # what is computed, with its shape
  label: str  # the same in a few words, for a figure of cases of like work
  work: str  # such as "forward+backward" or "training"
  tokens: int  # steps of all sequences in one run, or what `unit` counts
  entries: Sequence[Entry]
  resident: bool = False  # measure the growth of the process's memory as well
  unit: str = TOKENS  # of speeds
  operations: int = 0
  rounds: Rounds | None = None  # for this case alone, if it has its own


# A case to be built when its turn comes, with its key in the run folder.
Planned = tuple[str, Callable[[], Case]]


def measure(
  case: Case,
  *,
  rounds: Rounds,
  warmup: int,
  seed: int,
  check: Callable[[], None] = lambda: None,
) -> Record:
  """Times the entries in turn, then measures their memory; see `race`.

  `rounds` are those of cases that have none of their own.
  """
  repeats, seconds = case.rounds or rounds
  times = race(
    {entry.name: entry.run for entry in case.entries},
    repeats=repeats,
    seconds=seconds,
    warmup=warmup,
    seed=seed,
    check=check,
  )
  record = case._asdict() | {"entries": []}
  del record["rounds"], record["resident"]
  for entry in case.entries:
    check()
    grown = resident_growth(entry.run) if case.resident else None
    record["entries"].append(
      {
        "name": entry.name,
        "library": entry.library,
        "precision": entry.precision,
        "kind": entry.kind,
        "note": entry.note,
        "seconds": [round(value, 7) for value in times[entry.name]],
        "temporary": entry.temporary(),
        "resident": grown,
      }
    )
  return record


# Time and memory, measured fairly: in turn, over many rounds.

_STATUS = pathlib.Path("/proc/self/status")
_RESET = pathlib.Path("/proc/self/clear_refs")


def race(
  runs: Mapping[str, Callable[[], Any]],
  *,
  repeats: int,
  seconds: float,
  warmup: int,
  seed: int,
  pause: float = 0.01,
  check: Callable[[], None] = lambda: None,
) -> dict[str, list[float]]:
  """Times all functions once a round, so that drift hits all alike.

  Each round takes them in a new random order: none always follows the one that
  leaves the caches cold or the processor hot. A run's result is freed after its
  clock has stopped.

  Args:
    runs: by name; each does its work once and returns when it is done.
    repeats: the least number of rounds.
    seconds: rounds continue for this long, beyond the least number.
    warmup: untimed runs of each, first; they compile.
    seed: of the order.
    pause: seconds before each run, in which threads that the previous run left
      spinning go to sleep.
    check: called between runs; may raise to stop.

  Returns:
    Seconds by name, one a round.
  """
  for run in runs.values():
    for _ in range(warmup):
      check()
      run()
  order, shuffle = list(runs), random.Random(seed).shuffle
  times: dict[str, list[float]] = {name: [] for name in runs}
  collecting = gc.isenabled()
  gc.collect()
  gc.disable()
  try:
    begin, rounds = time.perf_counter(), 0
    while rounds < repeats or time.perf_counter() - begin < seconds:
      shuffle(order)
      for name in order:
        check()
        time.sleep(pause)
        start = time.perf_counter()
        result = runs[name]()
        times[name].append(time.perf_counter() - start)
        del result
      rounds += 1
  finally:
    if collecting:
      gc.enable()
  return times


def spread(values: Sequence[float]) -> Spread:
  """Median and quartiles.

  >>> spread([4.0, 1.0, 2.0, 3.0, 5.0])
  Spread(low=2.0, middle=3.0, high=4.0)
  """
  return Spread(*np.percentile(values, (25, 50, 75)).tolist())


def ratio(peer: Sequence[float], ours: Sequence[float]) -> Spread:
  """The ratio of their time to ours, round by round: above 1 ours is faster.

  >>> ratio([2.0, 4.0, 9.0], [1.0, 2.0, 3.0]).middle
  2.0
  """
  return spread(np.divide(peer, ours).tolist())


def resident_growth(run: Callable[[], Any]) -> int | None:
  """Bytes by which the resident size peaks above its start while `run` runs.

  Linux only: the kernel keeps the highest resident size and can restart it. It
  counts all libraries alike, whatever allocator they have. The results of `run`
  are counted, for they are alive at the end. Memory that the process freed but
  did not return to the kernel may be reused unseen, so the heap is trimmed
  first; figures are good to some megabytes.

  Returns:
    Bytes, or None if the kernel does not say.
  """
  gc.collect()
  with contextlib.suppress(OSError, AttributeError):
    ctypes.CDLL(None).malloc_trim(0)
  try:
    _RESET.write_text("5")  # resets VmHWM, the peak
    before = _kilobytes("VmRSS")
  except (OSError, KeyError):
    return None
  result = run()
  peak = _kilobytes("VmHWM")
  del result
  return max(0, peak - before) * 1024


def _kilobytes(name: str) -> int:
  for line in _STATUS.read_text(encoding="utf-8").splitlines():
    key, _, value = line.partition(":")
    if key == name:
      return int(value.split()[0])
  raise KeyError(name)


# Ratios and rows of a record.


def took(entry: Record) -> Spread:
  """The spread of an entry's seconds over the rounds."""
  return spread(entry["seconds"])


def speedup(ours: Record, peer: Record) -> Spread:
  """The ratio of a peer's time to ours, round by round."""
  return ratio(peer["seconds"], ours["seconds"])


def fastest(entries: Sequence[Record]) -> Record | None:
  """The entry with the least median time; None of none."""
  return min(entries, key=lambda entry: took(entry).middle, default=None)


def ratios(record: Record) -> Iterator[tuple[Record, Record, Spread]]:
  """Every pair of ours and a peer, with how many times faster ours is.

  If several precisions were timed, a last pair for each peer is the fastest of
  ours against its fastest, whatever the precision and mode of either.
  """
  entries = record["entries"]
  groups: dict[tuple[str, str], list[Record]] = {}
  for entry in entries:
    groups.setdefault((entry["library"], entry["kind"]), []).append(entry)
  peers = [entry for entry in entries if entry["library"] != OURS]
  for peer in peers:
    for ours in groups.get((OURS, peer["kind"]), ()):
      if ours["precision"] == peer["precision"]:
        yield ours, peer, speedup(ours, peer)
        break
  if len({entry["precision"] for entry in entries}) < 2:
    return
  for (library, kind), members in groups.items():
    best_of_ours, best = fastest(groups.get((OURS, kind), [])), fastest(members)
    if library != OURS and best_of_ours is not None and best is not None:
      peer = {**best, "name": "", "note": BEST, "precision": "any precision"}
      yield best_of_ours, peer, speedup(best_of_ours, best)


def share(
  record: Record, entry: Record, rates: Mapping[str, float]
) -> float | None:
  """The fraction of the machine's rate of products that an entry reaches.

  Args:
    record: of a case.
    entry: one of its entries.
    rates: operations a second by precision, as they were measured.

  Returns:
    None if operations are not counted or the rate was not measured.
  """
  rate = rates.get(entry["precision"])
  if not record["operations"] or rate is None:
    return None
  return record["operations"] / took(entry).middle / rate


def rows(record: Record, rates: Mapping[str, float]) -> list[results.Row]:
  """Result rows: speeds of the entries, ratios to the peers, see `share`."""

  def row(name: str, metric: str, value: float, entry: Record) -> results.Row:
    return results.row(
      f"{record['title']}, {record['work']}: {name}",
      split=SPLIT,
      evaluation=record["work"],
      metric=metric,
      value=value,
      count=record["tokens"] * len(entry["seconds"]),
      seconds=sum(entry["seconds"]),
    )

  metric = SPEEDS[record["unit"]]
  speeds, shares = [], []
  for entry in record["entries"]:
    speed = record["tokens"] / took(entry).middle
    speeds.append(row(entry["name"], metric, speed, entry))
    reached = share(record, entry, rates)
    if reached is not None:
      name = f"{entry['name']} of {PRODUCTS}"
      shares.append(row(name, "share_of_products", reached, entry))
  compared = [
    row(
      f"{ours['name']} over {peer_name(peer)}",
      "speed_ratio",
      faster.middle,
      ours,
    )
    for ours, peer, faster in ratios(record)
  ]
  return speeds + compared + shares


def peer_name(entry: Record) -> str:
  """A peer with its mode.

  >>> peer_name({"library": "torch.nn.LSTM", "note": "autocast"})
  'torch.nn.LSTM (autocast)'
  """
  return entry["library"] + (f" ({entry['note']})" if entry["note"] else "")


# The comparison before anything is timed.


class Difference(NamedTuple):
  """The distance of an entry from ours in float32."""

  name: str
  precision: str
  largest: float


def differences(work: str, entries: Sequence[Entry]) -> Iterator[Difference]:
  """Compares the answers of the entries of no kind with ours in float32."""
  plain = [entry for entry in entries if not entry.kind]
  answers = [(entry.answer or entry.run)() for entry in plain]
  names = [entry.name for entry in plain]
  expected = answers[names.index(f"{OURS}, float32")]
  for entry, answer in zip(plain, answers, strict=True):
    largest = distance(answer, expected)
    yield Difference(f"{work}, {entry.name}", entry.precision, largest)


def distance(actual: Any, expected: Any) -> float:
  """The largest difference over the largest value, over all arrays of a tree.

  >>> distance(np.array([1.0, 4.0]), np.array([1.5, 5.0]))
  0.2
  """

  def of_arrays(actual: np.ndarray, expected: np.ndarray) -> float:
    largest = np.max(np.abs(np.subtract(actual, expected)))
    return float(largest / np.max(np.abs(expected)))

  leaves = zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True)
  return max(of_arrays(*pair) for pair in leaves)


# The work: programs in JAX, LSTM layers, text to sample.


class Program:
  """A jitted function, lowered and compiled when it is first called."""

  def __init__(self, lower: Callable[[], Any]) -> None:
    self._lower = lower  # such as `lambda: jax.jit(f).lower(x)`

  @functools.cached_property
  def _compiled(self) -> Any:
    return self._lower().compile()

  def __call__(self, *arguments: Any) -> Any:
    """The function's results, when all of them are computed."""
    return jax.block_until_ready(self._compiled(*arguments))

  def temporary(self) -> int | None:
    """Bytes that XLA sets aside beside arguments and results."""
    analysis = self._compiled.memory_analysis()
    return None if analysis is None else int(analysis.temp_size_in_bytes)


def operands(precision: str) -> ops.Dtype:
  """The dtype that our functions take for "float32" or "bfloat16"."""
  return None if precision == "float32" else jnp.dtype(precision)


class LayerTask(NamedTuple):
  """LSTM layers, each reading the one below alone, and their input; D = H."""

  params: tuple[lstm.LSTMParams, ...]  # one a layer, the lowest first
  xs: jax.Array  # [T, B, H]
  cotangent: jax.Array  # [T, B, H], the derivative that reaches the outputs


def layer_task(
  steps: int,
  batch: int,
  features: int,
  layers: int = 1,
  *,
  seed: int,
  peepholes: bool = False,
) -> LayerTask:
  """Random weights, inputs and cotangent; equal seeds give equal ones."""
  *keys, xs_key, cotangent_key = jax.random.split(
    jax.random.key(seed), 2 + layers
  )
  params = tuple(
    lstm.init_params(key, features, features, peepholes=peepholes)
    for key in keys
  )
  shape = (steps, batch, features)
  xs = jax.random.normal(xs_key, shape)
  return LayerTask(params, xs, jax.random.normal(cotangent_key, shape))


class Answer(NamedTuple):
  """The results of layers over a task, in our layout and float32."""

  outputs: np.ndarray  # [T, B, H]
  d_params: Any  # like the weights of the task
  d_xs: np.ndarray  # [T, B, H]


class Layers(NamedTuple):
  """A library's layers over a task. Its functions return when all is done."""

  forward: Callable[[], Any]
  backward: Callable[[], Any]  # the forward pass included
  answer: Callable[[], Answer]
  temporary: Callable[[], int | None]  # bytes XLA sets aside in `backward`

  def entry(
    self, work: str, library: str, precision: str, **labels: str
  ) -> Entry:
    """The layers at "forward" or `BACKWARD`."""
    run, temporary = self.backward, self.temporary
    if work != BACKWARD:
      run, temporary = self.forward, lambda: None
    return Entry(
      library, precision, run, temporary, answer=self.answer, **labels
    )


def compiled(
  function: Callable[[Any, jax.Array], jax.Array],
  params: Any,
  task: LayerTask,
  to_ours: Callable[[Any], Any] = lambda params: params,
  *,
  batch_first: bool = False,
) -> Layers:
  """Layers in JAX, compiled when they are first run.

  Args:
    function: (params, xs) -> outputs.
    params: in the function's own layout.
    task: its inputs and cotangent.
    to_ours: converts its weights, or their gradients, to our layout.
    batch_first: inputs and outputs are [B, T, ...].
  """

  def transposed(array: Any) -> Any:
    return array.swapaxes(0, 1) if batch_first else array

  xs, cotangent = transposed(task.xs), transposed(task.cotangent)

  def with_gradients(
    params: Any, xs: jax.Array, cotangent: jax.Array
  ) -> tuple[jax.Array, tuple[Any, jax.Array]]:
    outputs, pull = jax.vjp(function, params, xs)
    return outputs, pull(cotangent.astype(outputs.dtype))

  forward = Program(lambda: jax.jit(function).lower(params, xs))
  backward = Program(
    lambda: jax.jit(with_gradients).lower(params, xs, cotangent)
  )

  def answer() -> Answer:
    outputs, (d_params, d_xs) = backward(params, xs, cotangent)
    arrays = Answer(transposed(outputs), to_ours(d_params), transposed(d_xs))
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float32), arrays)

  return Layers(
    forward=lambda: forward(params, xs),
    backward=lambda: backward(params, xs, cotangent),
    answer=answer,
    temporary=backward.temporary,
  )


def operations_of(rows: int, inner: int, columns: int) -> int:
  """Additions and multiplications of one matrix product."""
  return 2 * rows * inner * columns


def operations(
  steps: int, batch: int, features: int, layers: int = 1, *, backward: bool
) -> int:
  """Additions and multiplications of all products of LSTM layers with D = H.

  A gradient takes two more products of the same size for each of the forward
  pass: one for the weights, one for the inputs.

  >>> operations(1, 1, 1, backward=False), operations(1, 1, 1, backward=True)
  (16, 48)
  """
  forward = operations_of(steps * batch, 2 * features, 4 * features)
  return layers * forward * (3 if backward else 1)


NULL = -1  # the id of the null vector, which a sampler reads first


class SamplingTask(NamedTuple):
  """The texts that are drawn."""

  length: int
  batch: int
  seed: int


class Sampler(NamedTuple):
  """A library's way to draw ids [length, batch]; the first call compiles.

  `logits` are those after given ids [T, batch], read from an empty carry by the
  step that `run` takes: [T, batch, V].
  """

  run: Callable[[], np.ndarray]
  logits: Callable[[np.ndarray], np.ndarray]
