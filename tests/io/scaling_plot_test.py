"""The figure of growth: what it shows, and what it refuses."""

import pytest

from seqmodels.io import canvas, scaling_plot

COLUMNS = [
  scaling_plot.Column(
    "steps T",
    {"ours": [(25, 1.0), (50, 2.0)], "torch": [(25, 3.0), (50, 5.0)]},
    {"ours": [(25, 0.5), (50, 0.75)]},
  ),
  scaling_plot.Column("layers", {"torch": [(1, 4.0)]}, {}),
]


def test_every_column_has_times_above_memory(tmp_path, monkeypatch):
  from matplotlib import figure as figures

  kept = []
  save = figures.Figure.savefig

  def keep(self, *arguments, **options):
    kept.extend(self.axes)
    return save(self, *arguments, **options)

  monkeypatch.setattr(figures.Figure, "savefig", keep)
  path = tmp_path / "figures" / "scaling.png"
  scaling_plot.grid(COLUMNS, path, title="Growth")
  above, beside, below, empty = kept
  lines = {line.get_label(): line for line in above.lines}
  assert lines["ours"].get_xydata().tolist() == [[25, 1], [50, 2]]
  assert lines["torch"].get_xydata().tolist() == [[25, 3], [50, 5]]
  [memory] = below.lines
  assert memory.get_xydata().tolist() == [[25, 0.5], [50, 0.75]]
  [torch] = beside.lines
  assert torch.get_color() == lines["torch"].get_color() == canvas.COLOURS[1]
  assert memory.get_color() == lines["ours"].get_color() == canvas.COLOURS[0]
  assert not empty.lines
  assert {pair.get_xscale() for pair in kept} == {"log"}
  assert {pair.get_yscale() for pair in kept} == {"log"}
  assert below.get_xlabel() == "steps T"
  assert [text.get_text() for text in below.get_xticklabels()] == ["25", "50"]
  assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
  "columns",
  [
    [],
    [scaling_plot.Column("T", {}, {})],
    [scaling_plot.Column("T", {"ours": [(1, 0.0)]}, {})],
  ],
)
def test_nothing_to_draw_is_refused(columns, tmp_path):
  with pytest.raises(ValueError, match="figure of growth"):
    scaling_plot.grid(columns, tmp_path / "scaling.png", title="")
  assert not (tmp_path / "scaling.png").exists()
