"""How wide a beam has to be, on random models that can be searched whole."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from seqmodels.models import api as predictors
from seqmodels.plotting import style
from seqmodels.sampling import beam

_SYMBOLS, _STEPS = 4, 6
EXHAUSTIVE = _SYMBOLS ** (_STEPS - 1)


def random_models(study: run.Study) -> None:
  """How wide a beam has to be, over models that know the last two symbols."""
  page, count = study.lesson, study.config.settings.models
  widths = (*study.config.settings.widths, EXHAUSTIVE)
  page.section(
    "How wide a beam has to be",
    f"""
    A beam of V^(T-1) keeps every string but for the last symbol and so is
    exhaustive. Far fewer mostly do. {count} random models of {_SYMBOLS}
    symbols, each with probabilities that depend on the two symbols before, were
    searched for the likeliest string of {_STEPS} symbols, of which there are
    {_SYMBOLS**_STEPS:,}.
    """,
  )
  gaps = search_gaps(study.random, count, widths)
  found = (gaps == 0).mean(axis=0)
  _draw_widths(
    page.figure(
      "widths",
      "Left, the share of the models whose likeliest string a beam finds; "
      "right, the nats by which what it finds falls short, on average.",
    ),
    widths,
    found,
    gaps.mean(axis=0),
  )
  page.table(
    ["width", "found the best", "nats short, mean", "nats short, most"],
    [
      [f"{width}", f"{100 * share:.1f}%", float(gap.mean()), float(gap.max())]
      for width, share, gap in zip(widths, found, gaps.T, strict=True)
    ],
  )
  worse = int(np.sum(np.diff(gaps, axis=1).max(axis=1) > 0))
  happened = f"in {worse} of the {count} models" if worse else "in none of them"
  page.say(
    f"""
    No beam ever finds anything better than the best, and the widest finds it
    always. A wider beam mostly finds something better than a narrower one, but
    need not: more strings compete at every step, and one that would have won in
    the end may be crowded out on the way. Between two of these widths that
    happened {happened}.
    """
  )


def _draw_widths(
  path: style.Path,
  widths: tuple[int, ...],
  found: np.ndarray,
  short: np.ndarray,
) -> None:
  with style.figure(path, height=2.9) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, values, name in zip(
      pairs,
      (100 * found, short),
      ("best string found, % of models", "short of it, nats"),
      strict=True,
    ):
      style.clean(pair)
      pair.plot(widths, values, "o-", ms=4, lw=1.6, color=style.COLOURS[0])
      pair.set_xscale("log", base=2)
      pair.set_xticks(widths, [str(width) for width in widths], fontsize=8)
      pair.minorticks_off()
      pair.set_ylim(bottom=0)
      pair.set_xlabel("width of the beam")
      pair.set_ylabel(name)


def search_gaps(
  random: np.random.Generator, count: int, widths: tuple[int, ...]
) -> np.ndarray:
  """Nats between the likeliest string and what each beam finds.

  Args:
    random: of the models.
    count: how many.
    widths: of the beams.

  Returns:
    float [count, widths].
  """
  predictor = _second_order()
  logits = random.normal(
    scale=1.5, size=(count, _SYMBOLS + 1, _SYMBOLS + 1, _SYMBOLS)
  )
  gaps = np.zeros((count, len(widths)))
  for row, one in enumerate(logits):
    params = jnp.asarray(one, jnp.float32)
    best = beam.exhaustive(predictor, params, length=_STEPS, length_penalty=0)
    for column, width in enumerate(widths):
      found = beam.search(
        predictor, params, width=width, length=_STEPS, length_penalty=0
      )[0]
      gaps[row, column] = best[0].log_probability - found.log_probability
  # What is left of float32's rounding is no gap.
  return np.where(np.abs(gaps) < 1e-4, 0.0, gaps)


def _second_order() -> predictors.Predictor:
  """Logits by the last two symbols; the null vector is one symbol more."""

  def apply(
    params: Any, carry: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    def step(
      before: jax.Array, symbol: jax.Array
    ) -> tuple[jax.Array, jax.Array]:
      return symbol, params[before, symbol]

    return jax.lax.scan(step, carry, jnp.where(inputs < 0, _SYMBOLS, inputs))

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.full((batch,), _SYMBOLS),
    init=lambda key: jnp.zeros((_SYMBOLS + 1, _SYMBOLS + 1, _SYMBOLS)),
    vocabulary_size=_SYMBOLS,
  )
