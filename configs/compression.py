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
Before all that, words that are frequent in the file get codes of one or two
bytes that it does not use: fewer steps, and fewer bytes (`--config.words=0`
leaves words as they are).

Decoding must predict the same numbers to the last bit. A file is decoded
by the releases of JAX and the other packages that made it, on any x86-64
processor, with any number of threads; it is refused elsewhere, with both named.
`--config.force=True` tries all the same, and the checksums decide. Before
`compress` reports success it has decoded the file. `--config.portable=False`,
in both directions, leaves the arithmetic to XLA and its libraries, also on a
GPU: the first 100,000 bytes of enwik8 became 26,730 bytes in 109 seconds, and
26,721 in 184 portably, on two busy cores. Such a file is decoded on the same
model of processor, with as many threads.

A `-` as input or output is the standard one. A job that was stopped goes on
with the next block when the same command is given again.

Variants: `compress` (the default) or `decompress`; of the former
 - `fast`: no network, contexts and matches alone;
 - `default`;
 - `max`: two layers, fewer streams and more contexts;
 - `network`: the network alone;
 - `smoke`: tiny.

`--config.restore=RUN` (a run folder or a portable file) begins with the weights
of a network that was trained on bytes, which decompressing then needs as well;
with `--config.model.learning_rate=0` they stay as they are. Such a network
knows words by their letters, so words get no codes then.

What each preset makes of how much in what time is in RESULTS.md.
"""

from ml_collections import config_dict

from configs import common

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
      # Files that decode on other processors; both directions need the same.
      "portable": True,
      # A run folder or portable file whose network to begin with.
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
        # Words that occur so often get codes, see `compression.dictionary`;
        # 0: none do.
        "words": 4 if "smoke" in variants else 32,
        # gzip, bzip2, xz, and zstd and brotli where installed, beside ours.
        "baselines": True,
        "model": model(variants),
      }
    )
  return config


def model(variants: list[str]) -> dict[str, object]:
  """Settings of the file; see `seqmodels.compression.settings.Settings`."""
  settings: dict[str, object] = {
    "streams": 4,
    "block": 65_536,
    # Layers of the network; () does without one.
    "layers": (256,),
    "cell": "layer_norm_lstm",
    "dtype": "float32",
    # Steps between two updates of the network.
    "segment": 8,
    "learning_rate": 5e-3,
    "final_learning_rate": 5e-4,
    # Updates between two that learn again from the past; 0 does without.
    "replay_every": 0,
    "replay_windows": 16,
    "replay_length": 64,
    # Contexts of the bit counters; () does without.
    "contexts": ("1", "2", "3", "4", "5", "6", "word"),
    # Of a table of 2^bits rows of 64 bytes.
    "context_bits": 22,
    # Bytes that must agree before a repetition is expected; 0 does without.
    "match": 6,
    "mixing_rate": 2e-3,
  }
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
