"""One portable file of a trained run, and its card.

    python main.py --config=configs/export.py --config.restore=runs/penn_char \\
        --config.output=penn_char.safetensors --config.weights=bfloat16 \\
        --workdir=runs/export_penn_char

The file (safetensors) holds the weights, the settings, the vocabulary or
alphabet, and the card: data and their terms, command, commit, scores. The card
is also written beside it, as Markdown. `seqmodels.load(FILE)` reads it, and so
does every page that takes a run folder as `--config.restore`.

`--config.weights=bfloat16` halves the file; each weight is rounded by at most
one part in 256. The weights as they are stored are scored on a small fixed
sample, and the score goes into the card, so that a user of the file can
check it.

Takes seconds. Variants: `smoke`.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  common.parse(arg, ("smoke",))  # there is nothing to shrink
  return config_dict.ConfigDict(
    {
      "experiment": "export",
      "seed": 0,
      # A run folder, or another portable file.
      "restore": "",
      # The file to write; its card has the suffix .md.
      "output": "",
      # What the weights are stored as.
      "weights": "float32",
    }
  )
