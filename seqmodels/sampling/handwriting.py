"""Handwriting from a network (Graves, 2013, sections 4 and 5), line by line.

Each step draws a movement from the network's density and feeds it back. A
network with a window stops a line by itself, where

    phi(t, U + 1) > phi(t, u)  for all u <= U,

U being the length of its text: the window has left it. Biased sampling sharpens
each density (equations 61 and 62); priming clamps the first steps to a real
line, whose text goes before the new one.
"""

import functools
import re
import textwrap
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels import mixture_density as mixtures
from seqmodels.cells import window_lstm
from seqmodels.models import networks


def broken(text: str, width: int) -> list[str]:
  r"""Breaks a text at its spaces into lines of at most `width` characters.

  As in TeX and Markdown, a single newline is a space, and blank lines part
  paragraphs; so they do in the result, where one empty string stands for them.
  Several spaces become one; a hyphen is no place to break. A word longer than
  `width` is cut.

  Args:
    text: any text; white space around it is dropped.
    width: the most characters a line may have, about as many as the lines the
      network has seen.

  Returns:
    The lines, in order; none begins or ends with a space, and the first and
    the last are not empty.

  Raises:
    errors.UserError: nothing but white space, or a width below 1.

  >>> broken("It is a truth\nuniversally known.\n\nHe came.", 12)
  ['It is a', 'truth', 'universally', 'known.', '', 'He came.']
  """
  if width < 1:
    raise errors.UserError(
      f"the width of a line is {width} characters; it must be at least 1"
    )
  if not text.strip():
    raise errors.UserError(
      f"the text to write is {text!r}; give at least one character that is "
      "no white space"
    )
  lines: list[str] = []
  for paragraph in re.split(r"\n\s*\n", text.strip()):
    wrapped = textwrap.wrap(
      " ".join(paragraph.split()), width, break_on_hyphens=False
    )
    # Before a word that it cuts, textwrap leaves a space that fills the line.
    lines += [line.rstrip() for line in wrapped]
    lines.append("")
  return lines[:-1]


LARGEST_BIAS = 10.0
# Points drawn in one compiled scan; after each it is seen whether all lines
# have ended.
BLOCK = 100


class Written(NamedTuple):
  """A batch of lines.

  Attributes:
    points: float32 [T, B, 3], standardised; what is past a line's length means
      nothing. T is at most the steps allowed.
    lengths: int [B], points of each line, those of the prime left out.
    stopped: bool [B], whether the network stopped by itself.
    window: float32 [T, B, U + 1], phi of each step, its last column for the
      place past the longest text; None without a window.
  """

  points: np.ndarray
  lengths: np.ndarray
  stopped: np.ndarray
  window: np.ndarray | None

  def line(self, row: int) -> np.ndarray:
    """The points of one line [length, 3]; the last one lifts the pen."""
    points = self.points[: self.lengths[row], row].copy()
    if len(points):
      points[-1, 2] = 1.0
    return points


def write(
  network: networks.SequenceModel,
  params: Any,
  key: jax.Array,
  *,
  rows: int,
  steps: int,
  text: np.ndarray | None = None,
  bias: float | np.ndarray = 0.0,
  prime: np.ndarray | None = None,
  most: np.ndarray | None = None,
) -> Written:
  """Draws `rows` lines at once.

  Args:
    network: the model.
    params: its weights.
    key: consumed.
    rows: B.
    steps: the most points of a line, the prime's not counted.
    text: int [U, B], what each line says, after the prime's text if there is
      one; -1 past a row's end. Needed by a network with a window.
    bias: one for all, or [B]; at least 0.
    prime: standardised points [P, 3] of a real line that all rows continue.
    most: points of each row, at most, [B]; `steps` for all by default.

  Raises:
    UserError: a bias out of range, no steps, or no text for a window.

  >>> from seqmodels.layers.recurrent import StackOptions
  >>> options = StackOptions(features=(4,))
  >>> network = networks.Handwriting(options, components=2).as_model()
  >>> params = network.init(jax.random.key(0))
  >>> drawn = write(network, params, jax.random.key(1), rows=2, steps=5)
  >>> drawn.points.shape, drawn.lengths.tolist(), drawn.stopped.tolist()
  ((5, 2, 3), [5, 5], [False, False])
  """
  biases = np.broadcast_to(np.asarray(bias, np.float32), (rows,))
  check_bias(biases)
  if steps < 1:
    raise errors.UserError(f"a line may have {steps} points; allow at least 1")
  if text is None:
    if network.window is not None:
      raise errors.UserError("this network writes texts; give it one")
    text = np.zeros((0, rows), np.int32)
  given = np.zeros((0, 3), np.float32) if prime is None else prime
  # The null vector comes before the first point of all.
  forced = np.concatenate([np.zeros((1, 3)), given]).astype(np.float32)
  text = np.asarray(text)
  state = _begin(network, params, text, forced)
  limits = np.full(rows, steps) if most is None else np.minimum(most, steps)
  parts: list[tuple[np.ndarray, ...]] = []
  for start in range(0, steps, BLOCK):
    state, drawn = _draw(
      network, params, key, text, biases, state, np.int32(start)
    )
    parts.append(jax.device_get(drawn))
    if np.all(np.asarray(state.done) | (limits <= start + BLOCK)):
      break
  points, inside, *phi = (
    np.concatenate(part)[:steps] for part in zip(*parts, strict=True)
  )
  lengths = inside.sum(axis=0)
  return Written(
    points,
    np.minimum(lengths, limits),
    lengths < limits,
    phi[0] if phi else None,
  )


