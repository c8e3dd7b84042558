"""Tasks of memory: copying, adding, and how networks learn them."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import (
  figures,
  gradient_reach,
  memory_tasks,
  training,
)
from experiments.studies.exercises import exact
from seqmodels.cells import elman, scan
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.plotting import style as style_lib
from seqmodels.training import loop, loss, optimizers
from seqmodels.training import step as states

# sigmoid(+-_SHUT) is 0 or 1 to the last bit, its slope 0: held for good.
_SHUT = 1000.0


class Entrant(NamedTuple):
  """A kind of network, with what is done to its fresh weights."""

  kind: str  # of the cell
  change: Callable[[Any, np.random.Generator], Any]


def _as_it_is(params: Any, random: np.random.Generator) -> Any:
  del random
  return params


def _orthogonal(params: Any, random: np.random.Generator) -> Any:
  """A rotation for the recurrent weights."""
  size = params.recurrent_kernel.shape[0]
  rotation = np.linalg.qr(random.normal(size=(size, size)))[0]
  return params._replace(recurrent_kernel=np.float32(rotation))


def _scaled(scale: float) -> Callable[..., Any]:
  """A rotation times a number for the recurrent weights."""

  def change(params: Any, random: np.random.Generator) -> Any:
    rotated = _orthogonal(params, random)
    return rotated._replace(recurrent_kernel=scale * rotated.recurrent_kernel)

  return change


def _identity(params: Any, random: np.random.Generator) -> Any:
  del random
  size = params.recurrent_kernel.shape[0]
  return params._replace(recurrent_kernel=np.eye(size, dtype=np.float32))


def _bias(gate: int, value: float) -> Callable[..., Any]:
  """One gate's biases at a value."""

  def change(params: Any, random: np.random.Generator) -> Any:
    del random
    size = params.recurrent_kernel.shape[0]
    held = np.array(params.bias)
    held[gate * size : (gate + 1) * size] = value
    return params._replace(bias=held)

  return change


PLAIN = {
  "Elman": Entrant("elman", _as_it_is),
  "GRU": Entrant("gru", _as_it_is),
  "LSTM": Entrant("lstm", _as_it_is),
}
# Remedies, and a GRU with one of its gates alone (r, z, n are its blocks).
CHANGED = {
  "Elman, orthogonal start": Entrant("elman", _orthogonal),
  "Elman, identity start": Entrant("elman", _identity),
  "Elman, twice a rotation": Entrant("elman", _scaled(2.0)),
  "GRU, reset gate only": Entrant("gru", _bias(1, -_SHUT)),
  "GRU, update gate only": Entrant("gru", _bias(0, _SHUT)),
  "LSTM, forget bias 5": Entrant("lstm", _bias(1, 5.0)),
}
ENTRANTS = PLAIN | CHANGED


class Member(NamedTuple):
  """One network on one task, whose seed is that of its weights too."""

  entrant: str
  task: Any  # with `segments(start, count)`, `length` and `seed`


class Recipe(NamedTuple):
  """How networks are trained.

  Attributes:
    rate: of the rule.
    rule: its name, "adam" or "sgd".
    clip_norm: bound on the norm of the gradient; 0 clips nothing.
    losses: what is minimised; symbols' nats by default.
  """

  rate: float
  rule: str = "adam"
  clip_norm: float = 1.0
  losses: Callable[..., Any] | None = None


class Trained(NamedTuple):
  """What became of a member."""

  nats: np.ndarray  # a scored position, by dispatch
  start: Any  # weights before training
  params: Any  # and after
  scored: int  # positions of the last two dispatches
  largest: float  # norm of a gradient on the way, before any clipping

  @property
  def last(self) -> float:
    """Nats a scored position of the last two dispatches.

    Minibatches never come twice and each is scored before it is learned from.
    """
    return float(self.nats[-2:].mean())


