"""The report over run folders that were written by hand."""

import json
import math
import re
import shutil

import pytest

import experiments
from configs import enwik8, penn_char, penn_word, report
from experiments import published, stages
from experiments.report import papers_tables
from experiments.report import run as report_experiment
from experiments.report import runs as runs_lib
from seqmodels import errors
from seqmodels.io import results as reports

COUNT = {"characters": 442_423, "words": 82_430, "bytes": 4_000_000}


def write_run(folder, config, scores, *, valid=(1.6, 1.5, 1.4), finished=True):
  """A run folder; `scores` by (split, evaluation): value and error rate."""
  folder.mkdir(parents=True)
  tokenizer = config.data.tokenizer
  metric = runs_lib.task.UNITS[tokenizer].metric
  (folder / "config.json").write_text(json.dumps(config.to_dict()))
  session = {"commit": "abcdef0123", "diff": "", "seconds": 1800}
  session |= {"backend": "cpu", "cpu": "Some CPU", "cpu_count": 2}
  later = {**session, "seconds": 3720.0}
  record = {**session, "command": f"python main.py {folder.name}"}
  (folder / "run.json").write_text(json.dumps({**record, "resumes": [later]}))
  lines = [
    {"step": 100 * n, "split": split, "name": metric, "value": v, "unit": ""}
    for n, v in enumerate(valid, start=1)
    for split in ("train", "valid")
  ]
  (folder / "metrics.jsonl").write_text(
    "".join(json.dumps(line) + "\n" for line in lines)
  )
  curve = {"curve_nats": [9.0, 8.0, 9.5], "curve_counts": [9, 9, 9]}
  (folder / "evaluations.json").write_text(
    json.dumps({"phases": {"static test": curve, "dynamic test: sgd": curve}})
  )
  if not finished:
    return folder
  rows = [
    reports.row(
      "net" if evaluation == "static" else "net; sgd",
      split=split, evaluation=evaluation, metric=kind, value=value,
      count=COUNT[tokenizer], seconds=1.0,
    )
    for (split, evaluation), pair in scores.items()
    for kind, value in zip((metric, "error_rate"), pair, strict=True)
  ]  # fmt: skip
  rows.append({**rows[0], "name": "7-gram", "split": "test", "value": 1.48})
  (folder / "results.json").write_text(json.dumps({"rows": rows}))
  return folder


def scores(valid, static, dynamic, error=28.0):
  return {
    ("valid", "static"): (valid, error),
    ("test", "static"): (static, error),
    ("test", "dynamic"): (dynamic, error),
  }


def make_page(runs, workdir, name="out"):
  """The page and the rows, without the figures."""
  actual = runs_lib.gather(str(runs), own=workdir / name)
  lines, _ = papers_tables.assign(actual.runs)
  page = report_experiment.fill(actual, workdir / name).text()
  return page, papers_tables.result_rows(lines)


def run_report(runs, workdir):
  config = report.get_config("smoke")
  config.runs = str(runs)
  return experiments.run(config, workdir, workdir)


def cells(page, *first):
  """The cells of the one line of a table that begins with these."""
  tables = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
    for line in page.splitlines()
    if line.startswith("|")
  ]
  (actual,) = [row for row in tables if row[: len(first)] == list(first)]
  return actual


@pytest.fixture
def runs(tmp_path):
  folder = tmp_path / "runs"
  plain = penn_char.get_config()
  plain.dtype = "bfloat16"
  write_run(folder / "plain", plain, scores(1.40, 1.31, 1.28))
  noisy = penn_char.get_config("weight_noise")
  noisy.restore = "elsewhere/plain"
  write_run(folder / "noisy", noisy, scores(1.35, 1.26, 1.23))
  words = penn_word.get_config()
  write_run(folder / "words", words, scores(140.0, 130.0, 120.0, 77.0))
  return folder


