"""Text from a network, whatever way its symbols are chosen."""

import itertools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import text_sampling as page
from experiments import restore
from experiments.language_model import sample
from seqmodels import errors
from seqmodels.data.text import vocabulary
from seqmodels.models import networks
from seqmodels.sampling import text

SYMBOLS = vocabulary.Vocabulary(("a", "b", "c", "\n"))
END = 3
# Of the symbol before; the last row is of the null vector.
SHARES = np.array(
  [
    [0.1, 0.4, 0.3, 0.2],
    [0.5, 0.1, 0.1, 0.3],
    [0.05, 0.05, 0.8, 0.1],
    [0.97, 0.01, 0.01, 0.01],
    [0.4, 0.3, 0.2, 0.1],
  ]
)
BIGRAM = networks.SequenceModel(
  apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  initial_carry=lambda batch: (),
  init=lambda key: jnp.log(jnp.asarray(SHARES, jnp.float32)),
  vocabulary_size=4,
)


def written(seed=0, length=30, sentences=False, prime="ab", **decoding):
  """A text and the number of its new symbols."""
  return sample.sampled_text(
    BIGRAM,
    BIGRAM.init(None),
    SYMBOLS,
    vocabulary.named("characters"),
    prime=prime,
    length=length,
    decoding=sample.Decoding(**decoding),
    seed=seed,
    sentences=sentences,
  )


def test_a_temperature_that_float32_lacks_is_greedy():
  greedy = written(temperature=0.0)
  for decoding in ({}, {"top_k": 3}, {"nucleus": 0.9}):
    assert written(temperature=1e-50, **decoding) == greedy


def test_unknown_words_of_a_prime_are_named(capsys):
  words = vocabulary.Vocabulary(("<unk>", "the", "cat", "<eos>"))
  drawn, _ = sample.sampled_text(
    BIGRAM,
    BIGRAM.init(None),
    words,
    vocabulary.named("words"),
    prime="the parrot saw the cat",
    length=1,
    decoding=sample.Decoding(),
    seed=0,
  )
  assert drawn.startswith("the <unk> <unk> the cat")
  assert capsys.readouterr().err == (
    "warning: the prime's 'parrot', 'saw' are '<unk>' to the 4 symbols of this "
    "model\n"
  )
  written()
  assert capsys.readouterr().err == ""


@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
@pytest.mark.parametrize("sentences", [False, True])
def test_plain_drawing_is_what_it_was(temperature, sentences):
  """The text that was drawn before there were other ways to choose."""
  drawn = text.sample(
    BIGRAM,
    BIGRAM.init(None),
    jax.random.key(5),
    length=30,
    prime=[0, 1],
    temperature=temperature,
    sentence_end=END if sentences else None,
  )
  expected = "ab" + "".join(SYMBOLS.decode(drawn[:, 0]))
  actual = written(5, sentences=sentences, temperature=temperature)
  assert actual == (expected, 30)


def test_one_of_the_likeliest_or_the_least_nucleus_is_greedy():
  greedy = written(temperature=0.0)
  # What is ruled out beside the likeliest makes no difference to it.
  assert written(temperature=0.0, top_k=3, nucleus=0.5) == greedy
  for seed in range(3):
    assert written(seed, top_k=1) == greedy
    assert written(seed, nucleus=1e-6) == greedy
    assert written(seed, beam=1) == greedy


def test_what_is_ruled_out_is_never_drawn():
  for seed in range(20):
    two, _ = written(seed, top_k=2, temperature=3.0)
    pairs = set(itertools.pairwise(two))
    assert pairs <= {
      *(("a", "b"), ("a", "c"), ("b", "a"), ("b", "\n")),
      *(("c", "c"), ("c", "\n"), ("\n", "a"), ("\n", "b")),
    }
    nucleus, _ = written(seed, nucleus=0.75)
    pairs = set(itertools.pairwise(nucleus))
    assert pairs <= {
      *(("a", "b"), ("a", "c"), ("a", "\n"), ("b", "a"), ("b", "\n")),
      *(("c", "c"), ("\n", "a")),
    }


def test_a_beam_search_draws_nothing_and_finds_what_is_likelier():
  greedy, _ = written(temperature=0.0, length=6)
  actual, count = written(seed=1, length=6, beam=64)
  assert count == 6
  assert (actual, count) == written(seed=2, length=6, beam=64)
  assert _log_probability(actual) > _log_probability(greedy)


