"""Sampling symbols from a predictor, in one compiled scan."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import predictor as predictor_lib

Tree = Any


def sample(
  predictor: predictor_lib.Predictor,
  params: Tree,
  key: jax.Array,
  *,
  length: int,
  prime: Sequence[int] = (),
  temperature: float = 1.0,
  batch: int = 1,
  greedy: bool = False,
  sentence_end: int | None = None,
  sharpening: Callable[[jax.Array], jax.Array] | None = None,
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
    sharpening: logits to logits [batch, V], such as a `sharpening.Sharpening`,
      before the temperature; each one (by equality) compiles once.

  Returns:
    int32 `[length, batch]`, without the prime.

  Raises:
    errors.UserError: length or batch below 1, a negative temperature, or a
      prime outside the vocabulary.

  >>> cycle = predictor_lib.Predictor(
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
  if not 0 <= temperature < float("inf"):
    raise errors.UserError(
      f"the sampling temperature is {temperature}; give a number from 0 up"
    )
  outside = [i for i in prime if not 0 <= i < predictor.vocabulary_size]
  if outside:
    raise errors.UserError(
      f"the prime holds the id {outside[0]}; the model knows 0 to "
      f"{predictor.vocabulary_size - 1}"
    )
  read = jax.device_put(np.array([-1, *prime], np.int32))
  heat = jax.device_put(np.float32(0.0 if greedy else temperature))
  end = jax.device_put(np.int32(-2 if sentence_end is None else sentence_end))
  drawn = _scan(
    predictor, params, key, read, heat, end, length, batch, sharpening
  )
  return np.asarray(jax.device_get(drawn))


@functools.partial(
  jax.jit, static_argnames=("predictor", "length", "batch", "sharpening")
)
def _scan(
  predictor: predictor_lib.Predictor,
  params: Tree,
  key: jax.Array,
  read: jax.Array,
  temperature: jax.Array,
  sentence_end: jax.Array,
  length: int,
  batch: int,
  sharpening: Callable[[jax.Array], jax.Array] | None,
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
    if sharpening is not None:
      logits = sharpening(logits)
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
