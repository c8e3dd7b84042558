"""The page on recurrent networks: end to end, and every equality it claims."""

import itertools
import math
import re
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments import cli
from experiments.studies.common import gradient_reach, training
from experiments.studies.rnn_from_scratch import bidirectional, plain, textbook
from experiments.studies.rnn_from_scratch import study as page_lib
from seqmodels import errors
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import static
from seqmodels.sampling import text as sampling
from seqmodels.training import optimizers

# Networks that the smoke run tests for causality on its way.
SMOKED = ("RNN", "LSTM, two layers")


def config(**changes):
  name = "configs/fundamentals.py:rnn_from_scratch,smoke"
  page = cli.load(name).config
  page.settings.update(changes)
  return page


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  for row in results["rows"]:
    assert row["count"] > 0
    assert row["value"] > 0
  scored = [row for row in results["rows"] if row["metric"] == "perplexity"]
  # Three networks and counting; misused; blanks of two kinds, both ways.
  assert len(scored) == 4 + 1 + 2 * 2
  drawn = {path.stem for path in (folder / "figures").iterdir()}
  assert drawn == {"learning", "causality", "clipping", "right_context"}


def test_the_page_shows_the_code_that_ran(finished):
  text = (finished[1] / "report.md").read_text()
  assert "state = tanh(x @ w_xh + state @ w_hh + b_h)" in text
  assert "train_steps = step.make_train_steps(network, descent)" in text
  assert "| RNN | 32 | 2,876 |" in text
  assert "the network goes on with 'achine'" in " ".join(text.split())


def test_the_ten_lines_and_the_plain_loop_make_one_descent(finished):
  text = " ".join((finished[1] / "report.md").read_text().split())
  [far] = re.findall(r"no step's loss differs by more than (\S+) nats", text)
  assert float(far) < 1e-5


def test_the_pages_causal_networks_pass_both_tests(finished):
  text = (finished[1] / "report.md").read_text()
  rows = re.findall(
    r"^\| ([^|]+) \| (\S+) \| (\S+) \| (\d\.\d{6}) \|$", text, re.M
  )
  actual = {name: tuple(map(float, values)) for name, *values in rows}
  assert actual.keys() == {*SMOKED, bidirectional.BIDIRECTIONAL}
  for name in SMOKED:
    ahead, back, total = actual[name]
    assert ahead == 0
    assert back > 0
    assert total == pytest.approx(1, abs=1e-5)
  assert actual[bidirectional.BIDIRECTIONAL][0] > 0


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
def test_parameters_are_as_published(cell, features, count):
  gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
  expected, width = 0, page_lib.ALPHABET
  for h in features:
    expected, width = expected + gates * (width * h + h * h + h), h
  expected += width * page_lib.ALPHABET + page_lib.ALPHABET
  assert expected == count
  # The bias inside the candidate of the library's GRU.
  extra = sum(features) if cell == "gru" else 0
  assert page_lib.count_parameters(cell, features) == count + extra


@pytest.mark.parametrize("cell", training.CELLS.values())
def test_small_weights_make_the_first_loss_that_of_a_uniform_guess(cell):
  network = training.network(cell, 28, (32,))
  small = textbook.small(network, np.random.default_rng(0))
  text = batching.RandomWindows(np.arange(1_000) % 28, batch=4, length=10)
  score = static.evaluate(network, small, text.segments(0, 1), streams=4)
  assert score.nats_per_symbol == pytest.approx(math.log(28), abs=2e-3)


@pytest.mark.parametrize(
  "name",
  ["GRU", "RNN, two layers", bidirectional.BIDIRECTIONAL],
)
def test_causal_models_pass_both_tests_and_no_other_does(name):
  predictor = bidirectional.tested_network(name)
  params = training.drawn(predictor.init, np.random.default_rng(0), 0.5)
  reach = gradient_reach.between(
    predictor, params, np.array([0, 3, 1, 1, 2, 0] * 2)
  )
  total = bidirectional.total_probability(predictor, params, length=5)
  assert np.all(reach[np.tril_indices(12)] > 0)
  ahead = reach[np.triu_indices(12, 1)]
  if name == bidirectional.BIDIRECTIONAL:
    assert np.all(ahead > 0)
    assert abs(total - 1) > 0.01
  else:
    assert np.all(ahead == 0)  # exactly
    assert total == pytest.approx(1, abs=1e-5)


