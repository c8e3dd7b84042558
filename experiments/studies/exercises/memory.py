"""Networks that learn tasks of memory: recall, copying, adding; remedies."""

import itertools
import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import gradient_reach, memory_tasks, training
from experiments.studies.exercises import exact
from seqmodels.io import results
from seqmodels.models import networks
from seqmodels.plotting import style
from seqmodels.training import optimizers, regularizers

# sigmoid(+-_SHUT) is 0 or 1 to the last bit, its slope 0: held for good.
_SHUT = 1000.0

# (cell's weights, random) -> weights
Change = Callable[[Any, np.random.Generator], Any]


def _rotation(scale: float) -> Change:
  """A rotation, times a number, for the recurrent weights."""

  def change(params: Any, random: np.random.Generator) -> Any:
    size = params.recurrent_kernel.shape[0]
    rotation = np.linalg.qr(random.normal(size=(size, size)))[0]
    return params._replace(recurrent_kernel=np.float32(scale * rotation))

  return change


def _identity(params: Any, random: np.random.Generator) -> Any:
  del random
  size = params.recurrent_kernel.shape[0]
  return params._replace(recurrent_kernel=np.eye(size, dtype=np.float32))


def _bias(gate: int, value: float) -> Change:
  """One gate's biases at a value."""

  def change(params: Any, random: np.random.Generator) -> Any:
    del random
    size = params.recurrent_kernel.shape[0]
    held = np.array(params.bias)
    held[gate * size : (gate + 1) * size] = value
    return params._replace(bias=held)

  return change


# Networks by name: their cell, and what is done to its fresh weights. The GRU's
# gates are ordered r, z, n; the LSTM's i, f, g, o.
CELLS = {"Elman": "elman", "GRU": "gru", "LSTM": "lstm"}
CHANGES: dict[str, Change] = {
  **dict.fromkeys(CELLS, lambda params, random: params),
  "Elman, orthogonal start": _rotation(1.0),
  "Elman, identity start": _identity,
  "Elman, twice a rotation": _rotation(2.0),
  "GRU, reset gate only": _bias(1, -_SHUT),
  "GRU, update gate only": _bias(0, _SHUT),
  "LSTM, forget bias 5": _bias(1, 5.0),
}


def cell_of(name: str) -> str:
  """The cell of a network.

  >>> cell_of("GRU, reset gate only")
  'gru'
  """
  return CELLS[name.split(",")[0]]


class Recipe(NamedTuple):
  """How networks are trained."""

  rate: float  # of the rule
  rule: str = "adam"  # its name, "adam" or "sgd"
  clip_norm: float = 1.0  # bound on the norm of the gradient; 0 clips nothing
  losses: training.Loss | None = None  # minimised in place of symbols' nats


def train(
  study: run.Study,
  names: Sequence[str],
  tasks: Sequence[Any],
  *,
  inputs: int,
  outputs: int,
  steps: int,
  recipe: Recipe,
) -> dict[str, list[training.Trained]]:
  """Every network on every task, those of one cell as one compiled program.

  A task's seed is that of the weights, too; shorter sequences are filled up
  behind their end.
  """
  optimizer = optimizers.build(
    recipe.rule,
    learning_rate=recipe.rate,
    momentum=0.9 if recipe.rule == "adam" else 0.0,
    clip_norm=recipe.clip_norm,
  )
  settings, length = study.config.settings, max(task.length for task in tasks)

  def filled(leaf: np.ndarray) -> np.ndarray:
    """[K, T, B, ...] with zeros, which no mask scores, behind its end."""
    extra = [(0, 0)] * leaf.ndim
    extra[1] = (0, length - leaf.shape[1])
    return np.pad(leaf, extra)

  found = {}
  for kind in dict.fromkeys(map(cell_of, names)):
    group = [name for name in names if cell_of(name) == kind]
    model = training.Network(
      kind, settings.features, inputs, outputs
    ).predictor()
    fresh = {task.seed: training.fresh(model, task.seed) for task in tasks}
    begun = []
    for name, task in itertools.product(group, tasks):
      cell, *readout = jax.device_get(fresh[task.seed])
      random = np.random.default_rng(task.seed)
      begun.append((CHANGES[name](cell, random), *readout))

    def segments(start: int, count: int, copies: int = len(group)) -> list[Any]:
      read = [task.segments(start, count) for task in tasks]
      return [jax.tree.map(filled, one) for one in read] * copies

    trained = iter(
      training.train_side_by_side(
        model,
        optimizer,
        begun,
        segments,
        steps=steps,
        batch=settings.batch,
        losses=recipe.losses,
        check=study.signals.check,
      )
    )
    for name in group:
      found[name] = list(itertools.islice(trained, len(tasks)))
  return found


