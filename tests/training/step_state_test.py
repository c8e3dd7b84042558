import jax
import jax.numpy as jnp
import numpy as np

from seqmodels.training import step


def test_equal_seeds_give_equal_bits(network, optimizer, same_bits):
  one = step.create(network, optimizer, batch=2, seed=3)
  two = step.create(network, optimizer, batch=2, seed=3)
  same_bits(one, two)


def test_other_seeds_give_other_weights(network, optimizer):
  one = step.create(network, optimizer, batch=2, seed=3)
  two = step.create(network, optimizer, batch=2, seed=4)
  differ = [
    bool(jnp.any(a != b))
    for a, b in zip(
      jax.tree.leaves(one.params), jax.tree.leaves(two.params), strict=True
    )
  ]
  assert any(differ)


def test_it_starts_at_step_zero_with_an_empty_carry(fresh):
  start = fresh(batch=3)
  assert int(start.step) == 0
  for leaf in jax.tree.leaves(start.carry):
    assert leaf.shape[0] == 3
    assert not np.any(leaf)


def test_the_key_is_of_a_named_generator(fresh):
  assert str(jax.random.key_impl(fresh().key)) == "threefry2x32"
