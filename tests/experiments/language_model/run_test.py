import math
import shutil

import jax
import numpy as np
import pytest

from configs import common
from experiments import restore, stages
from experiments import train as train_lib
from experiments.language_model import run as run_lib
from experiments.language_model import task
from seqmodels import errors
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import static
from seqmodels.io import checkpoints


def rows_by(results, **expected):
  return [
    row
    for row in results["rows"]
    if all(row[key] == value for key, value in expected.items())
  ]


def test_a_run_ends_in_rows_figures_and_a_page(small, run, tmp_path):
  results = run(
    small(
      dynamic__rule="sgd",
      baselines__ngram_order=3,
      baselines__compressors=True,
      sample__length=30,
      sample__prime="the ",
    )
  )
  folder = tmp_path / "run"
  for name in (
    "config.json", "run.json", "metrics.jsonl", "results.json", "report.md",
    "vocabulary.json", "dynamic_search.json", "figures/learning_curves.png",
    "figures/along_test.png", "figures/comparison.png", "samples/sample.txt",
  ):  # fmt: skip
    assert (folder / name).stat().st_size > 0, name
  assert list((folder / "checkpoints" / "best").iterdir())
  sample = (folder / "samples" / "sample.txt").read_text()
  assert sample.startswith("the ")
  assert len(sample) == 34
  counts = {
    split: rows_by(results, split=split, evaluation="static")[0]["count"]
    for split in ("valid", "test")
  }
  dynamic = rows_by(results, evaluation="dynamic", split="test")[0]
  assert dynamic["count"] == counts["test"]
  assert dynamic["unit"] == "bits/character"
  assert len(rows_by(results, evaluation="compressed", split="test")) == 6
  page = (folder / "report.md").read_text()
  assert "](figures/learning_curves.png)" in page
  assert sample in page


def test_a_run_may_begin_with_handwriting(small, run, tmp_path, monkeypatch):
  def greet(text, workdir):
    assert not (workdir / "checkpoints").exists()
    (workdir / "samples").mkdir()
    (workdir / run_lib.GREETING).write_text(text)

  monkeypatch.setattr(run_lib, "greet", greet)
  config = small()
  with config.unlocked():
    config.handwriting = "good day"
  run(config)
  assert (tmp_path / "run" / run_lib.GREETING).read_text() == "good day"
  report = (tmp_path / "run" / "report.md").read_text()
  assert f"]({run_lib.GREETING})" in report


@pytest.mark.usefixtures("undrawn")
def test_training_lowers_the_loss_and_every_test_symbol_is_scored(
  small, run, tiny_corpus
):
  results = run(
    small(
      training__max_steps=150,
      training__epochs=20.0,
      training__learning_rate=0.03,
    )
  )
  row = rows_by(
    results, split="test", evaluation="static", metric="bits_per_character"
  )[0]
  alphabet = len(set(tiny_corpus))
  assert row["value"] < 0.8 * math.log2(alphabet)
  total = len(tiny_corpus)
  valid = rows_by(results, split="valid", metric="error_rate")[0]["count"]
  train = int(total * 0.9)
  assert row["count"] + valid == pytest.approx(total - train, abs=2)


@pytest.mark.usefixtures("undrawn")
def test_the_reported_score_does_not_depend_on_the_segments(small, run):
  values = [
    run(
      small(evaluation__segment=segment, training__max_steps=4),
      f"run{segment}",
    )["rows"]
    for segment in (7, 100_000)
  ]
  for row, first in zip(*values, strict=True):
    assert row["count"] == first["count"]
    assert row["value"] == pytest.approx(first["value"], rel=1e-6)


