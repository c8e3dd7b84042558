"""The programs of a run lower for a CPU, a GPU and a TPU alike.

None of them is needed for it: `jax.export` refuses an operation that one of the
platforms lacks, a host callback, and a custom call whose meaning may change.
What this cannot show is that a platform's own compiler takes the result, and
how fast it is there.
"""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.data.handwriting import batching
from seqmodels.data.text import batching as batching_lib
from seqmodels.evaluation import dynamic
from seqmodels.layers.recurrent import StackOptions
from seqmodels.models import networks
from seqmodels.sampling import handwriting as pen_sampling
from seqmodels.sampling import text as text_sampling
from seqmodels.training import optimizers, step

PLATFORMS = ("cpu", "cuda", "tpu")
K, T, B, U, V = 2, 3, 2, 4, 5
DTYPES = {"float32": None, "bfloat16": jnp.bfloat16}

MODELS = {
  # Skip connections, peepholes, bounded derivatives: the paper's.
  "characters": lambda dtype: networks.LanguageModel(
    V, StackOptions((4, 4), gradient_clip=1.0, dtype=dtype)
  ),
  "words": lambda dtype: networks.LanguageModel(
    # Above the size up to which a lookup's gradient is a product.
    600,
    StackOptions((4, 3), chunk=2, dtype=dtype),
    embedding=4,
    tied=True,
  ),
  "prediction": lambda dtype: networks.Handwriting(
    StackOptions((4, 4), gradient_clip=10.0, dtype=dtype), components=2
  ),
  "synthesis": lambda dtype: networks.Handwriting(
    StackOptions((4, 4), gradient_clip=10.0, dtype=dtype),
    symbols=V,
    window=2,
    components=2,
  ),
}


def network(name, dtype):
  return MODELS[name](DTYPES[dtype]).as_model()


def array(*shape, dtype=jnp.float32):
  return jax.ShapeDtypeStruct(shape, dtype)


KEY = jax.eval_shape(lambda: jax.random.key(0))


def weights(model):
  return jax.eval_shape(model.init, KEY)


def segments(*leading):
  """Of symbols: [*leading, T, B]."""
  ids, marks = (array(*leading, T, B, dtype=d) for d in (jnp.int32, bool))
  return batching_lib.Segment(ids, ids, marks, marks)


def pen(*leading):
  points, marks = array(*leading, T, B, 3), array(*leading, T, B, dtype=bool)
  text = array(*leading, U, B, dtype=jnp.int32)
  return batching.PenSegment(points, points, marks, text, marks)


def lowered(function, *shapes):
  """The module for all platforms, as text."""
  made = jax.export.export(jax.jit(function), platforms=PLATFORMS)(*shapes)
  assert made.platforms == PLATFORMS
  assert made.nr_devices == 1
  return made.mlir_module()


def require_operands(module, dtype):
  """Some products take bfloat16 where that was asked for, else none."""
  products = [x for x in module.splitlines() if "stablehlo.dot_general" in x]
  assert products
  assert any("bf16" in x for x in products) == (dtype == "bfloat16")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", MODELS)
def test_a_training_step_lowers_for_every_platform(name, dtype):
  model = network(name, dtype)
  ink = name in ("prediction", "synthesis")
  optimizer = optimizers.build("adam", learning_rate=0.1, clip_norm=1.0)
  start = jax.eval_shape(lambda: step.create(model, optimizer, batch=B, seed=0))
  steps = step.make_train_steps(model, optimizer)
  module = lowered(steps, start, (pen if ink else segments)(K))
  require_operands(module, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rule", dynamic.RULES)
def test_dynamic_evaluation_lowers_for_every_platform(rule, dtype):
  model = network("characters", dtype)
  params = weights(model)

  def advance(params, statistics, carry, chunk):
    made = dynamic.make_rule(rule, params, statistics=statistics)
    before = dynamic.State(params, made.init(params), carry)
    return dynamic.advance(model, made, before, chunk)

  carry = jax.eval_shape(lambda: model.initial_carry(B))
  module = lowered(advance, params, params, carry, segments(K))
  require_operands(module, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_text_sampling_lowers_for_every_platform(dtype):
  model = network("words", dtype)

  def draw(params, key, read, temperature, sentence_end):
    return text_sampling._scan(
      model, params, key, read, temperature, sentence_end, T, B, None
    )

  whole = array(dtype=jnp.int32)
  module = lowered(
    draw, weights(model), KEY, array(U, dtype=jnp.int32), array(), whole
  )
  require_operands(module, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["prediction", "synthesis"])
def test_handwriting_sampling_lowers_for_every_platform(name, dtype):
  model = network(name, dtype)

  def draw(params, key, text, forced, bias):
    begun = pen_sampling._begin(model, params, text, forced)
    start = np.int32(0)
    return pen_sampling._draw(model, params, key, text, bias, begun, start)

  text, forced = array(U, B, dtype=jnp.int32), array(3, 3)
  module = lowered(draw, weights(model), KEY, text, forced, array(B))
  require_operands(module, dtype)


def test_a_host_callback_would_be_refused():
  def called(x):
    return jax.pure_callback(np.sin, x, x)

  with pytest.raises(NotImplementedError, match="callback"):
    lowered(called, array(2))