def test_the_lines_of_table_1_hold_paper_ours_and_difference(runs, tmp_path):
  page, rows = make_page(runs, tmp_path)
  ours = 2 ** (1.31 * 442_423 / 78_669)
  recipe = "1x1000 peephole lstm, cell clip 10, not the paper's training: adam "
  recipe += "0.003, 32 streams of 50, bfloat16 products"
  assert cells(page, "characters", "none", "no") == [
    *("characters", "none", "no", "1.32", "1.310", "167", f"{ours:.1f}"),
    *("28.5", "28.00", "9", "1.5", "-0.010", "plain", recipe),
    *("Some CPU, 2 cores", "1 h 32 min", "abcdef0"),
  ]
  bits = math.log2(120) * 82_430 / 442_423
  words = cells(page, "words", "none", "yes")
  assert words[3:13] == [
    *("1.25", f"{bits:.3f}", "126", "120.0", "76.9", "77.00", "11", "1.5"),
    *("-6.000", "words"),
  ]
  noisy = cells(page, "characters", "weight noise", "yes")
  assert noisy[10:13] == ["1.5 (3.0 with its chain)", "-0.010", "noisy"]
  assert "weight noise 0.075" in noisy[13]
  assert noisy[13].endswith("begun from plain")
  kept = [
    (r["name"][:5], r["evaluation"], r["value"], r["reference"]) for r in rows
  ]
  assert kept == [
    ("plain", "static", 1.31, 1.32),
    ("plain", "dynamic", 1.28, 1.29),
    ("noisy", "static", 1.26, 1.27),
    ("noisy", "dynamic", 1.23, 1.24),
    ("words", "static", 130.0, 138.0),
    ("words", "dynamic", 120.0, 126.0),
  ]
  assert cells(page, "plain", "python main.py plain")
  assert cells(page, "7-gram", "ptb, words")[4:] == ["1.480", "words"]


def test_lines_without_a_run_are_said_to_be_missing(runs, tmp_path):
  page, _ = make_page(runs, tmp_path)
  for dynamic in ("no", "yes"):
    line = cells(page, "characters", "adaptive weight noise", dynamic)
    assert line[4::2][:4] == ["", "", "", ""]
    assert line[11:13] == ["", "not run"]
  assert cells(page, "valid, dynamic") == [
    "valid, dynamic", "1.33", "", "", "not run", "", "", "", "",
  ]  # fmt: skip
  assert "python main.py --config=configs/enwik8.py:graves" in page
  assert "configs/penn_char.py:weight_noise" not in page


def test_the_best_on_validation_is_shown_and_the_others_below(runs, tmp_path):
  config = penn_char.get_config()
  write_run(runs / "later", config, scores(1.38, 1.33, 1.30))
  write_run(runs / "begun", config, {}, valid=(1.9, 1.1), finished=False)
  page, _ = make_page(runs, tmp_path)
  # Worse on the test split, which must not choose.
  assert cells(page, "characters", "none", "no")[12] == "later"
  assert cells(page, "plain", "ptb, characters")[3:6] == [
    "1.400", "1.310", "1.280",
  ]  # fmt: skip
  assert cells(page, "begun: not finished")[3] == "1.100"


def test_a_line_whose_only_run_is_at_work_says_so(tmp_path):
  config = penn_char.get_config("adaptive_weight_noise")
  write_run(tmp_path / "runs" / "a", config, {}, finished=False)
  page, rows = make_page(tmp_path / "runs", tmp_path)
  line = cells(page, "characters", "adaptive weight noise", "no")
  assert line[12] == "a: not finished, validation 1.400 so far"
  assert rows == []


def test_networks_that_are_not_the_papers_have_a_table_of_their_own(
  runs, tmp_path
):
  config = penn_char.get_config("dropout")
  write_run(runs / "modern", config, scores(1.2, 1.19, 1.15))
  old = penn_char.get_config()
  del old.regularization  # runs older than this section
  shutil.rmtree(runs / "plain")
  write_run(runs / "old", old, scores(1.40, 1.34, 1.32))
  page, _ = make_page(runs, tmp_path)
  modern = cells(page, "modern", "ptb, characters")
  assert modern[3:6] == ["1.200", "1.190", "1.150"]
  assert "layer_norm_lstm" in modern[9]
  assert "DropConnect 0.3" in modern[9]
  assert cells(page, "characters", "none", "yes")[12] == "old"


