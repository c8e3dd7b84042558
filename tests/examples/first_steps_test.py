"""The notebook for beginners runs from its first cell to its last."""

import json
import pathlib

import matplotlib as mpl
import pytest

PROJECT = pathlib.Path(__file__).resolve().parents[2]


@pytest.fixture
def notebook():
  path = PROJECT / "examples" / "first_steps.ipynb"
  return json.loads(path.read_text("utf-8"))


def test_it_is_kept_without_outputs(notebook):
  for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
      assert cell["outputs"] == []
      assert cell["execution_count"] is None


@pytest.mark.slow
def test_its_cells_run_in_order(notebook, monkeypatch, capsys):
  mpl.use("agg")
  monkeypatch.chdir(PROJECT / "examples")
  names: dict = {}
  for cell in notebook["cells"]:
    if cell["cell_type"] == "code":
      exec(compile("".join(cell["source"]), cell["id"], "exec"), names)
  names["plt"].close("all")
  assert names["losses"][-1] < 0.8 * names["losses"][0]
  assert names["difference"] < 1e-3
  simple, lstm = names["scores"].values()
  assert lstm.perplexity < simple.perplexity < names["V"] / 2
  printed = capsys.readouterr().out.splitlines()
  assert "[1 2 6 0]" in printed
  assert any("'results.json'" in line for line in printed)
  assert printed[-1] == "True"
