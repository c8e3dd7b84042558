"""Optimisers as optax chains, each a row of one table."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from seqmodels import errors

Optimizer = optax.GradientTransformation
Schedule = Callable[..., optax.ScalarOrSchedule]


def sgd(rate: optax.ScalarOrSchedule, *, momentum: float) -> Optimizer:
  """Gradient descent with momentum, the paper's rule for text."""
  return optax.sgd(rate, momentum=momentum or None)


def adam(rate: optax.ScalarOrSchedule, *, momentum: float) -> Optimizer:
  """Adam; `momentum` is its beta1."""
  return optax.adam(rate, b1=momentum)


def rmsprop_graves(
  rate: optax.ScalarOrSchedule, *, momentum: float
) -> Optimizer:
  """The RMSProp of Graves (2013), equations (38) to (45).

      n = 0.95 n + 0.05 e^2,   g = 0.95 g + 0.05 e
      D = momentum D - rate e / sqrt(n - g^2 + 1e-4),   w = w + D

  The paper takes rate 1e-4 and momentum 0.9; the constant is inside the root.
  """
  return optax.rmsprop(
    rate, decay=0.95, eps=1e-4, centered=True, momentum=momentum
  )


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
  "sgd": sgd,
  "adam": adam,
  "rmsprop_graves": rmsprop_graves,
}


def constant(rate: float, *, steps: int, warmup: int) -> optax.ScalarOrSchedule:
  """The same rate throughout, after a linear warm-up."""
  del steps
  if not warmup:
    return rate
  return optax.linear_schedule(rate / (warmup + 1), rate, warmup)


def cosine(rate: float, *, steps: int, warmup: int) -> optax.ScalarOrSchedule:
  """Half a cosine from `rate` down to a hundredth of it at the last step."""
  return optax.warmup_cosine_decay_schedule(
    init_value=rate / (warmup + 1),
    peak_value=rate,
    warmup_steps=warmup,
    decay_steps=max(steps, warmup + 1),
    end_value=rate / 100,
  )


def linear(rate: float, *, steps: int, warmup: int) -> optax.ScalarOrSchedule:
  """A straight line down to a hundredth of `rate` at the last step."""
  return optax.join_schedules(
    [
      optax.linear_schedule(rate / (warmup + 1), rate, max(warmup, 1)),
      optax.linear_schedule(rate, rate / 100, max(steps - warmup, 1)),
    ],
    [warmup],
  )


def halving(rate: float, *, steps: int, warmup: int) -> optax.ScalarOrSchedule:
  """Zaremba et al. (2014): held for four parts of eleven, then halved each.

  Over eleven epochs that is their schedule for a word network: the full rate
  for four of them, then half of what it was at the start of each that follows,
  down to a 128th.
  """

  def decay(count: jax.typing.ArrayLike) -> jax.Array:
    part = jnp.floor(jnp.asarray(count) * 11 / steps)
    return rate * 0.5 ** jnp.maximum(part - 3, 0)

  if not warmup:
    return decay
  rise = optax.linear_schedule(rate / (warmup + 1), rate, warmup)
  # Joined schedules count from the boundary; the parts are of the whole run.
  return optax.join_schedules(
    [rise, lambda count: decay(count + warmup)], [warmup]
  )


SCHEDULES: dict[str, Schedule] = {
  "constant": constant,
  "cosine": cosine,
  "halving": halving,
  "linear": linear,
}


def build_schedule(
  name: str, learning_rate: float, *, steps: int, warmup_steps: int
) -> optax.ScalarOrSchedule:
  """The named schedule; arguments as of `build`.

  Raises:
    UserError: for an unknown name.
  """
  if name not in SCHEDULES:
    hint = errors.closest(name, SCHEDULES)
    raise errors.UserError(f"no schedule is called {name!r}{hint}")
  return SCHEDULES[name](learning_rate, steps=steps, warmup=warmup_steps)


