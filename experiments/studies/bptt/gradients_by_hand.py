"""The gradient through time written out, and checked number by number."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import small_network
from seqmodels.cells import backpropagation, scan

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
  terms = backpropagation.unrolled(direct, factors)
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
  weights = backpropagation.Weights(
    random.normal(size=(_WIDTH, _FEATURES)),
    0.7 * random.normal(size=(_FEATURES, _FEATURES)),
    random.normal(size=(_FEATURES, _OUTPUTS)),
  )
  xs = random.normal(size=(_STEPS, _WIDTH))
  targets = random.integers(_OUTPUTS, size=_STEPS)
  hs = backpropagation.states(weights, xs, activation=activation)
  logits = hs @ weights.outputs
  shares = np.exp(logits - logits.max(axis=1, keepdims=True))
  shares /= shares.sum(axis=1, keepdims=True)
  d_outputs = (shares - np.eye(_OUTPUTS)[targets]) / _STEPS
  found = backpropagation.backward(
    weights, xs, d_outputs, activation=activation
  )

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
    powers = backpropagation.linear_states(weights, d_outputs)
    answer["dL/dh_t, by powers"] = _apart(powers, d_hs)
  return answer


def _of_cells(study: run.Study) -> dict[str, float]:
  """Largest |library - autodiff| of each cell's weights, in float64."""
  kinds = study.config.settings.cells
  return {kind: _of_cell(study, kind) for kind in kinds}


def _of_cell(study: run.Study, kind: str) -> float:
  cell, random = small_network.cell_of(kind), study.random
  with jax.enable_x64(True):
    params = small_network.drawn(cell, _WIDTH, _FEATURES, random, 0.5)
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
