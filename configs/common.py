"""Parts that all config pages share: variants and the settings tree.

A page is a module with `get_config(arg="")`, where `arg` is what follows the
colon in `--config=configs/penn_char.py:weight_noise,smoke`:

    def get_config(arg: str = "") -> config_dict.ConfigDict:
      variants = common.parse(arg, ("plain", "smoke"))
      config = common.base()
      ...
      return config

No setting is None (None cannot be overridden on the command line): a zero or
an empty string switches off what it governs.
"""

import difflib
from collections.abc import Sequence

from ml_collections import config_dict

from seqmodels import errors


def parse(arg: str, allowed: Sequence[str]) -> list[str]:
  """Variants out of the part of `--config` behind the colon, in their order.

  Args:
    arg: names separated by commas; empty for none.
    allowed: the names that the page knows.

  Raises:
    UserError: a variant is unknown or given twice.

  >>> parse("plain,smoke", ("plain", "smoke"))
  ['plain', 'smoke']
  >>> parse("", ("plain", "smoke"))
  []
  """
  names = [name.strip() for name in arg.split(",")] if arg.strip() else []
  for name in names:
    if name not in allowed:
      near = difflib.get_close_matches(name, allowed, n=1)
      hint = f"did you mean {near[0]!r}? " if near else ""
      raise errors.UserError(
        f"unknown variant {name!r} in --config; {hint}this config has "
        f"{', '.join(allowed)}"
      )
    if names.count(name) > 1:
      raise errors.UserError(f"variant {name!r} is given twice in --config")
  return names


def base() -> config_dict.ConfigDict:
  """The settings of language modelling, at values that suit a small corpus.

  Fields that count steps, symbols or epochs treat 0 as "no limit" or "off".
  """
  return config_dict.ConfigDict(
    {
      "experiment": "language_modelling",
      "seed": 0,
      # Runs of seeds counted up from `seed`, reported as mean and spread.
      "seeds": 1,
      # Operands of the matrix products; parameters and sums stay float32.
      # "auto": bfloat16 where the hardware multiplies it, else float32.
      "dtype": "float32",
      # Run folder or portable file of an earlier run to start from.
      "restore": "",
      "data": {
        "source": "embedded",
        "tokenizer": "characters",
        "partition": "fractions",
        # File or folder, for source "text".
        "path": "",
        # Of that folder, only files that match, such as "*.py"; empty: all.
        "files": "",
        # Each line a sequence of its own from the null vector.
        "sentences": False,
        "min_frequency": 1,
        # Symbols kept of each split; 0 keeps all.
        "limit": 0,
      },
      "model": {
        "cell": "lstm",
        "features": (128,),
        # Width of an embedding between symbols and stack; 0: one-hot vectors.
        "embedding": 0,
        # The softmax's weights are the embedding's.
        "tied": False,
        "peepholes": True,
        "input_skips": True,
        "output_skips": True,
        # Bound of the pre-activations' derivatives; 0 leaves them alone.
        "gradient_clip": 1.0,
        "forget_bias": 1.0,
        # Of the LSTMs: bound of |c|, the cell state; 0 leaves it alone. Without
        # one, a quarter of the quick start's cells end as constants, having
        # counted on for as long as their carry is kept.
        "cell_clip": 10.0,
        # Recurrent weights at the start: "uniform", or "orthogonal" for each
        # gate.
        "recurrent_init": "uniform",
        # Of the mogrifier_lstm: rounds of gating, rank of their matrices (0:
        # full).
        "rounds": 5,
        "rank": 0,
        # Recompute instead of keeping: only every so many steps' carry stays
        # in memory for the backward pass; 0 keeps all.
        "chunk": 0,
      },
      "training": {
        "epochs": 10.0,
        "batch": 32,
        "segment": 100,
        # "sequential": contiguous streams, the carry crosses segments;
        # "random": shuffled windows, each from a fresh carry; "sentences":
        # whole lines, minibatches of like length; `segment` does not matter.
        "sampling": "sequential",
        # Rotate the streams by a random offset every epoch.
        "random_offset": False,
        # The gradient is of the "mean" nats a symbol, or of their "sum".
        "reduction": "mean",
        "optimizer": "adam",
        "learning_rate": 2e-3,
        "momentum": 0.9,
        "schedule": "constant",
        "warmup_steps": 0,
        # Global norm of the gradient; 0 does not clip.
        "clip_norm": 0.0,
        "steps_per_dispatch": 8,
        # Share of the training, its end, over which the weights are averaged;
        # evaluation takes the average. 0 does not average.
        "average": 0.0,
        # What the kept weights are chosen by: least nats on the "validation"
        # split (restored weights are a candidate), least "description_length"
        # of the training data (adaptive weight noise), or the "last".
        "select": "validation",
        # Evaluations without a new best before training stops, a best since its
        # first step; 0 never stops.
        "patience": 0,
        "evaluations_per_epoch": 1,
        "checkpoint_every": 500,
        # Segments between resets of the carry; 0 only resets at an epoch.
        "reset_every": 0,
        "max_steps": 0,
        # Devices that hold one copy of the weights and of the optimiser's
        # memory between them, each its share.
        "model_shards": 1,
      },
      "regularization": {
        # Standard deviation of the noise on all weights; 0 adds none.
        "weight_noise": 0.0,
        # The same at the start, where each weight's own is learned; 0 does not.
        "adaptive": 0.0,
        # Weight of the complexity in the description length; the author's code
        # calls it mdlWeight.
        "complexity": 1.0,
        # Squares of single streams' gradients: estimated by random "signs", or
        # "exact" for a backward pass a stream.
        "squares": "signs",
        # Share of the recurrent weights dropped; 0 drops none.
        "drop_connect": 0.0,
        # Dropout: of whole symbols for a segment, of the input at each
        # position, between layers, of what the softmax reads.
        "dropout_embedding": 0.0,
        "dropout_input": 0.0,
        "dropout_hidden": 0.0,
        "dropout_output": 0.0,
        # One mask a segment; otherwise one a step.
        "variational": True,
        # Zoneout: share of the cell state's units, and of the outputs', that
        # keep their value of the step before.
        "zoneout_cell": 0.0,
        "zoneout_state": 0.0,
      },
      "evaluation": {
        "streams": 1,
        "segment": 100,
        "validation_streams": 16,
        # Training symbols scored at the end for comparison, no more than the
        # last split has; 0 scores none.
        "train_symbols": 1_000_000,
      },
      "dynamic": {
        # "" leaves dynamic evaluation out.
        "rule": "sgd",
        "learning_rate": 1e-2,
        "momentum": 0.0,
        "decay": 0.0,
        "epsilon": 2e-5,
        "segment": 20,
        "search": False,
        # Validation symbols that the search scores; 0 takes all of them.
        "search_symbols": 20_000,
        # Rates and decays of the rule "rms" are for segments of 20 and scale
        # with the length, as Krause et al. do; those of "sgd" do not.
        "search_rates": (3e-3, 1e-2, 3e-2),
        "search_momenta": (0.0,),  # of the rule "sgd"
        "search_decays": (1e-2, 3e-2),  # of the rule "rms", as the next
        "search_epsilons": (2e-5, 1e-4),
        "search_segments": (20,),
        # Settings evaluated side by side, each with its own weights.
        "search_together": 1,
        # Streams of the pass over the training set that the rule "rms" takes
        # its statistics from, in segments as trained on.
        "statistics_streams": 16,
        # 0: the whole set. The first so many segments alone are for a quick
        # look: they lack most rare symbols, whose steps come out too large.
        "statistics_segments": 0,
      },
      "baselines": {
        # Kneser-Ney n-grams over the same symbols; 0 leaves them out.
        "ngram_order": 6,
        # gzip, bzip2 and xz, of characters and bytes.
        "compressors": True,
      },
      "sample": {
        # Symbols; 0 leaves the sample out.
        "length": 500,
        "temperature": 1.0,
        "prime": "",
      },
    }
  )


