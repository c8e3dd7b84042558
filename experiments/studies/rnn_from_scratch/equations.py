"""The equations of recurrent networks, step by step and in plain NumPy.

What gated cells do where a gate is quite shut or quite open.

Biases of +-1000 hold a gate at exactly 1 or 0 in float32, whatever the input.

Recurrent language models in plain arrays, as the equations have them.

Rows are samples: X_t [n, d], H_t [n, h], O_t [n, q]. The code of `plain_rnn`,
`plain_gru`
and `plain_lstm` is shown on the page of the study.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies import run as run_lib
from experiments.studies.common import training
from seqmodels import losses, trees
from seqmodels.cells import elman, gru, lstm, ops
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.models import api as predictors
from seqmodels.sampling import text
from seqmodels.training import optimizers


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
  page.shown(inspect.getsource(plain_rnn))
  page.say(
    """
    Gates decide what is kept. A GRU has a reset gate R and an update gate Z; an
    LSTM has a memory C beside its state, with gates for what enters (I), what
    stays (F) and what is shown (O).
    """
  )
  page.shown(inspect.getsource(plain_gru))
  page.shown(inspect.getsource(plain_lstm))
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
    run = {
      "elman": plain_rnn,
      "gru": plain_gru,
      "lstm": plain_lstm,
    }[cell]
    weights = from_library(params)
    outputs, after = run(weights, state, np.eye(symbols, dtype=np.float32)[ids])
    return jnp.sum(jnp.sin(outputs)), (outputs, after)

  (_, ours), slopes = jax.value_and_grad(library, has_aux=True)(params)
  (_, theirs), expected = jax.value_and_grad(plain, has_aux=True)(params)
  most = max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(expected))
  return [
    far(ours[0], theirs[0]),
    far(ours[1], theirs[1]),
    far(slopes, expected) / most,
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
  params = init_rnn(random, d, h, d, deviation=0.3)
  xs = random.normal(size=(steps, n, d)).astype(np.float32)
  zero = np.zeros((n, h), np.float32)
  outputs, state = plain_rnn(params, zero, xs)
  first, middle = plain_rnn(params, zero, xs[:37])
  second, last = plain_rnn(params, middle, xs[37:])
  halves = max(
    far(jnp.concatenate([first, second]), outputs),
    far(last, state),
  )
  w_xh, w_hh, b_h, w_hq, b_q = params
  alone, _ = plain_rnn((w_xh, 0 * w_hh, b_h, w_hq, b_q), zero, xs)
  rows = xs.reshape(-1, d)
  perceptron = np.tanh(rows @ w_xh + b_h) @ w_hq + b_q
  shapes = (
    f"{steps} inputs of shape {xs.shape[1:]} give outputs of shape "
    f"{outputs.shape} and a state of shape {state.shape}"
  )
  return halves, far(alone.reshape(-1, d), perceptron), shapes


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
        *joined(study.random, n, d, h),
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
      for setting, claim, far in facts(study.config.seed)
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
  w_x, w_h, bias, *rest = from_library(params)
  inputs = random.normal(size=(10, 2, 5)).astype(np.float32)
  found = []
  for reset in (bias[0], jnp.full_like(bias[0], OPEN)):
    held = (w_x, w_h, (reset, *bias[1:]), *rest)
    state = np.zeros((2, 6), np.float32)
    one, _ = plain_gru(held, state, inputs)
    two, _ = plain_gru(held, state, inputs, reset_first=True)
    found.append(far(one, two))
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
  return far(one, two), far(slope, other)


OPEN, SHUT = 1000.0, -1000.0
STEPS, ROWS, WIDTH, FEATURES = 20, 3, 4, 5


def facts(seed: int) -> list[tuple[str, str, float]]:
  """Claims about the gates, and how far the library's cells are from them.

  Args:
    seed: of the weights and inputs.

  Returns:
    (setting of the gates, claim, largest difference) each.
  """
  random = np.random.default_rng(seed)
  xs = random.normal(size=(STEPS, ROWS, WIDTH)).astype(np.float32)
  long = _drawn(lstm.init_params, random, peepholes=False)
  short = _drawn(gru.init_params, random)
  return [
    (
      "LSTM: F = 1, I = 0",
      "C never changes",
      _memory_kept(_with_bias(long, i=SHUT, f=OPEN), xs),
    ),
    ("LSTM: O = 0", "H = 0", _silent(_with_bias(long, o=SHUT), xs)),
    (
      "LSTM: F = I = G = 1",
      "C counts steps, so |C| has no bound",
      _counts(_with_bias(long, i=OPEN, f=OPEN, g=OPEN), xs),
    ),
    ("GRU: Z = 1", "H never changes", _state_kept(short, xs)),
    ("GRU: R = 1, Z = 0", "the simple network", _as_elman(short, xs)),
    (
      "GRU: R = 0, Z = 0",
      "H depends on the last input alone",
      _forgets(short, xs),
    ),
  ]


def _drawn(init: Any, random: np.random.Generator, **options: Any) -> Any:
  """Weights of the shapes that `init` gives."""
  shapes = jax.eval_shape(
    lambda: init(jax.random.key(0), WIDTH, FEATURES, **options)
  )
  return jax.tree.map(
    lambda leaf: jnp.asarray(0.5 * random.normal(size=leaf.shape), leaf.dtype),
    shapes,
  )


def _run(step: Any, params: Any, carry: Any, xs: np.ndarray) -> Any:
  """The last carry, and the outputs [T, B, H]."""
  outputs = []
  for x in xs:
    carry, h = step(params, carry, x)
    outputs.append(np.asarray(h))
  return carry, np.stack(outputs)


def _with_bias(params: Any, **gates: float) -> Any:
  """The LSTM with some gates held; the others are left alone."""
  blocks = jnp.split(params.bias, 4)
  for place, name in enumerate("ifgo"):
    if name in gates:
      blocks[place] = jnp.full_like(blocks[place], gates[name])
  return params._replace(bias=jnp.concatenate(blocks))


def _gru_held(params: gru.GRUParams, r: float, z: float) -> gru.GRUParams:
  _, _, n = jnp.split(params.bias, 3)
  held = [jnp.full_like(n, r), jnp.full_like(n, z), n]
  return params._replace(bias=jnp.concatenate(held))


def _some_state() -> Any:
  values = np.linspace(-0.9, 0.9, ROWS * FEATURES, dtype=np.float32)
  return values.reshape(ROWS, FEATURES)


def _memory_kept(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.LSTMCarry(c=3.0 * _some_state(), h=_some_state())
  after, _ = _run(lstm.step, params, carry, xs)
  return far(after.c, carry.c)


def _silent(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.LSTMCarry(c=3.0 * _some_state(), h=_some_state())
  return far(_run(lstm.step, params, carry, xs)[1], 0.0)


def _counts(params: lstm.LSTMParams, xs: np.ndarray) -> float:
  carry = lstm.initial_carry((ROWS,), FEATURES)
  after, _ = _run(lstm.step, params, carry, xs)
  return far(after.c, float(STEPS))


def _state_kept(params: gru.GRUParams, xs: np.ndarray) -> float:
  carry = gru.GRUCarry(_some_state())
  held = _gru_held(params, 0.0, OPEN)
  return far(_run(gru.step, held, carry, xs)[0].h, carry.h)


def _as_elman(params: gru.GRUParams, xs: np.ndarray) -> float:
  held = _gru_held(params, OPEN, SHUT)
  plain = elman.ElmanParams(
    kernel=params.kernel[:, 2 * FEATURES :],
    recurrent_kernel=params.recurrent_kernel[:, 2 * FEATURES :],
    bias=params.bias[2 * FEATURES :] + params.recurrent_bias,
  )
  ours = _run(gru.step, held, gru.GRUCarry(_some_state()), xs)
  theirs = _run(elman.step, plain, elman.ElmanCarry(_some_state()), xs)
  return far(ours[1], theirs[1])


def _forgets(params: gru.GRUParams, xs: np.ndarray) -> float:
  held = _gru_held(params, SHUT, SHUT)
  _, one = _run(gru.step, held, gru.GRUCarry(_some_state()), xs)
  # Every input but the last changed, and another state to begin with.
  other = np.concatenate([xs[:-1] + 1, xs[-1:]])
  _, two = _run(gru.step, held, gru.GRUCarry(-_some_state()), other)
  return far(one[-1], two[-1])


sigmoid, tanh = jax.nn.sigmoid, jnp.tanh

# Standard deviation of fresh weights.
SMALL = 0.01


def plain_rnn(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
  """Outputs [T, n, q] and the last state, of inputs [T, n, d]."""
  w_xh, w_hh, b_h, w_hq, b_q = params
  outputs = []
  for x in inputs:
    state = tanh(x @ w_xh + state @ w_hh + b_h)
    outputs.append(state @ w_hq + b_q)
  return jnp.stack(outputs), state


def plain_gru(
  params: Any, state: Any, inputs: Any, reset_first: bool = False
) -> tuple[jax.Array, Any]:
  """With gates R and Z; `reset_first` multiplies before the product."""
  w_x, w_h, b, c_n, w_hq, b_q = params
  outputs = []
  for x in inputs:
    r = sigmoid(x @ w_x[0] + state @ w_h[0] + b[0])
    z = sigmoid(x @ w_x[1] + state @ w_h[1] + b[1])
    if reset_first:
      n = tanh(x @ w_x[2] + (r * state) @ w_h[2] + b[2])
    else:
      n = tanh(x @ w_x[2] + r * (state @ w_h[2] + c_n) + b[2])
    state = z * state + (1 - z) * n
    outputs.append(state @ w_hq + b_q)
  return jnp.stack(outputs), state


def plain_lstm(params: Any, state: Any, inputs: Any) -> tuple[jax.Array, Any]:
  """With gates I, F and O around a memory C; the state is (C, H)."""
  w_x, w_h, b, w_hq, b_q = params
  memory, hidden = state
  outputs = []
  for x in inputs:
    i, f, g, o = (x @ w_x[k] + hidden @ w_h[k] + b[k] for k in range(4))
    memory = sigmoid(f) * memory + sigmoid(i) * tanh(g)
    hidden = sigmoid(o) * tanh(memory)
    outputs.append(hidden @ w_hq + b_q)
  return jnp.stack(outputs), (memory, hidden)


def from_library(params: Mapping[str, Any]) -> tuple[Any, ...]:
  """A one-layer language model's weights, as the functions above take them.

  Args:
    params: of `models.language_model.LanguageModel` without peepholes.
  """
  layer, head = params["stack"]["layer_0"], params["head"]
  features = layer["recurrent_kernel"].shape[0]
  gates = layer["kernel"].shape[1] // features
  out = (head["kernel"], head["bias"][None])
  w_x, w_h, b = (
    jnp.split(weights, gates, axis=-1)
    for weights in (
      layer["kernel"],
      layer["recurrent_kernel"],
      layer["bias"][None],
    )
  )
  if gates == 1:
    return (w_x[0], w_h[0], b[0], *out)
  if "recurrent_bias" in layer:
    return (w_x, w_h, b, layer["recurrent_bias"][None], *out)
  return (w_x, w_h, b, *out)


def init_rnn(
  random: np.random.Generator,
  inputs: int,
  features: int,
  outputs: int,
  deviation: float = SMALL,
) -> tuple[Any, ...]:
  """Weights of `plain_rnn`: normal with that deviation, biases 0."""
  shapes = ((inputs, features), (features, features), (features, outputs))
  w_xh, w_hh, w_hq = (
    (deviation * random.normal(size=shape)).astype(np.float32)
    for shape in shapes
  )
  zeros = (np.zeros((1, width), np.float32) for width in (features, outputs))
  return w_xh, w_hh, next(zeros), w_hq, next(zeros)


def as_predictor(
  symbols: int, features: int, init: Callable[[jax.Array], Any]
) -> predictors.Predictor:
  """`plain_rnn` over one-hot vectors, for everything that takes a predictor.

  Its state can be cleared at the first step only, which is where shuffled
  windows need it.

  Args:
    symbols: V.
    features: h.
    init: key -> weights.
  """

  def apply(
    params: Any, state: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    state = jnp.where(reset[0][:, None], 0.0, state)
    outputs, state = plain_rnn(params, state, jax.nn.one_hot(inputs, symbols))
    return state, outputs

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros((batch, features)),
    init=init,
    vocabulary_size=symbols,
  )


def joined(
  random: np.random.Generator, n: int, d: int, h: int
) -> tuple[float, float]:
  """How far [X, H] [W_x; W_h] is from X W_x + H W_h.

  Args:
    random: of the entries.
    n: rows of X.
    d: its columns.
    h: columns of H.

  Returns:
    The largest difference of the products, and of the derivatives of the sum of
    their squares, in float64.
  """
  x, w_x = random.normal(size=(n, d)), random.normal(size=(d, h))
  state, w_h = random.normal(size=(n, h)), random.normal(size=(h, h))
  side, stacked = np.hstack([x, state]), np.vstack([w_x, w_h])
  one, two = side @ stacked, x @ w_x + state @ w_h
  # d(sum P^2) / dW = 2 (what W was multiplied with)' P
  slope = 2 * side.T @ one
  apart = np.vstack([2 * x.T @ two, 2 * state.T @ two])
  return float(np.abs(one - two).max()), float(np.abs(slope - apart).max())


def far(a: Any, b: Any) -> float:
  """The largest difference between two trees of one shape."""
  pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
  return max(
    float(np.max(np.abs(np.asarray(one) - np.asarray(two))))
    for one, two in pairs
  )


# Symbols of a cleaned English text: 26 letters, the space, <unk>.
ALPHABET_LETTERS = 28


def counts(study: run.Study) -> None:
  """Parameters by formula and by the library, for short and long sequences."""
  page = study.lesson
  page.section(
    "Parameters do not grow with the sequence",
    f"""
    All steps share one set of weights: an RNN layer has d h + h^2 + h, a GRU
    three times and an LSTM four times that, and the output layer h q + q. With
    d = q = {ALPHABET_LETTERS} symbols, as of lower-case letters, that makes the
    numbers
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
  """Parameters of a model over `ALPHABET_LETTERS` symbols, c_n left out."""
  gates = {"elman": 1, "gru": 3, "lstm": 4}[cell]
  total, width = 0, ALPHABET_LETTERS
  for h in features:
    total, width = total + gates * (width * h + h * h + h), h
  return total + width * ALPHABET_LETTERS + ALPHABET_LETTERS


def parameters(cell: str, features: tuple[int, ...], steps: int) -> int:
  """The same, counted in the library's model made for so many steps."""
  network = training.model(cell, ALPHABET_LETTERS, features)
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
    {SMALL:g}.
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
  return training.drawn(network, random, SMALL, biases=False)


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
