"""DropConnect on recurrent weights (Merity et al., 2018)."""

from typing import Any

import jax
import jax.numpy as jnp

from seqmodels.regularization import dropout

Tree = Any


def drop(
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
  >>> dropped = drop(tree, jax.random.key(0), 0.5)["layer"]
  >>> sorted(set(dropped["recurrent_kernel"].ravel().tolist()))
  [0.0, 2.0]
  """
  dropout.check_rate(rate)
  if not rate:
    return params
  found, structure = jax.tree_util.tree_flatten_with_path(params)
  leaves = []
  for index, (path, leaf) in enumerate(found):
    last = jax.tree_util.keystr(path[-1:], simple=True)
    if last == name:
      kept = jax.random.bernoulli(
        jax.random.fold_in(key, index), 1.0 - rate, leaf.shape
      )
      leaf = jnp.where(kept, leaf / (1.0 - rate), 0.0)
    leaves.append(leaf)
  return jax.tree.unflatten(structure, leaves)
