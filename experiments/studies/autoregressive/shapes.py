"""Problems with sequences by their shape: toys, and a head on a core for each.

    fixed target   x_1 .. x_T -> y             the last state is read
    fixed input    v -> y_1 .. y_T             v makes the first state
    aligned        x_1 .. x_T -> y_1 .. y_T    every state is read
    unaligned      x_1 .. x_S -> y_1 .. y_T    a second core goes on from the
                                               first one's last state
    density        P(x_1 .. x_T)               aligned, with y_t = x_t and the
                                               inputs one step late

The core is `layers.stack.DeepRecurrent`, and a head is one linear map to
logits. A model that writes a sequence (second, fourth and fifth shape) reads
what has been written before, from the null vector on: the true symbols in
training (`shifted`), its own afterwards (`greedy`).

Whoever finds the rule of a toy in a part of the examples makes no mistake in
the rest.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import series
from experiments.studies.common import training
from seqmodels import errors, losses
from seqmodels.layers import stack
from seqmodels.training import loss, step

_MOST = 100_000


class Examples(NamedTuple):
  """What is given and what is wanted, an example a row."""

  given: np.ndarray | None  # ids [B, T], vectors float32 [B, D], or nothing
  targets: np.ndarray  # int32 [B, T]

  def rows(self, chosen: np.ndarray) -> "Examples":
    """Some of the examples."""
    given = None if self.given is None else self.given[chosen]
    return Examples(given, self.targets[chosen])


def majority(length: int) -> Examples:
  """All strings of an odd number of bits; 1 if most are ones."""
  bits = strings(2, length)
  most = 2 * bits.sum(axis=1, keepdims=True) > length
  return Examples(bits, most.astype(np.int32))


def signs(count: int) -> Examples:
  """All vectors of +1 and -1; 1 for each +1, in order."""
  bits = strings(2, count)
  return Examples((2 * bits - 1).astype(np.float32), bits)


def parity(length: int) -> Examples:
  """All strings of so many bits; after each bit, 1 if the ones are odd.

  >>> parity(3).targets[5]
  array([1, 1, 0], dtype=int32)
  """
  bits = strings(2, length)
  return Examples(bits, np.cumsum(bits, axis=1, dtype=np.int32) % 2)


def reversal(letters: int, length: int) -> Examples:
  """All strings of a length, and the same from their ends."""
  given = strings(letters, length)
  return Examples(given, given[:, ::-1])


def palindromes(letters: int, half: int) -> Examples:
  """All strings of a length followed by their mirror images; nothing is given.

  Their second halves follow from the first; no model that is right about all
  strings says them in fewer than `half` ln `letters` nats on average.

  >>> palindromes(3, 2).targets[5]
  array([1, 2, 2, 1], dtype=int32)
  """
  first = strings(letters, half)
  return Examples(None, np.concatenate([first, first[:, ::-1]], axis=1))


def strings(letters: int, length: int) -> np.ndarray:
  """All strings in order, int32 [letters ** length, length].

  Raises:
    UserError: too many strings.
  """
  if letters**length > _MOST:
    raise errors.UserError(
      f"there are {letters**length:,} strings of {length} out of {letters} "
      f"letters; give toys with at most {_MOST:,}"
    )
  found = itertools.product(range(letters), repeat=length)
  return np.array(list(found), np.int32)


class PerStep(nn.Module):
  """A label for every step; of `shifted` symbols, a language model."""

  core: stack.DeepRecurrent
  outputs: int  # K kinds of label

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [T, B]."""
    _, states = _read(self.core, inputs)
    return stack.Head(self.outputs, name="head")(states)


class LastState(nn.Module):
  """One label for a sequence."""

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [1, B, K] from ids [T, B]."""
    _, states = _read(self.core, inputs)
    return stack.Head(self.outputs, name="head")(
      tuple(hs[-1:] for hs in states)
    )


class FromVector(nn.Module):
  """A sequence about one object.

  Every number of the first state is tanh of a linear map of the vector.
  """

  core: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, vector: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] from a vector [B, D] and `shifted` ids [T, B]."""
    empty, shape = jax.tree.flatten(self.core.initial_carry(len(vector)))
    first = [
      nn.tanh(nn.Dense(leaf.shape[-1], name=f"first_{i}")(vector))
      for i, leaf in enumerate(empty)
    ]
    _, states = self.core(jax.tree.unflatten(shape, first), written)
    return stack.Head(self.outputs, name="head")(states)


