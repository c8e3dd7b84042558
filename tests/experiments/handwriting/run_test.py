"""Handwriting end to end on a made-up pen, in seconds, and what is refused."""

import json
import shutil
import signal
import xml.etree.ElementTree as ET

import jax
import numpy as np
import pytest

import experiments
from configs import text as text_page
from experiments import cli, restore
from experiments.handwriting import run as run_lib
from experiments.handwriting import task
from seqmodels import errors, pretrained
from seqmodels.data.handwriting import batching
from seqmodels.io import results as reports

LINES, KILLED_AT, SIGNALLED_AT = 8, 6, 8  # within the first epoch
METRICS = [
  *("nats_per_sequence", "nats_per_point", "sse", "sse", "half_sse"),
  "error_rate",
]


@pytest.fixture(scope="module", autouse=True)
def one_shape():
  """All lines padded to one length: less to compile."""
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(task, "SHAPES", 1)
    yield


def settings(page, variants="smoke", **changes):
  """A page's settings, smaller still; a__b sets config.a.b."""
  actual = cli.load(f"configs/handwriting_{page}.py:{variants}").config
  if "data" in actual:
    actual.dtype = "float32"
    actual.data.update(source="synthetic", limit=LINES)
    actual.training.update(epochs=2.0, max_steps=8, checkpoint_every=4)
    actual.training.evaluations_per_epoch = 100
    actual.model.features = actual.model.features[:2]
    actual.evaluation.update(batch=LINES, train_lines=0)
  for name, value in changes.items():
    group, _, key = name.partition("__")
    if key:
      actual[group][key] = value
    else:
      actual[group] = value
  return actual


def without_pictures(config):
  config.sample.update(biases=(), lines=0, statistics=0)
  return config


def writing_settings():
  """With noise of each kind: what is resumed must draw the same."""
  actual = settings("synthesis", training__max_steps=12)
  actual.regularization.update(
    dropout_hidden=0.1, dropout_output=0.1, drop_connect=0.1
  )
  return actual


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  return tmp_path_factory.mktemp("handwriting")


@pytest.fixture(scope="module")
def prediction(folder):
  """A run over whole lines, and its results."""
  config = settings("prediction", "quickstart,smoke", evaluation__train_lines=3)
  return folder / "prediction", experiments.run(
    config, folder / "prediction", folder
  )


@pytest.fixture(scope="module")
def synthesis(folder):
  """A run over stretches of lines; its folder is copied as a kill leaves it."""
  workdir, killed = folder / "synthesis", folder / "killed"
  plain = batching.PenChunks.segments

  def segments(self, start, count):
    if start == KILLED_AT:
      shutil.copytree(workdir, killed)
    return plain(self, start, count)

  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(batching.PenChunks, "segments", segments)
    results = experiments.run(writing_settings(), workdir, folder)
  return workdir, results


def check_rows(results, splits):
  rows = results["rows"]
  assert [row["metric"] for row in rows] == METRICS * len(splits)
  assert list(dict.fromkeys(row["split"] for row in rows)) == splits
  for row in rows:
    assert np.isfinite(row["value"])
    assert row["count"] > 0
    assert row["unit"] == reports.METRICS[row["metric"]]
  each = len(METRICS)
  for line, point in zip(rows[::each], rows[1::each], strict=True):
    lines = line["count"] * point["value"] / line["value"]
    assert lines == pytest.approx(round(lines), rel=1e-6)


def check_page(workdir, figures):
  text = (workdir / "report.md").read_text()
  actual = {path.stem for path in (workdir / "figures").iterdir()}
  assert actual == figures
  for name in figures:
    assert f"](figures/{name}.png)" in text
    assert (workdir / "figures" / f"{name}.png").stat().st_size > 3_000
  return text


def paths(svg):
  root = ET.parse(svg).getroot()
  assert root.tag.endswith("svg")
  return [each for each in root.iter() if each.tag.endswith("path")]


