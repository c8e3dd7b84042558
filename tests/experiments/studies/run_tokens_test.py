"""The text that a study is given."""

from configs import fundamentals as page
from experiments.studies import run


def test_files_of_a_folder_are_chosen_and_odd_line_ends_named(tmp_path, capsys):
  (tmp_path / "a.txt").write_text("one\u2028two\n" * 20)
  (tmp_path / "a.pyc").write_bytes(b"\xff")
  config = page.get_config("zipf")
  config.data.update(source="text", path=str(tmp_path), files="*.txt")
  study = run.Study(config, tmp_path, tmp_path, None, None)
  assert "w" in study.tokens("characters").vocabulary
  assert "20 U+2028 (line separator)" in capsys.readouterr().err
