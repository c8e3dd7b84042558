"""Truncated backpropagation: estimators of the gradient and what they cost.

Strategies for the gradient of a long sequence, over any cell's step.

The derivative of a state with respect to a weight recurs,

    dh_t/dw = df/dw + (df/dh_{t-1}) dh_{t-1}/dw,   h_t = f(x_t, h_{t-1}, w).

A strategy leaves all values as they are and weighs the recurrent term,

    z_t = df/dw + xi_t (df/dh_{t-1}) z_{t-1},

    full         xi_t = 1
    chunks       xi_t = 0 at the first step of a chunk, else 1
    randomised   xi_t = 1/p with probability p, else 0, independently

so that E xi_t = 1 and E z_t = dh_t/dw in the last (Tallec and Ollivier, 2017):
a path over k steps survives with probability p^k and then weighs p^-k. The
estimator recurs on itself, not on the true dh_{t-1}/dw, which nobody knows.

In a chunk the depth of the gradient depends on the place; a sliding window, in
which each state sees its last `window` steps, is no product of such factors and
is run window by window.

Where all is scalar and constant, a_t = b + c a_{t-1}, the estimator's variance
and the window's bias have closed forms, given at the end.
"""

import functools
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies import run as run_lib
from experiments.studies.common import figures, memory_tasks, training
from seqmodels import errors
from seqmodels import losses as losses_lib
from seqmodels.cells import elman
from seqmodels.cells import scan as unrolling
from seqmodels.data.text import batching
from seqmodels.evaluation import metrics, static
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.plotting import style as style_lib
from seqmodels.training import loop, loss, optimizers
from seqmodels.training import step as states

# (params, carry, xs) -> carry, ys
SequenceFn = Callable[
  [Any, unrolling.Carry, unrolling.Inputs], tuple[unrolling.Carry, jax.Array]
]

# 2^20 outcomes of a few gradients each still take seconds.
_MOST_ENUMERATED = 21


def scale_gradient(tree: Any, factor: jax.Array) -> Any:
  """The tree as it is, its derivative multiplied by `factor`.

  Equal to `factor * x + stop_gradient((1 - factor) * x)`, arranged so that
  values keep every bit.

  Args:
    tree: leaves [B, ...].
    factor: [B], or a scalar.

  >>> jax.grad(lambda x: scale_gradient(x, jnp.float32(0.5)) ** 2)(3.0)
  Array(3., dtype=float32, weak_type=True)
  """
  factor = jax.lax.stop_gradient(jnp.asarray(factor))

  def one(leaf: jax.Array) -> jax.Array:
    spread = factor.reshape(factor.shape + (1,) * (leaf.ndim - factor.ndim))
    nothing = leaf - jax.lax.stop_gradient(leaf)
    return leaf + (spread - 1).astype(leaf.dtype) * nothing

  return jax.tree.map(one, tree)


def weighted(step: unrolling.Step) -> unrolling.Step:
  """The step whose recurrent derivative is weighed.

  Args:
    step: `(params, carry, x) -> (carry, y)`.

  Returns:
    A step over `(x, factor)`, the factor [B] being xi_t: for `scan.unroll`
    with `xs` the pair of inputs and factors [T, B].

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def last(x, factors):
  ...   pair = (x.reshape(3, 1), factors)
  ...   return unrolling.unroll(weighted(add), None, jnp.zeros(1), pair)[0][0]
  >>> jax.grad(last)(jnp.ones(3), chunk_factors(3, 1, chunk=2))
  Array([0., 0., 1.], dtype=float32)
  """

  def weighed(
    params: Any, carry: unrolling.Carry, x: tuple[Any, jax.Array]
  ) -> tuple[unrolling.Carry, jax.Array]:
    inputs, factor = x
    return step(params, scale_gradient(carry, factor), inputs)

  return weighed


def chunk_factors(steps: int, batch: int, *, chunk: int) -> jax.Array:
  """Factors [T, B] of chunks with a detached carry; the last may be shorter.

  The first step's is 1: the carry that comes from outside is the caller's.

  Raises:
    UserError: a chunk below 1.

  >>> chunk_factors(5, 1, chunk=2).ravel()
  Array([1., 1., 0., 1., 0.], dtype=float32)
  """
  _check_window(chunk, "chunk")
  place = jnp.arange(steps)
  kept = (place % chunk != 0) | (place == 0)
  return jnp.broadcast_to(kept.astype(float)[:, None], (steps, batch))


def random_factors(
  key: jax.Array, steps: int, batch: int, *, keep: float
) -> jax.Array:
  """Factors [T, B] of randomised truncation: 1/keep or 0, 1 at the first step.

  Runs that are not cut have geometric lengths, 1 / (1 - keep) steps on average.

  Args:
    key: consumed.
    steps: T.
    batch: B; every row is cut on its own.
    keep: probability that a step's recurrent term is kept.

  Raises:
    UserError: a probability outside (0, 1].

  >>> random_factors(jax.random.key(1), 5, 1, keep=0.5).ravel()
  Array([1., 0., 2., 2., 0.], dtype=float32)
  """
  _check_keep(keep)
  kept = jax.random.bernoulli(key, keep, (steps, batch))
  return (kept.astype(float) / keep).at[0].set(1.0)


