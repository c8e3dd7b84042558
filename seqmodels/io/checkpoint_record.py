"""The record that vouches for a checkpoint: `checkpoint.json`."""

import dataclasses
import hashlib
import json
from typing import Any

from seqmodels import errors
from seqmodels.io import checkpoint_arrays, json_file

FORMAT = 1
NAME = "checkpoint.json"


class CorruptError(Exception):
  """A checkpoint that is not what was saved; the message says in what."""


@dataclasses.dataclass(frozen=True)
class Record:
  """The content of `checkpoint.json`.

  Attributes:
    step: training step of the state.
    meta: the caller's own JSON dict.
    leaves: description of every leaf by name.
    files: size and SHA-256 of every other file, by its path in the folder.
    prng: how random numbers were drawn (JAX's default implementation, and
      whether threefry is partitionable).
  """

  step: int
  meta: dict[str, Any]
  leaves: dict[str, checkpoint_arrays.Description]
  files: dict[str, tuple[int, str]]
  prng: dict[str, Any]

  @property
  def fingerprint(self) -> str:
    """SHA-256 of all that was saved, whatever the files are called."""
    return _sha256_json(self._document(with_files=False))

  def to_json(self) -> str:
    """The text of `checkpoint.json`."""
    document = self._document(with_files=True)
    document["sha256"] = _sha256_json(document)
    return json.dumps(document, indent=1) + "\n"

  @classmethod
  def from_json(cls, text: str) -> "Record":
    """Reads `checkpoint.json`.

    Raises:
      CorruptError: it is not what `to_json` wrote.
      errors.UserError: it is of a later format than this code knows.
    """
    try:
      document = json.loads(text)
      digest = document.pop("sha256")
      if digest != _sha256_json(document):
        raise CorruptError(f"{NAME} does not match its own checksum")
      if document["format"] > FORMAT:
        raise errors.UserError(
          f"a checkpoint has format {document['format']}; this version reads"
          f" up to {FORMAT}: use the version of the code that wrote it"
        )
      record = cls(
        step=document["step"],
        meta=document["meta"],
        leaves={
          name: checkpoint_arrays.Description(
            **leaf | {"shape": tuple(leaf["shape"])}
          )
          for name, leaf in document["leaves"].items()
        },
        files={
          name: (size, digest)
          for name, (size, digest) in document["files"].items()
        },
        prng=document["prng"],
      )
      record.require_types()
      return record
    except (ValueError, TypeError, KeyError, AttributeError) as error:
      raise CorruptError(f"{NAME} is unreadable ({error!r})") from error
    except RecursionError as error:
      raise CorruptError(f"{NAME} is nested too deeply") from error

  def require_types(self) -> None:
    """A right checksum does not make right contents.

    Raises:
      ValueError: something is not of its type.
    """
    good = json_file.is_whole(self.step) and self.step >= 0
    good &= isinstance(self.meta, dict) and isinstance(self.prng, dict)
    for leaf in self.leaves.values():
      good &= all(json_file.is_whole(n) and n >= 0 for n in leaf.shape)
      good &= isinstance(leaf.dtype, str) and isinstance(leaf.sha256, str)
      good &= leaf.prng is None or isinstance(leaf.prng, str)
      good &= isinstance(leaf.weak, bool)
    for size, digest in self.files.values():
      good &= json_file.is_whole(size) and isinstance(digest, str)
    if not good:
      raise ValueError("a member is of another type")

  def _document(self, *, with_files: bool) -> dict[str, Any]:
    document = dataclasses.asdict(self) | {"format": FORMAT}
    if not with_files:
      del document["files"]
    return document


def _sha256_json(document: Any) -> str:
  text = json.dumps(document, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
