"""Integrity of checkpoints: named arrays and the record of their hashes."""

import dataclasses
import functools
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors, trees
from seqmodels.io import files

Tree = Any


@dataclasses.dataclass(frozen=True)
class Description:
  """Shape, dtype and hash of one leaf.

  Attributes:
    shape: of the leaf; of the array of keys, for random keys.
    dtype: as NumPy or JAX prints it, "key<fry>" for random keys.
    sha256: of the bytes in C order; of the key data, for random keys.
    prng: the implementation of random keys, None for other leaves.
    weak: True for weakly typed leaves of JAX.
  """

  shape: tuple[int, ...]
  dtype: str
  sha256: str
  prng: str | None = None
  weak: bool = False


def copies(tree: Tree) -> dict[str, Any]:
  """Copies of all leaves by name, dispatched but not awaited.

  The caller may donate, delete or overwrite the leaves at once. If leaves are
  sharded over several processes, all of them must call, and each gets the whole
  leaves on its host.

  Raises:
    TypeError: a leaf is no array, number or random key.
    ValueError: two leaves share one name.

  >>> copies({"bias": np.zeros(2, np.float32)})
  {'bias': array([0., 0.], dtype=float32)}
  """
  named = trees.leaves_by_name(tree)
  count = len(jax.tree.leaves(tree))
  if len(named) != count:
    raise ValueError(f"{count} leaves have only {len(named)} different names")
  return {name: _copy(name, leaf) for name, leaf in named.items()}


def to_host(
  leaves: Mapping[str, Any],
) -> tuple[dict[str, np.ndarray], dict[str, Description]]:
  """Host arrays and descriptions of the leaves that `copies` returned."""
  arrays, descriptions = {}, {}
  for name, leaf in leaves.items():
    data, prng = leaf, None
    if _is_key(leaf):
      data, prng = jax.random.key_data(leaf), str(jax.random.key_impl(leaf))
    array = np.asarray(jax.device_get(data), order="C")
    arrays[name] = array
    descriptions[name] = Description(
      shape=np.shape(leaf),
      dtype=str(leaf.dtype),
      sha256=sha256(array),
      prng=prng,
      weak=bool(getattr(leaf, "weak_type", False)),
    )
  return arrays, descriptions


def rebuild(
  target: Tree,
  arrays: Mapping[str, np.ndarray],
  descriptions: Mapping[str, Description],
) -> Tree:
  """A tree like `target` from host arrays of the same names and kinds.

  Leaves have the types of `target`: JAX arrays for JAX arrays and
  ShapeDtypeStructs (with their sharding, if any), NumPy arrays, Python numbers.

  >>> rebuild({"a": 0}, {"a": np.array(7)}, {"a": Description((), "int64", "")})
  {'a': 7}
  """
  leaves = [
    _rebuild_leaf(leaf, arrays[name], descriptions[name])
    for name, leaf in trees.leaves_by_name(target).items()
  ]
  return jax.tree.unflatten(jax.tree.structure(target), leaves)


def storage(description: Description) -> tuple[tuple[int, ...], np.dtype]:
  """Shape and dtype of a leaf as stored: random keys are stored as key data.

  >>> storage(Description((3,), "key<fry>", "", prng="threefry2x32"))
  ((3, 2), dtype('uint32'))
  """
  if description.prng is None:
    return description.shape, np.dtype(jnp.dtype(description.dtype))
  data = jax.eval_shape(
    lambda: jax.random.key_data(jax.random.key(0, impl=description.prng))
  )
  return description.shape + data.shape, np.dtype(data.dtype)


def sha256(array: np.ndarray) -> str:
  """Hex digest of the bytes of a C-contiguous array."""
  return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def _copy(name: str, leaf: Any) -> Any:
  if isinstance(leaf, jax.Array):
    if leaf.is_fully_addressable:
      return jax.device_put(leaf, leaf.sharding, may_alias=False)
    # Each process may hold only some shards. One leaf at a time is replicated:
    # the devices may have no room for more.
    if _is_key(leaf):
      data = _gathered(jax.random.key_data, leaf)
      impl = str(jax.random.key_impl(leaf))
      return jax.random.wrap_key_data(jnp.asarray(data), impl=impl)
    whole = _gathered(jnp.copy, leaf)
    return whole if leaf.weak_type else np.asarray(whole)
  array = np.array(leaf, order="C")
  if array.dtype.kind in "OUSMm" or array.dtype.names:
    raise TypeError(
      f"{name} is a {type(leaf).__name__}; a checkpoint holds arrays, numbers"
      " and random keys only"
    )
  return array


