"""The IAM On-Line Handwriting Database: XML, transcripts, splits, cache.

It is licensed for non-commercial research to those who register with its
owners, so nothing is downloaded here. Its XML takes half a minute to parse; the
lines are kept in a cache from then on (`folders` says where):

    8 bytes     "penlines"
    32 bytes    SHA-256 of all that follows
    8 bytes     length of the header, little-endian
    header      JSON: "key", "names", "texts", "points"
    edges       int64, little-endian, one more than there are lines
    points      float32, little-endian

Nothing is unpickled, and nothing is taken from a file whose checksum is wrong.
"""

import collections
import contextlib
import hashlib
import json
import os
import pathlib
import re
import stat
import xml.sax
from collections.abc import (
  Callable,
  Container,
  Iterable,
  Iterator,
  Mapping,
  Sequence,
)
from typing import Any, NamedTuple
from xml.sax import handler

import numpy as np

from seqmodels import errors
from seqmodels.data import files
from seqmodels.data.handwriting import archive as archive_lib
from seqmodels.data.handwriting import strokes as strokes_lib
from seqmodels.data.handwriting.strokes import PenLines

# The largest line file of the database has 105,268 bytes.
LARGEST_FILE = 4 << 20

_ROOT = "WhiteboardCaptureSession"
_COORDINATES = ("x", "y", "time")


def read_strokes(data: bytes) -> list[np.ndarray]:
  r"""The readings of a pen, stroke by stroke.

  >>> text = '<WhiteboardCaptureSession><StrokeSet><Stroke><Point x="1" y="2" '
  >>> text += 'time="0.5"/></Stroke></StrokeSet></WhiteboardCaptureSession>'
  >>> read_strokes(text.encode())
  [array([[1. , 2. , 0.5]])]

  Args:
    data: an XML document in the encoding that it declares.

  Returns:
    float64 [T, 3] a stroke: x, y (downwards, units of the whiteboard), seconds.
    NaN and infinity are numbers here; `strokes.offsets` refuses them.

  Raises:
    UserError: more than `LARGEST_FILE` bytes, malformed XML, a document type or
      entities, no line of this database, a stroke without points, a point
      without a coordinate or with one that is no number.
  """
  # Imported here: only this source needs it.
  import defusedxml
  import defusedxml.sax

  if len(data) > LARGEST_FILE:
    raise errors.UserError(
      f"the line has {len(data):,} bytes of XML and at most {LARGEST_FILE:,} "
      "are read; the database's have about 35,000"
    )
  ink = _Ink()
  try:
    # The library refuses entities by itself, document types if asked.
    defusedxml.sax.parseString(data, ink, forbid_dtd=True)
  except defusedxml.DefusedXmlException as error:
    raise errors.UserError(
      f"the XML declares a document type or entities ({type(error).__name__}); "
      "lines of the database have neither: download the file again"
    ) from error
  except xml.sax.SAXParseException as error:
    raise errors.UserError(
      f"malformed XML at line {error.getLineNumber()}, column "
      f"{error.getColumnNumber()}: {error.getMessage()}; download the file "
      "again"
    ) from error
  except (ValueError, LookupError) as error:
    # What Python's codecs say of an encoding that no line was written in.
    raise errors.UserError(
      f"the XML's encoding cannot be read ({error}); the database's is "
      "ISO-8859-1: download the file again"
    ) from error
  return ink.strokes()


