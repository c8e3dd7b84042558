"""Backpropagation through time by hand, and how far gradients reach.

Backpropagation through time written out by hand, for a network of one layer.

    h_t = phi(x_t W_x + h_{t-1} W_h),   o_t = h_t W_o,   L = (1/T) sum_t l(o_t)

with phi the identity or tanh, h_0 = 0, and no biases. Given the T derivatives
dL/do_t, four more follow, with D_t = 1 or 1 - h_t^2:

    dL/dW_o = sum_t h_t' dL/do_t
    dL/dh_t = (dL/dh_{t+1} * D_{t+1}) W_h' + dL/do_t W_o'
    dL/dW_x = sum_t x_t' (dL/dh_t * D_t)
    dL/dW_h = sum_t h_{t-1}' (dL/dh_t * D_t)

where dL/dh_{T+1} = 0 (Zhang et al., Dive into Deep Learning, section 9.7, with
rows in place of columns). dL/dh_t is stored once and used for both weights;
that store is the memory that grows with T. Without phi the recursion unrolls
into powers of W_h,

    dL/dh_t = sum_{i=t}^T dL/do_i W_o' (W_h')^(i-t).

Plain NumPy, to be read and compared with; `recurrence` is the fast form for all
cells.
"""

import math
import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import gradient_reach, training
from seqmodels import errors
from seqmodels.cells import scan
from seqmodels.plotting import style
from seqmodels.plotting import style as style_lib

Activation = Literal["identity", "tanh"]


class Weights(NamedTuple):
  """Of a network without biases."""

  inputs: np.ndarray  # W_x [D, H]
  recurrent: np.ndarray  # W_h [H, H]
  outputs: np.ndarray  # W_o [H, Q]


class Gradients(NamedTuple):
  """The five derivatives of the loss."""

  d_outputs: np.ndarray  # dL/do_t [T, Q]
  d_states: np.ndarray  # dL/dh_t [T, H], of everything after h_t
  weights: Weights  # dL/dW_x, dL/dW_h, dL/dW_o


def states(
  weights: Weights, xs: np.ndarray, *, activation: Activation = "identity"
) -> np.ndarray:
  """h_1 to h_T, [T, H].

  Args:
    weights: of the network.
    xs: [T, D].
    activation: "identity" or "tanh".

  Raises:
    UserError: another activation.

  >>> one = np.ones((1, 1))
  >>> states(Weights(one, 0.5 * one, one), np.ones((3, 1))).ravel().tolist()
  [1.0, 1.5, 1.75]
  """
  if activation not in ("identity", "tanh"):
    raise errors.UserError(
      f"no derivative is written out for the activation {activation!r}; use "
      "identity or tanh"
    )
  phi = np.tanh if activation == "tanh" else np.asarray
  h, found = np.zeros(weights.recurrent.shape[0]), []
  for x in xs:
    h = phi(x @ weights.inputs + h @ weights.recurrent)
    found.append(h)
  return np.array(found)


def backward(
  weights: Weights,
  xs: np.ndarray,
  d_outputs: np.ndarray,
  *,
  activation: Activation = "identity",
) -> Gradients:
  """All derivatives of a loss from those of its outputs.

  Args:
    weights: of the network.
    xs: [T, D].
    d_outputs: dL/do_t, [T, Q].
    activation: "identity" or "tanh".

  Raises:
    UserError: another activation.

  >>> one = np.ones((1, 1))
  >>> found = backward(Weights(one, 0.5 * one, one), np.ones((3, 1)),
  ...                  np.array([[0.0], [0.0], [1.0]]))
  >>> found.d_states.ravel().tolist()
  [0.25, 0.5, 1.0]
  """
  hs = states(weights, xs, activation=activation)
  slopes = 1 - hs**2 if activation == "tanh" else np.ones_like(hs)
  d_states = np.zeros_like(hs)
  from_later = np.zeros(hs.shape[1])
  for t in reversed(range(len(xs))):
    d_states[t] = from_later + d_outputs[t] @ weights.outputs.T
    from_later = (d_states[t] * slopes[t]) @ weights.recurrent.T
  d_nets = d_states * slopes
  before = np.concatenate([np.zeros_like(hs[:1]), hs[:-1]])
  return Gradients(
    d_outputs,
    d_states,
    Weights(xs.T @ d_nets, before.T @ d_nets, hs.T @ d_outputs),
  )