def train(
  study: run.Study,
  members: Sequence[Member],
  *,
  inputs: int,
  outputs: int,
  steps: int,
  recipe: Recipe,
) -> dict[Member, Trained]:
  """Trains all of them, those of one kind of cell as one compiled program.

  Args:
    study: its seed and settings.
    members: of any kinds; shorter sequences are filled up behind their end.
    inputs: of the networks, and so the next.
    outputs: of the networks.
    steps: how many.
    recipe: the rule, and what is minimised.
  """
  found: dict[Member, Trained] = {}
  for kind in dict.fromkeys(ENTRANTS[m.entrant].kind for m in members):
    group = [m for m in members if ENTRANTS[m.entrant].kind == kind]
    network = training.Network(
      kind, study.config.settings.features, inputs, outputs
    )
    found |= _train(study, network, group, steps, recipe)
  return {member: found[member] for member in members}


def _train(
  study: run.Study,
  network: training.Network,
  members: Sequence[Member],
  steps: int,
  recipe: Recipe,
) -> dict[Member, Trained]:
  optimizer = optimizers.build(
    recipe.rule,
    learning_rate=recipe.rate,
    momentum=0.9 if recipe.rule == "adam" else 0.0,
    clip_norm=recipe.clip_norm,
  )
  losses = recipe.losses
  model = network if losses else network.predictor()
  batch = study.config.settings.batch
  fresh = {
    seed: states.create(model, optimizer, batch=batch, seed=seed)
    for seed in {member.task.seed for member in members}
  }
  begun = [_changed(fresh[m.task.seed].params, m) for m in members]
  length = max(member.task.length for member in members)

  def segments(start: int, count: int) -> list[Any]:
    return [
      jax.tree.map(
        lambda leaf: _filled(leaf, length), m.task.segments(start, count)
      )
      for m in members
    ]

  course = training.train_side_by_side(
    fresh[members[0].task.seed],
    begun,
    loop.make_joint_train_steps(
      model, optimizer, losses=losses or loss.of_symbols
    ),
    segments,
    steps=steps,
    check=study.signals.check,
  )
  return {
    member: Trained(
      course.nats[place],
      begun[place],
      course.params[place],
      int(2 * course.scored[place]),
      float(course.largest[place]),
    )
    for place, member in enumerate(members)
  }


def _changed(params: Any, member: Member) -> Any:
  entrant = ENTRANTS[member.entrant]
  cell, *readout = jax.device_get(params)
  random = np.random.default_rng(member.task.seed)
  return (entrant.change(cell, random), *readout)


def _filled(leaf: np.ndarray, length: int) -> np.ndarray:
  """[K, T, B, ...] with zeros, which no mask scores, behind its end."""
  extra = [(0, 0)] * leaf.ndim
  extra[1] = (0, length - leaf.shape[1])
  return np.pad(leaf, extra)


def reach(
  study: run.Study,
  found: Mapping[str, tuple[Member, Trained]],
) -> None:
  """How training has changed the reach of the gradient.

  Args:
    study: its page is drawn on.
    found: networks that were trained to copy over one lag, by their cells.
  """
  page = study.lesson
  lag = max(member.task.lag for member, _ in found.values())
  measured: dict[str, list[np.ndarray]] = {}
  for name, (member, trained) in found.items():
    xs = jnp.asarray(member.task.segment(0).inputs)
    kind = ENTRANTS[name].kind
    both = [norms(kind, one, xs) for one in (trained.start, trained.params)]
    measured[name] = [one / one[0] for one in both]
  told = "; ".join(
    f"{name} {before[lag]:.0e} and {after[lag]:.0e}, at "
    f"{found[name][1].last:.2f} nats"
    for name, (before, after) in measured.items()
  )
  page.say(
    f"""
    What has been learned shows in the gradient. |g_{lag}| / |g_0|, before and
    after training over the lag {lag}, and what the network then pays: {told}. A
    network that has learned to keep a symbol has also opened a way for the
    gradient; to one that has not, the far end of its sequence stays silent.
    """
  )
  path = page.figure(
    "learned_reach",
    "Reach of the gradient in the networks that were trained to copy over "
    f"{lag} steps, on their own sequences: before (dashed) and after.",
  )
  with style_lib.axes(path, "The reach that training gives") as pair:
    for (name, both), colour in zip(
      measured.items(), style_lib.COLOURS, strict=False
    ):
      for values, style, label in zip(
        both, ("--", "-"), (None, name), strict=True
      ):
        pair.plot(values, style, color=colour, lw=1.6, label=label)
    pair.set_yscale("log")
    pair.set_xlabel("steps back, k")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    pair.legend(frameon=False, fontsize=9)


