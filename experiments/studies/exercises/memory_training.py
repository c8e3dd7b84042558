"""Training on memory tasks, all lags of a kind of network side by side."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.common import small_network
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
    network = small_network.Network(
      kind, study.config.settings.features, inputs, outputs
    )
    found |= _train(study, network, group, steps, recipe)
  return {member: found[member] for member in members}


def _train(
  study: run.Study,
  network: small_network.Network,
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

  course = small_network.train_side_by_side(
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
