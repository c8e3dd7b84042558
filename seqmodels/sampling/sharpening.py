"""From a model's distribution to the one that text is drawn from.

    power        Q ~ P^alpha: sharper above 1, flatter below
    temperature  Q ~ P^(1/T)
    top-k        P over its k likeliest symbols (Fan et al., 2018)
    nucleus      P over the fewest symbols that hold a share p of it, the
                 likeliest first (Holtzman et al., 2020)

All take logits [..., V] to logits; a symbol that may not be drawn gets minus
infinity. Between equals the lowest id comes first.
"""

import dataclasses

import jax
import jax.numpy as jnp

from seqmodels import errors


@dataclasses.dataclass(frozen=True)
class Sharpening:
  """Temperature, then top-k, then nucleus: what `text.sample` may be given.

  Attributes:
    temperature: above 0.
    top_k: symbols kept; 0 keeps all.
    nucleus: share of the probability kept, in (0, 1].

  >>> sharpen = Sharpening(temperature=0.5, top_k=2)
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
) -> tuple[float, Sharpening | None]:
  """Temperature and sharpening as `text.sample` takes them.

  A temperature alone is traced there, so that each compiles nothing anew.

  >>> of(0.5), of(0.0, top_k=3)
  ((0.5, None), (0.0, None))
  >>> of(0.5, top_k=3)
  (1.0, Sharpening(temperature=0.5, top_k=3, nucleus=1.0))
  """
  # The likeliest symbol is the same whatever is ruled out beside it.
  if not temperature or (not top_k and nucleus == 1):
    return temperature, None
  return 1.0, Sharpening(temperature, top_k, nucleus)


def power(logits: jax.Array, alpha: float) -> jax.Array:
  """Logits of P^alpha.

  Args:
    logits: [..., V].
    alpha: above 0; 1 changes nothing, infinity would be greedy.

  Raises:
    UserError: alpha is not a finite number above 0.

  >>> power(jnp.array([1.0, 0.0]), 2.0)
  Array([2., 0.], dtype=float32)
  """
  if not 0 < alpha < float("inf"):
    raise errors.UserError(
      f"the power of a distribution is {alpha}; give a number above 0"
    )
  return alpha * logits


def temperature(logits: jax.Array, value: float) -> jax.Array:
  """Logits of P^(1/value): below 1 sharper, above 1 flatter.

  Raises:
    UserError: the temperature is not a finite number above 0.

  >>> temperature(jnp.array([2.0, 0.0]), 0.5)
  Array([4., 0.], dtype=float32)
  """
  if not 0 < value < float("inf"):
    raise errors.UserError(
      f"the temperature is {value}; give a number above 0, or draw greedily"
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
  """How many symbols come before each, [..., V]."""
  order = jnp.argsort(-logits, axis=-1, stable=True)
  return jnp.argsort(order, axis=-1, stable=True)
