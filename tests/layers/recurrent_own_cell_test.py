"""A user's own cell, which is in no table, inside the layers."""

from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.cells import scan
from seqmodels.layers import recurrent


class Params(NamedTuple):
  kernel: jax.Array
  decay: jax.Array


def init_params(key, in_features, features):
  kernel = jax.random.normal(key, (in_features, features))
  return Params(kernel, jnp.zeros(features))


def initial_carry(batch_shape, features):
  return jnp.zeros((*batch_shape, features))


def step(params, carry, x):
  """A leaky integrator."""
  x = jnp.concatenate(x, axis=-1) if isinstance(x, tuple) else x
  decay = jax.nn.sigmoid(params.decay)[None]
  carry = decay * carry + jnp.tanh(x @ params.kernel)
  return carry, carry


LEAKY = cells.Cell(init_params, initial_carry, step)


def descend(loss, params, steps=5):
  value_and_grad = jax.jit(jax.value_and_grad(loss))
  losses = []
  for _ in range(steps):
    value, gradient = value_and_grad(params)
    params = jax.tree.map(lambda p, g: p - 0.02 * g, params, gradient)
    losses.append(float(value))
  return losses, params


@pytest.mark.parametrize("chunk", [0, 3])
def test_it_trains_in_a_layer_as_in_the_reference_scan(chunk):
  xs = jax.random.normal(jax.random.key(0), (7, 2, 3))
  layer = recurrent.RecurrentLayer(
    features=4, cell=LEAKY, chunk=chunk, time_major=True
  )
  start = layer.init(jax.random.key(1), xs)["params"]

  def by_layer(params):
    return jnp.mean((layer.apply({"params": params}, xs) - 0.5) ** 2)

  def by_scan(params):
    carry = initial_carry((2,), 4)
    _, hs = scan.unroll(step, Params(**params), carry, xs)
    return jnp.mean((hs - 0.5) ** 2)

  losses, params = descend(by_layer, start)
  expected, same = descend(by_scan, start)
  assert losses[-1] < losses[0]
  np.testing.assert_allclose(losses, expected, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(same), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_it_trains_in_a_stack_as_in_the_reference_scan():
  xs = jax.random.normal(jax.random.key(0), (7, 2, 3))
  reset = jnp.zeros((7, 2), bool).at[3, 1].set(True)
  stack = recurrent.DeepRecurrent(
    recurrent.StackOptions(features=(4, 5), cell=LEAKY), in_features=3
  )
  carry = stack.initial_carry(2)
  start = stack.init(jax.random.key(1), carry, xs)["params"]

  def by_stack(params):
    _, outputs = stack.apply({"params": params}, carry, xs, reset)
    return sum(jnp.mean((hs - 0.5) ** 2) for hs in outputs)

  def by_scan(params):
    lower, upper = (Params(**params[f"layer_{index}"]) for index in range(2))
    _, first = scan.unroll(step, lower, carry[0], xs, reset=reset)
    _, second = scan.unroll(step, upper, carry[1], (xs, first), reset=reset)
    return sum(jnp.mean((hs - 0.5) ** 2) for hs in (first, second))

  losses, params = descend(by_stack, start)
  expected, same = descend(by_scan, start)
  assert losses[-1] < losses[0]
  np.testing.assert_allclose(losses, expected, rtol=1e-5)
  for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(same), strict=True):
    np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_it_steps_in_flax_rnn_as_in_the_reference_scan():
  xs = jax.random.normal(jax.random.key(0), (2, 7, 3))
  layer = nn.RNN(recurrent.RecurrentCell(4, LEAKY))
  variables = layer.init(jax.random.key(1), xs)
  params = Params(**variables["params"]["cell"])
  carry = initial_carry((2,), 4)
  _, hs = scan.unroll(step, params, carry, jnp.swapaxes(xs, 0, 1))
  np.testing.assert_allclose(
    layer.apply(variables, xs), jnp.swapaxes(hs, 0, 1), rtol=1e-5, atol=1e-6
  )
