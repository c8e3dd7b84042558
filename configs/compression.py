"""Lossless compression by a network that learns the file while it codes it.

    python main.py --config=configs/compression.py:compress \\
        --config.input=enwik8 --config.output=enwik8.seq --workdir=runs/smaller
    python main.py --config=configs/compression.py:decompress \\
        --config.input=enwik8.seq --config.output=enwik8.again \\
        --workdir=runs/again

Nothing is stored but the code: both sides start from the same random weights,
predict a byte, code it, learn from it, and go on. A recurrent network, bit
counters of hashed contexts and a search for repetitions predict; a gated
logistic mixer weighs them; a range coder codes. This is dynamic evaluation
(Graves 2013, section 3) taken to its end, and what the Hutter prize asks for.

Whoever decodes must predict the same numbers to the last bit. So a file is
decoded on the kind of machine and with the versions that made it, and refused
elsewhere, with both named; `--config.force=True` tries all the same, and the
checksums decide. Before `compress` reports success it has decoded the file.

A `-` as input or output is the standard one. A job that was stopped goes on
with the next block when the same command is given again.

Variants: `compress` (the default) or `decompress`; of the former
 - `fast`: no network, contexts and matches alone;
 - `default`;
 - `max`: two layers, fewer streams and more contexts;
 - `network`: the network alone;
 - `smoke`: tiny.

`--config.restore=RUN` begins with the weights of a network that was trained on
bytes, which decompressing then needs as well; with
`--config.model.learning_rate=0` they stay as they are.

What each preset makes of how much in what time is in RESULTS.md.
"""

import dataclasses

from ml_collections import config_dict

from configs import common
from seqmodels.compression import settings as settings_lib

PRESETS = ("fast", "default", "max", "network")


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("compress", "decompress", *PRESETS, "smoke"))
  common.exclusive(variants, ("compress", "decompress"))
  common.exclusive(variants, PRESETS)
  common.exclusive(variants, ("decompress", *PRESETS))
  config = config_dict.ConfigDict(
    {
      "experiment": "compression",
      "direction": "compress",
      "seed": 0,
      "input": "",
      "output": "",
      # Write over an output that exists.
      "overwrite": False,
      # A run folder whose network to begin with.
      "restore": "",
      # Seconds between two saved states.
      "save_every": 300.0,
    }
  )
  if "decompress" in variants:
    config.direction = "decompress"
    with config.unlocked():
      # Decode what was made on another kind of machine.
      config.force = False
    return config
  with config.unlocked():
    config.update(
      {
        "preset": next(
          (name for name in PRESETS if name in variants), "default"
        ),
        # Decode and compare before success is reported.
        "verify": True,
        # Words that occur so often get codes, see seqmodels.compression.words;
        # 0: none do.
        "words": 4 if "smoke" in variants else 32,
        # gzip, bzip2, xz, and zstd and brotli where installed, beside ours.
        "baselines": True,
        "model": model(variants),
      }
    )
  return config


def model(variants: list[str]) -> dict[str, object]:
  """What the file records: `seqmodels.compression.settings.Settings`."""
  settings = dataclasses.asdict(settings_lib.Settings())
  del settings["seed"]
  if "fast" in variants:
    settings.update(layers=(), streams=16)
  if "network" in variants:
    settings.update(contexts=(), match=0)
  if "max" in variants:
    settings.update(
      streams=2,
      layers=(256, 256),
      learning_rate=4e-3,
      contexts=("1", "2", "3", "4", "5", "6", "8", "word", "words"),
      context_bits=23,
      block=16_384,
    )
  if "smoke" in variants:
    settings.update(block=256, context_bits=8, segment=4)
    if settings["layers"]:
      settings.update(layers=(8,))
  return settings
