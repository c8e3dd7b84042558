"""Left to right, or right to left: part of a study."""

import time

import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import markov_models, series_figures
from seqmodels import units
from seqmodels.data import series
from seqmodels.io import results
from seqmodels.models import markov, markov_chain, ngram

_ORDERS = (2, 4, 6)


def add(study: run.Study) -> list[results.Row]:
  """Adds the section to the study's page; returns its rows."""
  page = study.lesson
  page.section(
    "In which order?",
    """
    The product of predictions may as well be taken from the end:
    """,
  )
  page.shown(
    """
    P(x_1, ..., x_T) = P(x_T) prod_t P(x_t | x_{t+1}, ..., x_T)
    of a chain of order 1 that keeps pi:   P(a | b) = pi(a) P(b | a) / pi(b)
    """
  )
  _chain(study)
  rows = _text(study)
  _causes(study)
  return rows


def _chain(study: run.Study) -> None:
  """A chain and its mirror image give every sequence the same probability."""
  random, count = study.random, min(study.config.settings.chain, 20_000)
  kernel = random.dirichlet(np.ones(4), size=4)
  shares = markov_chain.stationary(kernel)
  back = markov_chain.reversed_kernel(kernel)
  xs = series.markov_chain(kernel, count, random=random, initial=shares)
  forwards = np.log(shares[xs[0]]) + np.log(kernel[xs[:-1], xs[1:]]).sum()
  backwards = np.log(shares[xs[-1]]) + np.log(back[xs[1:], xs[:-1]]).sum()
  counted = [
    markov.Markov.fit(part, 4, order=1).nats(part) for part in (xs, xs[::-1])
  ]
  study.lesson.say(
    f"""
    For {count:,} symbols of a chain over 4 symbols both products have the
    logarithm {forwards:.6f}; they differ by
    {abs(forwards - backwards):.1g}. Models of counted pairs, one of the text
    and one of the text reversed, need {counted[0].sum():.4f} and
    {counted[1].sum():.4f} nats. They can differ only by what happens at the two
    ends of the text, where a symbol has a neighbour on one side.
    """
  )


def _text(study: run.Study) -> list[results.Row]:
  """The same model on a text and on the text reversed."""
  tokens = study.tokens("characters")
  train, valid = (
    np.asarray(tokens.splits[name][:], np.int64) for name in ("train", "valid")
  )
  rows, body = [], []
  for order in _ORDERS:
    line: list[object] = [order]
    for name, turn in (("forwards", 1), ("backwards", -1)):
      model = ngram.NGram.fit(
        train[::turn], len(tokens.vocabulary), order=order, modified=True
      )
      began = time.perf_counter()
      nats = model.nats(valid[::turn])
      value = units.perplexity(float(nats.sum()), len(nats))
      line.append(value)
      rows.append(
        markov_models.perplexity_row(
          f"character {order}-gram, {name}",
          float(nats.mean()),
          len(nats),
          time.perf_counter() - began,
          split="valid",
        )
      )
    body.append([*line, 100 * (float(line[2]) / float(line[1]) - 1)])  # type: ignore[arg-type]
  study.lesson.table(
    ["characters", "forwards", "backwards", "difference in %"], body
  )
  study.lesson.say(
    f"""
    Perplexities of Kneser-Ney models of so many characters, this one included,
    on a text of {len(train):,} characters and on the same text reversed. A
    model that were perfect would find no difference. Why then does everyone
    read from left to right? People do; a text of any length grows by one factor
    a word; and where there are causes and effects, effects are the simpler to
    predict.
    """
  )
  return rows


def _causes(study: run.Study) -> None:
  """A law that is simple in the direction of time only."""
  page = study.lesson
  xs = series.cubic(min(study.config.settings.chain, 4000), random=study.random)
  drawn, spreads = {}, {}
  for name, given, sought in (
    ("forwards", xs[:-1], xs[1:]),
    ("backwards", xs[1:], xs[:-1]),
  ):
    fitted = np.polynomial.Polynomial.fit(given, sought, 7)
    missed = sought - fitted(given)
    drawn[name] = (given, missed)
    tenths = np.array_split(np.argsort(given), 10)
    spreads[name] = [float(missed[part].std()) for part in tenths]
  page.shown("x_{t+1} = 3/2 x_t - 1/4 x_t^3 + 0.4 e_t")
  page.say(
    f"""
    In this series each value is caused by the one before. A polynomial of
    degree 7 predicts the next value from this one, and another this one from
    the next. Forwards the errors are the noise, equally wide everywhere: over
    tenths of the given value their spread is between
    {min(spreads["forwards"]):.2f} and {max(spreads["forwards"]):.2f}.
    Backwards it is between {min(spreads["backwards"]):.2f} and
    {max(spreads["backwards"]):.2f}, because several pasts may lead to one
    present. The direction of time can be read off.
    """
  )
  series_figures.residuals(
    page.figure("causes", "Errors of both predictions against what was given."),
    drawn,
  )
