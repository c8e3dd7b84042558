"""What tables say of symbols that the training text lacks."""

import gzip

import pytest


def test_unknown_symbols_are_said_and_compressors_see_the_text(
  small, run, corpus_file, tiny_corpus, tmp_path, capsys
):
  edge = len(tiny_corpus) * 95 // 100
  new = (chr(0x4E00 + number) for number in range(2000))
  strange = [next(new) if c == " " else c for c in tiny_corpus[edge:]]
  text = tiny_corpus[:edge] + "".join(strange)
  corpus_file.write_text(text, encoding="utf-8")
  results = run(small(baselines__compressors=True, baselines__ngram_order=2))
  test = [row for row in results["rows"] if row["split"] == "test"]
  count = test[0]["count"]
  unknown = sum(ord(c) > 127 for c in text[-count:])
  assert unknown > 20

  gz = next(row for row in test if row["name"].startswith("gzip -9;"))
  size = len(gzip.compress(text[-count:].encode(), 9, mtime=0))
  assert gz["value"] == pytest.approx(8 * size / count)
  assert f"{unknown} symbols of it are <unk> to the network" in gz["name"]

  said = f"{100 * unknown / count:.1f}% of this split is <unk>"
  scored = [row for row in test if row["evaluation"] != "compressed"]
  assert len(scored) == 3  # bits, errors, and the n-gram's bits
  assert all(row["name"].endswith(said) for row in scored)
  others = [row for row in results["rows"] if row["split"] != "test"]
  assert others
  assert not any("<unk>" in row["name"] for row in others)
  table = capsys.readouterr().out
  assert f"{100 * unknown / count:.1f}% of this" in table
  page = (tmp_path / "run" / "report.md").read_text()
  assert f"- unknown symbols, test: {said}" in page
