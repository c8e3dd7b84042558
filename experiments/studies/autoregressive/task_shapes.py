"""Every shape of problem on one recurrent core: part of a study."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from seqmodels import errors
from seqmodels import losses as losses_lib
from seqmodels.data import toy_tasks
from seqmodels.layers import stack
from seqmodels.models import task_heads
from seqmodels.training import loss, optimizers, step


class Task(NamedTuple):
  """A toy problem and a network of its shape.

  Attributes:
    shape: as the page calls it.
    problem: in words.
    examples: all there are.
    model: takes what is given, then, if it writes, what is written.
    reads: it takes the given.
    writes: it takes the symbols written so far.
    free: symbols at the beginning that nothing tells.
  """

  shape: str
  problem: str
  examples: toy_tasks.Examples
  model: nn.Module
  reads: bool = True
  writes: bool = False
  free: int = 0


class Minibatch(NamedTuple):
  """One step's examples, in the form that `training.step` asks for."""

  inputs: tuple[Any, ...]
  targets: Any
  mask: Any


def tasks(study: run.Study) -> list[Task]:
  """Those that the settings name.

  Raises:
    UserError: one of another name, or sizes that make no toy.
  """
  settings = study.config.settings
  bits, letters, length = (
    settings.toy_bits,
    settings.toy_letters,
    settings.toy_length,
  )

  def core(symbols: int) -> stack.DeepRecurrent:
    return stack.DeepRecurrent(
      features=(settings.toy_units,), in_features=symbols, cell="gru"
    )

  known = [
    Task(
      "fixed target",
      f"do most of {bits - 1} bits say 1?",
      toy_tasks.majority(bits - 1),
      task_heads.LastState(core(2), 2),
    ),
    Task(
      "fixed input",
      f"a vector of {bits} signs; write them down, one after the other",
      toy_tasks.signs(bits),
      task_heads.FromVector(core(2), 2),
      writes=True,
    ),
    Task(
      "aligned",
      f"after each of {bits} bits: is the number of ones so far odd?",
      toy_tasks.parity(bits),
      task_heads.PerStep(core(2), 2),
    ),
    Task(
      "unaligned",
      f"write {length} letters of {letters} kinds from the last to the first",
      toy_tasks.reversal(letters, length),
      task_heads.EncoderDecoder(core(letters), core(letters), letters),
      writes=True,
    ),
    Task(
      "density",
      f"palindromes of {2 * length} such letters; complete them",
      toy_tasks.palindromes(letters, length),
      task_heads.PerStep(core(letters), letters),
      reads=False,
      writes=True,
      free=length,
    ),
  ]
  shapes = [task.shape for task in known]
  for name in settings.toys:
    if name not in shapes:
      raise errors.UserError(
        f"config.settings.toys names {name!r}" + errors.closest(name, shapes)
      )
  return [task for task in known if task.shape in settings.toys]


def add(study: run.Study) -> None:
  """Adds the section to the study's page."""
  settings, page = study.config.settings, study.lesson
  page.section(
    "Shapes of problems",
    """
    A sequence may be what is given, what is wanted, or both:
    """,
  )
  page.table(
    ["problem", "given", "wanted", "example"],
    [
      ["fixed target", "a sequence", "one label", "is this review friendly?"],
      ["fixed input", "one object", "a sequence", "a caption to a picture"],
      ["aligned", "a sequence", "a label a step", "each word's part of speech"],
      ["unaligned", "a sequence", "another one", "translation"],
      ["density", "nothing", "P(sequence)", "language models"],
    ],
  )
  page.say(
    f"""
    One recurrent network can serve all five. What differs is the state that it
    begins with and the states that a label is read from. Here are toys, each
    with a rule that can be found. A layer of {settings.toy_units} GRU
    units, with a readout of the toy's shape, learned from three quarters of all
    examples in {settings.toy_steps:,} minibatches of {settings.toy_batch}. It
    was then asked about the others:
    """
  )
  body = []
  for task in tasks(study):
    right, nats, count = solved(task, study)
    body.append(
      [task.shape, task.problem, count, f"{100 * right:.1f}", float(nats)]
    )
    study.signals.check()
  page.table(
    [
      *("problem", "toy", "new examples"),
      *("wholly right, in %", "nats an example"),
    ],
    body,
  )
  floor = settings.toy_length * np.log(settings.toy_letters)
  page.say(
    f"""
    A network that writes is shown the true symbols so far while it learns; when
    it is asked it goes by those that it has written. Of a palindrome it is told
    the first half, which no one can know: {floor:.3f} nats are the least that a
    palindrome can cost on average, and what the network needs above that is
    what it gives to strings that are no palindromes.

    The rest of this page is about the last shape.
    """
  )