def norms(kind: str, params: Any, xs: jax.Array) -> np.ndarray:
  """|g_k| of what tells the first two symbols apart."""
  cell, kernel, _ = params
  functions = training.cell_of(kind)
  features = kernel.shape[0]
  carry = functions.initial_carry((xs.shape[1],), features)
  direction = gradient_reach.direction(carry, kernel[:, 0] - kernel[:, 1])
  return gradient_reach.mean_norms(functions.step, cell, carry, xs, direction)


def lines(
  path: Any,
  title: str,
  sizes: Sequence[int],
  values: Mapping[str, Sequence[float]],
  *,
  x: str,
  y: str,
  references: Mapping[str, float],
  log_y: bool = False,
) -> None:
  """Values by lag; a cell's own colour, dashed where it was changed.

  What is none of the cells, such as a bound, is grey.
  """
  colours = dict(zip(PLAIN, style_lib.COLOURS, strict=False))
  seen: dict[str, int] = {}
  with style_lib.axes(path, title) as pair:
    for name, found in values.items():
      cell = name.split(",")[0]
      style = ("-", "--", ":")[min(seen.get(cell, 0), 2)]
      seen[cell] = seen.get(cell, 0) + 1
      pair.plot(
        sizes,
        found,
        style,
        marker="o",
        ms=4,
        color=colours.get(cell, style_lib.GREY),
        label=name,
      )
    style_lib.references(pair, references)
    pair.set_xscale("log", base=2)
    pair.set_xticks(list(sizes), [str(size) for size in sizes])
    if log_y:
      pair.set_yscale("log")
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    style_lib.legend_beside(pair, "")


_RECALLED = 4  # kinds of c
_COPIED, _KINDS = 2, 8  # symbols of a copying sequence, and their kinds

Found = Mapping[Member, Trained]


def recall(study: run.Study) -> list[results.Row]:
  """Trained networks beside the exact one."""
  page, settings = study.lesson, study.config.settings
  fillers = sorted(settings.recall_fillers)
  names = [name for name in _plain(settings) if "LSTM, " not in name]
  found = train(
    study,
    [
      Member(
        name,
        memory_tasks.RecallTask(
          fillers=size,
          batch=settings.batch,
          kinds=_RECALLED,
          seed=study.config.seed,
        ),
      )
      for name in names
      for size in fillers
    ],
    inputs=_RECALLED + 1,
    outputs=_RECALLED + 1,
    steps=settings.recall_steps,
    recipe=Recipe(settings.rate),
  )
  mine = _by_lag(found)
  optimum = math.log(_RECALLED)
  gaps = {
    name: [_sequence_nats(mine[name, size]) - optimum for size in fillers]
    for name in names
  }
  page.section(
    "Can it be learned?",
    f"""
    What can be represented need not be found by training. Networks of
    {settings.features} units learn the language of c, L fillers and c, with
    {_RECALLED} kinds of c: {settings.recall_steps} steps of Adam at rate
    {settings.rate:g}, {settings.batch} fresh words each. The table has what
    they pay beyond the exact network's ln {_RECALLED} nats a word, over the
    last {2 * training.DISPATCH} minibatches, each scored before it is
    learned from. Who counts the fillers and forgets c pays ln {_RECALLED} =
    {optimum:.3f} more.
    """,
  )
  bigram = [
    exact.recall_nats(_RECALLED, size, order=2) - optimum for size in fillers
  ]
  told = gaps | {"best 2-gram": bigram}
  page.table(
    ("nats a word beyond the exact network", *(f"L = {n}" for n in fillers)),
    [[name, *values] for name, values in told.items()],
  )
  page.say(
    f"""
    {_longest(gaps, fillers, optimum / 2)} Where training fails, a network need
    not be better than one that sees the last symbol alone: the best 2-gram,
    which knows neither c nor how many fillers there were.
    """
  )
  lines(
    page.figure(
      "recall",
      "What trained networks pay beyond the exact one, by the number of "
      "fillers between c and its return.",
    ),
    "Recall, learned",
    fillers,
    told,
    x="fillers L",
    y="nats a word beyond the exact network",
    references={"c forgotten": optimum},
  )
  return [
    results.row(
      f"{name}, recall over {size} fillers",
      split="fresh words",
      evaluation="before each step",
      metric="nats_per_sequence",
      value=_sequence_nats(mine[name, size]),
      count=mine[name, size][1].scored // mine[name, size][0].task.length,
      seconds=0.0,
    )
    for name in settings.cells
    for size in fillers
  ]


