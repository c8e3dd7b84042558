"""The Wikipedia page on a made prefix: Table 2's columns, said to be a part."""

import pytest

from experiments import cli

PREFIX = b"<page>[[Anarchism]] is a [[philosophy]]</page>\n" * 4_000


@pytest.fixture
def prefix(tmp_path):
  folder = tmp_path / "enwik8"
  folder.mkdir()
  (folder / f"enwik8.first-{len(PREFIX)}").write_bytes(PREFIX)


@pytest.mark.slow
@pytest.mark.usefixtures("prefix")
def test_a_reading_of_the_paper_ends_in_all_columns_of_table_2(run):
  config = cli.load("configs/enwik8.py:paper,seven,smoke").config
  config.baselines.update(ngram_order=0, compressors=False)
  config.sample.length = 0
  config.dynamic.update(search_rates=(1e-3,), search_segments=(20,))
  rows = run(config)["rows"]
  actual = {
    (row["split"], row["evaluation"]): row
    for row in rows
    if row["metric"] == "bits_per_byte"
  }
  assert {key: row["reference"] for key, row in actual.items()} == {
    ("train", "static"): 1.42,
    ("valid", "static"): 1.67,
    ("valid", "dynamic"): 1.33,
  }
  for row in rows:
    assert f"prefix: first {len(PREFIX):,} bytes of enwik8" in row["name"]
    assert row["name"].startswith("7x8 peephole lstm, no input skips")
    assert row["count"] == 1_500  # the smoke form keeps so many of each split