def smoke(config: config_dict.ConfigDict) -> None:
  """Shrinks a language-modelling page to seconds: the same parts, all small."""
  config.data.limit = 1_500
  config.model.features = (8,) * len(config.model.features)
  config.training.update(
    epochs=1.0, max_steps=6, batch=2, segment=20, steps_per_dispatch=2
  )
  config.training.update(warmup_steps=1, checkpoint_every=2)
  config.evaluation.update(segment=20, validation_streams=2)
  smoke_dynamic(config)
  config.sample.length = 20


def smoke_dynamic(config: config_dict.ConfigDict) -> None:
  """Shrinks the search and the statistics of dynamic evaluation to seconds."""
  dynamic = config.dynamic
  dynamic.update(
    search_symbols=100,
    search_rates=tuple(dynamic.search_rates)[:2],
    search_decays=tuple(dynamic.search_decays)[:1],
    statistics_streams=2,
    statistics_segments=2,
  )


def paper(config: config_dict.ConfigDict, *, momentum: float) -> None:
  """The training of Graves (2013, section 3) to the letter.

  One sequence a step, the gradient of its summed nats, plain descent with
  momentum at 1e-4, derivatives clipped at 1 and nothing else clipped, float32.
  No bound on cell states, which a cleared carry keeps from running away.
  """
  config.dtype = "float32"
  config.model.update(gradient_clip=1.0, cell_clip=0.0)
  config.training.update(
    batch=1,
    reduction="sum",
    optimizer="sgd",
    learning_rate=1e-4,
    momentum=momentum,
    schedule="constant",
    warmup_steps=0,
    clip_norm=0.0,
  )


def sentences(config: config_dict.ConfigDict) -> None:
  """The paper's training on the Penn Treebank, with 8 sentences a step.

  Rate and momentum stay the paper's, so that a sentence moves the weights as
  far. A rate raised with the minibatch, and a momentum lowered with it, would
  forget as many sentences ago and diverges with 1000 cells: the curvature of a
  step grows with the sentences that are summed in it.
  """
  paper(config, momentum=0.99)
  config.dtype = "auto"
  config.data.sentences = True
  config.training.update(sampling="sentences", batch=8)


def reference(
  config: config_dict.ConfigDict, source: str, **values: float
) -> None:
  """Gives the page the paper's values, which rows show beside ours.

  Args:
    config: the settings.
    source: the publication.
    **values: by what they are of, such as `test_static`.
  """
  with config.unlocked():
    config.reference = config_dict.ConfigDict({"source": source, **values})


def penn_reference(
  config: config_dict.ConfigDict,
  static: tuple[float, float],
  dynamic: tuple[float, float],
) -> None:
  """As `reference`, score and error rate of a line of Graves' Table 1."""
  reference(
    config,
    "Graves 2013, Table 1",
    test_static=static[0],
    test_dynamic=dynamic[0],
    test_static_error_rate=static[1],
    test_dynamic_error_rate=dynamic[1],
  )


def exclusive(variants: Sequence[str], names: Sequence[str]) -> None:
  """Refuses variants that contradict each other.

  Raises:
    UserError: more than one of `names` was asked for.

  >>> exclusive(["graves", "smoke"], ("graves", "standard"))
  """
  both = [name for name in names if name in variants]
  if len(both) > 1:
    raise errors.UserError(
      f"the variants {' and '.join(both)} exclude each other; name one in "
      "--config"
    )
