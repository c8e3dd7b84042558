"""One page and one set of figures over many runs: the papers' tables, and ours.

    python main.py --config=configs/report.py --config.runs=runs \\
        --workdir=runs/report

`--config.runs` is a folder of run folders, or a comma-separated list of run
folders. Which line of which table a run belongs to is read from its settings.
Lines without a run are printed as not run. The page names runs that are still
training, and those left out because they are damaged or of another kind than
language models and handwriting. The runs are only read.

Of several runs on one line the one best on the validation split is shown, the
others below. A finished report stays as it is: for newer runs give it another
`--workdir`, or remove the old one. Equal runs give the same bytes.

Takes seconds. Variants: `smoke` (coarse curves).
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("smoke",))
  return config_dict.ConfigDict(
    {
      "experiment": "report",
      "seed": 0,
      # A folder of run folders, or run folders separated by commas.
      "runs": "",
      # Of each line in the figure of dynamic evaluation, at most.
      "points": 10 if "smoke" in variants else 150,
    }
  )