class _Ink(handler.ContentHandler):
  """Gathers coordinates as text: they become numbers all at once."""

  def __init__(self) -> None:
    super().__init__()
    self._values: list[str] = []
    self._starts: list[int] = []
    self._root = ""
    self._inside = False

  def startElement(self, name: str, attrs: Any) -> None:
    """Called for each opening tag."""
    if name == "Point":
      if not self._inside:
        raise errors.UserError("a <Point> stands outside of any <Stroke>")
      try:
        self._values += (attrs["x"], attrs["y"], attrs["time"])
      except KeyError as error:
        raise errors.UserError(
          f"point {len(self._values) // 3 + 1} has no {error}; each must have "
          "x, y and time"
        ) from error
    elif name == "Stroke":
      self._inside = True
      self._starts.append(len(self._values) // 3)
    elif not self._root:
      self._root = name

  def endElement(self, name: str) -> None:
    """Called for each closing tag."""
    if name == "Stroke":
      self._inside = False

  def strokes(self) -> list[np.ndarray]:
    if self._root != _ROOT:
      raise errors.UserError(
        f"the XML is a <{self._root}>; a line of the database is a <{_ROOT}>"
      )
    if not self._starts:
      raise errors.UserError("the line has 0 strokes; it must have at least 1")
    readings = self._numbers().reshape(-1, 3)
    strokes = np.split(readings, self._starts[1:])
    strokes_lib.require_points(strokes)
    return strokes

  def _numbers(self) -> np.ndarray:
    numbers: list[float] = []
    try:
      numbers.extend(map(float, self._values))
    except ValueError as error:
      # The numbers before the wrong one have been taken.
      place = len(numbers)
      raise errors.UserError(
        f"point {place // 3 + 1} has {_COORDINATES[place % 3]}="
        f"{self._values[place][:40]!r}; it must be a number"
      ) from error
    return np.array(numbers)


def parse(
  strokes: str | os.PathLike[str],
  texts: str | os.PathLike[str],
  forms: Sequence[str],
  *,
  longest_step: float = strokes_lib.LONGEST_STEP,
  progress: archive_lib.Progress | None = None,
) -> PenLines:
  """The lines of some forms, form by form in the order given.

  Args:
    strokes: archive or folder of the line files, FORM-LINE.xml.
    texts: archive or folder of the transcripts, FORM.txt.
    forms: the forms wanted, each once; others are passed over.
    longest_step: see `strokes.offsets`.
    progress: called with (bytes read, of how many) of the ink.

  Raises:
    UserError: something broken, and in which file; or no lines of a form.
  """
  by_form: dict[str, dict[int, np.ndarray]] = {form: {} for form in forms}
  for member in archive_lib.members(strokes, ".xml", progress=progress):
    with _naming(strokes, member):
      form, number = form_of(_stem(member))
      if form not in by_form:
        continue
      if number in by_form[form]:
        raise errors.UserError(
          "another file holds this line; leave one of them"
        )
      by_form[form][number] = strokes_lib.offsets(
        read_strokes(member.data), longest_step=longest_step
      )
  absent = [form for form, lines in by_form.items() if not lines]
  if absent:
    more = f" and {len(absent) - 5} more" if len(absent) > 5 else ""
    raise errors.UserError(
      f"{os.fspath(strokes)} has no lines of the listed form"
      f"{'s' if len(absent) > 1 else ''} {', '.join(absent[:5])}{more}; get it "
      "anew or take them out of the lists"
    )
  written = _written(texts, by_form.keys())
  lines = {
    f"{form}-{number:02d}": points
    for form, numbered in by_form.items()
    for number, points in sorted(numbered.items())
  }
  said = matched(lines, written)
  return PenLines.of(
    list(lines.values()), list(lines), [said[name] for name in lines]
  )


def _written(
  texts: str | os.PathLike[str], forms: Container[str]
) -> dict[str, list[str]]:
  """The lines of each form's transcript, of those that have one."""
  written: dict[str, list[str]] = {}
  for member in archive_lib.members(texts, ".txt"):
    form = _stem(member)
    if form not in forms:
      continue
    with _naming(texts, member):
      if form in written:
        raise errors.UserError(
          "another file holds this form; leave one of them"
        )
      written[form] = lines_of(member.data)
  return written


def _stem(member: archive_lib.Member) -> str:
  return pathlib.PurePosixPath(member.name).stem


@contextlib.contextmanager
def _naming(
  archive: str | os.PathLike[str], member: archive_lib.Member
) -> Iterator[None]:
  """Says which file of which archive an error is about."""
  try:
    yield
  except errors.UserError as error:
    raise errors.UserError(
      f"{os.fspath(archive)}: {member.name}: {error}"
    ) from error


# The longest list has 7,724 bytes.
_LARGEST = 1 << 20


class Published(NamedTuple):
  """The published contents of an official list.

  Attributes:
    forms: how many it names.
    lines: how many lines they have.
    sha256: of the sorted forms, one a line without a last newline.
  """

  forms: int
  lines: int
  sha256: str


LISTS = {
  "trainset": Published(
    775,
    5364,
    "4f8e24257843725254dd7787220060a63d9943883e7ebff61cd9e5db7070bc06",
  ),
  "testset_f": Published(
    544,
    3859,
    "bb144b9a5b7e4739a9c2d588dfe93f3c0198a141d8ab6f6a8612c73e64356394",
  ),
  "testset_t": Published(
    216,
    1518,
    "5b581de5386a869e3fb2be77f95f6ddd3a9adcc9b7500bca68e1211db24c6583",
  ),
  "testset_v": Published(
    192,
    1438,
    "ca7e3edddc8e89f161aad3be2a18b938189a2444ffd62ac5789bbec3ecdd9102",
  ),
}

# Graves (2013, section 4.1) trains on all but the smaller validation set, which
# stops the training and which his tables report: 10,741 and 1,438 lines.
GRAVES = {
  "train": ("trainset", "testset_f", "testset_t"),
  "valid": ("testset_v",),
}


def forms_of(path: str | os.PathLike[str]) -> list[str]:
  """The forms that a list names, in its order and each once.

  Args:
    path: of a text file, a form such as a01-000u a line.

  Raises:
    UserError: it cannot be read, or is no such list.
  """
  with files.opened(path) as file:
    data = file.read(_LARGEST + 1)
  words = data.decode("iso-8859-1").split()
  wrong = [word for word in words if not re.fullmatch(r"[\w-]{1,40}", word)]
  if len(data) > _LARGEST or wrong or not words:
    hint = f" but begins with {wrong[0][:40]!r}" if wrong else ""
    raise errors.UserError(
      f"{os.fspath(path)} ({len(data):,} bytes) should name a form such as "
      f"a01-000u a line{hint}; download it again"
    )
  return list(dict.fromkeys(words))


def refuse_overlap(lists: Mapping[str, Sequence[str]]) -> None:
  """Checks that no form is in two lists.

  >>> refuse_overlap({"one": ["a", "b"], "other": ["c"]})

  Raises:
    UserError: one is.
  """
  seen: dict[str, str] = {}
  for name, forms in lists.items():
    for form in forms:
      if seen.setdefault(form, name) != name:
        raise errors.UserError(
          f"form {form} is in the lists {seen[form]} and {name}; leave it in "
          "one, or what is trained on would be tested on"
        )


def check_lines(name: str, forms: Sequence[str], lines: int) -> None:
  """Checks that a published list has the lines that it is known to have.

  Lists of other forms are not checked: they are the user's own.

  Args:
    name: a key of `LISTS`.
    forms: the forms that it names.
    lines: the number of lines found of them.

  Raises:
    UserError: it has others.
  """
  published = LISTS[name]
  if digest(forms) == published.sha256 and lines != published.lines:
    raise errors.UserError(
      f"{lines:,} lines were found of the published list {name}, which has "
      f"{published.lines:,}; download the archive of strokes again"
    )


def digest(forms: Sequence[str]) -> str:
  """SHA-256 of a list whatever its order, in hexadecimal."""
  return hashlib.sha256("\n".join(sorted(forms)).encode()).hexdigest()


_HEADING = "CSR:"


def lines_of(data: bytes) -> list[str]:
  r"""The lines of a form, as they were written on the board.

  A transcript has what a recognizer was given ("OCR:"), and below it what the
  writer made of it, slips and line breaks included ("CSR:"), with empty lines
  between, before and after.

  >>> lines_of(b"OCR:\n\nA MOVE to stop\n\nCSR:\n\nA MOVE\nto stopp \n")
  ['A MOVE', 'to stopp']

  Args:
    data: the file, ISO-8859-1, with any ends of lines.

  Raises:
    UserError: there is no such part, or two of them.
  """
  lines = [line.strip() for line in data.decode("iso-8859-1").splitlines()]
  headings = lines.count(_HEADING)
  if headings != 1:
    raise errors.UserError(
      f"the transcript has {headings} lines {_HEADING!r}; it must have 1, with "
      "the lines of the form below it: download the file again"
    )
  return [line for line in lines[lines.index(_HEADING) + 1 :] if line]


def form_of(line: str) -> tuple[str, int]:
  """The form of a line, and which of its lines it is, from 1.

  >>> form_of("a01-000u-01")
  ('a01-000u', 1)

  Raises:
    UserError: this is no line's name.
  """
  form, _, number = line.rpartition("-")
  if not form or not re.fullmatch(r"[0-9]{1,6}", number):
    raise errors.UserError(
      f"{line[:80]!r} is no line of the database, whose lines are called like "
      "a01-000u-01"
    )
  return form, int(number)


def matched(
  names: Iterable[str], forms: Mapping[str, Sequence[str]]
) -> dict[str, str]:
  """The text of every line, "" where it is not known.

  Line n of a form says what line n of its transcript does, provided that there
  are as many and they are numbered 1, 2, ...: one too few, and who knows which
  it was. (In the four lists of the database that is one form, a08-551z, with 9
  lines and 8 in the transcript.)

  >>> matched(["a-01", "a-02", "b-01"], {"a": ["one", "two"], "b": ["1", "2"]})
  {'a-01': 'one', 'a-02': 'two', 'b-01': ''}

  Args:
    names: of lines, such as "a01-000u-01"; all of a form that there are.
    forms: the lines of each transcript.
  """
  numbers: dict[str, list[int]] = collections.defaultdict(list)
  places = {name: form_of(name) for name in names}
  for form, number in places.values():
    numbers[form].append(number)
  whole = {
    form
    for form, rows in numbers.items()
    if sorted(rows) == list(range(1, len(forms.get(form, ())) + 1))
  }
  return {
    name: forms[form][number - 1] if form in whole else ""
    for name, (form, number) in places.items()
  }


_MAGIC = b"penlines"
_BEGIN = len(_MAGIC) + 32  # what the checksum covers
_HEADER = _BEGIN + 8

# The whole database takes 93 million bytes.
LARGEST = 1 << 30


class Stale(Exception):
  """A cache that is not of this data; its text says why."""


def key(facts: Mapping[str, Any]) -> str:
  """SHA-256, in hexadecimal, of what the lines were made from and how.

  >>> key({"a": 1, "b": 2}) == key({"b": 2, "a": 1})
  True
  """
  text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode("ascii")).hexdigest()