def copying(study: run.Study) -> list[results.Row]:
  """Copying at growing lag, and what the gates have to do with it."""
  page, settings = study.lesson, study.config.settings
  lags = sorted(settings.lags)
  names = (*settings.cells, *settings.changed)
  tasks = [
    memory_tasks.CopyTask(
      lag=lag,
      batch=settings.batch,
      symbols=_COPIED,
      kinds=_KINDS,
      seed=study.config.seed,
    )
    for lag in lags
  ]
  found = train(
    study,
    [Member(name, task) for name in names for task in tasks],
    inputs=tasks[0].vocabulary_size,
    outputs=tasks[0].vocabulary_size,
    steps=settings.memory_steps,
    recipe=Recipe(settings.rate),
  )
  mine = _by_lag(found)
  chance = math.log(_KINDS)
  nats = {name: [mine[name, lag][1].last for lag in lags] for name in names}
  page.section(
    "Copying over a growing lag",
    f"""
    {_COPIED} symbols of {_KINDS} kinds are read, then blanks, and each is to be
    said `lag` steps after it was read. Nothing else is scored, so chance is ln
    {_KINDS} = {chance:.3f} nats a symbol and 0 is perfect. The training is as
    before. Beside the three cells there are a plain network that starts with a
    rotation for its recurrent weights, an LSTM that starts with its forget gate
    open, and GRUs with one gate taken away: r = 1, or z = 0, held for good. The
    runs are single ones: another seed moves the lag at which learning fails.
    """,
  )
  page.table(
    ("nats a symbol", *(f"lag {lag}" for lag in lags)),
    [[name, *values] for name, values in nats.items()],
  )
  page.say(_longest(nats, lags, chance / 2))
  lines(
    page.figure(
      "copying",
      "Copying by lag, after the same number of steps. Dashed: the same cell "
      "with another start, or with one gate less.",
    ),
    f"Copying {_COPIED} symbols",
    lags,
    nats,
    x="lag",
    y="nats a symbol",
    references={"chance": chance},
  )
  reach(study, {name: mine[name, max(lags)] for name in settings.cells})
  return [
    results.row(
      f"{name}, copying over {lag} steps",
      split="fresh sequences",
      evaluation="before each step",
      metric="perplexity",
      value=math.exp(mine[name, lag][1].last),
      count=mine[name, lag][1].scored,
      seconds=0.0,
    )
    for name in settings.cells
    for lag in lags
  ]