class EncoderDecoder(nn.Module):
  """A sequence for a sequence, of any two lengths; two cores alike."""

  encoder: stack.DeepRecurrent
  decoder: stack.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, source: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [S, B] and `shifted` ids [T, B]."""
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
  """The likeliest symbols [T, B], each after those that were written before.

  `logits` are [T, B, K] of what is written; there must be no looking ahead.
  """
  # T passes over all T steps; but one shape, compiled once.
  written = np.full((steps + 1, batch), -1, np.int32)
  for place in range(steps):
    found = np.asarray(logits(written[:-1]))
    written[place + 1] = found[place].argmax(axis=-1)
  return written[1:]


class Task(NamedTuple):
  """A toy problem and a network of its shape."""

  problem: str  # in words
  examples: Examples  # all there are
  model: nn.Module  # takes what is given, then, if it writes, what is written
  writes: bool = False
  free: int = 0  # symbols at the beginning that cannot be known

  def inputs(self, part: Examples) -> tuple[np.ndarray, ...]:
    """What the model takes: time first, vectors as they are."""
    found = []
    if part.given is not None:
      vectors = np.issubdtype(part.given.dtype, np.floating)
      found.append(part.given if vectors else part.given.T)
    if self.writes:
      found.append(shifted(part.targets.T))
    return tuple(found)

  def answers(
    self, model: Callable[..., jax.Array], part: Examples
  ) -> np.ndarray:
    """What the model says by itself, [T, B]."""
    inputs, targets = self.inputs(part), part.targets.T
    if not self.writes:
      return np.asarray(model(*inputs)).argmax(axis=-1)
    *given, known = inputs
    told = np.arange(len(known))[:, None] <= self.free

    def logits(written: np.ndarray) -> jax.Array:
      return model(*given, np.where(told, known, written))

    return greedy(logits, *targets.shape)


def tasks(settings: Any) -> dict[str, Task]:
  """The toys that the settings name, by their shapes.

  Raises:
    UserError: one of another name, or more examples than fit.
  """
  bits, letters = settings.toy_bits, settings.toy_letters
  length, features = settings.toy_length, (settings.toy_units,)
  core = functools.partial(stack.DeepRecurrent, features=features, cell="gru")
  ones, others = core(in_features=2), core(in_features=letters)
  known = {
    "fixed target": Task(
      f"do most of {bits - 1} bits say 1?",
      majority(bits - 1),
      LastState(ones, 2),
    ),
    "fixed input": Task(
      f"a vector of {bits} signs; write them down, one after the other",
      signs(bits),
      FromVector(ones, 2),
      writes=True,
    ),
    "aligned": Task(
      f"after each of {bits} bits: is the number of ones so far odd?",
      parity(bits),
      PerStep(ones, 2),
    ),
    "unaligned": Task(
      f"write {length} letters of {letters} kinds from the last to the first",
      reversal(letters, length),
      EncoderDecoder(others, others.copy(), letters),
      writes=True,
    ),
    "density": Task(
      f"palindromes of {2 * length} such letters; complete them",
      palindromes(letters, length),
      PerStep(others, letters),
      writes=True,
      free=length,
    ),
  }
  training.check_names(settings, "toys", known)
  return {name: known[name] for name in known if name in settings.toys}


def solved(task: Task, study: run_lib.Study) -> tuple[float, float, int]:
  """Learns a toy from three quarters of the examples; is asked about the rest.

  Returns the share of those without a mistake, nats of one, and their number.
  """
  order = study.random.permutation(len(task.examples.targets))
  cut = 3 * len(order) // 4
  params = _learned(task, task.examples.rows(order[:cut]), study)
  asked = task.examples.rows(order[cut:])
  model = functools.partial(jax.jit(task.model.apply), {"params": params})
  targets = asked.targets.T
  scored = jax.jit(losses.nats)
  logits = model(*task.inputs(asked))
  nats, *_ = scored(logits, targets, np.ones(targets.shape, bool))
  found = task.answers(model, asked)
  right = np.mean(np.all((found == targets)[task.free :], axis=0))
  return float(right), float(nats) / len(asked.targets), len(asked.targets)


def _learned(task: Task, part: Examples, study: run_lib.Study) -> Any:
  """The weights after training on a part of the examples."""
  settings, random = study.config.settings, study.random
  batch = min(settings.toy_batch, len(part.targets))
  drawn = []
  for _ in range(settings.toy_steps):
    rows = part.rows(random.choice(len(part.targets), batch, replace=False))
    targets = rows.targets.T
    mask = np.ones(targets.shape, bool)
    drawn.append(series.Minibatch(task.inputs(rows), targets, mask))
  minibatches = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
  rule = series.adam(0.01, settings.toy_steps)
  learner = training.Learner.of(task.model, of_examples)
  train_step = step.make_train_step(learner, rule)

  @jax.jit
  def fit(key: jax.Array, minibatches: series.Minibatch) -> Any:
    first = jax.tree.map(lambda leaf: leaf[0], minibatches.inputs)
    params = task.model.init(key, *first)["params"]
    state = step.TrainState(jnp.int32(0), params, rule.init(params), (), key)
    return jax.lax.scan(train_step, state, minibatches)[0].params

  return fit(jax.random.key(study.config.seed), minibatches)


def of_examples(
  model: nn.Module,
  params: Any,
  carry: Any,
  minibatch: series.Minibatch,
  key: Any = None,
) -> tuple[jax.Array, loss.Outcome]:
  """The loss of every example [B], as `common.training.Learner` wants it."""
  del key
  logits: Any = model.apply({"params": params}, *minibatch.inputs)
  nats, wrong = losses.cross_entropy(logits, minibatch.targets, minibatch.mask)
  by_example = jnp.sum(nats, axis=0)
  sums = jnp.sum(by_example), jnp.sum(minibatch.mask), jnp.sum(wrong)
  return by_example, (carry, losses.Metrics(*sums))