def learning_rates(
  schedule: optax.ScalarOrSchedule, *, steps: int
) -> np.ndarray:
  """The learning rate of each update of a run, [steps].

  Computed at once: one at a time, a rate would wait for the device.

  Args:
    schedule: a rate, or a function of the number of updates before.
    steps: length of the run in updates.

  >>> learning_rates(linear(1.0, steps=10, warmup=3), steps=4)
  array([0.25, 0.5 , 0.75, 1.  ], dtype=float32)
  """
  rates = schedule(jnp.arange(steps)) if callable(schedule) else schedule
  return np.broadcast_to(np.asarray(rates, np.float32), (steps,))


class Averaged(NamedTuple):
  """State of an optimiser of `averaged`."""

  inner: optax.OptState
  steps: jax.Array  # int32, updates so far
  average: Any  # of the parameters, like them


def averaged(rule: Optimizer, *, start: int) -> Optimizer:
  """An optimiser that keeps the mean of the parameters after its updates.

  The mean is uniform over the updates after the first `start` (Polyak and
  Juditsky, 1992). With w_t the parameters after update t,

      a_t = a_{t-1} + (w_t - a_{t-1}) / max(t - start, 1)

  so that the average is the parameters themselves up to update `start + 1`.
  What is trained is the same as without it.

  Args:
    rule: the optimiser.
    start: updates before the first that counts.

  >>> rule = averaged(optax.sgd(1.0), start=1)
  >>> params = jnp.float32(0.0)
  >>> state = rule.init(params)
  >>> for _ in range(3):
  ...   updates, state = rule.update(jnp.float32(-1.0), state, params)
  ...   params = optax.apply_updates(params, updates)
  >>> float(params), float(state.average)  # 3, and the mean of 2 and 3
  (3.0, 2.5)
  """

  def init(params: optax.Params) -> Averaged:
    # A copy: donated buffers must not be shared.
    return Averaged(
      rule.init(params), jnp.int32(0), jax.tree.map(jnp.copy, params)
    )

  def update(
    updates: optax.Updates, state: Any, params: Any = None
  ) -> tuple[optax.Updates, Averaged]:
    updates, inner = rule.update(updates, state.inner, params)
    steps = state.steps + 1
    average = optax.incremental_update(
      optax.apply_updates(params, updates),
      state.average,
      1.0 / jnp.maximum(steps - start, 1),
    )
    return updates, Averaged(inner, steps, average)

  return optax.GradientTransformation(init, update)


def build(
  name: str,
  *,
  learning_rate: float,
  momentum: float = 0.9,
  schedule: str = "constant",
  steps: int = 1,
  warmup_steps: int = 0,
  clip_norm: float = 0.0,
  average: float = 0.0,
) -> Optimizer:
  """A chain: clip the gradient's norm, then the named rule.

  Args:
    name: a row of `OPTIMIZERS`.
    learning_rate: the peak rate.
    momentum: of `sgd` and `rmsprop_graves`; beta1 of `adam`.
    schedule: a row of `SCHEDULES`.
    steps: length of the run in updates, for the schedules that end.
    warmup_steps: updates over which the rate rises from near zero.
    clip_norm: bound on the norm of the whole gradient; 0 clips nothing.
    average: last share of the run over which the weights are averaged
      (`averaged`); 0 keeps no average.

  Raises:
    UserError: for an unknown name.

  >>> build("sgd", learning_rate=0.1, clip_norm=1.0).init({}) is not None
  True
  """
  if name not in OPTIMIZERS:
    hint = errors.closest(name, OPTIMIZERS)
    raise errors.UserError(f"no optimizer is called {name!r}{hint}")
  rate = build_schedule(
    schedule, learning_rate, steps=steps, warmup_steps=warmup_steps
  )
  rule = OPTIMIZERS[name](rate, momentum=momentum)
  if clip_norm:
    rule = optax.chain(optax.clip_by_global_norm(clip_norm), rule)
  if average:
    rule = averaged(rule, start=steps - round(average * steps))
  return rule