def outcomes(steps: int, *, keep: float) -> tuple[np.ndarray, np.ndarray]:
  """Every draw of `random_factors` for one row, with its probability.

  Returns:
    Factors [2^(T-1), T] and probabilities [2^(T-1)].

  Raises:
    UserError: too long a sequence to enumerate, or as `random_factors`.

  >>> factors, probabilities = outcomes(2, keep=0.8)
  >>> factors.tolist(), probabilities.round(3).tolist()
  ([[1.0, 0.0], [1.0, 1.25]], [0.2, 0.8])
  """
  _check_keep(keep)
  if not 1 <= steps <= _MOST_ENUMERATED:
    raise errors.UserError(
      f"{steps} steps have 2^{steps - 1} outcomes of truncation; enumerate 1 "
      f"to {_MOST_ENUMERATED} steps, or draw samples"
    )
  kept = np.array(list(itertools.product([False, True], repeat=steps - 1)))
  kept = kept.reshape(2 ** (steps - 1), steps - 1)
  probabilities = np.prod(np.where(kept, keep, 1.0 - keep), axis=1)
  factors = np.insert(np.where(kept, 1.0 / keep, 0.0), 0, 1.0, axis=1)
  return factors, probabilities


def in_windows(step: unrolling.Step, window: int) -> SequenceFn:
  """A sequence whose every state sees its last `window` steps, and no others.

  Each window starts from the right carry, held constant, and is run anew:
  T * window steps in all, side by side.

  Args:
    step: `(params, carry, x) -> (carry, y)`.
    window: steps; 1 leaves the direct term alone, T or more is the full
      gradient.

  Returns:
    `(params, carry, xs) -> (carry, ys)`, values as of `scan.unroll`.

  Raises:
    UserError: a window below 1.

  >>> add = lambda params, carry, x: (carry + x, carry + x)
  >>> def total(x):
  ...   xs = x.reshape(3, 1)
  ...   return jnp.sum(windowed(add, 2)(None, jnp.zeros(1), xs)[1])
  >>> jax.grad(total)(jnp.ones(3))
  Array([2., 2., 1.], dtype=float32)
  """
  _check_window(window, "window")

  def run(
    params: Any, carry: unrolling.Carry, xs: unrolling.Inputs
  ) -> tuple[unrolling.Carry, jax.Array]:
    # NumPy's arrays are not indexed by what is traced.
    xs = jax.tree.map(jnp.asarray, xs)
    steps = jax.tree.leaves(xs)[0].shape[0]

    def walk(carry: Any, x: Any) -> tuple[Any, Any]:
      return step(params, carry, x)[0], carry

    _, starts = jax.lax.stop_gradient(jax.lax.scan(walk, carry, xs))

    def one(place: jax.Array) -> tuple[unrolling.Carry, jax.Array]:
      """The carry and output of one step, by way of its own window."""
      first = place - window + 1
      begin = jnp.maximum(first, 0)
      start = jax.tree.map(
        lambda held, given: jnp.where(first <= 0, given, held[begin]),
        starts,
        carry,
      )

      def body(state: Any, offset: jax.Array) -> tuple[Any, None]:
        at = first + offset
        x = jax.tree.map(lambda leaf: leaf[jnp.maximum(at, 0)], xs)
        after = step(params, state[0], x)
        # Nothing lies before the sequence: the given carry waits there.
        return jax.tree.map(
          lambda new, old: jnp.where(at >= 0, new, old), after, state
        ), None

      y = jax.eval_shape(step, params, start, jax.tree.map(lambda x: x[0], xs))
      blank = jnp.zeros(y[1].shape, y[1].dtype)
      (after, found), _ = jax.lax.scan(body, (start, blank), jnp.arange(window))
      return after, found

    carries, ys = jax.vmap(one)(jnp.arange(steps))
    return jax.tree.map(lambda leaf: leaf[-1], carries), ys

  return run


def kept_share(factor: float, window: int) -> float:
  """What a window keeps of a_t = b + c a_{t-1} in the long run: 1 - c^window.

  >>> [round(kept_share(0.9, window), 2) for window in (1, 4, 8, 16, 32)]
  [0.1, 0.34, 0.57, 0.81, 0.97]
  """
  return 1.0 - factor**window


class Moments(NamedTuple):
  """Of the randomised estimator of a_t, float64 [T]."""

  mean: np.ndarray
  variance: np.ndarray


def random_moments(
  direct: float, factor: float, *, keep: float, steps: int
) -> Moments:
  """Mean and variance of z_t = b + xi_t c z_{t-1}, with z_1 = b.

      E z_t   = b + c E z_{t-1}
      E z_t^2 = b^2 + 2 b c E z_{t-1} + (c^2 / keep) E z_{t-1}^2

  Args:
    direct: b.
    factor: c.
    keep: probability that the recurrent term is kept.
    steps: T.

  Raises:
    UserError: a probability outside (0, 1].

  >>> random_moments(1.0, 0.9, keep=0.9, steps=3).mean.round(3).tolist()
  [1.0, 1.9, 2.71]
  """
  _check_keep(keep)
  mean, square = np.zeros(steps), np.zeros(steps)
  m1, m2 = 0.0, 0.0
  for t in range(steps):
    m2 = direct**2 + 2 * direct * factor * m1 + factor**2 / keep * m2
    m1 = direct + factor * m1
    mean[t], square[t] = m1, m2
  return Moments(mean, square - mean**2)


def limit_variance(direct: float, factor: float, *, keep: float) -> float:
  """Where the variance of `random_moments` tends to; finite iff c^2 < keep.

  >>> [round(limit_variance(1.0, 0.9, keep=p), 1) for p in (0.95, 0.9, 0.81)]
  [28.9, 90.0, inf]
  """
  _check_keep(keep)
  if factor**2 >= keep:
    return math.inf
  mean = direct / (1 - factor)
  square = direct**2 + 2 * direct * factor * mean
  return square / (1 - factor**2 / keep) - mean**2