_LAST = 2 * training.DISPATCH  # steps that are scored


def last(trained: training.Trained) -> float:
  """Nats a scored position of the last steps.

  Minibatches never come twice and each is scored before it is learned from.
  """
  return float(trained.nats[-_LAST:].mean())


def reach(name: str, task: Any, params: Any) -> np.ndarray:
  """|g_k| / |g_0| of what tells the first two symbols apart, by distance k."""
  cell, kernel, _ = params
  functions = training.cell_of(cell_of(name))
  xs = jnp.asarray(task.segment(0).inputs)
  carry = functions.initial_carry((xs.shape[1],), kernel.shape[0])
  direction = gradient_reach.direction(carry, kernel[:, 0] - kernel[:, 1])
  norms = gradient_reach.mean_norms(functions.step, cell, carry, xs, direction)
  return norms / norms[0]


def _compare(
  study: run.Study,
  name: str,
  title: str,
  sizes: Sequence[int],
  values: Mapping[str, Sequence[float]],
  *,
  x: str,
  y: str,
  references: Mapping[str, float],
  limit: float,
  log_y: bool = False,
) -> None:
  """Table and figure of values by lag, and which of them are below a limit.

  A cell has a colour of its own and is dashed where it was changed; what is
  none of the cells, such as a bound, is grey.
  """
  page = study.page
  page.table(
    name,
    (y, *(f"{x} = {size}" for size in sizes)),
    [[network, *found] for network, found in values.items()],
  )
  page[f"{name}_limit"], below = f"{limit:.3f}", []
  colours = dict(zip(CELLS, style.COLOURS, strict=False))
  seen: dict[str, int] = {}
  with style.axes(page.figure(name), title) as pair:
    for network, found in values.items():
      cell = network.split(",")[0]
      dashes = ("-", "--", ":")[min(seen.get(cell, 0), 2)]
      seen[cell] = seen.get(cell, 0) + 1
      line = {"color": colours.get(cell, style.GREY), "ls": dashes}
      pair.plot(sizes, found, marker="o", ms=4, label=network, **line)
      done = [str(n) for n, v in zip(sizes, found, strict=True) if v < limit]
      below.append(f"{network} at {', '.join(done) or 'none'}")
    style.references(pair, references)
    pair.set_xscale("log", base=2)
    pair.set_xticks(list(sizes), [str(size) for size in sizes])
    if log_y:
      pair.set_yscale("log")
    pair.set_xlabel(x)
    pair.set_ylabel(y)
    style.legend_beside(pair, "")
  page[f"{name}_learned"] = "; ".join(below)


def _names(settings: Any) -> list[str]:
  """All but the GRUs with a gate less, which are of interest for copying."""
  names = (*settings.cells, *settings.changed)
  return [name for name in names if "only" not in name]


def _rows(
  study: run.Study,
  found: Mapping[str, Sequence[training.Trained]],
  tasks: Mapping[str, Any],
  measured: Callable[[Any, float, int], tuple[float, int]],
  **shown: Any,
) -> list[results.Row]:
  """Rows of the cells as they come, on tasks by their names.

  A task, its last nats and the number of scored positions give value and count.
  """
  rows = []
  for name in study.config.settings.cells:
    for (doing, task), one in zip(tasks.items(), found[name], strict=True):
      scored = int(one.scored[-_LAST:].sum())
      value, count = measured(task, last(one), scored)
      rows.append(
        results.row(
          f"{name}, {doing}",
          evaluation="before each step",
          value=value,
          count=count,
          seconds=0.0,
          **shown,
        )
      )
  return rows


_RECALLED = 4  # kinds of c