def adding(study: run.Study) -> list[results.Row]:
  """The adding task at growing length."""
  page, settings = study.lesson, study.config.settings
  lengths = sorted(settings.adding_lengths)
  names = _plain(settings)
  tasks = {
    length: memory_tasks.AddingTask(
      length=length, batch=settings.batch, seed=study.config.seed
    )
    for length in lengths
  }
  found = train(
    study,
    [Member(name, task) for name in names for task in tasks.values()],
    inputs=2,
    outputs=1,
    steps=settings.memory_steps,
    recipe=Recipe(settings.rate, losses=training.of_values),
  )
  # The objective is half the square.
  errors = {
    name: [2 * found[Member(name, tasks[n])].last for n in lengths]
    for name in names
  }
  chance, half = memory_tasks.AddingTask.chance, memory_tasks.AddingTask.half
  page.section(
    "Adding over a growing length",
    f"""
    Numbers from [0, 1) and marks are read; two are marked, one in each half of
    the sequence, and their sum is to be said at the last step. To answer 1
    always is wrong by 1/6 = {chance:.3f} on average of the square; to know one
    of the two numbers leaves 1/12 = {half:.3f}. The networks and their training
    are as before, {settings.memory_steps} steps.
    """,
  )
  page.table(
    ("mean squared error", *(f"length {n}" for n in lengths)),
    [[name, *values] for name, values in errors.items()],
  )
  page.say(_longest(errors, lengths, half / 2))
  page.say(
    """
    The constructions above show that a single gated unit could do all of these
    exactly, at any length. What stands between a network and that solution is
    the gradient: before anything is learned it has to cross the whole lag once,
    and only what arrives can be improved on.
    """
  )
  lines(
    page.figure(
      "adding",
      "Adding two marked numbers by the length of the sequence, after the same "
      "number of steps.",
    ),
    "Adding",
    lengths,
    errors,
    x="length",
    y="mean squared error",
    references={"always 1": chance, "one number known": half},
    log_y=True,
  )
  return [
    results.row(
      f"{name}, adding over {length} steps",
      split="fresh sequences",
      evaluation="before each step",
      metric="sse",
      value=error,
      unit="mean squared error",
      count=found[Member(name, tasks[length])].scored,
      seconds=0.0,
    )
    for name in settings.cells
    for length, error in zip(lengths, errors[name], strict=True)
  ]


def _plain(settings: Any) -> list[str]:
  """All but the GRUs with a gate less, which are of interest for copying."""
  names = (*settings.cells, *settings.changed)
  return [name for name in names if "only" not in name]


def _by_lag(found: Found) -> dict[tuple[str, int], tuple[Member, Trained]]:
  """Members by their name and the lag of their task."""
  return {
    (m.entrant, getattr(m.task, "lag", getattr(m.task, "fillers", 0))): (m, one)
    for m, one in found.items()
  }


def _sequence_nats(pair: tuple[Member, Trained]) -> float:
  member, trained = pair
  return trained.last * member.task.length


def _longest(
  values: Mapping[str, Sequence[float]], sizes: Sequence[int], limit: float
) -> str:
  """Who got below a limit, and at which lags."""
  parts = []
  for name, found in values.items():
    done = [str(n) for n, v in zip(sizes, found, strict=True) if v < limit]
    parts.append(f"{name} at {', '.join(done) or 'none'}")
  return f"Below {limit:.3g}, in the time given: {'; '.join(parts)}."


_INPUTS, _ROWS = 8, 8
_WINDOW, _WINDOWS = 8, 3  # of the reach across the edges of windows


