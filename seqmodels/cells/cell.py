"""One contract for all recurrent cells, and the table of them.

A cell is four pure functions, with params and carry as NamedTuples of arrays
(the carry's field `h` is the output):

    init_params(key, in_features, features, *, kernel_init, ...) -> params
    initial_carry(batch_shape, features, dtype)                  -> carry
    step(params, carry, x, *, gradient_clip, dtype)              -> carry, h
    sequence(params, carry, xs, *, reset, lengths, reverse, reset_carry,
             gradient_clip, dtype)                               -> carry, hs

`sequence` equals `unroll.unroll(step, ...)` in values and gradients. Time comes
first ([T, B, ...]) and inputs are whatever `projection.project` reads. Some
LSTMs' `sequence` also takes `zoneout` (see `cells.zoneout`).
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from seqmodels import errors
from seqmodels.cells import (
  elman,
  elman_sequence,
  gru,
  gru_sequence,
  initializers,
  layer_norm_lstm,
  layer_norm_lstm_sequence,
  lstm,
  lstm_sequence,
  mogrifier_lstm,
  mogrifier_lstm_sequence,
)


class Cell(NamedTuple):
  """A recurrent cell as pure functions.

  Attributes:
    init_params: fresh weights. Every cell takes `kernel_init`,
      `recurrent_kernel_init`, `bias_init` and `param_dtype`.
    initial_carry: zeros for a batch.
    step: one time step.
    sequence: a whole sequence, fused; `segmented.checkpointed(sequence, chunk)`
      is the form for long ones.
    gates: names of the blocks of `kernel`, `recurrent_kernel` and `bias`, in
      their order; the kernels are [D, len(gates) * H] and [H, len(gates) * H].
    options: what `get` may bind: a name, and what it becomes as keyword
      arguments of `init_params`.
    zoneout: whether `sequence` takes `zoneout`.
  """

  init_params: Callable[..., Any]
  initial_carry: Callable[..., Any]
  step: Callable[..., Any]
  sequence: Callable[..., Any]
  gates: tuple[str, ...]
  options: Mapping[str, Callable[[Any], dict[str, Any]]]
  zoneout: bool = False


_OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
  "recurrent_init": lambda value: {
    "recurrent_kernel_init": initializers.recurrent(value)
  },
}


def _elman(activation: elman.Activation) -> Cell:
  return Cell(
    init_params=elman.init_params,
    initial_carry=elman.initial_carry,
    step=functools.partial(elman.step, activation=activation),
    sequence=functools.partial(
      elman_sequence.elman_sequence, activation=activation
    ),
    gates=("h",),
    options=_OPTIONS,
  )


_LSTM_OPTIONS: dict[str, Callable[[Any], dict[str, Any]]] = {
  **_OPTIONS,
  "peepholes": lambda value: {"peepholes": bool(value)},
  "forget_bias": lambda value: {
    "bias_init": initializers.forget_bias(float(value))
  },
}

CELLS: dict[str, Cell] = {
  "lstm": Cell(
    init_params=lstm.init_params,
    initial_carry=lstm.initial_carry,
    step=lstm.step,
    sequence=lstm_sequence.lstm_sequence,
    gates=("i", "f", "g", "o"),
    options=_LSTM_OPTIONS,
    zoneout=True,
  ),
  "layer_norm_lstm": Cell(
    init_params=layer_norm_lstm.init_params,
    initial_carry=layer_norm_lstm.initial_carry,
    step=layer_norm_lstm.step,
    sequence=layer_norm_lstm_sequence.layer_norm_lstm_sequence,
    gates=("i", "f", "g", "o"),
    options=_LSTM_OPTIONS,
    zoneout=True,
  ),
  "mogrifier_lstm": Cell(
    init_params=mogrifier_lstm.init_params,
    initial_carry=mogrifier_lstm.initial_carry,
    step=mogrifier_lstm.step,
    sequence=mogrifier_lstm_sequence.mogrifier_lstm_sequence,
    gates=("i", "f", "g", "o"),
    options={
      **_LSTM_OPTIONS,
      "rounds": lambda value: {"rounds": int(value)},
      "rank": lambda value: {"rank": int(value)},
    },
  ),
  "gru": Cell(
    init_params=gru.init_params,
    initial_carry=gru.initial_carry,
    step=gru.step,
    sequence=gru_sequence.gru_sequence,
    gates=("r", "z", "n"),
    options=_OPTIONS,
  ),
  "elman": _elman("tanh"),
  "elman_relu": _elman("relu"),
}


@functools.cache
def get(name: str, **options: Any) -> Cell:
  """The cell of that name, with options bound to its `init_params`.

  Args:
    name: a key of `CELLS`.
    **options: all have `recurrent_init` (a key of `initializers.RECURRENT`,
      "uniform" by default), the LSTMs `peepholes` (bool, by default true for
      "lstm" and false for the others) and `forget_bias` (float, 1 by default),
      the Mogrifier `rounds` and `rank`.

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
  bound: dict[str, Any] = {}
  for option, value in options.items():
    if option not in cell.options:
      hint = errors.closest(option, cell.options)
      raise errors.UserError(f"the {name} cell has no option {option!r}{hint}")
    bound.update(cell.options[option](value))
  if not bound:
    return cell
  return cell._replace(init_params=functools.partial(cell.init_params, **bound))