def store(
  path: str | os.PathLike[str], lines: PenLines, made_from: str
) -> None:
  """Writes lines; the file is whole or is left as it was.

  Args:
    path: the file.
    lines: the lines.
    made_from: `key` of what they were made from.

  Raises:
    UserError: it cannot be written.
  """
  header = json.dumps(
    {
      "key": made_from,
      "names": lines.names,
      "texts": lines.texts,
      "points": len(lines.points),
    }
  ).encode("ascii")
  pieces = [
    len(header).to_bytes(8, "little"),
    header,
    lines.edges.astype("<i8").tobytes(),
    lines.points.astype("<f4").tobytes(),
  ]
  digest = hashlib.sha256()
  for piece in pieces:
    digest.update(piece)
  files.write_pieces(path, (_MAGIC, digest.digest(), *pieces))


def load(path: str | os.PathLike[str], made_from: str) -> PenLines | None:
  """The lines stored at `path`, None where there is no file.

  Raises:
    Stale: it cannot be read, is damaged, or holds other lines.
  """
  try:
    if not stat.S_ISREG(os.stat(path).st_mode):
      raise Stale("it is no regular file")
    with open(path, "rb") as file:
      data = file.read(LARGEST + 1)
  except FileNotFoundError:
    return None
  except OSError as error:
    raise Stale(f"cannot read it: {error.strerror or error}") from error
  if not _HEADER <= len(data) <= LARGEST or not data.startswith(_MAGIC):
    raise Stale("it is no cache of lines")
  view = memoryview(data)
  if hashlib.sha256(view[_BEGIN:]).digest() != data[len(_MAGIC) : _BEGIN]:
    raise Stale("it is damaged: its checksum is another")
  try:
    return _lines(view, made_from)
  except (ValueError, TypeError, KeyError, RecursionError) as error:
    # A right checksum does not make right contents: whoever wrote the file
    # made both.
    raise Stale(f"it does not hold what it says ({error})") from error


