"""The equations of recurrent networks beside the library's numbers."""

import inspect
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import gate_limits, plain_networks
from seqmodels.cells import ops


def equations(study: run_lib.Study) -> None:
  """The plain arrays beside the library."""
  page = study.lesson
  page.section(
    "The equations",
    """
    Rows are samples: X_t holds n inputs of width d, H_t the n hidden states of
    width h, O_t the n outputs of width q. Without the term H_{t-1} W_hh this
    would be a perceptron with one hidden layer, applied to each step by itself.
    The hidden layer is a stage on the way from input to output; the hidden
    state is an input that comes from the step before.
    """,
  )
  page.shown(
    """
    H_t = tanh(X_t W_xh + H_{t-1} W_hh + b_h)      X_t [n, d], H_t [n, h]
    O_t = H_t W_hq + b_q                           O_t [n, q]
    """
  )
  page.say("In plain arrays that is a loop:")
  page.shown(inspect.getsource(plain_networks.rnn))
  page.say(
    """
    Gates decide what is kept. A GRU has a reset gate R and an update gate Z; an
    LSTM has a memory C beside its state, with gates for what enters (I), what
    stays (F) and what is shown (O).
    """
  )
  page.shown(inspect.getsource(plain_networks.gru))
  page.shown(inspect.getsource(plain_networks.lstm))
  page.say(
    """
    The library computes the same with one matrix product for all steps' inputs
    and hand-written derivatives. On equal weights and inputs (20 steps, 4 rows)
    the two differ by rounding only, also in the gradient of every weight, which
    automatic differentiation finds through the plain loop.
    """
  )
  page.table(
    ["network", "outputs", "last state", "gradients (relative)"],
    [
      [name, *agreement(cell, study.config.seed)]
      for name, cell in training.CELLS.items()
    ],
  )
  halves, perceptron, shapes = network_facts(study.config.seed)
  page.say(
    f"""
    Three facts of the plain network: {shapes}; reading 100 steps at once or 37
    and then 63 from the state they left differs by {halves:.1g}; and with W_hh
    = 0 it differs from the perceptron, row by row, by {perceptron:.1g}.
    """
  )


def agreement(cell: str, seed: int) -> list[float]:
  """Largest differences between the library and plain arrays.

  Args:
    cell: "elman", "gru" or "lstm".
    seed: of weights and symbols.

  Returns:
    Of the outputs, the last state and, relative to the largest, the gradients.
  """
  rows, steps, symbols = 4, 20, 11
  network = training.network(cell, symbols, (7,))
  random = np.random.default_rng(seed)
  params = training.drawn(network, random, 0.4)
  ids = random.integers(symbols, size=(steps, rows)).astype(np.int32)
  never = np.zeros((steps, rows), bool)
  carry = jax.tree.map(
    lambda leaf: random.normal(size=leaf.shape).astype(np.float32),
    jax.eval_shape(lambda: network.initial_carry(rows)),
  )

  def library(params: Any) -> Any:
    after, outputs = network.apply(
      params, carry, jnp.asarray(ids), jnp.asarray(never)
    )
    return jnp.sum(jnp.sin(outputs)), (outputs, after[0])

  def plain(params: Any) -> Any:
    before = carry[0]
    state = tuple(before) if len(before) > 1 else before[0]
    run = getattr(plain_networks, "rnn" if cell == "elman" else cell)
    weights = plain_networks.from_library(params)
    outputs, after = run(weights, state, np.eye(symbols, dtype=np.float32)[ids])
    return jnp.sum(jnp.sin(outputs)), (outputs, after)

  (_, ours), slopes = jax.value_and_grad(library, has_aux=True)(params)
  (_, theirs), expected = jax.value_and_grad(plain, has_aux=True)(params)
  most = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  return [
    plain_networks.far(ours[0], theirs[0]),
    plain_networks.far(ours[1], theirs[1]),
    plain_networks.far(slopes, expected) / most,
  ]


def network_facts(seed: int) -> tuple[float, float, str]:
  """What a sequence in two parts, and no recurrence, come to.

  Returns:
    How far two parts are from the whole, how far W_hh = 0 is from a perceptron,
    and the shapes in words.
  """
  n, d, h, steps = 2, 16, 32, 100
  random = np.random.default_rng(seed)
  # Larger weights than fresh ones: every term shall matter.
  params = plain_networks.init_rnn(random, d, h, d, deviation=0.3)
  xs = random.normal(size=(steps, n, d)).astype(np.float32)
  zero = np.zeros((n, h), np.float32)
  outputs, state = plain_networks.rnn(params, zero, xs)
  first, middle = plain_networks.rnn(params, zero, xs[:37])
  second, last = plain_networks.rnn(params, middle, xs[37:])
  halves = max(
    plain_networks.far(jnp.concatenate([first, second]), outputs),
    plain_networks.far(last, state),
  )
  w_xh, w_hh, b_h, w_hq, b_q = params
  alone, _ = plain_networks.rnn((w_xh, 0 * w_hh, b_h, w_hq, b_q), zero, xs)
  rows = xs.reshape(-1, d)
  perceptron = np.tanh(rows @ w_xh + b_h) @ w_hq + b_q
  shapes = (
    f"{steps} inputs of shape {xs.shape[1:]} give outputs of shape "
    f"{outputs.shape} and a state of shape {state.shape}"
  )
  return halves, plain_networks.far(alone.reshape(-1, d), perceptron), shapes


