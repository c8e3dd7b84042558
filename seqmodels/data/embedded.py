"""A corpus every Python carries: the language reference behind `help()`.

`pydoc_data.topics` holds some 470,000 characters of English prose with grammar
rules and examples. The order is fixed (topics sorted by name), so one Python
version gives one corpus everywhere; between versions the wording differs, so a
result names the version and the checksum.
"""

import platform

import numpy as np

from seqmodels import errors
from seqmodels.data import raw_corpus


def load() -> raw_corpus.RawCorpus:
  """The corpus in UTF-8; needs neither files nor a network.

  Raises:
    UserError: this Python was installed without its documentation.
  """
  data = np.frombuffer(text().encode("utf-8"), np.uint8)
  rows = [raw_corpus.file_row("pydoc_data.topics", data)]
  note = f"pydoc_data.topics of Python {platform.python_version()}"
  return raw_corpus.RawCorpus(
    "embedded",
    {raw_corpus.WHOLE: data},
    raw_corpus.provenance("embedded", rows, note),
  )


def text() -> str:
  r"""All topics, each under its name.

  >>> text()[:42]
  'assert\n\nThe "assert" statement\n***********'

  Raises:
    UserError: this Python was installed without its documentation.
  """
  try:
    from pydoc_data import topics
  except ImportError as error:
    raise errors.UserError(
      f"Python {platform.python_version()} was installed without "
      "pydoc_data.topics, which the embedded corpus is made of; train on a "
      "file of your own with --config=configs/text.py"
    ) from error
  return "".join(
    f"{name}\n\n{topics.topics[name].strip()}\n\n\n"
    for name in sorted(topics.topics)
  )