def by_length(study: run.Study) -> None:
  """The norm of a weight's gradient by the length of the sequence."""
  page, settings = study.lesson, study.config.settings
  steps, features = settings.gradient_length, settings.features
  random = study.random
  normal = random.normal(size=(features, features))
  rotation = np.linalg.qr(normal)[0]
  scale = features**-0.5
  networks: dict[str, tuple[np.ndarray, Any]] = {
    "tanh, N(0, 0.01^2)": (0.01 * normal, "tanh"),
    "tanh, a rotation Q": (rotation, "tanh"),
    "tanh, 2 Q": (2 * rotation, "tanh"),
    "ReLU, N(0, 2/h)": (2**0.5 * scale * normal, "relu"),
    "ReLU, N(0, 4/h)": (2 * scale * normal, "relu"),
  }
  kernel = random.normal(size=(_INPUTS, features)) / (4 * _INPUTS**0.5)
  xs = random.normal(size=(_ROWS, steps, 1, _INPUTS))
  vector = random.normal(size=features) * scale
  norms = {}
  for name, (recurrent, activation) in networks.items():
    with jax.enable_x64(True):
      norms[name] = np.asarray(
        _norms(activation, *map(jnp.asarray, (recurrent, kernel, xs, vector)))
      )
    study.signals.check()
  half = steps // 2
  page.section(
    "What happens to the gradient of a long sequence?",
    f"""
    Let the loss read the state at the last step T of a sequence, and take its
    gradient for the recurrent weights. It is a sum of T terms, the k-th with a
    product of k Jacobians in it. Where these products shrink, the sum stops
    growing after a few terms: the sequence may be as long as it likes, its
    early part has no say. Where they grow, the terms from furthest back
    outweigh all others, and the gradient explodes with T. The network has
    {features} units and reads noise; norms are geometric means over {_ROWS}
    sequences. A rectifier lets about half of a state through, so 2/h is the
    variance at which it neither shrinks nor grows.
    """,
  )
  page.table(
    (
      "|dL/dW_h| for",
      "T = 2",
      f"T = {half}",
      f"T = {steps}",
      "growth a step, the last half",
    ),
    [
      [
        name,
        # At T = 1 the state before is 0, and so is the gradient.
        float(found[1]),
        float(found[half]),
        float(found[steps - 1]),
        float((found[-1] / found[half]) ** (1 / (steps - 1 - half))),
      ]
      for name, found in norms.items()
    ],
  )
  page.say(
    """
    Clipping the norm, g <- min(1, theta / |g|) g, is the usual answer to the
    second case. It keeps the step small; it cannot bring back the first case's
    lost terms, and in the second it keeps a direction that is dictated by the
    few longest paths.
    """
  )
  figures.curves(
    page.figure(
      "gradient_by_length",
      "Norm of the gradient for the recurrent weights, when the loss reads the "
      "last state only, by the length of the sequence.",
    ),
    "The gradient of a long sequence",
    {
      name: (np.arange(2, steps + 1), found[1:])
      for name, found in norms.items()
    },
    x="length $T$",
    y=r"$|dL/dW_h|$",
    log_y=True,
  )


