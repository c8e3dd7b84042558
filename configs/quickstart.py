"""The default: a character LSTM on text that comes with Python itself.

    python main.py

No network, no data files. It begins with a line of handwriting, by the network
that comes with the package (`samples/handwriting.png` in the run folder). Then
one layer of 256 peephole LSTM cells is trained on Python's own language
reference, as the interpreter carries it for `help()`, and evaluated statically
and dynamically beside an n-gram model and the compressors of the standard
library, with a sample and figures. Under two and a half minutes on two CPU
cores; on Python 3.11's text about 1.83 bits per character static and 1.79
dynamic.

Variants: `smoke` (seconds).
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("smoke",))
  config = common.base()
  config.data.update(
    source="embedded", tokenizer="characters", partition="standard"
  )
  config.model.features = (256,)
  config.training.update(
    epochs=5.0,
    batch=16,
    segment=50,
    learning_rate=4e-3,
    schedule="cosine",
    warmup_steps=50,
    clip_norm=1.0,
    steps_per_dispatch=16,
    evaluations_per_epoch=1,
    checkpoint_every=256,
  )
  config.dynamic.update(
    search=True,
    search_symbols=5_000,
    search_rates=(1e-3, 3e-3, 1e-2),
    search_segments=(20,),
  )
  config.sample.update(length=500, prime="The ")
  with config.unlocked():
    # Written first, with the weights that come with the package; "": nothing.
    config.handwriting = "This was written by a network."
  if "smoke" in variants:
    common.smoke(config)
    config.handwriting = ""
  return config
