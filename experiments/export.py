"""A trained run as one portable file, with a card beside it."""

import os
import pathlib
import time
from collections.abc import Mapping
from typing import Any

from ml_collections import config_dict

from experiments import page as page_lib
from experiments import restore, stages
from experiments.language_model import task
from seqmodels import errors, portable, trained, trees
from seqmodels.io import files, results

TEMPLATE = pathlib.Path(__file__).with_name("export.md")


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[results.Row]:
  """Writes `config.output` and its card.

  Args:
    config: as `configs.export`.
    workdir: the run folder; its page is the card.
    data_dir: unused: a run folder is enough.

  Returns:
    One row: the score on the fixed sample, of the weights as they are stored.

  Raises:
    UserError: no such run, or no such place for the file.
  """
  del data_dir
  output = _output(config)
  source = restore.opened(config.restore)
  model = trained.build(source).rounded(config.weights)
  start = time.perf_counter()
  sample = model.check()
  seconds = time.perf_counter() - start
  parameters = trees.count_parameters(model.params)
  model.save(output, config.weights, card={"sample": sample})
  text = card_page(portable.read(output), output, sample)
  files.write_text(output.with_suffix(".md"), text)
  results.write(workdir, text)
  if source.kind == "language_model":
    metric = task.UNITS[model.tokenizer.name].metric
    value = stages.score(metric, sample["nats"], sample["count"])
  else:
    metric, value = "nats_per_point", sample["nats"] / sample["count"]
  return [
    results.row(
      f"{output.name}, {parameters:,} weights in {config.weights}, "
      f"{output.stat().st_size:,} bytes; the fixed sample",
      split="none",
      evaluation="static",
      metric=metric,
      value=value,
      count=sample["count"],
      seconds=seconds,
    )
  ]


def require_finished(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> None:
  """Refuses to call a run finished whose file is not there any more.

  Raises:
    UserError: says what to do.
  """
  del workdir, data_dir
  if not _output(config).is_file():
    raise errors.UserError(
      f"this run is finished and its output {config.output!r} is no longer "
      "there; give another --workdir to make it again"
    )


def _output(config: config_dict.ConfigDict) -> pathlib.Path:
  if not config.output.endswith(portable.SUFFIX):
    raise errors.UserError(
      f"config.output is {config.output!r}; name the file to write, "
      f"--config.output=NAME{portable.SUFFIX}"
    )
  return pathlib.Path(os.path.expanduser(config.output))


def card_page(
  model: portable.Portable, path: pathlib.Path, sample: Mapping[str, Any]
) -> str:
  """The card of a file as a Markdown page.

  Args:
    model: what the file holds.
    path: of the file.
    sample: nats and count of the fixed sample.
  """
  card = model.card
  count = sum(array.size for array in model.weights.values())
  data: Mapping[str, Any] = card.get("data") or {}
  facts = {
    "data": data.get("source")
    and f"{data['source']}; {data.get('note') or 'all of it'}",
    **{
      f"`{file['name']}`": f"{file['bytes']:,} bytes, SHA-256 {file['sha256']}"
      for file in data.get("files", [])
    },
    "terms of the data": card.get("terms"),
    "command": card.get("command") and f"`{card['command']}`",
    "commit": card.get("commit"),
    "step": card.get("step"),
    "epochs": card.get("epochs"),
    "weights": f"{count:,} in {card.get('weights')}",
    "size": f"{path.stat().st_size:,} bytes",
    "SHA-256 of its vocabulary or alphabet": model.symbols.get("sha256"),
    "fixed sample": (
      f"{sample['nats']:.4f} nats over {sample['count']:,} "
      + {"language_model": "symbols", "handwriting": "points"}[model.kind]
    ),
  }
  page = page_lib.Page(TEMPLATE, path.parent)
  page["name"], page["file"] = path.stem, path.name
  page["kind"] = trained.KINDS[model.kind].words
  known = {name: fact for name, fact in facts.items() if fact}
  page.facts("facts", known)
  if rows := card.get("rows"):
    page["scores"] = results.markdown_table(rows)
  page["use"] = {
    "language_model": 'model.sample(prime="the ", length=200)',
    "handwriting": 'model.write("Dear reader").save("page.svg")',
  }[model.kind]
  return page.text()
