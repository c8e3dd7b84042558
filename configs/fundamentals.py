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

AUTOREGRESSIVE: dict[str, Any] = {}
AUTOREGRESSIVE_SMOKE: dict[str, Any] = {}

ZIPF: dict[str, Any] = {}
ZIPF_SMOKE: dict[str, Any] = {}

NGRAM: dict[str, Any] = {}
NGRAM_SMOKE: dict[str, Any] = {}

PARTITIONING: dict[str, Any] = {}
PARTITIONING_SMOKE: dict[str, Any] = {}

RNN_FROM_SCRATCH: dict[str, Any] = {}
RNN_FROM_SCRATCH_SMOKE: dict[str, Any] = {}

PERPLEXITY: dict[str, Any] = {}
PERPLEXITY_SMOKE: dict[str, Any] = {}

DECODING: dict[str, Any] = {}
DECODING_SMOKE: dict[str, Any] = {}

BPTT: dict[str, Any] = {}
BPTT_SMOKE: dict[str, Any] = {}

EXERCISES: dict[str, Any] = {}
EXERCISES_SMOKE: dict[str, Any] = {}

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
