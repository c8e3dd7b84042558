"""Shapes, what each head may see, and the equalities between them."""

import jax
import numpy as np
import pytest

from experiments.studies.autoregressive import shapes
from seqmodels.cells import cell as cells
from seqmodels.layers import recurrent

SYMBOLS, STEPS, BATCH = 5, 4, 3


def core(symbols=SYMBOLS, cell="elman", layers=(4,)):
  return recurrent.DeepRecurrent(
    recurrent.StackOptions(features=layers, cell=cells.get(cell)),
    in_features=symbols,
  )


def ids(*shape, seed=0):
  return np.random.default_rng(seed).integers(SYMBOLS, size=shape)


def begun(model, *inputs):
  """`logits(*inputs)` with random weights of some size."""
  random = np.random.default_rng(1)
  variables = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(leaf.dtype),
    jax.eval_shape(model.init, jax.random.key(0), *inputs),
  )
  return (lambda *inputs: of(model, variables, *inputs)), variables


def of(model, variables, *inputs):
  return np.asarray(jax.jit(model.apply)(variables, *inputs))


VECTOR = np.random.default_rng(5).normal(size=(BATCH, 2)).astype(np.float32)
SHAPES = {
  "aligned": (shapes.PerStep(core(), 7), ids(STEPS, BATCH)),
  "fixed input": (
    shapes.FromVector(core(), 7),
    VECTOR,
    shapes.shifted(ids(STEPS, BATCH)),
  ),
  "unaligned": (
    shapes.EncoderDecoder(core(), core(), 7),
    ids(6, BATCH, seed=2),
    shapes.shifted(ids(STEPS, BATCH)),
  ),
}


@pytest.fixture(scope="module", params=SHAPES)
def case(request):
  model, *inputs = SHAPES[request.param]
  return begun(model, *inputs)[0], inputs


def test_every_step_has_logits_that_see_nothing_later(case):
  logits, inputs = case
  whole = logits(*inputs)
  assert whole.shape == (STEPS, BATCH, 7)
  changed = inputs[-1].copy()
  changed[2] = (changed[2] + 1) % SYMBOLS
  other = logits(*inputs[:-1], changed)
  np.testing.assert_allclose(whole[:2], other[:2], atol=1e-6)
  assert np.abs(whole - other).max(axis=(1, 2))[2:].min() > 1e-3


def test_rows_do_not_mix(case):
  logits, inputs = case
  # Vectors are [B, D], ids [T, B].
  turned = [np.flip(x, int(x.dtype != np.float32)) for x in inputs]
  np.testing.assert_allclose(
    logits(*turned), logits(*inputs)[:, ::-1], atol=1e-6
  )


@pytest.mark.parametrize("name", ["fixed input", "unaligned"])
def test_what_is_given_is_heard_at_every_step(name):
  model, given, written = SHAPES[name]
  logits, _ = begun(model, given, written)
  if given.dtype == np.float32:
    other = given + 1
  else:
    other = np.concatenate([given[:-1], (given[-1:] + 1) % SYMBOLS])
  difference = np.abs(logits(given, written) - logits(other, written))
  assert difference.max(axis=(1, 2)).min() > 1e-4


def test_one_label_is_that_of_the_last_step():
  whole = ids(STEPS, BATCH)
  logits, variables = begun(shapes.LastState(core(), 7), whole)
  every = of(shapes.PerStep(core(), 7), variables, whole)
  np.testing.assert_allclose(logits(whole), every[-1:], atol=1e-6)


@pytest.mark.parametrize(
  ("cell", "layers"), [("elman", (4, 3)), ("lstm", (4,))]
)
def test_a_decoder_goes_on_where_the_encoder_stopped(cell, layers):
  """With equal weights both are one core over one long sequence."""
  source, written = ids(6, BATCH), ids(STEPS, BATCH, seed=3)
  model = shapes.EncoderDecoder(
    core(cell=cell, layers=layers), core(cell=cell, layers=layers), 7
  )
  _, variables = begun(model, source, written)
  params = variables["params"]
  tied = {"params": {**params, "decoder": params["encoder"]}}
  single = {"params": {"core": params["encoder"], "head": params["head"]}}
  long = of(
    shapes.PerStep(core(cell=cell, layers=layers), 7),
    single,
    np.concatenate([source, written]),
  )
  np.testing.assert_allclose(
    of(model, tied, source, written), long[6:], atol=1e-5
  )


def test_a_vector_of_zeros_with_no_bias_begins_with_the_empty_state():
  written = shapes.shifted(ids(STEPS, BATCH))
  model = shapes.FromVector(core(), 7)
  nothing = np.zeros((BATCH, 2), np.float32)
  logits, variables = begun(model, nothing, written)
  params = variables["params"]
  params["first_0"]["bias"][:] = 0
  same = {"params": {name: params[name] for name in ("core", "head")}}
  plain = of(shapes.PerStep(core(), 7), same, written)
  np.testing.assert_allclose(logits(nothing, written), plain, atol=1e-6)


def test_greedy_writing_is_the_likeliest_symbol_each_time():
  """By a loop that makes each sequence longer by one."""
  source = ids(6, BATCH, seed=2)
  model = shapes.EncoderDecoder(core(), core(), SYMBOLS)
  written = shapes.shifted(ids(2, BATCH))
  logits, _ = begun(model, source, written)
  examples = shapes.Examples(source.T, ids(2, BATCH).T)
  task = shapes.Task("", examples, model, writes=True)
  actual = task.answers(logits, examples)
  slow = np.full((1, BATCH), -1)
  for _ in range(2):
    last = np.argmax(logits(source, slow)[-1], axis=-1)
    slow = np.concatenate([slow, last[None]])
  np.testing.assert_array_equal(actual, slow[1:])
