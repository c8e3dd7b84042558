"""What a pen network thinks at every step of a real line, for pictures."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np

from seqmodels.cells import soft_window
from seqmodels.distributions import bivariate_mixture as mixtures
from seqmodels.models import pen_network


class Trace(NamedTuple):
  """One line's densities, standardised units, and where the window stood.

  Attributes:
    weights: [T, M].
    means: [T, M, 2].
    deviations: [T, M, 2].
    correlations: [T, M].
    lifts: [T], probability that the point ends its stroke.
    window: [T, U], phi; None without a window.
  """

  weights: np.ndarray
  means: np.ndarray
  deviations: np.ndarray
  correlations: np.ndarray
  lifts: np.ndarray
  window: np.ndarray | None


def trace(
  network: pen_network.PenNetwork,
  params: Any,
  line: np.ndarray,
  text: np.ndarray | None = None,
) -> Trace:
  """Follows a line step by step.

  Args:
    network: the model.
    params: its weights.
    line: standardised points [T, 3].
    text: int [U], what the line says; for a network with a window.

  >>> from seqmodels.models import handwriting
  >>> network = handwriting.network(
  ...   handwriting.Handwriting(features=(4,), components=2)
  ... )
  >>> params = network.init(jax.random.key(0))
  >>> trace(network, params, np.zeros((5, 3))).means.shape
  (5, 2, 2)
  """
  ids = np.zeros(0, np.int32) if text is None else text
  inputs = np.concatenate([np.zeros((1, 3)), line[:-1]]).astype(np.float32)
  found, phi = _follow(network, params, inputs, np.asarray(ids)[:, None])
  return Trace(
    weights=np.asarray(found.weights),
    means=np.stack([found.mean_x, found.mean_y], axis=-1),
    deviations=np.exp(
      np.stack([found.log_deviation_x, found.log_deviation_y], axis=-1)
    ),
    correlations=np.asarray(found.correlation),
    lifts=np.asarray(found.lift),
    window=None if phi is None else np.asarray(phi),
  )


@functools.partial(jax.jit, static_argnames=("network",))
def _follow(
  network: pen_network.PenNetwork,
  params: Any,
  inputs: jax.Array,
  text: jax.Array,
) -> tuple[mixtures.Mixture, jax.Array | None]:
  places = soft_window.positions(text.shape[0])

  def step(carry: Any, x: jax.Array) -> tuple[Any, Any]:
    carry, outputs = network.apply(params, carry, x[None, None], text)
    phi = None
    if network.window is not None:
      window = network.window(params, carry)
      phi = soft_window.weights(window, places)[0]
    return carry, (outputs[0, 0], phi)

  _, (outputs, phi) = jax.lax.scan(step, network.initial_carry(1), inputs)
  return mixtures.mixture(outputs), phi
