import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.models import networks
from seqmodels.sampling import text

# The carry is the number of symbols read and their sum; logits show both.
COUNTING = networks.SequenceModel(
  apply=lambda params, carry, inputs, reset: (
    (carry[0] + inputs.shape[0], carry[1] + jnp.sum(inputs, axis=0)),
    jnp.stack(
      [
        carry[0][None] + jnp.cumsum(jnp.ones_like(inputs), axis=0),
        carry[1][None] + jnp.cumsum(inputs, axis=0),
        jnp.zeros_like(inputs),
      ],
      axis=-1,
    ).astype(jnp.float32),
  ),
  initial_carry=lambda batch: (
    jnp.zeros(batch, jnp.int32),
    jnp.zeros(batch, jnp.int32),
  ),
  init=lambda key: (),
  vocabulary_size=3,
)


def test_a_prime_is_read_after_the_null_vector_for_all_rows():
  prime = text.prime_ids([2, 1])
  (count, total), logits = text.read(COUNTING, (), prime, 4)
  assert count.tolist() == [3] * 4
  assert total.tolist() == [-1 + 2 + 1] * 4
  np.testing.assert_array_equal(logits, [[3, 2, 0]] * 4)


def test_feeding_goes_on_from_there():
  prime = text.prime_ids([])
  carry, _ = text.read(COUNTING, (), prime, 2)
  (count, total), logits = text.feed(COUNTING, (), carry, jnp.array([2, 0]))
  assert count.tolist() == [2, 2]
  assert total.tolist() == [1, -1]
  assert logits.dtype == jnp.float32
  np.testing.assert_array_equal(logits, [[2, 1, 0], [2, -1, 0]])


def test_reading_crosses_to_the_device_on_purpose_only():
  run = jax.jit(lambda ids: text.read(COUNTING, (), ids, 1)[1])
  with jax.transfer_guard("disallow"):
    assert run(text.prime_ids([1])).shape == (1, 3)


@pytest.mark.parametrize("ids", [[3], [0, -1]])
def test_unknown_ids_are_named(ids):
  with pytest.raises(errors.UserError, match=f"holds the id {ids[-1]}; the"):
    text.check_ids(COUNTING, "the prime", ids)