def test_prediction_comes_to_its_end(prediction):
  workdir, results = prediction
  assert results["finished"] is True
  check_rows(results, ["train", "valid"])
  names = {row["name"].split("; ")[0] for row in results["rows"]}
  (name,) = names
  assert name.startswith("2x8 peephole lstm, 3 components, adam, 2 lines a ")
  assert "synthetic pen, first 8 lines of each split" in name
  assert all(row["reference"] is None for row in results["rows"])
  figures = {"learning_curves", "heatmap", "mixture_weights", "samples"}
  text = check_page(workdir, {*figures, "beside_real"})
  assert "## Strokes" in text
  assert paths(workdir / "samples" / "samples.svg")
  pen = json.loads((workdir / "pen.json").read_text())
  assert len(pen["symbols"]) == 57
  assert len(pen["deviation"]) == 2


def test_synthesis_comes_to_its_end(synthesis):
  workdir, results = synthesis
  check_rows(results, ["valid"])
  name = results["rows"][0]["name"]
  assert name.startswith("2x8 peephole lstm, window of 2, 3 components")
  for part in ("DropConnect 0.1", "hidden dropout 0.1", "16 points of each"):
    assert part in name
  figures = {"learning_curves", "heatmap", "mixture_weights", "samples"}
  text = check_page(
    workdir,
    {*figures, "beside_real", "alignment_real", "alignment_written"},
  )
  assert "the characters or more and then left the text by itself." in text
  assert len(paths(workdir / "samples" / "samples.svg")) >= 6


def test_metrics_have_their_names_and_units(synthesis, metrics):
  entries = metrics(synthesis[0])
  actual = {(e["split"], e["name"], e["unit"]) for e in entries}
  assert actual == {
    ("train", "nats_per_point", "nats/point"),
    ("train", "sse", "1"),
    ("train", "half_sse", "1"),
    ("train", "gradient_norm", ""),
    ("train", "learning_rate", ""),
    ("valid", "nats_per_sequence", "nats/sequence"),
    ("valid", "nats_per_point", "nats/point"),
    ("valid", "sse", "1"),
    ("valid", "half_sse", "1"),
  }
  steps = [
    e["step"] for e in entries if (e["split"], e["name"]) == ("valid", "sse")
  ]
  assert steps == list(range(2, 13, 2))


def test_a_finished_run_says_so_and_is_left_alone(prediction, capsys):
  workdir, results = prediction
  before = (workdir / "report.md").stat().st_mtime_ns
  config = settings("prediction", "quickstart,smoke", evaluation__train_lines=3)
  again = experiments.run(config, workdir, workdir)
  assert f"already finished: {workdir}" in capsys.readouterr().err
  assert again["rows"] == results["rows"]
  assert (workdir / "report.md").stat().st_mtime_ns == before


def test_killed_and_then_interrupted_a_run_goes_on_bit_for_bit(
  synthesis, folder, metrics, monkeypatch
):
  killed = folder / "killed"
  assert not (killed / "results.json").exists()
  plain = batching.PenChunks.segments

  def segments(self, start, count):
    if start == SIGNALLED_AT:
      signal.raise_signal(signal.SIGTERM)
    return plain(self, start, count)

  monkeypatch.setattr(batching.PenChunks, "segments", segments)
  with pytest.raises(errors.Interrupted):
    experiments.run(writing_settings(), killed, folder)
  monkeypatch.undo()
  assert not (killed / "results.json").exists()
  experiments.run(writing_settings(), killed, folder)
  first, second = (
    restore.reload(str(p), "handwriting") for p in (synthesis[0], killed)
  )
  assert first.step == second.step
  jax.tree.map(np.testing.assert_array_equal, first.params, second.params)
  assert metrics(killed) == metrics(synthesis[0])
  rows = json.loads((killed / "results.json").read_text())["rows"]
  expected = [row["value"] for row in synthesis[1]["rows"]]
  assert [row["value"] for row in rows] == expected
  svg = [p / "samples" / "samples.svg" for p in (synthesis[0], killed)]
  assert svg[0].read_bytes() == svg[1].read_bytes()


@pytest.mark.slow
def test_a_page_made_anew_from_finished_phases_is_the_same_page(
  synthesis, folder
):
  """As of a run that was stopped between its last phase and its page."""
  again = shutil.copytree(synthesis[0], folder / "again")
  (again / "results.json").unlink()
  (again / "report.md").unlink()
  experiments.run(writing_settings(), again, folder)
  pages = [path / "report.md" for path in (synthesis[0], again)]
  assert pages[0].read_text() == pages[1].read_text()


