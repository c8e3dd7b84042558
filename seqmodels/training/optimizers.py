"""Optimisers as optax chains, each a row of one table."""

from collections.abc import Callable

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
  part = max(steps, 1) / 11
  decay = optax.exponential_decay(
    rate, part, 0.5, transition_begin=3 * part, staircase=True
  )
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


def build(
  name: str,
  *,
  learning_rate: float,
  momentum: float = 0.9,
  schedule: str = "constant",
  steps: int = 1,
  warmup_steps: int = 0,
  clip_norm: float = 0.0,
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

  Raises:
    UserError: for an unknown name.

  >>> build("sgd", learning_rate=0.1, clip_norm=1.0).init({}) is not None
  True
  """
  if name not in OPTIMIZERS:
    hint = errors.closest(name, OPTIMIZERS)
    raise errors.UserError(f"no optimizer is called {name!r}{hint}")
  if schedule not in SCHEDULES:
    hint = errors.closest(schedule, SCHEDULES)
    raise errors.UserError(f"no schedule is called {schedule!r}{hint}")
  rate = SCHEDULES[schedule](learning_rate, steps=steps, warmup=warmup_steps)
  rule = OPTIMIZERS[name](rate, momentum=momentum)
  if not clip_norm:
    return rule
  return optax.chain(optax.clip_by_global_norm(clip_norm), rule)
