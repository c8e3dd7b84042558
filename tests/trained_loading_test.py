"""Trained models through the front door, from files alone."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import seqmodels
from seqmodels import errors, portable, pretrained, trained
from seqmodels.data.handwriting import alphabet, strokes, synthetic
from seqmodels.data.text import vocabulary

PROJECT = pathlib.Path(__file__).resolve().parent.parent
TEXT = {
  "experiment": "language_modelling",
  "dtype": "float32",
  "data": {
    "tokenizer": "characters", "sentences": False, "source": "text",
    "path": "/home/someone/texts/mine.txt",
  },
  "model": {
    "cell": "gru", "features": [5], "embedding": 4, "tied": False,
    "rounds": 3, "input_skips": True, "output_skips": True, "chunk": 0,
    "gradient_clip": 1.0,
  },
  "restore": "/home/someone/runs/earlier",
}  # fmt: skip
PEN = {
  "experiment": "handwriting",
  "dtype": "float32",
  "data": {"source": "synthetic"},
  "model": {
    "network": "synthesis", "features": [5], "components": 2, "window": 3,
    "peepholes": True, "forget_bias": 1.0, "gradient_clip": 10.0,
    "output_clip": 100.0,
  },
}  # fmt: skip
SYMBOLS = vocabulary.Vocabulary(tuple(" abcdefghij\n"))
SCALED = strokes.Pen(
  alphabet.GRAVES, strokes.Scaling(np.array([8.0, 0.5]), np.full(2, 40.0))
)


@pytest.fixture(scope="module")
def text():
  return trained.made("language_model", TEXT, SYMBOLS)


@pytest.fixture(scope="module")
def hand():
  return trained.made("handwriting", PEN, SCALED)


@pytest.fixture
def file(text, tmp_path):
  path = tmp_path / "text.safetensors"
  text.save(path)
  return path


def same(first, second):
  jax.tree.map(np.testing.assert_array_equal, first, second)
  assert jax.tree.structure(first) == jax.tree.structure(second)


@pytest.mark.parametrize("name", ["text", "hand"])
def test_what_was_saved_comes_back(name, request, tmp_path):
  model = request.getfixturevalue(name)
  model.save(tmp_path / "model.safetensors", card={"command": "train it"})
  actual = seqmodels.load(tmp_path / "model.safetensors")
  assert type(actual) is type(model)
  same(actual.params, model.params)
  assert actual.symbols.hash == model.symbols.hash
  assert actual.card["command"] == "train it"
  assert actual.check() == model.check()


def test_a_score_is_the_sum_over_the_softmax(text):
  """Against the network applied to the whole text at once."""
  line = "a bad cab\nfed a big hedge\n" * 9
  ids = SYMBOLS.encode(line)
  inputs = np.concatenate([[-1], ids[:-1]])[:, None].astype(np.int32)
  _, logits = text.apply(text.model.initial_carry(1), inputs, inputs < 0)
  logs = jax.nn.log_softmax(np.asarray(logits, np.float64)[:, 0])
  expected = -float(logs[np.arange(len(ids)), ids].sum())
  for segment in (20, 50):
    actual = text.score(line, segment=segment)
    assert actual.count == len(line)
    assert actual.nats == pytest.approx(expected, rel=1e-5)
  assert actual.bits_per_symbol == pytest.approx(
    expected / len(line) / np.log(2), rel=1e-5
  )


def test_dynamic_evaluation_learns_and_leaves_the_weights(text):
  before = jax.tree.map(np.array, text.params)
  line = "abcabc " * 60
  still = text.score(line, dynamic={"learning_rate": 0.0, "momentum": 0.0})
  assert still.nats == pytest.approx(text.score(line).nats, rel=1e-6)
  learnt = text.score(line, dynamic={"learning_rate": 0.03, "momentum": 0.0})
  assert learnt.nats < 0.8 * still.nats
  same(text.params, before)


def test_samples_depend_on_the_seed_and_heed_their_settings(text):
  drawn = [text.sample(prime="ab", length=40, seed=seed) for seed in (1, 1, 2)]
  assert drawn[0] == drawn[1] != drawn[2]
  assert all(len(x) == 42 and x.startswith("ab") for x in drawn)
  greedy = text.sample(prime="ab", length=40, temperature=0.0)
  assert greedy == text.sample(prime="ab", length=40, top_k=1, seed=9)


def test_a_score_needs_text_of_the_models_symbols(text):
  with pytest.raises(errors.UserError, match="the text to score is empty"):
    text.score("")
  with pytest.raises(errors.UserError, match="'Z' at position 2"):
    text.score("abZ")


@pytest.mark.parametrize(
  "strokes",
  [np.ones(3), np.ones((2, 4)), np.ones((1, 2, 3)), "abc", [[1, 2, 3], [1]]],
)
def test_strokes_of_another_shape_are_refused_in_one_sentence(hand, strokes):
  message = r"^the strokes are .*\]; give numbers \[T, 3\] .* end of stroke$"
  with pytest.raises(errors.UserError, match=message):
    hand.score(strokes, "a")
  with pytest.raises(errors.UserError, match=message):
    hand.write("a", prime=(strokes, "b"))


def test_a_line_without_points_has_no_score(hand):
  with pytest.raises(errors.UserError, match="T at least 1"):
    hand.score(np.ones((0, 3)), "a")


WORDS = vocabulary.Vocabulary(("<unk>", "<eos>", "the", "cat"))


def test_unknown_words_are_counted_and_refused_in_a_prime():
  data = {**TEXT["data"], "tokenizer": "words"}
  model = trained.made("language_model", {**TEXT, "data": data}, WORDS)
  actual = model.score("the dog\nthe <unk> cat ran\n")
  assert (actual.count, actual.unknown) == (8, 2)
  assert actual.nats == model.score("the <unk>\nthe <unk> cat <unk>\n").nats
  assert model.score("the <unk>\n").unknown == 0
  with pytest.raises(errors.UserError, match="holds 'dog', which is not among"):
    model.sample(prime="the dog", length=2)
  assert model.sample(prime="the <unk>", length=2).startswith("the <unk>")


def test_a_card_has_scores_of_its_own_weights_alone(file, tmp_path):
  row = {
    "name": "it", "split": "test", "evaluation": "static", "metric": "x",
    "value": 1.5, "count": 3,
  }  # fmt: skip
  sample, path = {"nats": 1.0, "count": 2}, tmp_path / "again.safetensors"
  trained.load(file).save(file, card={"rows": [row], "sample": sample})
  model = trained.load(file)
  others = jax.tree.map(lambda leaf: leaf + 1.0, model.params)
  for changed_, dtype, kept in (
    (model, "float32", {"rows", "sample"}),
    (model, "bfloat16", {"rows"}),
    (model.rounded("bfloat16"), "float32", {"rows"}),
    (dataclasses.replace(model, params=others), "float32", set()),
  ):
    changed_.save(path, dtype)
    assert trained.load(path).card.keys() & {"rows", "sample"} == kept


def test_a_page_is_written_and_saved(hand, tmp_path):
  page = hand.write("hi you\n\nthere", bias=1.0, points_per_character=3)
  assert [line is None for line in page.strokes] == [False, True, False]
  assert page.strokes[0].shape[1] == 3
  again = hand.write("hi you\n\nthere", bias=1.0, points_per_character=3)
  assert page.svg() == again.svg()
  page.save(tmp_path / "page.svg")
  assert (tmp_path / "page.svg").read_text() == page.svg()
  page.save(tmp_path / "page.png")
  assert (tmp_path / "page.png").read_bytes().startswith(b"\x89PNG")
  with pytest.raises(errors.UserError, match=r"ends in '\.gif'"):
    page.save(tmp_path / "page.gif")
  line = synthetic.synthetic(lines=1)
  primed = hand.write(
    "hi you", prime=(line.line(0), line.texts[0]), points_per_character=3
  )
  assert not np.array_equal(primed.strokes[0], page.strokes[0])


def test_a_network_of_prediction_writes_no_text(tmp_path):
  model = {**PEN["model"], "network": "prediction"}
  plain = trained.made("handwriting", {**PEN, "model": model}, SCALED)
  line = synthetic.synthetic(lines=1).line(0)
  assert plain.score(line, "").count == len(line)
  with pytest.raises(errors.UserError, match="knows no text"):
    plain.write("hello")


def test_rounding_is_what_saving_does(text, tmp_path):
  rounded = text.rounded("bfloat16")
  text.save(tmp_path / "half.safetensors", "bfloat16")
  actual = trained.load(tmp_path / "half.safetensors")
  same(actual.params, rounded.params)
  assert actual.card["weights"] == "bfloat16"
  same(text.rounded("float32").params, text.params)


def test_where_a_run_began_and_its_text_are_kept_as_names_alone(file):
  settings = trained.load(file).settings
  assert settings["restore"] == "earlier"
  assert settings["data"] == {**TEXT["data"], "path": "mine.txt"}
  assert b"someone" not in file.read_bytes()


def test_a_file_needs_no_orbax_and_no_experiment(text, file, tmp_path):
  """In a process where these, and what trains and draws, are not there."""
  code = """if True:
    import sys
    for name in ("orbax", "experiments", "configs", "ml_collections",
                 "tensorboardX", "datasets", "optax", "matplotlib"):
      sys.modules[name] = None
    import seqmodels
    model = seqmodels.load(sys.argv[1])
    print(repr(model.score("a bad cab").nats), repr(model.sample(length=9)))
  """
  done = subprocess.run(
    [sys.executable, "-c", code, str(file)],
    cwd=tmp_path,
    env={**os.environ, "PYTHONPATH": str(PROJECT)},
    capture_output=True,
    text=True,
    timeout=1700,
    check=False,
  )
  assert done.returncode == 0, done.stderr
  nats, _, drawn = done.stdout.rstrip("\n").partition(" ")
  assert float(nats) == pytest.approx(text.score("a bad cab").nats, rel=1e-6)
  assert drawn == repr(text.sample(length=9))


def changed(path, **members):
  """The file with other tensors or metadata, its checksum made to fit."""
  model = portable.read(path)
  portable.write(path, model._replace(**members))


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (
      lambda m: {
        "weights": {k: a for k, a in m.weights.items() if k != "head/bias"}
      },
      "head/bias: missing",
    ),
    (
      lambda m: {"weights": {**m.weights, "more": np.zeros(2, np.float32)}},
      "more: unexpected",
    ),
    (
      lambda m: {
        "weights": {**m.weights, "head/bias": np.zeros(2, np.float32)}
      },
      "head/bias: expected float32[12], found float32[2]",
    ),
    (
      lambda m: {"symbols": {**m.symbols, "symbols": ["a", "b"]}},
      "its symbols do not match their checksum",
    ),
    (lambda m: {"symbols": {}}, "('sha256')"),
    (
      lambda m: {"settings": {**m.settings, "model": {}}},
      "'features'",
    ),
    (
      lambda m: {
        "settings": {
          **m.settings, "model": {**m.settings["model"], "rounds": 10**9}
        }
      },
      "it has more than 100 layers or rounds",
    ),
    (
      lambda m: {
        "settings": {
          **m.settings, "model": {**m.settings["model"], "features": ["5"]}
        }
      },
      "it describes no network",
    ),
    (
      lambda m: {
        "settings": {
          **m.settings, "model": {**m.settings["model"], "cell": "lstn"}
        }
      },
      "no cell 'lstn' (did you mean 'lstm'",
    ),
    (
      lambda m: {"settings": {**m.settings, "data": {"tokenizer": ["words"]}}},
      "is no intact model file",
    ),
    (lambda m: {"card": {}}, "'step'"),
    (lambda m: {"card": {"step": 1, "rows": [1]}}, "scores that are none"),
    (
      lambda m: {"card": {"step": 1, "data": {"files": [{"name": "x"}]}}},
      "a file of its data has no name, size or SHA-256",
    ),
  ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_in_one_sentence(file, change, words):
  changed(file, **change(portable.read(file)))
  with pytest.raises(errors.UserError) as caught:
    trained.load(file)
  assert words in str(caught.value)
  assert type(caught.value) is errors.UserError


def test_other_places_are_refused(tmp_path, monkeypatch, file):
  with pytest.raises(errors.UserError, match="is no run folder: it does not"):
    trained.load(tmp_path / "nowhere")
  with pytest.raises(errors.UserError, match="cannot read"):
    trained.load(tmp_path / "nowhere.safetensors")
  with pytest.raises(errors.UserError, match="trains no handwriting network"):
    trained.read(file, "handwriting")
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  monkeypatch.chdir(tmp_path)
  with pytest.raises(errors.UserError) as caught:
    trained.load("penn_char")
  assert str(caught.value) == (
    "the trained weights 'penn_char' do not come with this copy of the "
    "package; train them, python main.py --config=configs/penn_char.py "
    "--workdir=RUN_DIR, and give RUN_DIR"
  )
  file.rename(tmp_path / "penn_char.safetensors")
  assert isinstance(trained.load("penn_char"), trained.TextModel)
  for find in (pretrained.path, trained.load):
    with pytest.raises(errors.UserError, match="did you mean 'penn_char'"):
      find("penn_chars")


def test_commands_lose_the_folders_of_one_machine(tmp_path):
  """As cards of run folders tell them."""
  from seqmodels import portable

  for command, expected in (
    ("python main.py --config=configs/x.py", None),
    ("python /a/b/main.py --workdir=/c/d/run", "python main.py --workdir=run"),
    ("python main.py --workdir=~/x/run '--d=/e/f g'",
     "python main.py --workdir=run '--d=f g'"),
    ("python main.py --a=~alice/runs/a --b=../alice/x --c='/home/al ice/y z'",
     "python main.py --a=a --b=x '--c=y z'"),
    ("python main.py --config configs/x.py:a,b --workdir /c/d/run/",
     "python main.py --config configs/x.py:a,b --workdir run"),
  ):  # fmt: skip
    assert portable.portable_command(command) == (expected or command)
  assert portable.portable_command("python '/home/alice/main.py") == ""


def test_the_card_is_plain(file):
  card = trained.load(file).card
  assert json.loads(json.dumps(card)) == card
