"""A page and its template agree, or an error names what differs."""

import pathlib

import pytest

from experiments import page as page_lib


def page(tmp_path: pathlib.Path, text: str) -> page_lib.Page:
  template = tmp_path / "page.md"
  template.write_text(text)
  (tmp_path / "figures").mkdir()
  return page_lib.Page(template, tmp_path)


def test_values_tables_and_samples_come_to_their_places(tmp_path):
  shown = page(
    tmp_path, "{{ loss }} {{ gate.update }}\n{{ cells }}\n{{ sample }}\n"
  )
  shown["loss"] = 2 / 3
  shown["gate"] = {"update": 10}
  shown.table("cells", ["cell", "bits"], [["lstm", 1.5]])
  shown.verbatim("sample", "*as it is*\n")
  assert shown.text() == (
    "0.667 10\n| cell | bits |\n| --- | --- |\n| lstm | 1.500 |\n"
    "```text\n*as it is*\n```\n"
  )


def test_lines_come_under_the_head_in_the_template(tmp_path):
  text = "| cell | bits |\n| --- | --- |\n{{ cells }}\n"
  shown = page(tmp_path, text)
  shown["cells"] = [["a|b", 1.5], ["gru", 2]]
  lines = "| a\\|b | 1.500 |\n| gru | 2 |\n"
  assert shown.text() == text.replace("{{ cells }}\n", lines)
  shown["cells"] = [["gru", 2], ["lstm", 2, 3]]
  with pytest.raises(ValueError, match=r"^page.md: .*lines of \[2, 3\] cells"):
    shown.text()


def test_a_place_without_a_value_is_an_error(tmp_path):
  with pytest.raises(ValueError, match=r"^page.md: 'loss' is undefined"):
    page(tmp_path, "{{ loss }}").text()


def test_a_member_without_a_value_is_an_error(tmp_path):
  shown = page(tmp_path, "{{ lstm.loss }} {{ lstm.bits }}")
  shown["lstm"] = {"loss": 1}
  with pytest.raises(ValueError, match=r"no attribute 'bits'"):
    shown.text()


def test_a_value_without_a_place_is_an_error(tmp_path):
  shown = page(tmp_path, "{{ loss }} {{ lstm.bits }}")
  shown["loss"] = shown["steps"] = 1
  shown["lstm"] = {"bits": 1, "seconds": 2}
  with pytest.raises(ValueError, match=r"no place for lstm.seconds, steps$"):
    shown.text()


def test_settings_are_at_hand_and_need_no_place(tmp_path):
  (tmp_path / "page.md").write_text("{{ settings.steps }} steps")
  settings = {"steps": 5, "rate": 0.1}
  shown = page_lib.Page(tmp_path / "page.md", tmp_path, settings)
  assert shown.text() == "5 steps"


def test_a_section_may_be_left_out(tmp_path):
  text = "A\n{% if loss is defined %}\n{{ loss }} nats\n{% endif %}\nB\n"
  shown = page(tmp_path, text)
  assert shown.text() == "A\nB\n"
  shown["loss"] = 1
  assert shown.text() == "A\n1 nats\nB\n"


def test_a_figure_is_shown_with_its_caption(tmp_path):
  shown = page(tmp_path, "![A curve.](figures/curve.png)\n")
  shown.figure("curve").touch()
  assert shown.text() == "![A curve.](figures/curve.png)\n\nA curve.\n"


def test_a_sample_that_looks_like_a_figure_is_none(tmp_path):
  shown = page(tmp_path, "{{ sample }}\n")
  shown.verbatim("sample", "![A curve.](figures/curve.png)")
  assert shown.text() == "```text\n![A curve.](figures/curve.png)\n```\n"


def test_a_sample_that_looks_like_a_table_is_none(tmp_path):
  shown = page(tmp_path, "{{ sample }}\n")
  shown.verbatim("sample", "| a | b |\n| c |")
  assert shown.text() == "```text\n| a | b |\n| c |\n```\n"


def test_a_caption_may_have_brackets(tmp_path):
  shown = page(tmp_path, "![Of [1].](samples/curve.png)\n")
  (tmp_path / "samples").mkdir()
  shown.figure("curve", "samples").touch()
  assert shown.text() == "![Of [1].](samples/curve.png)\n\nOf [1].\n"


def test_a_template_knows_which_figures_were_drawn(tmp_path):
  text = (
    "{% if 'curve' in figures %}\n![A.](figures/curve.png)\n{% endif %}\nB\n"
  )
  shown = page(tmp_path, text)
  assert shown.text() == "B\n"
  shown.figure("curve").touch()
  assert shown.text() == "![A.](figures/curve.png)\n\nA.\nB\n"


def test_a_figure_that_is_not_shown_is_an_error(tmp_path):
  shown = page(tmp_path, "No figure.\n")
  shown.figure("curve").touch()
  with pytest.raises(ValueError, match=r"does not show the figures curve$"):
    shown.text()


def test_a_figure_that_was_not_drawn_is_an_error(tmp_path):
  shown = page(tmp_path, "![A curve.](figures/curve.png)\n")
  with pytest.raises(ValueError, match=r"not drawn: curve$"):
    shown.text()
  shown.figure("curve")
  with pytest.raises(ValueError, match=r"not drawn: curve$"):
    shown.text()


def test_the_result_rows_are_a_table(tmp_path):
  page(tmp_path, "{{ results }}\n").write([])
  assert (tmp_path / "report.md").read_text().startswith("| name | split |")
