"""How many numbers a recurrent network has, and its loss before training."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import plain_networks
from seqmodels import losses, trees
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib

# Symbols of a cleaned English text: 26 letters, the space, <unk>.
LETTERS = 28


def counts(study: run.Study) -> None:
  """Parameters by formula and by the library, for short and long sequences."""
  page = study.lesson
  page.section(
    "Parameters do not grow with the sequence",
    f"""
    All steps share one set of weights: an RNN layer has d h + h^2 + h, a GRU
    three times and an LSTM four times that, and the output layer h q + q. With
    d = q = {LETTERS} symbols, as of lower-case letters, that makes the numbers
    below. The library was asked with sequences of 1 and of 1,000 steps. (Its
    GRU has h more a layer: the bias c_n.) Every weight of a layer is multiplied
    once a step, so these are the costs, too: at equal h a step of a GRU takes
    three and one of an LSTM four times the multiplications of an RNN.
    """,
  )
  body = []
  for name, cell, features in (
    ("RNN", "elman", (32,)),
    ("RNN", "elman", (256,)),
    ("RNN", "elman", (512,)),
    ("GRU", "gru", (32,)),
    ("LSTM", "lstm", (32,)),
    ("RNN, two layers", "elman", (32, 32)),
    ("GRU, two layers", "gru", (32, 32)),
    ("LSTM, two layers", "lstm", (32, 32)),
  ):
    found = [parameters(cell, features, steps) for steps in (1, 1000)]
    formula = f"{by_formula(cell, features):,}"
    body.append([name, features[0], formula, *(f"{n:,}" for n in found)])
  page.table(["network", "h", "formula", "T = 1", "T = 1,000"], body)


def by_formula(cell: str, features: tuple[int, ...]) -> int:
  """Parameters of a model over `LETTERS` symbols, c_n left out."""
  gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
  total, width = 0, LETTERS
  for h in features:
    total, width = total + gates * (width * h + h * h + h), h
  return total + width * LETTERS + LETTERS


def parameters(cell: str, features: tuple[int, ...], steps: int) -> int:
  """The same, counted in the library's model made for so many steps."""
  network = training.model(cell, LETTERS, features)
  ids = jax.ShapeDtypeStruct((steps, 1), jnp.int32)
  shapes = jax.eval_shape(
    lambda key, ids: network.init(key, network.initial_carry(1), ids),
    jax.random.key(0),
    ids,
  )
  return trees.count_parameters(shapes)


def first_loss(study: run.Study, tokens: tokens_lib.Tokens) -> None:
  """Before training every symbol is about as likely."""
  page, symbols = study.lesson, tokens.vocabulary.size
  page.section(
    "The first loss",
    f"""
    Small weights give outputs near 0, so every symbol is about as likely, the
    loss is ln V = ln {symbols} = {math.log(symbols):.4f} nats and the
    perplexity V. Anything else before the first step is a mistake somewhere.
    Here all matrices are drawn from a normal distribution of deviation
    {plain_networks.SMALL:g}.
    """,
  )
  text = batching.RandomWindows(tokens.splits["train"], batch=8, length=32)
  segment = text.segment(0)
  body = []
  for name, cell in training.CELLS.items():
    network = training.network(cell, symbols, (32,))
    nats = mean_nats(network, small(network, study.random), segment)
    body.append([name, f"{nats:.4f}", math.exp(nats)])
  page.table(["network", "nats a character", "perplexity"], body)


def mean_nats(network: Any, params: Any, segment: Any) -> float:
  """The loss of a segment [T, B], nats a symbol, from an empty state."""

  @jax.jit
  def total(params: Any, segment: Any) -> Any:
    carry = network.initial_carry(segment.inputs.shape[1])
    _, logits = network.apply(params, carry, segment.inputs, segment.reset)
    return losses.nats(logits, segment.targets, segment.mask)

  nats, scored, _ = total(params, segment)
  return float(nats) / int(scored)


def small(network: Any, random: np.random.Generator) -> Any:
  """The textbook's fresh weights: small matrices, biases 0."""
  return training.drawn(network, random, plain_networks.SMALL, biases=False)