def test_a_run_that_adapts_by_another_rule_has_no_dynamic_line(tmp_path):
  config = penn_char.get_config()
  config.dynamic.rule = "rms"
  write_run(tmp_path / "runs" / "other", config, scores(1.40, 1.31, 1.20))
  page, rows = make_page(tmp_path / "runs", tmp_path)
  assert cells(page, "characters", "none", "no")[4] == "1.310"
  dynamic = cells(page, "characters", "none", "yes")
  assert dynamic[4] == ""
  assert "other: adapted by another rule" in dynamic
  assert [row["evaluation"] for row in rows] == ["static"]


def test_noise_of_another_deviation_is_of_no_line():
  config = penn_char.get_config("weight_noise")
  assert published.regularisation(config.to_dict()) == "weight noise"
  config.regularization.weight_noise = 5.0
  assert published.line_of(config.to_dict()) is None


@pytest.mark.parametrize("page", [penn_char, penn_word])
def test_sentences_keep_the_papers_rate_and_momentum(page):
  config, paper = page.get_config("sentences"), page.get_config("paper")
  assert stages.minibatch(config) == "8 sentences"
  assert stages.minibatch(paper) == "1 sentence"
  assert not published.papers_training(config.to_dict())
  for name in ("learning_rate", "momentum", "reduction", "clip_norm"):
    assert config.training[name] == paper.training[name]


@pytest.mark.parametrize(
  "change",
  [
    {"training.momentum": 0.9},
    {"training.max_steps": 1},
    {"training.sampling": "sequential"},
    {"model.gradient_clip": 0.0},
  ],
)
def test_the_papers_training_is_all_of_it(change):
  config = penn_char.get_config("paper")
  assert published.papers_training(config.to_dict())
  config.update_from_flattened_dict(change)
  assert not published.papers_training(config.to_dict())
  assert published.papers_training(enwik8.get_config("paper").to_dict())


def test_table_2_takes_its_training_row_from_an_evaluation_again(tmp_path):
  folder = tmp_path / "runs"
  actual = {("valid", "static"): (1.7, 30.0), ("valid", "dynamic"): (1.4, 29.0)}
  write_run(folder / "wiki", enwik8.get_config(), actual)
  more = {("train", "static"): (1.5, 30.0), ("valid", "static"): (1.7, 30.0)}
  again = write_run(folder / "again", enwik8.get_config(), more)
  settings = {"experiment": "dynamic_evaluation", "dynamic": {"rule": ""}}
  settings["restore"] = str(folder / "wiki")
  (again / "config.json").write_text(json.dumps(settings))
  page, _ = make_page(folder, tmp_path)
  # From another run, over other bytes than the paper's: both are said.
  assert cells(page, "train, static (4,000,000 bytes)")[1:5] == [
    "1.42", "1.500", "+0.080", "again",
  ]  # fmt: skip
  gap = cells(page, "static minus dynamic")
  assert gap[1:4] == ["0.34", "0.300", "-0.040"]


def test_foreign_and_damaged_folders_are_named_and_left_out(runs, tmp_path):
  (runs / "notes").mkdir()
  damaged = {
    "torn": ("results.json", '{"rows": [{"na'),
    "empty": ("results.json", '{"rows": []}'),
    "odd": ("config.json", '{"experiment": "language_modelling"}'),
    "bench": ("config.json", '{"experiment": "benchmark"}'),
    "lines": ("metrics.jsonl", "no\njson\n"),
    "binary": ("run.json", "\udc80\udcff"),
  }
  for name, (file, text) in damaged.items():
    shutil.copytree(runs / "plain", runs / name)
    (runs / name / file).write_text(text, errors="surrogateescape")
  page, _ = make_page(f"{runs}, {tmp_path / 'gone'}", tmp_path)
  for name, (file, _) in damaged.items():
    assert file in cells(page, name)[1] or name == "bench"
  assert "no config.json" in cells(page, "notes")[1]
  assert cells(page, "gone")[1] == "does not exist"
  assert "'benchmark'" in cells(page, "bench")[1]
  assert page.startswith("# Report on 3 runs")


