"""Runs one experiment: `python main.py --config=configs/FILE.py[:VARIANT]`.

Run again, the same command resumes; finished, it prints its table. With no
flags it runs configs/quickstart.py. `--help` lists flags and settings.
"""

import sys

from absl import app

import experiments
from experiments import cli, runtime


def main(request: cli.Request) -> None:
  """Hands the parsed request to its experiment."""
  runtime.prepare(distributed=request.distributed)
  experiments.run(
    request.config,
    request.workdir,
    request.data_dir,
    command=request.command,
  )


if __name__ == "__main__":
  sys.exit(cli.guarded(lambda: app.run(main, flags_parser=cli.parse)))
