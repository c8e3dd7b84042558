"""Settings that a study refuses before it begins."""

from collections.abc import Collection, Sequence
from typing import Any

from seqmodels import errors


def check_sizes(settings: Any, names: Sequence[str]) -> None:
  """Refuses counts of nothing, before anything is trained.

  Args:
    settings: `config.settings`.
    names: of its settings that count something, or list such counts.

  Raises:
    UserError: naming the first that is below 1.
  """
  for name in names:
    value = settings[name]
    least = value if isinstance(value, int) else min(value, default=0)
    if least < 1:
      raise errors.UserError(
        f"config.settings.{name} is {value}; it must be at least 1"
      )


def check_names(
  settings: Any, name: str, known: Collection[str], *, empty: bool = False
) -> None:
  """Refuses a list of names with one that there is not.

  Args:
    settings: `config.settings`.
    name: of the setting.
    known: the names that there are.
    empty: the list may be empty.

  Raises:
    UserError: naming the first unknown one.
  """
  unknown = [value for value in settings[name] if value not in known]
  if unknown or not (empty or settings[name]):
    wrong = f"names {unknown[0]!r}" if unknown else "is empty"
    raise errors.UserError(
      f"config.settings.{name} {wrong}; choose of {', '.join(known)}"
    )
