"""Rows, tables, the page."""

import json
import math

import pytest

from seqmodels.io import results


def row(**changes):
  fields = {
    "name": "lstm",
    "split": "test",
    "evaluation": "static",
    "metric": "bits_per_character",
    "value": 1.36,
    "count": 442_423,
    "seconds": 2.0,
    **changes,
  }
  return results.row(fields.pop("name"), **fields)


def test_a_row_has_the_fixed_fields_and_is_strict_json():
  made = row(value=1, count=5, reference=1, reference_source="Table 1")
  assert list(made) == [
    "name",
    "split",
    "evaluation",
    "metric",
    "value",
    "unit",
    "count",
    "seconds",
    "reference",
    "reference_source",
  ]
  assert json.loads(json.dumps(made, allow_nan=False)) == made


def test_every_metric_of_the_results_has_a_unit():
  assert set(results.METRICS) == {
    "bits_per_character",
    "bits_per_byte",
    "perplexity",
    "error_rate",
    "nats_per_sequence",
    "nats_per_point",
    "sse",
    "half_sse",
    "compressed_bytes",
    "tokens_per_second",
    "points_per_second",
    "bytes_per_second",
    "operations_per_second",
    "speed_ratio",
    "share_of_products",
    "constant_cells",
    "largest_cell",
  }
  assert all(results.METRICS.values())


@pytest.mark.parametrize("value", [math.inf, math.nan])
def test_a_value_that_is_no_number_is_null(value):
  made = row(value=value)
  assert made["value"] is None
  assert "n/a" in results.console_table([made])


@pytest.mark.parametrize(
  "changes",
  [
    {"metric": "bpc"},
    {"count": -1},
    {"seconds": -0.1},
    {"reference": 1.32},
    {"reference_source": "Table 1"},
  ],
)
def test_a_row_that_could_mislead_is_refused(changes):
  with pytest.raises(ValueError):
    row(**changes)


def test_the_paper_stands_beside_ours_with_the_difference():
  rows = [
    row(reference=1.32, reference_source="Graves (2013), Table 1"),
    row(evaluation="dynamic", value=1.3),
  ]
  lines = results.console_table(rows).splitlines()
  assert lines[0].split() == [
    *("name", "split", "evaluation", "metric", "ours", "paper"),
    *("difference", "scored"),
  ]
  assert lines[1].split()[4:] == ["1.360", "1.32", "+0.040", "442,423"]
  assert lines[2].split()[4:] == ["1.300", "442,423"]
  starts = [line.index("442,423") for line in lines[1:]]
  assert starts == [lines[0].index("scored")] * 2


def test_a_long_name_goes_on_below_its_row():
  long = "1x1000 peephole lstm; " + "sgd, segment 20, " * 4
  lines = results.console_table([row(name=long), row()]).splitlines()
  assert len(lines) == 1 + 3 + 1
  assert max(map(len, lines)) < 120
  assert lines[1].endswith("442,423")
  assert " ".join(line[:44].strip() for line in lines[1:4]) == long.strip()


def test_without_a_reference_there_are_no_empty_columns():
  assert "paper" not in results.console_table([row()])
  assert "difference" not in results.markdown_table([row()])


def test_a_name_cannot_break_a_markdown_table():
  lines = results.markdown_table([row(name="a|b")]).splitlines()
  assert len(lines) == 3
  assert lines[2].startswith("| a\\|b | test |")


def test_no_rows_are_a_header_alone():
  assert results.console_table([]).startswith("name  split")


def test_a_markdown_table_names_the_papers():
  rows = [row(reference=1.32, reference_source="Graves (2013), Table 1")]
  text = results.markdown_table(rows)
  cells = (
    "| lstm | test | static | bits_per_character | 1.360 | 1.32 | +0.040 |"
  )
  assert cells in text
  assert text.endswith("\n\nPaper: Graves (2013), Table 1.")


def test_a_sample_stays_inside_its_fence_and_loses_control_characters():
  text = results.verbatim("a\n````\n\x1b[31m\x00é\u4e2d\tb")
  fence = "`````"
  assert text.count(fence) == 2
  inside = text.split(fence)[1]
  assert inside == "text\na\n````\n\ufffd[31m\ufffdé\u4e2d\tb\n"


def test_the_page_is_written_whole(tmp_path):
  path = results.write(tmp_path, "# t\n")
  assert path == tmp_path / "report.md"
  assert path.read_text() == "# t\n"
  assert [entry.name for entry in tmp_path.iterdir()] == ["report.md"]


def test_a_table_heeds_the_width_of_its_terminal():
  name = "1x512 lstm, adam, 16 streams of 50; a note that takes some room"
  rows = [row(name=name), row(name="gzip", split="valid", value=2.0)]
  for width in (400, 100, 72):
    table = results.console_table(rows, width)
    assert max(map(len, table.splitlines())) <= width
    words = " ".join(line.split("  ")[0] for line in table.splitlines()[1:])
    assert words == f"{name} gzip", width
  assert len(results.console_table(rows, 400).splitlines()) == 3
  narrow = results.console_table(rows, 60).splitlines()
  assert max(map(len, narrow)) <= 60
  assert narrow[0] == "name"
  assert " ".join(narrow[2:4]) == name
  assert narrow[4].split() == (
    ["test", "static", "bits_per_character", "1.360", "442,423"]
  )


def test_absurd_figures_are_written_with_an_exponent():
  table = results.console_table([row(value=1e40), row(value=-3.5e12)])
  assert "1.000e+40" in table
  assert "-3.500e+12" in table
  assert results.figure(1e9) == "1,000,000,000"


def test_a_table_with_compressors_says_what_each_row_may_see():
  rows = [row(evaluation="static"), row(evaluation="compressed")]
  for made in (results.console_table(rows), results.markdown_table(rows)):
    assert "static sees weights" in made
    assert "compressed sees the text alone" in made
    assert "dynamic" not in made
  for alone in rows:
    assert "sees" not in results.console_table([alone])
