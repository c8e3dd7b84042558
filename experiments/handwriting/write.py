"""Writes a text with the handwriting network of an earlier run: SVG and PNG."""

import os
import pathlib
import sys
import time

import jax
import numpy as np
from ml_collections import config_dict

from experiments import page as page_lib
from experiments import restore
from experiments.handwriting import task
from seqmodels import errors, trained_handwriting
from seqmodels.io import distributed, results
from seqmodels.sampling import handwriting as sampling

TEMPLATE = pathlib.Path(__file__).with_name("written.md")
# Weights that come with the package, used where none are named.
SHIPPED = "handwriting_synthesis"
# Digits and most marks, in the paper's alphabet.
_ALIKE = (
  "to this network the characters {} are one and the same symbol, with other "
  "digits and marks; it writes any of them there"
)


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
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
  with distributed.Interruption() as signals:
    sampling.check_bias(config.bias)
    trained = restore.reload(
      config.restore, "handwriting", dtype=config.dtype, shipped=SHIPPED
    )
    if trained.model.window is None:
      raise errors.UserError(
        f"the network of {config.restore} predicts pen movements and knows no "
        "text; give a run of configs/handwriting_synthesis.py"
      )
    trained_handwriting.lines_of(trained.symbols, config.text, config.width)
    alike = trained.symbols.alphabet.alike(config.text)
    if alike:
      print(f"note: {_ALIKE.format(alike)}", file=sys.stderr, flush=True)
    prime, before = _prime(config, trained, data_dir, signals)
    start = time.perf_counter()
    page = trained_handwriting.page(
      trained.model,
      trained.params,
      trained.symbols,
      config.text,
      bias=config.bias,
      seed=config.seed,
      width=config.width,
      points_per_character=config.points_per_character,
      prime=prime,
      before=before,
      check=signals.check,
    )
    seconds = time.perf_counter() - start
    return _page(config, workdir, page, seconds, alike)


def _prime(
  config: config_dict.ConfigDict,
  trained: restore.LoadedRun,
  data_dir: pathlib.Path,
  signals: distributed.Interruption,
) -> tuple[np.ndarray | None, str]:
  """A real line's standardised points, and what it says with a space."""
  if not config.prime:
    return None, ""
  data = task.load(trained.config, data_dir, signals)
  task.require_same(
    trained.symbols, data, pathlib.Path(os.path.expanduser(config.restore))
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
  page: trained_handwriting.Page,
  seconds: float,
  alike: str,
) -> list[results.Row]:
  folder = workdir / "samples"
  folder.mkdir(exist_ok=True)
  page.save(folder / "page.svg")
  report = page_lib.Page(TEMPLATE, workdir)
  page.save(report.figure("page", "samples"))
  samples = page.samples
  points = sum(len(sample.ink) for sample in samples)
  stopped = sum(sample.stopped for sample in samples)
  by = config.restore or f"the shipped {SHIPPED}"
  name = f"written by {by}, bias {config.bias:g}"
  rows = [
    results.row(
      name + (f", primed with {config.prime}" if config.prime else ""),
      split="none",
      evaluation="sampled",
      metric="points_per_second",
      value=points / max(seconds, 1e-9),
      count=points,
      seconds=seconds,
    )
  ]
  report["network"] = by
  report["bias"], report["seed"] = f"{config.bias:g}", config.seed
  report["device"] = jax.devices()[0].device_kind
  report["stopped"], report["lines"] = stopped, len(samples)
  report["points"] = config.points_per_character
  report["note"] = f" Note: {_ALIKE.format(alike)}." if alike else ""
  report["text"] = results.verbatim(config.text)
  report.write(rows)
  return rows