def concatenation(study: run_lib.Study) -> None:
  """One product of joined matrices for two."""
  page = study.lesson
  page.section(
    "One product instead of two",
    """
    The two products of a step are one product of joined matrices. That is why
    libraries may store the weights of a layer as one matrix, and why a layer
    that reads several things at once needs nothing new.
    """,
  )
  page.shown("X W_xh + H W_hh = [X, H] [W_xh ; W_hh]")
  sizes = ((3, 1, 4), (32, 103, 128))
  page.table(
    ["X", "H", "[X, H]", "[W_xh ; W_hh]", "difference", "of gradients"],
    [
      [
        f"{n} x {d}",
        f"{n} x {h}",
        f"{n} x {d + h}",
        f"{d + h} x {h}",
        *plain_networks.joined(study.random, n, d, h),
      ]
      for n, d, h in sizes
    ],
  )


def gates(study: run_lib.Study) -> None:
  """Gates at their ends, and the two GRUs."""
  page = study.lesson
  page.section(
    "What gates do at their ends",
    """
    A gate is a number between 0 and 1. With it held at either end a cell turns
    into something simpler, which says best what the gate is for. The table sets
    the library's cells so and gives the largest difference from the claim over
    20 steps. The third line is why H takes a second tanh: C itself is not
    confined to (-1, 1).
    """,
  )
  page.table(
    ["gates", "then", "largest difference"],
    [
      [setting, claim, f"{far:.1g}"]
      for setting, claim, far in gate_limits.facts(study.config.seed)
    ],
  )
  usual, open_gate = reset_placement(study.config.seed)
  page.say(
    f"""
    There are two GRUs. The first multiplies the state by R and then by the
    matrix; libraries multiply by the matrix first, which leaves one product a
    step, and give the candidate a bias c_n of its own. They are different
    functions: on equal weights their outputs differ by up to {usual:.3f} here,
    and by {open_gate:.1g} where R is held at 1. Weights of the one cannot be
    used in the other.
    """
  )


def reset_placement(seed: int) -> tuple[float, float]:
  """How far the two GRUs are apart: as they are, and with R = 1."""
  network = training.network("gru", 5, (6,))
  random = np.random.default_rng(seed)
  params = training.drawn(network, random, 0.4)
  # Only the first GRU has no second bias.
  params["stack"]["layer_0"]["recurrent_bias"] *= 0
  w_x, w_h, bias, *rest = plain_networks.from_library(params)
  inputs = random.normal(size=(10, 2, 5)).astype(np.float32)
  found = []
  for reset in (bias[0], jnp.full_like(bias[0], gate_limits.OPEN)):
    held = (w_x, w_h, (reset, *bias[1:]), *rest)
    state = np.zeros((2, 6), np.float32)
    one, _ = plain_networks.gru(held, state, inputs)
    two, _ = plain_networks.gru(held, state, inputs, reset_first=True)
    found.append(plain_networks.far(one, two))
  return found[0], found[1]


def one_hot(study: run_lib.Study) -> None:
  """A product with one-hot vectors is a choice of rows."""
  page = study.lesson
  values, slopes = row_choice(study.config.seed)
  page.section(
    "One-hot inputs",
    f"""
    A symbol enters as a vector with a single 1, of width V. Its product with
    the first matrix is a row of that matrix, so nothing need be multiplied: the
    library looks the row up. Over 4 x 6 symbols of 9 the two ways differ by
    {values:.1g}, and their gradients by {slopes:.1g}: a row collects the
    derivatives of every place where its symbol stood. An embedding is such a
    matrix below the network, narrower than V, and learned like any other.
    """,
  )
  page.shown("one_hot(i) W = W[i]")


def row_choice(seed: int) -> tuple[float, float]:
  """How far looking rows up is from the product: values, and gradients."""
  random = np.random.default_rng(seed)
  ids = random.integers(9, size=(4, 6)).astype(np.int32)
  weights = jax.device_put(random.normal(size=(9, 5)).astype(np.float32))
  into = random.normal(size=(4, 6, 5)).astype(np.float32)
  found = [
    jax.value_and_grad(
      lambda w, run=run: (jnp.sum(run(w) * into), run(w)), has_aux=True
    )(weights)
    for run in (
      lambda w: ops.lookup(w, ids),
      lambda w: jax.nn.one_hot(ids, 9) @ w,
    )
  ]
  ((_, one), slope), ((_, two), other) = found
  return plain_networks.far(one, two), plain_networks.far(slope, other)