def _check_keep(keep: float) -> None:
  if not 0 < keep <= 1:
    raise errors.UserError(
      f"the probability of keeping a recurrent term is {keep}; it must lie in "
      "(0, 1]"
    )


def _check_window(window: int, name: str) -> None:
  if window < 1:
    raise errors.UserError(
      f"a {name} of {window} steps; it takes at least 1, the direct term"
    )


KEEP = 0.8  # of the randomised truncation
WINDOW = 5  # steps, 1 / (1 - KEEP)


class Strategy(NamedTuple):
  """How the recurrent derivatives are weighed."""

  name: str
  kind: str  # "full", "chunks", "random" or "window"
  keep: float = 1.0  # of "random"
  length: int = 0  # of "chunks" and "window"


class Weighed(NamedTuple):
  """A minibatch with the factors of its recurrent derivatives, [T, B]."""

  inputs: Any
  targets: Any
  mask: Any
  reset: Any
  factors: Any


class Member(NamedTuple):
  """One run: a strategy, and the seed of its weights and minibatches."""

  strategy: Strategy
  seed: int


class Trained(NamedTuple):
  """What became of a member."""

  nats: np.ndarray  # a scored symbol, by dispatch
  params: Any


def members_of(
  study: run_lib.Study, strategies: Sequence[Strategy]
) -> list[Member]:
  """Every strategy under every seed."""
  first, count = study.config.seed, study.config.settings.runs
  return [
    Member(strategy, first + place)
    for strategy in strategies
    for place in range(count)
  ]


def losses_of(strategy: Strategy) -> Callable[..., Any]:
  """Nats of each row [B] of a `Weighed`, their derivatives by the strategy.

  Every minibatch starts from `carry`, the cleared state.
  """

  def losses(
    network: training.Network,
    params: Any,
    carry: Any,
    segment: Weighed,
    key: Any,
  ) -> tuple[jax.Array, loss.Outcome]:
    del key
    step = network.cell.step
    if strategy.kind == "window":
      run = in_windows(step, strategy.length)
      _, hs = run(params[0], carry, segment.inputs)
    else:
      xs = (segment.inputs, segment.factors)
      weighed = weighted(step)
      _, hs = unrolling.unroll(weighed, params[0], carry, xs)
    found, wrong = losses_lib.cross_entropy(
      network.read(params, hs), segment.targets, segment.mask
    )
    nats = jnp.sum(found, axis=0)
    return nats, loss.Outcome(
      carry,
      jnp.sum(nats),
      jnp.sum(segment.mask, dtype=jnp.int32),
      jnp.sum(wrong, dtype=jnp.int32),
    )

  return losses


def train(
  study: run_lib.Study,
  network: training.Network,
  members: Sequence[Member],
  segments: Callable[[int, int, int], Any],
  *,
  steps: int,
) -> dict[Member, Trained]:
  """Trains all of them; members of one seed begin alike and read alike.

  Args:
    study: its rate and minibatch.
    network: of all.
    members: what is trained; all but windows are one compiled program.
    segments: (seed, step, count) -> minibatches [K, T, B].
    steps: how many.
  """
  found: dict[Member, Trained] = {}
  windows = [m for m in members if m.strategy.kind == "window"]
  for group in ([m for m in members if m not in windows], windows):
    if group:
      found |= _train(study, network, group, segments, steps)
  return {member: found[member] for member in members}


def _train(
  study: run_lib.Study,
  network: training.Network,
  members: Sequence[Member],
  segments: Callable[[int, int, int], Any],
  steps: int,
) -> dict[Member, Trained]:
  settings = study.config.settings
  optimizer = optimizers.build(
    "adam", learning_rate=settings.rate, clip_norm=1.0
  )
  one = states.create(
    network, optimizer, batch=settings.batch, seed=study.config.seed
  )
  seeds = sorted({member.seed for member in members})
  init = jax.jit(network.init)
  begun = {seed: init(jax.random.key(seed)) for seed in seeds}

  def drawn(start: int, count: int) -> list[Weighed]:
    read = {seed: segments(seed, start, count) for seed in seeds}
    return [
      weighed(m.strategy, read[m.seed], seed=m.seed, step=start)
      for m in members
    ]

  course = training.train_side_by_side(
    one,
    [begun[member.seed] for member in members],
    loop.make_joint_train_steps(
      network, optimizer, losses=losses_of(members[0].strategy)
    ),
    drawn,
    steps=steps,
    check=study.signals.check,
  )
  return {
    member: Trained(curve, params)
    for member, curve, params in zip(
      members, course.nats, course.params, strict=True
    )
  }


def weighed(
  strategy: Strategy, segments: Any, *, seed: int, step: int
) -> Weighed:
  """Minibatches [K, T, B] with a strategy's factors, 1 for windows.

  Args:
    strategy: how.
    segments: what is read.
    seed: of what is drawn, and so the next.
    step: of the first minibatch.
  """
  inputs, targets, mask, reset = segments
  count, steps, batch = inputs.shape
  if strategy.kind == "random":
    key = jax.random.fold_in(jax.random.key(seed), step)
    drawn = np.asarray(
      random_factors(key, steps, count * batch, keep=strategy.keep)
    )
    factors = np.moveaxis(drawn.reshape(steps, count, batch), 1, 0)
  else:
    chunk = strategy.length if strategy.kind == "chunks" else steps
    one = np.asarray(chunk_factors(steps, batch, chunk=chunk))
    factors = np.broadcast_to(one, inputs.shape)
  return Weighed(inputs, targets, mask, reset, factors.astype(np.float32))


