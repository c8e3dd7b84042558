"""Trained weights that come with the package, each with its card.

`NAME.safetensors` is a file of `portable`, `NAME.md` says what it was trained
on, by which command, and how it scores.
"""

import pathlib

from seqmodels import errors

FOLDER = pathlib.Path(__file__).parent
SUFFIX = ".safetensors"

# Where each comes from: what to run where a file is missing.
COMMANDS = {
  "penn_char": "python main.py --config=configs/penn_char.py",
  "handwriting_synthesis": (
    "python main.py --config=configs/handwriting_synthesis.py"
  ),
}

# The text that a shipped model is scored on, in the style of the Penn Treebank.
SAMPLE = """\
 the company said it expects to report a loss of about N million dollars for \
the third quarter
 mr. <unk> who has run the small bank since last year declined to comment on \
the price of its shares
 analysts were n't surprised but they said the market for such bonds could \
still fall in october
"""


def shipped() -> list[str]:
  """Names of the files that are here, with or without a command, sorted."""
  return sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}"))


def path(name: str) -> pathlib.Path:
  """The file of that name.

  Raises:
    UserError: it does not come with this copy of the package, or is unknown.
  """
  candidate = FOLDER / f"{name}{SUFFIX}"
  if candidate.is_file():
    return candidate
  if name not in COMMANDS:
    raise errors.UserError(
      f"there is no run folder, file or shipped model {name!r}"
      + errors.closest(name, COMMANDS)
    )
  raise errors.UserError(
    f"the trained weights {name!r} do not come with this copy of the package; "
    f"train them, {COMMANDS[name]} --workdir=RUN_DIR, and give RUN_DIR"
  )