def linear_states(weights: Weights, d_outputs: np.ndarray) -> np.ndarray:
  """dL/dh_t of the linear network by powers of W_h, [T, H].

  >>> one = np.ones((1, 1))
  >>> linear_states(Weights(one, 0.5 * one, one), np.ones((3, 1))).ravel()
  array([1.75, 1.5 , 1.  ])
  """
  steps = len(d_outputs)
  powers = [
    np.linalg.matrix_power(weights.recurrent.T, k) for k in range(steps)
  ]
  injected = d_outputs @ weights.outputs.T
  return np.array(
    [
      sum(injected[i] @ powers[i - t] for i in range(t, steps))
      for t in range(steps)
    ]
  )


def unrolled_terms(direct: np.ndarray, factors: np.ndarray) -> np.ndarray:
  """The terms of a_t = b_t + c_t a_{t-1}, a_0 = 0, by the step they come from.

      a_t = b_t + sum_{i < t} (c_t c_{t-1} ... c_{i+1}) b_i

  Args:
    direct: b, [T, N], or [T, N, M] columns.
    factors: c, [T, N, N]; the first is never used.

  Returns:
    [T, T, N, ...]: at [t, i] what b_i gives to a_t, zero for i > t.

  >>> terms = unrolled_terms(np.ones((3, 1)), np.full((3, 1, 1), 0.5))
  >>> terms[2].ravel().tolist()
  [0.25, 0.5, 1.0]
  """
  steps = len(direct)
  found = np.zeros((steps, *direct.shape))
  for t in range(steps):
    for i in range(t):
      found[t, i] = factors[t] @ found[t - 1, i]
    found[t, t] = direct[t]
  return found


# Of the network whose derivatives are taken by hand.
_STEPS, _WIDTH, _FEATURES, _OUTPUTS = 6, 3, 4, 5
_ROWS = 2  # of the gated cells


def written_out(study: run.Study) -> None:
  """The five derivatives against automatic differentiation."""
  page = study.lesson
  page.section(
    "The gradient, written out",
    """
    Take a network without biases, and a loss that is the mean over the steps.
    Only h_{t-1} connects one step with the next, so a derivative that has
    arrived at h_{t+1} is handed to h_t by one matrix product. States and
    derivatives are rows, a prime transposes, * multiplies element by element.
    """,
  )
  page.shown(
    """
    h_t = phi(x_t W_x + h_{t-1} W_h)     o_t = h_t W_o     L = 1/T sum_t l(o_t)

    dL/do_t = 1/T dl/do_t
    dL/dW_o = sum_t  h_t'  dL/do_t
    dL/dh_t = (dL/dh_{t+1} * D_{t+1}) W_h'  +  dL/do_t W_o'
    dL/dW_x = sum_t  x_t'      (dL/dh_t * D_t)
    dL/dW_h = sum_t  h_{t-1}'  (dL/dh_t * D_t)

    D_t = 1 for phi the identity,  1 - h_t^2 for tanh
    """
  )
  linear, tanh = (_differences(study, name) for name in ("identity", "tanh"))
  page.say(
    f"""
    dL/dh_t is computed once a step and then serves both weights; to keep it,
    and the states themselves, is what makes memory grow with T. The formulas
    are set against JAX's automatic differentiation in float64, for a softmax
    loss with T = {_STEPS}, {_WIDTH} inputs, {_FEATURES} units and {_OUTPUTS}
    outputs. The table holds the largest difference of any element.
    """
  )
  page.table(
    ("derivative", "linear", "tanh"),
    [[name, linear[name], tanh[name]] for name in linear],
  )
  page.say(
    """
    Nothing but rounding is left. "By powers" is the linear network's
    dL/dh_t = sum_i dL/do_i W_o' (W_h')^(i-t): the matrix appears to the power
    of the distance, which is the whole difficulty of long sequences.
    """
  )
  gated = _of_cells(study)
  listed = ", ".join(f"{name} {apart:.0e}" for name, apart in gated.items())
  page.say(
    f"""
    A gated cell is treated alike: what has arrived at the carry goes back
    through each gate by the rule of products, and from all gates through W_h to
    the step before. The library's cells are written that way, with no weight
    gradient formed before the end. Largest difference from automatic
    differentiation, of any weight: {listed}.
    """
  )


