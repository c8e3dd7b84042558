"""Decoding: greedy, beam search, sampling, and words of a list.

A model confined to a list of words follows the tree of their prefixes. With u
what was written since the last separator, a symbol x is allowed if

    x is no separator    some word of the list begins with u x
    x is a separator     u is a whole word, or nothing

and the model's probabilities are divided among the symbols that are allowed. So
each word that is written is one of the list, though a model of characters knows
of none. A word that a prime began and no word of the list goes on with has to
end at once.
"""

import functools
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import continuations, training
from seqmodels import errors
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import api as predictors
from seqmodels.plotting import style
from seqmodels.sampling import beam, text
from seqmodels.sampling import text as text_lib

# How far from 1 a written row may sum.
_SLACK = 1e-6


def as_predictor(
  rows: Mapping[tuple[int, ...], Sequence[float]],
) -> tuple[predictors.Predictor, Any]:
  """The table as a predictor, and its parameters.

      P(x_1 ... x_T) = prod_t rows[x_1 ... x_{t-1}][x_t]

  After a prefix that the table lacks all symbols are alike, so the
  probabilities of all strings of one length sum to 1 whatever is left out. The
  null vector is read as nothing.

  Args:
    rows: probabilities [V] by prefix; () is the beginning.

  Raises:
    errors.UserError: no row for (), rows of unlike widths, or a row that is no
      distribution.

  >>> predictor, params = as_predictor({(): [0.9, 0.1], (0,): [0.2, 0.8]})
  >>> ids = jnp.array([[-1], [0], [1]])
  >>> _, logits = predictor.apply(
  ...   params, predictor.initial_carry(1), ids, ids < -1
  ... )
  >>> np.asarray(jax.nn.softmax(logits))[:, 0].round(2)
  array([[0.9, 0.1],
         [0.2, 0.8],
         [0.5, 0.5]], dtype=float32)
  """
  symbols = _check(rows)
  # Prefixes are numbered from the root; one number more is "not in the table".
  number = {prefix: index for index, prefix in enumerate(sorted(rows, key=len))}
  elsewhere = len(number)
  chances = np.full((elsewhere + 1, symbols), 1.0 / symbols)
  following = np.full((elsewhere + 1, symbols), elsewhere, np.int32)
  for prefix, index in number.items():
    chances[index] = rows[prefix]
    for symbol in range(symbols):
      following[index, symbol] = number.get((*prefix, symbol), elsewhere)
  with np.errstate(divide="ignore"):
    logs = np.log(chances)

  def apply(
    params: Any, carry: jax.Array, inputs: jax.Array, reset: jax.Array
  ) -> tuple[jax.Array, jax.Array]:
    logs, following = params

    def step(
      node: jax.Array, now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
      symbol, cleared = now
      node = jnp.where(cleared, 0, node)
      node = jnp.where(symbol < 0, node, following[node, symbol])
      return node, logs[node]

    return jax.lax.scan(step, carry, (inputs, reset))

  params = (jnp.asarray(logs, jnp.float32), jnp.asarray(following))
  predictor = predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: jnp.zeros(batch, jnp.int32),
    init=lambda key: params,
    vocabulary_size=symbols,
  )
  return predictor, params


def _check(rows: Mapping[tuple[int, ...], Sequence[float]]) -> int:
  """The number of symbols."""
  if () not in rows:
    raise errors.UserError(
      "the table of probabilities has no row for (), the beginning; give one"
    )
  symbols = len(rows[()])
  for prefix, row in rows.items():
    if len(row) != symbols:
      raise errors.UserError(
        f"the row of {prefix} has {len(row)} probabilities and that of () has "
        f"{symbols}; give every row one a symbol"
      )
    if min(row) < 0 or abs(sum(row) - 1) > _SLACK:
      raise errors.UserError(
        f"the row of {prefix} is no distribution: it sums to {sum(row):g} and "
        f"its least is {min(row):g}; give probabilities that sum to 1"
      )
  return symbols


def distinct(symbols: Sequence[int], n: int) -> float:
  """Share of a text's n-grams that are different (Li et al., 2016).

      distinct-n = different n-grams / n-grams

  1 where none occurs twice, near 0 in a loop. It falls with the length of a
  text, so compare texts of one length.

  Args:
    symbols: ids, or anything that can be compared.
    n: symbols of an n-gram.

  Raises:
    errors.UserError: n is below 1, or the text is shorter than n.

  >>> distinct([0, 1, 0, 1, 0, 1], 2)
  0.4
  """
  count = len(symbols) - n + 1
  if n < 1 or count < 1:
    raise errors.UserError(
      f"distinct-{n} was asked of {len(symbols)} symbols; n must be at least 1 "
      "and the text at least that long"
    )
  grams = {tuple(symbols[i : i + n]) for i in range(count)}
  return len(grams) / count


