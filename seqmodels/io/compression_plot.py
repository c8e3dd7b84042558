"""Figures of a compressed file: its cost along the way, and by whom."""

from collections.abc import Mapping, Sequence

import numpy as np

from seqmodels import units
from seqmodels.io import canvas


def along_file(
  curve: Sequence[tuple[float, int]],
  path: canvas.Path,
  *,
  peers: Mapping[str, float],
  title: str,
) -> None:
  """Bits a byte of each block and of all so far.

  Args:
    curve: bytes of the original and of its code, block by block.
    path: the PNG to write.
    peers: by name, bits a byte that others made of the whole file.
    title: above the figure.
  """
  given, made = np.array(curve, float).T
  ends = np.cumsum(given) / 1e6
  with canvas.axes(path, title) as pair:
    pair.plot(ends, 8 * made / given, color=canvas.GREY, lw=1, label="a block")
    running = 8 * np.cumsum(made) / np.cumsum(given)
    pair.plot(
      ends,
      running,
      color=canvas.COLOURS[0],
      label=f"all so far: {running[-1]:.3f}",
    )
    for number, (name, bits) in enumerate(peers.items(), start=1):
      colour = canvas.COLOURS[number % len(canvas.COLOURS)]
      pair.axhline(
        bits, color=colour, ls="--", lw=1, label=f"{name}: {bits:.3f}"
      )
    pair.set_xlabel("million bytes")
    pair.set_ylabel(canvas.LABELS["bits_per_byte"])
    pair.set_ylim(0, None)
    pair.legend(frameon=False, fontsize=8)


def components(
  inputs: Sequence[str],
  alone: Sequence[float],
  share: Sequence[float],
  path: canvas.Path,
  *,
  mixed: float,
  title: str,
) -> None:
  """What each input of the mixer would cost alone, and its part in the whole.

  Args:
    inputs: their names.
    alone: nats, had each coded the file by itself.
    share: sums of |weight x log-odds|.
    path: the PNG to write.
    mixed: nats of the mixture.
    title: above the figure.
  """
  rows = np.arange(len(inputs))
  shares = np.asarray(share, float) / max(np.sum(share), 1e-9)
  with canvas.figure(path, height=1.6 + 0.24 * len(inputs)) as figure:
    figure.suptitle(title, fontsize=11)
    left, right = figure.subplots(1, 2, sharey=True)
    for pair in (left, right):
      canvas.clean(pair)
    left.barh(rows, np.asarray(alone) / units.LOG2 / 8e3, color=canvas.GREY)
    left.axvline(
      mixed / units.LOG2 / 8e3, color=canvas.COLOURS[0], label="the mixture"
    )
    left.set_yticks(rows, inputs, fontsize=8)
    left.invert_yaxis()
    left.set_xlabel("kB, alone")
    left.legend(frameon=False, fontsize=8)
    right.barh(rows, 100 * shares, color=canvas.COLOURS[0])
    right.set_xlabel("% of all |weight x log-odds|")
