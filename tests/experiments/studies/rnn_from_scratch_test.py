"""The page on recurrent networks: end to end, and every equality it claims."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from experiments import command_line
from experiments.studies import (
  both_directions,
  causality,
  character_training,
  clipping,
  gate_limits,
  plain_networks,
  rnn_equations,
  rnn_sizes,
  seeing_ahead,
  warm_up,
)
from seqmodels import errors
from seqmodels.data import windows
from seqmodels.evaluation import static
from seqmodels.models import language_model
from seqmodels.training import optimizers


def config(**changes):
  name = "configs/fundamentals.py:rnn_from_scratch,smoke"
  page = command_line.load(name).config
  page.settings.update(changes)
  return page


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """One smoke run for all tests of its page."""
  folder = tmp_path_factory.mktemp("rnn_from_scratch")
  return experiments.run(config(), folder / "run", folder), folder / "run"


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  for row in results["rows"]:
    assert row["count"] > 0
    assert row["value"] > 0
  scored = [row for row in results["rows"] if row["metric"] == "perplexity"]
  assert len(scored) == 5 + 1 + 2
  drawn = {path.stem for path in (folder / "figures").iterdir()}
  assert drawn == {"learning", "causality", "clipping"}


def test_the_page_shows_the_code_that_ran(finished):
  text = (finished[1] / "report.md").read_text()
  assert "state = tanh(x @ w_xh + state @ w_hh + b_h)" in text
  assert "train_steps = step.make_train_steps(network, descent)" in text
  assert "| RNN | 32 | 2,876 | 2,876 | 2,876 |" in text
  assert "goes on from 'm' with 'achine'" in text


@pytest.mark.parametrize("cell", rnn_equations.CELLS.values())
def test_plain_arrays_are_the_library_in_values_and_gradients(cell):
  for seed in range(2):
    outputs, state, gradients = rnn_equations.agreement(cell, seed)
    assert outputs < 1e-5
    assert state < 1e-5
    assert gradients < 1e-5


def test_a_sequence_may_be_read_in_parts_and_without_recurrence_is_rows():
  halves, perceptron, shapes = rnn_equations.network_facts(0)
  assert halves < 1e-5
  assert perceptron < 1e-5
  assert shapes.startswith("100 inputs of shape (2, 16) give outputs of shape")
  assert "(100, 2, 16) and a state of shape (2, 32)" in shapes


def test_rows_of_a_batch_do_not_meet():
  random = np.random.default_rng(0)
  params = plain_networks.init_rnn(random, 3, 4, 3, deviation=1.0)
  xs = random.normal(size=(6, 5, 3)).astype(np.float32)
  order = np.array([3, 0, 4, 1, 2])
  zero = np.zeros((5, 4), np.float32)
  outputs, _ = plain_networks.rnn(params, zero, xs)
  turned, _ = plain_networks.rnn(params, zero, xs[:, order])
  np.testing.assert_allclose(turned, outputs[:, order], atol=1e-6)


@pytest.mark.parametrize("sizes", [(3, 1, 4), (2, 5, 3), (1, 1, 1)])
def test_one_product_of_joined_matrices_is_two(sizes):
  random = np.random.default_rng(0)
  values, gradients = plain_networks.joined(random, *sizes)
  assert values < 1e-12
  assert gradients < 1e-12


def test_gates_at_their_ends_make_simpler_cells():
  facts = gate_limits.facts(0)
  assert len(facts) == 6
  for setting, claim, far in facts:
    assert far < 1e-6, (setting, claim)


def test_the_two_grus_agree_where_nothing_is_reset():
  usual, open_gate = rnn_equations.reset_placement(0)
  assert usual > 1e-3
  assert open_gate < 1e-6


def test_rows_looked_up_are_the_product_with_one_hot_vectors():
  values, gradients = rnn_equations.row_choice(0)
  assert values == 0
  assert gradients < 1e-5


@pytest.mark.parametrize(
  ("cell", "features", "count"),
  [
    ("elman", (32,), 2_876),
    ("elman", (256,), 80_156),
    ("elman", (512,), 291_356),
    ("gru", (32,), 6_780),
    ("gru", (256,), 226_076),
    ("lstm", (32,), 8_732),
    ("lstm", (256,), 299_036),
    ("elman", (32, 32), 4_956),
    ("gru", (32, 32), 13_020),
    ("lstm", (32, 32), 17_052),
  ],
)
def test_parameters_are_as_published_and_constant_in_time(
  cell, features, count
):
  assert rnn_sizes.by_formula(cell, features) == count
  extra = sum(features) if cell == "gru" else 0
  for steps in (1, 7, 1000):
    assert rnn_sizes.parameters(cell, features, steps) == count + extra


@pytest.mark.parametrize("cell", rnn_equations.CELLS.values())
def test_small_weights_make_the_first_loss_that_of_a_uniform_guess(cell):
  network = language_model.as_predictor(
    rnn_equations.model(cell, 28, features=(32,))
  )
  small = rnn_sizes.small(network, np.random.default_rng(0))
  text = windows.RandomWindows(np.arange(1_000) % 28, batch=4, length=10)
  nats = rnn_sizes.mean_nats(network, small, text.segment(0))
  assert nats == pytest.approx(math.log(28), abs=2e-3)


@pytest.mark.parametrize("name", seeing_ahead.contestants())
def test_causal_models_pass_both_tests_and_no_other_does(name):
  predictor = seeing_ahead.contestants()[name]
  params = character_training.drawn(predictor, np.random.default_rng(0), 0.5)
  reach = causality.reach(predictor, params, np.array([0, 3, 1, 1, 2, 0] * 2))
  total = causality.total_probability(predictor, params, length=5)
  assert np.all(reach[np.tril_indices(12)] > 0)
  ahead = reach[np.triu_indices(12, 1)]
  if name.startswith("bidirectional"):
    assert np.all(ahead > 0)
    assert abs(total - 1) > 0.01
  else:
    assert np.all(ahead == 0)  # exactly
    assert total == pytest.approx(1, abs=1e-5)


def test_the_bound_on_a_gradients_norm_keeps_its_direction():
  facts = clipping.clip_facts(np.random.default_rng(0))
  before, after = facts["the norm is at most 1"].split(" before, ")
  assert float(before) > 10
  assert after == "1.000000 after"
  assert facts["the direction is kept"] == "cosine 1.000000"
  assert facts["a short gradient is left alone"].endswith("change 0")
  assert facts["a gradient of 0 stays 0"] == "largest entry 0"
  turned = facts["matrix by matrix is something else"].removeprefix("cosine ")
  assert float(turned) < 0.999


def test_a_run_is_lost_where_it_does_not_come_back():
  far = 100.0
  assert clipping.lost_at(np.array([3.0, 2.0]), 28) is None
  assert clipping.lost_at(np.array([3.0, far, 2.0]), 28) is None
  assert clipping.lost_at(np.array([3.0, far, 2.0, far, np.nan]), 28) == 4
  assert clipping.lost_at(np.array([np.nan, np.inf]), 28) == 1


def test_one_word_is_learned_and_said_again():
  word, found, nats = warm_up.one_word(0)
  assert word[0] + found == word
  assert nats < 0.05


def _doubled(count):
  """Pairs of equal symbols: the first of one is told by the second alone."""
  return np.repeat(np.random.default_rng(0).integers(5, size=count), 2)


def _blanks(length=8):
  text = windows.RandomWindows(_doubled(2_000), batch=16, length=length, seed=1)
  return both_directions.Blanks(text, 0.25, 2)


def test_blanks_are_read_as_nothing_and_alone_are_scored():
  blanks = _blanks()
  found, whole = blanks.segments(3, 20), blanks.text.segments(3, 20)
  np.testing.assert_array_equal(found.targets, whole.targets)
  assert np.all((found.inputs == -1) == found.mask)
  assert np.all(found.inputs[~found.mask] == whole.targets[~found.mask])
  assert found.mask.mean() == pytest.approx(0.25, abs=0.03)


def test_reading_both_ways_fills_blanks_better():
  forward = language_model.as_predictor(
    rnn_equations.model("gru", 5, features=(16,))
  )
  both = both_directions.as_predictor(both_directions.Reader(5, (16,)))
  tests = both_directions.Blanks(_blanks().text, 0.25, 7).segments(0, 10)
  scores = []
  for network in (forward, both):
    found = character_training.train(
      network, _blanks(), optimizers.build("adam", learning_rate=0.02),
      steps=150, seed=0,
    )  # fmt: skip
    scored = static.evaluate(network, found.params, tests, streams=16)
    scores.append(scored.nats_per_symbol)
  # With the partner to be seen it is sure, and some partners are blank, too.
  assert scores[1] < 0.75 * scores[0]


def test_a_text_is_gone_on_from_without_a_look_at_its_padding():
  reader = both_directions.Reader(4, (3,))
  params = reader.init(jax.random.key(0), jnp.zeros((1, 1), jnp.int32))
  params = params["params"]
  found = both_directions.continued(reader, params, np.array([1, 2]), 4)
  ids = [-1, 1, 2]
  for symbol in found:
    logits = reader.apply({"params": params}, jnp.array(ids)[:, None])
    assert symbol == int(jnp.argmax(logits[-1, 0]))
    ids.append(int(symbol))


def test_means_over_the_last_values():
  values = np.random.default_rng(0).normal(size=30)
  found = character_training.smooth(values, 0.2)
  for place in range(30):
    window = max(1, int(0.2 * (place + 1)))
    expected = values[place + 1 - window : place + 1].mean()
    assert found[place] == pytest.approx(expected)


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"prefix": "\u2603"}, "'\u2603' is not among the 10. characters"),
    ({"prefix": ""}, "config.settings.prefix is empty"),
  ],
)
def test_a_bad_prefix_is_named(changes, message, run):
  with pytest.raises(errors.UserError, match=message):
    run(config(**changes))
