"""Layers and stacks: all libraries compute what plain scans compute."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark as page
from experiments.benchmark import case, layer_cases, peers_jax, peers_torch
from seqmodels.cells import lstm, scan

torch_wanted = pytest.mark.skipif(
  bool(peers_torch.missing()), reason=peers_torch.missing() or "torch is here"
)


@pytest.fixture(scope="module")
def task():
  return case.layer_task(5, 3, 4, seed=7)


def plain_scans(task):
  """The plain scan over the cell's step, and JAX's own derivatives."""
  batch, features = task.xs.shape[1:]

  def run(params, xs):
    carry = lstm.initial_carry((batch,), features)
    for layer in params:
      _, xs = scan.unroll(lstm.step, layer, carry, xs)
    return xs

  outputs, pull = jax.vjp(run, task.params, task.xs)
  return case.Answer(outputs, *pull(task.cotangent))


@pytest.fixture(scope="module")
def expected(task):
  return plain_scans(task)


def assert_same(actual, expected, tolerance):
  assert len(jax.tree.leaves(actual)) == len(jax.tree.leaves(expected))
  for name in case.Answer._fields:
    pair = getattr(actual, name), getattr(expected, name)
    shapes = [[leaf.shape for leaf in jax.tree.leaves(tree)] for tree in pair]
    assert shapes[0] == shapes[1], name
    assert case.distance(*pair) <= tolerance, name
    for one, other in zip(*map(jax.tree.leaves, pair), strict=True):
      assert case.distance(one, other) <= tolerance, name


LAYERS = {"ours": layer_cases.ours, **layer_cases.JAX_LAYERS}


@pytest.mark.parametrize(
  ("library", "options", "tolerance"),
  [
    *((library, {}, 1e-6) for library in LAYERS),
    *((library, {"dtype": jnp.bfloat16}, 2e-2) for library in LAYERS),
    ("ours", {"chunk": 2}, 1e-6),
    ("flax", {"chunk": 2}, 1e-6),
  ],
)
def test_a_layer_gives_the_outputs_and_gradients_of_a_plain_scan(
  library, options, tolerance, task, expected
):
  layer = LAYERS[library](task, **options)
  assert_same(layer.answer(), expected, tolerance)
  forward = np.asarray(layer.forward(), np.float32)
  assert case.distance(forward, expected.outputs) <= tolerance
  assert layer.temporary() > 0


@torch_wanted
@pytest.mark.parametrize(
  ("mode", "tolerance"), [("", 1e-6), ("autocast", 2e-2), ("cast", 2e-2)]
)
def test_torch_gives_the_outputs_and_gradients_of_a_plain_scan(
  mode, tolerance, task, expected
):
  if mode not in peers_torch.modes("bfloat16" if mode else "float32"):
    pytest.skip("PyTorch has no such LSTM on this processor")
  layer = peers_torch.layers(task, mode=mode)
  assert_same(layer.answer(), expected, tolerance)
  outputs = layer.forward()
  assert not outputs.requires_grad
  assert str(outputs.dtype) == ("torch.bfloat16" if mode else "torch.float32")
  forward = outputs.float().numpy()
  assert case.distance(forward, expected.outputs) <= tolerance
  assert_same(layer.answer(), expected, tolerance)


@pytest.mark.parametrize(
  "build",
  [
    layer_cases.our_stack,
    peers_jax.flax_layers,
    pytest.param(peers_torch.layers, marks=torch_wanted),
  ],
  ids=["ours", "flax", "torch"],
)
def test_a_stack_gives_the_outputs_and_gradients_of_plain_scans(build):
  task = case.layer_task(3, 2, 4, 2, seed=3)
  stack = build(task)
  assert_same(stack.answer(), plain_scans(task), 1e-6)
  assert build is peers_torch.layers or stack.temporary() > 0


def test_cudnn_is_given_its_weights_and_inputs_in_its_layout(
  task, expected, monkeypatch
):
  """`lstm_ref` is JAX's own account of what cuDNN's LSTM computes."""
  cudnn = peers_jax.cudnn

  def reference(xs, h, c, weights, lengths, **options):
    assert options.pop("dropout") == 0.0
    sizes = [
      options[name]
      for name in ("input_size", "hidden_size", "num_layers", "bidirectional")
    ]
    parts = cudnn.unpack_lstm_weights(weights, *sizes)
    return cudnn.lstm_ref(xs, h, c, *parts, lengths, dropout=0.0, **options)

  monkeypatch.setattr(cudnn, "lstm", reference)
  assert_same(peers_jax.cudnn_layer(task).answer(), expected, 1e-6)


def test_cudnn_is_called_as_its_function_wants_it(task, monkeypatch):
  """Traced on any machine; only its size of scratch memory needs a GPU."""
  scratch = types.SimpleNamespace(
    compute_rnn_workspace_reserve_space_sizes=lambda *sizes: (0, 1)
  )
  monkeypatch.setattr(peers_jax.cudnn, "gpu_rnn", scratch)
  weights = peers_jax.cudnn_weights(task.params[0])
  xs = task.xs.swapaxes(0, 1)

  def both(weights, xs):
    outputs, pull = jax.vjp(peers_jax.cudnn_outputs, weights, xs)
    return outputs, pull(outputs)

  outputs, (d_weights, d_xs) = jax.eval_shape(both, weights, xs)
  assert (outputs.shape, d_xs.shape) == (xs.shape, xs.shape)
  assert d_weights.shape == weights.shape


def test_cudnn_is_left_out_without_a_gpu():
  assert peers_jax.cudnn_missing() == "cuDNN needs a GPU, and JAX runs on cpu"


def test_one_size_grows_at_a_time_and_the_base_is_on_every_axis():
  config = page.get_config()
  axes = layer_cases.stack_shapes(config)
  base = layer_cases.Shape(50, 16, 512, 1)
  for field, shapes in axes.items():
    assert base in shapes
    sizes = [getattr(shape, field) for shape in shapes]
    assert sizes == sorted(set(sizes))
    assert {shape._replace(**{field: 0}) for shape in shapes} == {
      base._replace(**{field: 0})
    }
  assert [shape.batch for shape in axes["batch"]] == [1, 4, 16, 64, 256]
  assert axes["features"][-1].features == 2048
  assert axes["layers"][-1].layers == 7
  planned = layer_cases.scaling(config, case.Settings(0, (), ()))
  keys = [key for key, _ in planned]
  assert len(keys) == len(set(keys)) == 17