def unrolled(study: run.Study) -> None:
  """The recursion of the derivative as a sum over the steps it came from."""
  page = study.lesson
  page.section(
    "A recursion, and the sum it stands for",
    """
    Seen forwards, the derivative of a state with respect to a weight w has a
    direct term, since w is used at this step, and a recurrent one, since it was
    used before. With b_t for the first and c_t for the factor of the second it
    unrolls into a sum over all steps at which w was used:
    """,
  )
  page.shown(
    """
    h_t = f(x_t, h_{t-1}, w)

    dh_t/dw = df/dw + (df/dh_{t-1}) dh_{t-1}/dw

    a_t = b_t + c_t a_{t-1},  a_0 = 0
        = b_t + sum_{i < t} (c_t c_{t-1} ... c_{i+1}) b_i
    """
  )
  random = study.random
  direct = random.normal(size=(_STEPS, _FEATURES))
  factors = random.normal(size=(_STEPS, _FEATURES, _FEATURES))
  terms = unrolled_terms(direct, factors)
  state, apart = np.zeros(_FEATURES), 0.0
  for t in range(_STEPS):
    state = direct[t] + factors[t] @ state
    apart = max(apart, float(np.abs(terms[t].sum(axis=0) - state).max()))
  page.say(
    f"""
    For random vectors b and matrices c, {_STEPS} steps long, the two differ by
    {apart:.0e} at most. The factors keep their order, later ones to the left. A
    term from i has crossed t - i factors: small factors silence the past, large
    ones let it drown the present, and a tiny change of the past may then turn
    the whole gradient. So one may want to leave terms out.
    """
  )


def _differences(study: run.Study, activation: Any) -> dict[str, Any]:
  """Largest |by hand - autodiff| of each derivative."""
  random = study.random
  weights = Weights(
    random.normal(size=(_WIDTH, _FEATURES)),
    0.7 * random.normal(size=(_FEATURES, _FEATURES)),
    random.normal(size=(_FEATURES, _OUTPUTS)),
  )
  xs = random.normal(size=(_STEPS, _WIDTH))
  targets = random.integers(_OUTPUTS, size=_STEPS)
  hs = states(weights, xs, activation=activation)
  logits = hs @ weights.outputs
  shares = np.exp(logits - logits.max(axis=1, keepdims=True))
  shares /= shares.sum(axis=1, keepdims=True)
  d_outputs = (shares - np.eye(_OUTPUTS)[targets]) / _STEPS
  found = backward(weights, xs, d_outputs, activation=activation)

  def loss(weights: Any, d_hs: Any, d_os: Any) -> jax.Array:
    """With a nudge on every state and output, to differentiate by."""
    phi = jnp.tanh if activation == "tanh" else jnp.asarray
    h, total = jnp.zeros(_FEATURES), jnp.zeros(())
    for x, target, d_h, d_o in zip(xs, targets, d_hs, d_os, strict=True):
      h = phi(x @ weights.inputs + h @ weights.recurrent) + d_h
      total -= jax.nn.log_softmax(h @ weights.outputs + d_o)[target]
    return total / _STEPS

  with jax.enable_x64(True):
    none = np.zeros_like(hs), np.zeros_like(logits)
    d_weights, d_hs, d_os = jax.jit(jax.grad(loss, argnums=(0, 1, 2)))(
      weights, *none
    )
  answer: dict[str, Any] = {
    "dL/do_t": _apart(found.d_outputs, d_os),
    "dL/dh_t": _apart(found.d_states, d_hs),
    "dL/dW_x": _apart(found.weights.inputs, d_weights.inputs),
    "dL/dW_h": _apart(found.weights.recurrent, d_weights.recurrent),
    "dL/dW_o": _apart(found.weights.outputs, d_weights.outputs),
    "dL/dh_t, by powers": "",
  }
  if activation == "identity":
    powers = linear_states(weights, d_outputs)
    answer["dL/dh_t, by powers"] = _apart(powers, d_hs)
  return answer


