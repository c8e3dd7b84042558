"""Language modelling as something to be trained: a `Task` of a corpus."""

from collections.abc import Callable
from typing import Any

from ml_collections import config_dict

from experiments import assembly, course, earlier_runs, phases, training_setup
from seqmodels import loading
from seqmodels.data import corpus
from seqmodels.evaluation import constant_cells, static
from seqmodels.models import predictor as predictors
from seqmodels.training import objective


def task(
  config: config_dict.ConfigDict,
  tokens: corpus.Tokens,
  network: predictors.Predictor,
) -> training_setup.Task:
  """A network that learns to predict a corpus.

  Args:
    config: as `configs.common.base`.
    tokens: the corpus.
    network: of its vocabulary.

  Raises:
    UserError: settings of the training data that contradict each other.
  """
  unit = assembly.UNITS[config.data.tokenizer]
  settings = config.evaluation
  symbols = tokens.vocabulary
  validation = assembly.chunks(
    tokens,
    "valid",
    streams_count=settings.validation_streams,
    length=settings.segment,
  )
  watched = assembly.watched(tokens, "valid")

  def score(nats: float, count: int) -> float:
    return phases.score(unit.metric, nats, count)

  def validate(
    weights: Any, check: Callable[[], None]
  ) -> training_setup.Validation:
    scores = static.score(
      network,
      weights,
      validation,
      streams=settings.validation_streams,
      callback=lambda done, total: check(),
    )
    found = scores.totals()
    return training_setup.Validation(
      found.nats_per_symbol,
      {
        unit.metric: score(found.nats, found.count),
        "error_rate": 100.0 * found.error_rate,
        **constant_cells.measure(network, weights, watched),
      },
      f"{found.count:,} symbols in {settings.validation_streams} streams"
      + phases.lost_note(scores),
    )

  sizes = ", ".join(
    f"{name} {len(ids):,}" for name, ids in tokens.splits.items()
  )
  return training_setup.Task(
    model=network,
    losses=objective.of_symbols,
    course=course.plan(config, tokens),
    positions=len(tokens.splits["train"]),
    named=(unit.metric, score),
    speed="tokens",
    identity={"vocabulary": symbols.hash},
    check=lambda meta, folder: loading.require_same_symbols(
      meta, "language_model", symbols, folder
    ),
    restored=lambda target: earlier_runs.restore_weights(
      config, target, symbols
    ),
    validate=validate,
    facts=(
      f"{tokens.provenance['source']}, {sizes}; {symbols.size:,} symbols to "
      "choose from",
      phases.minibatch(config),
    ),
    name=phases.model_name(config),
  )
