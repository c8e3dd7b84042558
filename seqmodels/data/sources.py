"""Corpora by name.

A new one is a small module with a `load` function and a row in `SOURCES`.
"""

import os
from collections.abc import Callable

from seqmodels import errors
from seqmodels.data import (
  embedded,
  enwik8,
  penn_treebank,
  raw_corpus,
  text_files,
)

# (data folder, path, whether downloads are allowed) -> corpus.
SOURCES: dict[str, Callable[[str, str, bool], raw_corpus.RawCorpus]] = {
  "ptb": lambda data_dir, path, downloads: penn_treebank.load(
    data_dir, downloads=downloads
  ),
  "enwik8": lambda data_dir, path, downloads: enwik8.load(
    data_dir, downloads=downloads
  ),
  "timemachine": lambda data_dir, path, downloads: text_files.load_time_machine(
    data_dir, downloads=downloads
  ),
  "text": lambda data_dir, path, downloads: text_files.load(path),
  "embedded": lambda data_dir, path, downloads: embedded.load(),
}


def load(
  name: str,
  data_dir: str | os.PathLike[str] = "",
  *,
  path: str | os.PathLike[str] = "",
  downloads: bool = True,
) -> raw_corpus.RawCorpus:
  """The corpus of that name.

  >>> list(load("embedded").parts)
  ['whole']

  Args:
    name: a key of `SOURCES`.
    data_dir: folder that holds `ptb/`, `enwik8/`, `timemachine/`.
    path: file or folder of the source `text`.
    downloads: whether missing published files may be downloaded.

  Raises:
    UserError: an unknown name; a file that is missing, empty, unreadable or not
      the published one.
  """
  if name not in SOURCES:
    raise errors.UserError(
      f"unknown source {name!r}" + errors.closest(name, SOURCES)
    )
  return SOURCES[name](_expand(data_dir), _expand(path), downloads)


def _expand(path: str | os.PathLike[str]) -> str:
  # Flags reach us with their tilde: `--data_dir=~/data` is not the shell's.
  return os.path.expanduser(os.fspath(path))