Tree = Any

# Between words, and inside of a word that is not in the list.
_BETWEEN, _ASTRAY = 0, 1


class Params(NamedTuple):
  """What a confined model is applied with.

  Attributes:
    model: the parameters of the model inside.
    following: int32 [N, V], the node of the tree after a node and a symbol.
    allowed: bool [N, V].
  """

  model: Tree
  following: jax.Array
  allowed: jax.Array


def confined(
  predictor: predictors.Predictor,
  params: Tree,
  words: Iterable[Sequence[int]],
  separators: Sequence[int],
) -> tuple[predictors.Predictor, Params]:
  """The model, confined to a list of words, and its parameters.

  It may stand wherever the model may: in `text.sample`, in `beam.search`. The
  null vector and a reset begin between words.

  Args:
    predictor: the model.
    params: its parameters.
    words: ids of each; one that comes twice counts once.
    separators: ids that are in no word; at least one.

  Raises:
    errors.UserError: no words or separators, an empty word, a word that holds a
      separator, or an id outside the vocabulary.

  Example: of three symbols 2 is the separator, and the words are 0 1 and 1.
  >>> coin = predictors.Predictor(
  ...   apply=lambda params, carry, inputs, reset: (
  ...     carry, jnp.zeros((*inputs.shape, 3))),
  ...   initial_carry=lambda batch: (), init=lambda key: (), vocabulary_size=3)
  >>> spelling, params = confined(coin, (), [[0, 1], [1]], [2])
  >>> ids = jnp.array([[-1], [0], [1]])
  >>> _, logits = spelling.apply(
  ...   params, spelling.initial_carry(1), ids, ids < -1)
  >>> jnp.isfinite(logits)[:, 0].astype(int).tolist()
  [[1, 1, 1], [0, 1, 0], [0, 0, 1]]
  """
  following, allowed = _tables(list(words), separators, predictor)

  def apply(
    params: Params,
    carry: tuple[Tree, jax.Array],
    inputs: jax.Array,
    reset: jax.Array,
  ) -> tuple[tuple[Tree, jax.Array], jax.Array]:
    inner, node = carry
    inner, logits = predictor.apply(params.model, inner, inputs, reset)

    def step(
      node: jax.Array, now: tuple[jax.Array, jax.Array]
    ) -> tuple[jax.Array, jax.Array]:
      symbol, cleared = now
      node = jnp.where(cleared, _BETWEEN, node)
      after = params.following[node, symbol]
      node = jnp.where(symbol < 0, _BETWEEN, after)
      return node, node

    node, nodes = jax.lax.scan(step, node, (inputs, reset))
    return (inner, node), jnp.where(params.allowed[nodes], logits, -jnp.inf)

  wrapped = predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: (
      predictor.initial_carry(batch),
      jnp.zeros(batch, jnp.int32),
    ),
    init=lambda key: Params(
      predictor.init(key), jnp.asarray(following), jnp.asarray(allowed)
    ),
    vocabulary_size=predictor.vocabulary_size,
  )
  return wrapped, Params(
    params, jax.device_put(following), jax.device_put(allowed)
  )


def _tables(
  words: Sequence[Sequence[int]],
  separators: Sequence[int],
  predictor: predictors.Predictor,
) -> tuple[np.ndarray, np.ndarray]:
  """`following` and `allowed` of `Params`."""
  symbols = predictor.vocabulary_size
  _check_words(words, separators, symbols)
  # Nodes are numbered as they come up; each is what was written of a word.
  tree: list[dict[int, int]] = [{}, {}]
  whole = {_BETWEEN, _ASTRAY}
  for word in words:
    node = _BETWEEN
    for symbol in word:
      if symbol not in tree[node]:
        tree[node][symbol] = len(tree)
        tree.append({})
      node = tree[node][symbol]
    whole.add(node)
  following = np.full((len(tree), symbols), _ASTRAY, np.int32)
  allowed = np.zeros((len(tree), symbols), bool)
  for node, branches in enumerate(tree):
    for symbol, after in branches.items():
      following[node, symbol] = after
      allowed[node, symbol] = True
  ends = np.zeros(symbols, bool)
  ends[list(separators)] = True
  complete = np.zeros(len(tree), bool)
  complete[sorted(whole)] = True
  following[:, ends] = _BETWEEN
  allowed |= complete[:, None] & ends
  return following, allowed


