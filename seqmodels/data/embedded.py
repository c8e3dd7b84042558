"""A corpus every Python carries: the language reference behind `help()`.

`pydoc_data.topics` holds some 470,000 characters of English prose with grammar
rules and examples. The order is fixed (topics sorted by name), so one Python
version gives one corpus everywhere; between versions the wording differs, so a
result names the version and the checksum.
"""

import platform

from seqmodels import errors


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
      "pydoc_data.topics, which the embedded corpus is made of; use "
      "configs/text.py with a file of your own"
    ) from error
  parts = (
    f"{name}\n\n{topics.topics[name].strip()}\n\n\n"
    for name in sorted(topics.topics)
  )
  return "".join(parts)


def note() -> str:
  """Which corpus this is."""
  return f"pydoc_data.topics of Python {platform.python_version()}"