def recall(study: run.Study) -> list[results.Row]:
  """Trained networks beside the exact one."""
  page, settings = study.page, study.config.settings
  tasks = [
    memory_tasks.RecallTask(
      fillers=size,
      batch=settings.batch,
      kinds=_RECALLED,
      seed=study.config.seed,
    )
    for size in sorted(settings.recall_fillers)
  ]
  found = train(
    study,
    [name for name in _names(settings) if "LSTM, " not in name],
    tasks,
    inputs=_RECALLED + 1,
    outputs=_RECALLED + 1,
    steps=settings.recall_steps,
    recipe=Recipe(settings.rate),
  )
  optimum, sizes = tasks[0].optimum, [task.fillers for task in tasks]
  beyond = {
    name: [
      last(one) * task.length - optimum
      for one, task in zip(ones, tasks, strict=True)
    ]
    for name, ones in found.items()
  }
  beyond["best 2-gram"] = [
    exact.recall_nats(_RECALLED, size, order=2) - optimum for size in sizes
  ]
  page["recalled"] = {"kinds": _RECALLED, "optimum": f"{optimum:.3f}"}
  page["minibatches"] = _LAST
  _compare(
    study,
    "recall",
    "Recall over L fillers, learned",
    sizes,
    beyond,
    x="L",
    y="nats a word beyond the exact network",
    references={"c forgotten": optimum},
    limit=optimum / 2,
  )
  return _rows(
    study,
    found,
    {f"recall over {task.fillers} fillers": task for task in tasks},
    lambda task, nats, count: (nats * task.length, count // task.length),
    split="fresh words",
    metric="nats_per_sequence",
  )


def _copy_tasks(
  study: run.Study, lags: Sequence[int], runs: int = 1
) -> list[memory_tasks.CopyTask]:
  first, batch = study.config.seed, study.config.settings.batch
  return [
    memory_tasks.CopyTask(lag=lag, batch=batch, symbols=2, kinds=8, seed=seed)
    for lag in sorted(lags)
    for seed in range(first, first + runs)
  ]


def copying(study: run.Study) -> list[results.Row]:
  """Copying at growing lag, and how training changes a gradient's reach."""
  page, settings = study.page, study.config.settings
  tasks = _copy_tasks(study, settings.lags)
  longest, chance = tasks[-1], tasks[-1].chance
  found = train(
    study,
    (*settings.cells, *settings.changed),
    tasks,
    inputs=longest.vocabulary_size,
    outputs=longest.vocabulary_size,
    steps=settings.memory_steps,
    recipe=Recipe(settings.rate),
  )
  page["copied"] = {
    "symbols": longest.symbols,
    "kinds": longest.kinds,
    "chance": f"{chance:.3f}",
    "longest": longest.lag,
  }
  _compare(
    study,
    "copying",
    f"Copying {longest.symbols} symbols",
    [task.lag for task in tasks],
    {name: [last(one) for one in ones] for name, ones in found.items()},
    x="lag",
    y="nats a symbol",
    references={"chance": chance},
    limit=chance / 2,
  )
  body = []
  path = page.figure("learned_reach")
  with style.axes(path, "The reach that training gives") as pair:
    for name, colour in zip(settings.cells, style.COLOURS, strict=False):
      one = found[name][-1]
      before, after = (reach(name, longest, x) for x in (one.start, one.params))
      pair.plot(before, "--", color=colour, lw=1.6)
      pair.plot(after, "-", color=colour, lw=1.6, label=name)
      ratios = [f"{x[longest.lag]:.0e}" for x in (before, after)]
      body.append([name, *ratios, f"{last(one):.2f}"])
    pair.set_yscale("log")
    pair.set_xlabel("steps back, k")
    pair.set_ylabel(r"$|g_k| \; / \; |g_0|$")
    pair.legend(frameon=False, fontsize=9)
  ratio = f"|g_{longest.lag}| / |g_0|"
  head = ("network", f"{ratio} before", f"{ratio} after", "nats a symbol")
  page.table("learned_reach", head, body)
  return _rows(
    study,
    found,
    {f"copying over {task.lag} steps": task for task in tasks},
    lambda _, nats, count: (math.exp(nats), count),
    split="fresh sequences",
    metric="perplexity",
  )


def squared(
  model: networks.SequenceModel, params: Any, carry: Any, segment: Any, key: Any
) -> tuple[jax.Array, regularizers.Outcome]:
  """Half the squared error of every sequence [B], of a model of one number."""

  def apply(params: Any, carry: Any, inputs: Any) -> Any:
    carry, outputs = model.apply(params, carry, inputs, segment.reset)
    return carry, outputs[..., 0]

  numbers = types.SimpleNamespace(apply=apply)
  return training.of_values(numbers, params, carry, segment, key)


def adding(study: run.Study) -> list[results.Row]:
  """The adding task at growing length."""
  settings = study.config.settings
  tasks = [
    memory_tasks.AddingTask(
      length=length, batch=settings.batch, seed=study.config.seed
    )
    for length in sorted(settings.adding_lengths)
  ]
  found = train(
    study,
    _names(settings),
    tasks,
    inputs=2,
    outputs=1,
    steps=settings.memory_steps,
    recipe=Recipe(settings.rate, losses=squared),
  )
  chance, half = memory_tasks.AddingTask.chance, memory_tasks.AddingTask.half
  _compare(
    study,
    "adding",
    "Adding",
    [task.length for task in tasks],
    {name: [2 * last(one) for one in ones] for name, ones in found.items()},
    x="length",
    y="mean squared error",
    references={"always 1": chance, "one number known": half},
    limit=half / 2,
    log_y=True,
  )
  return _rows(
    study,
    found,
    {f"adding over {task.length} steps": task for task in tasks},
    lambda _, nats, count: (2 * nats, count),
    split="fresh sequences",
    metric="sse",
    unit="mean squared error",
  )


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
  """The remedies by name; the rate is Adam's, where it is not the remedy."""
  return {
    "no remedy": Recipe(rate, clip_norm=0.0),
    "clipping": Recipe(rate),
    "smaller steps": Recipe(rate / 10, clip_norm=0.0),
    "penalty": Recipe(rate, clip_norm=0.0, losses=penalised(_PENALTY)),
    "descent": Recipe(_DESCENT, rule="sgd", clip_norm=0.0),
    "descent, clipping": Recipe(_DESCENT, rule="sgd"),
  }


def penalised(weight: float) -> training.Loss:
  """Nats of symbols, and `weight` |W_h|^2 added to their mean."""

  def losses(
    model: networks.SequenceModel,
    params: Any,
    carry: Any,
    segment: Any,
    key: Any = None,
  ) -> tuple[jax.Array, regularizers.Outcome]:
    nats, outcome = model.score(params, carry, segment, key)
    extra = weight * jnp.sum(params[0].recurrent_kernel ** 2)
    # The mean is over positions; the nats that are reported stay plain.
    return nats + extra * outcome[1].count / nats.shape[0], outcome

  return losses


def remedies(study: run.Study) -> None:
  """Every remedy on networks that begin with too short or too long a reach."""
  page, settings = study.page, study.config.settings
  known, lag = recipes(settings.rate), settings.remedy_lag
  tasks = _copy_tasks(study, [lag], settings.remedy_runs)
  found = {
    name: train(
      study,
      list(_STARTS),
      tasks,
      inputs=tasks[0].vocabulary_size,
      outputs=tasks[0].vocabulary_size,
      steps=settings.memory_steps,
      recipe=known[name],
    )
    for name in settings.remedies
  }
  limit, body, passed = tasks[0].chance / 2, [], []
  for start, called in _STARTS.items():
    first = found[settings.remedies[0]][start]
    ratios = [
      reach(start, task, one.start)[lag]
      for task, one in zip(tasks, first, strict=True)
    ]
    medians = {
      name: float(np.median([last(one) for one in ones[start]]))
      for name, ones in found.items()
    }
    mean = float(np.exp(np.mean(np.log(ratios))))
    body.append([called, mean, *medians.values()])
    good = [name for name, value in medians.items() if value < limit]
    ways = f"with {', '.join(good)}" if good else "with none of them"
    passed.append(f"from the {called} start {ways}")
  head = ("start", f"|g_{lag}| / |g_0| before training", *found)
  page.table("remedies", head, body)
  page["remedy"] = {
    "penalty": f"{_PENALTY:g}",
    "descent": f"{_DESCENT:g}",
    "limit": f"{limit:.3f}",
    "passed": "; ".join(passed),
  }
