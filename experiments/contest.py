"""One piece of work that several libraries do, and what it took them.

What is kept of a contest is plain data (`Record`), from which rows, tables and
figures are made, so that an interrupted benchmark goes on where it stopped.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from experiments import resident_memory, timing
from seqmodels.io import report

Record = dict[str, Any]

OURS = "ours"
SPLIT = "random"  # of the data: no corpus is read
PEEPHOLES = "peepholes"


class Setting(NamedTuple):
  """What all contests share."""

  seed: int
  precisions: Sequence[str]
  peers: Sequence[str]  # keys of `contests.PEERS` that can be measured here


class Entry(NamedTuple):
  """One contestant.

  Attributes:
    maker: `OURS`, or the peer's name.
    precision: of its products: "float32" or "bfloat16".
    run: does the work once and returns when it is done.
    temporary: bytes that XLA sets aside for it; None for other libraries.
    kind: what sets the work apart, such as a storage policy. A peer is
      compared with ours of the same precision and kind.
    note: a peer's mode, where it has several.
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
    work: "forward", "forward+backward", "training" or "dynamic".
    tokens: steps of all sequences in one run.
    entries: the contestants.
    resident: measure how far each raises the process's memory, too.
  """

  title: str
  work: str
  tokens: int
  entries: Sequence[Entry]
  resident: bool = False


def hold(
  contest: Contest,
  *,
  repeats: int,
  seconds: float,
  warmup: int,
  seed: int,
  check: Callable[[], None] = lambda: None,
) -> Record:
  """Times the entries in turn, then looks at their memory.

  Args:
    contest: to hold.
    repeats: see `timing.race`, as for the next four.
    seconds: how long to go on.
    warmup: untimed runs.
    seed: of the order.
    check: called between runs.
  """
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
  """Ours, the peer, and how many times faster ours is, for every pair."""
  for entry in record["entries"]:
    ours = counterpart(record, entry)
    if ours is not None:
      yield ours, entry, timing.ratio(entry["seconds"], ours["seconds"])


def rows(record: Record) -> list[report.Row]:
  """Tokens a second of every entry, then the ratios to the peers."""
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
    found.append(row(entry["name"], "tokens_per_second", speed, entry))
  for ours, peer, faster in ratios(record):
    name = f"{ours['name']} over {peer_name(peer)}"
    found.append(row(name, "speed_ratio", faster.middle, ours))
  return found


def peer_name(entry: Record) -> str:
  """A peer with its mode.

  >>> peer_name({"maker": "torch.nn.LSTM", "note": "autocast"})
  'torch.nn.LSTM (autocast)'
  """
  return entry["maker"] + (f" ({entry['note']})" if entry["note"] else "")