def _check_words(
  words: Sequence[Sequence[int]], separators: Sequence[int], symbols: int
) -> None:
  if not words or not len(separators):
    raise errors.UserError(
      f"a lexicon of {len(words)} words and {len(separators)} separators was "
      "given; it needs at least one of each"
    )
  named = [("the separators hold", separators)]
  named += [(f"the word {list(word)} holds", word) for word in words]
  between = set(separators)
  for what, ids in named:
    if not len(ids):
      raise errors.UserError(
        "a word of the lexicon is empty; give each at least one symbol"
      )
    outside = [i for i in ids if not 0 <= i < symbols]
    if outside:
      raise errors.UserError(
        f"{what} the id {outside[0]}; the model knows 0 to {symbols - 1}"
      )
    inside = [i for i in ids if i in between]
    if inside and ids is not separators:
      raise errors.UserError(
        f"{what} the separator {inside[0]}; cut the text at separators first"
      )


_SYMBOLS, _STEPS = 4, 6
EXHAUSTIVE = _SYMBOLS ** (_STEPS - 1)


def random_models(study: run_lib.Study) -> None:
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


# What is done to the distribution before a draw, by its name.
SHARPENINGS: dict[str, text.Sharpening] = {
  "as it is": text.Sharpening(),
  "temperature 0.5": text.Sharpening(temperature=0.5),
  "temperature 1.5": text.Sharpening(temperature=1.5),
  "top-k, k = 5": text.Sharpening(top_k=5),
  "nucleus 0.9": text.Sharpening(nucleus=0.9),
}

# Lengths of n-grams whose variety is measured.
_GRAMS = (1, 2, 4)


class Writer(NamedTuple):
  """The trained model, and the prefix that all texts go on from.

  Attributes:
    network: a predictor.
    params: its weights.
    tokens: the text it was trained on.
    prime: ids of the prefix.
    length: characters to write.
  """

  network: Any
  params: Any
  tokens: Any
  prime: list[int]
  length: int


