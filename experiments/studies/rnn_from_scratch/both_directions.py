"""Networks that read both ways, and windows with blanks for them to fill."""

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from seqmodels.data.text import batching, tokens
from seqmodels.evaluation import metrics, static
from seqmodels.io import results
from seqmodels.layers import bidirectional
from seqmodels.layers import stack as stack_lib
from seqmodels.models import api as predictors


class Reader(nn.Module):
  """Symbols read both ways, and logits at every place.

  Attributes:
    symbols: V.
    features: H of each layer and direction.
    cell: a name in `cells.cell.CELLS`.
  """

  symbols: int
  features: tuple[int, ...]
  cell: str = "gru"

  @nn.compact
  def __call__(
    self, inputs: jax.Array, lengths: jax.Array | None = None
  ) -> jax.Array:
    """Logits [T, B, V] of ids [T, B] or one-hot vectors [T, B, V]."""
    stack = bidirectional.Bidirectional(
      features=self.features,
      in_features=self.symbols,
      cell=self.cell,
      name="stack",
    )
    _, outputs = stack(inputs, lengths=lengths)
    return stack_lib.Head(self.symbols, name="head")((outputs,))


@functools.lru_cache
def as_predictor(reader: Reader) -> predictors.Predictor:
  """The reader where a causal model belongs, which it is not.

  It has no carry: each call is a text of its own. Equal readers give one
  object, so what is compiled for it is compiled once.
  """

  def apply(
    params: Any, carry: Any, inputs: jax.Array, reset: jax.Array
  ) -> tuple[Any, jax.Array]:
    del reset
    return carry, reader.apply({"params": params}, inputs)  # type: ignore[return-value]

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: (),
    init=lambda key: reader.init(key, jnp.zeros((1, 1), jnp.int32))["params"],
    vocabulary_size=reader.symbols,
  )


def continued(
  reader: Reader, params: Any, prime: np.ndarray, length: int
) -> np.ndarray:
  """What the reader takes to follow a prime, symbol by symbol, greedily.

  The text so far is read anew for every symbol; the places after it are
  padding, so that the backward half has nothing to look at.

  Args:
    reader: the network, trained to predict the next symbol.
    params: its weights.
    prime: ids [P].
    length: symbols to add.

  Returns:
    ids [length].
  """
  ids = np.full((1 + len(prime) + length, 1), -1, np.int32)
  ids[1 : 1 + len(prime), 0] = prime

  @jax.jit
  def best(ids: jax.Array, size: jax.Array) -> jax.Array:
    logits: Any = reader.apply({"params": params}, ids, lengths=size)
    return jnp.argmax(logits[size[0] - 1, 0])

  for place in range(1 + len(prime), len(ids)):
    ids[place, 0] = int(best(ids, np.array([place])))
  return ids[1 + len(prime) :, 0]


class Blanks(NamedTuple):
  """Windows in which some symbols are blank, to be filled in.

  A blank is read as the null vector, and blanks alone are scored: the network's
  output at a place is for the symbol of that very place.

  Attributes:
    text: the windows.
    share: of the symbols that are blanked.
    seed: of their places.
  """

  text: batching.RandomWindows
  share: float
  seed: int

  @property
  def batch(self) -> int:
    """Windows a segment."""
    return self.text.batch

  def segments(self, start: int, count: int) -> batching.Segment:
    """Segments `start` to `start + count`, [count, T, B]."""
    whole = self.text.segments(start, count)
    random = np.random.default_rng((self.seed, start))
    blank = random.random(whole.targets.shape) < self.share
    inputs = np.where(blank, batching.NULL, whole.targets).astype(np.int32)
    return whole._replace(inputs=inputs, mask=blank)


def windows_of(study: run.Study, ids: tokens.Ids) -> batching.RandomWindows:
  """A text in the windows of the study's settings."""
  settings = study.config.settings
  return batching.RandomWindows(
    ids,
    batch=settings.batch,
    length=settings.segment,
    seed=study.config.seed,
  )


def fit(study: run.Study, network: predictors.Predictor, text: Any) -> Any:
  """Weights trained for `reader_steps` on windows, with blanks or without."""
  settings = study.config.settings
  return training.train(
    network,
    text,
    training.adam(settings, settings.reader_steps),
    steps=settings.reader_steps,
    seed=study.config.seed,
    check=study.signals.check,
  ).params


def score(
  network: predictors.Predictor, params: Any, segments: batching.Segment
) -> metrics.Totals:
  """The scored places of segments [K, T, B]."""
  return static.evaluate(
    network, params, segments, streams=segments.inputs.shape[2]
  )


def rows(
  source: str, scores: Mapping[str, metrics.Totals]
) -> list[results.Row]:
  """Perplexities of blanks, by how they were read."""
  return [
    results.row(
      f"{source}, {name}, blanks",
      split="valid",
      evaluation="static",
      metric="perplexity",
      value=found.perplexity,
      count=found.count,
      seconds=found.seconds,
    )
    for name, found in scores.items()
  ]
