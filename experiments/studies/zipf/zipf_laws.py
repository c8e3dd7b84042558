"""The parts of the study `zipf` that fit laws: Zipf's and Heaps'."""

import time

import numpy as np

from experiments.studies import run
from experiments.studies.common import figures
from seqmodels import errors, units
from seqmodels.evaluation import zipf
from seqmodels.io import results
from seqmodels.models import ngram_counts


def named(length: int) -> str:
  """What n-grams of a length are called on the page."""
  return {1: "single", 2: "pairs", 3: "triples"}.get(
    length, f"{length} in a row"
  )


def words(
  study: run.Study, counts: ngram_counts.NGramCounts
) -> list[results.Row]:
  """Zipf's law of words and of words in a row; rows of the fits."""
  settings, page = study.config.settings, study.lesson
  page.section("Zipf's law")
  page.say("""
    Sort the types by count. The i-th has rank i. Zipf observed in 1935 that the
    count falls as a power of the rank, with an exponent near 1 for words:
  """)
  page.shown("""
    n_i = K i^-alpha       log n_i = log K - alpha log i
  """)
  page.say(f"""
    On two logarithmic axes that is a falling line with slope -alpha. The
    exponent depends on how the line is fitted. Least squares over all ranks
    lets the long plateau of types seen once decide; over ranks
    {settings.first_rank} to {settings.last_rank:,} it follows the straight
    part; with counts of at least 5 it leaves the plateau out. Maximum
    likelihood takes the law as a distribution over the ranks and weighs every
    token alike; theory gives it a standard error. R² is the share of the
    variance of log n that a line explains. Mandelbrot put i + c in the place of
    i, which bends the head of the line down; alpha and c are again those of the
    greatest likelihood.
  """)
  exponents, rows = _fitted(study, "words", counts, lines=True)
  page.say(f"""
    By maximum likelihood alpha is {", ".join(exponents)}. Longer n-grams are
    expected to have a smaller exponent: combinations are many, each is rare,
    and the counts lie flatter. The first few ranks are off the line: the law
    is one of the middle. How much of that a shift c repairs, the rows at the
    end of this page tell: the perplexity of a token under a law is never below
    that under the text's own frequencies, and the nearer, the better the law.
  """)
  return rows


def characters(
  study: run.Study, counts: ngram_counts.NGramCounts
) -> list[results.Row]:
  """The same of characters, which have no such law; rows of the fits."""
  page = study.lesson
  page.say("""
    A few dozen ranks make no power law: on logarithmic axes the curve bends
    down, and each fit says something else. Runs of characters, which begin to
    be words, come nearer to a line.
  """)
  exponents, rows = _fitted(study, "characters", counts, lines=False)
  page.say(f"""
    By maximum likelihood: {", ".join(exponents)}. A number for alpha can always
    be had; the figure says whether it means anything. So does a shift c of
    about the number of types, the largest that is tried: a law that needs it is
    no power law.
  """)
  return rows


def _fitted(
  study: run.Study,
  level: str,
  counts: ngram_counts.NGramCounts,
  *,
  lines: bool,
) -> tuple[list[str], list[results.Row]]:
  """The table of exponents and the figure; (exponents in words, rows)."""
  settings, page = study.config.settings, study.lesson
  first, last = settings.first_rank, settings.last_rank
  drawn: dict[str, figures.Curve] = {}
  # Gaps between the lines, so that they share one entry of the legend.
  places: list[float] = []
  values: list[float] = []
  body, exponents, rows = [], [], []
  for length in range(1, counts.order + 1):
    start = time.perf_counter()
    name, times = named(length), zipf.ranked(counts.table(length)[1])
    likeliest = zipf.maximum_likelihood(times)
    shift, shifted = zipf.mandelbrot(times)
    every = zipf.least_squares(times)
    middle = _line_or_none(times, first=first, last=last)
    often = _line_or_none(times, first=first, least_count=5)
    body.append(
      [
        name,
        *(
          f"{-fit.slope:.3f} ({fit.r_squared:.2f})" if fit else "n/a"
          for fit in (every, middle, often)
        ),
        f"{likeliest.exponent:.3f} ± {likeliest.standard_error:.1g}",
        f"{shifted.exponent:.3f}, c = {shift:.1f}",
      ]
    )
    exponents.append(f"{likeliest.exponent:.3f} for {name}")
    drawn[name] = (np.arange(1, len(times) + 1), times)
    shown = middle or every
    # Not below the axis: a count of less than one is none.
    lowest = (shown.intercept - np.log(0.7)) / max(-shown.slope, 1e-9)
    ends = np.array([1, np.exp(min(np.log(len(times)), lowest))])
    places += [*ends, np.nan]
    values += [*shown.at(ends), np.nan]
    total = int(times.sum())
    shares = times / total
    rows += [
      results.row(
        f"{level}, {name}: {what}",
        split="train",
        evaluation="fitted",
        metric="perplexity",
        value=units.perplexity(nats, 1),
        count=total,
        seconds=time.perf_counter() - start,
      )
      for what, nats in (
        ("truncated Zipf law", likeliest.nats),
        ("Zipf-Mandelbrot law", shifted.nats),
        ("own frequencies", float(-shares @ np.log(shares))),
      )
    ]
  page.table(
    [
      "alpha (R²) of",
      "least squares, all ranks",
      f"ranks {first} to {last:,}",
      f"counts of 5 up, ranks {first} up",
      "maximum likelihood",
      "Mandelbrot's",
    ],
    body,
  )
  caption = f"Count against rank of {level}, alone and in a row."
  if lines:
    drawn["~least squares"] = (places, values)
    caption += (
      f" The grey lines are least squares over ranks {first} to {last:,} (all "
      "ranks of a text too short for that), drawn on in both directions."
    )
  figures.curves(
    page.figure(f"zipf_{level}", caption),
    f"Rank and frequency of {level}",
    drawn,
    x="rank",
    y="count",
    log_x=True,
    log_y=True,
  )
  return exponents, rows


