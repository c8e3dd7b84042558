"""One contract for all recurrent cells, and the table of them.

A cell is four pure functions, with params and carry as NamedTuples of arrays
(of the table's cells, the carry's field `h` is the output):

    init_params(key, in_features, features, *, kernel_init, ...) -> params
    initial_carry(batch_shape, features, dtype)                  -> carry
    step(params, carry, x, *, gradient_clip, dtype)              -> carry, h
    sequence(params, carry, xs, *, reset, lengths, reverse, reset_carry,
             gradient_clip, dtype)                               -> carry, hs

`sequence` equals `scan.unroll(step, ...)` in values and gradients. Time comes
first ([T, B, ...]) and inputs are whatever `ops.project` reads. Some
LSTMs' `sequence` also takes `zoneout` (see `cells.zoneout`).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from seqmodels import errors
from seqmodels.cells import (
  elman,
  gru,
  layer_norm_lstm,
  lstm,
  mogrifier_lstm,
  ops,
  scan,
)


@dataclasses.dataclass(frozen=True, eq=False)
class Cell:
  """A recurrent cell as pure functions.

  A layer takes such an object. A cell of one's own needs `init_params`,
  `initial_carry` and `step` alone, and no keyword argument that its user does
  not set.

  Attributes:
    init_params: fresh weights. The cells of the table take `kernel_init`,
      `recurrent_kernel_init`, `bias_init` and `param_dtype`.
    initial_carry: zeros for a batch.
    step: one time step.
    sequence: a whole sequence, fused; by default the plain scan over `step`.
      `scan.checkpointed(sequence, chunk)` is the form for long ones.
    gates: names of the blocks of `kernel`, `recurrent_kernel` and `bias`, in
      their order; the kernels are [D, len(gates) * H] and [H, len(gates) * H].
    options: what `get` may bind, by name.
    bound: what it has bound to `step` and `sequence`.
    zoneout: whether `sequence` takes `zoneout`.
    name: for messages.
  """

  init_params: Callable[..., Any]
  initial_carry: Callable[..., Any]
  step: Callable[..., Any]
  sequence: Callable[..., Any] = None  # type: ignore[assignment]
  gates: tuple[str, ...] = ()
  options: Mapping[str, "Option"] = dataclasses.field(default_factory=dict)
  bound: Mapping[str, Any] = dataclasses.field(default_factory=dict)
  zoneout: bool = False
  name: str = "given"

  def __post_init__(self) -> None:
    """Fills in the plain scan."""
    if self.sequence is None:
      object.__setattr__(self, "sequence", scan.sequence_of(self.step))


class Option(NamedTuple):
  """A choice that `get` binds to a cell.

  Attributes:
    arguments: value -> keyword arguments.
    of_weights: they are those of `init_params`, else of `step` and `sequence`.
  """

  arguments: Callable[[Any], dict[str, Any]]
  of_weights: bool = True


_OPTIONS: dict[str, Option] = {
  "recurrent_init": Option(
    lambda value: {"recurrent_kernel_init": ops.recurrent(value)}
  ),
}

_LSTM_OPTIONS: dict[str, Option] = {
  **_OPTIONS,
  "peepholes": Option(lambda value: {"peepholes": bool(value)}),
  "forget_bias": Option(
    lambda value: {"bias_init": ops.forget_bias(float(value))}
  ),
  "cell_clip": Option(
    lambda value: {"cell_clip": float(value) or None}, of_weights=False
  ),
}

_MOGRIFIER_OPTIONS: dict[str, Option] = {
  **_LSTM_OPTIONS,
  "rounds": Option(lambda value: {"rounds": int(value)}),
  "rank": Option(lambda value: {"rank": int(value)}),
}


def _cell(
  name: str,
  module: Any,
  gates: tuple[str, ...],
  options: Mapping[str, Option] = _OPTIONS,
  **others: Any,
) -> Cell:
  return Cell(
    module.init_params,
    module.initial_carry,
    module.step,
    module.sequence,
    gates,
    options,
    name=name,
    **others,
  )


def bind(cell: Cell, weights: dict[str, Any], steps: dict[str, Any]) -> Cell:
  """The cell with keyword arguments of its functions set.

  Args:
    cell: the cell.
    weights: arguments of `init_params`.
    steps: arguments of `step` and `sequence`.
  """
  if weights:
    init_params = functools.partial(cell.init_params, **weights)
    cell = dataclasses.replace(cell, init_params=init_params)
  if steps:
    cell = dataclasses.replace(
      cell,
      step=functools.partial(cell.step, **steps),
      sequence=functools.partial(cell.sequence, **steps),
      bound={**cell.bound, **steps},
    )
  return cell


_GATES = ("i", "f", "g", "o")

CELLS: dict[str, Cell] = {
  cell.name: cell
  for cell in (
    _cell("lstm", lstm, _GATES, _LSTM_OPTIONS, zoneout=True),
    _cell(
      "layer_norm_lstm", layer_norm_lstm, _GATES, _LSTM_OPTIONS, zoneout=True
    ),
    _cell("mogrifier_lstm", mogrifier_lstm, _GATES, _MOGRIFIER_OPTIONS),
    _cell("gru", gru, ("r", "z", "n")),
    bind(_cell("elman", elman, ("h",)), {}, {"activation": "tanh"}),
    bind(_cell("elman_relu", elman, ("h",)), {}, {"activation": "relu"}),
  )
}


@functools.cache
def get(name: str, **options: Any) -> Cell:
  """The cell of that name, with options bound to its functions.

  Args:
    name: a key of `CELLS`.
    **options: all have `recurrent_init` (a key of `ops.RECURRENT`,
      "uniform" by default), the LSTMs `peepholes` (bool, by default true for
      "lstm" and false for the others), `forget_bias` (float, 1 by default) and
      `cell_clip` (float, a bound on |c|, 0 for none), the Mogrifier `rounds`
      and `rank`.

  Returns:
    A `Cell`; the same object for the same arguments.

  Raises:
    UserError: no such cell, or an option that the cell does not have.

  >>> cell = get("lstm", peepholes=False, forget_bias=2.0)
  >>> import jax
  >>> cell.init_params(jax.random.key(0), 3, 1).bias
  Array([0., 2., 0., 0.], dtype=float32)
  """
  if name not in CELLS:
    raise errors.UserError(f"no cell {name!r}{errors.closest(name, CELLS)}")
  cell = CELLS[name]
  weights: dict[str, Any] = {}
  steps: dict[str, Any] = {}
  for option, value in options.items():
    if option not in cell.options:
      hint = errors.closest(option, cell.options)
      raise errors.UserError(f"the {name} cell has no option {option!r}{hint}")
    arguments, of_weights = cell.options[option]
    (weights if of_weights else steps).update(arguments(value))
  return bind(cell, weights, steps)
