"""One contract for all recurrent cells, and the table of them.

A cell is four pure functions, with params and carry as NamedTuples of arrays
(the carry's field `h` is the output):

    init_params(key, in_features, features, *, kernel_init, ...) -> params
    initial_carry(batch_shape, features, dtype)                  -> carry
    step(params, carry, x, *, gradient_clip, dtype)              -> carry, h
    sequence(params, carry, xs, *, reset, lengths, reverse, reset_carry,
             gradient_clip, dtype)                               -> carry, hs

`sequence` equals `scan.unroll(step, ...)` in values and gradients. Time comes
first ([T, B, ...]) and inputs are whatever `ops.project` reads. Some
LSTMs' `sequence` also takes `zoneout` (see `cells.zoneout`).
"""

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
)


class Cell(NamedTuple):
  """A recurrent cell as pure functions.

  Attributes:
    init_params: fresh weights. Every cell takes `kernel_init`,
      `recurrent_kernel_init`, `bias_init` and `param_dtype`.
    initial_carry: zeros for a batch.
    step: one time step.
    sequence: a whole sequence, fused; `scan.checkpointed(sequence, chunk)`
      is the form for long ones.
    gates: names of the blocks of `kernel`, `recurrent_kernel` and `bias`, in
      their order; the kernels are [D, len(gates) * H] and [H, len(gates) * H].
    options: what `get` may bind, by name.
    zoneout: whether `sequence` takes `zoneout`.
  """

  init_params: Callable[..., Any]
  initial_carry: Callable[..., Any]
  step: Callable[..., Any]
  sequence: Callable[..., Any]
  gates: tuple[str, ...]
  options: Mapping[str, "Option"]
  zoneout: bool = False


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


def _elman(activation: elman.Activation) -> Cell:
  return Cell(
    init_params=elman.init_params,
    initial_carry=elman.initial_carry,
    step=functools.partial(elman.step, activation=activation),
    sequence=functools.partial(elman.sequence, activation=activation),
    gates=("h",),
    options=_OPTIONS,
  )


_LSTM_OPTIONS: dict[str, Option] = {
  **_OPTIONS,
  "peepholes": _of_weights(lambda value: {"peepholes": bool(value)}),
  "forget_bias": _of_weights(
    lambda value: {"bias_init": ops.forget_bias(float(value))}
  ),
  "cell_clip": _of_steps(lambda value: {"cell_clip": float(value) or None}),
}

CELLS: dict[str, Cell] = {
  "lstm": Cell(
    init_params=lstm.init_params,
    initial_carry=lstm.initial_carry,
    step=lstm.step,
    sequence=lstm.sequence,
    gates=("i", "f", "g", "o"),
    options=_LSTM_OPTIONS,
    zoneout=True,
  ),
  "layer_norm_lstm": Cell(
    init_params=layer_norm_lstm.init_params,
    initial_carry=layer_norm_lstm.initial_carry,
    step=layer_norm_lstm.step,
    sequence=layer_norm_lstm.sequence,
    gates=("i", "f", "g", "o"),
    options=_LSTM_OPTIONS,
    zoneout=True,
  ),
  "mogrifier_lstm": Cell(
    init_params=mogrifier_lstm.init_params,
    initial_carry=mogrifier_lstm.initial_carry,
    step=mogrifier_lstm.step,
    sequence=mogrifier_lstm.sequence,
    gates=("i", "f", "g", "o"),
    options={
      **_LSTM_OPTIONS,
      "rounds": _of_weights(lambda value: {"rounds": int(value)}),
      "rank": _of_weights(lambda value: {"rank": int(value)}),
    },
  ),
  "gru": Cell(
    init_params=gru.init_params,
    initial_carry=gru.initial_carry,
    step=gru.step,
    sequence=gru.sequence,
    gates=("r", "z", "n"),
    options=_OPTIONS,
  ),
  "elman": _elman("tanh"),
  "elman_relu": _elman("relu"),
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
  return cell._replace(**functions)
