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

from ml_collections import config_dict

from configs import common
from configs.studies import (
  autoregressive,
  bptt,
  decoding,
  exercises,
  ngram,
  partitioning,
  perplexity,
  rnn_from_scratch,
  zipf,
)
from seqmodels import errors

# Settings of each, and what `smoke` changes of them.
STUDIES = {
  "autoregressive": autoregressive,
  "zipf": zipf,
  "ngram": ngram,
  "partitioning": partitioning,
  "rnn_from_scratch": rnn_from_scratch,
  "perplexity": perplexity,
  "decoding": decoding,
  "bptt": bptt,
  "exercises": exercises,
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
  study = STUDIES[chosen[0]]
  config = config_dict.ConfigDict(
    {
      "experiment": "fundamentals",
      "study": chosen[0],
      "seed": 0,
      "seeds": 1,
      # `files` chooses those of a folder, such as "*.txt".
      "data": {"source": "embedded", "path": "", "files": "", "limit": 0},
      "settings": study.SETTINGS,
    }
  )
  if "smoke" in variants:
    config.data.limit = 2_000
    config.settings.update(study.SMOKE)
  return config