def test_a_runs_best_weights_are_scored_without_training(
  synthesis, run, metrics, tmp_path
):
  """The run was stopped before its evaluation, and after its last step."""
  stopped = shutil.copytree(synthesis[0], tmp_path / "stopped")
  for name in ("results.json", "evaluations.json"):
    (stopped / name).unlink()
  config = without_pictures(writing_settings())
  config.restore, config.training.epochs = str(stopped), 0.0
  rows = run(config)["rows"]
  assert "0 epochs" in rows[0]["name"]
  assert "begun from stopped" in rows[0]["name"]
  expected = [row["value"] for row in synthesis[1]["rows"]]
  assert [row["value"] for row in rows] == expected
  named = {row["metric"]: row["value"] for row in rows}
  best = min(
    (
      entry
      for entry in metrics(stopped)
      if entry["name"] == "nats_per_point" and entry["split"] == "valid"
    ),
    key=lambda entry: entry["value"],
  )
  assert named["nats_per_point"] == best["value"]


@pytest.mark.slow
def test_adaptive_noise_goes_on_from_a_trained_run(
  prediction, run, metrics, tmp_path
):
  config = settings(
    "prediction",
    "adaptive_weight_noise,quickstart,smoke",
    restore=str(prediction[0]),
  )
  rows = run(without_pictures(config))["rows"]
  assert "adaptive weight noise from 0.075" in rows[0]["name"]
  assert "begun from prediction" in rows[0]["name"]
  actual = metrics(tmp_path / "run")
  named = {
    name: [e["value"] for e in actual if e["name"] == name]
    for name in (
      *("error_nats", "complexity_nats", "description_length"),
      "nats_per_sequence",
    )
  }
  # Before the first step there is no error of training to describe.
  assert (
    1 < len(named["description_length"]) == len(named["nats_per_sequence"]) - 1
  )
  np.testing.assert_allclose(
    np.add(named["error_nats"], named["complexity_nats"]),
    named["description_length"],
  )
  # The trained means are where it begins, and not a fresh network.
  before = [
    e["value"]
    for e in metrics(prediction[0])
    if e["name"] == "nats_per_sequence"
  ]
  first = named["nats_per_sequence"][0]
  assert abs(first - before[-1]) < abs(first - before[0])


def test_a_mistyped_run_to_start_from_leaves_its_folder_usable(prediction, run):
  config = settings("prediction", "quickstart,smoke", restore="nowhere")
  with pytest.raises(errors.UserError, match="nowhere"):
    run(without_pictures(config))
  config.restore = str(prediction[0])
  config.training.max_steps = 1
  assert run(config)["finished"]


@pytest.mark.slow
def test_the_papers_training_of_one_layer_comes_to_its_end(run, tmp_path):
  config = settings("prediction", "one_layer,paper,smoke", training__batch=1)
  config.training.max_steps = 3
  results = run(without_pictures(config))
  check_rows(results, ["valid"])
  name = results["rows"][0]["name"]
  assert name.startswith("1x8 peephole lstm, 3 components, rmsprop_graves, 1 l")
  # The paper's figures are of its own data, and all of them.
  assert {row["reference"] for row in results["rows"]} == {None}
  check_page(
    tmp_path / "run", {"learning_curves", "heatmap", "mixture_weights"}
  )


def test_a_text_is_written_as_a_page(synthesis, run, tmp_path):
  text = "Dear reader, all is well here.\n\nThe pen goes on: 2 lines, or 3"
  config = settings(
    "synthesis",
    "write,smoke",
    restore=str(synthesis[0]),
    text=text,
    width=16,
    bias=1.0,
  )
  (row,) = run(config)["rows"]
  assert row["metric"] == "points_per_second"
  assert row["count"] > 50
  assert "bias 1" in row["name"]
  page = tmp_path / "run" / "samples" / "page"
  assert len(paths(page.with_suffix(".svg"))) >= 5
  assert page.with_suffix(".png").stat().st_size > 3_000
  report = (tmp_path / "run" / "report.md").read_text()
  assert "](samples/page.png)" in report
  assert "Dear reader" in report
  assert "the characters 23: are one and the same symbol" in report
  again = run(config, "again")["rows"][0]
  assert again["count"] == row["count"]
  svg = [tmp_path / each / "samples" / "page.svg" for each in ("run", "again")]
  assert svg[0].read_bytes() == svg[1].read_bytes()


