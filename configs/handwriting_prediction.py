"""Handwriting prediction: Graves (2013), section 4, Table 3.

    python main.py --config=configs/handwriting_prediction.py \\
        --workdir=runs/prediction
    python main.py \\
        --config=configs/handwriting_prediction.py:adaptive_weight_noise \\
        --config.restore=runs/prediction --workdir=runs/prediction_adaptive
    python main.py --config=configs/handwriting_prediction.py:quickstart
    python main.py --config=configs/handwriting_prediction.py \\
        --config.restore=runs/prediction --config.training.epochs=0 \\
        --workdir=runs/prediction_again

A deep LSTM with skip connections reads pen movements (x and y offset, end of
stroke) and gives, at every point, a density of the next: 20 bivariate Gaussians
and a Bernoulli. IAM-OnDB, 10,741 lines to train on and 1,438 to validate; there
is no test split. Table 3, on the validation lines:

| network | regularisation | nats a line | SSE a point (`half_sse`) |
|---|---|---|---|
| 1 x 900 | none | -1025.7 | 0.40 |
| 3 x 400 | none | -1041.0 | 0.41 |
| 3 x 400 | adaptive weight noise | -1057.7 | 0.41 |

The nats are those of a density over standardised offsets, so they are negative,
and comparable only between codes that standardise alike.

Zero epochs train nothing: the last command scores the best weights of a run,
finished or interrupted, and draws from them. The variants are those of the run.

Variants: `plain` (3 x 400), `one_layer` (1 x 900), `adaptive_weight_noise`
(starts from `--config.restore`: two epochs at 2e-4, validated every quarter of
an epoch, the best weights kept), `paper` (Graves' RMSProp as published),
`quickstart` (a synthetic pen, no data files, under three minutes on two cores),
`smoke` (the same parts in seconds).

What differs from the paper without `paper`: Adam with a cosine schedule and a
bound on the gradient's norm, products in bfloat16 where the hardware multiplies
it, and an update every 128 points, across which the state, but no gradient, is
carried (five updates a line where the paper makes one). With it, too:
 - minibatches, also of whole lines (of like length; the paper names no batch);
 - steps above a threshold removed, readings interpolated as in
  `seqmodels/data/handwriting/strokes.py`
   (the paper gives no numbers);
 - the first point of a line is its origin and is not predicted;
 - `half_sse`, half the squared error of the likeliest component's mean, is
   compared with the paper's SSE, which does not say what it is (the reasons are
   in `seqmodels/evaluation/handwriting.py`).
"""

from ml_collections import config_dict

from configs import common

