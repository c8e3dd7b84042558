"""The report's figure: which of the measurements it shows."""

import pytest

from experiments.benchmark import case, peers_jax, report
from seqmodels.plotting.benchmark import SpeedUp

FLAX, TORCH = case.PEERS["flax"], case.PEERS["torch"]


@pytest.fixture
def panels(monkeypatch, tmp_path):
  """The panels that are drawn of some records."""

  def draw(*records):
    drawn = [{}]
    monkeypatch.setattr(
      report.figures, "speedups", lambda panels, *_, **__: drawn.append(panels)
    )
    report.draw_speedups(tmp_path / "speed.png", records)
    return drawn[-1]

  return draw


def test_a_panel_shows_peers_in_float32_and_each_at_its_best(
  panels, entry, record
):
  layer = record(
    entry("ours", [4.0]),
    entry("ours", [2.0], precision="bfloat16"),
    entry("ours", [1.0], kind="peepholes"),
    entry(FLAX, [8.0]),
    entry(FLAX, [16.0], precision="bfloat16"),
    entry(case.PEERS["nnx"], [8.0]),
    entry(TORCH, [6.0]),
    entry(TORCH, [3.0], precision="bfloat16", note="autocast"),
    entry(TORCH, [1.0], precision="bfloat16", note="cast"),
    label="T 100",
  )
  assert panels(layer) == {
    "layer, forward": [
      (
        "T 100",
        [
          SpeedUp("Flax", 2.0, 2.0, 2.0, best=False),
          SpeedUp("Flax", 4.0, 4.0, 4.0, best=True),
          SpeedUp("PyTorch", 1.5, 1.5, 1.5, best=False),
          SpeedUp("PyTorch", 0.5, 0.5, 0.5, best=True),
        ],
      )
    ]
  }


def test_other_kinds_of_work_and_other_loops_of_a_peer_are_told_apart(
  panels, entry, record
):
  chunks = {"kind": "chunks of 2"}
  storage = record(
    entry("ours", [1.0]),
    entry("ours", [2.0], **chunks),
    entry(FLAX, [3.0], **chunks),
    label="T 200",
  )
  sampling = record(
    entry("ours", [1.0]),
    entry(peers_jax.FLAX_SAMPLER, [2.0]),
    entry("torch.nn.LSTM", [4.0]),
    entry("torch.nn.LSTMCell", [3.0]),
    work="sampling",
    label="1 text",
  )
  coder = record(
    entry("ours", [1.0], kind="fast"), entry("xz", [1.0]), work="compress"
  )
  assert panels(storage, sampling, coder) == {
    "layer, forward": [
      ("T 200, chunks of 2", [SpeedUp("Flax", 1.5, 1.5, 1.5, best=False)])
    ],
    "sampling": [
      (
        "1 text",
        [
          SpeedUp("Flax", 2.0, 2.0, 2.0, best=False),
          SpeedUp("PyTorch", 3.0, 3.0, 3.0, best=False),
        ],
      )
    ],
  }
  assert panels(coder) == {}