def test_a_file_writes_as_its_run_does(synthesis, run, tmp_path, monkeypatch):
  """Named, or shipped with the package; and training goes on from it."""
  file = tmp_path / "handwriting_synthesis.safetensors"
  export = cli.load("configs/export.py:smoke").config
  export.update(restore=str(synthesis[0]), output=str(file))
  (row,) = run(export, "export")["rows"]
  assert row["metric"] == "nats_per_point"
  assert "made by this package" in file.with_suffix(".md").read_text()
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  pages = []
  for name, place in (("run", synthesis[0]), ("file", file), ("shipped", "")):
    config = settings(
      "synthesis", "write,smoke", restore=str(place), text="hi, you"
    )
    run(config, name)
    pages.append((tmp_path / name / "samples" / "page.svg").read_bytes())
  assert pages[0] == pages[1] == pages[2]
  first, second = (
    restore.reload(str(p), "handwriting") for p in (synthesis[0], file)
  )
  config = first.config.copy_and_resolve_references()
  config.restore = str(file)
  actual = task.restore_weights(config, first.params, first.symbols)
  for params in (second.params, actual):
    jax.tree.map(np.testing.assert_array_equal, first.params, params)


def test_a_text_is_written_on_in_the_hand_of_a_line(synthesis, run, tmp_path):
  config = settings(
    "synthesis",
    "write,smoke",
    restore=str(synthesis[0]),
    text="a new line",
    prime="synthetic-000001",
  )
  (row,) = run(config)["rows"]
  assert row["name"].endswith("primed with synthetic-000001")
  assert paths(tmp_path / "run" / "samples" / "page.svg")


@pytest.fixture
def refused(run, tmp_path, capsys):
  """Runs what must fail; gives its one sentence."""

  def check(config):
    assert cli.run_cli(lambda: run(config)) == 2
    err = capsys.readouterr().err
    (sentence,) = [x for x in err.splitlines() if x.startswith("error: ")]
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "results.json").exists()
    assert not (tmp_path / "run" / "samples").exists()
    return sentence

  return check


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"text": "Café ☃"}, "'é' at position 3, '☃' at position 5, which this "),
    ({"text": ""}, "the text to write is ''; give at least one character"),
    ({"text": " \n "}, "give at least one character that is no white space"),
    ({"text": "a" * 10_000}, "has 10,000 characters and a page may have 5,000"),
    ({"text": "a b " * 2_500}, "has 10,000 characters and a page may have 5,"),
    ({"bias": -0.5}, "config.bias is -0.5; it must be a number from 0 to 10"),
    ({"bias": float("nan")}, "config.bias is nan; it must be a number from 0"),
    ({"width": 0}, "config.width is 0; it must be a whole number, at least 1"),
    ({"prime": "synthetic-00001"}, "none of the 16 lines of 'synthetic' is"),
    ({"restore": ""}, "config.restore is empty; give the run folder"),
    ({"restore": "nowhere"}, "nowhere is no run folder: it does not exist"),
  ],
)
def test_what_cannot_be_written_is_told(
  synthesis, refused, changes, words, monkeypatch, tmp_path
):
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  settled = {"restore": str(synthesis[0]), "text": "hello", **changes}
  sentence = refused(settings("synthesis", "write,smoke", **settled))
  assert words in sentence
  assert len(sentence) < 1_000


def test_a_network_of_prediction_writes_no_text(prediction, refused):
  config = settings(
    "synthesis", "write,smoke", restore=str(prediction[0]), text="hello"
  )
  assert "predicts pen movements and knows no text" in refused(config)


