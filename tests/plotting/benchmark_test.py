"""The benchmark's figures: their content, and what they refuse."""

import pytest

from seqmodels.plotting import benchmark, style
from seqmodels.plotting.benchmark import SpeedUp

NAMES = ("ours", "flax", "torch")
PANELS = {
  "layer": [
    (
      "T 100",
      [
        SpeedUp("flax", 1.5, 1.6, 1.8, best=False),
        SpeedUp("flax", 2.0, 2.5, 3.0),
        SpeedUp("torch", 0.7, 0.8, 0.85),
      ],
    )
  ],
  "training": [
    ("words", [SpeedUp("torch", 1.0, 1.1, 1.3)]),
    ("characters", [SpeedUp("torch", 2.0, 3.0, 4.0)]),
  ],
  "sampling": [("1 text", [SpeedUp("flax", 1.0, 1.0, 1.0)])],
}
COLUMNS = [
  benchmark.Column(
    "steps T",
    {"ours": [(25, 1.0), (50, 2.0)], "torch": [(25, 3.0), (50, 5.0)]},
    {"ours": [(25, 0.5), (50, 0.75)]},
  ),
  benchmark.Column("layers", {"torch": [(1, 4.0)]}, {}),
]


@pytest.fixture
def figure(monkeypatch):
  """Figures as they were written."""
  from matplotlib import figure as figures

  written = []
  save = figures.Figure.savefig

  def keep(self, *arguments, **options):
    written.append(self)
    return save(self, *arguments, **options)

  monkeypatch.setattr(figures.Figure, "savefig", keep)
  return written


def test_a_dot_lies_at_the_median_between_its_quartiles(figure, tmp_path):
  path = tmp_path / "figures" / "speed.png"
  benchmark.speedups(PANELS, path, names=NAMES, title="Speed")
  assert path.read_bytes()[:4] == b"\x89PNG"
  layer, training, sampling, empty = figure[0].axes
  single, best, torch = layer.containers
  assert [bars[0].get_xydata().tolist() for bars in layer.containers] == [
    [[1.6, 0]], [[2.5, 1]], [[0.8, 2]]
  ]  # fmt: skip
  [segment] = best[2][0].get_segments()
  assert segment[:, 0].tolist() == pytest.approx([2.0, 3.0])
  assert single[0].get_markerfacecolor() == "white"
  assert best[0].get_markerfacecolor() == style.COLOURS[1]
  # A peer has its colour in every panel, whoever is drawn there.
  for bars in (torch, *training.containers):
    assert bars[0].get_color() == style.COLOURS[2]
  assert sampling.containers[0][0].get_color() == style.COLOURS[1]
  assert not empty.axison


def test_panels_have_short_labels_and_values_beside_the_marks(figure, tmp_path):
  benchmark.speedups(PANELS, tmp_path / "speed.png", names=NAMES)
  layer, training, *_ = figure[0].axes
  assert layer.get_title(loc="left") == "layer"
  assert [text.get_text() for text in layer.texts] == ["1.60", "2.50", "0.80"]
  # Values stand outside, away from the line at 1.
  assert [text.get_ha() for text in layer.texts] == ["left", "left", "right"]
  labels = [text.get_text() for text in training.get_yticklabels()]
  assert labels == ["words", "characters"]
  assert training.get_yticks().tolist() == [0, 2]
  assert layer.get_xscale() == "log"
  low, high = layer.get_xlim()
  assert low < 0.7 < 4.0 < high
  [legend] = figure[0].legends
  assert [text.get_text() for text in legend.get_texts()] == [
    *NAMES, "both in float32", "each at its best"
  ]  # fmt: skip


@pytest.mark.parametrize(
  "panels",
  [
    {},
    {"a": []},
    {"a": [("b", [])]},
    {"a": [("b", [SpeedUp("flax", 0, 1, 2)])]},
  ],
)
def test_no_ratio_to_draw_is_refused(panels, tmp_path):
  with pytest.raises(ValueError, match="figure of ratios"):
    benchmark.speedups(panels, tmp_path / "speed.png", names=NAMES)
  assert not (tmp_path / "speed.png").exists()


def test_every_column_has_times_above_memory(figure, tmp_path):
  path = tmp_path / "figures" / "scaling.png"
  benchmark.growth(COLUMNS, path, names=NAMES, title="Growth")
  above, beside, below, empty = figure[0].axes
  lines = {line.get_label(): line for line in above.lines}
  assert lines["ours"].get_xydata().tolist() == [[25, 1], [50, 2]]
  assert lines["torch"].get_xydata().tolist() == [[25, 3], [50, 5]]
  [memory] = below.lines
  assert memory.get_xydata().tolist() == [[25, 0.5], [50, 0.75]]
  [torch] = beside.lines
  assert torch.get_color() == lines["torch"].get_color() == style.COLOURS[2]
  assert memory.get_color() == lines["ours"].get_color() == style.COLOURS[0]
  assert not empty.lines
  assert {pair.get_xscale() for pair in figure[0].axes} == {"log"}
  assert {pair.get_yscale() for pair in figure[0].axes} == {"log"}
  assert below.get_xlabel() == "steps T"
  assert [text.get_text() for text in below.get_xticklabels()] == ["25", "50"]
  assert path.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize(
  "columns",
  [
    [],
    [benchmark.Column("T", {}, {})],
    [benchmark.Column("T", {"ours": [(1, 0.0)]}, {})],
  ],
)
def test_no_growth_to_draw_is_refused(columns, tmp_path):
  with pytest.raises(ValueError, match="figure of growth"):
    benchmark.growth(columns, tmp_path / "scaling.png", names=NAMES)
  assert not (tmp_path / "scaling.png").exists()