def texts(study: run_lib.Study, writer: Writer) -> None:
  """The same prefix, gone on from in every way."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "Likely texts and good ones",
    f"""
    Every way to choose, {writer.length} characters each. The total log
    probability is the model's own, whatever the text was drawn from.
    Distinct-n is the share of its n-grams that are different: it shows loops.
    Of what is drawn there are {settings.draws} texts, and their mean; the last
    line is what the held-out text has after the same prefix.
    """,
  )
  written = {
    name: [tuple(row) for row in write(writer, settings.draws)]
    for name, write in ways(settings.beams, study.config.seed).items()
  }
  truth = occurrences(
    writer.tokens.splits["valid"], writer.prime, writer.length, settings.draws
  )
  if truth:
    written["the text itself"] = truth
  table = {name: measured(writer, rows) for name, rows in written.items()}
  page.table(
    ["chosen", "log P, nats", "a character"]
    + [f"distinct-{n}" for n in _GRAMS],
    [
      [name, f"{nats:.1f}", nats / writer.length, *shares]
      for name, (nats, *shares) in table.items()
    ],
  )
  _scatter(
    page.figure(
      "likely_and_varied",
      "Each way to choose by how likely its texts are to the model and by how "
      "little they repeat themselves.",
    ),
    {
      name: (shares[-1], nats / writer.length)
      for name, (nats, *shares) in table.items()
    },
  )
  widest = f"beam of {max(settings.beams)}"
  (greedy, *_, looped), (best, *_, circled) = table["greedy"], table[widest]
  page.say(
    f"""
    Greedy decoding writes a text whose log probability is {greedy:.1f} nats,
    the widest beam one of {best:.1f}. What is likeliest at a place is often
    what has just been said, and so searches run in circles: their distinct-4 is
    {looped:.2f} and {circled:.2f}.
    """
  )
  if truth:
    real, *_, varied = table["the text itself"]
    page.say(
      f"""
      The text itself has {real:.1f} nats, on average over the places where the
      prefix stands, and a distinct-4 of {varied:.2f}: what people write is not
      what is likeliest. A model that fits expects as many
      surprises as they make, and draws texts with as many, but those of a small
      model are misspellings. Sharper distributions stand in between; which is
      best is a matter of use.
      """
    )
  page.say("The first of each, with runs of spaces made visible:")
  for name, rows in written.items():
    spelt = training.decode(writer.tokens, rows[0])
    shown = training.visible(settings.prefix + spelt)
    page.shown(f"[{name}]\n{shown}")


Write = Callable[[Writer, int], Sequence[Sequence[int]]]


def ways(beams: Sequence[int], seed: int) -> dict[str, Write]:
  """Every way to choose, by its name.

  Args:
    beams: widths.
    seed: of the draws.
  """

  def searched(writer: Writer, draws: int, *, width: int) -> Any:
    del draws
    found = beam.search(
      writer.network,
      writer.params,
      width=width,
      length=writer.length,
      prime=writer.prime,
    )
    return [found[0].symbols]

  def drawn(
    writer: Writer, draws: int, *, place: int, sharpen: text.Sharpening
  ) -> Any:
    return text.sample(
      writer.network,
      writer.params,
      jax.random.fold_in(jax.random.key(seed), place),
      length=writer.length,
      prime=writer.prime,
      batch=draws,
      sharpening=sharpen,
    ).T.tolist()

  found: dict[str, Write] = {"greedy": functools.partial(searched, width=1)}
  for width in beams:
    found[f"beam of {width}"] = functools.partial(searched, width=width)
  for place, (name, sharpen) in enumerate(SHARPENINGS.items()):
    name = "drawn as it is" if name == "as it is" else name
    found[name] = functools.partial(drawn, place=place, sharpen=sharpen)
  return found


def measured(
  writer: Writer, rows: Sequence[Sequence[int]]
) -> tuple[float, ...]:
  """Mean log P in nats and mean distinct-n of some texts after the prefix."""
  scored = continuations.by_network(
    writer.network, writer.params, writer.prime, rows
  )
  nats = math.fsum(one.total for one in scored) / len(rows)
  shares = (
    math.fsum(distinct(row, n) for row in rows) / len(rows) for n in _GRAMS
  )
  return (nats, *shares)


def occurrences(
  ids: Any, prime: Sequence[int], length: int, most: int
) -> list[tuple[int, ...]]:
  """What follows a prefix where a text has it, the first few times.

  Args:
    ids: the text [N].
    prime: ids of the prefix.
    length: symbols to take after it.
    most: how many places.
  """
  whole = len(prime) + length
  if len(ids) < whole:
    return []
  places = np.lib.stride_tricks.sliding_window_view(np.asarray(ids), whole)
  same = np.all(places[:, : len(prime)] == np.asarray(prime), axis=1)
  chosen = places[np.flatnonzero(same)[:most], len(prime) :]
  return [tuple(row) for row in chosen.tolist()]


def _scatter(path: style.Path, points: dict[str, tuple[float, float]]) -> None:
  searched, drawn, real = *style.COLOURS[1::-1], "black"
  heights = [y for _, y in points.values()]
  # Labels stand beside their points, at least so far apart.
  apart = 0.065 * (max(heights) - min(heights) + 1e-9)
  last = {"left": float("inf"), "right": float("inf")}
  # Those of a cluster on the left begin behind its last point.
  behind = max((x for x, _ in points.values() if x < 0.5), default=0.0) + 0.06
  with style.axes(path, "Likely or varied", height=4.0) as pair:
    for name, (x, y) in sorted(points.items(), key=lambda item: -item[1][1]):
      side = "left" if x < 0.5 else "right"
      colour = searched if name == "greedy" or "beam" in name else drawn
      colour = real if name == "the text itself" else colour
      mark, size = ("*", 12) if colour == real else ("o", 7)
      pair.plot(x, y, mark, ms=size, color=colour, zorder=3)
      height = min(y, last[side] - apart)
      last[side] = height
      pair.annotate(
        name, (x, y), xytext=(behind if side == "left" else x - 0.04, height),
        ha=side, va="center", fontsize=8, color=colour,
        arrowprops={"arrowstyle": "-", "color": style.GREY, "lw": 0.6},
      )  # fmt: skip
    pair.set_xlim(0.0, 1.05)
    pair.margins(y=0.1)
    pair.set_xlabel("distinct-4: share of 4-grams that are different")
    pair.set_ylabel("log probability, nats a character")


_WORD = re.compile(r"[^\W\d_]+")
_TEMPERATURE = 0.8


def words(study: run_lib.Study, writer: Writer) -> None:
  """Draws with and without the list of the training text's words."""
  page, settings = study.lesson, study.config.settings
  tokens = writer.tokens
  known = words_of(tokens)
  letters = letter_ids(tokens)
  separators = [i for i in range(tokens.vocabulary.size) if i not in letters]
  if not known or not separators:
    return
  page.section(
    "Proper words",
    f"""
    A model of characters has no list of words and invents some. Given a list,
    it can be confined to it: the words form a tree of prefixes, and a letter is
    allowed only where some word of the tree goes on with it, anything else only
    where a word is complete. What is left of the probability is shared out
    among what is allowed. Here the list holds the {len(known):,} different runs
    of letters in the training text, and {settings.draws} texts of
    {writer.length} characters are drawn each way, at temperature
    {_TEMPERATURE:g}.
    """,
  )
  ids = [tokens.vocabulary.encode(word).tolist() for word in sorted(known)]
  network, params = confined(writer.network, writer.params, ids, separators)
  restricted = writer._replace(network=network, params=params)
  body, first = [], {}
  for name, one in (("as it is", writer), ("confined", restricted)):
    rows = draw(one, settings.draws, study.config.seed)
    texts = [settings.prefix + training.decode(tokens, row) for row in rows]
    found = whole_words(texts, len(settings.prefix))
    share = sum(word in known for word in found) / max(1, len(found))
    nats, *_ = measured(writer, rows)
    body.append(
      [
        name,
        f"{len(found):,}",
        f"{100 * share:.1f}%",
        f"{len(set(found)):,}",
        nats / writer.length,
      ]
    )
    first[name] = texts[0]
  page.table(
    ["drawn", "whole words", "in the list", "different", "log P a character"],
    body,
  )
  page.say(
    """
    The log probability is the model's own, before it was confined. The first
    text of each:
    """
  )
  for name, shown in first.items():
    page.shown(f"[{name}]\n{training.visible(shown)}")