def scored(
  network: training.Network,
  found: Mapping[Member, Trained],
  segments: Callable[[int], Any],
) -> dict[Strategy, list[metrics.Totals]]:
  """What every run of each strategy scores.

  Args:
    network: of all.
    found: what `train` gave.
    segments: by the seed of the run, [K, T, B].
  """
  predictor = network.predictor()  # one for all, that it compiles once
  scores: dict[Strategy, list[metrics.Totals]] = {}
  for member, one in found.items():
    read = segments(member.seed)
    streams = read.inputs.shape[2]
    total = static.evaluate(predictor, one.params, tuple(read), streams=streams)
    scores.setdefault(member.strategy, []).append(total)
  return scores


def row(name: str, split: str, runs: Sequence[metrics.Totals]) -> results.Row:
  """The perplexity of several runs together: exp of their mean nats."""
  together = functools.reduce(metrics.Totals.merge, runs)
  return results.row(
    name,
    split=split,
    evaluation="static",
    metric="perplexity",
    value=together.perplexity,
    count=together.count,
    seconds=together.seconds,
  )


def mean_curve(
  found: Mapping[Member, Trained], strategy: Strategy
) -> tuple[np.ndarray, np.ndarray]:
  """(steps, nats a scored symbol) of a strategy, the mean of its runs."""
  curves = [one.nats for m, one in found.items() if m.strategy == strategy]
  nats = np.mean(curves, axis=0)
  return training.middles(len(nats)), nats


_STEPS, _WIDTH, _FEATURES = 6, 2, 3
_KEEPS = (0.5, 0.8)


class _Problem(NamedTuple):
  """A small tanh network, and its gradient as a function of the factors."""

  full: np.ndarray  # [P], all weights in one row
  names: list[str]
  gradients: Any  # factors [N, T] -> [N, P]
  windows: dict[int, np.ndarray]  # by their length, [P]


def unbiased(study: run_lib.Study) -> None:
  """All outcomes added up, then many draws beside regular truncation."""
  page = study.lesson
  problem = _problem(study)
  page.section(
    "Randomised truncation has no bias",
    f"""
    Since the xi_t are independent of each other and E xi_t = 1, the expectation
    of a product of them is 1, and E z_t = dh_t/dw follows for any network. For
    {_STEPS} steps this can be checked without chance: {_STEPS - 1} factors
    matter, so there are 2^{_STEPS - 1} outcomes, each with its probability. A
    tanh network of {_FEATURES} units with {len(problem.full)} weights is used,
    in float64.
    """,
  )
  body: list[list[Any]] = []
  draws: dict[float, np.ndarray] = {}
  for keep in _KEEPS:
    factors, shares = outcomes(_STEPS, keep=keep)
    exact = shares @ problem.gradients(factors)
    sampled = _draws(study, problem, keep)
    draws[keep] = sampled
    error = sampled.std(axis=0, ddof=1) / math.sqrt(len(sampled))
    scores = np.abs(sampled.mean(axis=0) - problem.full) / error
    body.append(
      [
        f"{keep:g}",
        float(np.abs(exact - problem.full).max()),
        float(scores.max()),
        f"{np.sum(scores < 1.96)} of {len(scores)}",
        _relative_deviation(sampled, problem.full),
      ]
    )
  page.table(
    (
      "p",
      "all outcomes: largest difference from the full gradient",
      f"{len(sampled):,} draws: largest |difference| in standard errors",
      "weights whose 95 % interval holds the full gradient",
      "standard deviation of one draw, of |gradient|",
    ),
    body,
  )
  keep = _KEEPS[-1]
  sampled = draws[keep]
  error = sampled.std(axis=0, ddof=1) / math.sqrt(len(sampled))
  window = max(problem.windows)
  miss = np.abs(problem.windows[window] - problem.full) / error
  page.say(
    f"""
    The sum over all outcomes is the full gradient but for rounding. The 95 %
    interval of a mean of draws should hold it for about 95 of 100 weights, and
    the table counts for how many it does. A sliding window of {window} steps,
    held against the same intervals, is off by up to {miss.max():,.0f} standard
    errors: no number of draws would mend that, since it has none. For some
    weights, at p = {keep:g}:
    """
  )
  mean = sampled.mean(axis=0)
  shown = [i for i, name in enumerate(problem.names) if name.startswith("W_h")]
  page.table(
    (
      "weight",
      "full",
      "randomised: mean and 95 % interval",
      f"window of {window}",
      "window of 1",
    ),
    [
      [
        problem.names[i],
        float(problem.full[i]),
        f"{mean[i]:.4f} +- {1.96 * error[i]:.4f}",
        float(problem.windows[window][i]),
        float(problem.windows[1][i]),
      ]
      for i in shown[:5]
    ],
  )
  _figure_of_means(study, problem, draws)