def at_a_window(study: run.Study) -> None:
  """No output depends on what lies before its window."""
  page = study.lesson
  steps = _WINDOW * _WINDOWS
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = training.Network(
    "gru", study.config.settings.features, symbols, symbols
  )
  params = jax.jit(network.init)(jax.random.key(study.config.seed))
  ids = np.asarray(tokens.splits["train"][:steps], np.int32)
  hot = np.eye(symbols, dtype=np.float32)[ids][:, None]
  predictor = network.predictor()
  fresh = (np.arange(steps) % _WINDOW == 0)[:, None]

  def outputs(hot: jax.Array, reset: jax.Array) -> jax.Array:
    carry = predictor.initial_carry(1)
    logits = predictor.apply(params, carry, hot, reset)[1]
    # One number an output: a fixed mixture of its logits.
    return logits[:, 0] @ jnp.linspace(-1.0, 1.0, symbols)

  slopes = jax.jit(jax.jacrev(outputs))  # [T, T, 1, V]

  def reach(reset: np.ndarray) -> np.ndarray:
    found = np.asarray(slopes(hot, reset))
    return np.linalg.norm(found[:, :, 0], axis=-1)

  cut, whole = reach(fresh), reach(np.zeros_like(fresh))
  place = np.arange(steps)
  outside = place[:, None] // _WINDOW != place[None] // _WINDOW
  page.section(
    "Does it condition on the first symbol of the book?",
    f"""
    In principle an RNN's prediction depends on everything before it. In
    training it does so only back to the beginning of its window, where the
    state is cleared. {_WINDOWS} windows of {_WINDOW} characters are read by an
    untrained GRU, once with the state cleared at their edges and once with the
    state carried across. The norm of d O_t / d x_s outside the window of t is
    exactly {cut[outside].max():g} in the first case; in the second its largest
    value for s < t is
    {whole[outside & (place[:, None] > place[None])].max():.2g}. In both it is
    {whole[place[:, None] < place[None]].max():g} for s > t.
    """,
  )
  path = page.figure(
    "window",
    "How strongly output t depends on input s, the logarithm of the norm of "
    "the derivative. White is exactly zero.",
  )
  with style.figure(path, height=3.6) as drawing:
    pairs = drawing.subplots(1, 2, sharey=True)
    with np.errstate(divide="ignore"):
      images = [np.log10(cut), np.log10(whole)]
    finite = np.concatenate([image[np.isfinite(image)] for image in images])
    for pair, image, title in zip(
      pairs,
      images,
      ("state cleared at each window", "state carried across"),
      strict=True,
    ):
      shown = pair.imshow(
        np.ma.masked_invalid(image),
        cmap="viridis",
        vmin=float(finite.min()),
        vmax=float(finite.max()),
      )
      pair.set_title(title, fontsize=10)
      pair.set_xlabel("input s")
    pairs[0].set_ylabel("output t")
    drawing.colorbar(shown, ax=list(pairs), label="log10 |dO_t / dx_s|")


@functools.partial(jax.jit, static_argnums=0)
def _norms(
  activation: Any,
  recurrent: jax.Array,
  kernel: jax.Array,
  xs: jax.Array,
  vector: jax.Array,
) -> jax.Array:
  """|d(v . h_T)/dW_h| for T = 1, 2, ..., geometric mean over rows: [T]."""
  features = len(recurrent)
  carry = elman.initial_carry((1,), features, recurrent.dtype)

  def step(params: Any, carry: Any, x: Any) -> Any:
    return elman.step(params, carry, x, activation=activation)

  def read(recurrent: jax.Array, row: jax.Array) -> jax.Array:
    params = elman.ElmanParams(kernel, recurrent, jnp.zeros(features))
    return scan.unroll(step, params, carry, row)[1][:, 0] @ vector

  slopes = jax.vmap(jax.jacrev(read), in_axes=(None, 0))(recurrent, xs)
  # [B, T, H, H]
  norms = jnp.linalg.norm(slopes.reshape(*xs.shape[:2], -1), axis=2)
  return jnp.exp(jnp.mean(jnp.log(norms), axis=0))


# Plain networks by the reach that they begin with.
_STARTS = {
  "Elman": "normal",
  "Elman, identity start": "identity",
  "Elman, orthogonal start": "Q",
  "Elman, twice a rotation": "2 Q",
}
_PENALTY = 0.01  # of the sum of squares of the recurrent weights
_DESCENT = 1.0  # rate of plain gradient descent


def recipes(rate: float) -> dict[str, Recipe]:
  """The remedies by name, each a way to train.

  Args:
    rate: of Adam, where it is not the remedy.
  """
  return {
    "no remedy": Recipe(rate, clip_norm=0.0),
    "clipping": Recipe(rate),
    "smaller steps": Recipe(rate / 10, clip_norm=0.0),
    "penalty": Recipe(rate, clip_norm=0.0, losses=penalised(_PENALTY)),
    "descent": Recipe(_DESCENT, rule="sgd", clip_norm=0.0),
    "descent, clipping": Recipe(_DESCENT, rule="sgd"),
  }


def penalised(weight: float) -> Callable[..., Any]:
  """Nats of symbols, and `weight` |W_h|^2 added to their mean."""

  def losses(
    network: training.Network,
    params: Any,
    carry: Any,
    segment: Any,
    key: Any,
  ) -> tuple[jax.Array, loss.Outcome]:
    nats, outcome = loss.of_symbols(
      network.predictor(), params, carry, segment, key
    )
    extra = weight * jnp.sum(params[0].recurrent_kernel ** 2)
    # The mean is over positions; what is told of the nats stays as it is.
    return nats + extra * outcome.scored / nats.shape[0], outcome

  return losses


