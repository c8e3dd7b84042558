"""What the best of all n-grams pays, beside a network that is exact."""

import math
from typing import Any

import numpy as np

from experiments.studies import run
from experiments.studies.exercises import exact_networks
from seqmodels.io import results
from seqmodels.models import automaton, finite_language, ngram
from seqmodels.plotting import style

_DRAWN = 2_000  # words to fit n-grams to, and as many to score


def beyond_ngrams(study: run.Study) -> list[results.Row]:
  """The bound that no model of n symbols can beat."""
  page, settings = study.lesson, study.config.settings
  symbols, fillers = settings.recall_symbols, settings.fillers
  page.section(
    "What no n-gram can do",
    """
    An n-gram predicts from the last n - 1 symbols. Take the language "c, then L
    fillers, then c again", c one of K kinds. After the fillers every word looks
    the same to a context of less than L + 1 symbols, so whatever probabilities
    it holds, it must guess c a second time; and one that does not see all the
    fillers cannot tell either when they end. The best n-gram of all is the
    conditional distribution itself, so its cost is known without fitting any:
    """,
  )
  page.shown(
    """
    network, or n >= L + 2      ln K                      nats a word
    n = L + 1                   2 ln K                    c is forgotten
    2 <= n <= L                 2 ln K + ln m + (m - 1) ln(m / (m - 1)),
                                m = L - n + 2             and so is the count
    """
  )
  tokens = fillers + 2
  orders = sorted({1, 2, 3, fillers, fillers + 1, fillers + 2})
  fitted = _fitted(study, symbols, fillers, orders)
  words = finite_language.recall(symbols, fillers)
  # A fitted model reads a stream of words and has their end to predict, too.
  closed = {(*word, symbols + 1): share for word, share in words.items()}
  body: list[list[Any]] = []
  for order in orders:
    nats = finite_language.recall_nats(symbols, fillers, order=order)
    body.append(
      [
        f"{order}-gram",
        nats,
        finite_language.best_ngram(words, order=order),
        math.exp(nats / tokens),
        finite_language.best_ngram(closed, order=order),
        fitted[order],
      ]
    )
  exact = finite_language.recall_nats(symbols, fillers)
  measured = _measured(symbols, fillers)
  body.append(
    [
      f"network of {symbols + 1} units",
      exact,
      measured,
      math.exp(exact / tokens),
      "",
      "",
    ]
  )
  page.table(
    (
      f"K = {symbols}, L = {fillers}",
      "nats a word, formula",
      "by enumeration; the network by running it",
      "perplexity a symbol",
      "bound with an end of word",
      "Kneser-Ney, with an end of word",
    ),
    body,
  )
  beyond = [
    fitted[order] - finite_language.best_ngram(closed, order=order)
    for order in orders
  ]
  page.say(
    f"""
    The network pays ln {symbols} = {exact:.4f} nats; the {fillers + 1}-gram
    {finite_language.recall_nats(symbols, fillers, order=fillers + 1):.4f}. The
    bound is not a matter of how the model is fitted. Kneser-Ney models of
    {_DRAWN:,} drawn words, scored on as many others, with a symbol more that
    ends each word, come to {min(beyond):+.3f} to {max(beyond):+.3f} nats from
    it: below 0 only as far as chance has drawn one word more often than
    another. A {fillers + 2}-gram can
    do it with a table of contexts as long as the word; the network needs one
    unit for every kind and one for the count, for any L.
    """
  )
  page.say(
    """
    Longer contexts close the gap there, because the words end. They need not.
    In the second language 1s come in runs of even length between 0s. The
    parity of the run is all there is to know, two states; but a context of
    nothing but 1s, however long, does not tell it.
    """
  )
  source = finite_language.even_runs()
  rate = finite_language.entropy_rate(source)
  rates = finite_language.best_ngram_rates(source, longest=settings.longest)
  page.table(
    ("even runs", "nats a symbol", "more than the network"),
    [
      [f"best {n}-gram", float(rates[n - 1]), float(rates[n - 1] - rate)]
      for n in (1, 2, 4, 8, settings.longest)
      if n <= settings.longest
    ]
    + [[f"network of {automaton.network(source).units} units", rate, 0.0]],
  )
  _figure_of_orders(study, rates, rate)
  return [
    exact_networks.row(
      f"best {n}-gram, K = {symbols}, L = {fillers}", nats, tokens
    )
    for n in (fillers + 1,)
    for nats in [finite_language.recall_nats(symbols, fillers, order=n)]
  ]


def _measured(symbols: int, fillers: int) -> float:
  """Nats a word of the network, by running it over all words."""
  ids = np.array(list(finite_language.recall(symbols, fillers))).T
  exact = finite_language.recall_network(symbols, fillers)
  return float(-exact_networks.log_shares(exact, ids).sum(axis=0).mean())


def _fitted(
  study: run.Study, symbols: int, fillers: int, orders: list[int]
) -> dict[int, float]:
  """Nats a word and its end of smoothed n-grams, on drawn words."""
  words = np.array(list(finite_language.recall(symbols, fillers)))
  ends = np.full((_DRAWN, 1), symbols + 1)
  random, texts = study.random, []
  for _ in range(2):
    drawn = words[random.integers(symbols, size=_DRAWN)]
    texts.append(np.concatenate([drawn, ends], axis=1).ravel())
  found = {}
  for order in orders:
    model = ngram.NGram.fit(
      texts[0], symbols + 2, order=order, sentence_end=symbols + 1
    )
    nats = model.nats(texts[1]).reshape(_DRAWN, -1)
    found[order] = float(nats.sum(axis=1).mean())
  return found


def _figure_of_orders(study: run.Study, rates: np.ndarray, rate: float) -> None:
  settings = study.config.settings
  path = study.lesson.figure(
    "orders",
    "What the best n-gram pays beyond the exact network. Left: a word of the "
    "first language, for several numbers of fillers. Right: a symbol of the "
    "second, on a logarithmic scale.",
  )
  with style.figure(path, height=3.6) as drawing:
    left, right = drawing.subplots(1, 2)
    for pair in (left, right):
      style.clean(pair)
      pair.set_xlabel("order n")
    symbols = settings.recall_symbols
    for fillers, colour in zip(
      sorted({2, 5, settings.fillers}), style.COLOURS, strict=False
    ):
      orders = np.arange(1, settings.fillers + 4)
      exact = finite_language.recall_nats(symbols, fillers)
      excess = [
        finite_language.recall_nats(symbols, fillers, order=int(n)) - exact
        for n in orders
      ]
      left.plot(
        orders, excess, "o-", ms=4, color=colour, label=f"L = {fillers}"
      )
    left.axhline(
      math.log(symbols),
      color=style.GREY,
      ls="--",
      lw=1.2,
      label=f"ln {symbols}",
    )
    left.set_ylabel("nats a word beyond the network")
    left.legend(frameon=False, fontsize=9)
    left.set_title("c, L fillers, c again", fontsize=10)
    right.plot(
      np.arange(1, len(rates) + 1),
      rates - rate,
      "o-",
      ms=4,
      color=style.COLOURS[0],
    )
    right.set_yscale("log")
    right.set_ylabel("nats a symbol beyond the network")
    right.set_title("1s in even runs", fontsize=10)