@pytest.mark.usefixtures("undrawn")
def test_the_fit_to_the_training_text_is_a_row_of_its_own(
  small, run, tiny_corpus
):
  with_reference = small(evaluation__train_symbols=50, training__max_steps=2)
  with with_reference.unlocked():
    with_reference.reference = {"source": "a table", "train_static": 1.42}
  first = rows_by(run(with_reference, "part"), split="train")
  assert [row["count"] for row in first] == [50, 50]
  assert "first 50 of" in first[0]["name"]
  assert (first[0]["reference"], first[0]["reference_source"]) == (
    1.42,
    "a table",
  )
  # All that is allowed is as many as the last split has.
  results = run(
    small(evaluation__train_symbols=10**6, training__max_steps=2), "capped"
  )
  counts = {row["split"]: row["count"] for row in results["rows"]}
  assert counts["train"] == counts["test"]
  results = run(
    small(evaluation__train_symbols=0, training__max_steps=2), "none"
  )
  assert rows_by(results, split="train") == []


@pytest.mark.usefixtures("undrawn")
def test_the_training_row_scores_the_start_of_the_training_split(
  small, run, tmp_path, tiny_corpus
):
  row = rows_by(
    run(small(evaluation__train_symbols=37)),
    split="train",
    metric="bits_per_character",
  )[0]
  trained = restore.reload(str(tmp_path / "run"))
  ids = trained.symbols.encode(tiny_corpus[:37])
  inputs = np.concatenate([[-1], ids[:-1]])[:, None].astype(np.int32)
  _, logits = trained.model.apply(
    trained.params,
    trained.model.initial_carry(1),
    inputs,
    np.arange(37)[:, None] == 0,
  )
  chosen = jax.nn.log_softmax(logits[:, 0])[np.arange(37), ids]
  assert row["value"] == pytest.approx(
    -float(chosen.sum()) / 37 / math.log(2.0), rel=1e-5
  )


def test_constant_cells_are_counted_at_every_evaluation(
  small, run, tmp_path, metrics, capsys
):
  run(small())
  actual = {}
  for entry in metrics(tmp_path / "run"):
    if entry["split"] == "valid":
      actual.setdefault(entry["name"], []).append(entry)
  evaluations = len(actual["bits_per_character"])
  assert evaluations > 1
  assert len(actual["constant_cells"]) == evaluations
  assert len(actual["largest_cell"]) == evaluations
  for share, largest in zip(
    actual["constant_cells"], actual["largest_cell"], strict=True
  ):
    assert 0 <= share["value"] <= 100
    assert share["unit"] == "%"
    assert largest["value"] > 0
  assert "constant cells: " in capsys.readouterr().err
  page = (tmp_path / "run" / "report.md").read_text()
  assert "- constant cells: " in page
  assert "- largest cell state: " in page


@pytest.mark.usefixtures("undrawn")
def test_a_lost_stream_is_told_in_training_and_in_the_rows(
  small, run, tmp_path, monkeypatch, capsys
):
  real = static.score

  def score(*arguments, streams=1, **options):
    actual = real(*arguments, streams=streams, **options)
    if streams == 1:
      return actual
    # The third loses its way: 48 bits a symbol, as of a cell run away.
    by_stream = np.full((2, streams), 1_000.0)
    by_stream[0, 2] = 48_000.0 * math.log(2.0)
    return actual._replace(by_stream=by_stream)

  monkeypatch.setattr(static, "score", score)
  results = run(small(evaluation__streams=3, evaluation__validation_streams=4))
  warning = (
    "WARNING: 1 of the streams scored more than 1 bit a symbol above the "
    "median, stream 2 48.00 bits"
  )
  lines = [x for x in capsys.readouterr().err.splitlines() if warning in x]
  assert any(x.startswith("step 24: valid") for x in lines)
  assert any(x.startswith("static evaluation, test;") for x in lines)
  [row] = rows_by(results, split="test", metric="bits_per_character")
  assert row["name"].endswith(f"scored in 3 streams; {warning}")
  assert warning in (tmp_path / "run" / "report.md").read_text()


@pytest.mark.usefixtures("undrawn")
def test_equal_seeds_give_equal_runs_and_others_do_not(
  small, run, tmp_path, metrics
):
  for name, seed in (("a", 1), ("b", 1), ("c", 2)):
    run(small(seed=seed, training__max_steps=8), name)
  assert metrics(tmp_path / "a") == metrics(tmp_path / "b")
  assert metrics(tmp_path / "a") != metrics(tmp_path / "c")


