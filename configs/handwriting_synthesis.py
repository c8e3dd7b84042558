"""Handwriting synthesis: Graves (2013), section 5, Table 4.

    python main.py --config=configs/handwriting_synthesis.py \\
        --workdir=runs/synthesis
    python main.py \\
        --config=configs/handwriting_synthesis.py:adaptive_weight_noise \\
        --config.restore=runs/synthesis --workdir=runs/synthesis_adaptive
    python main.py --config=configs/handwriting_synthesis.py:write \\
        --config.restore=runs/synthesis --config.text="Dear reader" \\
        --config.bias=1.0
    python main.py --config=configs/handwriting_synthesis.py \\
        --config.restore=runs/synthesis --config.training.epochs=0 \\
        --workdir=runs/synthesis_again

The network of handwriting prediction with a soft window on a text between its
layers: it writes what the text says. Table 4, on the 1,438 validation lines:

| regularisation | nats a line | SSE a point (`half_sse`) |
|---|---|---|
| none | -1096.9 | 0.23 |
| adaptive weight noise | -1128.2 | 0.23 |

`write` takes a run folder or a portable file (`configs/export.py`); without
`--config.restore` it takes the weights that come with the package, if they do.
It leaves `samples/page.svg` and `.png`. Long texts are broken into lines of
`--config.width` characters. `--config.bias` (0 to 10) makes writing more
regular. `--config.prime=NAME` goes on in the hand of a line of the data set,
such as `a01-000u-01`.

Zero epochs train nothing: the last command scores the best weights of a run,
finished or interrupted. The variants are those of the run.

Variants: `plain`, `adaptive_weight_noise`, `paper`, `quickstart` (a synthetic
pen), `write`, `smoke`. Departures from the paper are listed in
`configs/handwriting_prediction.py`; beside it, lines without a transcript are
left out, and of the 57 symbols, which the paper does not list, see
`seqmodels/data/handwriting/alphabet.py`.
"""

from ml_collections import config_dict

from configs import common
from configs import handwriting_prediction as prediction

SOURCE = "Graves 2013, Table 4"
TABLE = {
  (3, "plain"): (-1096.9, 0.23),
  (3, "adaptive_weight_noise"): (-1128.2, 0.23),
}


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(
    arg, (*prediction.STAGES, "paper", "quickstart", "write", "smoke")
  )
  common.exclusive(variants, prediction.STAGES)
  common.exclusive(variants, ("quickstart", "paper"))
  if "write" in variants:
    for name in (*prediction.STAGES, "paper", "quickstart"):
      common.exclusive(variants, ("write", name))
    return writing("smoke" in variants)
  config = prediction.base()
  config.model.network = "synthesis"
  config.data.transcribed = True
  stage = "plain"
  if "adaptive_weight_noise" in variants:
    stage = "adaptive_weight_noise"
    prediction.adaptive(config)
  if "paper" in variants:
    prediction.paper(config)
  if "quickstart" in variants:
    prediction.quickstart(config)
    config.training.epochs = 20.0
  else:
    prediction.refer(config, TABLE, stage, SOURCE)
  if "smoke" in variants:
    prediction.smoke(config)
  return config


def writing(smoke: bool = False) -> config_dict.ConfigDict:
  """The settings of writing with a trained network."""
  return config_dict.ConfigDict(
    {
      "experiment": "handwriting_writing",
      "seed": 0,
      "restore": "",
      # Empty takes the trained run's own.
      "dtype": "",
      "text": "",
      "bias": 0.5,
      # A line of the run's data whose hand is continued; empty for none.
      "prime": "",
      # Characters of a line.
      "width": 30,
      # Points a character, at most: longer lines are cut there.
      "points_per_character": 2 if smoke else 60,
    }
  )
