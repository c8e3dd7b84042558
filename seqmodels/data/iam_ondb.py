"""The IAM On-Line Handwriting Database: ink, transcripts and official splits.

It is licensed for non-commercial research to those who register with its
owners, so nothing is downloaded here. Its XML takes half a minute to parse; the
lines are kept in a cache from then on (`pen_cache.folders` says where).
"""

import hashlib
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from seqmodels import errors
from seqmodels.data import (
  files,
  form_lines,
  ink,
  pen_archive,
  pen_cache,
  split_lists,
  transcripts,
)
from seqmodels.data.pen_lines import PenLines

FOLDER = "iamondb"
URL = "https://fki.tic.heia-fr.ch/databases/iam-on-line-handwriting-database"

# Each is there packed or unpacked.
STROKES = ("lineStrokes-all.tar.gz", "lineStrokes")
TEXTS = ("ascii-all.tar.gz", "ascii")

CACHE = "iamondb-lines.cache"
# Raise it with whatever changes the lines that the same files give.
_VERSION = 1

# One sentence that the user should see.
Warn = Callable[[str], None]


class IamOnDb(NamedTuple):
  """The database.

  Attributes:
    splits: the lines of each official list in its order, in raw units; the keys
      are those of `split_lists.LISTS`.
    files: what was read, a row each as in `raw_corpus.provenance`.
    note: what was done to it.
  """

  splits: dict[str, PenLines]
  files: list[dict[str, Any]]
  note: str

  def graves(self) -> dict[str, PenLines]:
    """The lines as Graves splits them: "train" and "valid"."""
    return {
      name: PenLines.joined([self.splits[part] for part in parts])
      for name, parts in split_lists.GRAVES.items()
    }


def read(
  data_dir: str | os.PathLike[str],
  *,
  longest_step: float = ink.LONGEST_STEP,
  progress: pen_archive.Progress | None = None,
  warn: Warn | None = None,
) -> IamOnDb:
  """Reads the database, from the cache if there is one of these very files.

  Args:
    data_dir: the data folder, with the files in `iamondb/`: the four lists, and
      `lineStrokes-all.tar.gz` and `ascii-all.tar.gz`, or the folders
      `lineStrokes` and `ascii` that they unpack to.
    longest_step: see `ink.offsets`.
    progress: called with (bytes read, of how many) while ink is parsed.
    warn: called with a sentence where a cache is passed over or cannot be kept.

  Raises:
    UserError: a file is missing or broken, a list names forms that are not
      there, two lists share one, or a published list has not the lines that it
      is known to have.
  """
  folder = pathlib.Path(data_dir) / FOLDER
  strokes, texts = _present(folder, *STROKES), _present(folder, *TEXTS)
  paths = {name: _present(folder, f"{name}.txt") for name in split_lists.LISTS}
  forms = {name: split_lists.forms_of(path) for name, path in paths.items()}
  split_lists.refuse_overlap(forms)
  rows = [_row(path) for path in (strokes, texts, *paths.values())]
  made_from = pen_cache.key(
    {
      "version": _VERSION,
      "files": rows,
      "ink": [longest_step, ink.PERIOD, ink.LONGEST_GAP, ink.LARGEST],
    }
  )
  lines = _cached(folder, made_from, warn)
  if lines is None:
    lines = form_lines.parse(
      strokes,
      texts,
      [form for part in forms.values() for form in part],
      longest_step=longest_step,
      progress=progress,
    )
    _keep(folder, lines, made_from, warn)
  splits = _split(lines, forms)
  for name, part in splits.items():
    split_lists.check_lines(name, forms[name], len(part))
  silent = sum(not text for text in lines.texts)
  note = (
    f"{len(lines):,} lines of the four lists, {silent} without a transcript; "
    f"missing readings interpolated, steps above {longest_step:g} removed"
  )
  return IamOnDb(splits, rows, note)


def _present(folder: pathlib.Path, *names: str) -> pathlib.Path:
  for name in names:
    if os.path.exists(folder / name):
      return folder / name
  raise errors.UserError(
    f"missing {' or '.join(f'{FOLDER}/{name}' for name in names)}: register "
    f"with the owners of the IAM On-Line Handwriting Database ({URL}), get it "
    f"there and put it at {folder / names[0]}, or name the folder that holds "
    f"{FOLDER}/ with --data_dir"
  )


def _row(path: pathlib.Path) -> dict[str, Any]:
  """Name, size and SHA-256 of a file, or of all that is in a folder."""
  try:
    if not path.is_dir():
      size = path.stat().st_size
      return {"name": path.name, "bytes": size, "sha256": files.sha256(path)}
  except OSError as error:
    raise errors.UserError(
      f"cannot read {path}: {error.strerror or error}"
    ) from error
  digest, total = hashlib.sha256(), 0
  for member in pen_archive.members(path, ""):
    inner = hashlib.sha256(member.data).hexdigest()
    row = f"{member.name}\0{len(member.data)}\0{inner}\n"
    digest.update(row.encode("utf-8", "surrogateescape"))
    total += len(member.data)
  return {"name": path.name, "bytes": total, "sha256": digest.hexdigest()}


def _cached(
  folder: pathlib.Path, made_from: str, warn: Warn | None
) -> PenLines | None:
  for place in pen_cache.folders(folder):
    try:
      lines = pen_cache.load(place / CACHE, made_from)
    except pen_cache.Stale as error:
      if warn:
        warn(f"the cache {place / CACHE} is made anew: {error}")
      continue
    if lines is not None:
      return lines
  return None


def _keep(
  folder: pathlib.Path, lines: PenLines, made_from: str, warn: Warn | None
) -> None:
  reason = "no folder may be written to; name one with SEQMODELS_CACHE"
  for place in pen_cache.folders(folder):
    try:
      pen_cache.store(place / CACHE, lines, made_from)
      return
    except errors.UserError as error:
      reason = str(error)
  if warn:
    warn(f"the lines are not kept and will be parsed again next time: {reason}")


def _split(
  lines: PenLines, forms: Mapping[str, Sequence[str]]
) -> dict[str, PenLines]:
  """The lines of each list: they come list by list."""
  owner = {form: name for name, part in forms.items() for form in part}
  owners = [owner.get(transcripts.form_of(line)[0]) for line in lines.names]
  splits, start = {}, 0
  for name in forms:
    stop = start + owners.count(name)
    splits[name] = lines.span(start, stop)
    start = stop
  return splits