@pytest.mark.usefixtures("undrawn")
def test_random_sampling_and_sentences_train_too(small, run):
  for name, changes in (
    ("random", {"training__sampling": "random"}),
    ("sentences", {"data__sentences": True}),
    ("sum", {"training__reduction": "sum", "training__learning_rate": 1e-4}),
  ):
    rows = run(small(**changes, training__max_steps=4), name)["rows"]
    assert all(np.isfinite(row["value"]) for row in rows)


@pytest.mark.usefixtures("undrawn")
def test_the_learning_rate_of_the_last_step_is_logged(
  small, run, tmp_path, metrics
):
  config = small(training__schedule="cosine", training__warmup_steps=3)
  run(config)
  rate = config.training.learning_rate
  actual = [
    (e["step"], e["value"])
    for e in metrics(tmp_path / "run")
    if e["name"] == "learning_rate"
  ]
  assert len(actual) >= 12
  for step, value in actual:
    done = step - 1  # updates before
    # From rate / 4 up to step 3, then half a cosine to rate / 100 at step 24.
    rising = rate * (1 / 4 + 3 / 4 * done / 3)
    turn = 0.5 * (1 + math.cos(math.pi * (done - 3) / (24 - 3)))
    falling = rate * (0.99 * turn + 0.01)
    expected = rising if done < 3 else falling
    assert value == pytest.approx(expected, rel=1e-5)


@pytest.mark.usefixtures("undrawn")
def test_early_stopping_keeps_the_best_weights(small, run, tmp_path, metrics):
  config = small(
    training__patience=2,
    training__learning_rate=2.0,
    training__clip_norm=0.0,
    training__epochs=50.0,
    training__max_steps=400,
  )
  run(config)
  folder = tmp_path / "run"
  valid = [
    (entry["value"], entry["step"])
    for entry in metrics(folder)
    if entry["split"] == "valid" and entry["name"] == "bits_per_character"
  ]
  best = min(valid)
  assert valid[-1][1] < 400
  assert valid.index(best) == len(valid) - 3
  trained = restore.reload(str(folder))
  assert trained.step == best[1]


@pytest.mark.usefixtures("undrawn")
def test_a_named_run_is_where_training_starts_from(
  finished, small, run, tmp_path, metrics
):
  finished("first")
  run(small(restore=str(tmp_path / "first"), training__max_steps=1), "second")
  first, second = (metrics(tmp_path / name) for name in ("first", "second"))
  assert second[0]["value"] < first[0]["value"]


def test_reloading_needs_the_run_folder_alone(finished, tmp_path):
  finished()
  moved = tmp_path / "elsewhere"
  (tmp_path / "run").rename(moved)
  trained = restore.reload(str(moved))
  ids = np.zeros((3, 1), np.int32)
  carry = trained.model.initial_carry(1)
  _, logits = trained.model.apply(trained.params, carry, ids, ids > 0)
  assert logits.shape == (3, 1, trained.symbols.size)


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_checkpoint(
  small, run, tmp_path
):
  config = small(
    training__optimizer="sgd",
    training__learning_rate=1e38,
    training__clip_norm=0.0,
    training__schedule="constant",
    training__warmup_steps=0,
  )
  with pytest.raises(errors.RunError, match="last good checkpoint is kept"):
    run(config)
  assert not (tmp_path / "run" / "results.json").exists()
  network = task.build_predictor(
    config, vocabulary.Vocabulary.load(tmp_path / "run/vocabulary.json").size
  )
  target = jax.eval_shape(network.init, jax.random.key(0))
  params = checkpoints.restore_params(tmp_path / "run", target).tree
  assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(params))


def test_other_data_in_the_same_folder_are_refused(
  finished, small, run, corpus_file
):
  finished()
  (corpus_file.parent / "run" / "results.json").unlink()
  corpus_file.write_text(corpus_file.read_text().replace("z", "Z"))
  with pytest.raises(errors.UserError, match="the data are not those of"):
    run(small())


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"model__features": (9, 9)}, "layer_1/kernel: missing"),
    ({"model__cell": "gru"}, "expected float32"),
  ],
)
def test_weights_of_another_model_are_refused_with_every_difference(
  finished, small, run, tmp_path, changes, words
):
  finished("first")
  with pytest.raises(errors.UserError, match=words):
    run(small(restore=str(tmp_path / "first"), **changes), "second")


