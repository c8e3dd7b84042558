"""The density of the next pen movement (Graves, 2013, section 4.1).

A network's 6M + 1 outputs become M bivariate Gaussians for the offset and a
Bernoulli for the end of a stroke:

    e     = 1 / (1 + exp(e^))                               (18)
    pi_j  = exp(pi^_j) / sum_j' exp(pi^_j')                 (19)
    mu_j  = mu^_j,   sigma_j = exp(sigma^_j)                (20, 21)
    rho_j = tanh(rho^_j)                                    (22)
    Pr(x) = sum_j pi_j N(x | mu_j, sigma_j, rho_j) *
            (e where the pen lifts, else 1 - e)             (23)

The outputs stand in the order e^, pi^ [M], mu^ of x and of y [2M], sigma^ of x
and of y [2M], rho^ [M]. What keeps the density finite is not in the paper: here
sigma^ and rho^ stay inside bounds that float32 can bear.
"""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

# Deviations from 5e-4 to 150 times the offsets' own: pens are read on a grid
# whose cells are some 0.025 wide in these units.
LOG_DEVIATION = (-7.6, 5.0)
# Of rho^: correlations up to 0.99998; 1 - rho^2 is then 5e-5.
CORRELATION = (-5.65, 5.65)


class Mixture(NamedTuple):
  """The parameters behind a network's outputs, each [..., M] but the first."""

  lift_logit: jax.Array  # [...], log-odds that this point ends its stroke
  log_weights: jax.Array
  mean_x: jax.Array
  mean_y: jax.Array
  log_deviation_x: jax.Array
  log_deviation_y: jax.Array
  correlation_logit: jax.Array  # rho^, whose tanh is the correlation

  @property
  def weights(self) -> jax.Array:
    """Shares of the components, which sum to one."""
    return jnp.exp(self.log_weights)

  @property
  def correlation(self) -> jax.Array:
    """Of x and y in each component, inside (-1, 1)."""
    return jnp.tanh(self.correlation_logit)

  @property
  def lift(self) -> jax.Array:
    """Probability that this point ends its stroke."""
    return jax.nn.sigmoid(self.lift_logit)

  def mean(self) -> jax.Array:
    """[..., 2]: the expected offset, the point prediction of least squares."""
    weights = self.weights
    return jnp.stack(
      [
        jnp.sum(weights * self.mean_x, axis=-1),
        jnp.sum(weights * self.mean_y, axis=-1),
      ],
      axis=-1,
    )

  def likeliest_mean(self) -> jax.Array:
    """[..., 2]: the mean of the component of largest weight."""
    best = jnp.argmax(self.log_weights, axis=-1)[..., None]
    return jnp.concatenate(
      [
        jnp.take_along_axis(self.mean_x, best, axis=-1),
        jnp.take_along_axis(self.mean_y, best, axis=-1),
      ],
      axis=-1,
    )


def outputs(components: int) -> int:
  """The number of outputs of a network with so many components.

  >>> outputs(20)
  121
  """
  return 6 * components + 1


def components(width: int) -> int:
  """M of outputs that are `width` wide.

  >>> components(121)
  20
  """
  count, rest = divmod(width - 1, 6)
  if rest or count < 1:
    raise ValueError(f"{width} outputs are no 6 M + 1 of a mixture")
  return count


def mixture(raw: jax.Array, *, bias: jax.Array | float = 0.0) -> Mixture:
  """Equations (18) to (22), and (61) and (62) where there is a bias.

      sigma = exp(sigma^ - b),   pi_j ~ exp(pi^_j (1 + b))

  Args:
    raw: [..., 6M + 1], a network's outputs.
    bias: b >= 0, broadcast to [..., 1]; 0 leaves the network's own density, a
      large one gives the mean of its likeliest component.

  >>> found = mixture(jnp.zeros((1, 13)))
  >>> found.weights, found.lift
  (Array([[0.5, 0.5]], dtype=float32), Array([0.5], dtype=float32))
  """
  components(raw.shape[-1])  # refuses what is no mixture
  raw = raw.astype(jnp.promote_types(raw.dtype, jnp.float32))
  logits, mean_x, mean_y, scale_x, scale_y, tied = jnp.split(
    raw[..., 1:], 6, axis=-1
  )
  return Mixture(
    lift_logit=-raw[..., 0],
    log_weights=jax.nn.log_softmax(logits * (1.0 + bias), axis=-1),
    mean_x=mean_x,
    mean_y=mean_y,
    log_deviation_x=_bounded(scale_x, LOG_DEVIATION) - bias,
    log_deviation_y=_bounded(scale_y, LOG_DEVIATION) - bias,
    correlation_logit=_bounded(tied, CORRELATION),
  )