def compared(study: run.Study) -> None:
  """Every remedy on networks that begin with too short or too long a reach."""
  page, settings = study.lesson, study.config.settings
  tasks = [
    memory_tasks.CopyTask(
      lag=settings.remedy_lag,
      batch=settings.batch,
      symbols=2,
      seed=study.config.seed + place,
    )
    for place in range(settings.remedy_runs)
  ]
  size, known = tasks[0].vocabulary_size, recipes(settings.rate)
  found: dict[str, dict[Member, Trained]] = {
    name: train(
      study,
      [Member(start, task) for start in _STARTS for task in tasks],
      inputs=size,
      outputs=size,
      steps=settings.memory_steps,
      recipe=known[name],
    )
    for name in settings.remedies
  }
  nats = {
    (start, name): [ones[Member(start, task)].last for task in tasks]
    for start in _STARTS
    for name, ones in found.items()
  }
  chance, lag = tasks[0].chance, settings.remedy_lag
  first = found[settings.remedies[0]]
  page.section(
    "What is done about it",
    f"""
    A gradient can fade on its way or explode, and each remedy is for one of the
    two. Clipping bounds the norm of the gradient at 1. Smaller steps are a
    tenth of the usual {settings.rate:g}. A penalty adds {_PENALTY:g} |W_h|^2 to
    the loss. Another start gives the recurrent weights another reach: the
    identity or a rotation Q keep norms as they are where tanh is not bent, 2 Q
    doubles them. All are tried on the plain network and copying over a lag of
    {lag}, {settings.memory_steps} steps of Adam, and of plain gradient descent
    at rate {_DESCENT:g} for comparison: nats a symbol, the median of
    {len(tasks)} seeds; chance is {chance:.3f}.
    """,
  )
  page.table(
    ("start", f"|g_{lag}| / |g_0| before training", *found),
    [
      [
        told,
        _reach(first, start, tasks),
        *(float(np.median(nats[start, name])) for name in found),
      ]
      for start, told in _STARTS.items()
    ],
  )
  page.say(
    f"""
    Less than {chance / 2:.3g}, half of chance, was reached
    {_passed(nats, chance / 2)}.

    A penalty draws W_h towards 0 and so shortens the reach: where it is too
    long that helps, where it is too short it takes away the rest. Smaller steps
    and clipping keep an exploding gradient from throwing the weights about, and
    cannot bring back what has faded. Adam divides each derivative by its usual
    size, which does some of the clipping; plain descent has nothing of the
    kind. What lengthens the reach is another start, or gates: the table before
    has both. To cut the gradient, the last remedy of all, gives up what lies
    beyond the cut.
    """
  )


def _reach(
  found: dict[Member, Trained], start: str, tasks: list[memory_tasks.CopyTask]
) -> float:
  """|g_lag| / |g_0| before training, the geometric mean of the seeds."""
  kind, ratios = ENTRANTS[start].kind, []
  for task in tasks:
    xs = jnp.asarray(task.segment(0).inputs)
    params = found[Member(start, task)].start
    reach_norms = norms(kind, params, xs)
    ratios.append(reach_norms[task.lag] / reach_norms[0])
  return float(np.exp(np.mean(np.log(ratios))))


def _passed(nats: dict[tuple[str, str], list[float]], limit: float) -> str:
  """By which remedies each start came below a limit."""
  parts = []
  for start, told in _STARTS.items():
    names = [
      name
      for (other, name), values in nats.items()
      if other == start and np.median(values) < limit
    ]
    ways = f"with {', '.join(names)}" if names else "with none of them"
    parts.append(f"from the {told} start {ways}")
  return "; ".join(parts)
