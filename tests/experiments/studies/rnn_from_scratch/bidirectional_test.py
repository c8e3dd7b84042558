import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.studies.rnn_from_scratch import bidirectional
from seqmodels.cells import cell as cells
from seqmodels.cells import scan

STEPS, BATCH, WIDTH = 5, 3, 4


@pytest.fixture(scope="module")
def xs():
  return jax.random.normal(jax.random.key(0), (STEPS, BATCH, WIDTH))


def stack(**settings):
  return bidirectional.Bidirectional(
    **{"features": (3,), "in_features": WIDTH, "cell": "gru", **settings}
  )


def weights(model, inputs):
  """Normal ones, biases too; nothing is compiled for them."""
  random = np.random.default_rng(1)
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.5 * random.normal(size=leaf.shape), jnp.float32),
    jax.eval_shape(model.init, jax.random.key(0), inputs),
  )


def half(cell, params, xs, *, reverse, lengths=None):
  """One direction of one layer, step by step."""
  pure = cells.get(cell)
  features = params["recurrent_kernel"].shape[0]
  kind = jax.eval_shape(
    lambda: pure.init_params(jax.random.key(0), xs.shape[-1], features)
  )
  held = type(kind)(**{**dict.fromkeys(kind._fields), **params})
  carry = pure.initial_carry((xs.shape[1],), features)
  return jax.jit(
    lambda *given: scan.unroll(
      pure.step, *given, reverse=reverse, lengths=lengths
    )[1]
  )(held, carry, xs)


@pytest.mark.parametrize(
  ("cell", "lengths"), [("elman", None), ("lstm", (5, 2, 1))]
)
def test_layers_feed_both_halves_up(cell, lengths, xs):
  lengths = None if lengths is None else jnp.array(lengths)
  model = stack(features=(3, 4), cell=cell)
  variables = weights(model, xs)
  outputs = jax.jit(model.apply)(variables, xs, lengths=lengths)
  below = xs
  for index in range(2):
    halves = [
      half(
        cell,
        variables["params"][f"{name}_{index}"],
        below,
        reverse=name == "backward",
        lengths=lengths,
      )
      for name in ("forward", "backward")
    ]
    below = jnp.concatenate(halves, axis=-1)
  assert outputs.shape == (STEPS, BATCH, 4 + 4)
  np.testing.assert_allclose(outputs, below, atol=1e-5)


def test_turned_round_with_its_halves_changed_it_gives_the_same(xs):
  model = stack()
  params = weights(model, xs)["params"]
  changed = {
    "forward_0": params["backward_0"],
    "backward_0": params["forward_0"],
  }
  apply = jax.jit(model.apply)
  outputs = apply({"params": params}, xs)
  turned = apply({"params": changed}, xs[::-1])
  swapped = jnp.concatenate([turned[..., 3:], turned[..., :3]], axis=-1)
  np.testing.assert_allclose(outputs, swapped[::-1], atol=1e-6)


def test_every_output_has_seen_every_input(xs):
  model = stack(cell="elman")
  variables = weights(model, xs)

  def outputs(xs):
    return model.apply(variables, xs).sum(-1)[:, 0]

  actual = np.asarray(jax.jit(jax.jacrev(outputs))(xs))
  assert np.all(np.abs(actual[:, :, 0]).max(-1) > 0)  # [output, input]
  assert np.all(actual[:, :, 1:] == 0)  # rows are strangers to each other


def test_padding_reaches_no_value_and_no_gradient(xs):
  model = stack(features=(3, 3), cell="elman")
  variables = weights(model, xs)
  lengths = jnp.array([5, 3, 1])
  valid = jnp.arange(STEPS)[:, None] < lengths[None]
  spoilt = jnp.where(valid[..., None], xs, jnp.nan)

  def loss(variables, xs):
    outputs = model.apply(variables, xs, lengths=lengths)
    return jnp.sum(jnp.sin(outputs)), outputs

  run = jax.jit(jax.value_and_grad(loss, argnums=(0, 1), has_aux=True))
  clean, actual = run(variables, xs), run(variables, spoilt)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), clean, actual
  )
  (_, outputs), _ = actual
  assert np.all(outputs[~np.asarray(valid)] == 0)
  # A row by itself, of its own length, gives what it gave beside the others.
  alone = jax.jit(model.apply)(variables, xs[:3, 1:2])
  np.testing.assert_allclose(outputs[:3, 1:2], alone, atol=1e-6)


def test_ids_are_one_hot_vectors():
  model = stack()
  ids = jnp.array([[0, 3], [2, -1], [1, 1]])
  variables = weights(model, ids)
  apply = jax.jit(model.apply)
  outputs = apply(variables, ids)
  expected = apply(variables, jax.nn.one_hot(ids, WIDTH))
  np.testing.assert_allclose(outputs, expected, atol=1e-6)
