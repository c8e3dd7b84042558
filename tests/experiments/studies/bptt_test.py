"""The page on backpropagation through time, end to end at its smallest."""

import re

import numpy as np
import pytest

import experiments
from experiments import command_line

FIGURES = {
  *("strategies", "unbiased", "variance", "reach", "initialisation"),
  *("one_direction", "cost", "training", "copying"),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
  """One smoke run for all tests of its page."""
  folder = tmp_path_factory.mktemp("bptt")
  config = command_line.load("configs/fundamentals.py:bptt,smoke").config
  return experiments.run(config, folder / "run", folder), folder / "run"


@pytest.fixture(scope="module")
def page(finished):
  return (finished[1] / "report.md").read_text()


def table(page, heading):
  """The first table below a heading, a list of cells a line."""
  below = page.split(f"## {heading}\n")[1].split("\n## ")[0]
  lines = re.findall(r"^\| (.*) \|$", below, re.MULTILINE)
  cells = [
    [cell.strip() for cell in re.split(r"(?<!\\)\|", line)] for line in lines
  ]
  rule = next(i for i, line in enumerate(cells[1:], 1) if "---" in line[0])
  return cells[rule + 1 :]


def test_it_runs_to_its_end(finished):
  results, folder = finished
  assert results["finished"] is True
  rows = results["rows"]
  assert all(row["metric"] == "perplexity" for row in rows)
  assert all(row["count"] > 0 and np.isfinite(row["value"]) for row in rows)
  names = [row["name"] for row in rows]
  assert names[:4] == [
    *("full", "segments of 5", "randomised, p = 0.8", "window of 5")
  ]
  assert sum(name.startswith("copying over 6 steps") for name in names) == 4
  drawn = {path.stem for path in (folder / "figures").iterdir()}
  assert drawn == FIGURES


def test_every_figure_stands_on_the_page(page):
  for name in FIGURES:
    assert f"(figures/{name}.png)" in page


def test_the_derivatives_by_hand_are_those_of_autodiff(page):
  found = table(page, "The gradient, written out")
  assert len(found) == 6
  for _, *differences in found:
    assert all(float(value) < 1e-13 for value in differences if value)


def test_all_outcomes_together_have_no_bias(page):
  found = table(page, "Randomised truncation has no bias")
  for keep, exact, score, *_ in found[:2]:
    assert float(keep) in (0.5, 0.8)
    assert float(exact) < 1e-12
    assert float(score) < 5


def test_the_linear_network_has_its_closed_form(page):
  found = {name: values for name, *values in table(
    page, "How far back a gradient reaches")}  # fmt: skip
  assert [float(value) for value in found["linear"]] == [0.9, 1.1, 2.0]
  for linear, tanh in zip(found["linear"], found["Elman, tanh"], strict=True):
    assert float(tanh) < float(linear)
  assert re.search(r"agrees with rho\^k to \d\.\de-1[3-6]", page)


def test_recomputation_needs_less_memory(page):
  *_, last = table(page, "What the full gradient costs")
  length, _, kept, recomputed, *_ = last
  assert length == "64"
  assert float(recomputed) < float(kept)


def test_the_bound_on_the_angle_holds(page):
  for _, tangent, bound, _ in table(page, "Far gradients all point one way"):
    assert float(tangent) <= float(bound)
  assert "The bound holds at every k" in page
