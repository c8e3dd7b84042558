"""Backpropagation through time, and what to do where it is long."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fundamentals
from experiments.studies import (
  gradient_estimators,
  gradient_reach,
  initial_reach,
  matrix_powers,
  recomputation,
  truncated_training,
)
from seqmodels.cells import backpropagation, truncation
from seqmodels.io import report, segments_plot

# Of the network whose derivatives are taken by hand.
_STEPS, _WIDTH, _FEATURES, _OUTPUTS = 6, 3, 4, 5
_SHOWN = 64  # characters of the figure of segments
_LENGTH = 8  # of a segment there


def run(study: fundamentals.Study) -> list[report.Row]:
  """Writes the page, part by part."""
  study.lesson.say(
    """
    A recurrent network applies one set of weights at every step. The loss of a
    sequence therefore depends on each weight along as many paths as there are
    steps, and its gradient is the sum over all of them. This page writes that
    sum out, asks how far back its terms reach, and compares three ways to take
    it where the sequence is too long to take all of it.
    """
  )
  parts = (
    by_hand,
    three_ways,
    gradient_estimators.unbiased,
    gradient_estimators.variance,
    gradient_reach.by_radius,
    initial_reach.by_initialisation,
    matrix_powers.one_direction,
    recomputation.costs,
  )
  for part in parts:
    part(study)
    study.signals.check()
  return truncated_training.compare(study)


def by_hand(study: fundamentals.Study) -> None:
  """The five derivatives against automatic differentiation."""
  page = study.lesson
  page.section(
    "The gradient, written out",
    """
    Take a network without biases, and a loss that is the mean over the steps.
    Only h_{t-1} connects one step with the next, so a derivative that has
    arrived at h_{t+1} is handed to h_t by one matrix product.
    """,
  )
  page.shown(
    """
    h_t = phi(x_t W_x + h_{t-1} W_h)     o_t = h_t W_o     L = 1/T sum_t l(o_t)

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


def _differences(study: fundamentals.Study, activation: Any) -> dict[str, Any]:
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

  def apart(one: Any, other: Any) -> float:
    return float(np.abs(one - np.asarray(other)).max())

  answer: dict[str, Any] = {
    "dL/do_t": apart(found.d_outputs, d_os),
    "dL/dh_t": apart(found.d_states, d_hs),
    "dL/dW_x": apart(found.weights.inputs, d_weights.inputs),
    "dL/dW_h": apart(found.weights.recurrent, d_weights.recurrent),
    "dL/dW_o": apart(found.weights.outputs, d_weights.outputs),
    "dL/dh_t, by powers": "",
  }
  if activation == "identity":
    powers = backpropagation.linear_states(weights, d_outputs)
    answer["dL/dh_t, by powers"] = apart(powers, d_hs)
  return answer


def three_ways(study: fundamentals.Study) -> None:
  """What each strategy does to the recursion, and the figure of it."""
  page = study.lesson
  keep = 1 - 1 / _LENGTH
  page.section(
    "Three ways to take it",
    """
    The derivative of a state with respect to a weight w obeys a recursion with
    a direct term and a recurrent one. A strategy leaves all values as they are
    and weighs the recurrent term by a factor xi_t.
    """,
  )
  page.shown(
    """
    dh_t/dw = df/dw + (df/dh_{t-1}) dh_{t-1}/dw,     h_t = f(x_t, h_{t-1}, w)
    z_t     = df/dw + xi_t (df/dh_{t-1}) z_{t-1}

    full          xi_t = 1
    truncated     xi_t = 0 at the first step of every segment, else 1
    randomised    xi_t = 1/p with probability p, else 0        E xi_t = 1
    """
  )
  tokens = study.tokens("characters")
  ids = np.asarray(tokens.splits["train"][:_SHOWN])
  text = "".join(map(str, tokens.vocabulary.decode(ids)))
  factors = truncation.random_factors(
    jax.random.key(study.config.seed), len(text), 1, keep=keep
  )
  lengths = np.flatnonzero(np.asarray(factors[:, 0]) == 0).tolist()
  segments_plot.strips(
    page.figure(
      "strategies",
      "The first characters of the corpus, cut in three ways. A gradient flows "
      "within a box and not from one box to the one before it.",
    ),
    "Where a gradient may flow",
    text,
    {
      f"randomised: lengths by chance, {_LENGTH} on average": lengths,
      f"truncated: {_LENGTH} characters each": list(
        range(_LENGTH, len(text), _LENGTH)
      ),
      "full: one segment": [],
    },
  )
  page.say(
    f"""
    The upper row is one draw with p = {keep:g}: {len(lengths) + 1} segments
    over {len(text)} characters, their lengths geometric with mean
    1 / (1 - p) = {_LENGTH}. What a path of k steps loses by being cut often it
    gains in weight where it survives: it does so with probability p^k, and then
    counts p^-k times.

    Truncation comes in two forms that are not the same. With segments, as in
    the figure, a step at the beginning of a segment sees almost nothing and one
    at its end sees the whole segment. With a sliding window every step sees the
    same number of steps. The first is what training does: the state crosses the
    edge as a value and the gradient does not.
    """
  )