@pytest.mark.parametrize("listed", ["", " , "])
def test_an_empty_list_is_refused(listed, tmp_path):
  with pytest.raises(errors.UserError, match=r"config\.runs is empty; give"):
    make_page(listed, tmp_path)


def test_folders_without_any_run_are_refused(tmp_path):
  (tmp_path / "runs" / "notes").mkdir(parents=True)
  with pytest.raises(errors.UserError, match=r"no run.*notes.*no config.json"):
    make_page(tmp_path / "runs", tmp_path)


def test_the_same_runs_give_the_same_bytes_and_stay_as_they_are(runs, tmp_path):
  def tree(folder):
    return {
      str(path.relative_to(folder)): path.read_bytes()
      for path in sorted(folder.rglob("*"))
      if path.is_file() and path.suffix in (".md", ".png", ".json", ".jsonl")
      if path.name != "run.json" or folder == runs
    }

  before = tree(runs)
  run_report(runs, tmp_path / "one")
  run_report(runs, tmp_path / "two")
  one = tree(tmp_path / "one")
  assert one == tree(tmp_path / "two")
  assert {
    "report.md",
    "figures/learning_curves.png",
    "figures/paper_and_ours.png",
    "figures/dynamic_gain_ptb_characters_test.png",
  } <= one.keys()
  assert tree(runs) == before


def test_a_report_inside_the_folder_of_runs_does_not_report_itself(runs):
  page, _ = make_page(runs, runs, "report")
  assert "## Left out" not in page


def test_a_chain_whose_start_is_not_there_says_so(tmp_path):
  config = penn_char.get_config("weight_noise")
  config.restore = "runs/first"
  run = runs_lib.read(write_run(tmp_path / "n", config, {}, finished=False))
  assert runs_lib.epochs(run, [run]) == "1.5 (and those of first, unknown)"


@pytest.mark.parametrize(
  ("page", "variant", "line", "papers"),
  [
    (penn_char, "plain", ("characters", "none"), False),
    (penn_char, "weight_noise,paper", ("characters", "weight noise"), True),
    (penn_char, "dropout", None, False),
    (penn_char, "smoke", None, False),
    (penn_word, "weight_noise", ("words", "weight noise"), False),
    (enwik8, "graves", ("bytes", "none"), False),
    (enwik8, "standard", None, False),
  ],
)
def test_a_config_is_of_the_line_that_its_page_reproduces(
  page, variant, line, papers
):
  config = page.get_config(variant).to_dict()
  assert published.line_of(config) == line
  assert published.papers_training(config) is papers


def test_the_published_table_agrees_with_the_pages():
  for page in (penn_char, penn_word):
    for stage, (static, dynamic) in page.TABLE.items():
      config = page.get_config(stage).to_dict()
      lines = [
        line
        for line in published.TABLE_1
        if (line.tokenizer, line.regularisation) == published.line_of(config)
      ]
      words = page is penn_word
      assert [
        (line.perplexity if words else line.bits, line.error_rate)
        for line in lines
      ] == [static, dynamic]


@pytest.mark.parametrize(
  ("select", "epochs"),
  [("validation", "0.0"), ("description_length", "1.0"), ("last", "1.5")],
)
def test_epochs_are_those_of_the_kept_weights_of_a_restored_run(
  tmp_path, select, epochs
):
  config = penn_char.get_config("weight_noise")
  config.restore = "elsewhere/gone"
  config.training.select = select
  folder = write_run(tmp_path / "runs" / "a", config, scores(1.35, 1.26, 1.23))
  values = {"valid": (1.3, 1.6, 1.5, 1.4), "train": (None, 9.0, 7.0, 8.0)}
  names = {"valid": "bits_per_character", "train": "description_length"}
  (folder / "metrics.jsonl").write_text(
    "".join(
      json.dumps(
        {"step": 100 * n, "split": split, "name": names[split], "value": v,
         "unit": ""}
      ) + "\n"
      for split, curve in values.items()
      for n, v in enumerate(curve)
    )
  )  # fmt: skip
  page, _ = make_page(tmp_path / "runs", tmp_path)
  line = cells(page, "characters", "weight noise", "no")
  assert line[10] == f"{epochs} (and those of gone, unknown)"
