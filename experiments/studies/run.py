"""The fundamentals: studies of seconds, each leaving a page to read."""

import importlib
import pathlib
import sys
from typing import NamedTuple

import numpy as np
from ml_collections import config_dict

from experiments import page as page_lib
from seqmodels.data.text import tokens
from seqmodels.io import distributed, results

# A package each: `study.run(study) -> rows` fills the places of its page.md,
# `study.page`.
STUDIES = {
  name: f"experiments.studies.{name}.study"
  for name in (
    "autoregressive",
    "zipf",
    "ngram",
    "partitioning",
    "rnn_from_scratch",
    "perplexity",
    "decoding",
    "bptt",
    "exercises",
  )
}


class Study(NamedTuple):
  """What a study is given.

  Attributes:
    config: its settings; the study's own are `config.settings`.
    workdir: the run folder.
    data_dir: where data sets are looked for.
    page: what its template needs.
    signals: to be checked between parts: `signals.check()` raises.
  """

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  data_dir: pathlib.Path
  page: page_lib.Page
  signals: distributed.Interruption

  @property
  def random(self) -> np.random.Generator:
    """Numbers that the seed decides, the same at every call."""
    return np.random.default_rng(self.config.seed)

  def tokens(self, tokenizer: str, **changes: object) -> tokens.Tokens:
    """The corpus that `config.data` names, as ids of that tokenizer.

    What there is to know of it is printed.

    Args:
      tokenizer: "characters" or "words".
      **changes: other arguments of `tokens.load_tokens`.
    """
    data = self.config.data
    settings: dict[str, object] = {
      "source": data.source,
      "tokenizer": tokenizer,
      "partition": "mikolov" if data.source == "ptb" else "standard",
      "data_dir": self.data_dir,
      "path": data.path,
      "pattern": data.files,
      "limit": data.limit,
    }
    result = tokens.load_tokens(**{**settings, **changes})  # type: ignore[arg-type]
    for warning in result.warnings:
      print(f"warning: {warning}", file=sys.stderr)
    return result


def unknown(text: tokens.Tokens) -> str:
  """The share of `<unk>` in each split, to be read on a page."""
  return ", ".join(
    f"{100 * text.unknown_per_split[name] / max(1, len(ids)):.1f}% of {name}"
    for name, ids in text.splits.items()
  )


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Runs the study that `config.study` names and writes its page.

  Args:
    config: as `configs.fundamentals.get_config`.
    workdir: the run folder.
    data_dir: where data sets are looked for.
  """
  module = importlib.import_module(STUDIES[config.study])
  with distributed.Interruption() as signals:
    template = pathlib.Path(__file__).parent / config.study / "page.md"
    page = page_lib.Page(template, workdir, config.settings)
    study = Study(config, workdir, data_dir, page, signals)
    rows: list[results.Row] = module.run(study)
    page.write(rows)
    return rows
