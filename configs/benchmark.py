"""Speed against other libraries, on this machine, in one run.

    python main.py --config=configs/benchmark.py --workdir=runs/benchmark

No data are needed. Every library does the same work on the same random numbers,
in turn, many times, after a check that they compute the same; the report in the
run folder has medians, quartiles, ratios and memory. The kinds of cases, by the
names that their settings have here:

 - `products`: large matrix products, and those of a layer's loop alone; the
   rate of the large ones is the base of a layer's share;
 - `layer`: one LSTM layer, forward and forward+backward, D = H;
 - `storage`: the same layer keeping everything for the backward pass or
   recomputing it chunk by chunk;
 - `training`: steps of a character network with one-hot inputs, with Adam, the
   gradient's norm clipped at 1; `words`: of a word network with an embedding;
   `ink`: of the network of handwriting prediction, in points;
 - `dynamic`: dynamic evaluation with momentum, one stream;
 - `sampling`: text drawn from the character network at temperature 1, one text
   or several at a time;
 - `compression`: bytes of the embedded corpus coded and decoded by presets of
   `configs/compression.py`, words as they are spelled;
 - `scaling`: forward+backward of stacks of layers in float32, as steps,
   streams, width and depth grow one at a time: time and memory, in a figure.

`--config.contests=products,layer` measures these alone; the default is all.

The peers are `flax.linen.RNN(OptimizedLSTMCell)`, in sampling its cell in a
compiled scan; of a layer also `flax.nnx.RNN(OptimizedLSTMCell)` and the plain
scan that Keras' JAX backend runs; `torch.nn.LSTM`, in sampling its cell, too
(install it with `pip install -e '.[bench]'`; without it its rows are missing);
and on an NVIDIA GPU cuDNN through `jax.experimental.rnn`. They have no
peepholes, so ours is compared without; with peepholes it has a row of its own.
Compression has no peer: other compressors are listed beside it for scale.

A ratio is how many times faster ours is than the peer in the row's name. Run it
on an idle machine: twenty minutes on two CPU cores. A run that was stopped
resumes with the cases that it had not finished.

Variants: `smoke` (tiny shapes in seconds; its numbers mean nothing).
"""

from ml_collections import config_dict

from configs import common


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(arg, ("smoke",))
  config = config_dict.ConfigDict(
    {
      "experiment": "benchmark",
      "seed": 0,
      # Kinds of cases, which have the names of the groups below; (): all.
      "contests": (),
      "peers": ("flax", "nnx", "scan", "torch", "cudnn"),
      "precisions": ("float32", "bfloat16"),
      # Rounds of a case: at least so many, and for so many seconds.
      "repeats": 10,
      "seconds": 8.0,
      "warmup": 2,
      # Of the large product's square matrices.
      "products": {"width": 2048, "repeats": 10, "seconds": 3.0},
      # Steps x streams x width.
      "layer": {
        "shapes": ("100x1x1000", "100x8x700", "100x32x1000", "100x64x650")
      },
      # `chunk` steps are recomputed at a time.
      "storage": {"shapes": ("200x8x700",), "chunk": 14},
      "model": {"symbols": 50, "units": 1000},
      "training": {
        "batch": 32,
        "segment": 50,
        # In one run of an entry.
        "steps_per_dispatch": 2,
        "learning_rate": 1e-3,
        "clip_norm": 1.0,
      },
      # Of a word network: an embedding below the layer, a large softmax.
      "words": {
        "symbols": 10_000,
        "units": 650,
        "embedding": 650,
        "batch": 20,
        "segment": 35,
        "steps_per_dispatch": 2,
      },
      # Of handwriting prediction: lines of `points` points.
      "ink": {
        "layers": 3,
        "units": 400,
        "components": 20,
        "batch": 16,
        "points": 640,
      },
      "dynamic": {
        "segments": (5, 20, 100),
        # In one run of an entry.
        "symbols": 200,
        "learning_rate": 1e-4,
        "momentum": 0.9,
      },
      # `batches` of texts of so many `symbols`.
      "sampling": {"batches": (1, 32), "symbols": 100},
      # A coder is slow: it has rounds of its own.
      "compression": {
        "bytes": 20_000,
        "presets": ("fast", "default"),
        "repeats": 3,
        "seconds": 0.0,
      },
      # Steps x streams x width x layers, and what each of them becomes while
      # the others stay.
      "scaling": {
        "base": "50x16x512x1",
        "steps": (25, 50, 100, 200, 400),
        "batches": (1, 4, 16, 64, 256),
        "units": (128, 256, 512, 1024, 2048),
        "layers": (1, 2, 3, 5, 7),
        "repeats": 5,
        "seconds": 1.0,
      },
    }
  )
  if "smoke" in variants:
    config.update(repeats=2, seconds=0.0, warmup=1)
    config.layer.shapes = ("4x2x6",)
    config.storage.update(shapes=("6x2x6",), chunk=2)
    config.model.update(symbols=5, units=6)
    config.training.update(batch=2, segment=4)
    config.words.update(symbols=7, units=6, embedding=3, batch=2, segment=4)
    config.ink.update(layers=2, units=6, components=2, batch=2, points=4)
    config.dynamic.update(segments=(2,), symbols=4)
    config.products.update(width=16, repeats=2, seconds=0.0)
    config.sampling.update(batches=(2,), symbols=3)
    config.compression.update(bytes=300, presets=("smoke",), repeats=1)
    config.scaling.update(base="3x2x4x1", steps=(), batches=(), repeats=1)
    config.scaling.update(units=(8,), layers=(2,), seconds=0.0)
  return config
