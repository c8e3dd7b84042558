"""Text from a trained run.

    python main.py --config=configs/text_sampling.py \\
        --config.restore=runs/penn_char --config.sample.prime="the company "

The run folder, or a portable file (`configs/export.py`), is all it needs;
without `--config.restore` it takes the weights that come with the package, if
they do. Temperature 1 draws from the model as it is, lower is more careful, 0
always takes the likeliest symbol. Equal seeds draw equal text. Because a
finished workdir is not sampled again, give each text a `--workdir` of its own.

`--config.sample.top_k=K` draws among the K likeliest symbols only, and
`--config.sample.nucleus=0.9` among the likeliest that hold nine tenths of the
probability. `--config.sample.beam=K` draws nothing and searches for a likely
text instead, with K continuations kept; of a model of single sentences it gives
the rest of one, and `length_penalty` says how far longer ones are preferred.

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
  config.sample.update(
    # Draw among so many of the likeliest symbols; 0 leaves all.
    top_k=0,
    # Draw among the likeliest that hold this share; 1 leaves all.
    nucleus=1.0,
    # Width of a beam search, which takes the place of drawing; 0 draws.
    beam=0,
    # Log probabilities of ended texts are divided by length to this power.
    length_penalty=0.75,
  )
  config.sample.length = 20 if "smoke" in variants else 1000
  return config