def solved(task: Task, study: run.Study) -> tuple[float, float, int]:
  """Learns a toy from some examples and is asked about the others.

  Returns:
    Share of them without a mistake, nats of one, and how many they are.
  """
  order = study.random.permutation(len(task.examples.targets))
  cut = 3 * len(order) // 4
  params = _learned(task, task.examples.rows(order[:cut]), study)
  asked = task.examples.rows(order[cut:])
  model = functools.partial(jax.jit(task.model.apply), {"params": params})
  inputs, targets = _inputs(task, asked), asked.targets.T
  scored = jax.jit(losses_lib.nats)
  nats, *_ = scored(model(*inputs), targets, np.ones(targets.shape, bool))
  found = _answers(task, model, inputs, targets)
  right = np.mean(np.all((found == targets)[task.free :], axis=0))
  return float(right), float(nats) / len(asked.targets), len(asked.targets)


def _answers(
  task: Task,
  model: Callable[..., jax.Array],
  inputs: tuple[np.ndarray, ...],
  targets: np.ndarray,
) -> np.ndarray:
  """What the model says by itself, [T, B]."""
  if not task.writes:
    return np.asarray(model(*inputs)).argmax(axis=-1)
  *given, known = inputs
  told = np.arange(len(known))[:, None] <= task.free

  def logits(written: np.ndarray) -> jax.Array:
    return model(*given, np.where(told, known, written))

  return task_heads.greedy(logits, *targets.shape)


def _inputs(task: Task, part: toy_tasks.Examples) -> tuple[np.ndarray, ...]:
  """What the model takes: time first, vectors as they are."""
  found = []
  if task.reads:
    assert part.given is not None
    vectors = np.issubdtype(part.given.dtype, np.floating)
    found.append(part.given if vectors else part.given.T)
  if task.writes:
    found.append(task_heads.shifted(part.targets.T))
  return tuple(found)


def _learned(task: Task, part: toy_tasks.Examples, study: run.Study) -> Any:
  """The weights after training on a part of the examples."""
  settings, random = study.config.settings, study.random
  batch = min(settings.toy_batch, len(part.targets))
  drawn = []
  for _ in range(settings.toy_steps):
    rows = part.rows(random.choice(len(part.targets), batch, replace=False))
    targets = rows.targets.T
    drawn.append(
      Minibatch(_inputs(task, rows), targets, np.ones(targets.shape, bool))
    )
  minibatches = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
  rule = optimizers.build(
    "adam",
    learning_rate=0.01,
    schedule="cosine",
    steps=settings.toy_steps,
    clip_norm=1.0,
  )
  train_step = step.make_train_step(task.model, rule, losses=of_examples)

  @jax.jit
  def fit(key: jax.Array, minibatches: Minibatch) -> Any:
    first = jax.tree.map(lambda leaf: leaf[0], minibatches.inputs)
    params = task.model.init(key, *first)["params"]
    state = step.TrainState(jnp.int32(0), params, rule.init(params), (), key)
    return jax.lax.scan(train_step, state, minibatches)[0].params

  return fit(jax.random.key(study.config.seed), minibatches)


def of_examples(
  model: nn.Module, params: Any, carry: Any, minibatch: Minibatch, key: Any
) -> tuple[jax.Array, loss.Outcome]:
  """Nats of every example [B], as `training.objective` wants losses."""
  del key
  logits: Any = model.apply({"params": params}, *minibatch.inputs)
  losses, wrong = losses_lib.cross_entropy(
    logits, minibatch.targets, minibatch.mask
  )
  nats = jnp.sum(losses, axis=0)
  return nats, loss.Outcome(
    carry, jnp.sum(nats), jnp.sum(minibatch.mask), jnp.sum(wrong)
  )
