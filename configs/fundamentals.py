"""The fundamentals of sequence models, as small studies.

    python main.py --config=configs/fundamentals.py:zipf --workdir=runs/zipf

Each runs in seconds to a couple of minutes on two cores, without a network or
data files, and leaves a page with figures in its run folder (`report.md`):

| study | about |
|---|---|
| `autoregressive` | windows, latent states, k steps ahead; Markov models |
| `zipf` | tokens, vocabularies, frequencies and their law |
| `ngram` | counting, smoothing, Kneser-Ney |
| `partitioning` | reading long sequences in minibatches |
| `rnn_from_scratch` | the equations, gates, depth, both directions |
| `perplexity` | what it is; scoring continuations |
| `decoding` | greedy, temperature, top-k, nucleus, beam search |
| `bptt` | gradients through time: full, truncated, randomised |
| `exercises` | exact networks, copying and adding |

The text is Python's own language reference; `--config.data.source=ptb`, or
`=text` with `--config.data.path=FILE`, takes another where a study reads text.

Variants: one study, and `smoke`.
"""

from typing import Any

from ml_collections import config_dict

from configs import common
from seqmodels import errors

AUTOREGRESSIVE: dict[str, Any] = {
  # The noisy sine, and what learns from it.
  "length": 1000,
  "noise": 0.2,
  "window": 4,
  "pairs": 600,  # to learn from; what comes later is the test
  "horizons": (1, 4, 16, 64),
  "batch": 16,
  "epochs": 5,  # of the window models
  "hidden": 16,  # units of the recurrent ones
  "stretch": 64,  # steps that they learn from at a time
  "network_epochs": 30,
  "series": 8,  # over which models are compared
  "repeats": 200,  # series behind each mean of the linear models
  "windows": (1, 2, 3, 4, 8, 16, 32, 64, 128),
  # Investors, chains and hidden chains.
  "walks": 1000,
  "chain": 100_000,  # symbols to count, and as many to score
  "longest_order": 5,
  "hidden_chain": 100_000,
  "longest_window": 14,
  "rnn_epochs": 6,
}
AUTOREGRESSIVE_SMOKE: dict[str, Any] = {
  "length": 300,
  "pairs": 200,
  "epochs": 1,
  "hidden": 4,
  "stretch": 16,
  "network_epochs": 1,
  "series": 2,
  "repeats": 5,
  "windows": (1, 4, 16),
  "walks": 50,
  "chain": 2000,
  "hidden_chain": 4000,
  "longest_window": 8,
  "rnn_epochs": 1,
}

ZIPF: dict[str, Any] = {
  # Words that are shown with their numbers.
  "example": "the time machine asdsa",
  # n-grams are counted up to this length.
  "order": 3,
  # Entries of the lists of the most frequent.
  "head": 10,
  "min_frequencies": (1, 2, 3, 5, 10, 20, 50),
  # Least squares over these ranks.
  "first_rank": 10,
  "last_rank": 1_000,
  # A law of known exponent, to try the fits on.
  "synthetic_types": 5_000,
  "synthetic_tokens": 33_000,
  "synthetic_exponents": (0.7, 1.0, 1.3),
  # Beginnings of the text whose vocabularies are compared.
  "lengths": 10,
}
ZIPF_SMOKE: dict[str, Any] = {
  "head": 5,
  "min_frequencies": (1, 2),
  "synthetic_types": 500,
  "synthetic_tokens": 3_000,
  "lengths": 4,
}

NGRAM: dict[str, Any] = {
  "levels": ("words", "characters"),
  "orders": (1, 2, 3, 4, 5, 6),
  # Words that are rarer in training become <unk>.
  "min_frequency": 2,
  # What validation chooses among: k of add k, e of pseudo-counts.
  "added": (1.0, 0.1, 0.01, 0.001),
  "pseudo_counts": (1.0, 3.0, 10.0, 30.0, 100.0),
  # Contexts whose probabilities are summed.
  "contexts": 40,
  # Symbols drawn from each order.
  "sample": {"words": 30, "characters": 150},
  # Least counts of a word that are compared.
  "min_frequencies": (1, 2, 3, 5, 10),
}
NGRAM_SMOKE: dict[str, Any] = {
  "orders": (1, 2, 3),
  "added": (1.0, 0.1),
  "pseudo_counts": (3.0, 30.0),
  "contexts": 5,
  "sample": {"words": 5, "characters": 10},
  "min_frequencies": (1, 2),
}

