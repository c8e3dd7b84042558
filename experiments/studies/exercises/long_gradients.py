"""What becomes of the gradient of a long sequence."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import figures, small_network
from seqmodels.cells import elman, scan
from seqmodels.plotting import style

_INPUTS, _ROWS = 8, 8
_WINDOW, _WINDOWS = 8, 3  # of the reach across the edges of windows


def by_length(study: run.Study) -> None:
  """The norm of a weight's gradient by the length of the sequence."""
  page, settings = study.lesson, study.config.settings
  steps, features = settings.gradient_length, settings.features
  random = study.random
  normal = random.normal(size=(features, features))
  rotation = np.linalg.qr(normal)[0]
  scale = features**-0.5
  networks: dict[str, tuple[np.ndarray, Any]] = {
    "tanh, N(0, 0.01^2)": (0.01 * normal, "tanh"),
    "tanh, a rotation Q": (rotation, "tanh"),
    "tanh, 2 Q": (2 * rotation, "tanh"),
    "ReLU, N(0, 2/h)": (2**0.5 * scale * normal, "relu"),
    "ReLU, N(0, 4/h)": (2 * scale * normal, "relu"),
  }
  kernel = random.normal(size=(_INPUTS, features)) / (4 * _INPUTS**0.5)
  xs = random.normal(size=(_ROWS, steps, 1, _INPUTS))
  vector = random.normal(size=features) * scale
  norms = {}
  for name, (recurrent, activation) in networks.items():
    with jax.enable_x64(True):
      norms[name] = np.asarray(
        _norms(activation, *map(jnp.asarray, (recurrent, kernel, xs, vector)))
      )
    study.signals.check()
  half = steps // 2
  page.section(
    "What happens to the gradient of a long sequence?",
    f"""
    Let the loss read the state at the last step T of a sequence, and take its
    gradient for the recurrent weights. It is a sum of T terms, the k-th with a
    product of k Jacobians in it. Where these products shrink, the sum stops
    growing after a few terms: the sequence may be as long as it likes, its
    early part has no say. Where they grow, the terms from furthest back
    outweigh all others, and the gradient explodes with T. The network has
    {features} units and reads noise; norms are geometric means over {_ROWS}
    sequences. A rectifier lets about half of a state through, so 2/h is the
    variance at which it neither shrinks nor grows.
    """,
  )
  page.table(
    (
      "|dL/dW_h| for",
      "T = 2",
      f"T = {half}",
      f"T = {steps}",
      "growth a step, the last half",
    ),
    [
      [
        name,
        # At T = 1 the state before is 0, and so is the gradient.
        float(found[1]),
        float(found[half]),
        float(found[steps - 1]),
        float((found[-1] / found[half]) ** (1 / (steps - 1 - half))),
      ]
      for name, found in norms.items()
    ],
  )
  page.say(
    """
    Clipping the norm, g <- min(1, theta / |g|) g, is the usual answer to the
    second case. It keeps the step small; it cannot bring back the first case's
    lost terms, and in the second it keeps a direction that is dictated by the
    few longest paths.
    """
  )
  figures.curves(
    page.figure(
      "gradient_by_length",
      "Norm of the gradient for the recurrent weights, when the loss reads the "
      "last state only, by the length of the sequence.",
    ),
    "The gradient of a long sequence",
    {
      name: (np.arange(2, steps + 1), found[1:])
      for name, found in norms.items()
    },
    x="length $T$",
    y=r"$|dL/dW_h|$",
    log_y=True,
  )


def at_a_window(study: run.Study) -> None:
  """No output depends on what lies before its window."""
  page = study.lesson
  steps = _WINDOW * _WINDOWS
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = small_network.Network(
    "gru", study.config.settings.features, symbols, symbols
  )
  params = jax.jit(network.init)(jax.random.key(study.config.seed))
  ids = np.asarray(tokens.splits["train"][:steps], np.int32)
  hot = np.eye(symbols, dtype=np.float32)[ids][:, None]
  predictor = network.predictor()
  fresh = (np.arange(steps) % _WINDOW == 0)[:, None]

  def outputs(hot: jax.Array, reset: jax.Array) -> jax.Array:
    carry = predictor.initial_carry(1)
    logits = predictor.apply(params, carry, hot, reset)[1]
    # One number an output: a fixed mixture of its logits.
    return logits[:, 0] @ jnp.linspace(-1.0, 1.0, symbols)

  slopes = jax.jit(jax.jacrev(outputs))  # [T, T, 1, V]

  def reach(reset: np.ndarray) -> np.ndarray:
    found = np.asarray(slopes(hot, reset))
    return np.linalg.norm(found[:, :, 0], axis=-1)

  cut, whole = reach(fresh), reach(np.zeros_like(fresh))
  place = np.arange(steps)
  outside = place[:, None] // _WINDOW != place[None] // _WINDOW
  page.section(
    "Does it condition on the first symbol of the book?",
    f"""
    In principle an RNN's prediction depends on everything before it. In
    training it does so only back to the beginning of its window, where the
    state is cleared. {_WINDOWS} windows of {_WINDOW} characters are read by an
    untrained GRU, once with the state cleared at their edges and once with the
    state carried across. The norm of d O_t / d x_s outside the window of t is
    exactly {cut[outside].max():g} in the first case; in the second its largest
    value for s < t is
    {whole[outside & (place[:, None] > place[None])].max():.2g}. In both it is
    {whole[place[:, None] < place[None]].max():g} for s > t.
    """,
  )
  path = page.figure(
    "window",
    "How strongly output t depends on input s, the logarithm of the norm of "
    "the derivative. White is exactly zero.",
  )
  with style.figure(path, height=3.6) as drawing:
    pairs = drawing.subplots(1, 2, sharey=True)
    with np.errstate(divide="ignore"):
      images = [np.log10(cut), np.log10(whole)]
    finite = np.concatenate([image[np.isfinite(image)] for image in images])
    for pair, image, title in zip(
      pairs,
      images,
      ("state cleared at each window", "state carried across"),
      strict=True,
    ):
      shown = pair.imshow(
        np.ma.masked_invalid(image),
        cmap="viridis",
        vmin=float(finite.min()),
        vmax=float(finite.max()),
      )
      pair.set_title(title, fontsize=10)
      pair.set_xlabel("input s")
    pairs[0].set_ylabel("output t")
    drawing.colorbar(shown, ax=list(pairs), label="log10 |dO_t / dx_s|")


@functools.partial(jax.jit, static_argnums=0)
def _norms(
  activation: Any,
  recurrent: jax.Array,
  kernel: jax.Array,
  xs: jax.Array,
  vector: jax.Array,
) -> jax.Array:
  """|d(v . h_T)/dW_h| for T = 1, 2, ..., geometric mean over rows: [T]."""
  features = len(recurrent)
  carry = elman.initial_carry((1,), features, recurrent.dtype)

  def step(params: Any, carry: Any, x: Any) -> Any:
    return elman.step(params, carry, x, activation=activation)

  def read(recurrent: jax.Array, row: jax.Array) -> jax.Array:
    params = elman.ElmanParams(kernel, recurrent, jnp.zeros(features))
    return scan.unroll(step, params, carry, row)[1][:, 0] @ vector

  slopes = jax.vmap(jax.jacrev(read), in_axes=(None, 0))(recurrent, xs)
  # [B, T, H, H]
  norms = jnp.linalg.norm(slopes.reshape(*xs.shape[:2], -1), axis=2)
  return jnp.exp(jnp.mean(jnp.log(norms), axis=0))