def test_a_language_model_is_no_pen(refused, run, tmp_path, tiny_corpus):
  corpus = tmp_path / "corpus.txt"
  corpus.write_text(tiny_corpus, encoding="utf-8")
  language = text_page.get_config("smoke")
  language.data.update(path=str(corpus), limit=0)
  language.training.epochs = 0.0
  language.baselines.update(ngram_order=0, compressors=False)
  language.sample.length, language.dynamic.rule = 0, ""
  run(language, "language")
  restore = str(tmp_path / "language")
  written = settings("synthesis", "write,smoke", restore=restore, text="hello")
  assert "a run of 'language_modelling', which trains no" in refused(written)
  begun = settings("prediction", "quickstart,smoke", restore=restore)
  shutil.rmtree(tmp_path / "run")
  assert "a run of 'language_modelling', which trains no" in refused(begun)
  assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"model__features": (8, 9)}, "model.features [8, 8] and this run has"),
    ({"model__components": 4}, "model.components 3 and this run has 4"),
    ({"model__peepholes": False}, "model.peepholes True and this run has"),
    # It has no window, so that the alphabet does not show in its weights.
    ({"data__alphabet": "full"}, "trained with alphabet and scaling"),
  ],
)
def test_a_run_of_something_else_is_not_gone_on_from(
  prediction, refused, changes, words
):
  config = settings(
    "prediction", "quickstart,smoke", restore=str(prediction[0]), **changes
  )
  assert words in refused(config)


def test_prediction_does_not_become_synthesis(prediction, refused):
  config = settings("synthesis", restore=str(prediction[0]))
  words = "model.network 'prediction' and this run has 'synthesis'"
  assert words in refused(config)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"training__batch": 9}, "there are 8 lines and a batch takes 9"),
    (
      {"training__batch": 9, "training__points": 0},
      "there are 8 lines and a batch takes 9",
    ),
    ({"data__source": "iamond"}, "did you mean 'iamondb'?"),
    ({"data__source": "iamondb"}, "missing iamondb/"),
    ({"data__alphabet": "grave"}, "did you mean 'graves'?"),
    ({"sample__texts": ("fine", "10€")}, "'€' at position 2"),
    ({"sample__texts": (1, 2)}, "config.sample.texts is (1, 2)"),
    ({"training__points": -1}, "config.training.points is -1; it must be"),
    ({"model__network": "writing"}, "config.model.network is 'writing'"),
  ],
)
def test_what_cannot_be_trained_is_told_before_training(
  refused, tmp_path, changes, words
):
  assert words in refused(settings("synthesis", **changes))
  assert not (tmp_path / "run" / "checkpoints").exists()


def test_the_synthetic_pen_is_the_same_whatever_the_seed(prediction, run):
  begun = settings(
    "prediction", "quickstart,smoke", restore=str(prediction[0]), seed=1
  )
  assert run(without_pictures(begun), "another")["finished"]


def test_dropout_between_layers_needs_two(refused):
  config = settings("prediction", "one_layer,smoke")
  config.regularization.dropout_hidden = 0.1
  assert "dropout_hidden drops between layers" in refused(config)


def test_tabs_and_line_ends_are_spaces(synthesis, run, tmp_path):
  config = settings(
    "synthesis",
    "write,smoke",
    restore=str(synthesis[0]),
    text="hello\tthere,\r\nreader",
  )
  run(config, "tabs")
  assert (tmp_path / "tabs" / "samples" / "page.svg").is_file()


@pytest.mark.parametrize(
  ("split", "changes", "nats"),
  [
    ("valid", {"data__source": "iamondb", "data__limit": 0}, -1041.0),
    ("train", {"data__source": "iamondb", "data__limit": 0}, None),
    ("valid", {"data__source": "iamondb", "data__limit": 8}, None),
    ("valid", {"data__source": "synthetic", "data__limit": 0}, None),
    ("valid", {"model__features": (100, 100, 100)}, None),
    ("valid", {"model__components": 5}, None),
    ("valid", {"model__peepholes": False}, None),
  ],
)
def test_the_papers_figure_stands_beside_its_own_data_and_network_only(
  split, changes, nats
):
  config = cli.load("configs/handwriting_prediction.py").config
  for name, value in changes.items():
    group, _, key = name.partition("__")
    config[group][key] = value
  assert run_lib.published(config, split).get("nats_per_sequence") == nats