def _problem(study: run_lib.Study) -> _Problem:
  random = study.random
  with jax.enable_x64(True):
    params = elman.ElmanParams(
      jnp.asarray(random.normal(size=(_WIDTH, _FEATURES))),
      jnp.asarray(random.normal(size=(_FEATURES, _FEATURES))),
      jnp.asarray(0.1 * random.normal(size=_FEATURES)),
    )
    xs = jnp.asarray(random.normal(size=(_STEPS, 1, _WIDTH)))
    readers = jnp.asarray(random.normal(size=(_STEPS, 1, _FEATURES)))
    carry = elman.initial_carry((1,), _FEATURES, jnp.float64)

    def row(gradient: elman.ElmanParams) -> jax.Array:
      return jnp.concatenate([jnp.ravel(leaf) for leaf in gradient])

    def weighed(factors: jax.Array) -> jax.Array:
      def loss(params: elman.ElmanParams) -> jax.Array:
        step = weighted(elman.step)
        _, hs = unrolling.unroll(step, params, carry, (xs, factors[:, None]))
        return jnp.sum(hs * readers)

      return row(jax.grad(loss)(params))

    many = jax.jit(jax.vmap(weighed))

    def gradients(factors: np.ndarray) -> np.ndarray:
      with jax.enable_x64(True):
        return np.asarray(many(jnp.asarray(factors)))

    def windowed(window: int) -> np.ndarray:
      def loss(params: elman.ElmanParams) -> jax.Array:
        run = in_windows(elman.step, window)
        return jnp.sum(run(params, carry, xs)[1] * readers)

      return np.asarray(row(jax.jit(jax.grad(loss))(params)))

    full = gradients(np.ones((1, _STEPS)))[0]
    windows = {window: windowed(window) for window in (1, 2)}
  names = [
    f"{name}[{', '.join(map(str, place))}]"
    for name, leaf in zip(("W_x", "W_h", "b"), params, strict=True)
    for place in np.ndindex(leaf.shape)
  ]
  return _Problem(full, names, gradients, windows)


def _draws(study: run_lib.Study, problem: _Problem, keep: float) -> np.ndarray:
  key = jax.random.fold_in(
    jax.random.key(study.config.seed), round(1000 * keep)
  )
  with jax.enable_x64(True):
    factors = random_factors(
      key, _STEPS, study.config.settings.draws, keep=keep
    )
    return problem.gradients(np.asarray(factors).T)


def _relative_deviation(sampled: np.ndarray, full: np.ndarray) -> float:
  total = math.sqrt(sampled.var(axis=0, ddof=1).sum())
  return total / float(np.linalg.norm(full))


def _figure_of_means(
  study: run_lib.Study, problem: _Problem, draws: dict[float, np.ndarray]
) -> None:
  drawn = study.lesson.figure(
    "unbiased",
    "Distance of the averaged estimate from the full gradient, by the number "
    "of draws. Without a bias it falls as one over the root of their number "
    "(dashed); regular truncation stays where it is.",
  )
  size = np.linalg.norm(problem.full)
  with style_lib.axes(drawn, "An average loses variance, never bias") as pair:
    for (keep, sampled), colour in zip(
      draws.items(), style_lib.COLOURS, strict=False
    ):
      counts = np.unique(np.geomspace(1, len(sampled), 60).astype(int))
      sums = np.cumsum(sampled, axis=0)[counts - 1]
      apart = np.linalg.norm(sums / counts[:, None] - problem.full, axis=1)
      label = f"randomised, p = {keep:g}"
      pair.plot(counts, apart / size, color=colour, lw=1.6, label=label)
      expected = _relative_deviation(sampled, problem.full) / np.sqrt(counts)
      pair.plot(counts, expected, "--", color=colour, lw=1.0)
    styles = zip(problem.windows.items(), (":", "-."), strict=True)
    for (window, found), style in styles:
      steps = "1 step" if window == 1 else f"{window} steps"
      pair.axhline(
        np.linalg.norm(found - problem.full) / size,
        color=style_lib.GREY,
        lw=1.4,
        ls=style,
        label=f"window of {steps}",
      )
    pair.set_xscale("log")
    pair.set_yscale("log")
    pair.set_xlabel("draws averaged")
    pair.set_ylabel("distance / |full gradient|")
    pair.legend(frameon=False, fontsize=9, loc="lower left")


# Of the scalar recursion a_t = 1 + c a_{t-1}.
_FACTOR = 0.9
_VARIANCE_KEEPS = (0.95, 0.9, 0.85, 0.81, 0.7)
_SIMULATED = 0.85  # below it, a simulation's own variance is too large
_HORIZON = 60


