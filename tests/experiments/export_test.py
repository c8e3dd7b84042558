"""A run in one file: it serves wherever the run's folder does."""

import functools
import json
import shutil
import types

import jax
import numpy as np
import pytest

import experiments
from configs import export as page
from configs import text as text_page
from configs import text_sampling
from experiments import cli, export, stages
from experiments import restore as restore_lib
from experiments.compression import run as run_lib
from experiments.report import runs
from seqmodels import errors, portable, pretrained
from seqmodels import trained as trained_lib


@pytest.fixture(scope="module")
def trained(tmp_path_factory, tiny_corpus):
  """A run of 24 steps, and what it was exported to."""
  folder = tmp_path_factory.mktemp("export")
  path = folder / "corpus.txt"
  path.write_text(tiny_corpus, encoding="utf-8")
  config = text_page.get_config("smoke")
  config.dtype = "float32"
  config.data.update(path=str(path), limit=0, tokenizer="bytes")
  config.training.update(
    epochs=3.0, max_steps=24, batch=4, segment=10, evaluations_per_epoch=8
  )
  config.baselines.update(ngram_order=0, compressors=False)
  config.sample.length, config.dynamic.rule = 0, ""
  results = experiments.run(
    config,
    folder / "run",
    folder,
    command=f"python main.py --workdir={folder}/run",
  )
  exported(folder / "run", folder / "model.safetensors", folder / "exported")
  return folder, results


def exported(restore, output, workdir, **changes):
  config = page.get_config("smoke")
  config.update(restore=str(restore), output=str(output), **changes)
  return experiments.run(config, workdir, workdir)


def test_a_file_is_the_run(trained):
  folder, results = trained
  file, run = folder / "model.safetensors", folder / "run"
  first, second = (restore_lib.reload(str(x)) for x in (run, file))
  loaded = trained_lib.load(run)
  assert second.symbols == loaded.symbols == first.symbols
  for other in (second, loaded):
    jax.tree.map(np.testing.assert_array_equal, first.params, other.params)
    assert other.step == first.step
  first.config.data.path = "corpus.txt"
  assert second.config.to_dict() == first.config.to_dict()
  test = next(row for row in results["rows"] if row["split"] == "test")
  text = (folder / "corpus.txt").read_bytes()[-test["count"] :]
  actual = trained_lib.load(file).score(text)
  assert actual.count == test["count"]
  assert actual.bits_per_symbol == pytest.approx(test["value"], rel=1e-6)


def test_the_card_says_what_it_is(trained):
  folder, results = trained
  card = trained_lib.load(folder / "model.safetensors").card
  assert card["command"] == "python main.py --workdir=run"
  assert card["terms"] == "those of the owner of the data"
  assert card["step"] == 24
  symbols = len((folder / "corpus.txt").read_bytes()) * 0.9
  assert card["epochs"] == pytest.approx(24 * 4 * 10 / symbols, rel=0.2)
  shown = [(row["split"], row["value"]) for row in card["rows"]]
  assert shown == [(row["split"], row["value"]) for row in results["rows"]]
  data = json.loads((folder / "run" / "data.json").read_text())
  assert card["data"] == data
  text = (folder / "model.md").read_text()
  for words in (
    card["command"], card["commit"], card["terms"],
    data["files"][0]["sha256"], 'seqmodels.load("model.safetensors")',
  ):  # fmt: skip
    assert words in text
  assert (folder / "exported" / "report.md").read_text() == text


def test_a_card_leaves_out_what_is_not_known(trained):
  file = trained[0] / "model.safetensors"
  model = portable.read(file)
  card = {"step": 3, "weights": "float32"}
  text = export.card_page(
    model._replace(card=card), file, {"nats": 1.0, "count": 2}
  )
  assert "None" not in text
  assert "- step: 3" in text


def test_validations_before_the_first_step_are_no_epochs(trained, tmp_path):
  """As runs write them that began from other weights."""
  run = tmp_path / "run"
  shutil.copytree(trained[0] / "run", run)
  path = run / "metrics.jsonl"
  first = next(
    line
    for line in path.read_text().splitlines()
    if json.loads(line)["split"] == "valid"
  )
  before = json.dumps({**json.loads(first), "step": 0})
  path.write_text(before + "\n" + path.read_text())
  card, expected = (trained_lib.load(x).card for x in (run, trained[0] / "run"))
  assert card["epochs"] == expected["epochs"] > 0


def test_the_row_is_the_score_of_the_weights_as_stored(trained, tmp_path):
  folder, _ = trained
  output = tmp_path / "half.safetensors"
  [row] = exported(
    folder / "run", output, tmp_path / "out", weights="bfloat16"
  )["rows"]
  model = trained_lib.load(output)
  sample = model.card["sample"]
  assert model.check() == sample
  assert row["count"] == sample["count"]
  assert row["value"] == pytest.approx(
    sample["nats"] / sample["count"] / np.log(2)
  )
  assert output.stat().st_size < (folder / "model.safetensors").stat().st_size
  again = tmp_path / "again.safetensors"
  exported(output, again, tmp_path / "more", weights="bfloat16")
  assert again.read_bytes() == output.read_bytes()


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"restore": ""}, "config.restore is empty"),
    ({"restore": "nowhere"}, "nowhere is no run folder"),
    ({"output": ""}, "config.output is ''; name the file to write"),
    ({"output": "x.bin"}, "config.output is 'x.bin'; name the file"),
    ({"weights": "int8"}, "config.weights is 'int8'"),
  ],
)
def test_what_cannot_be_exported_is_told(trained, tmp_path, changes, words):
  folder, _ = trained
  settled = {"restore": folder / "run", "output": tmp_path / "x.safetensors"}
  with pytest.raises(errors.UserError) as caught:
    exported(**{**settled, **changes}, workdir=tmp_path / "out")
  assert words in str(caught.value)
  assert not (tmp_path / "x.safetensors").exists()