def test_two_layers_are_one_on_top_of_the_other():
  rows, steps, symbols, units = 3, 12, 7, 5
  network = training.network("elman", symbols, (units, units))
  random = np.random.default_rng(1)
  params = training.drawn(network.init, random, 0.5)
  ids = random.integers(symbols, size=(steps, rows)).astype(np.int32)
  never = np.zeros((steps, rows), bool)
  apply = jax.jit(network.apply)
  _, whole = apply(params, network.initial_carry(rows), ids, never)
  # All layers of a step, then the next step.
  carry, by_step = network.initial_carry(rows), []
  for symbol in ids:
    carry, logits = apply(params, carry, symbol[None], never[:1])
    by_step.append(logits[0])
  np.testing.assert_allclose(whole, jnp.stack(by_step), atol=1e-5)
  # The plain loop twice: the first time its outputs are its states.
  zero, below = np.zeros((rows, units)), np.eye(symbols)[ids]
  head = params["head"]["kernel"], params["head"]["bias"][None]
  for index, out in ((0, (np.eye(units), 0.0)), (1, head)):
    layer = params["stack"][f"layer_{index}"]
    below, _ = plain.plain_rnn(
      (
        layer["kernel"],
        layer["recurrent_kernel"],
        layer["bias"][None],
        *out,
      ),
      zero,
      below,
    )
  np.testing.assert_allclose(whole, below, atol=1e-5)


def _flat(tree):
  return np.concatenate([np.ravel(x) for x in jax.tree.leaves(tree)])


def _cosine(a, b):
  one, two = _flat(a).astype(float), _flat(b).astype(float)
  return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


def test_the_bound_on_a_gradients_norm_keeps_its_direction():
  random, rule = np.random.default_rng(0), page_lib.descent(1.0)
  gradient = {
    name: jnp.asarray(random.normal(size=shape, scale=1 + 3 * len(shape)))
    for name, shape in {"w_hh": (8, 8), "w_hq": (8, 5), "b": (8,)}.items()
  }

  def clipped(tree):
    updates, _ = rule.update(tree, rule.init(tree))
    return jax.tree.map(lambda leaf: -leaf, updates)

  assert np.linalg.norm(_flat(gradient)) > 10
  assert np.linalg.norm(_flat(clipped(gradient))) == pytest.approx(1, abs=1e-6)
  assert _cosine(gradient, clipped(gradient)) == pytest.approx(1, abs=1e-6)
  short = jax.tree.map(lambda leaf: 1e-3 * leaf, gradient)
  np.testing.assert_array_equal(_flat(clipped(short)), _flat(short))
  zero = jax.tree.map(jnp.zeros_like, gradient)
  assert np.all(_flat(clipped(zero)) == 0)
  # Matrix by matrix it would turn.
  alone = {name: clipped({name: leaf}) for name, leaf in gradient.items()}
  assert _cosine(gradient, alone) < 0.999


def test_reading_a_prefix_again_for_each_symbol_gives_the_same_text():
  network = training.network("elman", 6, (5,))
  params = training.drawn(network.init, np.random.default_rng(1), 3.0)
  prime, length = [3, 1, 4], 8
  drawn = sampling.sample(
    network, params, jax.random.key(0), length=length, prime=prime, greedy=True
  )[:, 0]
  apply, ids = jax.jit(network.apply), [-1, *prime]
  # What comes after a place cannot change the outputs before it.
  for _ in range(length):
    padded = np.array([*ids, *[0] * (length + 4 - len(ids))], np.int32)[:, None]
    _, logits = apply(
      params, network.initial_carry(1), padded, np.zeros(padded.shape, bool)
    )
    ids.append(int(jnp.argmax(logits[len(ids) - 1, 0])))
  assert ids[4:] == drawn.tolist()
  assert len(set(ids[4:])) > 2


def test_a_run_is_lost_where_it_does_not_come_back():
  far = 100.0
  assert page_lib.lost_at(np.array([3.0, 2.0]), 28) is None
  assert page_lib.lost_at(np.array([3.0, far, 2.0]), 28) is None
  assert page_lib.lost_at(np.array([3.0, far, 2.0, far, np.nan]), 28) == 4
  assert page_lib.lost_at(np.array([np.nan, np.inf]), 28) == 1


@pytest.fixture(scope="module")
def learned():
  return page_lib.learn_word(0)


def test_one_word_is_learned_and_said_again(learned):
  network, trained = learned
  rest = page_lib.rest_of_word(network, trained.params)
  assert page_lib.WORD[0] + rest == page_lib.WORD
  assert trained.nats[-1] < 0.05


def test_no_output_knows_a_letter_before_it_is_read(learned):
  network, trained = learned
  ids = page_lib.WORD_IDS[:-1]
  before = page_lib.outputs(network, trained.params, ids)
  for place in range(1, len(ids)):
    spoilt = ids.copy()
    spoilt[place] = (spoilt[place] + 1) % len(page_lib.LETTERS)
    after = page_lib.outputs(network, trained.params, spoilt)
    np.testing.assert_array_equal(after[:place], before[:place])
    assert np.all(np.abs(after[place:] - before[place:]).max(axis=1) > 0)


