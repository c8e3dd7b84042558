import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import trees
from seqmodels.cells import cell as cells
from seqmodels.layers import recurrent
from seqmodels.models import networks

# Every published network of the language experiments, and what it weighs:
# 4(IH + HH + H) + 3H a layer, (sum H) K + K for the head.
PUBLISHED = {
  "Penn Treebank characters": ((49, {"features": (1000,)}), 4_252_049),
  "Penn Treebank words": ((10_000, {"features": (1000,)}), 54_017_000),
  "Wikipedia, five layers, all skips": (
    (205, {"features": (700,) * 5}),
    21_252_205,
  ),
  "Wikipedia, seven layers, no input skips": (
    (205, {"features": (700,) * 7, "input_skips": False}),
    27_093_005,
  ),
  "Wikipedia, seven layers, all skips": (
    (205, {"features": (700,) * 7}),
    30_537_005,
  ),
  "Wikipedia, seven layers, no skips at all": (
    (
      205,
      {"features": (700,) * 7, "input_skips": False, "output_skips": False},
    ),
    26_232_005,
  ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_networks_have_their_weights(name):
  (symbols, settings), expected = PUBLISHED[name]
  options = recurrent.StackOptions(**settings)
  model = networks.LanguageModel(symbols, options).as_model()
  shapes = jax.eval_shape(model.init, jax.random.key(0))
  assert trees.count_parameters(shapes) == expected


def numpy_model(params, inputs, layers, input_skips, output_skips):
  """Equations (1) to (3) and (7) to (11), one symbol at a time, float64."""

  def sigma(x):
    return 1 / (1 + np.exp(-x))

  params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
  steps, batch = inputs.shape
  symbols = params["head"]["kernel"].shape[1]
  sizes = [
    params["stack"][f"layer_{n}"]["recurrent_kernel"].shape[0]
    for n in range(layers)
  ]
  c = [np.zeros((batch, size)) for size in sizes]
  h = [np.zeros((batch, size)) for size in sizes]
  logits = np.zeros((steps, batch, symbols))
  for t in range(steps):
    hot = np.zeros((batch, symbols))
    for b, symbol in enumerate(inputs[t]):
      if symbol >= 0:
        hot[b, symbol] = 1
    for n in range(layers):
      weights = params["stack"][f"layer_{n}"]
      feeds = ([hot] if n == 0 or input_skips else []) + (
        [h[n - 1]] if n else []
      )
      net = (
        np.concatenate(feeds, axis=1) @ weights["kernel"]
        + h[n] @ weights["recurrent_kernel"]
        + weights["bias"]
      )
      i, f, g, o = np.split(net, 4, axis=1)
      i = sigma(i + weights["peephole"][0] * c[n])
      f = sigma(f + weights["peephole"][1] * c[n])
      c[n] = f * c[n] + i * np.tanh(g)
      o = sigma(o + weights["peephole"][2] * c[n])
      h[n] = o * np.tanh(c[n])
    read = np.concatenate(h if output_skips else h[-1:], axis=1)
    logits[t] = read @ params["head"]["kernel"] + params["head"]["bias"]
  return logits


@pytest.mark.parametrize("input_skips", [True, False])
@pytest.mark.parametrize("output_skips", [True, False])
def test_the_network_is_the_papers(input_skips, output_skips):
  model = networks.LanguageModel(
    6,
    recurrent.StackOptions(
      features=(4, 3, 5), input_skips=input_skips, output_skips=output_skips
    ),
  ).as_model()
  params = model.init(jax.random.key(1))
  inputs = np.random.default_rng(0).integers(-1, 6, size=(7, 2))
  reset = jnp.zeros((7, 2), bool)
  _, logits = model.apply(params, model.initial_carry(2), inputs, reset)
  expected = numpy_model(params, inputs, 3, input_skips, output_skips)
  np.testing.assert_allclose(logits, expected, atol=2e-6)


def test_probabilities_of_all_strings_sum_to_one():
  # The one test that catches shifted targets and leaking states.
  symbols, steps = 3, 4
  model = networks.LanguageModel(
    symbols, recurrent.StackOptions(features=(5,))
  ).as_model()
  params = model.init(jax.random.key(0))
  strings = np.stack(
    np.meshgrid(*[np.arange(symbols)] * steps, indexing="ij"), -1
  ).reshape(-1, steps)
  inputs = np.concatenate(
    [-np.ones((len(strings), 1), int), strings[:, :-1]], 1
  )
  _, logits = model.apply(
    params,
    model.initial_carry(len(strings)),
    jnp.asarray(inputs.T),
    jnp.asarray(inputs.T < 0),
  )
  log_p = jax.nn.log_softmax(logits)
  picked = np.take_along_axis(np.asarray(log_p), strings.T[..., None], -1)
  total = np.exp(picked[..., 0].astype(np.float64).sum(0)).sum()
  assert total == pytest.approx(1.0, abs=1e-6)


def test_a_reset_forgets_what_came_before():
  model = networks.LanguageModel(
    4, recurrent.StackOptions(features=(3, 3))
  ).as_model()
  params = model.init(jax.random.key(0))
  inputs = jnp.array([[0], [1], [-1], [2]])
  reset = jnp.array([[True], [False], [True], [False]])
  _, whole = model.apply(params, model.initial_carry(1), inputs, reset)
  _, tail = model.apply(params, model.initial_carry(1), inputs[2:], reset[2:])
  np.testing.assert_allclose(whole[2:], tail, atol=1e-6)


@pytest.mark.parametrize("cell", ["gru", "elman", "elman_relu"])
def test_other_cells_take_the_lstms_place(cell):
  model = networks.LanguageModel(
    4, recurrent.StackOptions(features=(3, 2), cell=cells.get(cell))
  ).as_model()
  params = model.init(jax.random.key(0))
  inputs = jnp.zeros((5, 2), int)
  carry, logits = model.apply(
    params, model.initial_carry(2), inputs, inputs > 0
  )
  assert logits.shape == (5, 2, 4)
  assert jax.tree.structure(carry) == jax.tree.structure(model.initial_carry(2))


def test_bfloat16_products_keep_float32_results():
  def logits(dtype):
    model = networks.LanguageModel(
      4, recurrent.StackOptions(features=(8,), dtype=dtype)
    ).as_model()
    params = model.init(jax.random.key(0))
    ids = jnp.array([[0], [1], [2]])
    carry, actual = model.apply(params, model.initial_carry(1), ids, ids < 0)
    assert {leaf.dtype for leaf in jax.tree.leaves((carry, params))} == {
      jnp.dtype("float32")
    }
    return actual

  exact, rounded = logits(None), logits(jnp.bfloat16)
  assert rounded.dtype == jnp.float32
  np.testing.assert_allclose(rounded, exact, atol=2e-2)
  assert np.any(exact != rounded)