def _line_or_none(times: np.ndarray, **limits: int) -> zipf.Line | None:
  """The fit, or None where a short text leaves fewer than two ranks."""
  try:
    return zipf.least_squares(times, **limits)
  except errors.UserError:
    return None


def recovery(study: run.Study) -> None:
  """Both estimators on tokens whose law is known."""
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section("Can the fits be trusted?")
  page.say(f"""
    To see, draw {settings.synthetic_tokens:,} tokens from an exact Zipf law
    over {settings.synthetic_types:,} types, whose exponent is known, and fit.
  """)
  body = []
  for exponent in settings.synthetic_exponents:
    shares = zipf.law(exponent, settings.synthetic_types)
    drawn = random.choice(
      settings.synthetic_types, p=shares, size=settings.synthetic_tokens
    )
    times = zipf.ranked(np.bincount(drawn))
    likeliest = zipf.maximum_likelihood(times)
    body.append(
      [
        float(exponent),
        -zipf.least_squares(times).slope,
        f"{likeliest.exponent:.3f} ± {likeliest.standard_error:.1g}",
      ]
    )
  page.table(["true alpha", "least squares", "maximum likelihood"], body)
  page.say("""
    Maximum likelihood comes near. What it misses is more than its standard
    error allows, since the sample also sorts the ranks. Least squares over all
    ranks is further off: the tail, which sampling bends, weighs too much in it.
    Compare exponents only where one method has fitted them.
  """)


def growth(study: run.Study, ids: np.ndarray) -> None:
  """Heaps' law: the vocabulary of longer and longer beginnings of a text."""
  page = study.lesson
  lengths = np.unique(
    np.geomspace(
      min(100, len(ids)), len(ids), study.config.settings.lengths
    ).astype(int)
  )
  types = zipf.growth(ids, lengths)
  heaps = zipf.line(lengths, types)
  page.section("Longer documents")
  page.say("How many types does a text of N tokens have? Heaps' law says")
  page.shown("types(N) = K N^beta,    beta < 1")
  page.say("""
    Counted over longer and longer beginnings of the text, with alpha by maximum
    likelihood:
  """)
  body = []
  for length, found in zip(lengths, types, strict=True):
    times = zipf.ranked(np.bincount(ids[:length]))
    body.append(
      [
        f"{length:,}",
        f"{found:,}",
        float(found / length),
        float(np.mean(times == 1)),
        float(times[0] / length),
        zipf.maximum_likelihood(times).exponent,
      ]
    )
  page.table(
    [
      "tokens",
      "types",
      "types a token",
      "share of types seen once",
      "share of the commonest word",
      "alpha",
    ],
    body,
  )
  shuffled = zipf.shuffled_growth(zipf.ranked(np.bincount(ids)), lengths)
  figures.curves(
    page.figure(
      "growth",
      "Types among the first N tokens: of the text, of the same words in "
      "random order (expected), and Heaps' law fitted to the text.",
    ),
    "Growth of the vocabulary",
    {
      "the text": (lengths, types),
      "its words shuffled": (lengths, shuffled),
      f"~Heaps' law, beta = {heaps.slope:.2f}": (lengths, heaps.at(lengths)),
    },
    x="tokens",
    y="types",
    log_x=True,
    log_y=True,
    marks=True,
  )
  first, last, middle = body[0], body[-1], len(lengths) // 2
  page.say(f"""
    Fitted: beta = {heaps.slope:.3f} (R² {heaps.r_squared:.3f}). From the
    shortest to the longest, types a token go from {first[2]:.3f} to
    {last[2]:.3f} and alpha from {first[5]:.3f} to {last[5]:.3f}, while the
    share of the commonest word goes from {first[4]:.3f} to {last[4]:.3f}. So
    the number of types, and the fitted exponent, say little of a text without
    its length; texts are compared at equal lengths, or by the shares of
    frequent words. At {lengths[middle]:,} tokens the text has {types[middle]:,}
    types; {shuffled[middle]:,.0f} would be expected had its words no order. A
    word that has come tends to come again soon. Where the rarest words of a
    corpus were replaced by `<unk>`, as in the Penn Treebank, its growth comes
    to an end.
  """)