def _of_cells(study: run.Study) -> dict[str, float]:
  """Largest |library - autodiff| of each cell's weights, in float64."""
  kinds = study.config.settings.cells
  return {kind: _of_cell(study, kind) for kind in kinds}


def _of_cell(study: run.Study, kind: str) -> float:
  cell, random = training.cell_of(kind), study.random
  with jax.enable_x64(True):
    params = training.drawn_network(cell, _WIDTH, _FEATURES, random, 0.5)
    carry = cell.initial_carry((_ROWS,), _FEATURES, jnp.float64)
    xs = jnp.asarray(random.normal(size=(_STEPS, _ROWS, _WIDTH)))
    readers = jnp.asarray(random.normal(size=(_STEPS, _ROWS, _FEATURES)))

    def plain(*given: Any) -> Any:
      return scan.unroll(cell.step, *given)

    def read(params: Any, sequence: Any) -> jax.Array:
      return jnp.sum(readers * sequence(params, carry, xs)[1])

    ours, autodiff = jax.jit(
      lambda params: [
        jax.grad(read)(params, sequence) for sequence in (cell.sequence, plain)
      ]
    )(params)
  leaves = map(jax.tree.leaves, (ours, autodiff))
  return max(_apart(*pair) for pair in zip(*leaves, strict=True))


def _apart(one: Any, other: Any) -> float:
  return float(np.abs(np.asarray(one) - np.asarray(other)).max())


_TEXTBOOK = 0.01  # standard deviation of the textbook's weights


