"""Text from a network: filtered logits, sampling, continuation of a prime.

Text is drawn from the model's distribution P or from a filtered one, Q:

    power        Q ~ P^alpha: sharper above 1, flatter below
    temperature  Q ~ P^(1/T)
    top-k        P over its k likeliest symbols (Fan et al., 2018)
    nucleus      P over the fewest symbols that hold a share p of it, the
                 likeliest first (Holtzman et al., 2020)

All take logits [..., V] to logits; a symbol that may not be drawn gets minus
infinity. Between equals the lowest id comes first. To continue a prime, the
model reads the null vector, then the prime, from an empty carry.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import networks

# Beyond them float32 has no room for logits / T, or for T times the noise.
COLDEST, HOTTEST = 1e-30, 1e37


@dataclasses.dataclass(frozen=True)
class LogitFilters:
  """Temperature, then top-k, then nucleus: the filter of `sample`.

  Attributes:
    temperature: above 0.
    top_k: symbols kept; 0 keeps all.
    nucleus: share of the probability kept, in (0, 1].

  >>> sharpen = LogitFilters(temperature=0.5, top_k=2)
  >>> jax.nn.softmax(sharpen(jnp.log(jnp.array([0.6, 0.3, 0.1])))).round(3)
  Array([0.8, 0.2, 0. ], dtype=float32)
  """

  temperature: float = 1.0
  top_k: int = 0
  nucleus: float = 1.0

  def __call__(self, logits: jax.Array) -> jax.Array:
    """Sharpened logits, [..., V]."""
    logits = temperature(logits, self.temperature)
    return nucleus(top_k(logits, self.top_k), self.nucleus)


def of(
  temperature: float, top_k: int = 0, nucleus: float = 1.0
) -> tuple[float, LogitFilters | None]:
  """Temperature and logit filters as `sample` takes them.

  A temperature alone is traced there, so that another one compiles nothing.
  Below `COLDEST` it is 0.

  >>> of(0.5), of(0.0, top_k=3), of(1e-50, top_k=3)
  ((0.5, None), (0.0, None), (0.0, None))
  >>> of(0.5, top_k=3)
  (1.0, LogitFilters(temperature=0.5, top_k=3, nucleus=1.0))
  """
  if 0 <= temperature < COLDEST:
    temperature = 0.0
  # The likeliest symbol is the same whatever is ruled out beside it.
  if not temperature or (not top_k and nucleus == 1):
    return temperature, None
  return 1.0, LogitFilters(temperature, top_k, nucleus)


def power(logits: jax.Array, alpha: float) -> jax.Array:
  """Logits of P^alpha.

  Raises:
    UserError: alpha is none of 1 / `HOTTEST` to 1 / `COLDEST`.

  >>> power(jnp.array([1.0, 0.0]), 2.0)
  Array([2., 0.], dtype=float32)
  """
  if not 1 / HOTTEST <= alpha <= 1 / COLDEST:
    raise errors.UserError(
      f"the power of a distribution is {alpha}; give a number from "
      f"{1 / HOTTEST:g} to {1 / COLDEST:g}"
    )
  return alpha * logits


def temperature(logits: jax.Array, value: float) -> jax.Array:
  """Logits of P^(1/value): below 1 sharper, above 1 flatter.

  Raises:
    UserError: the temperature is none of `COLDEST` to `HOTTEST`.

  >>> temperature(jnp.array([2.0, 0.0]), 0.5)
  Array([4., 0.], dtype=float32)
  """
  if not COLDEST <= value <= HOTTEST:
    raise errors.UserError(
      f"the temperature is {value}; give a number from {COLDEST:g} to "
      f"{HOTTEST:g}, or draw greedily"
    )
  return logits / value


def top_k(logits: jax.Array, k: int) -> jax.Array:
  """Logits of the k likeliest symbols, the others ruled out.

  Args:
    logits: [..., V].
    k: 0 keeps all, as do V and more.

  Raises:
    UserError: k is below 0.

  >>> top_k(jnp.array([1.0, 3.0, 2.0]), 2)
  Array([-inf,   3.,   2.], dtype=float32)
  """
  if k < 0:
    raise errors.UserError(
      f"top_k is {k}; give the number of symbols to keep, or 0 for all"
    )
  if not 0 < k < logits.shape[-1]:
    return logits
  return jnp.where(_ranks(logits) < k, logits, -jnp.inf)


def nucleus(logits: jax.Array, mass: float) -> jax.Array:
  """Logits of the likeliest symbols that together hold `mass`.

  Args:
    logits: [..., V].
    mass: in (0, 1]; 1 keeps all. The likeliest symbol always stays.

  Raises:
    UserError: mass is outside (0, 1].

  >>> nucleus(jnp.log(jnp.array([0.1, 0.6, 0.3])), 0.7) > -jnp.inf
  Array([False,  True,  True], dtype=bool)
  """
  if not 0 < mass <= 1:
    raise errors.UserError(
      f"nucleus is {mass}; give a share of the probability above 0 and up to 1"
    )
  if mass == 1:
    return logits  # a rounded sum could lose the tail
  ranks = _ranks(logits)
  shares = -jnp.sort(-jax.nn.softmax(logits, axis=-1), axis=-1)
  # A symbol stays as long as those before it do not hold the mass.
  before = jnp.cumsum(shares, axis=-1) - shares
  kept = jnp.sum(before < mass, axis=-1, keepdims=True)
  return jnp.where(ranks < kept, logits, -jnp.inf)


def entropy(logits: jax.Array) -> jax.Array:
  """Nats of the distribution, [...] from [..., V].

  >>> entropy(jnp.log(jnp.array([0.5, 0.5, 0.0]))).round(4)
  Array(0.6931, dtype=float32)
  """
  logs = jax.nn.log_softmax(logits, axis=-1)
  terms = jnp.where(logs > -jnp.inf, -jnp.exp(logs) * logs, 0.0)
  return jnp.sum(terms, axis=-1)


def _ranks(logits: jax.Array) -> jax.Array:
  """The number of symbols that come before each, [..., V]."""
  order = jnp.argsort(-logits, axis=-1, stable=True)
  return jnp.argsort(order, axis=-1, stable=True)


Tree = Any


class Continuation(NamedTuple):
  """A continuation that a search found.

  Attributes:
    symbols: ids, without the prime; the end symbol is the last, if it came.
    log_probability: nats, 0 or below.
    score: what the search ranked it by.
    ended: whether the end symbol came within the longest length.
  """

  symbols: tuple[int, ...]
  log_probability: float
  score: float
  ended: bool


def prime_ids(prime: Sequence[int]) -> jax.Array:
  """The ids read before the first draw: the null vector, then the prime.

  >>> prime_ids([3, 1])
  Array([-1,  3,  1], dtype=int32)
  """
  return jax.device_put(np.array([-1, *prime], np.int32))


def read(
  predictor: networks.SequenceModel, params: Tree, prime: jax.Array, rows: int
) -> tuple[Tree, jax.Array]:
  """Reads a prime once, for many continuations.

  Args:
    predictor: the model.
    params: its parameters.
    prime: of `prime_ids`, [P].
    rows: B.

  Returns:
    Carry and logits [B, V], the same in all rows.
  """

  def one(
    state: tuple[Tree, jax.Array], symbol: jax.Array
  ) -> tuple[tuple[Tree, jax.Array], None]:
    return feed(predictor, params, state[0], symbol[None]), None

  # Step by step, so that only the last logits are kept.
  none = jnp.zeros((1, predictor.vocabulary_size), jnp.float32)
  state, _ = jax.lax.scan(one, (predictor.initial_carry(1), none), prime)
  return jax.tree.map(lambda leaf: jnp.repeat(leaf, rows, axis=0), state)


def feed(
  predictor: networks.SequenceModel,
  params: Tree,
  carry: Tree,
  symbols: jax.Array,
) -> tuple[Tree, jax.Array]:
  """One step: symbols [B] in, the carry and logits [B, V] out."""
  inputs = symbols[None]
  never = jnp.zeros(inputs.shape, bool)
  carry, logits = predictor.apply(params, carry, inputs, never)
  return carry, logits[0].astype(jnp.float32)


def check_ids(
  predictor: networks.SequenceModel, what: str, ids: Sequence[int]
) -> None:
  """Raises UserError for ids that the model lacks; `what` holds them."""
  outside = [i for i in ids if not 0 <= i < predictor.vocabulary_size]
  if outside:
    raise errors.UserError(
      f"{what} holds the id {outside[0]}; the model knows 0 to "
      f"{predictor.vocabulary_size - 1}"
    )


def sample(
  predictor: networks.SequenceModel,
  params: Tree,
  key: jax.Array,
  *,
  length: int,
  prime: Sequence[int] = (),
  temperature: float = 1.0,
  batch: int = 1,
  greedy: bool = False,
  sentence_end: int | None = None,
  logit_filters: Callable[[jax.Array], jax.Array] | None = None,
) -> np.ndarray:
  """Continues a prime, symbol by symbol.

      x_{t+1} ~ softmax(logits_t / temperature)

  The model reads the null vector, then the prime, from an empty carry, as it
  reads the beginning of a split. A sample and a longer one from the same key
  begin alike.

  Args:
    predictor: the model.
    params: its parameters.
    key: consumed.
    length: symbols to draw, after the prime; each length compiles once.
    prime: ids to read first, for all rows.
    temperature: below 1 sharper, above 1 flatter than the model; 0 is greedy.
      Traced, so a new one compiles nothing.
    batch: independent samples.
    greedy: take the likeliest symbol always (lowest id in a tie), whatever
      the temperature.
    sentence_end: for models of single sentences: after this symbol the carry
      is cleared and the null vector read, as the data stream does.
    logit_filters: logits to logits [batch, V], such as a `LogitFilters`,
      before the temperature; each one (by equality) compiles once.

  Returns:
    int32 `[length, batch]`, without the prime.

  Raises:
    errors.UserError: length or batch below 1, a temperature out of range, or
      a prime outside the vocabulary.

  >>> cycle = networks.SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, 9.0 * jax.nn.one_hot((inputs + 1) % 3, 3)),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=3)
  >>> drawn = sample(
  ...   cycle, (), jax.random.key(0), length=4, prime=[0, 1], greedy=True)
  >>> drawn[:, 0].tolist()
  [2, 0, 1, 2]
  """
  for name, value in (("length", length), ("batch", batch)):
    if value < 1:
      raise errors.UserError(f"{name} of a sample is {value}; give at least 1")
  if not 0 <= temperature <= HOTTEST:
    raise errors.UserError(
      f"the sampling temperature is {temperature}; give a number from 0 to "
      f"{HOTTEST:g}"
    )
  check_ids(predictor, "the prime", prime)
  heat = jax.device_put(np.float32(0.0 if greedy else temperature))
  end = jax.device_put(np.int32(-2 if sentence_end is None else sentence_end))
  drawn = _scan(
    predictor,
    params,
    key,
    prime_ids(prime),
    heat,
    end,
    length,
    batch,
    logit_filters,
  )
  return np.asarray(jax.device_get(drawn))


@functools.partial(
  jax.jit, static_argnames=("predictor", "length", "batch", "logit_filters")
)
def _scan(
  predictor: networks.SequenceModel,
  params: Tree,
  key: jax.Array,
  read: jax.Array,
  temperature: jax.Array,
  sentence_end: jax.Array,
  length: int,
  batch: int,
  logit_filters: Callable[[jax.Array], jax.Array] | None,
) -> jax.Array:
  """Reads `read` `[P]`, then draws `[length, batch]`."""

  def feed(carry: Tree, symbols: jax.Array) -> tuple[Tree, jax.Array]:
    """One step: symbols `[B]` in, logits `[B, V]` out."""
    ended = symbols == sentence_end
    inputs = jnp.where(ended, -1, symbols)
    carry, logits = predictor.apply(params, carry, inputs[None], ended[None])
    return carry, logits[0].astype(jnp.float32)

  def prime(
    state: tuple[Tree, jax.Array], symbol: jax.Array
  ) -> tuple[tuple[Tree, jax.Array], None]:
    carry, _ = state
    return feed(carry, jnp.broadcast_to(symbol, (batch,))), None

  def draw(
    state: tuple[Tree, jax.Array], step: jax.Array
  ) -> tuple[tuple[Tree, jax.Array], jax.Array]:
    carry, logits = state
    if logit_filters is not None:
      logits = logit_filters(logits)
    # Folding the step in, not splitting the key into `length`, makes the
    # beginning of a sample independent of its length.
    noise = jax.random.gumbel(jax.random.fold_in(key, step), logits.shape)
    symbols = jnp.argmax(logits + temperature * noise, axis=-1)
    symbols = symbols.astype(jnp.int32)
    return feed(carry, symbols), symbols

  # Reading keeps the last logits only: those of a long prime over a large
  # vocabulary would fill the memory.
  none = jnp.zeros((batch, predictor.vocabulary_size), jnp.float32)
  state = (predictor.initial_carry(batch), none)
  state, _ = jax.lax.scan(prime, state, read)
  _, drawn = jax.lax.scan(draw, state, jnp.arange(length))
  return drawn
