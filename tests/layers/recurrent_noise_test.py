"""Embedding, tied softmax and what training drops of the language model."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors, trees
from seqmodels.cells import cell as cells
from seqmodels.cells import lstm, scan, zoneout
from seqmodels.evaluation import dynamic, static
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.sampling import text

NOISE = recurrent.Noise(
  embedding=0.3, input=0.3, hidden=0.3, output=0.3, drop_connect=0.3
)
IDS = jnp.array(np.random.default_rng(0).integers(-1, 7, (6, 3)))
CALM = jnp.zeros(IDS.shape, bool)
KEYS = jax.random.split(jax.random.key(4), 2)


def make(vocabulary_size=7, **settings):
  settings = {"features": (5, 5), **settings}
  others = {
    name: settings.pop(name)
    for name in ("embedding", "tied")
    if name in settings
  }
  options = recurrent.StackOptions(**settings)
  return networks.LanguageModel(vocabulary_size, options, **others).as_model()


def scores(network, params, key=None):
  carry = network.initial_carry(IDS.shape[1])
  return network.apply(params, carry, IDS, CALM, key=key)[1]


@pytest.mark.parametrize("shape", [{}, {"embedding": 4}, {"embedding": 5}])
def test_training_drops_and_evaluation_does_not(shape):
  noisy, calm = make(noise=NOISE, **shape), make(**shape)
  params = noisy.init(jax.random.key(0))
  one, other = (scores(noisy, params, key) for key in KEYS)
  assert not bool(jnp.all(one == other))
  np.testing.assert_array_equal(one, scores(noisy, params, KEYS[0]))
  # Evaluation takes no key, and is that of a network without noise.
  np.testing.assert_array_equal(scores(noisy, params), scores(calm, params))


def test_rate_zero_is_none():
  network = make(noise=recurrent.Noise())
  params = network.init(jax.random.key(0))
  assert not network.noisy
  one, other = (scores(network, params, key) for key in KEYS)
  np.testing.assert_array_equal(one, other)
  np.testing.assert_array_equal(one, scores(network, params))


@pytest.mark.parametrize(
  "field", [name for name in recurrent.Noise._fields if name[0] != "v"]
)
@pytest.mark.parametrize("width", [0, 4])
def test_every_rate_does_something_of_its_own(field, width):
  network = make(noise=recurrent.Noise(**{field: 0.5}), embedding=width)
  params = network.init(jax.random.key(0))
  assert not bool(
    jnp.all(scores(network, params, KEYS[0]) == scores(network, params))
  )


def test_dropped_units_average_out():
  """With one linear map above, the mean over masks is the score without."""
  network = make(features=(5,), noise=recurrent.Noise(output=0.5))
  params = network.init(jax.random.key(0))
  keys = jax.random.split(jax.random.key(1), 4_000)
  mean = jnp.mean(jax.vmap(lambda key: scores(network, params, key))(keys), 0)
  np.testing.assert_allclose(mean, scores(network, params), atol=0.03)


def zoned(rates=(0.5, 0.2), **settings):
  rates = {"zoneout_cell": rates[0], "zoneout_state": rates[1]}
  return make(noise=recurrent.Noise(**rates), **settings)


def test_evaluation_takes_the_expectation_of_zoneout():
  """Step by step over the layers, with the rates in place of masks."""
  network = zoned(output_skips=False, input_skips=False)
  params = network.init(jax.random.key(0))
  step = zoneout.stepwise(lstm.step)
  kept = zoneout.Rates(0.5, 0.2).expected(len(IDS))
  xs = jax.nn.one_hot(IDS, 7)
  for name in ("layer_0", "layer_1"):
    weights = lstm.LSTMParams(**params["stack"][name])
    carry = lstm.initial_carry((3,), 5)
    xs = scan.unroll(step, weights, carry, (xs, kept))[1]
  head = params["head"]
  expected = xs @ head["kernel"] + head["bias"][None, None]
  np.testing.assert_allclose(scores(network, params), expected, atol=1e-6)
  # Symbol by symbol, as a sampler reads, too.
  carry, logits = network.initial_carry(3), []
  for ids in IDS:
    carry, now = network.apply(params, carry, ids[None], ids[None] > 9)
    logits.append(now[0])
  np.testing.assert_allclose(jnp.stack(logits), expected, atol=1e-6)


def test_zoneout_is_drawn_for_every_layer_step_stream_and_unit():
  network = zoned((0.5, 0.5), features=(40, 40), output_skips=True)
  params = network.init(jax.random.key(0))
  # A layer cannot lose what it computes again, so its memory shows.
  carry = jax.tree.map(lambda x: x + 7.0, network.initial_carry(3))
  after, _ = network.apply(params, carry, IDS[:1], CALM[:1], key=KEYS[0])
  masks = [np.asarray(leaf == 7.0) for leaf in jax.tree.leaves(after)]
  assert len(masks) == 4
  for mask in masks:
    assert 0.3 < mask.mean() < 0.7
    assert not (mask == mask[:1]).all()
  for one, other in itertools.combinations(masks, 2):
    assert 0.3 < (one == other).mean() < 0.7


def test_only_training_draws_what_is_kept():
  def refusing(params, carry, *inputs, key=None):
    if key is not None:
      raise AssertionError("noise outside of training")
    return network.apply(params, carry, *inputs)

  network = zoned()
  params = network.init(jax.random.key(0))
  calm = network._replace(apply=refusing)
  segments = (IDS[None], IDS[None] % 7, IDS[None] >= 0, CALM[None])
  rule = dynamic.make_rule("sgd", params, {"learning_rate": 0.1})
  static.evaluate(calm, params, segments, streams=3)
  dynamic.evaluate(calm, params, segments, rule, streams=3)
  text.sample(calm, params, KEYS[0], length=3)
  with pytest.raises(AssertionError, match="outside of training"):
    scores(calm, params, KEYS[0])


@pytest.mark.slow
def test_zoneout_is_the_same_where_steps_are_recomputed():
  params = zoned().init(jax.random.key(0))

  def gradient(chunk):
    network = zoned(chunk=chunk)
    return jax.grad(
      lambda params: jnp.sum(jnp.square(scores(network, params, KEYS[0])))
    )(params)

  pairs = zip(*map(jax.tree.leaves, (gradient(0), gradient(4))), strict=True)
  for whole, recomputed in pairs:
    np.testing.assert_allclose(recomputed, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("cell", ["gru", "elman", "mogrifier_lstm"])
def test_zoneout_of_a_cell_without_it_is_refused(cell):
  sentence = f"the {cell} cell has no zoneout; use lstm or layer_norm_lstm"
  with pytest.raises(errors.UserError, match=sentence):
    zoned(cell=cells.get(cell))


def test_a_tied_softmax_is_the_embedding_read_backwards():
  network = make(features=(5,), embedding=5, tied=True)
  params = network.init(jax.random.key(0))
  assert sorted(params["head"]) == ["bias"]
  params["head"]["bias"] = jnp.arange(7.0)
  table = np.asarray(params["embedding"]["table"], np.float64)
  untied = make(features=(5,), embedding=5)
  same = {**params, "head": {"kernel": table.T, "bias": jnp.arange(7.0)}}
  np.testing.assert_allclose(
    scores(network, params), scores(untied, same), rtol=1e-5, atol=1e-6
  )


def test_both_uses_of_tied_weights_are_learned_from():
  network = make(features=(5,), embedding=5, tied=True)
  params = network.init(jax.random.key(0))
  one = jax.grad(lambda p: jnp.sum(scores(network, p)[..., 0]))(params)
  rows = np.abs(np.asarray(one["embedding"]["table"])).sum(axis=1)
  assert (rows[1:] > 0).any()  # as inputs
  assert rows[0] > 0  # as the output that was asked for


# V E + sum of the layers + K: with a projection where widths differ.
@pytest.mark.parametrize(
  ("settings", "expected"),
  [
    (
      {"embedding": 650, "tied": True, "output_skips": False},
      6_500_000 + 2 * (4 * 650 * 1301 + 3 * 650) + 10_000,
    ),
    (
      {"embedding": 400, "tied": True, "output_skips": False},
      4_000_000
      + (4 * 650 * (400 + 651) + 1950)
      + (4 * 650 * 1301 + 1950)
      + 650 * 400
      + 10_000,
    ),
    (
      {"embedding": 650, "tied": False, "output_skips": False},
      6_500_000 + 2 * (4 * 650 * 1301 + 3 * 650) + 650 * 10_000 + 10_000,
    ),
  ],
)
def test_parameters_are_those_of_the_formula(settings, expected):
  network = make(
    vocabulary_size=10_000,
    features=(650, 650),
    input_skips=False,
    **settings,
  )
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  assert trees.count_parameters(shapes) == expected


def test_the_null_vector_has_no_embedding():
  network = make(embedding=4)
  params = network.init(jax.random.key(0))
  loud = jax.tree.map(lambda leaf: leaf, params)
  loud["embedding"]["table"] = params["embedding"]["table"] * 100.0
  ids, carry = jnp.full((1, 1), -1), network.initial_carry(1)
  np.testing.assert_array_equal(
    *(network.apply(p, carry, ids, ids > 0)[1] for p in (params, loud))
  )


def test_a_tied_softmax_without_an_embedding_is_refused():
  with pytest.raises(errors.UserError, match="tied softmax"):
    make(tied=True)


@pytest.mark.parametrize("rate", [1.0, -0.5])
def test_a_rate_that_leaves_nothing_is_refused(rate):
  with pytest.raises(errors.UserError, match="below 1"):
    make(noise=recurrent.Noise(hidden=rate))
  with pytest.raises(errors.UserError, match="below 1"):
    zoned((rate, 0.0))