@pytest.mark.parametrize(
  ("name", "gate"), [("GRU, reset gate only", 1), ("GRU, update gate only", 0)]
)
def test_a_held_gate_stays_where_it_is_held(name, gate):
  """No gradient reaches it, so all it has keeps its first value."""
  network = training.network("gru", 6, (4,))
  begun = page_lib.with_held_gate(
    training.fresh(network, 0), *page_lib.NETWORKS[name].held
  )
  actual = training.train(
    network,
    batching.RandomWindows(np.arange(400) % 6, batch=4, length=5),
    # One object for both, and so one program.
    training.adam(config().settings, 20),
    steps=20,
    seed=0,
    params=begun,
  )
  before, after = (
    tree["stack"]["layer_0"] for tree in jax.device_get((begun, actual.params))
  )
  for leaf in ("kernel", "recurrent_kernel", "bias"):
    old, new = (
      layer[leaf].reshape(*layer[leaf].shape[:-1], 3, 4)
      for layer in (before, after)
    )
    np.testing.assert_array_equal(new[..., gate, :], old[..., gate, :])
    assert np.any(new[..., 1 - gate, :] != old[..., 1 - gate, :])
  value = jax.nn.sigmoid(before["bias"].reshape(3, 4)[gate])
  np.testing.assert_array_equal(value, 1 - gate)


def _doubled(count):
  """Pairs of equal symbols: the first of one is told by the second alone."""
  return np.repeat(np.random.default_rng(0).integers(5, size=count), 2)


def _blanks(length=8):
  text = batching.RandomWindows(
    _doubled(2_000), batch=16, length=length, seed=1
  )
  return bidirectional.Blanks(text, 0.25, 2)


def test_blanks_are_read_as_nothing_and_alone_are_scored():
  blanks = _blanks()
  actual, whole = blanks.segments(3, 20), blanks.text.segments(3, 20)
  np.testing.assert_array_equal(actual.targets, whole.targets)
  assert np.all((actual.inputs == -1) == actual.mask)
  assert np.all(actual.inputs[~actual.mask] == whole.targets[~actual.mask])
  assert actual.mask.mean() == pytest.approx(0.25, abs=0.03)


@pytest.fixture(scope="module")
def filler():
  """A reader of pairs, the network and its weights."""
  reader = bidirectional.Reader(5, (16,))
  network = bidirectional.as_predictor(reader)
  actual = training.train(
    network, _blanks(), optimizers.build("adam", learning_rate=0.02),
    steps=150, seed=0,
  )  # fmt: skip
  return reader, network, actual.params


def test_reading_both_ways_fills_blanks_better(filler):
  _, network, params = filler
  tests = bidirectional.Blanks(_blanks().text, 0.25, 7).segments(0, 10)
  actual = static.evaluate(network, params, tests, streams=16).nats_per_symbol
  # The best that can be, knowing where pairs begin: forwards, nothing of the
  # first of a pair, and the second unless the first is blank, too.
  forwards = (0.5 + 0.5 * 0.25) * math.log(5)
  assert 0.25 * math.log(5) < actual < 0.95 * forwards


def test_what_is_behind_the_reach_of_a_blank_is_not_read(filler):
  reader, _, params = filler
  texts = _doubled(200).reshape(-1, 8).T.copy()  # [T, B]
  logs = [bidirectional.at_blank(reader, params, texts, 4, k) for k in (0, 1)]
  np.testing.assert_allclose(np.exp(logs[0]).sum(axis=1), 1, rtol=1e-5)
  # The partner is the next one: seen, it tells all.
  truth = texts[4]
  right = [np.mean(actual.argmax(axis=1) == truth) for actual in logs]
  assert right[0] < 0.5
  assert right[1] > 0.9
  spoilt = texts.copy()
  spoilt[4] = (spoilt[4] + 1) % 5  # blank, so it may be anything
  spoilt[6:] = (spoilt[6:] + 1) % 5
  again = bidirectional.at_blank(reader, params, spoilt, 4, 1)
  np.testing.assert_array_equal(again, logs[1])