PARTITIONING: dict[str, Any] = {
  # A text of so many symbols, read in batches of so many rows of this length.
  "toy": (35, 2, 5),
  "toy_epochs": 2_000,
  "cell": "gru",
  "features": (96,),
  "batch": 32,
  "length": 16,
  "steps": 1_000,
  "dispatch": 50,
  "learning_rate": 3e-3,
  # Networks a reader, of seeds counted up; evaluations of each.
  "networks": 2,
  "evaluations": 10,
  # Rows that the validation text is scored in.
  "streams": 16,
  # Places after a cleared state that are told apart.
  "positions": 64,
}
PARTITIONING_SMOKE: dict[str, Any] = {
  "toy_epochs": 20,
  "features": (8,),
  "batch": 4,
  "steps": 4,
  "dispatch": 2,
  "networks": 1,
  "evaluations": 2,
  "streams": 2,
  "positions": 20,
}

RNN_FROM_SCRATCH: dict[str, Any] = {
  # Of the network in plain arrays and in ten lines.
  "small_features": 32,
  "small_steps": 100,
  # Of the character models: units, rows, characters a segment.
  "features": 128,
  "batch": 32,
  "segment": 35,
  "steps": 1200,
  "learning_rate": 3e-3,
  "schedule": "constant",
  # Width of the embedding that one of them has.
  "embedding": 16,
  # Rectified units whose recurrent weights have deviation scale / sqrt(units).
  "stress_features": 32,
  "stress_scale": 1.3,
  "stress_batch": 128,
  "stress_segment": 32,
  "stress_steps": 60,
  # Bidirectional networks, and the share of characters to be filled in.
  "reader_features": 64,
  "reader_steps": 400,
  "blank_share": 0.15,
  # What is gone on from, and by how many characters.
  "prefix": "The ",
  "sample_length": 200,
}
RNN_FROM_SCRATCH_SMOKE: dict[str, Any] = {
  "small_features": 4,
  "small_steps": 4,
  "features": 6,
  "batch": 4,
  "segment": 8,
  "steps": 4,
  "embedding": 3,
  "stress_features": 6,
  "stress_batch": 4,
  "stress_segment": 8,
  "stress_steps": 4,
  "reader_features": 4,
  "reader_steps": 4,
  "sample_length": 8,
}

PERPLEXITY: dict[str, Any] = {
  # n-grams of characters, each smoothed with pseudo-counts of the shorter.
  "orders": (1, 2, 3, 4, 5, 6),
  "pseudo_count": 5.0,
  # Run folder of a language model to be asked as well; empty asks none.
  "restore": "",
  "prefix": "It is raining",
  "continuations": ("outside", "banana tree", "piouw;kcj pwepoiut"),
  # A text file in their place: the prefix, then a continuation a line.
  "continuations_file": "",
  # Characters of the test text that are drawn, and that are coded.
  "passage": 120,
  "coded": 2_000,
  # Sizes of the batches whose perplexities are averaged, wrongly.
  "batches": (10, 100, 1_000),
}
PERPLEXITY_SMOKE: dict[str, Any] = {
  "orders": (1, 2, 3),
  "passage": 40,
  "coded": 50,
  "batches": (10, 30),
}

DECODING: dict[str, Any] = {
  # Random models that beams of several widths search.
  "models": 40,
  # The character model: units, rows, characters a segment.
  "features": 128,
  "batch": 32,
  "segment": 50,
  "steps": 2000,
  "learning_rate": 5e-3,
  "schedule": "cosine",
  # What all texts go on from, by so many characters; draws of each kind.
  "prefix": "The ",
  "length": 200,
  "draws": 8,
  "beams": (4, 16),
  # A search that ends at this character, and its longest continuation.
  "end": " ",
  "beam": 32,
  "longest": 16,
}
DECODING_SMOKE: dict[str, Any] = {
  "models": 2,
  "features": 6,
  "batch": 4,
  "segment": 8,
  "steps": 4,
  "length": 12,
  "draws": 2,
  "beams": (2,),
  "beam": 2,
  "longest": 8,
}

