"""Text from the network of an earlier run."""

import pathlib
import time

import jax
from ml_collections import config_dict

from experiments import earlier_runs, pages, sampled_text
from seqmodels.data import tokenizers
from seqmodels.io import interruption, report

# Weights that come with the package, used where none are named.
SHIPPED = "penn_char"


def run(
  config: config_dict.ConfigDict, workdir: pathlib.Path, data_dir: pathlib.Path
) -> list[report.Row]:
  """Samples, prints and keeps the text in the run folder's `samples`.

  Args:
    config: `restore` names the run; `sample` says how.
    workdir: the run folder.
    data_dir: unused: a run folder is enough to sample from.

  Returns:
    One row: symbols drawn a second, compilation included.

  Raises:
    UserError: no such run, a prime that its vocabulary cannot spell, or a beam
      search beside settings of drawing.
  """
  del data_dir
  given = config.sample
  name = config.restore or f"the shipped {SHIPPED}"
  decoding = sampled_text.Decoding.of(given)
  with interruption.Interruption() as signals:
    trained = earlier_runs.reload(
      config.restore, dtype=config.dtype, shipped=SHIPPED
    )
    start = time.perf_counter()
    drawn, count = sampled_text.sampled_text(
      trained.predictor,
      trained.params,
      trained.vocabulary,
      tokenizers.named(trained.config.data.tokenizer),
      prime=given.prime,
      length=given.length,
      decoding=decoding,
      seed=config.seed,
      sentences=trained.config.data.sentences,
    )
    seconds = time.perf_counter() - start
    signals.check()
  print(drawn)
  pages.keep_sample(workdir, drawn)
  rows = [
    report.row(
      f"sample of {name}, {decoding.words}",
      split="none",
      evaluation="sampled",
      metric="tokens_per_second",
      value=count / seconds,
      count=count,
      seconds=seconds,
    )
  ]
  report.write(
    workdir,
    report.page(
      f"Sample of {name}",
      rows,
      introduction=(
        f"{decoding.words.capitalize()}, seed {config.seed}, weights of step "
        f"{trained.step:,}, on {jax.devices()[0].device_kind}."
      ),
      sample=drawn,
    ),
  )
  return rows
