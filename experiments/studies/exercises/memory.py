"""Networks that learn tasks of memory: recall, copying, adding; remedies."""

import math
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import run
from experiments.studies.common import (
  figures,
  gradient_reach,
  memory_tasks,
  training,
)
from experiments.studies.exercises import exact
from seqmodels import losses
from seqmodels.io import results
from seqmodels.plotting import style
from seqmodels.training import optimizers

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
  """A way to train networks."""

  rate: float  # of the rule
  rule: str = "adam"  # its name, "adam" or "sgd"
  clip_norm: float = 1.0  # bound on the norm of the gradient; 0 clips nothing
  penalty: float = 0.0  # times the sum of squares of the recurrent weights

  def optimizer(self) -> optax.GradientTransformation:
    """The rule, with the derivative of the penalty added to the gradient."""
    rule = optimizers.build(
      self.rule,
      learning_rate=self.rate,
      momentum=0.0 if self.rule == "sgd" else 0.9,
      clip_norm=self.clip_norm,
    )
    if not self.penalty:
      return rule

    def recurrent(params: Any) -> Any:
      cell, *readout = jax.tree.map(lambda leaf: False, params)
      return (cell._replace(recurrent_kernel=True), *readout)

    pull = optax.add_decayed_weights(2 * self.penalty, recurrent)
    return optax.chain(pull, rule)


def train(
  study: run.Study,
  names: Sequence[str],
  tasks: Sequence[Any],
  *,
  inputs: int,
  outputs: int,
  steps: int,
  recipe: Recipe,
  loss: Any = losses.of_symbols,
) -> dict[str, list[training.Trained]]:
  """Every network on every task, those of one cell as one compiled program.

  A task's seed is that of the weights, too; shorter sequences are filled up
  behind their end.
  """
  optimizer, settings = recipe.optimizer(), study.config.settings
  length = max(task.length for task in tasks)

  def filled(leaf: np.ndarray) -> np.ndarray:
    """[K, T, B, ...] with zeros, which no mask scores, behind its end."""
    extra = [(0, 0)] * leaf.ndim
    extra[1] = (0, length - leaf.shape[1])
    return np.pad(leaf, extra)

  result: dict[str, list[training.Trained]] = {}
  for kind in dict.fromkeys(map(cell_of, names)):
    network = training.Network(kind, settings.features, inputs, outputs)
    model = network.predictor()._replace(loss=loss)
    fresh = {task.seed: training.fresh(model, task.seed) for task in tasks}
    begun: dict[str, list[Any]] = {}
    for name in (name for name in names if cell_of(name) == kind):
      begun[name] = []
      for task in tasks:
        cell, *readout = jax.device_get(fresh[task.seed])
        random = np.random.default_rng(task.seed)
        begun[name].append((CHANGES[name](cell, random), *readout))

    def segments(start: int, count: int, copies: int = len(begun)) -> list[Any]:
      read = [task.segments(start, count) for task in tasks]
      return [jax.tree.map(filled, one) for one in read] * copies

    result |= training.train_side_by_side(
      model,
      optimizer,
      begun,
      segments,
      steps=steps,
      batch=settings.batch,
      check=study.signals.check,
    )
  return result


_LAST = 2 * training.DISPATCH  # steps that are scored


def last(trained: training.Trained) -> float:
  """Nats a scored position of the last steps.

  Minibatches never come twice and each is scored before it is learned from.
  """
  return float(trained.nats[-_LAST:].mean())


def reach(name: str, task: Any, params: Any) -> np.ndarray:
  """|g_k| / |g_0| of what tells the first two symbols apart, by distance k."""
  cell, kernel, _ = params
  norms = gradient_reach.mean_norms(
    training.cell_of(cell_of(name)),
    cell,
    jnp.asarray(task.segment(0).inputs),
    kernel[:, 0] - kernel[:, 1],
  )
  return norms / norms[0]


