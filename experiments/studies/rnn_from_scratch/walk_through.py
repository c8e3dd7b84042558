"""One word, step by step: what is read, what is predicted, what is learned."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from seqmodels.data.text import batching
from seqmodels.models import api as predictors
from seqmodels.sampling import text
from seqmodels.training import optimizers

WORD = "machine"
LETTERS = sorted(set(WORD))
_UNITS, _STEPS = 16, 100


class Learned(NamedTuple):
  """The network that knows one word.

  Attributes:
    network: its functions.
    before: weights before training.
    after: and after it.
    nats: a letter, at the last step.
  """

  network: predictors.Predictor
  before: Any
  after: Any
  nats: float


def one_word(study: run.Study) -> None:
  """The smallest language model, letter by letter."""
  page = study.lesson
  page.section(
    "What is read, and what is predicted",
    """
    A language model reads a text and predicts it at the same time: the target
    of every step is the input of the next. The state after x_t has been read,
    and so everything up to it, predicts x_{t+1}. Symbols may be words or
    characters:
    """,
  )
  page.shown(
    """
    read        the    time      machine            m   a   c   h   i   n
    predicted   time   machine   by                 a   c   h   i   n   e
    """
  )
  page.say(
    """
    The output O_t holds one number for every symbol of the vocabulary. The
    softmax makes probabilities of them, and minus the logarithm of the one of
    the true next symbol is the loss of the step. (The softmax belongs here and
    nowhere else: the hidden units have their tanh.) The mean over the steps,
    exponentiated, is the perplexity.
    """
  )
  page.shown("loss = - (1/T) sum_t log softmax(O_t)[x_{t+1}]")
  learned = learn(study.config.seed)
  ids = word_ids()
  before, after = (
    outputs(learned.network, params, ids[:-1])
    for params in (learned.before, learned.after)
  )
  first, last = (np.asarray(jax.nn.softmax(x)) for x in (before, after))
  spoilt = ids[:-1].copy()
  spoilt[4] = (spoilt[4] + 1) % len(LETTERS)
  changed = outputs(learned.network, learned.after, spoilt)
  moved = np.abs(changed - after).max(axis=1)
  page.say(
    f"""
    Here a network of {_UNITS} units learns the one word {WORD!r} in {_STEPS}
    steps. The first letter has nothing before it: there a null vector is read.
    The table gives the probability of each letter that has to come, and on the
    right how much the trained network's outputs O_t change if the fourth letter
    that is read is another one, {LETTERS[spoilt[4]]!r} for {LETTERS[ids[4]]!r}.
    Nothing before it may change at all.
    """
  )
  page.table(
    ["read", "predicted", "before training", "after", "change of O_t"],
    [
      [
        "(nothing)" if step == 0 else LETTERS[ids[step]],
        LETTERS[ids[step + 1]],
        float(first[step, ids[step + 1]]),
        float(last[step, ids[step + 1]]),
        f"{moved[step]:.2g}",
      ]
      for step in range(len(WORD))
    ],
  )
  page.say(
    f"""
    The last loss is {learned.nats:.4f} nats a letter, a perplexity of
    {np.exp(learned.nats):.4f}. Given {WORD[0]!r} and asked for the likeliest
    letter each time, the network goes on with {go_on(learned)!r}.
    """
  )


def word_ids() -> np.ndarray:
  """The null vector, then the word, [1 + T]."""
  return np.array([batching.NULL, *map(LETTERS.index, WORD)], np.int32)


def learn(seed: int) -> Learned:
  """Trains on the word alone.

  Args:
    seed: of the weights.
  """
  network = training.network("elman", len(LETTERS), (_UNITS,))
  # Small weights, as the textbook draws them, but not so small: tanh's linear
  # stretch is a slow place to start from with so few steps.
  before = training.drawn(network, np.random.default_rng(seed), 0.1)
  found = training.train(
    network,
    batching.SequentialStream(word_ids()[1:], batch=1, length=len(WORD)),
    optimizers.build("adam", learning_rate=0.03),
    steps=_STEPS,
    seed=seed,
    params=before,
  )
  return Learned(network, before, found.params, float(found.nats[-1]))


def outputs(
  network: predictors.Predictor, params: Any, ids: np.ndarray
) -> np.ndarray:
  """O_t after each letter that is read, [T, V] from ids [T]."""
  inputs = jnp.asarray(ids)[:, None]
  apply = jax.jit(network.apply)
  _, found = apply(params, network.initial_carry(1), inputs, inputs < -1)
  return np.asarray(found[:, 0])


def go_on(learned: Learned) -> str:
  """What the network takes to follow the word's first letter."""
  drawn = text.sample(
    learned.network,
    learned.after,
    jax.random.key(0),
    length=len(WORD) - 1,
    prime=word_ids()[1:2].tolist(),
    greedy=True,
  )[:, 0]
  return "".join(LETTERS[i] for i in drawn)
