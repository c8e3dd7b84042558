import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.layers import embedding, recurrent


@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize("skips", [True, False])
def test_skips_widen_the_layers_above_and_what_the_head_reads(dense, skips):
  stack = recurrent.DeepRecurrent(
    recurrent.StackOptions(
      features=(3, 4), input_skips=skips, output_skips=skips
    ),
    in_features=6,
  )
  inputs = jnp.zeros((5, 2, 6)) if dense else jnp.zeros((5, 2), int)
  carry = stack.initial_carry(2)
  variables = stack.init(jax.random.key(0), carry, inputs)
  kernel = variables["params"]["layer_1"]["kernel"]
  assert kernel.shape == (6 + 3 if skips else 3, 16)
  _, outputs = stack.apply(variables, carry, inputs)
  assert [h.shape[-1] for h in outputs] == ([3, 4] if skips else [4])


def test_one_hot_and_dense_inputs_agree():
  stack = recurrent.DeepRecurrent(
    recurrent.StackOptions(features=(3, 4)), in_features=6
  )
  ids = jnp.array([[0, 5], [2, -1], [1, 1]])
  carry = stack.initial_carry(2)
  variables = stack.init(jax.random.key(0), carry, ids)
  hot = jax.nn.one_hot(ids, 6)
  after, outputs = stack.apply(variables, carry, ids)
  same, expected = stack.apply(variables, carry, hot)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6),
    (after, outputs),
    (same, expected),
  )


def test_the_head_is_one_product_of_all_layers():
  head = embedding.Head(features=3)
  layers = (jnp.ones((2, 4)), 2 * jnp.ones((2, 5)))
  variables = head.init(jax.random.key(0), layers)
  params = variables["params"]
  assert params["kernel"].shape == (9, 3)
  expected = np.concatenate(layers, axis=-1) @ np.asarray(params["kernel"])
  np.testing.assert_allclose(head.apply(variables, layers), expected, rtol=1e-6)