def _lines(view: memoryview, made_from: str) -> PenLines:
  begin = _HEADER + int.from_bytes(view[_BEGIN:_HEADER], "little")
  header = json.loads(bytes(view[_HEADER:begin]).decode("ascii"))
  if header["key"] != made_from:
    raise Stale("it was made from other files or in another way")
  names, texts = tuple(header["names"]), tuple(header["texts"])
  if not all(isinstance(text, str) for text in (*names, *texts)):
    raise TypeError("names and texts must be strings")
  count, points = len(names) + 1, header["points"]
  if len(view) != begin + 8 * count + 12 * points:
    raise ValueError("its length is another")
  edges = np.frombuffer(view, "<i8", count, begin)
  flat = np.frombuffer(view, "<f4", 3 * points, begin + 8 * count)
  lines = PenLines(
    flat.reshape(-1, 3).astype(np.float32), edges.astype(np.int64), names, texts
  )
  if not np.isfinite(lines.points).all():
    raise ValueError("its offsets are not finite")
  return lines


def folders(beside: str | os.PathLike[str]) -> list[pathlib.Path]:
  """The folders that may hold a cache of the data in one, the best first.

  `$SEQMODELS_CACHE` where it is set, and no other place; else the folder itself
  if it may be written to, and `~/.cache/seqmodels/` and the folder's name.
  """
  folder = pathlib.Path(beside)
  named = os.environ.get("SEQMODELS_CACHE")
  if named:
    return [pathlib.Path(os.path.expanduser(named))]
  candidates = [folder] if _writable(folder) else []
  try:
    home = pathlib.Path.home()
  except RuntimeError:  # no home to be found
    return candidates
  return [*candidates, home / ".cache" / "seqmodels" / folder.name]