def check_bias(bias: float | np.ndarray) -> None:
  """Raises UserError for a bias that is no number in [0, 10]."""
  values = np.ravel(bias)
  bad = ~((values >= 0.0) & (values <= LARGEST_BIAS))
  if bad.any():
    raise errors.UserError(
      f"the bias is {values[bad][0]:g}; it must be from 0 (as the network "
      f"writes) to {LARGEST_BIAS:g} (hardly any variation)"
    )


class _State(NamedTuple):
  """Between two steps."""

  carry: Any
  point: jax.Array  # [B, 3], the last one, which no step has read
  done: jax.Array  # bool [B]


@functools.partial(jax.jit, static_argnames=("network",))
def _begin(
  network: networks.SequenceModel,
  params: Any,
  text: jax.Array,
  forced: jax.Array,
) -> _State:
  """After all that is given, [P + 1, 3], but its last point."""
  rows = text.shape[1]

  def follow(carry: Any, x: jax.Array) -> tuple[Any, None]:
    same = jnp.broadcast_to(x, (1, rows, 3))
    return network.apply(params, carry, same, text)[0], None

  carry, _ = jax.lax.scan(follow, network.initial_carry(rows), forced[:-1])
  last = jnp.broadcast_to(forced[-1], (rows, 3))
  return _State(carry, last, jnp.zeros(rows, bool))


@functools.partial(jax.jit, static_argnames=("network",))
def _draw(
  network: networks.SequenceModel,
  params: Any,
  key: jax.Array,
  text: jax.Array,
  bias: jax.Array,
  state: _State,
  start: jax.Array,
) -> tuple[_State, tuple[jax.Array, ...]]:
  """`BLOCK` points [BLOCK, B, 3], whether each is of its line, and phi."""
  lengths = jnp.sum(text >= 0, axis=0)
  places = window_lstm.positions(text.shape[0] + 1)

  def step(state: _State, place: jax.Array) -> tuple[_State, Any]:
    carry, outputs = network.apply(params, state.carry, state.point[None], text)
    done, seen = state.done, tuple[jax.Array, ...]()
    # The point that went in may be the last; none is drawn after it.
    if network.window is not None:
      # As logarithms: far from all letters phi is 0 in floats, and no 0
      # exceeds another.
      logs = window_lstm.log_window_weights(
        network.window(params, carry), places
      )
      done, seen = done | _left(logs, lengths), (jnp.exp(logs),)
    mixture = mixtures.mixture(outputs[0], bias=bias[:, None])
    point = mixtures.sample(jax.random.fold_in(key, place), mixture)
    return _State(carry, point, done), (point, ~done, *seen)

  return jax.lax.scan(step, state, start + jnp.arange(BLOCK))


def _left(seen: jax.Array, lengths: jax.Array) -> jax.Array:
  """True where the window is past the text, [B], by log phi [B, U + 1]."""
  places = jnp.arange(seen.shape[1])[None, :]
  past = jnp.take_along_axis(seen, lengths[:, None], axis=1)[:, 0]
  within = jnp.where(places < lengths[:, None], seen, -jnp.inf)
  return past > jnp.max(within, axis=1)