@pytest.mark.parametrize(
  ("sampling", "changes"),
  [
    ("random", {"data__sentences": True}),
    ("random", {"training__reset_every": 3}),
    ("random", {"training__random_offset": True}),
    ("sentences", {"training__reset_every": 3, "data__sentences": True}),
  ],
)
def test_what_means_nothing_to_a_sampling_is_refused(
  small, run, sampling, changes
):
  with pytest.raises(errors.UserError, match=f"means nothing.*'{sampling}'"):
    run(small(training__sampling=sampling, **changes))


def test_whole_sentences_need_sentences_in_evaluation_too(small, run):
  with pytest.raises(errors.UserError, match=r"config\.data\.sentences is"):
    run(small(training__sampling="sentences"))


@pytest.mark.usefixtures("undrawn")
def test_a_mistake_before_training_does_not_spoil_the_folder(small, run):
  with pytest.raises(errors.UserError, match="nowhere"):
    run(small(restore="nowhere"))
  assert run(small())["finished"]


def test_other_bytes_with_the_same_symbols_are_refused(
  finished, small, run, corpus_file
):
  finished()
  (corpus_file.parent / "run" / "results.json").unlink()
  corpus_file.write_text(corpus_file.read_text() * 2)
  with pytest.raises(errors.UserError, match="not those of the run"):
    run(small())


def test_lost_best_weights_are_an_error_and_not_the_last_ones(
  finished, small, run, tmp_path
):
  finished()
  (tmp_path / "run" / "results.json").unlink()
  shutil.rmtree(tmp_path / "run" / "checkpoints" / "best")
  with pytest.raises(errors.RunError, match="best parameters"):
    run(small())


@pytest.mark.usefixtures("undrawn")
def test_a_cut_length_that_diverges_leaves_the_others_their_chance(small, run):
  config = small(
    dynamic__rule="sgd",
    dynamic__search_rates=(1e-3, 1e38),
    dynamic__search_segments=(5, 20),
  )
  rows = run(config)["rows"]
  dynamic = [row for row in rows if row["evaluation"] == "dynamic"]
  assert "learning rate 0.001" in dynamic[0]["name"]


@pytest.mark.usefixtures("undrawn")
def test_dynamic_evaluation_goes_on_where_a_signal_stopped_it(
  small, run, tmp_path, monkeypatch
):
  config = small(dynamic__rule="sgd", dynamic__search=False)
  config.dynamic.segment = 4
  monkeypatch.setattr(task, "CHUNK_SYMBOLS", 40)
  straight = run(config, "straight")
  watch, calls = stages.watch, []

  def stopping_watch(context, title, per_segment):
    told = watch(context, title, per_segment)

    def callback(done, total):
      if title.startswith("dynamic"):
        calls.append(done)
        if len(calls) == 2:
          context.signals.signum = 15
      told(done, total)

    return callback

  monkeypatch.setattr(stages, "watch", stopping_watch)
  with pytest.raises(errors.Interrupted):
    run(config, "stopped")
  resumed = run(config, "stopped")
  # Stopped after the second chunk: the third is the next to be scored.
  assert len(calls) == 7
  assert calls == sorted(calls)
  assert [row["value"] for row in resumed["rows"]] == [
    row["value"] for row in straight["rows"]
  ]


def test_an_unknown_cell_is_answered_with_the_closest(small, run):
  with pytest.raises(errors.UserError, match="did you mean 'lstm'"):
    run(small(model__cell="lstn"))


def test_every_setting_of_the_shared_tree_can_be_read():
  # The experiment reads its config by name: what it reads must be there.
  config = common.base()
  task.build_predictor(config, 5)
  train_lib.build_optimizer(config, 10)
