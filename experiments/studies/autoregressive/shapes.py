"""Problems with sequences by their shape: toys, and a head on a core for each.

    fixed target   x_1 .. x_T -> y             the last state is read
    fixed input    v -> y_1 .. y_T             v makes the first state
    aligned        x_1 .. x_T -> y_1 .. y_T    every state is read
    unaligned      x_1 .. x_S -> y_1 .. y_T    a second core goes on from the
                                               first one's last state
    density        P(x_1 .. x_T)               aligned, with y_t = x_t and the
                                               inputs one step late

The core is `layers.recurrent.DeepRecurrent`, and a head is one linear map to
logits. A model that writes a sequence (second, fourth and fifth shape) reads
what has been written before, from the null vector on: the true symbols in
training (`shifted`), its own afterwards (`Task.answers`).

Whoever finds the rule of a toy in a part of the examples makes no mistake in
the rest.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import series
from experiments.studies.common import training
from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.layers import embedding, recurrent
from seqmodels.models import networks

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
  result = itertools.product(range(letters), repeat=length)
  return np.array(list(result), np.int32)


class PerStep(nn.Module):
  """A label for every step; of `shifted` symbols, a language model."""

  core: recurrent.DeepRecurrent
  outputs: int  # K kinds of label

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [T, B]."""
    _, states = _read(self.core, inputs)
    return embedding.Head(self.outputs, name="head")(states)


class LastState(nn.Module):
  """One label for a sequence."""

  core: recurrent.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, inputs: jax.Array) -> jax.Array:
    """Logits [1, B, K] from ids [T, B]."""
    _, states = _read(self.core, inputs)
    return embedding.Head(self.outputs, name="head")(
      tuple(hs[-1:] for hs in states)
    )


class FromVector(nn.Module):
  """A sequence about one object.

  Every number of the first state is tanh of a linear map of the vector.
  """

  core: recurrent.DeepRecurrent
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
    return embedding.Head(self.outputs, name="head")(states)


class EncoderDecoder(nn.Module):
  """A sequence for a sequence, of any two lengths; two cores alike."""

  encoder: recurrent.DeepRecurrent
  decoder: recurrent.DeepRecurrent
  outputs: int

  @nn.compact
  def __call__(self, source: jax.Array, written: jax.Array) -> jax.Array:
    """Logits [T, B, K] from ids [S, B] and `shifted` ids [T, B]."""
    carry, _ = _read(self.encoder, source)
    _, states = self.decoder(carry, written)
    return embedding.Head(self.outputs, name="head")(states)


def _read(core: recurrent.DeepRecurrent, inputs: jax.Array) -> Any:
  return core(core.initial_carry(inputs.shape[1]), inputs)


def shifted(targets: np.ndarray) -> np.ndarray:
  """What has been written before each symbol: the null vector, then the truth.

  >>> shifted(np.array([[5], [6], [7]])).ravel().tolist()
  [-1, 5, 6]
  """
  begin = np.full_like(targets[..., :1, :], -1)
  return np.concatenate([begin, targets[..., :-1, :]], axis=-2)


class Task(NamedTuple):
  """A toy problem and a network of its shape."""

  problem: str  # in words
  examples: Examples  # all there are
  model: Any  # a module of what is given, then, if it writes, what is written
  writes: bool = False
  free: int = 0  # symbols at the beginning that cannot be known

  def segment(self, part: Examples) -> series.Minibatch:
    """Inputs of the model and targets: time first, vectors as they are."""
    inputs, targets = [], np.swapaxes(part.targets, -1, -2)
    if part.given is not None:
      vectors = np.issubdtype(part.given.dtype, np.floating)
      inputs.append(part.given if vectors else np.swapaxes(part.given, -1, -2))
    if self.writes:
      inputs.append(shifted(targets))
    return series.Minibatch(
      tuple(inputs), targets, np.ones(targets.shape, bool)
    )

  def learner(self, seed: int) -> networks.SequenceModel:
    """The network as training wants it, with the weights of a seed.

    No carry crosses from step to step.
    """
    first = self.segment(self.examples.rows(np.arange(1))).inputs
    return networks.SequenceModel(
      lambda params, _, *inputs: ((), self.model.apply(params, *inputs)),
      initial_carry=lambda batch: (),
      init=lambda _: self.model.init(jax.random.key(seed), *first),
      vocabulary_size=self.model.outputs,
      reads=lambda segment: segment.inputs,
    )

  def answers(
    self, logits: Callable[..., jax.Array], part: Examples
  ) -> np.ndarray:
    """What the model says by itself, [T, B], from `logits` of its inputs.

    One that writes reads its own likeliest symbols, behind those that are free.
    """
    inputs = self.segment(part).inputs
    if not self.writes:
      return np.asarray(logits(*inputs)).argmax(axis=-1)
    *given, known = inputs
    shown = np.arange(len(known))[:, None] <= self.free
    written = np.where(shown, known, -1)
    # Passes over all T steps; but one shape, compiled once.
    for place in range(self.free, len(known)):
      said = np.asarray(logits(*given, written)).argmax(axis=-1)
      written[place + 1 : place + 2] = said[place]
    return said


def tasks(settings: Any) -> dict[str, Task]:
  """The toys that the settings name, by their shapes.

  Raises:
    UserError: one of another name, or more examples than fit.
  """
  bits, letters = settings.toy_bits, settings.toy_letters
  length = settings.toy_length
  options = recurrent.StackOptions(
    features=(settings.toy_units,), cell=cells.get("gru")
  )
  ones = recurrent.DeepRecurrent(options, in_features=2)
  others = recurrent.DeepRecurrent(options, in_features=letters)
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
  settings, random = study.config.settings, study.random
  model = task.learner(study.config.seed)
  order = study.random.permutation(len(task.examples.targets))
  learned, asked = np.split(order, [3 * len(order) // 4])
  batch = min(settings.toy_batch, len(learned))
  drawn = np.stack(
    [
      random.choice(learned, batch, replace=False)
      for _ in range(settings.toy_steps)
    ]
  )
  [params] = series.fit_each(
    model,
    series.adam(0.01, settings.toy_steps),
    study.config.seed,
    [task.segment(task.examples.rows(drawn))],
  )
  new = task.examples.rows(asked)
  segment = task.segment(new)
  # One program for what is asked twice.
  logits = functools.partial(jax.jit(task.model.apply), params)
  _, metrics = jax.jit(model.loss)(logits(*segment.inputs), segment)
  right = task.answers(logits, new) == segment.targets
  share = np.mean(np.all(right[task.free :], axis=0))
  return float(share), float(metrics.nats) / len(asked), len(asked)