def variance(study: run.Study) -> None:
  """The scalar case: bias of the window, variance of the draw."""
  page = study.lesson
  page.section(
    "What it costs: variance",
    """
    Where all is scalar and constant the price has a formula. Let
    a_t = b + c a_{t-1} stand for the derivative, and z_t for its estimate.
    """,
  )
  page.shown(
    """
    window of k steps     keeps 1 - c^k of a_t in the long run
    randomised            E z_t^2 = b^2 + 2 b c E z_{t-1} + c^2/p E z_{t-1}^2
                          which stays bounded if and only if c^2 < p
    """
  )
  page.table(
    ("window k", f"kept of the gradient, c = {_FACTOR:g}"),
    [[k, f"{100 * kept_share(_FACTOR, k):.0f} %"] for k in (1, 4, 8, 16, 32)],
  )
  simulated = _simulated(study)
  last = {
    keep: random_moments(1.0, _FACTOR, keep=keep, steps=_HORIZON)
    for keep in _VARIANCE_KEEPS
  }
  page.say(
    f"""
    With b = 1 and c = {_FACTOR:g} the derivative tends to
    {1 / (1 - _FACTOR):.0f}. The variance of its estimate, by formula and from
    {study.config.settings.draws:,} simulated runs:
    """
  )
  page.table(
    (
      "p",
      "mean length 1/(1 - p)",
      f"variance at t = {_HORIZON}",
      "simulated",
      "limit",
    ),
    [
      [
        f"{keep:g}",
        1 / (1 - keep),
        float(last[keep].variance[-1]),
        float(simulated[keep][-1]) if keep in simulated else "",
        _limit(keep),
      ]
      for keep in _VARIANCE_KEEPS
    ],
  )
  page.say(
    f"""
    At p = c^2 = {_FACTOR**2:.2f} and below the variance has no limit: the
    longer the sequence, the worse the estimate. (It is not simulated there: the
    mean over any number of draws is ruled by a few enormous ones.) So the
    variance is bounded only where segments are long on average anyway, and the
    freedom from bias is bought dearly.
    """
  )
  drawn = page.figure(
    "variance",
    f"Variance of the randomised estimate of a_t = 1 + {_FACTOR:g} a_{{t-1}}: "
    "lines by formula, circles from simulation. It levels off where p is above "
    f"{_FACTOR**2:.2f}.",
  )
  times = np.arange(1, _HORIZON + 1)
  with style.axes(drawn, "Variance of the randomised estimate") as pair:
    for keep, colour in zip(_VARIANCE_KEEPS, style.COLOURS, strict=False):
      pair.plot(
        times,
        last[keep].variance,
        color=colour,
        lw=1.6,
        label=f"p = {keep:g}, limit {_limit(keep)}",
      )
      if keep in simulated:
        places = np.arange(4, _HORIZON, 5)
        pair.plot(
          times[places],
          simulated[keep][places],
          "o",
          mfc="none",
          ms=5,
          color=colour,
        )
    pair.set_yscale("log")
    pair.set_ylim(0.5, 3 * last[_VARIANCE_KEEPS[-1]].variance[-1])
    pair.set_xlabel("steps $t$")
    pair.set_ylabel("variance of $z_t$")
    pair.legend(frameon=False, fontsize=9, loc="upper left")


def _limit(keep: float) -> str:
  found = limit_variance(1.0, _FACTOR, keep=keep)
  return f"{found:.1f}" if math.isfinite(found) else "none"


def _simulated(study: run.Study) -> dict[float, np.ndarray]:
  """Variance of z_t over many runs of the scalar recursion, [T]."""
  random, found = study.random, {}
  for keep in _VARIANCE_KEEPS:
    if keep < _SIMULATED:
      continue
    z = np.zeros(study.config.settings.draws)
    spread = []
    for _ in range(_HORIZON):
      kept = random.random(len(z)) < keep
      z = 1.0 + np.where(kept, _FACTOR / keep, 0.0) * z
      spread.append(z.var())
    found[keep] = np.array(spread)
  return found


class _Error(NamedTuple):
  """Of a gradient, in units of the full one's norm."""

  cosine: float  # to the full gradient, the mean of the draws
  bias: float  # |mean - full|
  deviation: float  # of one draw

  @property
  def whole(self) -> float:
    """The root of the mean square of |draw - full|."""
    return math.hypot(self.bias, self.deviation)


def beside(
  study: run_lib.Study,
  network: training.Network,
  params: Any,
  segments: batching.Segment,
) -> None:
  """The gradients of one minibatch by each strategy and length.

  Args:
    study: its page is written on.
    network: that was trained.
    params: its weights.
    segments: the minibatch, [1, T, B].
  """
  page, settings = study.lesson, study.config.settings
  lengths = settings.gradient_lengths
  kinds = {
    "segments": [Strategy("", "chunks", length=n) for n in lengths],
    "randomised": [Strategy("", "random", keep=1 - 1 / n) for n in lengths],
    "window": [Strategy("", "window", length=n) for n in lengths],
  }
  full, *rows = _gradients(
    study,
    network,
    params,
    segments,
    [Strategy("", "full"), *itertools.chain(*kinds.values())],
  )
  errors = iter(_error(draws, full[0]) for draws in rows)
  found = {name: [next(errors) for _ in lengths] for name in kinds}
  page.section(
    "Their gradients side by side",
    f"""
    One minibatch, the weights that the full gradient has trained, and three
    shorter gradients of the same mean length. That of segments or a window is
    one vector, off by its bias. The randomised one is drawn
    {settings.gradients} times: it scatters about the full gradient. The mean of
    the draws is off as well, but only by what their deviation and number let
    one expect.
    """,
  )
  page.table(
    (
      "mean length",
      "strategy",
      "cosine to the full gradient",
      "|mean - full| / |full|",
      "standard deviation / |full|",
      "error of one, root mean square",
    ),
    [
      [str(n), name, one.cosine, one.bias, one.deviation, one.whole]
      for place, n in enumerate(lengths)
      for name, one in ((name, found[name][place]) for name in found)
    ],
  )
  noisier = [
    str(n)
    for n, drawn, cut in zip(
      lengths, found["randomised"], found["segments"], strict=True
    )
    if drawn.whole > cut.whole
  ]
  told = (
    f"At a mean length of {', '.join(noisier)} it is further from the full "
    "gradient than the segments' gradient is, bias and all."
    if noisier
    else "At all these lengths it is nearer to the full gradient than the "
    "segments' gradient is."
  )
  page.say(
    f"""
    What a step of training feels is the error of a single draw. {told} Averaged
    over many rows or steps, noise cancels and a bias does not. The window costs
    its length times as much as the others, since every state runs its own.
    """
  )
  path = page.figure(
    "gradient_error",
    "Distance of a shortened gradient from the full one, root of the mean "
    "square over draws, by its mean length.",
  )
  with style.axes(path, "The error of one shortened gradient") as pair:
    for (name, ones), colour in zip(found.items(), style.COLOURS, strict=False):
      sizes = [one.whole for one in ones]
      pair.plot(lengths, sizes, "o-", ms=4, lw=1.6, color=colour, label=name)
    style.references(pair, {"no gradient at all": 1.0})
    pair.set_xscale("log", base=2)
    pair.set_xticks(list(lengths), [str(n) for n in lengths])
    pair.set_xlabel("mean length, steps")
    pair.set_ylabel("|gradient - full| / |full|")
    pair.legend(frameon=False, fontsize=9)