def by_initialisation(study: run.Study) -> None:
  """The textbook's small weights, and what biases do about them."""
  page, settings = study.lesson, study.config.settings
  steps = settings.short_distance
  page.section(
    "At the usual initialisation",
    f"""
    Textbooks draw weights from N(0, {_TEXTBOOK:g}^2). A square matrix of h x h
    such numbers has a spectral radius of about {_TEXTBOOK:g} sqrt(h), so at the
    start every step divides the gradient by a large number, and the network
    cannot see beyond a few steps. That is why its loss first falls to the level
    of single-symbol frequencies and rests there.
    """,
  )
  drawn: dict[str, gradient_reach.Norms] = {}
  body: list[list[Any]] = []
  for features in settings.textbook:
    norms, radius = _textbook(study, "elman", features, steps)
    factor = gradient_reach.factor(norms, first=1)
    body.append(
      [
        f"Elman, h = {features}",
        _TEXTBOOK * math.sqrt(features),
        radius,
        factor,
        f"{factor**5:.1e}",
      ]
    )
    drawn[f"Elman, h = {features}"] = norms
  features = min(settings.textbook)
  for name, cell, gate, biases in (
    ("LSTM, forget bias", "lstm", 1, (0.0, 1.0, 5.0)),
    ("GRU, update bias", "gru", 1, (0.0, 5.0)),
  ):
    for bias in biases:
      norms, _ = _textbook(study, cell, features, steps, gate=gate, bias=bias)
      factor = gradient_reach.factor(norms, first=1)
      body.append([f"{name} {bias:g}", "", "", factor, f"{factor**5:.1e}"])
      drawn[f"{name} {bias:g}"] = norms
  page.table(
    (
      "network",
      f"{_TEXTBOOK:g} sqrt(h)",
      "spectral radius",
      "factor a step",
      "after 5 steps",
    ),
    body,
  )
  page.say(
    f"""
    The gated cells have h = {features} here, and for the LSTM the path through
    its cell is measured. What they gain is not in the weights but in the bias
    of one gate: sigma(0) = 0.5, sigma(1) = {_sigmoid(1):.2f}, sigma(5) =
    {_sigmoid(5):.3f} a step, and a little on top by way of the weights. An
    orthogonal start, rho = 1 in the figure before, is the
    plain network's own remedy. Clipping the norm of the gradient bounds its
    growth and does nothing about vanishing.
    """
  )
  path = page.figure(
    "initialisation",
    f"Norm of the gradient by distance at the start of training, with weights "
    f"from N(0, {_TEXTBOOK:g}^2).",
  )
  with style_lib.axes(path, "The reach of an untrained network") as pair:
    colours = {"Elman": 0, "LSTM": 1, "GRU": 2}
    seen: dict[str, int] = {}
    for name, norms in drawn.items():
      family = name.split(",")[0]
      style = ("-", "--", ":")[seen.get(family, 0)]
      seen[family] = seen.get(family, 0) + 1
      # An LSTM and a GRU with like gates lie on each other: wide under thin.
      wide = family == "LSTM"
      pair.plot(
        norms / norms[0],
        style,
        color=style_lib.COLOURS[colours[family]],
        lw=4.0 if wide else 1.6,
        alpha=0.5 if wide else 1.0,
        label=name,
      )
    pair.set_yscale("log")
    pair.set_ylim(1e-16, 3)
    pair.set_xlim(0, steps)
    pair.set_xlabel("steps back, $k$")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    style_lib.legend_beside(pair, "")


def _textbook(
  study: run.Study,
  kind: str,
  features: int,
  steps: int,
  *,
  gate: int = 0,
  bias: float = 0.0,
) -> tuple[gradient_reach.Norms, float]:
  """|g_k| with small normal weights, and their spectral radius.

  Args:
    study: seeds the weights.
    kind: of the cell.
    features: h.
    steps: the largest distance.
    gate: the block of the bias that is set.
    bias: to this; all others are 0.
  """
  random, cell = study.random, training.cell_of(kind)
  with jax.enable_x64(True):
    params = training.drawn_network(
      cell, gradient_reach.INPUTS, features, random, _TEXTBOOK
    )
    params = params._replace(
      bias=gradient_reach.biases(cell, features, gate, bias)
    )
    carry = cell.initial_carry((gradient_reach.ROWS,), features, jnp.float64)
    xs = jnp.asarray(
      random.normal(size=(steps, gradient_reach.ROWS, gradient_reach.INPUTS))
    )
    vector = random.normal(size=features)
    # What lasts in an LSTM is its cell.
    field = "c" if "c" in carry._fields else "h"
    direction = gradient_reach.direction(
      carry, jnp.asarray(vector), field=field
    )
    norms = gradient_reach.mean_norms(cell.step, params, carry, xs, direction)
  square = np.asarray(params.recurrent_kernel)[:, :features]
  return norms, gradient_reach.spectral_radius(square)


def _sigmoid(value: float) -> float:
  return 1 / (1 + math.exp(-value))


