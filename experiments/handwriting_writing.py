"""Writes a text with the pen network of an earlier run: SVG and PNG."""

import os
import pathlib
import sys
import time
from typing import Any

import jax
import numpy as np
from ml_collections import config_dict

from experiments import pen_assembly, pen_runs, pen_samples
from seqmodels import errors
from seqmodels.io import ink_plot, ink_svg, interruption, report
from seqmodels.sampling import handwriting as sampling
from seqmodels.sampling import text_lines

# Lines drawn side by side.
BATCH = 16
# Characters of a page: beyond it, hundreds of lines would be one picture.
LONGEST = 5_000
# Digits and most marks, in the paper's alphabet.
_ALIKE = (
  "to this network the characters {} are one and the same symbol, with other "
  "digits and marks; it writes any of them there"
)


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[report.Row]:
  """Breaks the text into lines, writes them and lays them out as a page.

  Args:
    config: `restore` names the run, `text` what to write; see
      `configs.handwriting_synthesis.writing`.
    workdir: the run folder; the page is `samples/page.svg` and `.png`.
    data_dir: where the data set is looked for that a prime is a line of.

  Returns:
    One row: points drawn a second, compilation included.

  Raises:
    UserError: no such run, one that writes no texts, a text that its alphabet
      cannot spell, or a prime that is not there.
  """
  with interruption.Interruption() as signals:
    sampling.check_bias(config.bias)
    trained = pen_runs.reload(config.restore, dtype=config.dtype)
    if trained.network.window is None:
      raise errors.UserError(
        f"the network of {config.restore} predicts pen movements and knows no "
        "text; give a run of configs/handwriting_synthesis.py"
      )
    if len(config.text) > LONGEST:
      raise errors.UserError(
        f"config.text has {len(config.text):,} characters and a page may have "
        f"{LONGEST:,}; write it in parts"
      )
    lines = text_lines.broken(config.text, config.width)
    for line in filter(None, lines):
      trained.pen.alphabet.encode(line)
    alike = trained.pen.alphabet.alike(config.text)
    if alike:
      print(f"note: {_ALIKE.format(alike)}", file=sys.stderr, flush=True)
    prime, before = _prime(config, trained, data_dir, signals)
    start = time.perf_counter()
    samples: list[pen_samples.Sample] = []
    words = [line for line in lines if line]
    # Batches of equal shapes, as one is compiled: the last is filled up.
    batch = min(BATCH, len(words))
    for first in range(0, len(words), batch):
      signals.check()
      part = words[first : first + batch]
      samples += pen_samples.write(
        trained.network,
        trained.params,
        trained.pen,
        [*part, *[part[-1]] * (batch - len(part))],
        bias=config.bias,
        seed=config.seed + first,
        points_per_character=config.points_per_character,
        prime=prime,
        before=before,
        longest=max(map(len, words)),
      )[: len(part)]
    seconds = time.perf_counter() - start
    return _page(config, workdir, lines, samples, seconds, alike)


def _prime(
  config: config_dict.ConfigDict,
  trained: pen_runs.Trained,
  data_dir: pathlib.Path,
  signals: interruption.Interruption,
) -> tuple[np.ndarray | None, str]:
  """A real line's standardised points, and what it says with a space."""
  if not config.prime:
    return None, ""
  data = pen_assembly.load(trained.config, data_dir, signals)
  pen_assembly.require_same(
    trained.pen, data, pathlib.Path(os.path.expanduser(config.restore))
  )
  for lines in data.splits.values():
    if config.prime in lines.names:
      index = lines.index(config.prime)
      return lines.line(index), f"{lines.texts[index]} "
  raise errors.UserError(
    f"config.prime is {config.prime!r}, and none of the "
    f"{sum(map(len, data.splits.values())):,} lines of "
    f"{trained.config.data.source!r} is called that"
    f"{errors.closest(config.prime, [*data.splits['train'].names[:2000]])}"
  )


def _page(
  config: config_dict.ConfigDict,
  workdir: pathlib.Path,
  lines: list[str],
  samples: list[pen_samples.Sample],
  seconds: float,
  alike: str,
) -> list[report.Row]:
  lost = [sample.text for sample in samples if not sample.drawable]
  if lost:
    raise errors.RunError(
      f"the network wrote nothing that can be drawn for {lost[0]!r}: it has "
      "not learned to; train it longer"
    )
  written = iter(samples)
  inks: list[Any] = [next(written).ink if line else None for line in lines]
  folder = workdir / "samples"
  folder.mkdir(exist_ok=True)
  ink_svg.write(folder / "page.svg", inks, title=config.text)
  ink_plot.lines(folder / "page.png", "", [("", ink) for ink in inks])
  points = sum(len(sample.ink) for sample in samples)
  stopped = sum(sample.stopped for sample in samples)
  name = f"written by {config.restore}, bias {config.bias:g}"
  rows = [
    report.row(
      name + (f", primed with {config.prime}" if config.prime else ""),
      split="none",
      evaluation="sampled",
      metric="points_per_second",
      value=points / max(seconds, 1e-9),
      count=points,
      seconds=seconds,
    )
  ]
  text = report.page(
    f"Written by {config.restore}",
    rows,
    introduction=(
      f"Bias {config.bias:g}, seed {config.seed}, on "
      f"{jax.devices()[0].device_kind}. The window left its text by itself in "
      f"{stopped} of {len(samples)} lines; the others were cut after "
      f"{config.points_per_character} points a character."
      + (f" Note: {_ALIKE.format(alike)}." if alike else "")
    ),
    figures=[report.Figure("samples/page.png", "The page.")],
    sample=config.text,
    sample_caption="Text",
  )
  report.write(workdir, text)
  return rows
