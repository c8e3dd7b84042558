"""What is done about gradients that fade or explode, each on both ills."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import small_network
from experiments.studies.exercises import memory_training, remembering_figures
from experiments.studies.exercises.memory_training import (
  Member,
  Recipe,
  Trained,
)
from seqmodels.data import memory_tasks
from seqmodels.training import loss

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
    network: small_network.Network,
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
    name: memory_training.train(
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
  kind, ratios = memory_training.ENTRANTS[start].kind, []
  for task in tasks:
    xs = jnp.asarray(task.segment(0).inputs)
    params = found[Member(start, task)].start
    norms = remembering_figures.norms(kind, params, xs)
    ratios.append(norms[task.lag] / norms[0])
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