def _compare(
  study: run.Study,
  name: str,
  title: str,
  tasks: Mapping[int, Any],
  names: Sequence[str],
  *,
  value: Callable[[Any, float], float],
  x: str,
  y: str,
  references: Mapping[str, float],
  limit: float,
  beside: Mapping[str, Sequence[float]] = types.MappingProxyType({}),
  log_y: bool = False,
  **training_of: Any,
) -> dict[str, list[training.Trained]]:
  """Trains networks on tasks by their size: a table, and a figure of it.

  Shown is the `value` of a task and of its nats; the page lists those below a
  limit. A cell has a colour of its own and is dashed where it was changed; what
  was not trained, such as a bound, is grey.
  """
  page, every = study.page, list(tasks.values())
  trained = train(
    study,
    names,
    every,
    recipe=Recipe(study.config.settings.rate),
    **training_of,
  )
  values: dict[str, Sequence[float]] = {
    network: [value(*pair) for pair in zip(every, map(last, ones), strict=True)]
    for network, ones in trained.items()
  }
  values |= beside
  head = (y, *(f"{x} = {size}" for size in tasks))
  page.table(name, head, [[key, *result] for key, result in values.items()])
  lines, below = {}, []
  for network, look in figures.families(values).items():
    result = values[network]
    lines[network] = (list(tasks), result, look)
    done = [str(n) for n, v in zip(tasks, result, strict=True) if v < limit]
    below.append(f"{network} at {', '.join(done) or 'none'}")
  page[f"{name}_limit"] = f"{limit:.3f}"
  page[f"{name}_learned"] = "; ".join(below)
  with style.axes(page.figure(name), title) as pair:
    figures.draw(
      pair, lines, x=x, y=y, log_x=2, log_y=log_y, marks=True,
      references=references,
    )  # fmt: skip
    pair.set_xticks(list(tasks), [str(size) for size in tasks])
    style.legend_beside(pair, "")
  return trained


def _names(settings: Any) -> list[str]:
  """All but the GRUs with a gate less, which are of interest for copying."""
  names = (*settings.cells, *settings.changed)
  return [name for name in names if "only" not in name]


def _rows(
  study: run.Study,
  result: Mapping[str, Sequence[training.Trained]],
  doing: str,
  tasks: Mapping[int, Any],
  measured: Callable[[Any, float, int], tuple[float, int]],
  **shown: Any,
) -> list[results.Row]:
  """Rows of the cells as they come, named by the sizes of the tasks.

  A task, its last nats and the number of scored positions give value and count.
  """
  rows = []
  for name in study.config.settings.cells:
    for (size, task), one in zip(tasks.items(), result[name], strict=True):
      scored = int(one.scored[-_LAST:].sum())
      value, count = measured(task, last(one), scored)
      named, how = f"{name}, {doing.format(size)}", "before each step"
      rows.append(training.row(named, value, count, evaluation=how, **shown))
  return rows


_RECALLED = 4  # kinds of c