def _gradients(
  study: run_lib.Study,
  network: training.Network,
  params: Any,
  segments: batching.Segment,
  strategies: list[Strategy],
) -> list[np.ndarray]:
  """Gradients of each strategy, by draw: float64 [N, P]."""
  settings, seed = study.config.settings, study.config.seed
  carry = network.initial_carry(segments.inputs.shape[2])

  def compiled(strategy: Strategy) -> Any:
    losses = losses_of(strategy)

    def total(params: Any, weighed: Weighed) -> jax.Array:
      return jnp.sum(losses(network, params, carry, weighed, None)[0])

    def row(params: Any, weighed: Weighed) -> jax.Array:
      one = jax.tree.map(lambda leaf: leaf[0], weighed)
      found = jax.grad(total)(params, one)
      return jnp.concatenate([jnp.ravel(x) for x in jax.tree.leaves(found)])

    return jax.jit(row)

  # Those that weigh differ in numbers only: one program for all of them.
  run, found = compiled(strategies[0]), []
  for strategy in strategies:
    if strategy.kind == "window":  # whose length is part of the program
      run = compiled(strategy)
    draws = []
    for draw in range(settings.gradients if strategy.kind == "random" else 1):
      # The draws of training have the steps' own numbers.
      step = settings.steps + 1 + draw
      drawn = weighed(strategy, segments, seed=seed, step=step)
      draws.append(run(params, drawn))
    found.append(np.asarray(jax.device_get(draws), np.float64))
    study.signals.check()
  return found


def _error(draws: np.ndarray, full: np.ndarray) -> _Error:
  """Of draws [N, P] about the full gradient [P]."""
  size = np.linalg.norm(full)
  cosines = draws @ full / np.linalg.norm(draws, axis=1) / size
  spread = draws.var(axis=0, ddof=1).sum() if len(draws) > 1 else 0.0
  return _Error(
    float(cosines.mean()),
    float(np.linalg.norm(draws.mean(axis=0) - full) / size),
    float(np.sqrt(spread) / size),
  )


_KINDS = 4
_SCORED = 8  # minibatches
_STRATEGIES = (
  Strategy("full", "full"),
  Strategy("randomised, p = 0.95", "random", keep=0.95),
  Strategy("randomised, p = 0.8", "random", keep=0.8),
  Strategy(
    f"segments of {WINDOW}",
    "chunks",
    length=WINDOW,
  ),
)


def copying(study: run.Study) -> list[results.Row]:
  """One symbol, to be said again past the edge of every segment."""
  page, settings = study.lesson, study.config.settings

  @functools.cache
  def task(seed: int) -> memory_tasks.CopyTask:
    return memory_tasks.CopyTask(
      lag=settings.copy_lag, batch=settings.batch, kinds=_KINDS, seed=seed
    )

  def segments(seed: int, start: int, count: int) -> batching.Segment:
    return task(seed).segments(start, count)

  shape = task(study.config.seed)
  symbols = shape.vocabulary_size
  network = training.Network("gru", settings.hidden, symbols, symbols)
  found = train(
    study,
    network,
    members_of(study, _STRATEGIES),
    segments,
    steps=settings.copy_steps,
  )
  scores = scored(
    network,
    found,
    lambda seed: segments(seed, settings.copy_steps, _SCORED),
  )
  page.section(
    "Where a short gradient is not enough",
    f"""
    Text forgives a short gradient. Copying does not: a GRU reads one of
    {_KINDS} symbols, then blanks, and {shape.lag} steps later is to say it.
    Nothing within the last segment, of {WINDOW} steps at most,
    tells the symbol. Cut there, the gradient can make more of whatever trace
    the state still holds at the cut; it never says what should have been kept
    before. A perplexity of {_KINDS} is chance, 1 is perfect;
    {settings.copy_steps} steps were made, under {settings.runs} seeds.
    """,
  )
  page.table(
    (
      "strategy",
      "share of rows in which the path survives",
      "perplexity, each run",
      "steps until half of chance",
    ),
    [
      [
        strategy.name,
        _survives(strategy, shape.lag),
        ", ".join(f"{one.perplexity:.3f}" for one in ones),
        ", ".join(
          _halved(one.nats, shape.chance)
          for member, one in found.items()
          if member.strategy == strategy
        ),
      ]
      for strategy, ones in scores.items()
    ],
  )
  page.say(
    f"""
    Here the randomised kind can earn its price. The path of {shape.lag} steps
    survives in a share p^{shape.lag} of the rows and then counts as much more,
    so that on average the network is taught the right thing, by a teacher who
    is the noisier the smaller p is. Where segments get anywhere, they live off
    the trace that an untrained GRU leaves by itself, with its gates half open;
    over a longer lag there is less of it.
    """
  )
  figures.curves(
    page.figure(
      "copying",
      f"Copying one symbol over {shape.lag} steps: loss of the answer by step, "
      "the mean of the runs.",
    ),
    f"Copying over {shape.lag} steps",
    {strategy.name: mean_curve(found, strategy) for strategy in _STRATEGIES},
    x="steps",
    y="nats an answer",
    references={"chance": shape.chance},
  )
  return [
    row(
      f"copying over {shape.lag} steps, {strategy.name}",
      "fresh sequences",
      ones,
    )
    for strategy, ones in scores.items()
  ]