def words_of(tokens: tokens_lib.Tokens) -> set[str]:
  """The runs of letters in the training text."""
  ids = np.asarray(tokens.splits["train"])
  return set(_WORD.findall(training.decode(tokens, ids)))


def letter_ids(tokens: tokens_lib.Tokens) -> set[int]:
  """The ids of the symbols that words are made of."""
  return {
    index
    for index, symbol in enumerate(tokens.vocabulary.symbols)
    if _WORD.fullmatch(str(symbol)) and len(str(symbol)) == 1
  }


def whole_words(texts: Sequence[str], start: int) -> list[str]:
  """The runs of letters that end after a place, but before the text does.

  Args:
    texts: to look in.
    start: the place.
  """
  return [
    match.group()
    for one in texts
    for match in _WORD.finditer(one)
    if start < match.end() < len(one)
  ]


def draw(writer: Writer, count: int, seed: int) -> list[list[int]]:
  """Texts after the prefix, ids [count, length].

  Args:
    writer: the model, confined or not.
    count: of texts.
    seed: of the draws.
  """
  rows: list[list[int]] = text.sample(
    writer.network,
    writer.params,
    jax.random.key(seed),
    length=writer.length,
    prime=writer.prime,
    batch=count,
    sharpening=text.Sharpening(temperature=_TEMPERATURE),
  ).T.tolist()
  return rows


# The worked example: A, B, C and the end, after each prefix.
NAMES = ("A", "B", "C", "end")
END = 3
TABLE = {
  (): (0.5, 0.2, 0.2, 0.1),
  (0,): (0.1, 0.4, 0.3, 0.2),
  (0, 1): (0.2, 0.2, 0.4, 0.2),
  (0, 1, 2): (0.0, 0.2, 0.2, 0.6),
  (0, 2): (0.1, 0.6, 0.2, 0.1),
  (0, 2, 1): (0.1, 0.2, 0.1, 0.6),
}
_LONGEST = 4

# Five symbols, to watch a beam of two.
FIVE = "ABCDE"
FIVE_TABLE = {
  (): (0.35, 0.15, 0.3, 0.1, 0.1),
  (0,): (0.1, 0.5, 0.15, 0.15, 0.1),
  (2,): (0.15, 0.15, 0.15, 0.15, 0.4),
  (0, 1): (0.2, 0.1, 0.2, 0.3, 0.2),
  (2, 4): (0.1, 0.1, 0.1, 0.6, 0.1),
}