def one_direction(study: run.Study) -> None:
  """Powers of a symmetric matrix turn everything one way."""
  page, settings = study.lesson, study.config.settings
  size, ratio = 50, 1 / 1.1
  random = study.random
  basis = np.linalg.qr(random.normal(size=(size, size)))[0]
  values = np.concatenate([[1.1], np.linspace(1.0, -1.0, size - 1)])
  start = random.normal(size=size)
  found = gradient_reach.turning(
    basis @ np.diag(values) @ basis.T, start, powers=settings.powers
  )
  page.section(
    "Far gradients all point one way",
    """
    Norms are not all that is lost. Let M be symmetric with eigenvalues
    lambda_1, lambda_2, ... by falling modulus. Then M^k has the same
    eigenvectors and eigenvalues lambda_i^k, and the angle theta_k between M^k x
    and the first eigenvector closes at a known rate:
    """,
  )
  page.shown("tan theta_k  <=  |lambda_2 / lambda_1|^k  tan theta_0")
  shown = [k for k in (0, 5, 10, 20, 40) if k <= settings.powers]
  page.table(
    ("k", "tan theta_k", "bound", "|M^k x| / (|lambda_1|^k |x|)"),
    [
      [
        k,
        float(found.tangents[k]),
        float(found.bounds[k]),
        float(found.growth[k]),
      ]
      for k in shown
    ],
  )
  held = bool(np.all(found.tangents <= found.bounds * (1 + 1e-9)))
  many = random.normal(size=(20_000, size))
  cosines = np.abs(many[:, 0]) / np.linalg.norm(many, axis=1)
  near = {
    delta: float(np.mean(cosines < delta / math.sqrt(size)))
    for delta in (0.1, 0.3)
  }
  page.say(
    f"""
    Here M is {size} x {size} with |lambda_2 / lambda_1| = {ratio:.3f}, and x is
    normal. The bound {"holds" if held else "fails"} at every k up to
    {settings.powers}. It needs only that x is not orthogonal to the first
    eigenvector, and a random x hardly ever is: the probability of
    |cos theta_0| < delta / sqrt(n) is about sqrt(2/pi) delta = 0.80 delta, and
    was {near[0.1]:.3f} for delta = 0.1 and {near[0.3]:.3f} for delta = 0.3
    among {len(many):,} draws. So what arrives from far back says one thing
    only, whatever the loss asked for, and then shrinks or grows as lambda_1^k.
    """
  )
  path = page.figure(
    "one_direction",
    "Tangent of the angle between M^k x and the leading eigenvector, and its "
    "bound.",
  )
  with style.axes(path, "Powers of a matrix turn every vector") as pair:
    pair.plot(found.tangents, color=style.COLOURS[0], lw=1.6, label="measured")
    pair.plot(found.bounds, "--", color=style.GREY, lw=1.4, label="bound")
    pair.set_yscale("log")
    pair.set_xlabel("power $k$")
    pair.set_ylabel(r"$\tan\,\theta_k$")
    pair.legend(frameon=False, fontsize=9)


_INPUTS, _RECOMPUTED_ROWS = 16, 8
_REPEATS = 5
_PLAIN, _FUSED = "autodiff of the scan", "fused, all kept"
_AGAIN = "fused, recomputed"


class _Cost(NamedTuple):
  """Of one gradient."""

  bytes: int  # of XLA's temporary buffers
  seconds: float  # of the processor


