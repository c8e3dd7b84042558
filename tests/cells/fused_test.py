"""The compiled fused recurrence: the contents of its loops."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.cells import fused, ops, scan

STEPS, BATCH, WIDTH, FEATURES = 50, 2, 3, 24


def compiled_text(cell):
  params, carry, xs = arguments(cell)

  def loss(params, carry, xs):
    last, hs = cell.sequence(params, carry, xs)
    return jnp.sum(jnp.square(hs)) + jnp.sum(last.h)

  gradient = jax.grad(loss, argnums=(0, 1, 2))
  return jax.jit(gradient).lower(params, carry, xs).compile().as_text()


def arguments(cell, steps=STEPS):
  return jax.eval_shape(
    lambda: (
      cell.init_params(jax.random.key(0), WIDTH, FEATURES),
      cell.initial_carry((BATCH,), FEATURES),
      jnp.zeros((steps, BATCH, WIDTH)),
    )
  )


def loop_bodies(text):
  """All lines of each while loop's body, with what the body calls, and that."""
  computations, name = {}, None
  for line in text.splitlines():
    header = re.match(r"(?:ENTRY )?%?([\w.\-]+) .*\{$", line)
    if header and not line.startswith(" "):
      name = header[1]
      computations[name] = []
    elif name is not None:
      computations[name].append(line)

  def with_callees(name):
    for line in computations[name]:
      yield line
      for callee in re.findall(r"(?:calls|to_apply)=%?([\w.\-]+)", line):
        yield from with_callees(callee)

  bodies = re.findall(r" while\(.*?body=%?([\w.\-]+)", text)
  return [list(with_callees(body)) for body in bodies]


def operations(lines):
  """Names of the operations: `%x = f32[2,3]{1,0} dot(%a, %b)` gives `dot`."""
  return [
    actual[1]
    for line in lines
    if (actual := re.search(r"= (?:\([^=]*\)|\S+) ([\w\-]+)\(", line))
  ]


@pytest.mark.parametrize("limit", [0, ops.TURNED_LIMIT])
@pytest.mark.parametrize("name", ["lstm", "gru", "elman"])
def test_each_loop_has_one_product_a_step_and_never_moves_the_kernel(
  name, limit, monkeypatch
):
  monkeypatch.setattr(ops, "TURNED_LIMIT", limit)
  bodies = loop_bodies(compiled_text(cells.get(name)))
  assert len(bodies) == 2  # one forward, one backward
  for lines in bodies:
    names = operations(lines)
    # The recurrent product; a library call would be named as one.
    assert names.count("dot") + names.count("custom-call") == 1
    # Nor is the kernel transposed, or copied, which may be the same: what the
    # backward product gives is turned instead, and that is small.
    width = len(cells.get(name).gates) * FEATURES
    for line in lines:
      if " copy(" in line or " transpose(" in line:
        assert f"[{FEATURES},{width}]" not in line
        assert f"[{width},{FEATURES}]" not in line


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("name", ["lstm", "gru", "elman", "layer_norm_lstm"])
def test_with_its_kernel_turned_a_cell_is_the_same(name, batch, monkeypatch):
  monkeypatch.setattr(ops, "TURNED_LIMIT", 0)
  cell = cells.get(name)
  random = np.random.default_rng(0)
  with jax.enable_x64(True):
    given = jax.tree.map(
      lambda leaf: jnp.asarray(random.normal(size=leaf.shape)),
      (
        jax.eval_shape(lambda: cell.init_params(jax.random.key(0), 3, 5)),
        cell.initial_carry((batch,), 5),
        jnp.zeros((7, batch, 3)),
      ),
    )
    reset = jnp.asarray(random.random((7, batch)) < 0.3)

    def gradients(run):
      def loss(*given):
        last, hs = run(*given, reset=reset)
        return jnp.sum(jnp.sin(hs)) + jnp.sum(jnp.cos(last.h)), hs

      grad = jax.value_and_grad(loss, argnums=(0, 1, 2), has_aux=True)
      return jax.tree.leaves(jax.jit(grad)(*given))

    # With a dtype given, few rows are turned, too.
    turned = functools.partial(cell.sequence, dtype=jnp.float64)
    oracle = functools.partial(scan.unroll, cell.step)
    for have, want in zip(gradients(turned), gradients(oracle), strict=True):
      np.testing.assert_allclose(have, want, rtol=1e-11, atol=1e-12)


def test_kernels_are_turned_where_a_loop_is_long_and_wide_enough():
  wide, narrow = np.zeros((1000, 4000), np.float32), np.zeros((128, 512))
  assert ops.pays_to_turn(wide, 110, 8, None)
  assert ops.pays_to_turn(wide, 50, 4, jnp.bfloat16)
  # The sampler's step, dynamic evaluation, and what fits a core's cache.
  assert not ops.pays_to_turn(wide, 1, 8, None)
  assert not ops.pays_to_turn(wide, 5000, 1, None)
  assert not ops.pays_to_turn(wide, 5000, 4, None)
  assert not ops.pays_to_turn(narrow, 100, 32, None)


def test_the_reader_of_compiled_text_sees_a_careless_loop():
  # What it must find: plain autodiff carries the kernel's gradient in the loop.
  def loss(kernel, xs):
    def body(h, x):
      return jnp.tanh(x + h @ kernel), None

    return jnp.sum(jax.lax.scan(body, xs[0], xs)[0])

  shapes = np.zeros((8, 8), np.float32), np.zeros((12, 2, 8), np.float32)
  text = jax.jit(jax.grad(loss)).lower(*shapes).compile().as_text()
  forward, backward = sorted(
    operations(lines).count("dot") for lines in loop_bodies(text)
  )
  assert (forward, backward) == (1, 2)


def test_without_a_gradient_nothing_but_the_output_is_kept():
  cell = cells.get("lstm")
  run = jax.jit(lambda *given: cell.sequence(*given)[1])
  compiled = run.lower(*arguments(cell, steps=1000)).compile()
  # The projected input, before and after its bias, in float32; no gates.
  net = 4 * 1000 * BATCH * 4 * FEATURES
  assert compiled.memory_analysis().temp_size_in_bytes < 2.1 * net


def test_gates_are_one_object_a_setting_so_that_nothing_compiles_twice():
  cell = cells.get("lstm")
  compiled = jax.jit(lambda *given: cell.sequence(*given, gradient_clip=1.0)[1])
  given = jax.tree.map(
    lambda leaf: np.ones(leaf.shape, leaf.dtype), arguments(cell)
  )
  compiled(*given)
  compiled(*given)
  assert compiled._cache_size() == 1


def test_sigmoid_is_the_logistic_function_at_both_ends():
  x = np.array([-1e4, -20.0, 0.0, 3.0, 1e4], np.float32)
  have = fused.sigmoid(jnp.asarray(x))
  np.testing.assert_allclose(have, jax.nn.sigmoid(x), atol=1e-7)
