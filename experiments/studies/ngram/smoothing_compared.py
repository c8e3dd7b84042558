"""The forms of smoothing at every order: part of the study `ngram`."""

import math
from collections.abc import Sequence

from experiments.studies import run
from experiments.studies.common import figures
from experiments.studies.ngram import smoothing
from seqmodels.io import results

UNITS = {"words": "word", "characters": "character"}
# Those of the figure.
DRAWN = (
  *(smoothing.ADD_K, smoothing.SINGLE, smoothing.SHORTER),
  *(smoothing.BACKING, smoothing.MODIFIED),
)
Fits = dict[str, dict[int, smoothing.Fit]]  # by form and order


def add(
  study: run.Study, level: smoothing.Level, orders: Sequence[int]
) -> Fits:
  """Adds the section to the study's page; returns the fits.

  Args:
    study: whose settings say what is chosen among.
    level: the corpus.
    orders: of the n-grams, ascending.
  """
  page = study.lesson
  page.section(f"{level.name.capitalize()}: smoothing compared")
  if level.name == study.config.settings.levels[0]:
    _explained(study)
  settings = study.config.settings
  fits: Fits = {form: {} for form in smoothing.FORMS}
  for order in orders:
    found = smoothing.fitted(
      level, order, added=settings.added, pseudo_counts=settings.pseudo_counts
    )
    for form, fit in found.items():
      fits[form][order] = fit
    study.signals.check()
  page.say(f"""
    Perplexity a {UNITS[level.name]} of the test text,
    {len(level.splits["test"]):,} {level.name}, by order n; in brackets the k or
    e that did best on the validation text.
  """)
  page.table(
    ["form", *(f"n = {order}" for order in orders)],
    [
      [
        form,
        *(
          results.figure(fit.perplexity) + (fit.chosen and f" ({fit.chosen})")
          for fit in by_order.values()
        ),
      ]
      for form, by_order in fits.items()
    ],
  )
  _drawn(study, level, fits, orders)
  read = len(level.splits["train"]) + len(level.splits["test"])
  page.say(f"""
    Counting the training text and scoring the test, {read:,} {level.name} in
    all, took {_seconds(fits[smoothing.MODIFIED])} in the last of these forms.

    Best orders: {_best(fits, smoothing.ADD_K)};
    {_best(fits, smoothing.SHORTER)}; {_best(fits, smoothing.MODIFIED)}. A form
    that knows contexts of one length alone gets worse as soon as those become
    rare. One that passes on to the next shorter context, step by step, can
    afford long ones, and what it does with the counts that it has decides the
    rest. Backing off uses the shorter context only for what was never seen;
    interpolating uses it always, which helps most where counts are ones.
  """)
  return fits


def _explained(study: run.Study) -> None:
  study.lesson.say("""
    A symbol never seen after a context must not be impossible: one such symbol
    makes the perplexity of the whole text infinite. Every remedy takes
    probability from what was seen and gives it to what was not, and they differ
    in how much, and to whom. Adding k to every count (Laplace: k = 1) gives to
    all alike. Pseudo-counts give to what another model b expects:
  """)
  study.lesson.shown("""
    add k           p(w | u) = (c(u w) + k) / (c(u) + k V)
    pseudo-counts   p(w | u) = (c(u w) + e b(w | u)) / (c(u) + e)
                    b = p(w), or b = p(w | u'), u' being u without its first
    Kneser-Ney      p(w | u) = (c(u w) - d) / c(u) + g(u) p(w | u'),
                    g(u) such that all sums to one
  """)
  study.lesson.say("""
    Kneser and Ney take the same d < 1 from every count, and count the shorter
    contexts differently: not how often u' w occurred, but after how many
    different symbols. A word that is frequent in one phrase only is a bad guess
    elsewhere. The modified form has three d, for counts of 1, 2 and more, all
    estimated from the counts themselves. Both are shown interpolated (as above)
    and backing off (the second term only where c(u w) = 0).
  """)


def _drawn(
  study: run.Study,
  level: smoothing.Level,
  fits: Fits,
  orders: Sequence[int],
) -> None:
  words = level.name == "words"
  unit = "perplexity a word" if words else "bits a character"
  figures.curves(
    study.lesson.figure(
      f"smoothing_{level.name}",
      f"{unit.capitalize()} of the test text against the order, by the form of "
      "smoothing"
      + ("." if words else " (bits are the logarithm of the perplexity)."),
    ),
    f"Orders and smoothing: {level.name}",
    {
      form: (
        orders,
        [
          value if words else math.log2(value)
          for value in (fits[form][order].perplexity for order in orders)
        ],
      )
      for form in DRAWN
    },
    x="order n",
    y=unit,
    log_y=words,
    marks=True,
  )


def _seconds(by_order: dict[int, smoothing.Fit]) -> str:
  return ", ".join(
    f"{fit.seconds:.2f} s at n = {order}" for order, fit in by_order.items()
  )


def _best(fits: Fits, form: str) -> str:
  order = min(fits[form], key=lambda n: fits[form][n].perplexity)
  value = results.figure(fits[form][order].perplexity)
  return f"{form}, n = {order} (perplexity {value})"
