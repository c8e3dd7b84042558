"""Every page of configs/, shrunk to seconds, end to end."""

import json
import pathlib

import numpy as np
import pytest

from experiments import cli

PROJECT = pathlib.Path(__file__).resolve().parents[2]
PAGES = sorted(
  path.stem
  for path in (PROJECT / "configs").glob("*.py")
  if path.stem not in ("__init__", "checks", "common")
)
LANGUAGE = {
  "quickstart": ("smoke",),
  "penn_char": (
    "plain,smoke",
    "weight_noise,smoke",
    "adaptive_weight_noise,smoke",
    "adaptive_weight_noise,minimum,smoke",
    "paper,smoke",
    "sentences,smoke",
    "dropout,smoke",
    "zoneout,smoke",
  ),
  "penn_word": (
    "plain,smoke",
    "weight_noise,paper,smoke",
    "sentences,smoke",
    "dropout,smoke",
  ),
  "enwik8": ("graves,smoke",),
}
ELSEWHERE = {
  *("text", "dynamic_evaluation", "text_sampling", "benchmark", "report"),
  "export",
  *("compression", "handwriting_prediction", "handwriting_synthesis"),
  "fundamentals",
}


def page(name, variants, **changes):
  config = cli.load(f"configs/{name}.py:{variants}").config
  for key, value in changes.items():
    config[key] = value
  return config


def test_no_page_is_forgotten():
  assert set(PAGES) == set(LANGUAGE) | ELSEWHERE


@pytest.mark.parametrize(
  ("name", "variants"),
  [
    pytest.param(
      name,
      variants,
      marks=() if name == "quickstart" else pytest.mark.slow,
    )
    for name, pages in LANGUAGE.items()
    for variants in pages
  ],
)
def test_a_page_runs_to_its_end(name, variants, run, request, tmp_path):
  # The quick start brings its text along.
  data = tmp_path
  if name != "quickstart":
    data = request.getfixturevalue("real_data")
  results = run(page(name, variants), data_dir=data)
  assert results["finished"] is True
  for row in results["rows"]:
    assert row["count"] > 0
    assert np.isfinite(row["value"])
  assert {row["evaluation"] for row in results["rows"]} >= {
    "static", "dynamic"
  }  # fmt: skip
  saved = json.loads((tmp_path / "run" / "results.json").read_text())
  assert saved["rows"] == results["rows"]


@pytest.mark.slow
def test_rows_over_a_prefix_say_so(run, tmp_path):
  folder = tmp_path / "enwik8"
  folder.mkdir()
  data = b"<page>[[Anarchism]] is a [[philosophy]]</page>\n" * 4_000
  (folder / f"enwik8.first-{len(data)}").write_bytes(data)
  rows = run(page("enwik8", "standard,smoke"))["rows"]
  ours = [row for row in rows if "lstm" in row["name"]]
  assert ours
  assert all("prefix: first 188,000 bytes" in row["name"] for row in ours)
  assert {row["split"] for row in ours} == {"train", "valid", "test"}


def test_a_trained_run_is_evaluated_and_sampled_again(finished, run, tmp_path):
  trained = finished("trained")["rows"]
  before = {
    path: path.read_bytes()
    for path in (tmp_path / "trained").rglob("*")
    if path.is_file()
  }
  restore = str(tmp_path / "trained")
  for rule in ("sgd", "rms"):
    rows = run(
      page("dynamic_evaluation", f"{rule},smoke", restore=restore), rule
    )["rows"]
    static = [row for row in rows if row["evaluation"] == "static"]
    dynamic = [row for row in rows if row["evaluation"] == "dynamic"]
    assert [row["value"] for row in static] == pytest.approx(
      [row["value"] for row in trained if row["split"] != "train"], rel=1e-6
    )
    assert dynamic[0]["count"] == static[-1]["count"]
    assert (tmp_path / rule / "figures" / "dynamic_search.png").exists()
  texts = []
  for name in ("one", "two"):
    config = page("text_sampling", "smoke", restore=restore)
    config.sample.prime = "the "
    run(config, name)
    texts.append((tmp_path / name / "samples" / "sample.txt").read_text())
  assert texts[0] == texts[1]
  assert texts[0].startswith("the ")
  assert all(path.read_bytes() == data for path, data in before.items())


def test_runs_are_gathered_into_one_page(small, run, tmp_path):
  trained = run(small(dynamic__rule="sgd"), "trained")["rows"]
  run(page("report", "smoke", runs=str(tmp_path / "trained")), "report")
  text = (tmp_path / "report" / "report.md").read_text()
  static = next(row for row in trained if row["split"] == "test")
  assert f"| {static['value']:.3f} |" in text
  assert text.count("| not run |") == 10 + 3 + 5
  figures = {path.stem for path in (tmp_path / "report/figures").iterdir()}
  assert figures == {
    "dynamic_gain_text_characters_test",
    "learning_curves",
    "paper_and_ours",
  }
