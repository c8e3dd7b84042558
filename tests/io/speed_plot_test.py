"""The figure of speed ratios: what it shows, and what it refuses."""

import pytest

from seqmodels.io import speed_plot

GROUPS = [
  ("layer\nforward", [("flax", 1.5, 1.6, 1.8), ("torch", 0.7, 0.8, 0.85)]),
  ("training", [("torch", 1.0, 1.1, 1.3)]),
]


@pytest.fixture
def drawn(monkeypatch):
  """The axes of every figure, as they stood when it was written."""
  from matplotlib import figure as figures

  kept = []
  save = figures.Figure.savefig

  def keep(self, *arguments, **options):
    kept.append(self.axes[0])
    return save(self, *arguments, **options)

  monkeypatch.setattr(figures.Figure, "savefig", keep)
  return kept


def test_dots_stand_at_the_medians_on_their_group_s_line(drawn, tmp_path):
  path = tmp_path / "figures" / "speed.png"
  speed_plot.ratios(GROUPS, path, title="Speed")
  [axes] = drawn
  dots = {
    bars.get_label(): bars[0].get_xydata().tolist() for bars in axes.containers
  }
  assert dots.keys() == {"flax", "torch"}
  [(flax, above)] = dots["flax"]
  (forward, below), (training, line) = dots["torch"]
  assert (flax, forward, training) == (1.6, 0.8, 1.1)
  assert above < 0 < below < 0.5
  assert line == 1
  names = [text.get_text() for text in axes.get_yticklabels()]
  assert names == ["layer\nforward", "training"]
  assert axes.get_xscale() == "log"
  low, high = axes.get_xlim()
  assert low < 0.7
  assert high > 1.8
  assert path.read_bytes()[:4] == b"\x89PNG"


def test_whiskers_end_at_the_quartiles(drawn, tmp_path):
  speed_plot.ratios(GROUPS, tmp_path / "speed.png")
  [axes] = drawn
  [bars] = [one for one in axes.containers if one.get_label() == "flax"]
  [segment] = bars[2][0].get_segments()
  assert segment[:, 0].tolist() == pytest.approx([1.5, 1.8])


def test_more_labels_than_colours_are_told_apart_by_their_marks(
  drawn, tmp_path
):
  points = [(f"peer {number}", 1.0, 1.1, 1.2) for number in range(13)]
  speed_plot.ratios([("layer", points)], tmp_path / "speed.png")
  [axes] = drawn
  looks = {
    (bars[0].get_color(), bars[0].get_marker()) for bars in axes.containers
  }
  assert len(looks) == 13


@pytest.mark.parametrize(
  "groups", [[], [("a", [])], [("a", [("b", 0.0, 1.0, 2.0)])]]
)
def test_nothing_to_draw_is_refused(groups, tmp_path):
  with pytest.raises(ValueError, match="figure of ratios"):
    speed_plot.ratios(groups, tmp_path / "speed.png")
  assert not (tmp_path / "speed.png").exists()