def worked_example(study: run_lib.Study) -> None:
  """The best next symbol is not the beginning of the best string."""
  page = study.lesson
  page.section(
    "The best next symbol, and the best string",
    """
    Greedy decoding takes the likeliest symbol at each step. The product of
    these is not the largest product: a symbol of second rank may lead to where
    the model is surer. The smallest example has three symbols and an end, and a
    model written out as a table (a prefix that it lacks is followed by all four
    alike).
    """,
  )
  page.table(
    ["after", *NAMES],
    [[_spelt(prefix) or "(nothing)", *row] for prefix, row in TABLE.items()],
  )
  predictor, params = as_predictor(TABLE)
  greedy = beam.greedy(predictor, params, length=_LONGEST, end=END)
  two = beam.search(predictor, params, width=2, length=_LONGEST, end=END)
  every = beam.exhaustive(predictor, params, length=_LONGEST, end=END)
  _draw(
    page.figure(
      "worked_example",
      "Two ways through the table. Numbers on the arrows are probabilities of "
      "the next symbol, those beside the symbols products since the beginning.",
    )
  )
  page.table(
    ["search", "finds", "probability", "score, alpha 0.75", "extensions tried"],
    [
      [
        name,
        _spelt(found.symbols),
        f"{math.exp(found.log_probability):.3f}",
        f"{found.log_probability / len(found.symbols) ** 0.75:.4f}",
        tried,
      ]
      for name, found, tried in (
        ("greedy", greedy, f"V T = {4 * _LONGEST}"),
        ("beam of 2", two[0], f"2 V T = {8 * _LONGEST}"),
        ("exhaustive", every[0], f"V^T = {4**_LONGEST}"),
      )
    ],
  )


def beam_at_work(study: run_lib.Study) -> None:
  """Three steps of a beam of two over five symbols."""
  page, symbols = study.lesson, len(FIVE)
  page.section(
    "A beam at work",
    f"""
    A beam keeps the k likeliest strings so far, extends each by every symbol
    and keeps the k likeliest of all these. One that ends is put aside and grows
    no more. Here are three steps of a beam of two over {symbols} symbols. After
    the first step {2 * symbols} extensions are tried at each, of
    {symbols}, {symbols**2} and {symbols**3} strings that there are.
    """,
  )
  page.table(
    ["step", "tried", "kept", "probability", "kept", "probability"],
    [
      [
        step,
        symbols if step == 1 else 2 * symbols,
        *(
          cell
          for one in kept
          for cell in (
            "".join(FIVE[i] for i in one.symbols),
            f"{math.exp(one.log_probability):.3f}",
          )
        ),
      ]
      for step, kept in enumerate(beam_steps(), 1)
    ],
  )
  page.say(
    """
    At the last step the second string overtakes the first: greedy search, which
    holds one alone, would have missed it. With 10,000 words
    and sentences of 10, greedy search tries 100,000 extensions, a beam of two
    about 200,000, and exhaustive search 10^40.
    """
  )


def beam_steps() -> list[list[text.Continuation]]:
  """What the beam of two holds after each step."""
  predictor, params = as_predictor(FIVE_TABLE)
  return [
    beam.search(predictor, params, width=2, length=length, length_penalty=0)
    for length in (1, 2, 3)
  ]


def length_penalty(study: run_lib.Study) -> None:
  """What the division by L^alpha does."""
  page = study.lesson
  page.section(
    "Short strings and long ones",
    """
    Every further symbol multiplies by a probability, so the likeliest string
    tends to be a short one. Dividing the logarithm by a power of the length
    makes up for it:
    """,
  )
  page.shown("score = (1 / L^alpha) (log P(x_1) + ... + log P(x_L | ...))")
  predictor, params = as_predictor(TABLE)
  body = []
  for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
    settings: dict[str, Any] = {
      "length": _LONGEST, "end": END, "length_penalty": alpha
    }  # fmt: skip
    best = beam.exhaustive(predictor, params, **settings)[0]
    found = beam.search(predictor, params, width=2, **settings)[0]
    body.append(
      [
        f"{alpha:g}",
        _spelt(best.symbols),
        f"{math.exp(best.log_probability):.3f}",
        _spelt(found.symbols),
        f"{math.exp(found.log_probability):.3f}",
      ]
    )
  page.table(
    ["alpha", "best of all", "probability", "a beam of 2", "probability"], body
  )
  page.say(
    """
    Without the division one of the shortest strings is the best of all. The
    beam of two does not find it, since at no step is the end among its two
    likeliest; here its failure is a mercy, and not only here: wide beams are
    known to write worse than narrow ones where nothing makes up for length.
    """
  )


def _spelt(symbols: tuple[int, ...]) -> str:
  return " ".join(NAMES[symbol] for symbol in symbols)


