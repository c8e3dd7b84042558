"""Networks over some bytes as networks over all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.compression import network as network_lib
from seqmodels.layers import recurrent
from seqmodels.models import networks


def network(size):
  return networks.LanguageModel(
    size, recurrent.StackOptions(features=(5,))
  ).as_model()


def test_known_bytes_keep_their_probabilities_and_the_rest_share_a_little():
  inner = network(3)
  outer = network_lib.over_bytes(inner, [97, 32, 200])
  params = inner.init(jax.random.key(0))
  ids = jnp.array([[0], [2], [1]])
  text = jnp.array([[97], [200], [32]])
  _, logits = inner.apply(params, inner.initial_carry(1), ids, ids < 0)
  _, over = outer.apply(params, outer.initial_carry(1), text, text < 0)
  p = np.asarray(jax.nn.softmax(over))
  np.testing.assert_allclose(p.sum(-1), 1.0, rtol=1e-5)
  np.testing.assert_allclose(
    p[..., [97, 32, 200]], 0.9999 * jax.nn.softmax(logits), rtol=1e-4
  )
  assert p.min() == pytest.approx(1e-4 / 253, rel=1e-3)


def test_an_unknown_byte_is_a_null_vector():
  inner = network(2)
  outer = network_lib.over_bytes(inner, [1, 2])
  params = inner.init(jax.random.key(0))
  carry, strange = inner.initial_carry(1), jnp.array([[99]])
  one, _ = outer.apply(params, carry, strange, strange < 0)
  other, _ = inner.apply(params, carry, jnp.array([[-1]]), strange < 0)
  jax.tree.map(np.testing.assert_array_equal, one, other)


@pytest.mark.parametrize(
  "symbols", [["a", "b"], [1, 1], [1, 300], [1], ["<unk>", 3]], ids=str
)
def test_symbols_that_are_no_bytes_are_refused(symbols):
  with pytest.raises(errors.UserError, match="not bytes"):
    network_lib.over_bytes(network(2), symbols)
