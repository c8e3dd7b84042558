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

  A layer takes such an object as well as a name of `CELLS`: a cell of one's own
  needs `init_params`, `initial_carry` and `step` alone, and no keyword argument
  that its user does not set.

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
    zoneout: whether `sequence` takes `zoneout`.
  """

  init_params: Callable[..., Any]
  initial_carry: Callable[..., Any]
  step: Callable[..., Any]
  sequence: Callable[..., Any] = None  # type: ignore[assignment]
  gates: tuple[str, ...] = ()
  options: Mapping[str, "Option"] = dataclasses.field(default_factory=dict)
  zoneout: bool = False

  def __post_init__(self) -> None:
    """Fills in the plain scan."""
    if self.sequence is None:
      object.__setattr__(self, "sequence", scan.sequence_of(self.step))


class Option(NamedTuple):
  """A choice that `get` binds to a cell.

  Attributes:
    arguments: value -> keyword arguments.
    fields: the functions of the cell that take them.
  """

  arguments: Callable[[Any], dict[str, Any]]
  fields: tuple[str, ...]


def _of_weights(arguments: Callable[[Any], dict[str, Any]]) -> Option:
  return Option(arguments, ("init_params",))


def _of_steps(arguments: Callable[[Any], dict[str, Any]]) -> Option:
  return Option(arguments, ("step", "sequence"))


_OPTIONS: dict[str, Option] = {
  "recurrent_init": _of_weights(
    lambda value: {"recurrent_kernel_init": ops.recurrent(value)}
  ),
}


_LSTM_OPTIONS: dict[str, Option] = {
  **_OPTIONS,
  "peepholes": _of_weights(lambda value: {"peepholes": bool(value)}),
  "forget_bias": _of_weights(
    lambda value: {"bias_init": ops.forget_bias(float(value))}
  ),
  "cell_clip": _of_steps(lambda value: {"cell_clip": float(value) or None}),
}

_LSTM_GATES = ("i", "f", "g", "o")


def _cell(
  module: Any,
  gates: tuple[str, ...],
  options: Mapping[str, Option] = _OPTIONS,
  *,
  zoneout: bool = False,
  **bound: Any,
) -> Cell:
  """The functions of a module, the last two with arguments bound."""
  step, sequence = module.step, module.sequence
  if bound:
    step = functools.partial(step, **bound)
    sequence = functools.partial(sequence, **bound)
  return Cell(
    module.init_params,
    module.initial_carry,
    step,
    sequence,
    gates,
    options,
    zoneout,
  )


CELLS: dict[str, Cell] = {
  "lstm": _cell(lstm, _LSTM_GATES, _LSTM_OPTIONS, zoneout=True),
  "layer_norm_lstm": _cell(
    layer_norm_lstm, _LSTM_GATES, _LSTM_OPTIONS, zoneout=True
  ),
  "mogrifier_lstm": _cell(
    mogrifier_lstm,
    _LSTM_GATES,
    {
      **_LSTM_OPTIONS,
      "rounds": _of_weights(lambda value: {"rounds": int(value)}),
      "rank": _of_weights(lambda value: {"rank": int(value)}),
    },
  ),
  "gru": _cell(gru, ("r", "z", "n")),
  "elman": _cell(elman, ("h",), activation="tanh"),
  "elman_relu": _cell(elman, ("h",), activation="relu"),
}


@functools.cache
def get(name: str | Cell, **options: Any) -> Cell:
  """The cell of that name, with options bound to its functions.

  Args:
    name: a key of `CELLS`, or a cell, which needs no options.
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
  if isinstance(name, Cell):
    cell, name = name, "given"
  elif name in CELLS:
    cell = CELLS[name]
  else:
    raise errors.UserError(f"no cell {name!r}{errors.closest(name, CELLS)}")
  bound: dict[str, dict[str, Any]] = {}
  for option, value in options.items():
    if option not in cell.options:
      hint = errors.closest(option, cell.options)
      raise errors.UserError(f"the {name} cell has no option {option!r}{hint}")
    chosen = cell.options[option]
    for field in chosen.fields:
      bound.setdefault(field, {}).update(chosen.arguments(value))
  if not bound:
    return cell
  functions: dict[str, Any] = {
    field: functools.partial(getattr(cell, field), **arguments)
    for field, arguments in bound.items()
  }
  return dataclasses.replace(cell, **functions)