def _draw(path: style.Path) -> None:
  """The two ways through the table, as a tree."""
  ways = {(0, 1, 2, END): 1, (0, 2, 1, END): -1}
  colours = {1: style.COLOURS[0], -1: style.COLOURS[1]}
  with style.figure(path, height=2.7) as drawing:
    pair = drawing.subplots()
    pair.set_axis_off()
    pair.set_xlim(-0.4, 5.3)
    pair.set_ylim(-1.5, 1.5)

    def arrow(start: Any, end: Any, share: float, colour: str) -> None:
      pair.annotate(
        "", end, start,
        arrowprops={
          "arrowstyle": "->", "color": colour, "lw": 1.6,
          "shrinkA": 21, "shrinkB": 15,
        },
      )  # fmt: skip
      middle = [(a + b) / 2 for a, b in zip(start, end, strict=True)]
      pair.text(
        middle[0], middle[1] + 0.14, f"{share:g}", color=colour, fontsize=9,
        ha="center", va="bottom",
      )  # fmt: skip

    def node(place: Any, name: str, total: float | None, colour: str) -> None:
      pair.text(
        *place, name, ha="center", va="center", fontsize=10,
        bbox={"boxstyle": "round,pad=0.35", "fc": "white", "ec": colour},
      )  # fmt: skip
      if total is not None:
        pair.text(
          place[0], place[1] - 0.33, f"{total:.3g}", ha="center", va="top",
          fontsize=8, color=style.GREY,
        )  # fmt: skip

    arrow((0, 0), (1, 0), 0.5, style.GREY)
    node((0, 0), "start", None, style.GREY)
    node((1, 0), "A", 0.5, style.GREY)
    for way, side in ways.items():
      total, place = 0.5, (1.0, 0.0)
      for step in range(1, 4):
        share = TABLE[way[:step]][way[step]]
        total *= share
        after = (step + 1.0, 0.75 * side)
        arrow(place, after, share, colours[side])
        node(after, NAMES[way[step]], total, colours[side])
        place = after
      name = "greedy" if side > 0 else "beam of 2"
      pair.text(
        4.4, place[1], f"{name}\n{total:.3f}", color=colours[side],
        va="center", fontsize=9,
      )  # fmt: skip


_BARS = 26  # of the likeliest characters in a figure

# Settings that count something.
_SIZES = (
  *(
    "models",
    "widths",
    "features",
    "batch",
    "segment",
    "steps",
    "length",
    "draws",
  ),
  *("beams", "beam", "longest"),
)


def run(study: run_lib.Study) -> list[results.Row]:
  """Writes the page; see `configs.fundamentals`."""
  tokens = study.tokens("characters")
  prime = training.encode(tokens, study.config.settings.prefix)
  training.check_sizes(study.config.settings, _SIZES)
  study.lesson.say(
    """
    A language model gives probabilities; a text needs choices. One can look for
    the likeliest text, or draw one. This page does both, first where everything
    can be tried, then on a model of characters.
    """
  )
  worked_example(study)
  beam_at_work(study)
  length_penalty(study)
  random_models(study)
  study.signals.check()
  writer, rows = train(study, tokens, prime.tolist())
  sharpened(study, writer)
  next_words(study, writer)
  texts(study, writer)
  study.signals.check()
  words(study, writer)
  return rows


def train(
  study: run_lib.Study, tokens: Any, prime: list[int]
) -> tuple[Writer, list[results.Row]]:
  """A small LSTM of the text's characters."""
  settings = study.config.settings
  network = training.network(
    "lstm", tokens.vocabulary.size, (settings.features,)
  )
  found = training.on_streams(study, network, tokens.splits["train"])
  scored = training.held_out(network, found.params, tokens.splits["valid"])
  study.lesson.section(
    "A model of characters",
    f"""
    From here on the model is an LSTM of {settings.features} units, trained for
    {settings.steps:,} steps of {settings.batch} x {settings.segment}
    characters. Its perplexity on held-out text is {scored.perplexity:.2f}. All
    texts go on from {settings.prefix!r}, which it reads first.
    """,
  )
  row = results.row(
    f"LSTM of {settings.features} units",
    split="valid",
    evaluation="static",
    metric="perplexity",
    value=scored.perplexity,
    count=scored.count,
    seconds=scored.seconds,
  )
  writer = Writer(network, found.params, tokens, prime, settings.length)
  return writer, [row]


