"""Models at work: all libraries learn and draw alike, coders lose nothing."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import benchmark as page
from experiments.benchmark import case, model_cases, peers_jax, peers_torch
from seqmodels import errors

torch_wanted = pytest.mark.skipif(
  bool(peers_torch.missing()), reason=peers_torch.missing() or "torch is here"
)
SIZES = model_cases.Sizes(symbols=5, units=8, batch=2, length=6, segments=2)


def losses(entries, calls):
  """The losses of every entry without peepholes, over several calls."""
  return [
    np.concatenate([entry.run() for _ in range(calls)])
    for entry in entries
    if not entry.kind
  ]


@pytest.fixture(scope="module")
def drawn():
  """Samplers of a network whose next symbols are far from equally likely."""
  task = case.SamplingTask(length=2, batch=2_000, seed=5)
  sizes = SIZES._replace(symbols=3, units=4)
  network = model_cases.our_language_model(sizes, peepholes=False)
  params = jax.tree.map(lambda leaf: 3 * leaf, network.init(jax.random.key(1)))
  params["head"]["bias"] = jnp.array([1.5, 0.0, -1.0])
  samplers = {
    "ours": lambda: model_cases.our_sampler(network, params, task),
    "flax": lambda: peers_jax.flax_sampler(params, task),
    **{
      cell: lambda cell=cell: peers_torch.sampler(
        params, task, cell=cell, cast=False
      )
      for cell in peers_torch.SAMPLER_CELLS
    },
  }
  return network, params, samplers


@pytest.mark.parametrize(
  "library",
  ["ours", "flax"]
  + [
    pytest.param(cell, marks=torch_wanted) for cell in peers_torch.SAMPLER_CELLS
  ],
)
def test_a_sampler_draws_from_the_model_as_it_is(library, drawn):
  """First and second symbols come as often as they are likely."""
  network, params, samplers = drawn
  sampler = samplers[library]()
  ids = sampler.run()
  assert ids.shape == (2, 2_000)
  null = np.full(2_000, case.NULL, np.int32)
  read = np.stack([null, ids[0]])
  expected = network.apply(
    params, network.initial_carry(2_000), read, np.zeros(read.shape, bool)
  )[1]
  logits = sampler.logits(read)
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  chances = np.asarray(jax.nn.softmax(expected))
  assert abs(chances[0, 0] - 1 / 3).max() > 0.2
  for step in range(2):
    frequencies = np.bincount(ids[step], minlength=3) / 2_000
    # Five standard deviations of a count, at the most.
    wanted = chances[step].mean(0)
    np.testing.assert_allclose(frequencies, wanted, atol=0.056)


def test_a_coder_that_loses_bytes_is_not_timed(monkeypatch):
  config = page.get_config("smoke")
  config.compression.bytes = 40
  monkeypatch.setattr(model_cases, "compressed", lambda *given: [b""])
  monkeypatch.setattr(model_cases, "decompressed", lambda *given: b"")
  shared = case.Settings(0, (), ())
  with pytest.raises(errors.RunError, match="decompressed other bytes"):
    model_cases.compression_case(config, shared, "decompress")


@pytest.mark.parametrize(
  "peer", ["flax", pytest.param("torch", marks=torch_wanted)]
)
@pytest.mark.parametrize(
  "embedding", [pytest.param(0, marks=pytest.mark.slow), 3]
)
def test_a_peer_trains_to_the_same_losses(peer, embedding):
  shared = case.Settings(0, ("float32",), (peer,))
  model = model_cases.text_to_train(
    SIZES._replace(embedding=embedding), shared, ""
  )
  built = model_cases.training(shared, model, rate=0.05, clip_norm=1.0)
  ours, theirs = losses(built.entries, 15)
  np.testing.assert_allclose(theirs, ours, rtol=2e-5)
  assert ours[-1] < 0.8 * ours[0]  # it does learn, so updates are compared


@pytest.mark.slow
@torch_wanted
def test_torch_evaluates_dynamically_to_the_same_losses():
  shared = case.Settings(0, ("float32",), ("torch",))
  sizes = SIZES._replace(batch=1)
  built = model_cases.dynamic_case(shared, sizes, rate=0.02, momentum=0.9)
  ours, theirs = losses(built.entries, 40)
  np.testing.assert_allclose(theirs, ours, rtol=2e-5)
  assert ours[-1] < 0.8 * ours[0]


def test_flax_learns_handwriting_like_ours(small):
  """The same nats at every update, from the same weights."""
  config = small()
  config.ink.update(layers=2, units=5, points=7)
  shared = case.Settings(0, ("float32",), ("flax",))
  [(_, build)] = model_cases.handwriting_training(config, shared)
  entries = build().entries
  runs = {entry.name: [entry.run() for _ in range(3)] for entry in entries}
  ours, with_peepholes, flax = runs.values()
  np.testing.assert_allclose(ours, flax, rtol=2e-5)
  assert not np.allclose(ours, with_peepholes, rtol=1e-4)
  assert ours[2] < ours[0]


def test_random_text_is_one_stream_a_row():
  sizes = model_cases.Sizes(9, 1, batch=2, length=4, segments=3)
  text = model_cases.random_text(sizes, seed=0)
  for row in range(2):
    inputs, targets = (
      ids[:, :, row].ravel() for ids in (text.inputs, text.targets)
    )
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
  assert text.mask.all()
  assert not text.reset.any()
