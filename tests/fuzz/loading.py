"""Loads everything that can be loaded, where nothing can be unpickled.

    python -m tests.fuzz.loading

Every way to unpickle, or to run what a file says, raises from the beginning, in
this program's modules and in those of others; then each parser is given its
valid file, a training state is restored and a data set downloaded. What was
loaded is printed, a line each.
"""

import importlib
import marshal
import pathlib
import pickle
import sys
import tempfile
from collections.abc import Callable
from typing import Any, NoReturn


class Forbidden(BaseException):
  """Something was about to be unpickled; no handler of errors hides it."""


def refuse(*given: Any, **named: Any) -> NoReturn:
  raise Forbidden("this unpickles, or runs what a file says")


# By module: what reads pickles or objects that any class can be made of.
FORBIDDEN = {
  "pickle": ("load", "loads", "_load", "_loads"),
  "_pickle": ("load", "loads"),
  "dill": ("load", "loads", "load_session", "load_module"),
  "cloudpickle": ("load", "loads"),
  "joblib": ("load",),
  "shelve": ("open",),
  "pandas": ("read_pickle", "read_hdf"),
  "torch": ("load",),
  "yaml": ("load", "load_all", "full_load", "unsafe_load", "unsafe_load_all"),
}


def forbid() -> None:
  """From here on nothing is unpickled."""

  def heard(event: str, given: tuple[Any, ...]) -> None:
    # Raised by every unpickler, also one that was imported by its name.
    if event == "pickle.find_class":
      refuse()

  sys.addaudithook(heard)
  for module, names in FORBIDDEN.items():
    try:
      actual = importlib.import_module(module)
    except ModuleNotFoundError:
      continue  # PyTorch and others are not installed everywhere.
    for name in names:
      if hasattr(actual, name):
        setattr(actual, name, refuse)
  pickle._Unpickler.load = refuse
  unmarshal = {name: getattr(marshal, name) for name in ("load", "loads")}

  def of_imports(name: str) -> Callable[..., Any]:
    def call(*given: Any) -> Any:
      # Python's own compiled modules are marshalled.
      if "importlib" not in sys._getframe(1).f_globals["__name__"]:
        refuse()
      return unmarshal[name](*given)

    return call

  for name in unmarshal:
    setattr(marshal, name, of_imports(name))


def prove() -> None:
  """The ways that are easily taken are shut."""
  import numpy as np

  data = pickle.dumps(pathlib.Path("x"))
  with tempfile.TemporaryFile() as file:
    np.save(file, np.array([None]), allow_pickle=True)
    for way in (
      lambda: pickle.loads(data),
      lambda: pickle.Unpickler(open_bytes(data)).load(),
      lambda: pickle._Unpickler(open_bytes(data)).load(),
      lambda: marshal.loads(b"N"),
      lambda: file.seek(0) or np.load(file, allow_pickle=True),
    ):
      try:
        way()
      except Forbidden:
        continue
      raise AssertionError("a pickle was read")


def open_bytes(data: bytes) -> Any:
  import io

  return io.BytesIO(data)


def restore_state(world: pathlib.Path) -> None:
  """Of a training: arrays, numbers and a random key."""
  import jax
  import numpy as np

  from seqmodels.io import checkpoints

  state = {"w": np.ones(3), "step": 1, "key": jax.random.key(1)}
  with checkpoints.Checkpoints(world / "state") as saved:
    saved.save(1, state, {})
  with checkpoints.Checkpoints(world / "state") as saved:
    assert saved.restore_latest(state) is not None


def download(world: pathlib.Path) -> None:
  """A published file, by way of the cache of `datasets`."""
  import functools
  import hashlib
  import http.server
  import threading

  from seqmodels.data import files

  class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *given: Any) -> None:
      pass

  data = (world / "text.txt").read_bytes()
  handler = functools.partial(Quiet, directory=str(world))
  with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/text.txt"
    digest = hashlib.sha256(data).hexdigest()
    published = files.Published("set", "x.txt", url, len(data), digest)
    actual = files.obtain(published, world / "data")
    server.shutdown()
  assert actual.read_bytes() == data


def main() -> None:
  forbid()
  prove()
  from tests.fuzz import parsers, valid_files

  with tempfile.TemporaryDirectory() as folder:
    world = pathlib.Path(folder)
    valid_files.fill(world)
    for name, row in parsers.ROWS.items():
      row.begin(world, row.valid(world))()
      print(name)
    for name, load in {
      "state of a training": restore_state,
      "download": download,
    }.items():
      load(world)
      print(name)


if __name__ == "__main__":
  main()
