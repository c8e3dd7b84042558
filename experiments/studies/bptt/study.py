"""Backpropagation through time, and what to do where it is long."""

import jax
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.bptt import gradients, truncation
from experiments.studies.common import cleaning, figures, gradient_reach
from seqmodels.io import results

_SHOWN = 64  # characters of the figure of segments
_LENGTH = 8  # of a segment there


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page, part by part."""
  study.lesson.say(
    """
    A recurrent network applies one set of weights at every step. The loss of a
    sequence therefore depends on each weight along as many paths as there are
    steps, and its gradient is the sum over all of them. This page writes that
    sum out, asks how far back its terms reach and what they cost, and compares
    three ways to take it where the sequence is too long to take all of it.
    """
  )
  parts = (
    gradients.written_out,
    gradients.unrolled,
    three_ways,
    truncation.unbiased,
    truncation.variance,
    gradient_reach.by_radius,
    gradients.by_initialisation,
    gradients.one_direction,
    gradients.costs,
  )
  for part in parts:
    part(study)
    study.signals.check()
  return truncation.compare(study)


def three_ways(study: run_lib.Study) -> None:
  """What each strategy does to the recursion, and the figure of it."""
  page = study.lesson
  keep = 1 - 1 / _LENGTH
  page.section(
    "Three ways to take it",
    """
    A strategy leaves all values as they are and weighs the recurrent term by a
    factor xi_t. What it computes is z_t in place of dh_t/dw:
    """,
  )
  page.shown(
    """
    z_t = df/dw + xi_t (df/dh_{t-1}) z_{t-1}

    full          xi_t = 1
    truncated     xi_t = 0 at the first step of every segment, else 1
    randomised    xi_t = 1/p with probability p, else 0        E xi_t = 1
    """
  )
  text = _opening(study)
  factors = truncation.random_factors(
    jax.random.key(study.config.seed), len(text), 1, keep=keep
  )
  cuts = np.flatnonzero(np.asarray(factors[:, 0]) == 0).tolist()
  figures.strips(
    page.figure(
      "strategies",
      "The first letters of the corpus, cut in three ways. A gradient flows "
      "within a box and not from one box to the one before it.",
    ),
    "Where a gradient may flow",
    text,
    {
      f"randomised: lengths by chance, {_LENGTH} on average": cuts,
      f"truncated: {_LENGTH} characters each": list(
        range(_LENGTH, len(text), _LENGTH)
      ),
      "full: one segment": [],
    },
  )
  page.say(
    f"""
    The upper row is one draw with p = {keep:g}: {len(cuts) + 1} segments over
    {len(text)} characters, their lengths geometric with mean
    1 / (1 - p) = {_LENGTH}. What a path of k steps loses by being cut often it
    gains in weight where it survives: it does so with probability p^k, and then
    counts p^-k times.

    Truncation comes in two forms that are not the same. With segments, as in
    the figure, a step at the beginning of a segment sees almost nothing and one
    at its end sees the whole segment. With a sliding window every step sees the
    same number of steps: its last terms of the sum above. The first is what
    training does: the state crosses the edge as a value and the gradient does
    not.
    """
  )


def _opening(study: run_lib.Study) -> str:
  """The first characters, as words if there are enough of them."""
  tokens = study.tokens("characters")
  ids = np.asarray(tokens.splits["train"][: 4 * _SHOWN])
  text = "".join(map(str, tokens.vocabulary.decode(ids)))
  words = cleaning.letters(text).strip()
  return (words if len(words) >= _SHOWN else text)[:_SHOWN]
