"""Several seeds of one recipe: what is averaged, and that none is special."""

import json
import signal
import statistics

import pytest

from experiments import multi_seed, restore
from seqmodels import errors, losses
from seqmodels.data.text import corpora
from seqmodels.evaluation import static
from seqmodels.io import checkpoints


def rows_of(folder):
  return json.loads((folder / "results.json").read_text())["rows"]


def test_rows_are_means_and_deviations_of_single_runs(small, run, tmp_path):
  together = run(small(seeds=2, seed=5), "all")["rows"]
  singles = [run(small(seed=seed), f"alone-{seed}")["rows"] for seed in (5, 6)]
  folders = [tmp_path / "all" / f"seed-{seed}" for seed in (5, 6)]
  for folder, single in zip(folders, singles, strict=True):
    for one, other in zip(rows_of(folder), single, strict=True):
      assert one["name"] == other["name"]
      # Side by side the products are batched, and round otherwise.
      assert one["value"] == pytest.approx(other["value"], rel=1e-3)
  for place, first in enumerate(rows_of(folders[0])):
    values = [rows_of(folder)[place]["value"] for folder in folders]
    if len(set(values)) == 1:
      continue
    mean, deviation = (
      row
      for row in together
      if row["split"] == first["split"] and row["metric"] == first["metric"]
    )
    assert mean["value"] == pytest.approx(statistics.fmean(values))
    assert deviation["value"] == pytest.approx(statistics.stdev(values))
    assert "mean of 2 seeds" in mean["name"]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_large_network_is_trained_seed_by_seed_to_the_same_bits(
  small, run, tmp_path, monkeypatch
):
  monkeypatch.setattr(multi_seed, "SMALL_ON_CPU", 1)
  run(small(seeds=2), "all")
  alone = run(small(seed=1), "alone")["rows"]
  actual = rows_of(tmp_path / "all" / "seed-1")
  assert [r["value"] for r in actual] == [r["value"] for r in alone]


@pytest.mark.usefixtures("undrawn")
def test_a_changed_loss_is_trained_side_by_side_too(
  small, run, tmp_path, monkeypatch, metrics
):
  def first_training_loss(name):
    values = [
      event["value"]
      for event in metrics(tmp_path / name / "seed-0")
      if (event["split"], event["name"]) == ("train", "bits_per_character")
    ]
    return values[0]

  run(small(seeds=2), "plain")
  real = losses.cross_entropy

  def doubled(*arguments):
    nats, wrong = real(*arguments)
    return 2.0 * nats, wrong

  monkeypatch.setattr(losses, "cross_entropy", doubled)
  run(small(seeds=2), "doubled")
  expected = 2.0 * first_training_loss("plain")
  assert first_training_loss("doubled") == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_a_kill_between_two_saves_costs_no_bit(
  small, run, tmp_path, monkeypatch
):
  config = small(seeds=2)
  straight = run(config, "straight")["rows"]
  saves, real = [], checkpoints.Checkpoints.save

  def save(self, step, state, meta):
    saves.append(step)
    if len(saves) == 6:  # The first seed's third state is saved, no other's.
      raise KeyboardInterrupt
    real(self, step, state, meta)

  monkeypatch.setattr(checkpoints.Checkpoints, "save", save)
  with pytest.raises(KeyboardInterrupt):
    run(config, "killed")
  monkeypatch.undo()
  assert len(set(map(tuple, [
    checkpoints.Checkpoints(
      tmp_path / "killed" / f"seed-{n}" / "checkpoints"
    ).latest_steps
    for n in (0, 1)
  ]))) == 2  # fmt: skip
  again = run(config, "killed")["rows"]
  assert [row["value"] for row in again] == [row["value"] for row in straight]


@pytest.mark.slow
@pytest.mark.usefixtures("undrawn")
def test_seeds_over_whole_sentences_run(small, run):
  config = small(
    seeds=2,
    data__sentences=True,
    training__sampling="sentences",
    training__max_steps=4,
  )
  rows = run(config)["rows"]
  assert any("mean of 2 seeds" in row["name"] for row in rows)


def test_a_signal_in_the_last_evaluation_stops_all_seeds(
  small, run, monkeypatch
):
  real = static.score

  def score(*arguments, **options):
    signal.raise_signal(signal.SIGTERM)
    return real(*arguments, **options)

  monkeypatch.setattr(static, "score", score)
  config = small(seeds=2)
  config.training.evaluations_per_epoch = 1
  with pytest.raises(errors.Interrupted):
    run(config)


@pytest.mark.usefixtures("undrawn")
def test_a_folder_of_seeds_is_no_network_to_reload(small, run, tmp_path):
  run(small(seeds=2), "all")
  with pytest.raises(errors.UserError, match="holds 2 seeds; name one"):
    restore.reload(str(tmp_path / "all"))
  assert restore.reload(str(tmp_path / "all" / "seed-1")).step == 24


def test_rows_that_agree_stay_and_settings_that_differ_are_left_out():
  def row(name, value):
    return {"name": name, "value": value, "reference": 1.0,
            "reference_source": "x"}  # fmt: skip

  actual = multi_seed.spread(
    [
      [row("n-gram", 2.0), row("net; rate 1", 4.0)],
      [row("n-gram", 2.0), row("net; rate 3", 6.0)],
    ]
  )
  assert [r["name"] for r in actual] == [
    "n-gram",
    "net; mean of 2 seeds",
    "net; standard deviation over 2 seeds",
  ]
  assert actual[1]["value"] == 5.0
  assert actual[2]["value"] == pytest.approx(2**0.5)
  assert actual[2]["reference"] is None


def test_a_finished_run_of_other_data_is_not_taken_for_this_one(
  small, tmp_path, corpus_file
):
  before = small(seeds=2)
  other = tmp_path / "other.txt"
  other.write_text("another text")
  data = corpora.load_files(corpus_file).provenance
  for seed in (0, 1):
    (tmp_path / "all" / f"seed-{seed}").mkdir(parents=True)
    folder = tmp_path / "all" / f"seed-{seed}"
    (folder / "config.json").write_text(before.to_json())
    (folder / "data.json").write_text(json.dumps(data))
  multi_seed.require_finished(before, tmp_path / "all", tmp_path)
  moved = corpus_file.rename(tmp_path / "moved.txt")
  now = small(seeds=2, data__path=str(moved))
  multi_seed.require_finished(now, tmp_path / "all", tmp_path)
  with pytest.raises(errors.UserError, match="seed-0: it was trained on corp"):
    multi_seed.require_finished(
      small(seeds=2, data__path=str(other)), tmp_path / "all", tmp_path
    )
