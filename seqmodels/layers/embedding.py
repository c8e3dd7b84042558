"""From symbols to what a stack reads, and from its outputs to predictions."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels.cells import ops
from seqmodels.layers.recurrent import Noise
from seqmodels.regularization import dropout

# Bound of a fresh embedding's uniform weights (Merity et al., 2018).
BOUND = 0.1


class OneHot(nn.Module):
  """Ids as they are: layers read an id as a one-hot vector.

  Attributes:
    symbols: V.
    noise: `embedding` and `input` of it; a dropped symbol is the null vector.

  >>> ids = jnp.array([[2], [0]])
  >>> OneHot(symbols=3).apply({}, ids).ravel()
  Array([2, 0], dtype=int32)
  """

  symbols: int
  noise: Noise = Noise()

  @nn.compact
  def __call__(self, ids: jax.Array) -> jax.Array:
    """[T, B] to [T, B]."""
    if not self.has_rng("dropout"):
      return ids
    if self.noise.embedding:
      key = self.make_rng("dropout")
      ones = jnp.ones((self.symbols, 1))
      kept = dropout.drop_rows(ones, key, self.noise.embedding)[:, 0] > 0
      ids = jnp.where(kept[ids], ids, -1)
    if self.noise.input:
      key = self.make_rng("dropout")
      ids = dropout.drop_symbols(ids, key, self.noise.input)
    return ids


class Embedding(nn.Module):
  """A dense vector a symbol; the null vector (an id below 0) stays null.

  Attributes:
    symbols: V.
    features: E.
    noise: `embedding` and `input` of it.
    dtype: dtype of the operands of the gradient's product.

  >>> layer, ids = Embedding(symbols=3, features=2), jnp.array([[2], [-1]])
  >>> variables = layer.init(jax.random.key(0), ids)
  >>> layer.apply(variables, ids)[1].ravel()
  Array([0., 0.], dtype=float32)
  """

  symbols: int
  features: int
  noise: Noise = Noise()
  dtype: Any = None

  def setup(self) -> None:
    """Registers the weights."""
    self.table = self.param(
      "table",
      lambda key, shape: jax.random.uniform(
        key, shape, jnp.float32, -BOUND, BOUND
      ),
      (self.symbols, self.features),
    )

  def __call__(self, ids: jax.Array) -> jax.Array:
    """[T, B] to [T, B, E]."""
    noise, table = self.noise, self.table
    noisy = self.has_rng("dropout")
    if noisy and noise.embedding:
      table = dropout.drop_rows(
        table, self.make_rng("dropout"), noise.embedding
      )
    xs = ops.lookup(table, ids, self.dtype)
    if noisy and noise.input:
      xs = dropout.drop(
        xs,
        self.make_rng("dropout"),
        noise.input,
        variational=noise.variational,
      )
    return xs


class Head(nn.Module):
  """One linear map of all outputs of the stack, equation (3).

  Attributes:
    features: K outputs.
    dtype: dtype of the product's operands.

  >>> head = Head(features=3)
  >>> variables = head.init(jax.random.key(0), (jnp.ones((2, 4)),))
  >>> head.apply(variables, (jnp.ones((2, 4)),)).shape
  (2, 3)
  """

  features: int
  dtype: Any = None

  @nn.compact
  def __call__(self, outputs: Sequence[jax.Array]) -> jax.Array:
    """[..., K] from [..., H_n] of each layer."""
    width = sum(hs.shape[-1] for hs in outputs)
    init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
    kernel = self.param("kernel", init, (width, self.features), jnp.float32)
    bias = self.param(
      "bias", nn.initializers.zeros, (self.features,), jnp.float32
    )
    return ops.project(kernel, tuple(outputs), bias=bias, dtype=self.dtype)


class TiedHead(nn.Module):
  """Logits by an embedding's own rows (Press and Wolf, 2017).

      y = E p + b,    p = sum_n W_n h^n  (left out where h is as wide as E)

  Attributes:
    dtype: dtype of the products' operands.

  >>> head, table = TiedHead(), jnp.ones((5, 3))
  >>> variables = head.init(jax.random.key(0), (jnp.ones((2, 4)),), table)
  >>> head.apply(variables, (jnp.ones((2, 4)),), table).shape
  (2, 5)
  """

  dtype: Any = None

  @nn.compact
  def __call__(
    self, outputs: Sequence[jax.Array], table: jax.Array
  ) -> jax.Array:
    """[..., V] from [..., H_n] of each layer and the embedding [V, E]."""
    symbols, width = table.shape
    inner = outputs[0]
    if len(outputs) > 1 or inner.shape[-1] != width:
      init = nn.initializers.variance_scaling(1.0 / 3.0, "fan_in", "uniform")
      total = sum(hs.shape[-1] for hs in outputs)
      kernel = self.param("kernel", init, (total, width), jnp.float32)
      inner = ops.project(kernel, tuple(outputs), dtype=self.dtype)
    bias = self.param("bias", nn.initializers.zeros, (symbols,), jnp.float32)
    logits = ops.matmul(inner, table.T, self.dtype)
    return logits + ops.along_last(bias, logits.ndim)