def costs(study: run.Study) -> None:
  """Memory and time against the length, with and without recomputation."""
  page, settings = study.lesson, study.config.settings
  found = {steps: _measured(study, steps) for steps in sorted(settings.lengths)}
  page.section(
    "What the full gradient costs",
    """
    The backward pass needs the states of the forward pass, so memory grows with
    the length T. It need not keep them all: with the carry stored at the edges
    of chunks only, each chunk is run forward once more just before it is run
    backward. With chunks of sqrt(T) steps, sqrt(T) edges and one chunk's states
    are in memory at a time, for one more forward pass.
    """,
  )
  page.shown(
    """
    all kept      memory ~ T          time  forward + backward
    recomputed    memory ~ sqrt(T)    time  2 forward + backward
                  (besides inputs and outputs, which are T long in any case)
    """
  )
  names = list(found[min(found)])
  page.table(
    ("T", *(f"{name}: MB" for name in names), *(f"{n}: ms" for n in names)),
    [
      [
        f"{steps:,}",
        *(row[name].bytes / 1e6 for name in names),
        *(1e3 * row[name].seconds for name in names),
      ]
      for steps, row in found.items()
    ],
  )
  short, long = min(found), max(found)
  growth = {
    name: math.log(found[long][name].bytes / found[short][name].bytes)
    / math.log(long / short)
    for name in names
  }
  last = found[long]
  page.say(
    f"""
    Measured on the cell `{settings.cost_cell}` with {settings.features} units,
    {_RECOMPUTED_ROWS} rows, on this machine's {jax.devices()[0].platform}; the
    loss reads
    the last state, and MB are the temporary buffers that XLA says its compiled
    program takes. From T = {short:,} to {long:,} they grow as T to the power
    {growth[_PLAIN]:.2f} for the plain scan, {growth[_FUSED]:.2f} for the fused
    cell and {growth[_AGAIN]:.2f} with recomputation, which takes
    {last[_FUSED].bytes / last[_AGAIN].bytes:.0f} times less memory at T =
    {long:,} for {last[_AGAIN].seconds / last[_FUSED].seconds:.2f} times the
    processor's time (best of {_REPEATS}). By a count of operations that should
    be about 4/3, a backward pass being worth two forward ones; but a chunk's
    arrays are small enough to stay in the processor's cache, which may give
    more than the second forward pass takes. The fused cell forms the gradient
    of the weights in one product after its loop, where autodiff adds to it at
    every step.
    """
  )
  path = page.figure(
    "cost",
    "Temporary memory and time of one gradient by the length of the sequence.",
  )
  lengths = list(found)
  with style.figure(path, height=3.6) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, title in zip(
      pairs, ("memory, MB", "processor time, ms"), strict=True
    ):
      style.clean(pair)
      pair.set_title(title, fontsize=10)
      pair.set_xscale("log", base=2)
      pair.set_yscale("log")
      pair.set_xlabel("length T")
    for name, colour in zip(names, style.COLOURS, strict=False):
      bytes_ = [row[name].bytes / 1e6 for row in found.values()]
      times = [1e3 * row[name].seconds for row in found.values()]
      pairs[0].plot(lengths, bytes_, "o-", color=colour, ms=4, label=name)
      pairs[1].plot(lengths, times, "o-", color=colour, ms=4, label=name)
    pairs[0].legend(frameon=False, fontsize=8)


def _measured(study: run.Study, steps: int) -> dict[str, _Cost]:
  settings = study.config.settings
  features, cell = settings.features, training.cell_of(settings.cost_cell)
  random = study.random
  params = training.drawn_network(
    cell, _INPUTS, features, random, features**-0.5
  )
  carry = cell.initial_carry((_RECOMPUTED_ROWS,), features)
  xs = jnp.asarray(
    random.normal(size=(steps, _RECOMPUTED_ROWS, _INPUTS)), jnp.float32
  )

  def plain(*given: Any, **options: Any) -> Any:
    return scan.unroll(cell.step, *given, **options)

  chunk = max(1, math.isqrt(steps))
  ways = {
    _PLAIN: plain,
    _FUSED: cell.sequence,
    _AGAIN: scan.checkpointed(cell.sequence, chunk),
  }
  found = {}
  for name, sequence in ways.items():

    def loss(params: Any, xs: Any, sequence: Any = sequence) -> jax.Array:
      return jnp.sum(sequence(params, carry, xs)[0].h)

    compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    analysis: Any = compiled.memory_analysis()
    found[name] = _Cost(
      int(analysis.temp_size_in_bytes), _best(compiled, params, xs)
    )
    study.signals.check()
  return found


def _best(compiled: Any, *given: Any) -> float:
  """The shortest of a few runs, in the processor's seconds.

  Other programs on the machine do not count there.
  """
  jax.block_until_ready(compiled(*given))
  times = []
  for _ in range(_REPEATS):
    start = time.process_time()
    jax.block_until_ready(compiled(*given))
    times.append(time.process_time() - start)
  return float(np.min(times))
