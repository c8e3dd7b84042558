"""One piece of work that several libraries do, and what it took them.

What is kept of a contest is plain data (`Record`), from which rows, tables and
figures are made, so that an interrupted benchmark goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from experiments import resident_memory, timing
from seqmodels.io import report

Record = dict[str, Any]

OURS = "ours"
SPLIT = "random"  # of the data: no corpus is read
PEEPHOLES = "peepholes"
PRODUCTS = "this machine's large products"
TOKENS = "tokens/s"
BEST = "at its best"
SPEEDS = {
  TOKENS: "tokens_per_second",
  "bytes/s": "bytes_per_second",
  "FLOP/s": "operations_per_second",
}


class Setting(NamedTuple):
  """What all contests share."""

  seed: int
  precisions: Sequence[str]
  peers: Sequence[str]  # keys of `peers.NAMES` that can be measured here


class Patience(NamedTuple):
  """How long a contest goes on: see `timing.race`."""

  repeats: int
  seconds: float


class Entry(NamedTuple):
  """One contestant.

  Attributes:
    maker: `OURS`, or the peer's name.
    precision: of its products: "float32" or "bfloat16"; "" without any.
    run: does the work once and returns when it is done.
    temporary: bytes that XLA sets aside for it; None for other libraries.
    kind: what sets the work apart, such as a storage policy. A peer is
      compared with ours of the same precision and kind.
    note: its mode, where it has several.
  """

  maker: str
  precision: str
  run: Callable[[], Any]
  temporary: Callable[[], int | None] = lambda: None
  kind: str = ""
  note: str = ""

  @property
  def name(self) -> str:
    """All that tells it from the other entries."""
    parts = (self.maker, self.kind, self.note, self.precision)
    return ", ".join(part for part in parts if part)


class Contest(NamedTuple):
  """The same work, done by several.

  Attributes:
    title: what is computed, with its shape.
    work: what is done to it, such as "forward+backward" or "training".
    tokens: steps of all sequences in one run, or what `unit` counts.
    entries: the contestants.
    resident: measure how far each raises the process's memory, too.
    unit: of speeds.
    operations: additions and multiplications of the products in one run, as
      the model has them, whoever does more; 0 where they are not counted.
    patience: for this contest alone; None for that of all.
  """

  title: str
  work: str
  tokens: int
  entries: Sequence[Entry]
  resident: bool = False
  unit: str = TOKENS
  operations: int = 0
  patience: Patience | None = None


# What readies a contest, by the key under which a run folder keeps it.
Ready = tuple[str, Callable[[], Contest]]


def hold(
  contest: Contest,
  *,
  patience: Patience,
  warmup: int,
  seed: int,
  check: Callable[[], None] = lambda: None,
) -> Record:
  """Times the entries in turn, then looks at their memory.

  Args:
    contest: to hold.
    patience: of contests that have none of their own.
    warmup: untimed runs.
    seed: of the order.
    check: called between runs.
  """
  repeats, seconds = contest.patience or patience
  times = timing.race(
    {entry.name: entry.run for entry in contest.entries},
    repeats=repeats,
    seconds=seconds,
    warmup=warmup,
    seed=seed,
    check=check,
  )
  entries = []
  for entry in contest.entries:
    check()
    entries.append(
      {
        "name": entry.name,
        "maker": entry.maker,
        "precision": entry.precision,
        "kind": entry.kind,
        "note": entry.note,
        "seconds": [round(value, 7) for value in times[entry.name]],
        "temporary": entry.temporary(),
        "resident": (
          resident_memory.growth(entry.run) if contest.resident else None
        ),
      }
    )
  return {
    "title": contest.title,
    "work": contest.work,
    "tokens": contest.tokens,
    "unit": contest.unit,
    "operations": contest.operations,
    "entries": entries,
  }


def counterpart(record: Record, entry: Record) -> Record | None:
  """Ours of the precision and kind of a peer's entry, if there is one."""
  if entry["maker"] == OURS:
    return None
  for other in record["entries"]:
    if other["maker"] == OURS and all(
      other[key] == entry[key] for key in ("precision", "kind")
    ):
      return other
  return None


def ratios(record: Record) -> Iterator[tuple[Record, Record, timing.Spread]]:
  """Ours, the peer, and how many times faster ours is, for every pair.

  Where precisions were raced, a last pair for each peer is the fastest of ours
  against its fastest, whatever the precision and mode of either.
  """
  for entry in record["entries"]:
    ours = counterpart(record, entry)
    if ours is not None:
      yield ours, entry, timing.ratio(entry["seconds"], ours["seconds"])
  if len({entry["precision"] for entry in record["entries"]}) < 2:
    return
  raced: dict[tuple[str, str], list[Record]] = {}
  for entry in record["entries"]:
    raced.setdefault((entry["maker"], entry["kind"]), []).append(entry)
  fastest = {
    key: min(entries, key=lambda entry: timing.spread(entry["seconds"]).middle)
    for key, entries in raced.items()
  }
  for (maker, kind), entry in fastest.items():
    ours = fastest.get((OURS, kind))
    if maker != OURS and ours is not None:
      best = {**entry, "name": "", "note": BEST, "precision": "any precision"}
      yield ours, best, timing.ratio(entry["seconds"], ours["seconds"])


def share(
  record: Record, entry: Record, rates: Mapping[str, float]
) -> float | None:
  """The part of the machine's rate of products that an entry reaches.

  Args:
    record: of a contest.
    entry: one of its.
    rates: operations a second by precision, as they were measured.

  Returns:
    None where operations are not counted or the rate was not measured.
  """
  rate = rates.get(entry["precision"])
  if not record["operations"] or rate is None:
    return None
  return record["operations"] / timing.spread(entry["seconds"]).middle / rate


def rows(record: Record, rates: Mapping[str, float]) -> list[report.Row]:
  """Tokens a second of every entry, the ratios to the peers, the shares.

  Args:
    record: of a contest.
    rates: see `share`.
  """
  heading = f"{record['title']}, {record['work']}"

  def row(name: str, metric: str, value: float, entry: Record) -> report.Row:
    return report.row(
      f"{heading}: {name}",
      split=SPLIT,
      evaluation=record["work"],
      metric=metric,
      value=value,
      count=record["tokens"] * len(entry["seconds"]),
      seconds=sum(entry["seconds"]),
    )

  found = []
  for entry in record["entries"]:
    speed = record["tokens"] / timing.spread(entry["seconds"]).middle
    metric = SPEEDS[record["unit"]]
    found.append(row(entry["name"], metric, speed, entry))
  for ours, peer, faster in ratios(record):
    name = f"{ours['name']} over {peer_name(peer)}"
    found.append(row(name, "speed_ratio", faster.middle, ours))
  for entry in record["entries"]:
    reached = share(record, entry, rates)
    if reached is not None:
      name = f"{entry['name']} of {PRODUCTS}"
      found.append(row(name, "share_of_products", reached, entry))
  return found


def peer_name(entry: Record) -> str:
  """A peer with its mode.

  >>> peer_name({"maker": "torch.nn.LSTM", "note": "autocast"})
  'torch.nn.LSTM (autocast)'
  """
  return entry["maker"] + (f" ({entry['note']})" if entry["note"] else "")
