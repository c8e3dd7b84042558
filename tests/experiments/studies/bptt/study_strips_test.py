"""The figure of segments: boxes where they should stand."""

import numpy as np

from experiments.studies.bptt import study


def test_every_segment_has_a_box_and_every_character_a_place(drawn, tmp_path):
  path = tmp_path / "figures" / "segments.png"
  study.strips(
    path, "Cuts", "ab\ncd", {"equal": [2, 4], "whole": [], "$one$": [1]}
  )
  [[axes]] = drawn
  boxes = [
    (round(-bar.get_y() - 0.25), bar.get_x() + 0.42, bar.get_width() + 0.16)
    for bar in axes.patches
  ]
  # Row, first character, how many.
  want = [(0, 0, 2), (0, 2, 2), (0, 4, 1), (1, 0, 5), (2, 0, 1), (2, 1, 4)]
  np.testing.assert_allclose(boxes, want, atol=1e-9)
  shown = [text.get_text() for text in axes.texts]
  assert shown[:6] == ["equal", "a", "b", "\u23ce", "c", "d"]
  assert path.read_bytes()[:4] == b"\x89PNG"