BPTT: dict[str, Any] = {
  "draws": 100_000,  # of randomised truncation
  # Gradients by distance: steps, units, spectral radii of the figure and more
  # of the table.
  "distance": 100,
  "features": 64,
  "radii": (0.9, 1.0, 1.1, 2.0),
  "other_radii": (0.1, 0.5, 1.5),
  "short_distance": 30,
  "textbook": (32, 256, 512),  # units at the textbook's initialisation
  "powers": 60,  # of a symmetric matrix
  "cost_cell": "lstm",
  "lengths": (128, 512, 2048, 8192),  # of sequences whose cost is taken
  # Training by each strategy.
  "hidden": 64,
  "batch": 32,
  "length": 35,
  "steps": 400,
  "rate": 0.005,
  "gradients": 200,  # draws that are compared with the full gradient
  "copy_lag": 20,
  "copy_steps": 500,
}
BPTT_SMOKE: dict[str, Any] = {
  "draws": 500,
  "distance": 20,
  "features": 8,
  "radii": (0.9, 1.1),
  "other_radii": (2.0,),
  "short_distance": 6,
  "textbook": (8,),
  "powers": 20,
  "cost_cell": "elman",
  "lengths": (16, 64),
  "hidden": 8,
  "batch": 4,
  "length": 12,
  "steps": 25,
  "gradients": 3,
  "copy_lag": 6,
  "copy_steps": 25,
}

EXERCISES: dict[str, Any] = {
  # Exact networks: a language of strings, and a chain.
  "symbols": 3,
  "word_length": 4,
  "order": 3,
  # c, fillers, c again; and the longest n-gram for runs of even length.
  "recall_symbols": 2,
  "fillers": 8,
  "longest": 12,
  # Trained networks: as they come, and changed at the start.
  "cells": ("Elman", "GRU", "LSTM"),
  "changed": (
    "Elman, orthogonal start",
    "GRU, reset gate only",
    "GRU, update gate only",
    "LSTM, forget bias 5",
  ),
  "features": 32,
  "batch": 32,
  "rate": 0.01,
  "recall_steps": 1500,
  "recall_fillers": (2, 4, 8, 16),
  "memory_steps": 600,
  "lags": (5, 10, 20, 40),
  "adding_lengths": (10, 20, 40),
  "hand_length": 1000,  # steps that gates set by hand hold a number
  "gradient_length": 64,
}
EXERCISES_SMOKE: dict[str, Any] = {
  "symbols": 2,
  "word_length": 3,
  "order": 2,
  "fillers": 3,
  "longest": 6,
  "cells": ("Elman",),
  "changed": ("Elman, orthogonal start",),
  "features": 8,
  "batch": 4,
  "recall_steps": 50,
  "recall_fillers": (1, 3),
  "memory_steps": 50,
  "lags": (3, 5),
  "adding_lengths": (3, 5),
  "hand_length": 50,
  "gradient_length": 8,
}

# Settings of each study, and what `smoke` changes of them.
STUDIES = {
  "autoregressive": (AUTOREGRESSIVE, AUTOREGRESSIVE_SMOKE),
  "zipf": (ZIPF, ZIPF_SMOKE),
  "ngram": (NGRAM, NGRAM_SMOKE),
  "partitioning": (PARTITIONING, PARTITIONING_SMOKE),
  "rnn_from_scratch": (RNN_FROM_SCRATCH, RNN_FROM_SCRATCH_SMOKE),
  "perplexity": (PERPLEXITY, PERPLEXITY_SMOKE),
  "decoding": (DECODING, DECODING_SMOKE),
  "bptt": (BPTT, BPTT_SMOKE),
  "exercises": (EXERCISES, EXERCISES_SMOKE),
}


def get_config(arg: str = "") -> config_dict.ConfigDict:
  """Settings of a study."""
  variants = common.parse(arg, (*STUDIES, "smoke"))
  chosen = [name for name in variants if name in STUDIES]
  if len(chosen) != 1:
    raise errors.UserError(
      f"--config names {len(chosen)} studies; name one behind the colon, such "
      f"as configs/fundamentals.py:zipf, of {', '.join(STUDIES)}"
    )
  settings, small = STUDIES[chosen[0]]
  config = config_dict.ConfigDict(
    {
      "experiment": "fundamentals",
      "study": chosen[0],
      "seed": 0,
      "seeds": 1,
      "data": {"source": "embedded", "path": "", "limit": 0},
      "settings": settings,
    }
  )
  if "smoke" in variants:
    config.data.limit = 2_000
    config.settings.update(small)
  return config