def test_the_best_filling_of_blanks_is_that_of_enumeration():
  """All states and all hidden symbols of short windows, summed up."""
  source, share, length = bidirectional.SOURCE, 0.4, 5
  random = np.random.default_rng(3)
  text = batching.RandomWindows(
    bidirectional.draw(random, 200), batch=4, length=length
  )
  segments = bidirectional.Blanks(text, share, 1).segments(0, 2)
  before, around, count = 0.0, 0.0, 0
  ways = list(itertools.product(range(2), repeat=length))
  for truth, blank in zip(
    segments.targets.transpose(0, 2, 1).reshape(-1, length),
    segments.mask.transpose(0, 2, 1).reshape(-1, length),
    strict=True,
  ):
    for place in np.flatnonzero(blank):
      for until in (place, length):
        shares = np.zeros(4)
        for states in ways:
          chance = source.initial[states[0]]
          for a, b in itertools.pairwise(states):
            chance *= source.transition[a, b]
          for t in range(until):
            if not blank[t]:
              chance *= source.emission[states[t], truth[t]]
          shares += chance * source.emission[states[place]]
        nats = -np.log(shares[truth[place]] / shares.sum())
        if until == place:
          before += nats
        else:
          around += nats
      count += 1
  assert count > 5
  actual = bidirectional.floor(segments, share)
  expected = (math.exp(before / count), math.exp(around / count))
  np.testing.assert_allclose(actual, expected, rtol=1e-9)


def test_a_text_is_gone_on_from_without_a_look_at_its_padding():
  reader = bidirectional.Reader(4, (3,))
  params = training.drawn(
    bidirectional.as_predictor(reader).init, np.random.default_rng(0), 0.5
  )
  actual = bidirectional.continued(reader, params, np.array([1, 2]), 2)
  ids = [-1, 1, 2]
  for symbol in actual:
    logits = reader.apply({"params": params}, jnp.array(ids)[:, None])
    assert symbol == int(jnp.argmax(logits[-1, 0]))
    ids.append(int(symbol))


def test_means_over_the_last_values():
  values = np.random.default_rng(0).normal(size=30)
  actual = page_lib.smooth(values, 0.2)
  for place in range(30):
    window = max(1, int(0.2 * (place + 1)))
    expected = values[place + 1 - window : place + 1].mean()
    assert actual[place] == pytest.approx(expected)


def _texts(tokens, **changes):
  return textbook.read(tokens, config(**changes).settings, seed=0)


def test_the_textbooks_windows_lie_apart():
  spelt = tokens_lib.load_tokens(
    source="embedded", tokenizer="characters", partition="standard"
  )
  texts = _texts(spelt, textbook_windows=(300, 100), textbook_batch=50)
  assert texts.symbols.symbols[:2] == ("<unk>", " ")
  train, valid = texts.train.tokens, texts.valid.tokens
  assert (len(train), len(valid)) == (332, 132)
  assert texts.train.segments_per_epoch == 6
  whole = "".join(texts.symbols.decode(np.concatenate([train, valid])))
  assert re.fullmatch(r"[^\W\d_A-Z ]+( [^\W\d_A-Z ]+)* ?", whole)


def test_a_text_too_short_for_the_textbooks_windows_is_named(run):
  with pytest.raises(errors.UserError, match="needs 15,064 letters and the"):
    run(config(textbook=("RNN",)))


def test_the_textbooks_network_learns_its_book(real_data):
  """It begins at a uniform guess and comes to letters by their frequency."""
  tokens = tokens_lib.load_tokens(
    source="timemachine",
    tokenizer="characters",
    partition="standard",
    data_dir=real_data,
  )
  texts = _texts(tokens)
  assert texts.symbols.size == 28
  study = types.SimpleNamespace(
    config=types.SimpleNamespace(seed=0),
    random=np.random.default_rng(0),
    signals=types.SimpleNamespace(check=lambda: None),
  )
  actual, scored = textbook.train(
    study, textbook.NETWORKS["RNN"], texts, epochs=2
  )
  assert actual.nats[0] == pytest.approx(math.log(28), abs=2e-3)
  assert scored.count == 4 * 1024 * 32
  assert 16 < math.exp(actual.nats[-1]) < 22
  assert 16 < scored.perplexity < 22
  assert np.all(actual.norms < 1)  # the bound of 1 does nothing here


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"prefix": "\u2603"}, "'\u2603' is not among the 10. characters"),
    ({"prefix": ""}, "config.settings.prefix is empty"),
    ({"steps": 0}, "config.settings.steps is 0; it must be at least 1"),
    ({"reader_features": -2}, "config.settings.reader_features is -2; it must"),
    ({"networks": ()}, "config.settings.networks is empty; choose of RNN, RNN"),
    ({"networks": ("GRUU",)}, "networks names 'GRUU'; choose of RNN, RNN"),
    ({"causal": ("RNN", "x")}, "config.settings.causal names 'x'; choose of"),
    ({"textbook": ("rnn",)}, "config.settings.textbook names 'rnn'; choose of"),
  ],
)
def test_a_bad_setting_is_named(changes, message, run):
  with pytest.raises(errors.UserError, match=message):
    run(config(**changes))