def test_a_finished_export_whose_file_is_gone_says_so(trained, tmp_path):
  folder, _ = trained
  output = tmp_path / "x.safetensors"
  again = functools.partial(exported, folder / "run", output, tmp_path / "out")
  again()
  again()
  output.unlink()
  with pytest.raises(errors.UserError, match="is no longer there"):
    again()


@pytest.fixture
def both(trained, tmp_path):
  """Runs a page on the folder and on the file; gives both runs' scores."""
  folder, _ = trained

  def go(config):
    actual = {}
    for name, place in (("run", "run"), ("file", "model.safetensors")):
      config.restore = str(folder / place)
      experiments.run(config, tmp_path / name, folder)
      actual[name] = json.loads((tmp_path / name / "results.json").read_text())
    return [
      [(row["split"], row["evaluation"], row["value"]) for row in each["rows"]]
      for each in actual.values()
    ]

  return go


def test_dynamic_evaluation_takes_a_file_and_its_data(both, trained, tmp_path):
  config = cli.load("configs/dynamic_evaluation.py:sgd,smoke").config
  config.restore = str(trained[0] / "model.safetensors")
  with pytest.raises(errors.UserError, match=r"as --config\.data\.path"):
    experiments.run(config, tmp_path / "nowhere", trained[0])
  config.data.path = str(trained[0] / "corpus.txt")
  run, file = both(config)
  assert run == file
  assert {row[1] for row in file} == {"static", "dynamic"}
  reported = [runs.read(tmp_path / name) for name in ("run", "file")]
  reported[0].config["data"]["path"] = "corpus.txt"
  assert reported[0].config == reported[1].config
  # What the run's own path leads to has to be what it was trained on.
  config.restore, config.data.path = str(trained[0] / "run"), ""
  corpus = trained[0] / "corpus.txt"
  before = corpus.read_text()
  try:
    corpus.write_text("\n".join(before.splitlines()[::-1]) + "\n")
    with pytest.raises(errors.UserError, match="data are not those of the run"):
      experiments.run(config, tmp_path / "other", trained[0])
  finally:
    corpus.write_text(before)


def test_phases_of_other_weights_of_one_step_are_not_taken(tmp_path):
  def scored(weight, nats):
    context = types.SimpleNamespace(
      workdir=tmp_path, step=24, params={"w": np.float32([weight])},
      signals=types.SimpleNamespace(check=lambda: None),
    )  # fmt: skip
    return stages.phase(context, "test", lambda: {"nats": nats})["nats"]

  assert [scored(1.0, 5.0), scored(1.0, 6.0)] == [5.0, 5.0]
  assert scored(2.0, 7.0) == 7.0


def test_sampling_takes_a_file(both, tmp_path):
  both(text_sampling.get_config("smoke"))
  texts = [
    (tmp_path / name / "samples" / "sample.txt").read_bytes()
    for name in ("run", "file")
  ]
  assert texts[0] == texts[1]


def test_training_goes_on_from_a_file(both, trained, metrics, tmp_path):
  config = text_page.get_config("smoke")
  settings = json.loads((trained[0] / "run" / "config.json").read_text())
  config.update(settings)
  config.training.max_steps = 2
  both(config)
  assert metrics(tmp_path / "run") == metrics(tmp_path / "file")
  config.model.features = (9,)
  config.restore = str(trained[0] / "model.safetensors")
  with pytest.raises(errors.UserError) as caught:
    experiments.run(config, tmp_path / "wider", tmp_path)
  assert "cannot be continued: the weights in" in str(caught.value)
  assert "expected float32[36], found float32[32]" in str(caught.value)


def test_compression_begins_from_a_file(trained):
  folder, _ = trained
  actual = [
    run_lib._trained(str(folder / name))[1]
    for name in ("run", "model.safetensors")
  ]
  assert actual[0] == actual[1] != ""


def test_shipped_weights_serve_where_no_run_is_named(
  trained, tmp_path, monkeypatch
):
  folder, _ = trained
  monkeypatch.setattr(pretrained, "FOLDER", tmp_path)
  config = text_sampling.get_config("smoke")
  with pytest.raises(errors.UserError, match="restore is empty; give the run"):
    experiments.run(config, tmp_path / "none", tmp_path)
  shutil.copy(folder / "model.safetensors", tmp_path / "penn_char.safetensors")
  [row] = experiments.run(config, tmp_path / "shipped", tmp_path)["rows"]
  assert row["name"].startswith("sample of the shipped penn_char, temp")