def blunted(density: Mixture, finest: tuple[float, float]) -> Mixture:
  """The mixture with deviations of x and y of at least `finest`.

  >>> sharp = mixture(jnp.full((1, 7), -3.0))
  >>> jnp.exp(blunted(sharp, (0.25, 0.01)).log_deviation_x)
  Array([[0.25]], dtype=float32)
  """
  x, y = (math.log(value) for value in finest)
  return density._replace(
    log_deviation_x=jnp.maximum(density.log_deviation_x, x),
    log_deviation_y=jnp.maximum(density.log_deviation_y, y),
  )


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _bounded(x: jax.Array, bounds: tuple[float, float]) -> jax.Array:
  """Clipped, with the derivative of what is not.

  That of a plain clip is 0 outside, from where it would never return.
  """
  return jnp.clip(x, *bounds)


def _bounded_forward(
  x: jax.Array, bounds: tuple[float, float]
) -> tuple[jax.Array, None]:
  return jnp.clip(x, *bounds), None


def _bounded_backward(
  bounds: tuple[float, float], residuals: None, cotangent: jax.Array
) -> tuple[jax.Array]:
  del bounds, residuals
  return (cotangent,)


_bounded.defvjp(_bounded_forward, _bounded_backward)


def log_components(density: Mixture, offsets: jax.Array) -> jax.Array:
  """log pi_j N(x | mu_j, sigma_j, rho_j), equations (24) and (25).

  With rho = tanh(r), 1 - rho^2 = 1 / cosh(r)^2, and

      Z / (1 - rho^2) = (cosh(r) d1 - sinh(r) d2)^2 + d2^2,

  which neither cancels nor divides by what nears zero.

  Args:
    density: of `mixture`, [..., M].
    offsets: [..., 2].

  Returns:
    [..., M].
  """
  x, y = offsets[..., :1], offsets[..., 1:2]
  d1 = (x - density.mean_x) * jnp.exp(-density.log_deviation_x)
  d2 = (y - density.mean_y) * jnp.exp(-density.log_deviation_y)
  r = density.correlation_logit
  across = jnp.cosh(r) * d1 - jnp.sinh(r) * d2
  log_cosh = jnp.logaddexp(r, -r) - math.log(2.0)
  return (
    density.log_weights
    - math.log(2.0 * math.pi)
    - density.log_deviation_x
    - density.log_deviation_y
    + log_cosh
    - 0.5 * (across * across + d2 * d2)
  )


def nats(density: Mixture, points: jax.Array) -> jax.Array:
  """-log Pr of points, equation (26): of a density, so it may be negative.

  Args:
    density: of `mixture`, [..., M].
    points: [..., 3]: the offset, and 1 where the stroke ends.

  Returns:
    [...].

  >>> at_mean = nats(mixture(jnp.zeros((1, 7))), jnp.array([[0.0, 0.0, 1.0]]))
  >>> round(float(at_mean[0]), 4), round(math.log(2 * math.pi * 2), 4)
  (2.531, 2.531)
  """
  of_offset = jax.nn.logsumexp(
    log_components(density, points[..., :2]), axis=-1
  )
  lifted = points[..., 2] > 0.5
  of_lift = -jax.nn.softplus(jnp.where(lifted, -1.0, 1.0) * density.lift_logit)
  return -(of_offset + of_lift)


def sample(key: jax.Array, density: Mixture) -> jax.Array:
  """Draws a point from each of a batch of densities.

  Args:
    key: consumed.
    density: of `mixture`, [..., M].

  Returns:
    [..., 3]: the offset, and 1.0 where the stroke ends.

  >>> sample(jax.random.key(0), mixture(jnp.zeros((2, 121)))).shape
  (2, 3)
  """
  which, noise, lift = jax.random.split(key, 3)
  chosen = jax.random.categorical(which, density.log_weights, axis=-1)[
    ..., None
  ]

  def of(values: jax.Array) -> jax.Array:
    return jnp.take_along_axis(values, chosen, axis=-1)[..., 0]

  first, second = jax.random.normal(noise, (2, *density.lift_logit.shape))
  rho = of(density.correlation)
  # The Cholesky factor of [[1, rho], [rho, 1]].
  across = rho * first + jnp.sqrt(1.0 - rho * rho) * second
  x = of(density.mean_x) + jnp.exp(of(density.log_deviation_x)) * first
  y = of(density.mean_y) + jnp.exp(of(density.log_deviation_y)) * across
  ends = jax.random.bernoulli(lift, density.lift)
  return jnp.stack([x, y, ends.astype(x.dtype)], axis=-1)
