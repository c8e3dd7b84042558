"""Training on memory tasks, all lags of a kind of network side by side."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from experiments import fundamentals
from experiments.studies import small_network
from seqmodels.training import ensemble, objective, optimizers
from seqmodels.training import state as states

DISPATCH = 25  # steps a dispatch, and a point of the curves
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
  "GRU, reset gate only": Entrant("gru", _bias(1, -_SHUT)),
  "GRU, update gate only": Entrant("gru", _bias(0, _SHUT)),
  "LSTM, forget bias 5": Entrant("lstm", _bias(1, 5.0)),
}


class Member(NamedTuple):
  """One network on one task."""

  entrant: str
  task: Any  # with `segments(start, count)` and `length`


class Trained(NamedTuple):
  """What became of a member."""

  nats: np.ndarray  # a scored position, by dispatch
  start: Any  # weights before training
  params: Any  # and after
  scored: int  # positions a dispatch
  seconds: float = 0.0

  @property
  def last(self) -> float:
    """Nats a scored position of the last two dispatches.

    Minibatches never come twice and each is scored before it is learned from.
    """
    return float(self.nats[-2:].mean())


def train(
  study: fundamentals.Study,
  members: Sequence[Member],
  *,
  inputs: int,
  outputs: int,
  steps: int,
  rate: float,
  losses: Callable[..., Any] | None = None,
) -> dict[Member, Trained]:
  """Trains all of them, those of one kind of cell as one compiled program.

  Args:
    study: its seed and settings.
    members: of any kinds; shorter sequences are filled up behind their end.
    inputs: of the networks, and so the next.
    outputs: of the networks.
    steps: how many.
    rate: of Adam; the norm of the gradient is clipped at 1.
    losses: what is minimised; symbols' nats by default.
  """
  found: dict[Member, Trained] = {}
  entrants = PLAIN | CHANGED
  for kind in dict.fromkeys(entrants[m.entrant].kind for m in members):
    group = [m for m in members if entrants[m.entrant].kind == kind]
    network = small_network.Network(
      kind, study.config.settings.features, inputs, outputs
    )
    found |= _train(study, network, group, steps, rate, losses)
  return {member: found[member] for member in members}


def _train(
  study: fundamentals.Study,
  network: small_network.Network,
  members: Sequence[Member],
  steps: int,
  rate: float,
  losses: Callable[..., Any] | None,
) -> dict[Member, Trained]:
  settings = study.config.settings
  optimizer = optimizers.build("adam", learning_rate=rate, clip_norm=1.0)
  model = network if losses else network.predictor()
  one = states.create(
    model, optimizer, batch=settings.batch, seed=study.config.seed
  )
  begun = [_changed(study, one.params, member) for member in members]
  state = small_network.side_by_side(one, begun)
  run = ensemble.make_train_steps(
    model, optimizer, losses=losses or objective.of_symbols
  )
  length = max(member.task.length for member in members)
  nats, scored = [], []
  for start in range(0, steps, DISPATCH):
    study.signals.check()
    drawn = [
      jax.tree.map(
        lambda leaf: _filled(leaf, length), m.task.segments(start, DISPATCH)
      )
      for m in members
    ]
    state, metrics = run(state, jax.tree.map(lambda *x: np.stack(x), *drawn))
    scored.append(np.sum(metrics.scored, axis=1))
    nats.append(np.sum(metrics.nats, axis=1) / scored[-1])
  curves = np.array(nats).T
  params = small_network.apart(state.params, len(members))
  return {
    member: Trained(
      curves[place], begun[place], params[place], int(2 * scored[-1][place])
    )
    for place, member in enumerate(members)
  }


def _changed(study: fundamentals.Study, params: Any, member: Member) -> Any:
  entrant = (PLAIN | CHANGED)[member.entrant]
  cell, *readout = jax.device_get(params)
  return (entrant.change(cell, study.random), *readout)


def _filled(leaf: np.ndarray, length: int) -> np.ndarray:
  """[K, T, B, ...] with zeros, which no mask scores, behind its end."""
  extra = [(0, 0)] * leaf.ndim
  extra[1] = (0, length - leaf.shape[1])
  return np.pad(leaf, extra)


def curves_of(
  trained: Mapping[Member, Trained],
) -> dict[Member, tuple[np.ndarray, np.ndarray]]:
  """(steps, nats) of each."""
  return {
    member: (DISPATCH * (0.5 + np.arange(len(one.nats))), one.nats)
    for member, one in trained.items()
  }
