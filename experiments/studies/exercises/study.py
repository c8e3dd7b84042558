"""What a recurrent network can and cannot hold: exercises as experiments."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import small_network
from experiments.studies.exercises import (
  by_heart,
  exact_networks,
  long_gradients,
  ngram_bounds,
  other_texts,
  remedies,
  remembering,
)
from seqmodels import losses, trees
from seqmodels.cells import gru, lstm, scan
from seqmodels.data import memory_tasks
from seqmodels.io import results
from seqmodels.models import hand_set_gates

_READ = 100  # symbols


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page, part by part."""
  # A file that cannot be read shows now, not after the training.
  others = other_texts.read(study)
  study.lesson.say(
    """
    Questions about recurrent networks that textbooks leave to the reader,
    answered by construction, by a bound, or by an experiment. What can such a
    network represent that counting cannot? How wide must its output be, and
    how far back does it look? What becomes of the gradient of a long sequence?
    Over which lag can the common cells learn to remember, and what helps? And
    what happens to a network that is trained too long on one text?
    """
  )
  rows: list[results.Row] = []
  for part in (
    exact_networks.represented,
    ngram_bounds.beyond_ngrams,
    remembering.recall,
    output_width,
    long_gradients.by_length,
    long_gradients.at_a_window,
    gates_by_hand,
    remembering.copying,
    remedies.compared,
    remembering.adding,
  ):
    rows += part(study) or []
    study.signals.check()
  return rows + by_heart.texts(study, others)


def output_width(study: run_lib.Study) -> None:
  """V numbers out, one a symbol."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "How wide is the output?",
    """
    A model of the next symbol says a probability for each one that could come,
    so its output layer has as many units as the vocabulary has symbols, V,
    whatever the width of the state. (The input, read as one-hot vectors, is as
    wide.) Before training all of them are about alike, and the loss is about
    ln V.
    """,
  )
  body = []
  for tokenizer in ("characters", "words"):
    tokens = study.tokens(tokenizer)
    symbols = len(tokens.vocabulary)
    network = small_network.Network(
      "elman", settings.features, symbols, symbols
    )
    ids = np.asarray(tokens.splits["train"][: _READ + 1], np.int32)[:, None]
    logits, nats = jax.jit(_first, static_argnums=0)(
      network, jax.random.key(study.config.seed), ids
    )
    params, *readout = jax.eval_shape(network.init, jax.random.key(0))
    body.append(
      [
        tokenizer,
        f"{symbols:,}",
        " x ".join(map(str, logits.shape)),
        f"{trees.count_parameters(readout):,}",
        f"{trees.count_parameters(params):,}",
        float(nats) / (len(ids) - 1),
        math.log(symbols),
      ]
    )
  page.table(
    (
      "symbols are",
      "V",
      "outputs, steps x rows x V",
      f"weights of the output layer, h = {settings.features}",
      "of the recurrent layer",
      "loss at the start",
      "ln V",
    ),
    body,
  )
  page.say(
    """
    For words nearly all weights are in the two ends of the network, which is
    one reason why models of words embed their input and models of characters
    need not.
    """
  )


def _first(
  network: small_network.Network, key: jax.Array, ids: jax.Array
) -> tuple[jax.Array, jax.Array]:
  """Logits before any training, and nats in all, of ids [T + 1, 1]."""
  # The textbook's small weights: the logits begin near 0.
  params = jax.tree.map(lambda leaf: 0.01 * leaf, network.init(key))
  carry = network.initial_carry(1)
  _, hs = network.cell.sequence(params[0], carry, ids[:-1])
  logits = network.read(params, hs)
  scored = jnp.ones(ids[1:].shape, bool)
  return logits, losses.nats(logits, ids[1:], scored)[0]


def gates_by_hand(study: run_lib.Study) -> None:
  """Gates set by hand keep and add without loss."""
  page, length, rows = study.lesson, study.config.settings.hand_length, 16
  task = memory_tasks.AddingTask(
    length=length, batch=rows, seed=study.config.seed
  )
  segment = task.segment(0)
  gains = (1e-1, 1e-2, 1e-3)
  worst: list[list[float | str]] = []
  with jax.enable_x64(True):
    latched, summed = (
      jax.jit(lambda *given, step=step: scan.unroll(step, *given)[0])
      for step in (gru.step, lstm.step)
    )
    inputs = jnp.asarray(segment.inputs, jnp.float64)
    sums = np.asarray((inputs[..., 0] * inputs[..., 1]).sum(axis=0))
    one = inputs.at[length // 2 :, :, 1].set(0)  # the first mark alone
    first = np.asarray((one[..., 0] * one[..., 1]).sum(axis=0))
    for gain in gains:
      short = gru.initial_carry((rows,), 1, jnp.float64)
      held = latched(hand_set_gates.latch(gain), short, one)
      long = lstm.initial_carry((rows,), 1, jnp.float64)
      added = summed(hand_set_gates.adder(gain), long, inputs)
      worst.append(
        [
          f"{gain:g}",
          float(np.abs(held.h[:, 0] / gain - first).max()),
          float(np.abs(added.h[:, 0] / gain - sums).max()),
        ]
      )
  page.section(
    "Gates that hold",
    """
    Before any training: what are gates able to do? In the adding task a network
    reads pairs of a number and a mark, and is to say the sum of the two marked
    numbers at the end. A GRU of one unit with r = 0 and z = 0 at the mark, z =
    1 elsewhere, depends on that one input alone and keeps it unchanged for
    ever. An LSTM of one unit with f = 1 and its input gate equal to the mark
    adds the marked numbers up in its cell. Saturated gates are 0 or 1 to the
    last bit, so the number of steps does not matter; the tanh inside is passed
    by small numbers, tanh(a v) / a.
    """,
  )
  page.table(
    (
      f"a, over {length} steps",
      "GRU keeps one number: largest error",
      "LSTM adds two: largest error",
    ),
    worst,
  )
  page.say(
    """
    The error is that of tanh, about a^2/3 of the number cubed, and can be made
    as small as one likes. So both can represent the task over any lag with one
    unit. Whether they can be taught it is another question.
    """
  )