def _gathered(compute: Callable[[Any], Any], leaf: jax.Array) -> jax.Array:
  replicated = _replicated(leaf.sharding)
  whole = jax.jit(compute, out_shardings=replicated)(leaf)
  local: jax.Array = whole.addressable_data(0)
  return local


def _rebuild_leaf(like: Any, array: np.ndarray, saved: Description) -> Any:
  if isinstance(like, np.ndarray):
    return array
  if isinstance(like, np.generic):
    return array[()]
  if isinstance(like, bool | int | float | complex):
    return array.item()
  sharding = like.sharding
  if isinstance(like, jax.Array) and not like.committed:
    sharding = None
  # Restoring happens between steps, where jax_transfer_guard has no use.
  with jax.transfer_guard("allow"):
    if saved.weak:
      return jax.jit(_weak, out_shardings=sharding)(_put(array, sharding))
    if saved.prng is None:
      return _put(array, sharding)
    wrap = functools.partial(jax.random.wrap_key_data, impl=saved.prng)
    if sharding is None or sharding.is_fully_addressable:
      return jax.device_put(wrap(jax.device_put(array)), sharding)
    whole = _put(array, _replicated(sharding))
    return jax.jit(wrap, out_shardings=sharding)(whole)


def _weak(array: jax.Array) -> jax.Array:
  zeros = jnp.full(array.shape, array.dtype.type(0).item())  # weakly typed
  return zeros.at[...].set(array) if zeros.dtype == array.dtype else array


def _put(
  array: np.ndarray, sharding: jax.sharding.Sharding | None
) -> jax.Array:
  if sharding is None or sharding.is_fully_addressable:
    return jax.device_put(array, sharding)
  return jax.make_array_from_callback(
    array.shape, sharding, lambda index: array[index]
  )


def _replicated(sharding: Any) -> jax.sharding.NamedSharding:
  return jax.sharding.NamedSharding(sharding.mesh, jax.sharding.PartitionSpec())


def _is_key(leaf: Any) -> bool:
  return jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)


FORMAT = 1
NAME = "checkpoint.json"


class CorruptError(Exception):
  """A checkpoint differs from what was saved; the message says how."""


@dataclasses.dataclass(frozen=True)
class Record:
  """The content of `checkpoint.json`.

  Attributes:
    step: training step of the state.
    meta: the caller's own JSON dict.
    leaves: description of every leaf by name.
    files: size and SHA-256 of every other file, by its path in the folder.
    prng: JAX's settings of random numbers (`checkpoints.randomness`).
  """

  step: int
  meta: dict[str, Any]
  leaves: dict[str, Description]
  files: dict[str, tuple[int, str]]
  prng: dict[str, Any]

  @property
  def fingerprint(self) -> str:
    """SHA-256 of all that was saved but the names of the files."""
    document = self._document()
    del document["files"]
    return files.json_sha256(document)

  def to_json(self) -> str:
    """The text of `checkpoint.json`."""
    document = self._document()
    document["sha256"] = files.json_sha256(document)
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
      if digest != files.json_sha256(document):
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
          name: Description(**leaf | {"shape": tuple(leaf["shape"])})
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
    """Raises a ValueError if something has the wrong type."""
    good = files.is_whole(self.step) and self.step >= 0
    good &= isinstance(self.meta, dict) and isinstance(self.prng, dict)
    for leaf in self.leaves.values():
      good &= all(files.is_whole(n) and n >= 0 for n in leaf.shape)
      good &= isinstance(leaf.dtype, str) and isinstance(leaf.sha256, str)
      good &= leaf.prng is None or isinstance(leaf.prng, str)
      good &= isinstance(leaf.weak, bool)
    for size, digest in self.files.values():
      good &= files.is_whole(size) and isinstance(digest, str)
    if not good:
      raise ValueError("a member is of another type")

  def _document(self) -> dict[str, Any]:
    return dataclasses.asdict(self) | {"format": FORMAT}
