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
  """What one leaf is: enough to compare it and to know its bytes again.

  Attributes:
    shape: of the leaf; of the array of keys, for random keys.
    dtype: as NumPy or JAX prints it, "key<fry>" for random keys.
    sha256: of the bytes in C order; of the key data, for random keys.
    prng: the implementation of random keys, None for other leaves.
    weak: whether JAX lets the other operand decide the dtype of a result.
  """

  shape: tuple[int, ...]
  dtype: str
  sha256: str
  prng: str | None = None
  weak: bool = False


def copies(tree: Tree) -> dict[str, Any]:
  """Copies of all leaves by name; the copy is only dispatched, not awaited.

  Whoever calls may donate, delete or overwrite the leaves at once. Of leaves
  that are spread over several processes, all of which have to call, each gets
  the whole, on its host.

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
  """Host arrays and descriptions of the leaves that `copies` gave.

  >>> arrays, described = to_host({"count": np.int32(3)})
  >>> arrays["count"], described["count"].dtype
  (array(3, dtype=int32), 'int32')
  """
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

  Leaves become what they are in `target`: JAX arrays where it has JAX arrays
  or ShapeDtypeStructs (on the sharding these name, if any), NumPy arrays,
  Python numbers.

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
  """Hex digest of the bytes of a C-contiguous array.

  >>> sha256(np.zeros(0, np.int8))[:8]
  'e3b0c442'
  """
  return hashlib.sha256(array.reshape(-1).view(np.uint8).data).hexdigest()


def _copy(name: str, leaf: Any) -> Any:
  if isinstance(leaf, jax.Array):
    if leaf.is_fully_addressable:
      return jax.device_put(leaf, leaf.sharding, may_alias=False)
    # Each process may hold a part only. One leaf at a time is whole on the
    # devices, which may have no room for more.
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
  everywhere = _replicated(leaf.sharding)
  found = jax.jit(compute, out_shardings=everywhere)(leaf)
  local: jax.Array = found.addressable_data(0)
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
  # Restoring happens between steps, where a guard against hidden transfers
  # (jax_transfer_guard) has nothing to find.
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
  leaves: dict[str, Description]
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
    """A right checksum does not make right contents.

    Raises:
      ValueError: something is not of its type.
    """
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

  def _document(self, *, with_files: bool) -> dict[str, Any]:
    document = dataclasses.asdict(self) | {"format": FORMAT}
    if not with_files:
      del document["files"]
    return document


def _sha256_json(document: Any) -> str:
  text = json.dumps(document, sort_keys=True, separators=(",", ":"))
  return hashlib.sha256(text.encode()).hexdigest()
