"""Tables 3 and 4 of the report, over run folders written by hand."""

import json

import pytest

from configs import handwriting_prediction, handwriting_synthesis
from experiments.report import papers_tables
from experiments.report import run as report_experiment
from experiments.report import runs as runs_lib
from seqmodels import errors
from seqmodels.io import results as reports


def write_run(folder, config, nats=None):
  """A run folder with a validation score, or of a run still at work."""
  folder.mkdir(parents=True)
  (folder / "config.json").write_text(json.dumps(config.to_dict()))
  (folder / "run.json").write_text(
    json.dumps({"seconds": 7200, "commit": "abcdef0123", "command": "python"})
  )
  if nats is not None:
    rows = [
      reports.row(
        f"net{more}", split="valid", evaluation="static", metric=metric,
        value=value, count=889_689, seconds=9.0,
      )
      for more, metric, value in (
        ("", "nats_per_sequence", nats),
        ("; of the mixture's mean", "sse", 0.2),
        ("; of the likeliest component's mean", "sse", 0.9),
        ("; half of it", "half_sse", 0.45),
      )
    ]  # fmt: skip
    (folder / "results.json").write_text(json.dumps({"rows": rows}))
  return folder


def lines(runs):
  """Cells of the table's lines by network and regularisation."""
  text = papers_tables.table([runs_lib.read(run) for run in runs])
  body = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in text.splitlines()[2:]
  ]
  return {tuple(cells[:2]): cells[2:] for cells in body}


def test_each_line_holds_the_papers_figures_and_the_best_run(tmp_path):
  prediction = handwriting_prediction.get_config()
  actual = lines(
    [
      write_run(tmp_path / "worse", prediction, -1000.0),
      write_run(tmp_path / "better", prediction, -1050.0),
      write_run(
        tmp_path / "begun", handwriting_prediction.get_config("one_layer")
      ),
    ]
  )
  assert actual["prediction, 3 x 400", "plain"][:5] == [
    "-1041", "-1,050", "0.41", "0.450", "better",
  ]  # fmt: skip
  assert actual["prediction, 3 x 400", "plain"][5:] == [
    "net", "n/a", "2 h 0 min", "abcdef0",
  ]  # fmt: skip
  one_layer = actual["prediction, 1 x 900", "plain"]
  assert one_layer[:5] == ["-1025.7", "", "0.4", "", "begun: not finished"]
  synthesis = actual["synthesis, 3 x 400", "adaptive weight noise"]
  assert synthesis[:5] == ["-1128.2", "", "0.23", "", "not run"]
  assert len(actual) == 5


@pytest.mark.parametrize(
  ("group", "key", "value"),
  [("data", "source", "synthetic"), ("data", "limit", 5)],
)
def test_other_data_stand_on_no_line(group, key, value, tmp_path):
  config = handwriting_synthesis.get_config()
  config[group][key] = value
  run = runs_lib.read(write_run(tmp_path / "run", config, -2000.0))
  assert papers_tables.line_of(run) is None


def test_pen_networks_are_gathered_beside_language_models(tmp_path):
  runs = tmp_path / "runs"
  write_run(runs / "pen", handwriting_synthesis.get_config(), -1100.0)
  actual = runs_lib.gather(str(runs), own=tmp_path)
  assert ([run.name for run in actual.pens], actual.runs) == (["pen"], [])
  page = report_experiment.fill(actual, tmp_path).text()
  assert page.startswith("# Report on 1 run\n")
  assert "Tables 3 and 4: handwriting, validation lines" in page
  assert "| pen | python |" in page


def test_settings_of_no_pen_network_are_damaged(tmp_path):
  folder = write_run(tmp_path / "run", handwriting_prediction.get_config())
  (folder / "config.json").write_text('{"experiment": "handwriting"}')
  with pytest.raises(errors.UserError, match="not that of a handwriting"):
    runs_lib.read(folder)