def recall(study: run.Study) -> list[results.Row]:
  """Trained networks beside the exact one."""
  page, settings = study.page, study.config.settings
  tasks = {
    size: memory_tasks.RecallTask(
      fillers=size,
      batch=settings.batch,
      kinds=_RECALLED,
      seed=study.config.seed,
    )
    for size in sorted(settings.recall_fillers)
  }
  optimum = math.log(_RECALLED)
  bound = [
    exact.recall_nats(_RECALLED, size, order=2) - optimum for size in tasks
  ]
  page["recalled"] = {"kinds": _RECALLED, "optimum": f"{optimum:.3f}"}
  page["minibatches"] = _LAST
  result = _compare(
    study,
    "recall",
    "Recall over L fillers, learned",
    tasks,
    [name for name in _names(settings) if "LSTM, " not in name],
    inputs=_RECALLED + 1,
    outputs=_RECALLED + 1,
    steps=settings.recall_steps,
    value=lambda task, nats: nats * task.length - optimum,
    x="L",
    y="nats a word beyond the exact network",
    references={"c forgotten": optimum},
    limit=optimum / 2,
    beside={"best 2-gram": bound},
  )
  return _rows(
    study,
    result,
    "recall over {} fillers",
    tasks,
    lambda task, nats, count: (nats * task.length, count // task.length),
    split="fresh words",
    metric="nats_per_sequence",
  )


def _copy_task(study: run.Study, lag: int, seed: int) -> memory_tasks.CopyTask:
  batch = study.config.settings.batch
  return memory_tasks.CopyTask(
    lag=lag, batch=batch, symbols=2, kinds=8, seed=seed
  )


def copying(study: run.Study) -> list[results.Row]:
  """Copying at growing lag, and how training changes a gradient's reach."""
  page, settings = study.page, study.config.settings
  tasks = {
    lag: _copy_task(study, lag, study.config.seed)
    for lag in sorted(settings.lags)
  }
  longest = tasks[max(tasks)]
  chance = longest.chance
  page["copied"] = {
    "symbols": longest.symbols,
    "kinds": longest.kinds,
    "chance": f"{chance:.3f}",
  }
  result = _compare(
    study,
    "copying",
    f"Copying {longest.symbols} symbols",
    tasks,
    (*settings.cells, *settings.changed),
    inputs=longest.vocabulary_size,
    outputs=longest.vocabulary_size,
    steps=settings.memory_steps,
    value=lambda _, nats: nats,
    x="lag",
    y="nats a symbol",
    references={"chance": chance},
    limit=chance / 2,
  )
  body, curves, back = [], {}, np.arange(longest.length + 1)
  for name, colour in zip(settings.cells, style.COLOURS, strict=False):
    one = result[name][-1]
    before, after = (reach(name, longest, x) for x in (one.start, one.params))
    curves[f"_{name}"] = (back, before, {"color": colour, "ls": "--"})
    curves[name] = (back, after, {"color": colour})
    ratios = [f"{x[longest.lag]:.0e}" for x in (before, after)]
    body.append([name, *ratios, f"{last(one):.2f}"])
  figures.curves(
    page.figure("learned_reach"),
    "The reach that training gives",
    curves,
    x="steps back, $k$",
    y=r"$|g_k| \; / \; |g_0|$",
    log_y=True,
  )
  page["learned_reach"] = body
  return _rows(
    study,
    result,
    "copying over {} steps",
    tasks,
    lambda _, nats, count: (math.exp(nats), count),
    split="fresh sequences",
    metric="perplexity",
  )


def squared(outputs: jax.Array, segment: Any) -> Any:
  """Half the squared error of every sequence [B], of outputs [T, B, 1]."""
  return training.squared(outputs[..., 0], segment)


def adding(study: run.Study) -> list[results.Row]:
  """The adding task at growing length."""
  settings = study.config.settings
  tasks = {
    length: memory_tasks.AddingTask(
      length=length, batch=settings.batch, seed=study.config.seed
    )
    for length in sorted(settings.adding_lengths)
  }
  chance, half = memory_tasks.AddingTask.chance, memory_tasks.AddingTask.half
  result = _compare(
    study,
    "adding",
    "Adding",
    tasks,
    _names(settings),
    inputs=2,
    outputs=1,
    steps=settings.memory_steps,
    loss=squared,
    value=lambda _, nats: 2 * nats,
    x="length",
    y="mean squared error",
    references={"always 1": chance, "one number known": half},
    limit=half / 2,
    log_y=True,
  )
  return _rows(
    study,
    result,
    "adding over {} steps",
    tasks,
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
    "penalty": Recipe(rate, clip_norm=0.0, penalty=_PENALTY),
    "descent": Recipe(_DESCENT, rule="sgd", clip_norm=0.0),
    "descent, clipping": Recipe(_DESCENT, rule="sgd"),
  }


def remedies(study: run.Study) -> None:
  """Every remedy on networks that begin with too short or too long a reach."""
  page, settings = study.page, study.config.settings
  known, lag = recipes(settings.rate), settings.remedy_lag
  seeds = range(study.config.seed, study.config.seed + settings.remedy_runs)
  tasks = [_copy_task(study, lag, seed) for seed in seeds]
  result = {
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
    first = result[settings.remedies[0]][start]
    ratios = [
      reach(start, task, one.start)[lag]
      for task, one in zip(tasks, first, strict=True)
    ]
    medians = {
      name: float(np.median([last(one) for one in ones[start]]))
      for name, ones in result.items()
    }
    mean = float(np.exp(np.mean(np.log(ratios))))
    body.append([called, mean, *medians.values()])
    good = [name for name, value in medians.items() if value < limit]
    ways = f"with {', '.join(good)}" if good else "with none of them"
    passed.append(f"from the {called} start {ways}")
  head = ("start", f"|g_{lag}| / |g_0| before training", *result)
  page.table("remedies", head, body)
  page["remedy"] = {
    "penalty": f"{_PENALTY:g}",
    "descent": f"{_DESCENT:g}",
    "limit": f"{limit:.3f}",
    "passed": "; ".join(passed),
  }
