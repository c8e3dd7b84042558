"""Dropout by step, by sequence and by symbol; DropConnect on weights."""

from typing import Any

import jax
import jax.numpy as jnp

from seqmodels import errors


def drop(
  xs: jax.Array, key: jax.Array, rate: float, *, variational: bool = True
) -> jax.Array:
  """Zeroes a share `rate` of the units and scales the rest to the same mean.

  Args:
    xs: [T, B, D].
    key: consumed.
    rate: in [0, 1); 0 gives `xs` back.
    variational: one mask a sequence, the same at all its steps (Gal and
      Ghahramani, 2016); otherwise one a step (Zaremba et al., 2014).

  Raises:
    UserError: the rate is outside [0, 1).

  >>> dropped = drop(jnp.ones((4, 2, 3)), jax.random.key(0), 0.5)
  >>> bool(jnp.all(dropped == dropped[:1]))
  True
  """
  check_rate(rate)
  if not rate:
    return xs
  shape = (1, *xs.shape[1:]) if variational else xs.shape
  return jnp.where(
    jax.random.bernoulli(key, 1.0 - rate, shape), xs / (1.0 - rate), 0.0
  )


def drop_symbols(ids: jax.Array, key: jax.Array, rate: float) -> jax.Array:
  """Turns a share `rate` of the positions into the null vector, id -1.

  Dropout of one-hot inputs: a vector with one number in it is there or is not.

  Args:
    ids: int [T, B].
    key: consumed.
    rate: in [0, 1).

  >>> drop_symbols(jnp.array([[3], [4]]), jax.random.key(0), 0.0).ravel()
  Array([3, 4], dtype=int32)
  """
  check_rate(rate)
  if not rate:
    return ids
  return jnp.where(jax.random.bernoulli(key, rate, ids.shape), -1, ids)


def drop_rows(table: jax.Array, key: jax.Array, rate: float) -> jax.Array:
  """Zeroes whole rows of an embedding, the other rows scaled up.

  A symbol that is dropped is missing wherever the sequences hold it.

  Args:
    table: [V, E].
    key: consumed.
    rate: in [0, 1).

  >>> drop_rows(jnp.ones((4, 1)), jax.random.key(1), 0.5).ravel()
  Array([2., 0., 2., 2.], dtype=float32)
  """
  check_rate(rate)
  if not rate:
    return table
  kept = jax.random.bernoulli(key, 1.0 - rate, (table.shape[0], 1))
  return jnp.where(kept, table / (1.0 - rate), 0.0)


def check_rate(rate: float) -> None:
  """Raises UserError for a rate outside [0, 1)."""
  if not 0.0 <= rate < 1.0:
    raise errors.UserError(
      f"a dropout rate is {rate}; it must be at least 0 and below 1, since at "
      "1 nothing would be left"
    )


Tree = Any


def drop_weights(
  params: Tree, key: jax.Array, rate: float, *, name: str = "recurrent_kernel"
) -> Tree:
  """Zeroes a share `rate` of the recurrent weights, the rest scaled up.

  One draw holds for whatever the weights are then used for, so all steps and
  all sequences of a minibatch see the same smaller network.

  Args:
    params: tree of weights.
    key: consumed.
    rate: in [0, 1); 0 gives `params` back.
    name: the leaves it is about, in whatever part of the tree they lie.

  Raises:
    UserError: the rate is outside [0, 1).

  >>> tree = {"layer": {"recurrent_kernel": jnp.ones((2, 2)), "bias": 1.0}}
  >>> dropped = drop_weights(tree, jax.random.key(0), 0.5)["layer"]
  >>> sorted(set(dropped["recurrent_kernel"].ravel().tolist()))
  [0.0, 2.0]
  """
  check_rate(rate)
  if not rate:
    return params
  flat, structure = jax.tree_util.tree_flatten_with_path(params)
  leaves = []
  for index, (path, leaf) in enumerate(flat):
    last = jax.tree_util.keystr(path[-1:], simple=True)
    if last == name:
      kept = jax.random.bernoulli(
        jax.random.fold_in(key, index), 1.0 - rate, leaf.shape
      )
      leaf = jnp.where(kept, leaf / (1.0 - rate), 0.0)
    leaves.append(leaf)
  return jax.tree.unflatten(structure, leaves)
