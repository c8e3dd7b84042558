"""How dynamic evaluation learns: update rules as pytrees.

A rule is a frozen dataclass registered as a pytree: its type is static, its
settings are traced arrays. One compiled evaluation therefore serves every
setting, and `jax.vmap` over a stack of rules is a grid search.

| name  | rule                                                              |
|-------|-------------------------------------------------------------------|
| `sgd` | gradient descent with momentum, as Graves (2013) trains           |
| `rms` | Krause et al. (2017): RMS-scaled steps, decay to trained weights  |
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors

Tree = Any
# Recurrent carry, sum of squared gradients, segments that scored something.


class Rule(Protocol):
  """The contract of an update rule: two pure functions over a parameter tree.

  Attributes:
    reduction: which loss of a segment it wants the gradient of: its `sum` or
      its `mean` over the scored symbols.
    defaults: the names of its settings, with their default values.
  """

  reduction: ClassVar[str]
  defaults: ClassVar[Mapping[str, float]]

  def init(self, params: Tree) -> Tree:
    """State before the first update."""
    ...

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """`(params, state)` after one segment's gradients."""
    ...


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class SGD:
  """Gradient descent with momentum; the velocity crosses segments.

      v     <- momentum * v + g
      theta <- theta - learning_rate * v

  g is the gradient of the SUM of nats over a segment, as in Graves (2013),
  whose learning rates (1e-4 with momentum 0.99 or 0.9) are per sequence and
  not divided by its length. The paper states neither setting for its dynamic
  evaluation; the defaults are the training ones of its Wikipedia network.

  >>> rule = SGD(jnp.float32(0.5), jnp.float32(0.0))
  >>> params = jnp.zeros(2)
  >>> params, _ = rule.update(jnp.ones(2), rule.init(params), params)
  >>> params.tolist()
  [-0.5, -0.5]
  """

  reduction: ClassVar[str] = "sum"
  defaults: ClassVar[Mapping[str, float]] = {
    "learning_rate": 1e-4,
    "momentum": 0.9,
  }

  learning_rate: jax.Array
  momentum: jax.Array

  def init(self, params: Tree) -> Tree:
    """Zero velocities."""
    return jax.tree.map(jnp.zeros_like, params)

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """One step against the velocity."""
    velocity = jax.tree.map(
      lambda v, g: self.momentum * v + g, state, gradients
    )
    params = jax.tree.map(
      lambda p, v: p - self.learning_rate * v, params, velocity
    )
    return params, velocity


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class RMS:
  """Krause et al. (2017): RMS-scaled steps and decay to the trained weights.

      rate_i <- min(MS_i / normaliser, 1 / decay)
      theta  <- theta + decay * rate_i * (theta_0 - theta)
                      - learning_rate * g_i / (MS_i + epsilon)

  g is the gradient of the MEAN nats over a segment's scored symbols, so the
  settings that suit one length are about in proportion to it (Krause et al.
  multiply learning rate and decay by length / 5). `statistics` is MS, the root
  mean square of each weight's gradient over the training data, collected once
  by `gradient_statistics.measure`; `normaliser` is the mean over tensors of
  mean(MS);
  `anchor` is theta_0. The rule keeps no state.

  The defaults are those published with the paper for words in segments of 5;
  `from_2017_scaling` converts the numbers its tables give.
  """

  reduction: ClassVar[str] = "mean"
  defaults: ClassVar[Mapping[str, float]] = {
    "learning_rate": 5e-5,
    "decay": 2e-3,
    "epsilon": 2e-5,
  }

  learning_rate: jax.Array
  decay: jax.Array
  epsilon: jax.Array
  anchor: Tree
  statistics: Tree
  normaliser: jax.Array

  def init(self, params: Tree) -> Tree:
    """Nothing to carry."""
    del params
    return ()

  def update(
    self, gradients: Tree, state: Tree, params: Tree
  ) -> tuple[Tree, Tree]:
    """One scaled step and one pull back."""

    def leaf(
      theta: jax.Array, g: jax.Array, theta_0: jax.Array, ms: jax.Array
    ) -> jax.Array:
      # decay * rate, capped at 1: a step never goes past the trained weight.
      pull = jnp.minimum(self.decay * ms / self.normaliser, 1.0)
      step = self.learning_rate * g / (ms + self.epsilon)
      return theta + pull * (theta_0 - theta) - step

    params = jax.tree.map(leaf, params, gradients, self.anchor, self.statistics)
    return params, state


RULES: Mapping[str, type[SGD] | type[RMS]] = {"sgd": SGD, "rms": RMS}


def make(
  name: str,
  params: Tree,
  settings: Mapping[str, float] | None = None,
  *,
  statistics: Tree | None = None,
) -> SGD | RMS:
  """A rule by its name.

  Args:
    name: a key of `RULES`.
    params: the trained weights; `rms` decays towards them.
    settings: values for some of the rule's `defaults`.
    statistics: of `gradient_statistics.measure`; `rms` needs them.

  Raises:
    errors.UserError: an unknown rule or setting, a negative value, or `rms`
      without its statistics.

  >>> float(make("sgd", {}, {"momentum": 0.5}).momentum)
  0.5
  """
  if name not in RULES:
    raise errors.UserError(
      f"there is no dynamic rule {name!r}{errors.closest(name, RULES)}"
    )
  defaults = RULES[name].defaults
  settings = dict(settings or {})
  for key, value in settings.items():
    if key not in defaults:
      raise errors.UserError(
        f"the dynamic rule {name!r} has no setting {key!r}"
        f"{errors.closest(key, defaults)}"
      )
    if not value >= 0:
      raise errors.UserError(
        f"{key} of the dynamic rule {name!r} is {value}; it must be at least 0"
      )
  values = {
    key: jax.device_put(np.float32(value))
    for key, value in {**defaults, **settings}.items()
  }
  if name == "sgd":
    return SGD(**values)
  if statistics is None:
    raise errors.UserError(
      "the dynamic rule 'rms' needs gradient statistics; collect them with "
      "gradient_statistics.measure on training segments"
    )
  return RMS(
    **values,
    anchor=params,
    statistics=statistics,
    normaliser=_mean_of_means(statistics),
  )


@jax.jit
def _mean_of_means(statistics: Tree) -> jax.Array:
  means = [jnp.mean(leaf) for leaf in jax.tree.leaves(statistics)]
  return jnp.mean(jnp.stack(means))


def from_2017_scaling(
  settings: Mapping[str, float], *, batches: int, tensors: int
) -> dict[str, float]:
  """Settings of `rms` as Krause et al. (2017) print them, in this scaling.

  The paper's first code took MS as the root of the SUM over the statistics'
  batches and its mean over tensors as a sum; the tables kept those numbers.

  Args:
    settings: learning_rate, decay and epsilon as printed.
    batches: batches the statistics were collected over.
    tensors: parameter tensors of the network.

  >>> printed = {"learning_rate": 0.002, "decay": 0.02, "epsilon": 0.001}
  >>> from_2017_scaling(printed, batches=100, tensors=10)
  {'learning_rate': 0.0002, 'decay': 0.002, 'epsilon': 0.0001}
  """
  divisors = {
    "learning_rate": batches**0.5,
    "decay": float(tensors),
    "epsilon": batches**0.5,
  }
  return {key: value / divisors[key] for key, value in settings.items()}