def _halved(nats: np.ndarray, chance: float) -> str:
  """The middle of the first dispatch that went below half of chance."""
  below = np.flatnonzero(nats < chance / 2)
  steps = training.middles(len(nats))
  return f"{steps[below[0]]:.0f}" if len(below) else "never"


def _survives(strategy: Strategy, lag: int) -> str:
  if strategy.kind == "random":
    return f"{strategy.keep**lag:.2f}"
  return "1" if strategy.kind == "full" else "0"


_KEEP, _WINDOW = KEEP, WINDOW
_FULL = Strategy("full", "full")
_RANDOM = Strategy(f"randomised, p = {_KEEP:g}", "random", keep=_KEEP)
_TRAINING_STRATEGIES = (
  _FULL,
  Strategy(f"segments of {_WINDOW}", "chunks", length=_WINDOW),
  _RANDOM,
  Strategy(f"window of {_WINDOW}", "window", length=_WINDOW),
)


def compare(study: run.Study) -> list[results.Row]:
  """Trains with each strategy and writes what came of it."""
  page, settings = study.lesson, study.config.settings
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = training.Network("elman", settings.hidden, symbols, symbols)

  @functools.cache
  def text(seed: int) -> batching.RandomWindows:
    return batching.RandomWindows(
      tokens.splits["train"],
      batch=settings.batch,
      length=settings.length,
      seed=seed,
    )

  def segments(seed: int, start: int, count: int) -> batching.Segment:
    return text(seed).segments(start, count)

  found = train(
    study,
    network,
    members_of(study, _TRAINING_STRATEGIES),
    segments,
    steps=settings.steps,
  )
  stream = batching.SequentialStream(
    tokens.splits["valid"], batch=settings.batch, length=settings.length
  )
  valid = stream.segments(0, stream.segments_per_epoch)
  scores = scored(network, found, lambda seed: valid)
  study.signals.check()
  page.section(
    "The strategies in training",
    f"""
    A small plain network is trained by each strategy, with {settings.runs}
    seeds; runs of one seed start from the same weights and read the same
    minibatches: characters of the corpus, {settings.batch} windows of
    {settings.length} from an empty state, {settings.steps} steps of Adam with
    the norm of the gradient clipped at 1. Segments and windows have {_WINDOW}
    steps, and p = {_KEEP:g} gives lengths of {1 / (1 - _KEEP):.0f} on average.
    """,
  )
  page.table(
    (
      "strategy",
      "validation perplexity, each run",
      "beside the full gradient's, seed by seed",
    ),
    [
      [
        strategy.name,
        ", ".join(f"{one.perplexity:.3f}" for one in ones),
        ", ".join(f"{100 * x:+.1f} %" for x in _against(ones, scores[_FULL])),
      ]
      for strategy, ones in scores.items()
    ],
  )
  page.say(_verdict(scores))
  figures.curves(
    page.figure(
      "training",
      "Training loss by step beside that of the full gradient, the mean of the "
      f"runs over stretches of {training.DISPATCH} minibatches. Below "
      "0 a strategy is ahead of the full gradient.",
    ),
    "Learning characters by a shortened gradient",
    {
      strategy.name: (
        steps,
        nats - mean_curve(found, _FULL)[1],
      )
      for strategy in _TRAINING_STRATEGIES
      if strategy != _FULL
      for steps, nats in [mean_curve(found, strategy)]
    },
    x="steps",
    y="nats a character more than the full gradient",
    references={"full gradient": 0.0},
  )
  study.signals.check()
  begun = Member(_FULL, study.config.seed)
  # Past all steps of training: characters in an order not yet seen.
  fresh = text(study.config.seed).segments(settings.steps, 1)
  beside(study, network, found[begun].params, fresh)
  study.signals.check()
  return [
    row(strategy.name, "valid", ones) for strategy, ones in scores.items()
  ] + copying(study)


def _against(
  ones: list[metrics.Totals], full: list[metrics.Totals]
) -> list[float]:
  """How much larger each run's perplexity is than the same seed's full one."""
  return [
    one.perplexity / other.perplexity - 1
    for one, other in zip(ones, full, strict=True)
  ]


def _verdict(scores: dict[Strategy, list[metrics.Totals]]) -> str:
  """What the runs allow to say."""
  full = [one.perplexity for one in scores[_FULL]]
  others = {s: ones for s, ones in scores.items() if s.kind != "random"}
  behind = sum(
    all(one.perplexity > ones[place].perplexity for ones in others.values())
    for place, one in enumerate(scores[_RANDOM])
  )
  seeds = 100 * (max(full) / min(full) - 1)
  cut = [x for s in others for x in _against(scores[s], scores[_FULL])]
  return f"""
    Seeds alone make a difference of {seeds:.1f} %. Cutting the gradient to
    {_WINDOW} steps changes the perplexity by {100 * min(cut):+.1f} to
    {100 * max(cut):+.1f} %: most of what helps to predict a character lies a
    few characters back, and so short a training learns no more than that.
    Randomised truncation of the same mean length came last in {behind} of
    {len(full)} seeds. It has no bias, but a single draw points where its noise
    does, and a step is taken along every draw.
    """
