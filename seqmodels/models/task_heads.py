"""Problems with sequences by their shape, each a thin head on one core.

    fixed target   x_1 .. x_T -> y             the last state is read
    fixed input    v -> y_1 .. y_T             v makes the first state
    aligned        x_1 .. x_T -> y_1 .. y_T    every state is read
    unaligned      x_1 .. x_S -> y_1 .. y_T    a second core goes on from the
                                               first one's last state
    density        P(x_1 .. x_T)               aligned, with y_t = x_t and the
                                               inputs one step late

The core is `stacks.deep_recurrent.DeepRecurrent`, whatever its cell and layers,
and a head is one linear map to logits. Who writes a sequence (second, fourth
and fifth shape) reads what has been written before, from the null vector on:
the true symbols in training (`shifted`), its own afterwards (`greedy`).
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.layers import stack


class PerStep(nn.Module):
  """A label for every step; of `shifted` symbols, a language model.

  Attributes:
    core: what reads.
    outputs: K kinds of label.

  >>> core = deep_recurrent.DeepRecurrent(features=(4,), in_features=2)
  >>> ids = jnp.zeros((5, 3), int)
  >>> jax.eval_shape(
  ...   PerStep(core, 7).init_with_output, jax.random.key(0), ids)[0].shape
  (5, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [T, B] or dense [T, B, D]."""
    _, states = _read(self.core, inputs)
    return stack.Head(self.outputs, name="head")(states)


class LastState(nn.Module):
  """One label for a sequence.

  Attributes:
    core: what reads.
    outputs: K kinds of label.

  >>> core = deep_recurrent.DeepRecurrent(features=(4,), in_features=2)
  >>> ids = jnp.zeros((5, 3), int)
  >>> jax.eval_shape(
  ...   LastState(core, 7).init_with_output, jax.random.key(0), ids)[0].shape
  (1, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(
    self, inputs: jax.Array, lengths: jax.Array | None = None
  ) -> jax.Array:
    """Logits [1, B, K].

    Args:
      inputs: ids [T, B] or dense [T, B, D].
      lengths: [B], from 1 on: where each sequence ends; T by default.
    """
    _, states = _read(self.core, inputs)
    steps, batch = inputs.shape[:2]
    last = jnp.full(batch, steps) if lengths is None else lengths
    places = (last - 1)[None, :, None]
    ends = tuple(jnp.take_along_axis(hs, places, axis=0) for hs in states)
    return stack.Head(self.outputs, name="head")(ends)


class FromVector(nn.Module):
  """A sequence about one object.

  Every number of the first state is tanh of a linear map of the vector.

  Attributes:
    core: what writes.
    outputs: K kinds of symbol.

  >>> core = deep_recurrent.DeepRecurrent(features=(4,), in_features=7)
  >>> written, vector = jnp.zeros((5, 3), int), jnp.ones((3, 2))
  >>> begin = FromVector(core, 7).init_with_output
  >>> jax.eval_shape(begin, jax.random.key(0), vector, written)[0].shape
  (5, 3, 7)
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, vector: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] of what follows each symbol.

    Args:
      vector: [B, D].
      written: ids [T, B], `shifted`.
    """
    empty, shape = jax.tree.flatten(self.core.initial_carry(len(vector)))
    first = [
      nn.tanh(nn.Dense(leaf.shape[-1], name=f"first_{i}")(vector))
      for i, leaf in enumerate(empty)
    ]
    _, states = self.core(jax.tree.unflatten(shape, first), written)
    return stack.Head(self.outputs, name="head")(states)


class EncoderDecoder(nn.Module):
  """A sequence for a sequence, of any two lengths.

  Attributes:
    encoder: the core that reads.
    decoder: the core that writes, with layers like the encoder's.
    outputs: K kinds of symbol.

  >>> core = deep_recurrent.DeepRecurrent(features=(4,), in_features=7)
  >>> source, written = jnp.zeros((6, 3), int), jnp.zeros((5, 3), int)
  >>> begin = EncoderDecoder(core, core.copy(), 7).init_with_output
  >>> jax.eval_shape(begin, jax.random.key(0), source, written)[0].shape
  (5, 3, 7)
  """

  encoder: stack.DeepRecurrent
  decoder: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, source: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] of what follows each symbol.

    Args:
      source: ids [S, B] or dense [S, B, D].
      written: ids [T, B], `shifted`.
    """
    carry, _ = _read(self.encoder, source)
    _, states = self.decoder(carry, written)
    return stack.Head(self.outputs, name="head")(states)


def _read(core: stack.DeepRecurrent, inputs: jax.Array) -> Any:
  return core(core.initial_carry(inputs.shape[1]), inputs)


def shifted(targets: np.ndarray) -> np.ndarray:
  """What has been written before each symbol: the null vector, then the truth.

  >>> shifted(np.array([[5], [6], [7]])).ravel().tolist()
  [-1, 5, 6]
  """
  return np.concatenate([np.full_like(targets[:1], -1), targets[:-1]])


def greedy(
  logits: Callable[[np.ndarray], jax.Array], steps: int, batch: int
) -> np.ndarray:
  """Sequences that a model writes by itself, the likeliest symbol each time.

  Args:
    logits: written [T, B] -> [T, B, K], such as
      `lambda written: model.apply(variables, source, written)`; one that looks
      ahead would see null vectors.
    steps: T, at least 1.
    batch: B.

  Returns:
    int32 [T, B].

  Raises:
    UserError: no steps.

  >>> counting = lambda written: jax.nn.one_hot(written + 1, 9)
  >>> greedy(counting, 4, 1).ravel().tolist()
  [0, 1, 2, 3]
  """
  if steps < 1:
    raise errors.UserError(
      f"a sequence of {steps} symbols was to be written; give at least 1"
    )
  # T passes over all T steps; but one shape, compiled once.
  written = np.full((steps + 1, batch), -1, np.int32)
  for step in range(steps):
    found = np.asarray(logits(written[:-1]))
    written[step + 1] = found[step].argmax(axis=-1)
  return written[1:]
