"""Deep LSTM layers as work to time, each reading the one below alone.

The plain stack, which every library has: no input or output skips. Weights,
inputs, cotangent and answers are those of `layer_work`, the weights as a tuple,
lowest layer first.
"""

from typing import Any, NamedTuple

import jax

from experiments import flax_peer, layer_work
from seqmodels.cells import flax_weights, lstm
from seqmodels.stacks import deep_recurrent


class Task(NamedTuple):
  """What a stack is given; all widths are H."""

  params: tuple[lstm.LSTMParams, ...]
  xs: jax.Array  # [T, B, H]
  cotangent: jax.Array  # [T, B, H]


def task(
  steps: int, batch: int, features: int, layers: int, *, seed: int
) -> Task:
  """Random weights, inputs and cotangent; equal seeds give equal ones."""
  given = layer_work.task(steps, batch, features, seed=seed)
  keys = jax.random.split(jax.random.key(seed + 1), layers)
  params = tuple(
    lstm.init_params(key, features, features, peepholes=False) for key in keys
  )
  return Task(params, given.xs, given.cotangent)


def ours(given: Task) -> layer_work.Layer:
  """The stack of this library."""
  batch, features = given.xs.shape[1:]
  stack = deep_recurrent.DeepRecurrent(
    features=(features,) * len(given.params),
    in_features=features,
    options={"peepholes": False},
    input_skips=False,
    output_skips=False,
  )

  def run(params: tuple[lstm.LSTMParams, ...], xs: jax.Array) -> jax.Array:
    named = {}
    for index, layer in enumerate(params):
      leaves = layer._asdict()
      del leaves["peephole"]
      named[f"layer_{index}"] = leaves
    applied: Any = stack.apply(
      {"params": named}, stack.initial_carry(batch), xs
    )
    return applied[1][-1]

  return layer_work.compiled(
    run, given.params, given.xs, given.cotangent, lambda params: params
  )


def flax(given: Task) -> layer_work.Layer:
  """One `flax.linen.RNN` on another."""
  batch, features = given.xs.shape[1:]
  rnn = flax_peer.rnn(features, None)

  def run(params: Any, xs: Any) -> jax.Array:
    carry = flax_peer.zeros(batch, features)
    for layer in params:
      xs = rnn.apply({"params": {"cell": layer}}, xs, initial_carry=carry)
    return xs

  return layer_work.compiled(
    run,
    tuple(map(flax_weights.lstm_to_flax, given.params)),
    given.xs,
    given.cotangent,
    lambda params: tuple(map(flax_weights.lstm_from_flax, params)),
  )
