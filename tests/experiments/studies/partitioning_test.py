"""The study of readers: adjacency, coverage, equal budgets."""

import jax
import numpy as np
import pytest

from experiments import cli
from experiments.studies.partitioning import readers
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.data.text import batching
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.training import regularizers


def settings(**changes):
  config = cli.load("configs/fundamentals.py:partitioning,smoke").config
  config.settings.update(changes)
  return config


def test_the_smoke_run_leaves_a_page_with_figures(run, tmp_path):
  rows = run(settings())["rows"]
  assert [row["metric"] for row in rows] == ["bits_per_character"] * 4
  assert all(0 < row["value"] < 10 for row in rows)
  page = (tmp_path / "run" / "report.md").read_text()
  assert f"| {readers.SEQUENTIAL} | 4 | 1.000 | carried |" in page
  assert f"| {readers.RANDOM} | 3 | " in page
  assert "## Whole sentences" in page
  figures = {path.stem for path in (tmp_path / "run/figures").iterdir()}
  assert figures == {"coverage", "learning", "positions"}


@pytest.mark.parametrize("name", readers.READERS)
@pytest.mark.parametrize("seed", range(4))
def test_only_sequential_minibatches_continue_each_other(name, seed):
  """On 0, 1, ..., 34: X[b + 1][i, 0] is X[b][i, -1] + 1, and Y is X + 1."""
  reader = readers.READERS[name](np.arange(35), batch=2, length=5, seed=seed)
  epoch = reader.segments(0, reader.segments_per_epoch)
  scored = epoch.mask & (epoch.inputs >= 0)
  assert np.all(epoch.targets[scored] == epoch.inputs[scored] + 1)
  step = (epoch.targets[1:, 0] - epoch.targets[:-1, -1])[epoch.mask[1:, 0]]
  carried = ~epoch.reset[1:, 0].all()
  if "sequential" in name:
    assert np.all(step % 35 == 1)  # the text is rotated, so 34 comes before 0
    assert carried == (name == readers.SEQUENTIAL)
  else:
    assert not np.all(step == 1)
    assert epoch.reset[:, 0].all()


def test_a_padded_minibatch_is_its_lines_one_by_one(tmp_path):
  """The mean over real positions, and its gradient."""
  network = networks.LanguageModel(
    5, recurrent.StackOptions(features=(4,), cell=cells.get("elman"))
  ).as_model()
  params = jax.jit(network.init)(jax.random.key(0))
  text = np.array([1, 2, 3, 0, 4, 0, 2, 2, 1, 4, 3, 0])
  batch = batching.Sentences(text, batch=3, end=0).segment(0)
  assert batch.mask.sum(axis=0).tolist() != [6, 6, 6]

  @jax.jit
  def gradient(segment):
    carry = network.initial_carry(segment.mask.shape[1])
    return regularizers.Objective(
      network, carry, segment, jax.random.key(0)
    ).gradient(params)

  whole, (_, metrics) = gradient(batch)
  nats, parts = 0.0, []
  for row, length in enumerate(batch.mask.sum(axis=0)):
    alone = jax.tree.map(lambda x, r=row, n=length: x[:n, r : r + 1], batch)
    part, (_, one) = gradient(alone)
    nats += float(one.nats)
    parts.append(part)
  total = jax.tree.map(lambda *leaves: sum(leaves), *parts)
  for ours, theirs in zip(
    jax.tree.leaves(whole), jax.tree.leaves(total), strict=True
  ):
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
  real, every = readers.scores(network, params, batch)
  assert int(metrics.count) == len(text)
  assert real == pytest.approx(nats / len(text) / np.log(2), rel=1e-5)
  assert every != pytest.approx(real, rel=1e-3)


def test_lines_of_like_length_need_less_padding():
  lengths = np.random.default_rng(0).integers(1, 30, 64)
  shares = [readers.padding(order, 8) for order in (lengths, np.sort(lengths))]
  assert shares[1] < shares[0]
  assert readers.padding(np.full(9, 4), 3) == 0


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"steps": 5}, "steps is 5 and dispatch is 2"),
    ({"positions": 5_000}, "positions is 5000"),
    ({"positions": 16}, "positions is 16 and length is 16"),
    ({"batch": 300}, "random sampling of 300 windows of 16"),
  ],
)
def test_bad_settings_are_named(run, tmp_path, changes, message):
  with pytest.raises(errors.UserError, match=message):
    run(settings(**changes))
  assert not (tmp_path / "run" / "results.json").exists()