def sharpened(study: run_lib.Study, writer: Writer) -> None:
  """What temperature, top-k and nucleus make of one distribution."""
  page = study.lesson
  page.section(
    "Sharpening the distribution",
    """
    Drawing from the model as it is, each symbol by its probability, gives texts
    as often as the model takes them to occur. But many symbols have a small
    probability each, and taken together not such a small one: in a long text
    some of them will be drawn, and a small model does not find its way back
    from a misspelling. So one draws from something sharper. The temperature
    raises all probabilities to a power; top-k keeps a fixed number of symbols;
    the nucleus keeps as many as hold a fixed share, few where the model is sure
    and many where it is not.
    """,
  )
  page.shown(
    """
    power        Q(x) ~ P(x)^alpha          temperature T = 1 / alpha
    top-k        Q(x) ~ P(x)                on the k likeliest, else 0
    nucleus      Q(x) ~ P(x)                on the fewest that hold p, else 0
    """
  )
  read = text_lib.prime_ids(writer.prime)
  _, logits = text_lib.read(writer.network, writer.params, read, 1)
  logits = logits[0]
  body = []
  for name, sharpen in SHARPENINGS.items():
    after = sharpen(logits)
    shares = np.asarray(jax.nn.softmax(after))
    body.append(
      [
        name,
        float(text_lib.entropy(after)),
        f"{np.sum(shares > 0)}",
        float(shares.max()),
      ]
    )
  page.say(
    f"""
    The character after {study.config.settings.prefix!r}, of which there are
    {len(logits)}:
    """
  )
  page.table(["drawn from", "entropy, nats", "symbols left", "largest"], body)
  _bars(
    page.figure(
      "sharpening",
      f"The same after {study.config.settings.prefix!r}: the likeliest "
      "characters under the model (grey) and after sharpening.",
    ),
    logits,
    writer.tokens,
  )
  alphas = (0.5, 1.0, 2.0, 4.0, 8.0, 1000.0)
  nats = [
    float(text_lib.entropy(text_lib.power(logits, alpha))) for alpha in alphas
  ]
  falls = ", ".join(
    f"{value:.3f} at {alpha:g}"
    for alpha, value in zip(alphas, nats, strict=True)
  )
  page.say(
    f"""
    The entropy falls as alpha grows: {falls}. In the limit all probability lies
    on the likeliest symbol, and drawing is greedy.
    """
  )


def _bars(path: style.Path, logits: jax.Array, tokens: Any) -> None:
  """The likeliest symbols, before and after each sharpening."""
  order = np.argsort(-np.asarray(logits))[:_BARS]
  names = [_visible(tokens.vocabulary.symbols[i]) for i in order]
  usual = np.asarray(jax.nn.softmax(logits))[order]
  shown = {n: s for n, s in SHARPENINGS.items() if n != "as it is"}
  with style.figure(path, height=4.4) as drawing:
    pairs = drawing.subplots(2, 2, sharex=True, sharey=True).ravel()
    places = np.arange(len(order))
    for pair, (name, sharpen) in zip(pairs, shown.items(), strict=True):
      style.clean(pair)
      after = np.asarray(jax.nn.softmax(sharpen(logits)))[order]
      pair.bar(places, usual, color="#D0D0D0", width=0.85)
      pair.bar(places, after, color=style.COLOURS[0], width=0.45)
      pair.set_title(name, fontsize=10)
      pair.set_xticks(places, names, fontsize=8, family="monospace")
    for pair in pairs[::2]:
      pair.set_ylabel("probability")


def _visible(symbol: Any) -> str:
  return {" ": "\u2423", "\n": "\u00b6"}.get(str(symbol), str(symbol))


def next_words(study: run_lib.Study, writer: Writer) -> None:
  """A beam that stops at an end symbol, under several penalties."""
  page, settings = study.lesson, study.config.settings
  symbols = writer.tokens.vocabulary
  if settings.end not in symbols:
    return
  end = symbols.index[settings.end]
  page.section(
    "Where to stop",
    f"""
    With {settings.end!r} as the end a beam looks for the next word. That is
    {settings.beam} strings wide here, and no string longer than
    {settings.longest} characters. The penalty decides what wins: the larger
    alpha is, the longer.
    """,
  )
  body = []
  for alpha in (0.0, 0.5, 0.75, 1.0, 1.5, 2.0):
    found = beam.search(
      writer.network,
      writer.params,
      width=settings.beam,
      length=settings.longest,
      prime=writer.prime,
      end=end,
      length_penalty=alpha,
    )
    shown = [training.decode(writer.tokens, x.symbols) for x in found]
    listed = ", ".join(
      f"`{''.join(map(_visible, text))}`" for text in shown[:4]
    )
    best = found[0]
    body.append([f"{alpha:g}", listed, len(best.symbols), best.log_probability])
  page.table(
    ["alpha", "the four best", "length of the first", "its log P, nats"], body
  )
