"""A tiny Elman network in JAX, and the same network by hand in NumPy."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.models import networks

VOCABULARY, HIDDEN = 5, 4


class Chunk(NamedTuple):
  """Not the library's type: any tuple of these fields must do."""

  inputs: np.ndarray
  targets: np.ndarray
  mask: np.ndarray
  reset: np.ndarray


def _apply(params, carry, inputs, reset):
  def step(h, now):
    ids, clear = now
    h = jnp.where(clear[:, None], 0.0, h)
    rows = jnp.where(ids[:, None] < 0, 0.0, params["kernel"][ids])
    h = jnp.tanh(rows + h @ params["recurrent_kernel"] + params["bias"][None])
    return h, h @ params["head"] + params["head_bias"][None]

  return jax.lax.scan(step, carry, (inputs, reset))


def _init(key):
  shapes = {
    "kernel": (VOCABULARY, HIDDEN),
    "recurrent_kernel": (HIDDEN, HIDDEN),
    "bias": (HIDDEN,),
    "head": (HIDDEN, VOCABULARY),
    "head_bias": (VOCABULARY,),
  }
  keys = jax.random.split(key, len(shapes))
  return {
    name: 0.7 * jax.random.normal(key, shape)
    for key, (name, shape) in zip(keys, shapes.items(), strict=True)
  }


class NumPyElman:
  """Loss and gradients of one segment in float64, derived by hand."""

  def __init__(self, params):
    self.params = {k: np.asarray(v, np.float64) for k, v in params.items()}
    self.h = None

  def segment(self, inputs, targets, mask, reset):
    """(nats, count, errors, gradients of the nats); moves the carry on."""
    p = self.params
    h = np.zeros((inputs.shape[1], HIDDEN)) if self.h is None else self.h
    states, before, shares, nats, errors = [], [], [], 0.0, 0
    for t in range(len(inputs)):
      h = np.where(reset[t][:, None], 0.0, h)
      before.append(h)
      rows = np.where(inputs[t][:, None] < 0, 0.0, p["kernel"][inputs[t]])
      h = np.tanh(rows + h @ p["recurrent_kernel"] + p["bias"])
      logits = h @ p["head"] + p["head_bias"]
      share = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
      states.append(h)
      shares.append(share)
      for b in np.flatnonzero(mask[t]):
        nats -= np.log(share[b, targets[t, b]])
        errors += int(logits[b].argmax() != targets[t, b])
    self.h = h
    g = {k: np.zeros_like(v) for k, v in p.items()}
    dh = np.zeros_like(h)
    for t in reversed(range(len(inputs))):
      dlogits = (shares[t] - np.eye(VOCABULARY)[targets[t]]) * mask[t][:, None]
      g["head"] += states[t].T @ dlogits
      g["head_bias"] += dlogits.sum(0)
      da = (dh + dlogits @ p["head"].T) * (1 - states[t] ** 2)
      for b in np.flatnonzero(inputs[t] >= 0):
        g["kernel"][inputs[t, b]] += da[b]
      g["recurrent_kernel"] += before[t].T @ da
      g["bias"] += da.sum(0)
      dh = np.where(reset[t][:, None], 0.0, da @ p["recurrent_kernel"].T)
    return nats, int(mask.sum()), errors, g


def cut(tokens, length, *, streams=1):
  """A split as segments: its last one padded, its first symbol scored."""
  rows = np.array_split(np.asarray(tokens, np.int32), streams)
  steps = -(-max(len(row) for row in rows) // length) * length
  inputs = np.full((streams, steps), -1, np.int32)
  targets = np.zeros((streams, steps), np.int32)
  mask = np.zeros((streams, steps), bool)
  reset = np.zeros((streams, steps), bool)
  reset[:, 0] = True
  for b, row in enumerate(rows):
    inputs[b, 1 : len(row)] = row[:-1]
    targets[b, : len(row)] = row
    mask[b, : len(row)] = True
  return Chunk(
    *(x.T.reshape(-1, length, streams) for x in (inputs, targets, mask, reset))
  )


# One object for all tests, because what is compiled belongs to it.
@pytest.fixture(scope="session")
def elman():
  return networks.SequenceModel(
    apply=_apply,
    initial_carry=lambda batch: jnp.zeros((batch, HIDDEN)),
    init=_init,
    vocabulary_size=VOCABULARY,
  )


@pytest.fixture
def params():
  return _init(jax.random.key(3))


@pytest.fixture
def numpy_elman():
  return NumPyElman


@pytest.fixture
def segments():
  """`segments(tokens, length, streams=1)` -> a chunk holding all of them."""
  return cut


@pytest.fixture
def tokens():
  """103 symbols with something to learn: a noisy cycle."""
  rng = np.random.default_rng(5)
  clean = np.arange(103) % VOCABULARY
  noise = rng.integers(0, VOCABULARY, 103)
  return np.where(rng.random(103) < 0.8, clean, noise).astype(np.int32)
