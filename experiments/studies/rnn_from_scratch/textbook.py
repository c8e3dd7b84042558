"""The textbook's own trainings, so that its numbers can be found again.

The setting of Zhang et al., Dive into Deep Learning (edition 1.0): text reduced
to letters and spaces, the first 10,000 windows of 32 characters, one beginning
at each character, in minibatches of 1,024; 5,000 further windows to validate,
here behind the last character that was learned from; networks of 32 units with
weights from N(0, 0.01^2), plain descent, gradients clipped at 1.
"""

from typing import Any, NamedTuple

import numpy as np

from experiments.studies import run
from experiments.studies.common import cleaning, training
from seqmodels import errors, losses
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.training import optimizers

_UNITS, _LENGTH = 32, 32
_MINIBATCHES = 10  # an epoch


class Setting(NamedTuple):
  """The training of a network, and its published results."""

  cell: str  # a name in `cells.cell.CELLS`
  layers: int  # how many
  rate: float  # of descent
  share: float  # of `config.settings.textbook_epochs`
  # Perplexities of the last epoch on The Time Machine, lowest and highest of
  # independent runs of several seeds.
  train: tuple[float, float]
  valid: tuple[float, float]  # the same of the validation windows


NETWORKS = {
  "RNN": Setting("elman", 1, 1.0, 1.0, (6.2, 6.3), (7.3, 7.5)),
  "RNN, ReLU": Setting("elman_relu", 1, 1.0, 1.0, (6.1, 6.2), (6.9, 7.2)),
  "GRU": Setting("gru", 1, 4.0, 0.5, (5.7, 5.7), (6.7, 6.75)),
  "LSTM": Setting("lstm", 1, 4.0, 0.5, (6.8, 7.0), (7.3, 7.4)),
  "RNN, two layers": Setting("elman", 2, 2.0, 1.0, (5.2, 5.5), (6.8, 7.0)),
}


class Texts(NamedTuple):
  """The windows to learn from and to validate on, and their symbols."""

  train: cleaning.OverlappingWindows
  valid: cleaning.OverlappingWindows
  symbols: vocabulary.Vocabulary


def compare(study: run.Study, tokens: tokens_lib.Tokens) -> list[results.Row]:
  """Trains what `config.settings.textbook` names; nothing by default."""
  page, settings = study.page, study.config.settings
  if not settings.textbook:
    return []
  texts = read(tokens, settings, study.config.seed)
  book = study.config.data.source == "timemachine"
  rows, body = [], []
  for name in settings.textbook:
    setting = NETWORKS[name]
    epochs = max(1, round(setting.share * settings.textbook_epochs))
    trained, score = train(study, setting, texts, epochs)
    last = float(np.exp(trained.nats[-_MINIBATCHES:].mean()))
    published = (setting.train, setting.valid) if book else ()
    body.append([name, epochs, last, score.perplexity, *map(_range, published)])
    name = f"textbook's setting, {name}, {_UNITS} units"
    rows.append(training.scored_row(name, score))
  page["textbook"] = {
    "units": _UNITS,
    "symbols": texts.symbols.size,
    "length": _LENGTH,
    "before": f"{(_LENGTH + 1) / 2:g}",
    "minibatches": _MINIBATCHES,
  }
  head = ["network", "epochs", "training", "validation"]
  more = ["training elsewhere", "validation elsewhere"] if book else []
  page.table("textbook_table", head + more, body)
  return rows


def _range(ends: tuple[float, float]) -> str:
  low, high = ends
  return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def read(tokens: tokens_lib.Tokens, settings: Any, seed: int) -> Texts:
  """The beginning of a text as windows of letters, in an order by the seed."""
  spelt = training.decode(tokens, np.asarray(tokens.splits["train"]))
  # Most frequent first, behind <unk>.
  letters = cleaning.letters(spelt)
  symbols = vocabulary.Vocabulary.build(letters)
  ids = symbols.encode(letters)
  first, second = (count + _LENGTH for count in settings.textbook_windows)
  if len(ids) < first + second:
    raise errors.UserError(
      f"config.settings.textbook needs {first + second:,} letters and the text "
      f"has {len(ids):,}; give a longer text, or fewer "
      "config.settings.textbook_windows"
    )
  train, valid = (
    cleaning.OverlappingWindows(
      part, batch=settings.textbook_batch, length=_LENGTH, seed=seed
    )
    for part in (ids[:first], ids[first : first + second])
  )
  return Texts(train, valid, symbols)


def train(
  study: run.Study, setting: Setting, texts: Texts, epochs: int
) -> tuple[training.Trained, losses.Metrics]:
  """The training, and the score of the validation windows."""
  network = training.network(
    setting.cell, texts.symbols.size, (_UNITS,) * setting.layers
  )
  rule = optimizers.build(
    "sgd", learning_rate=setting.rate, momentum=0.0, clip_norm=1.0
  )
  trained = training.train(
    network,
    texts.train,
    rule,
    steps=epochs * _MINIBATCHES,
    seed=study.config.seed,
    params=small(network, study.random),
    check=study.signals.check,
  )
  windows = texts.valid.segments(0, texts.valid.segments_per_epoch)
  score = static.evaluate(
    network, trained.params, windows, streams=texts.valid.batch
  )
  return trained, score


def small(network: Any, random: np.random.Generator) -> Any:
  """The textbook's fresh weights: matrices of deviation 0.01, biases 0."""
  return training.drawn(network.init, random, 0.01, biases=False)
