"""Trees of arrays: counts, norms, casts and comparisons by name."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import trees


class Pair(NamedTuple):
  first: jax.Array
  second: jax.Array | None


TREE = {
  "layer": Pair(np.ones((2, 3), np.float32), None),
  "rest": [np.full(4, 2.0, np.float32), np.float32(0.0)],
}


def test_every_number_counts_once_also_of_abstract_leaves():
  assert trees.count_parameters(TREE) == 11
  assert trees.count_parameters(jax.eval_shape(lambda: TREE)) == 11
  assert trees.count_parameters({}) == 0


def test_the_norm_is_over_all_leaves_and_in_float32():
  assert float(trees.global_norm(TREE)) == np.sqrt(6 + 16).astype(np.float32)
  # 300 squared is no float16 number.
  half = {"a": jnp.full((4,), 300.0, jnp.float16)}
  assert float(trees.global_norm(half)) == 600.0
  assert float(trees.global_norm({})) == 0.0


def test_a_cast_leaves_integers_booleans_and_keys_alone():
  tree = {
    "weights": jnp.ones(2),
    "ids": jnp.arange(2),
    "mask": jnp.array([True]),
    "key": jax.random.key(0),
  }
  after = trees.cast(tree, jnp.bfloat16)
  assert after["weights"].dtype == jnp.bfloat16
  for name in ("ids", "mask", "key"):
    assert after[name].dtype == tree[name].dtype


def test_names_are_paths_through_dicts_tuples_and_fields():
  names = list(trees.leaves_by_name(TREE))
  assert names == ["layer/first", "rest/0", "rest/1"]


def test_like_trees_have_no_differences():
  assert trees.differences(TREE, TREE) == []
  assert trees.differences(jax.eval_shape(lambda: TREE), TREE) == []


def test_every_difference_is_listed_by_name():
  actual = {
    "layer": Pair(np.ones((3, 2), np.float32), np.ones(1, np.float32)),
    "rest": [np.full(4, 2, np.int32)],
  }
  assert trees.differences(TREE, actual) == [
    "layer/first: expected float32[2,3], found float32[3,2]",
    "rest/0: expected float32[4], found int32[4]",
    "rest/1: missing",
    "layer/second: unexpected",
  ]
