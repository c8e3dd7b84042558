"""Resets, lengths and direction against a loop over rows in plain Python."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import scan

STEPS, BATCH = 5, 5
LENGTHS = np.array([0, 1, 3, 5, 5])


def leaky(decay, carry, x):
  """A cell whose every step and order can be told from its sums."""
  after = {"h": decay * carry["h"] + x, "steps": carry["steps"] + 1.0}
  return after, 10.0 * after["h"] + carry["h"]


def by_hand(carry, xs, reset, lengths, reverse, reset_carry):
  hs, counts = carry["h"].copy(), carry["steps"].copy()
  ys = np.zeros_like(xs)
  for row in range(BATCH):
    order = range(lengths[row])
    for t in reversed(order) if reverse else order:
      if reset[t, row]:
        hs[row], counts[row] = reset_carry["h"][row], reset_carry["steps"][row]
      before = hs[row].copy()
      hs[row] = 0.5 * before + xs[t, row]
      counts[row] += 1
      ys[t, row] = 10 * hs[row] + before
  return {"h": hs, "steps": counts}, ys


@pytest.mark.parametrize("reverse", [False, True])
def test_each_row_is_run_as_if_alone(reverse):
  random = np.random.default_rng(0)
  xs = random.normal(size=(STEPS, BATCH, 2)).astype(np.float32)
  reset = random.uniform(size=(STEPS, BATCH)) < 0.4
  carry, reset_carry = (
    {
      "h": random.normal(size=(BATCH, 2)).astype(np.float32),
      "steps": random.normal(size=(BATCH, 1)).astype(np.float32),
    }
    for _ in range(2)
  )
  # Resets in the padding too, which must not touch the carry.
  assert (reset & (np.arange(STEPS)[:, None] >= LENGTHS[None])).any()
  want = by_hand(carry, xs, reset, LENGTHS, reverse, reset_carry)
  have = scan.unroll(
    leaky,
    0.5,
    carry,
    xs,
    reset=jnp.asarray(reset),
    lengths=jnp.asarray(LENGTHS),
    reverse=reverse,
    reset_carry=reset_carry,
  )
  for name, leaf in want[0].items():
    np.testing.assert_allclose(have[0][name], leaf, rtol=1e-6)
  np.testing.assert_allclose(have[1], want[1], rtol=1e-6)


def test_a_reset_clears_to_zero_unless_told_otherwise():
  carry = {"h": jnp.ones((1, 1)), "steps": jnp.ones((1, 1))}
  reset = jnp.array([[True]])
  after, _ = scan.unroll(leaky, 0.5, carry, jnp.ones((1, 1, 1)), reset=reset)
  assert (float(after["h"][0, 0]), float(after["steps"][0, 0])) == (1.0, 1.0)


def test_one_reset_carry_serves_all_rows():
  carry = {"h": jnp.zeros((2, 1)), "steps": jnp.zeros((2, 1))}
  after, _ = scan.unroll(
    leaky,
    0.5,
    carry,
    jnp.zeros((1, 2, 1)),
    reset=jnp.array([[True, False]]),
    reset_carry={"h": jnp.array([8.0]), "steps": jnp.array([3.0])},
  )
  np.testing.assert_array_equal(after["h"], [[4.0], [0.0]])
  np.testing.assert_array_equal(after["steps"], [[4.0], [1.0]])


def test_padding_is_blanked_in_each_of_several_inputs():
  dense = jnp.full((3, 2, 1), jnp.nan)
  ids = jnp.full((3, 2), 7)
  blank = scan.blank_padding((dense, ids), jnp.array([0, 2]))
  np.testing.assert_array_equal(np.isnan(blank[0][..., 0]), blank[1] == 7)
  np.testing.assert_array_equal(blank[1], [[0, 7], [0, 7], [0, 0]])