SOURCE = "Graves 2013, Table 3"
STAGES = ("plain", "adaptive_weight_noise")
# Nats a line and half SSE, by layers and stage.
TABLE = {
  (1, "plain"): (-1025.7, 0.40),
  (3, "plain"): (-1041.0, 0.41),
  (3, "adaptive_weight_noise"): (-1057.7, 0.41),
}


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a variant."""
  variants = common.parse(
    arg, (*STAGES, "one_layer", "paper", "quickstart", "smoke")
  )
  common.exclusive(variants, STAGES)
  common.exclusive(variants, ("quickstart", "paper"))
  config = base()
  stage = "plain"
  if "adaptive_weight_noise" in variants:
    stage = "adaptive_weight_noise"
    adaptive(config)
  if "one_layer" in variants:
    config.model.features = (900,)
  if "paper" in variants:
    paper(config)
  if "quickstart" in variants:
    quickstart(config)
  else:
    refer(config, TABLE, stage, SOURCE)
  if "smoke" in variants:
    smoke(config)
  return config


def base() -> config_dict.ConfigDict:
  """The settings of the handwriting experiments."""
  training = common.base().training
  for name in ("segment", "sampling", "random_offset", "reset_every"):
    del training[name]
  # Of each line a step; 0 takes whole lines.
  training.points = 128
  training.update(
    epochs=7.0,
    batch=16,
    learning_rate=3e-3,
    schedule="cosine",
    warmup_steps=200,
    clip_norm=1.0,
    steps_per_dispatch=8,
    checkpoint_every=640,
  )
  regularization = common.base().regularization
  for name in (
    *("dropout_embedding", "dropout_input"),
    *("zoneout_cell", "zoneout_state"),
  ):
    del regularization[name]
  return config_dict.ConfigDict(
    {
      "experiment": "handwriting",
      "seed": 0,
      "seeds": 1,
      "dtype": "auto",
      "restore": "",
      "data": {
        # "iamondb", or "synthetic" for a made-up pen.
        "source": "iamondb",
        # "graves" (57 symbols) or "full".
        "alphabet": "graves",
        # Lines kept of each split; 0 keeps all.
        "limit": 0,
        # Leave out lines without a transcript.
        "transcribed": False,
      },
      "model": {
        "network": "prediction",
        "features": (400, 400, 400),
        # Bivariate Gaussians of the output; Gaussians of the window.
        "components": 20,
        "window": 10,
        "peepholes": True,
        "forget_bias": 1.0,
        # Bound of |c|, the cell state; 0 leaves it alone.
        "cell_clip": 0.0,
        # Bounds on derivatives: of LSTM net inputs, of the outputs; 0: none.
        "gradient_clip": 10.0,
        "output_clip": 100.0,
      },
      "training": training,
      "regularization": regularization,
      "evaluation": {
        "batch": 32,
        # Training lines scored at the end for comparison; 0 scores none.
        "train_lines": 1_000,
      },
      "sample": {
        # What each line is drawn with, and how many of each; 0 leaves them out.
        "biases": (0.0, 0.5, 1.0, 2.0),
        "lines": 2,
        # Points of a line, for a network that does not stop by itself.
        "points": 700,
        # For one that does: what it writes, and points a character at most.
        "texts": (
          "The pen writes what it has read",
          "a quiet river under seven bridges",
          "Nobody asked why the lamp was lit",
        ),
        "points_per_character": 60,
        # Validation lines whose texts are written for the stroke statistics.
        "statistics": 64,
      },
    }
  )


def adaptive(config: config_dict.ConfigDict) -> None:
  """Adaptive weight noise, which continues from a trained network.

  Short and gentle: the minimum of the description length lies far from the
  trained means, and validation gets worse on the way to it.
  """
  config.regularization.adaptive = 0.075
  # Whole lines: the squares are then those of a line's gradient, as published.
  config.training.update(
    epochs=2.0,
    learning_rate=2e-4,
    points=0,
    steps_per_dispatch=4,
    evaluations_per_epoch=4,
  )


def paper(config: config_dict.ConfigDict) -> None:
  """Graves' RMSProp, equations (38) to (45), on the summed nats of a line."""
  config.dtype = "float32"
  config.training.update(
    batch=1,
    points=0,
    reduction="sum",
    optimizer="rmsprop_graves",
    learning_rate=1e-4,
    momentum=0.9,
    schedule="constant",
    warmup_steps=0,
    clip_norm=0.0,
    steps_per_dispatch=8,
    # Adaptive weight noise ends after a fixed number of epochs.
    patience=0 if config.regularization.adaptive else 4,
  )


def quickstart(config: config_dict.ConfigDict) -> None:
  """A synthetic pen and a small network."""
  config.dtype = "float32"
  config.data.source = "synthetic"
  config.model.features = (128,) * len(config.model.features)
  config.training.update(
    epochs=10.0,
    points=0,
    learning_rate=5e-3,
    warmup_steps=20,
    steps_per_dispatch=4,
  )
  config.sample.update(
    points=250,
    statistics=32,
    # In the words that this pen has seen, and new ones of its letters.
    texts=("the quick fox", "write in ink", "mind the gap"),
    points_per_character=30,
  )


def refer(
  config: config_dict.ConfigDict,
  table: dict[tuple[int, str], tuple[float, float]],
  stage: str,
  source: str,
) -> None:
  """Puts the paper's values beside what will be found."""
  key = (len(config.model.features), stage)
  if key in table:
    nats, half_sse = table[key]
    common.reference(config, source, nats_per_sequence=nats, half_sse=half_sse)


def smoke(config: config_dict.ConfigDict) -> None:
  """Shrinks a handwriting page to seconds: the same parts, all small."""
  config.data.limit = 12
  config.model.update(
    features=(8,) * len(config.model.features), components=3, window=2
  )
  config.training.update(
    epochs=1.0, max_steps=4, batch=2, steps_per_dispatch=2, warmup_steps=1
  )
  config.training.points = min(config.training.points, 16)
  config.training.checkpoint_every = 2
  config.evaluation.update(batch=4, train_lines=4)
  config.sample.update(
    biases=(0.0, 1.0), lines=1, points=20, points_per_character=1, statistics=2
  )
