"""The recurrent networks of the textbook, by their names on a page."""

import functools

from seqmodels.models import language_model
from seqmodels.models import predictor as predictors

# What a cell is called on a page, and in the library.
CELLS = {"RNN": "elman", "GRU": "gru", "LSTM": "lstm"}


def model(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> language_model.LanguageModel:
  """A language model without skips and peepholes.

  Args:
    cell: a name in `cells.cell.CELLS`.
    symbols: V.
    features: h of each layer.
    embedding: width of one below the network; 0 for one-hot vectors.
  """
  options = {"peepholes": False} if cell == "lstm" else None
  return language_model.LanguageModel(
    vocabulary_size=symbols,
    features=features,
    cell=cell,
    options=options,
    embedding=embedding,
    input_skips=False,
    output_skips=False,
  )


def network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int = 0
) -> predictors.Predictor:
  """The same as a predictor; one object for equal arguments.

  What is compiled for it is compiled once.
  """
  return _network(cell, symbols, features, embedding)


@functools.lru_cache
def _network(
  cell: str, symbols: int, features: tuple[int, ...], embedding: int
) -> predictors.Predictor:
  return language_model.as_predictor(model(cell, symbols, features, embedding))
