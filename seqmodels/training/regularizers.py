"""Weight noise in a training step: what is trained, and its gradient.

Dropout and DropConnect are not here: they belong to the model's forward pass
(`models.networks.SequenceModel.apply` with a key).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from seqmodels.losses import Metrics
from seqmodels.regularization import weight_noise

Tree = Any
# The carry at the segment's right edge, and the metrics of the segment.
Outcome = tuple[Any, Metrics]


class Trainable(Protocol):
  """All that a training step wants of a model; a `SequenceModel` has it."""

  @property
  def init(self) -> Any:
    """`key -> params`."""

  @property
  def initial_carry(self) -> Any:
    """`batch -> carry`."""

  @property
  def score(self) -> Any:
    """`(params, carry, segment, key=KEY) -> (loss [B], Outcome)`."""


class Objective(NamedTuple):
  """The loss of one segment of every stream, summed over its positions.

  Attributes:
    model: the model, which brings its own loss.
    carry: the state at the segment's left edge, a row a stream.
    segment: arrays [T, B, ...] in any tree, with `mask` [T, B].
    key: of the noise of this step.
  """

  model: Trainable
  carry: Any
  segment: Any
  key: jax.Array

  @property
  def by_stream(self) -> Callable[[Tree], tuple[jax.Array, Outcome]]:
    """`params -> (loss [B], outcome)`."""
    return functools.partial(
      self.model.score, carry=self.carry, segment=self.segment, key=self.key
    )

  def gradient(self, params: Tree) -> tuple[Tree, Outcome]:
    """The gradient of the loss of all streams together."""
    loss, pull, outcome = jax.vjp(self.by_stream, params, has_aux=True)
    (gradient,) = pull(jnp.ones_like(loss))
    return gradient, outcome

  @property
  def scored(self) -> jax.Array:
    """Scored positions, at least 1."""
    return jnp.maximum(jnp.sum(self.segment.mask, dtype=jnp.int32), 1)

  def streams(self) -> tuple[Any, Any, jax.Array]:
    """Carry, segment and key of each stream alone, along a new leading axis.

    Carry leaves [B, 1, ...], segment [B, T, 1], keys [B].
    """
    batch = self.segment.mask.shape[1]
    return (
      jax.tree.map(lambda leaf: leaf[:, None], self.carry),
      jax.tree.map(
        lambda leaf: jnp.moveaxis(leaf, 1, 0)[:, :, None], self.segment
      ),
      jax.random.split(self.key, batch),
    )


Squares = Callable[[Objective, Tree, jax.Array], tuple[Tree, Tree, Outcome]]


def _itself(tree: Tree) -> Tree:
  return tree


class Regularizer(NamedTuple):
  """Three functions around the weights of a training step.

  By default there is no noise: what is trained are the weights.

  Attributes:
    wrap: weights -> what the optimiser updates.
    weights: what the optimiser updates -> weights for evaluation.
    gradient: `(objective, trained, key) -> (gradient, outcome)`, of the sum
      over all positions; `None` for the gradient at the weights themselves.
    complexity: nats that what is trained costs beside the data's; `None` where
      it costs nothing.
  """

  wrap: Callable[[Tree], Tree] = _itself
  weights: Callable[[Tree], Tree] = _itself
  gradient: (
    Callable[[Objective, Tree, jax.Array], tuple[Tree, Outcome]] | None
  ) = None
  complexity: Callable[[Tree], jax.Array] | None = None


def noisy(deviation: float) -> Regularizer:
  """Weight noise: the gradient at one noisy draw, applied to the weights.

  One draw serves a whole minibatch of streams; the paper, with one sequence a
  step, draws once a sequence. Batch 1 is the paper's.

  Args:
    deviation: standard deviation of the noise.
  """
  weight_noise.check_deviation(deviation)

  def gradient(
    objective: Objective, params: Tree, key: jax.Array
  ) -> tuple[Tree, Outcome]:
    draw = weight_noise.perturb(params, key, deviation)
    return objective.gradient(draw)

  return Regularizer(gradient=gradient)


def exact_squares(
  objective: Objective, params: Tree, key: jax.Array
) -> tuple[Tree, Tree, Outcome]:
  """Sums over streams of their gradients and of the gradients' squares.

  One stream after another, so that two gradients are in memory and not B; the
  time is that of B steps with one stream each.

  Returns:
    sum_b g_b and sum_b g_b^2 of the summed nats, and the outcome.
  """
  del key

  def add(sums: Any, stream: Any) -> tuple[Any, Outcome]:
    carry, segment, noise = stream
    alone = objective._replace(carry=carry, segment=segment, key=noise)
    gradient, outcome = alone.gradient(params)
    total, squares = sums
    total = jax.tree.map(jnp.add, total, gradient)
    squares = jax.tree.map(lambda s, g: s + g * g, squares, gradient)
    return (total, squares), outcome

  zeros = jax.tree.map(jnp.zeros_like, params)
  (total, squares), outcomes = jax.lax.scan(
    add, (zeros, zeros), objective.streams()
  )
  carries, metrics = outcomes
  return (
    total,
    squares,
    (
      jax.tree.map(lambda leaf: leaf[:, 0], carries),
      jax.tree.map(jnp.sum, metrics),
    ),
  )


def signed_squares(
  objective: Objective, params: Tree, key: jax.Array
) -> tuple[Tree, Tree, Outcome]:
  """As `exact_squares`, the squares estimated by one more backward pass.

  With independent random signs e_b, the cross terms of (sum_b e_b g_b)^2
  vanish in expectation and sum_b g_b^2 is what is left: no bias, and the
  memory of two gradients whatever the batch. With one stream it is exact.
  """
  nats, pull, outcome = jax.vjp(objective.by_stream, params, has_aux=True)
  signs = jax.random.rademacher(key, nats.shape, nats.dtype)
  (total,), (signed,) = pull(jnp.ones_like(nats)), pull(signs)
  return total, jax.tree.map(jnp.square, signed), outcome


SQUARES: dict[str, Squares] = {"exact": exact_squares, "signs": signed_squares}


def adaptive(
  deviation: float,
  *,
  symbols: int,
  squares: str = "signs",
  complexity: float = 1.0,
) -> Regularizer:
  """Adaptive weight noise: learns a mean and a variance for every weight.

  It minimises the description length (see `regularization.weight_noise`), a
  minibatch at a time: its nats, and its symbols' share of the complexity.

  Args:
    deviation: of every weight at the start.
    symbols: scored symbols in one pass over the training data.
    squares: how the squares of single streams' gradients are summed, a name
      in `SQUARES`.
    complexity: weight of the complexity beside the nats of the data; 1 gives
      the description length, 0 leaves the noise alone with the data. RNNLIB,
      the author's code, calls it `mdlWeight`.
  """
  weight_noise.check_deviation(deviation)
  summed = SQUARES[squares]

  def gradient(
    objective: Objective,
    posterior: weight_noise.Posterior,
    key: jax.Array,
  ) -> tuple[Tree, Outcome]:
    draw_key, sign_key = jax.random.split(key)
    draw = weight_noise.sample(posterior, draw_key)
    total, squared, outcome = summed(objective, draw, sign_key)
    combined = weight_noise.gradient(
      posterior,
      total,
      squared,
      share=complexity * objective.scored / symbols,
    )
    return combined, outcome

  return Regularizer(
    wrap=functools.partial(weight_noise.create, deviation=deviation),
    weights=lambda posterior: posterior.mean,
    gradient=gradient,
    complexity=weight_noise.complexity,
  )