def _writable(folder: pathlib.Path) -> bool:
  # The superuser may write to folders that are marked as not to be written to.
  try:
    marked = folder.stat().st_mode & 0o222
  except OSError:
    return False
  return bool(marked) and os.access(folder, os.W_OK)


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
      are those of `LISTS`.
    files: what was read, a row each as in `corpora.provenance`.
    note: what was done to it.
  """

  splits: dict[str, PenLines]
  files: list[dict[str, Any]]
  note: str

  def graves(self) -> dict[str, PenLines]:
    """The lines as Graves splits them: "train" and "valid"."""
    return {
      name: PenLines.joined([self.splits[part] for part in parts])
      for name, parts in GRAVES.items()
    }


def read(
  data_dir: str | os.PathLike[str],
  *,
  longest_step: float = strokes_lib.LONGEST_STEP,
  progress: archive_lib.Progress | None = None,
  warn: Warn | None = None,
) -> IamOnDb:
  """The database, from the cache if it holds one of these very files.

  Args:
    data_dir: the data folder, with the files in `iamondb/`: the four lists, and
      `lineStrokes-all.tar.gz` and `ascii-all.tar.gz`, or the folders
      `lineStrokes` and `ascii` that they unpack to.
    longest_step: see `strokes.offsets`.
    progress: called with (bytes read, of how many) while ink is parsed.
    warn: called with a sentence where a cache is passed over or cannot be kept.

  Raises:
    UserError: a file is missing or broken, a list names forms that are not
      there, two lists share one, or a published list has not the lines that it
      is known to have.
  """
  folder = pathlib.Path(data_dir) / FOLDER
  strokes, texts = _present(folder, *STROKES), _present(folder, *TEXTS)
  paths = {name: _present(folder, f"{name}.txt") for name in LISTS}
  forms = {name: forms_of(path) for name, path in paths.items()}
  refuse_overlap(forms)
  rows = [_row(path) for path in (strokes, texts, *paths.values())]
  made_from = key(
    {
      "version": _VERSION,
      "files": rows,
      "ink": [
        longest_step,
        strokes_lib.PERIOD,
        strokes_lib.LONGEST_GAP,
        strokes_lib.LARGEST,
      ],
    }
  )
  lines = _cached(folder, made_from, warn)
  if lines is None:
    lines = parse(
      strokes,
      texts,
      [form for part in forms.values() for form in part],
      longest_step=longest_step,
      progress=progress,
    )
    _keep(folder, lines, made_from, warn)
  splits = _split(lines, forms)
  for name, part in splits.items():
    check_lines(name, forms[name], len(part))
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
  with files.reading(path):
    if not path.is_dir():
      size = path.stat().st_size
      return {"name": path.name, "bytes": size, "sha256": files.sha256(path)}
  digest, total = hashlib.sha256(), 0
  for member in archive_lib.members(path, ""):
    inner = hashlib.sha256(member.data).hexdigest()
    row = f"{member.name}\0{len(member.data)}\0{inner}\n"
    digest.update(row.encode("utf-8", "surrogateescape"))
    total += len(member.data)
  return {"name": path.name, "bytes": total, "sha256": digest.hexdigest()}


def _cached(
  folder: pathlib.Path, made_from: str, warn: Warn | None
) -> PenLines | None:
  for place in folders(folder):
    try:
      lines = load(place / CACHE, made_from)
    except Stale as error:
      if warn:
        warn(f"the cache {place / CACHE} is made again: {error}")
      continue
    if lines is not None:
      return lines
  return None


def _keep(
  folder: pathlib.Path, lines: PenLines, made_from: str, warn: Warn | None
) -> None:
  reason = "no folder may be written to; name one with SEQMODELS_CACHE"
  for place in folders(folder):
    try:
      store(place / CACHE, lines, made_from)
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
  owners = [owner.get(form_of(line)[0]) for line in lines.names]
  splits, start = {}, 0
  for name in forms:
    stop = start + owners.count(name)
    splits[name] = lines.span(start, stop)
    start = stop
  return splits
