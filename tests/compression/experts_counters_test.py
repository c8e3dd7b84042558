"""Bit counters, against a dictionary of counters in plain Python."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.compression import experts


class Reference:
  """The same arithmetic, one counter at a time."""

  def __init__(self, limit):
    self.limit, self.table = limit, {}

  def read(self, context, node):
    return self.table.get((context, node), (1 << 20, 0))

  def learn(self, context, byte):
    node = 1
    for depth in range(8):
      bit = (byte >> (7 - depth)) & 1
      p, n = self.read(context, node)
      goal = bit * ((1 << 21) - 1)
      step = np.float32(goal - p) / np.float32(np.float32(n) + np.float32(1.6))
      self.table[context, node] = (p + int(step), min(n + 1, self.limit))
      node = 2 * node + bit


def test_counters_are_those_of_the_reference():
  rng = np.random.default_rng(0)
  table, limit = (
    experts.empty_table(18),
    6,
  )  # Large: no two contexts share a row.
  reference = Reference(limit)
  learn = jax.jit(experts.learn_counters, static_argnums=3)
  for _ in range(60):
    # Different contexts in one step: equal rows in one step are for one writer.
    contexts = rng.permutation(5)[:2]
    symbols = rng.integers(0, 4, 2) * 37
    hashed = jnp.asarray(contexts[:, None] * 1_000_003 + 7, jnp.uint32)
    entries = experts.look_up(table, hashed)
    p, n = experts.read_counters(entries)
    for row, context in enumerate(contexts):
      for node in (1, 2, 3, 9, 37, 200, 255):
        expected, count = reference.read(context, node)
        assert float(p[row, 0, node - 1]) == expected / (1 << 21)
        assert int(n[row, 0, node - 1]) == count
    table = learn(table, entries, jnp.asarray(symbols, jnp.int32), limit)
    for context, symbol in zip(contexts, symbols, strict=True):
      reference.learn(context, int(symbol))


def test_a_row_taken_by_another_context_reads_as_fresh():
  table = experts.empty_table(0)  # One row: every context hashes to it.
  first = experts.look_up(table, jnp.uint32([[1]]))
  table = experts.learn_counters(table, first, jnp.array([255]), 255)
  _, n = experts.read_counters(experts.look_up(table, jnp.uint32([[2]])))
  assert int(jnp.sum(n)) == 0


def test_of_equal_places_the_last_one_writes():
  places = jnp.array([4, 2, 4, 4, 0])
  assert experts.once(places, 9).tolist() == [9, 2, 9, 4, 0]


@pytest.mark.parametrize("bit", [0, 255])
def test_a_counter_never_leaves_its_range(bit):
  table = experts.empty_table(6)
  context = jnp.uint32([[3]])

  @jax.jit
  def learn(table):
    entries = experts.look_up(table, context)
    return experts.learn_counters(table, entries, jnp.array([bit]), 1023)

  for _ in range(300):
    table = learn(table)
  p, n = experts.read_counters(experts.look_up(table, context))
  assert 0 <= float(jnp.min(p)) <= float(jnp.max(p)) <= 1
  assert int(jnp.max(n)) == 300
