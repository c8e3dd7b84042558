"""Runs one experiment: `python main.py --config=configs/FILE.py[:VARIANT]`.

Run again, the same command resumes; finished, it prints its table. With no
flags it runs configs/quickstart.py. `--help` lists flags and settings.
"""

import os
import signal
import sys


def main() -> int:
  """Runs the experiment of the command line; returns the exit code."""
  # Importing JAX takes seconds, in which Ctrl-C finds nothing to save.
  if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, leave)
  from absl import app

  import experiments
  from experiments import cli, runtime

  def hand_over(request: cli.Request) -> None:
    runtime.prepare(
      distributed=request.distributed,
      portable=request.config.get("portable", False),
    )
    experiments.run(
      request.config,
      request.workdir,
      request.data_dir,
      command=request.command,
    )

  return cli.run_cli(lambda: app.run(hand_over, flags_parser=cli.parse))


def leave(signum: int, _: object) -> None:
  """Ends the process at once, with one sentence."""
  os.write(2, b"interrupted by SIGINT before the run began\n")
  os._exit(128 + signum)


if __name__ == "__main__":
  sys.exit(main())
