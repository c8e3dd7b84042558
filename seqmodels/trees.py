"""Sums, casts and named comparisons over pytrees of arrays."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any


def count_parameters(tree: Tree) -> int:
  """The number of parameters in a tree.

  >>> count_parameters({"kernel": jnp.zeros((2, 3)), "bias": jnp.zeros(3)})
  9
  """
  return sum(int(np.prod(leaf.shape)) for leaf in jax.tree.leaves(tree))


def global_norm(tree: Tree) -> jax.Array:
  """Euclidean norm over all leaves, accumulated in float32."""
  squares = [
    jnp.sum(jnp.square(leaf.astype(jnp.float32)))
    for leaf in jax.tree.leaves(tree)
  ]
  return jnp.sqrt(sum(squares, start=jnp.float32(0.0)))


def cast(tree: Tree, dtype: jax.typing.DTypeLike) -> Tree:
  """Floating leaves to `dtype`; integers, booleans and keys stay."""

  def cast_leaf(leaf: jax.Array) -> jax.Array:
    floating = jnp.issubdtype(leaf.dtype, jnp.floating)
    return leaf.astype(dtype) if floating else leaf

  return jax.tree.map(cast_leaf, tree)


def leaves_by_name(tree: Tree) -> dict[str, Any]:
  """Leaves under slash-joined names, in tree order.

  >>> list(leaves_by_name({"a": {"b": 1.0}, "c": (2.0, 3.0)}))
  ['a/b', 'c/0', 'c/1']
  """
  paths, _ = jax.tree_util.tree_flatten_with_path(tree)
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): leaf
    for path, leaf in paths
  }


def differences(expected: Tree, actual: Tree) -> list[str]:
  """Every way in which `actual` is not of the structure of `expected`, by name.

  Leaves need only `shape` and `dtype`, so abstract trees compare too.

  >>> a = {"bias": jnp.zeros(3), "kernel": jnp.zeros((2, 3))}
  >>> differences(a, {"bias": jnp.zeros(4), "extra": jnp.zeros(1)})
  ['bias: expected float32[3], found float32[4]', 'kernel: missing', \
'extra: unexpected']
  """
  want, have = leaves_by_name(expected), leaves_by_name(actual)
  notes = []
  for name, leaf in want.items():
    if name not in have:
      notes.append(f"{name}: missing")
    elif _kind(leaf) != _kind(have[name]):
      notes.append(f"{name}: expected {_kind(leaf)}, found {_kind(have[name])}")
  notes.extend(f"{name}: unexpected" for name in have if name not in want)
  return notes


def _kind(leaf: Any) -> str:
  shape = ",".join(map(str, np.shape(leaf)))
  dtype = getattr(leaf, "dtype", None) or np.asarray(leaf).dtype
  return f"{dtype}[{shape}]"
