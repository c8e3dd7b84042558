"""Text from a trained run.

    python main.py --config=configs/text_sampling.py \\
        --config.restore=runs/penn_char --config.sample.prime="the company "

The run folder is all it needs. Temperature 1 draws from the model as it is,
lower is more careful, 0 always takes the likeliest symbol. Equal seeds draw
equal text. Because a finished workdir is not sampled again, give each text a
`--workdir` of its own.

Variants: `smoke`.
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("smoke",))
  config = config_dict.ConfigDict(
    {
      "experiment": "text_sampling",
      "seed": 0,
      "restore": "",
      # Empty takes the trained run's own.
      "dtype": "",
      "sample": common.base().sample,
    }
  )
  config.sample.length = 20 if "smoke" in variants else 1000
  return config