def _log_probability(whole):
  ids = SYMBOLS.encode(whole)
  return np.log(SHARES[ids[1:-1], ids[2:]]).sum()


def test_a_beam_in_single_sentences_ends_with_the_line():
  # b, end: 0.3; a penalty of 0 lets no longer one win.
  actual = written(beam=16, length=8, sentences=True, length_penalty=0.0)
  assert actual == ("ab\n", 1)
  # Without sentences a line end is a symbol like others.
  _, count = written(beam=16, length=8, length_penalty=0.0)
  assert count == 8


def test_what_came_before_the_last_line_end_is_forgotten_by_a_beam():
  settings = {"beam": 4, "length": 3, "sentences": True, "length_penalty": 1.0}
  one, count = written(prime="ccc\n", **settings)
  other, _ = written(prime="\n", **settings)
  assert one.removeprefix("ccc\n") == other.removeprefix("\n")
  # The beginning of a line, as the null vector has it: no "a" by 0.97.
  plain, _ = written(prime="", **settings)
  assert other.removeprefix("\n") == plain
  assert count == len(plain)


def test_a_run_of_old_has_no_such_settings():
  actual = sample.Decoding.of({"temperature": 0.25, "length": 3})
  assert actual == sample.Decoding(temperature=0.25)


@pytest.mark.parametrize(
  ("name", "value"), [("temperature", 0.5), ("top_k", 3), ("nucleus", 0.9)]
)
def test_a_beam_beside_a_way_to_draw_is_refused_at_once(name, value, tmp_path):
  """Before the run is looked for, which there is not."""
  config = page.get_config("smoke")
  config.sample.update(beam=4, **{name: value})
  config.restore = str(tmp_path / "nowhere")
  with pytest.raises(errors.UserError) as caught:
    sample.run(config, tmp_path, tmp_path)
  assert str(caught.value) == (
    f"config.sample.beam is 4 and config.sample.{name} is {value:g}; a beam "
    f"search draws nothing, so leave {name} at "
    f"{page.get_config().sample[name]:g} or set beam to 0"
  )


@pytest.fixture
def old(monkeypatch):
  """The run folder `old` of the bigram."""
  data = types.SimpleNamespace(tokenizer="characters", sentences=True)
  trained = types.SimpleNamespace(
    model=BIGRAM,
    params=BIGRAM.init(None),
    symbols=SYMBOLS,
    config=types.SimpleNamespace(data=data),
    step=7,
  )
  monkeypatch.setattr(restore, "reload", lambda *_, **__: trained)


@pytest.mark.parametrize(
  ("settings", "words", "count"),
  [
    ({}, "temperature 1", 8),
    ({"top_k": 2, "nucleus": 0.5}, "temperature 1, top-k 2, nucleus 0.5", 8),
    ({"beam": 3, "length_penalty": 0.0}, "beam of 3, length penalty 0", 1),
  ],
)
def test_a_row_says_how_it_was_chosen(old, settings, words, count, tmp_path):
  config = page.get_config()
  config.restore = "old"
  config.sample.update(length=8, prime="ab", **settings)
  [row] = sample.run(config, tmp_path, tmp_path)
  assert row["name"] == f"sample of old, {words}"
  assert row["count"] == count
  text_of_page = (tmp_path / "report.md").read_text()
  assert f"{words.capitalize()}, seed 0, weights of step 7" in text_of_page


def test_a_terminal_is_sent_no_escapes(old, tmp_path, monkeypatch, capsys):
  drawn = "\x1b[31mred\x07\n\tna\u00efve \u4e00"
  monkeypatch.setattr(sample, "sampled_text", lambda *_, **__: (drawn, 9))
  config = page.get_config()
  config.restore = "old"
  sample.run(config, tmp_path, tmp_path)
  shown = drawn.replace("\x1b", "\ufffd").replace("\x07", "\ufffd")
  assert capsys.readouterr().out == f"{shown}\n"
  assert (tmp_path / "samples" / "sample.txt").read_text() == drawn


def test_the_settings_page_names_every_way_to_choose():
  assert set(sample.Decoding._fields) <= set(page.get_config().sample)
  assert sample.Decoding.of(page.get_config().sample) == (sample.Decoding())
