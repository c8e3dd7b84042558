"""Networks that read in both directions, and what they may see.

Layers that read a sequence both ways (Schuster and Paliwal, 1997).

    f^n_t = F(h^{n-1}_t, f^n_{t-1}),    from the first step to the last
    b^n_t = B(h^{n-1}_t, b^n_{t+1}),    from the last step to the first
    h^n_t = [f^n_t, b^n_t],   h^0 = x

Every output has seen every input, so this serves to encode, to tag and to fill
blanks, and is no language model: h_t would know the symbol it is to predict.

What a sequence model has seen before it predicts: two tests by brute force.

A model of the next symbol may use the symbols before it and no others:

    d O_t / d X_s = 0 exactly,            for s > t
    sum over all x of prod_t P(x_t) = 1,  x running through all V^T strings

A model that peeks fails both.
"""

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies import run as run_lib
from experiments.studies.autoregressive import data, models
from experiments.studies.common import training
from seqmodels import errors, losses, units
from seqmodels.cells import ops
from seqmodels.data.text import batching, tokens
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import metrics, static
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.layers import stack as stack_lib
from seqmodels.models import api as predictors
from seqmodels.plotting import style


class Bidirectional(nn.Module):
  """A stack of such layers, time-major.

  Attributes:
    features: H of each layer's forward half, lowest first.
    in_features: D: the number of symbols for ids, the width for dense input.
    backward_features: H of the backward halves; as `features` by default.
    cell: a name in `cells.cell.CELLS`.
    options: the cell's own options.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands.
    chunk: recompute policy, see `RecurrentLayer`.

  Raises:
    UserError: no layer, or halves of unlike depth.

  >>> stack = Bidirectional(features=(4, 4), in_features=9)
  >>> ids = jnp.zeros((5, 2), int)  # [T, B]
  >>> variables = stack.init(jax.random.key(0), ids)
  >>> carries, outputs = stack.apply(variables, ids)
  >>> len(carries), outputs.shape
  (2, (5, 2, 8))
  """

  features: Sequence[int]
  in_features: int
  backward_features: Sequence[int] | None = None
  cell: str = "lstm"
  options: Mapping[str, Any] | None = None
  gradient_clip: float | None = None
  dtype: Any = None
  chunk: int = 0

  def __post_init__(self) -> None:
    """Refuses what cannot be built."""
    super().__post_init__()
    if not len(self.features):
      raise errors.UserError(
        "a bidirectional stack was given no layer; give features with at "
        "least one width"
      )
    backward = self.backward_features
    if backward is not None and len(backward) != len(self.features):
      raise errors.UserError(
        f"backward_features has {len(backward)} widths and features has "
        f"{len(self.features)}; give one a layer, or leave it out"
      )

  @nn.compact
  def __call__(
    self, inputs: ops.Inputs, *, lengths: jax.Array | None = None
  ) -> tuple[tuple[tuple[Any, Any], ...], jax.Array]:
    """Reads whole sequences.

    Args:
      inputs: ids [T, B] or dense [T, B, D].
      lengths: [B]; steps at or past a row's length are padding: they yield
        zeros and reach no other step, whatever they hold. The backward half
        starts at the last step inside.

    Returns:
      The two last carries of each layer, the forward one after the last step
      and the backward one after the first; and the outputs of the top layer,
      [T, B, H forward + H backward].
    """
    backward = self.backward_features or self.features
    carries: list[tuple[Any, Any]] = []
    below, width = inputs, self.in_features
    for index, both in enumerate(zip(self.features, backward, strict=True)):
      carry, below = self._layer(index, both, width, below, lengths)
      carries.append(carry)
      width = sum(both)
    return tuple(carries), below  # type: ignore[return-value]

  def _layer(
    self,
    index: int,
    both: tuple[int, int],
    width: int,
    below: ops.Inputs,
    lengths: jax.Array | None,
  ) -> tuple[tuple[Any, Any], jax.Array]:
    found = []
    for name, features in zip(("forward", "backward"), both, strict=True):
      layer = recurrent.RecurrentLayer(
        features=features,
        cell=self.cell,
        options=self.options,
        in_features=width,
        gradient_clip=self.gradient_clip,
        dtype=self.dtype,
        chunk=self.chunk,
        time_major=True,
        return_carry=True,
        reverse=name == "backward",
        name=f"{name}_{index}",
      )
      found.append(layer(below, seq_lengths=lengths))
    (first, forward), (last, back) = found
    return (first, last), jnp.concatenate([forward, back], axis=-1)


class Reader(nn.Module):
  """Symbols read both ways, and logits at every place.

  Attributes:
    symbols: V.
    features: H of each layer and direction.
    cell: a name in `cells.cell.CELLS`.
  """

  symbols: int
  features: tuple[int, ...]
  cell: str = "gru"

  @nn.compact
  def __call__(
    self, inputs: jax.Array, lengths: jax.Array | None = None
  ) -> jax.Array:
    """Logits [T, B, V] of ids [T, B] or one-hot vectors [T, B, V]."""
    stack = Bidirectional(
      features=self.features,
      in_features=self.symbols,
      cell=self.cell,
      name="stack",
    )
    _, outputs = stack(inputs, lengths=lengths)
    return stack_lib.Head(self.symbols, name="head")((outputs,))


@functools.lru_cache
def as_predictor(reader: Reader) -> predictors.Predictor:
  """The reader where a causal model belongs, which it is not.

  It has no carry: each call is a text of its own. Equal readers give one
  object, so what is compiled for it is compiled once.
  """

  def apply(
    params: Any, carry: Any, inputs: jax.Array, reset: jax.Array
  ) -> tuple[Any, jax.Array]:
    del reset
    return carry, reader.apply({"params": params}, inputs)  # type: ignore[return-value]

  return predictors.Predictor(
    apply=apply,
    initial_carry=lambda batch: (),
    init=lambda key: reader.init(key, jnp.zeros((1, 1), jnp.int32))["params"],
    vocabulary_size=reader.symbols,
  )


def continued(
  reader: Reader, params: Any, prime: np.ndarray, length: int
) -> np.ndarray:
  """What the reader takes to follow a prime, symbol by symbol, greedily.

  The text so far is read anew for every symbol; the places after it are
  padding, so that the backward half has nothing to look at.

  Args:
    reader: the network, trained to predict the next symbol.
    params: its weights.
    prime: ids [P].
    length: symbols to add.

  Returns:
    ids [length].
  """
  ids = np.full((1 + len(prime) + length, 1), -1, np.int32)
  ids[1 : 1 + len(prime), 0] = prime

  @jax.jit
  def best(ids: jax.Array, size: jax.Array) -> jax.Array:
    logits: Any = reader.apply({"params": params}, ids, lengths=size)
    return jnp.argmax(logits[size[0] - 1, 0])

  for place in range(1 + len(prime), len(ids)):
    ids[place, 0] = int(best(ids, np.array([place])))
  return ids[1 + len(prime) :, 0]


class Blanks(NamedTuple):
  """Windows in which some symbols are blank, to be filled in.

  A blank is read as the null vector, and blanks alone are scored: the network's
  output at a place is for the symbol of that very place.

  Attributes:
    text: the windows.
    share: of the symbols that are blanked.
    seed: of their places.
  """

  text: batching.RandomWindows
  share: float
  seed: int

  @property
  def batch(self) -> int:
    """Windows a segment."""
    return self.text.batch

  def segments(self, start: int, count: int) -> batching.Segment:
    """Segments `start` to `start + count`, [count, T, B]."""
    whole = self.text.segments(start, count)
    random = np.random.default_rng((self.seed, start))
    blank = random.random(whole.targets.shape) < self.share
    inputs = np.where(blank, batching.NULL, whole.targets).astype(np.int32)
    return whole._replace(inputs=inputs, mask=blank)


def windows_of(study: run.Study, ids: tokens.Ids) -> batching.RandomWindows:
  """A text in the windows of the study's settings."""
  settings = study.config.settings
  return batching.RandomWindows(
    ids,
    batch=settings.batch,
    length=settings.segment,
    seed=study.config.seed,
  )


def fit(study: run.Study, network: predictors.Predictor, text: Any) -> Any:
  """Weights trained for `reader_steps` on windows, with blanks or without."""
  settings = study.config.settings
  return training.train(
    network,
    text,
    training.adam(settings, settings.reader_steps),
    steps=settings.reader_steps,
    seed=study.config.seed,
    check=study.signals.check,
  ).params


def score(
  network: predictors.Predictor, params: Any, segments: batching.Segment
) -> metrics.Totals:
  """The scored places of segments [K, T, B]."""
  return static.evaluate(
    network, params, segments, streams=segments.inputs.shape[2]
  )


def rows(
  source: str, scores: Mapping[str, metrics.Totals]
) -> list[results.Row]:
  """Perplexities of blanks, by how they were read."""
  return [
    results.row(
      f"{source}, {name}, blanks",
      split="valid",
      evaluation="static",
      metric="perplexity",
      value=found.perplexity,
      count=found.count,
      seconds=found.seconds,
    )
    for name, found in scores.items()
  ]


# Two states that last, and symbols that tell little of them each.
SOURCE = models.HiddenMarkov(
  np.array([0.5, 0.5]),
  np.array([[0.95, 0.05], [0.05, 0.95]]),
  np.array([[0.5, 0.3, 0.15, 0.05], [0.05, 0.15, 0.3, 0.5]]),
)
SYMBOLS = SOURCE.emission.shape[1]


def hidden_chain(
  study: run.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """The same two networks on blanks that can be filled no better than so."""
  page, settings = study.lesson, study.config.settings
  random = study.random
  train, held = (
    Blanks(
      windows_of(study, draw(random, count)),
      settings.blank_share,
      study.config.seed,
    )
    for count in (settings.chain_symbols, settings.chain_symbols // 10)
  )
  tests = held.segments(0, held.text.segments_per_epoch)
  floors = dict(
    zip(
      ("forwards", "both ways"), floor(tests, settings.blank_share), strict=True
    )
  )
  # The symbols are the first of the text's, so that nothing is compiled anew.
  readers = networks(
    max(tokens.vocabulary.size, SYMBOLS), settings.reader_features
  )
  scores = {
    name: score(network, fit(study, network, train), tests)
    for name, network in readers.items()
  }
  page.section(
    "How good could it be?",
    f"""
    Of a text nobody knows the best possible guess. Of a made-up source one
    does. Here two hidden states follow each other, each lasting 20 steps on
    average, and each shows one of {SYMBOLS} symbols, some more often than
    others: a hidden Markov model. One symbol tells little of the state, its
    neighbours on both sides tell more. Sums over all ways of the states
    (forwards for what is before a blank, backwards for what is behind it) give
    the exact probabilities of what a blank hides. No network can do better on
    average; the same two learn from {settings.chain_symbols:,} symbols with
    {100 * settings.blank_share:g}% blanks.
    """,
  )
  page.table(
    ["read", "perplexity of the blanks", "the best there is"],
    [[name, found.perplexity, floors[name]] for name, found in scores.items()],
  )
  return rows("hidden Markov source, GRU", scores)


def draw(random: np.random.Generator, count: int) -> np.ndarray:
  """Symbols of the source, [count].

  Args:
    random: of the draws.
    count: how many.
  """
  _, symbols = data.hidden_markov(
    SOURCE.initial, SOURCE.transition, SOURCE.emission, count, random=random
  )
  return symbols


def floor(segments: batching.Segment, share: float) -> tuple[float, float]:
  """The best perplexity of the blanks, by what is before, and by all.

  A blank is a symbol of its own, shown with probability `share` in any state:
  what it says of the state is nothing.

  Args:
    segments: arrays [K, T, B]; each window a sequence of its own.
    share: of the symbols that are blank.
  """
  seen = np.hstack(
    [(1 - share) * SOURCE.emission, np.full((len(SOURCE.initial), 1), share)]
  )
  blanked = models.HiddenMarkov(SOURCE.initial, SOURCE.transition, seen)
  before, around, count = 0.0, 0.0, 0
  for truth, blank in zip(
    *(
      leaf.transpose(0, 2, 1).reshape(-1, leaf.shape[1])
      for leaf in (segments.targets, segments.mask)
    ),
    strict=True,
  ):
    read = np.where(blank, SYMBOLS, truth)
    places = np.flatnonzero(blank)
    hidden = truth[places]
    states = np.exp(blanked.forward(read)[places])
    states /= states.sum(axis=1, keepdims=True)
    before -= np.log((states * SOURCE.emission[:, hidden].T).sum(axis=1)).sum()
    whole = blanked.fill_in(read)[places, :SYMBOLS]
    whole /= whole.sum(axis=1, keepdims=True)
    around -= np.log(whole[np.arange(len(places)), hidden]).sum()
    count += len(places)
  return units.perplexity(before, count), units.perplexity(around, count)


def reach(
  predictor: predictors.Predictor, params: Any, ids: np.ndarray
) -> np.ndarray:
  """The largest |dO_t / dX_s| between two places of a text.

  Args:
    predictor: one that reads dense vectors as well as ids.
    params: its weights.
    ids: the text [T], read as one-hot vectors.

  Returns:
    float [T, T], outputs t down and inputs s across.
  """
  hot = jax.nn.one_hot(ids, predictor.vocabulary_size)[:, None]
  never = jnp.zeros(hot.shape[:2], bool)

  def outputs(hot: jax.Array) -> jax.Array:
    carry = predictor.initial_carry(1)
    return predictor.apply(params, carry, hot, never)[1][:, 0]

  slopes = jax.jit(jax.jacrev(outputs))(hot)  # [T, V, T, 1, V]
  return np.abs(np.asarray(slopes)).max(axis=(1, 3, 4))


def total_probability(
  predictor: predictors.Predictor, params: Any, *, length: int
) -> float:
  """The sum over all strings of a length of what the model gives them.

  Args:
    predictor: the model; each string is read whole, after the null vector.
    params: its weights.
    length: T.
  """
  symbols = predictor.vocabulary_size
  strings = np.array(
    list(itertools.product(range(symbols), repeat=length)), np.int32
  ).T

  @jax.jit
  def nats(strings: jax.Array) -> jax.Array:
    null = jnp.full_like(strings[:1], -1)
    inputs = jnp.concatenate([null, strings[:-1]])
    everywhere = jnp.ones(strings.shape, bool)
    carry = predictor.initial_carry(strings.shape[1])
    _, logits = predictor.apply(params, carry, inputs, ~everywhere)
    return jnp.sum(losses.cross_entropy(logits, strings, everywhere)[0], axis=0)

  found = np.asarray(nats(jnp.asarray(strings)), np.float64)
  return float(np.exp(-found).sum())


def blanks(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """Filling blanks, forwards and both ways."""
  page, settings = study.lesson, study.config.settings
  h = settings.reader_features
  page.section(
    "What bidirectional networks are for: filling blanks",
    f"""
    Where the whole text is at hand and some of it is missing, what follows a
    gap says as much as what comes before. Here {100 * settings.blank_share:g}%
    of the characters are replaced by a null vector, and only these are scored.
    A forward GRU of {h} units and a bidirectional one of {h} units each way
    learn from the same windows with the same blanks, {settings.reader_steps}
    steps of Adam each.
    """,
  )
  readers = networks(tokens.vocabulary.size, h)
  train, held = (
    Blanks(
      windows_of(study, tokens.splits[split]),
      settings.blank_share,
      study.config.seed,
    )
    for split in ("train", "valid")
  )
  tests = held.segments(0, held.text.segments_per_epoch)
  weights = {
    name: fit(study, network, train) for name, network in readers.items()
  }
  scores = {
    name: score(network, weights[name], tests)
    for name, network in readers.items()
  }
  page.table(
    ["read", "perplexity of the blanks", "wrong at first guess"],
    [
      [name, found.perplexity, f"{100 * found.error_rate:.1f}%"]
      for name, found in scores.items()
    ],
  )
  prose = _prose(tests, tokens)
  page.say("A held-out window, and the likeliest filling of its blanks:")
  _filled(study, tokens, readers, weights, prose)
  by_reach(study, tokens, readers, weights)
  return rows(f"GRU of {h} units", scores)


def networks(symbols: int, h: int) -> dict[str, predictors.Predictor]:
  """One that reads forwards, and one that reads both ways."""
  both = Reader(symbols, (h,))
  return {
    "forwards": training.network("gru", symbols, (h,)),
    "both ways": as_predictor(both),
  }


def _prose(
  segments: batching.Segment, tokens: tokens_lib.Tokens
) -> batching.Segment:
  """The row of the first segment that is the most like prose, [T, 1]."""
  letters = np.array(
    [str(symbol).isalpha() for symbol in tokens.vocabulary.symbols]
  )
  row = int(np.argmax(letters[segments.targets[0]].sum(axis=0)))
  return type(segments)(*(leaf[0][:, row : row + 1] for leaf in segments))


def _filled(
  study: run_lib.Study,
  tokens: tokens_lib.Tokens,
  readers: dict[str, predictors.Predictor],
  weights: dict[str, Any],
  segment: batching.Segment,
) -> None:
  """Shows a line with blanks, and what each network puts into them."""
  spell = functools.partial(training.decode, tokens)
  blank, truth = segment.mask[:, 0], segment.targets[:, 0]

  def line(name: str, text: str) -> str:
    return f"{name:10} {text}".replace("\n", "\u00b6")

  hidden = zip(spell(truth), blank, strict=True)
  lines = [line("blanks", "".join("_" if b else x for x, b in hidden))]
  for name, network in readers.items():
    best = fill(network, weights[name], segment)
    guesses = spell(np.where(blank, best, truth))
    right = int(np.sum(blank & (best == truth)))
    lines.append(
      f"{line(name, guesses)}  ({right} of {int(blank.sum())} right)"
    )
  study.lesson.shown("\n".join(lines))


def fill(
  network: predictors.Predictor, params: Any, segment: batching.Segment
) -> np.ndarray:
  """The likeliest symbol at each place of a segment's first row, [T]."""
  carry = network.initial_carry(segment.inputs.shape[1])
  run = jax.jit(network.apply)
  _, logits = run(params, carry, segment.inputs, segment.reset)
  return np.asarray(jnp.argmax(logits[:, 0], axis=-1))


# Characters to the right of a blank that may be read.
_REACHES = (0, 1, 2, 4, 8, 16)
_SHOWN = (0, 1, 4)


def by_reach(
  study: run.Study,
  tokens: tokens_lib.Tokens,
  readers: dict[str, predictors.Predictor],
  weights: dict[str, Any],
) -> None:
  """How the guess improves with what may be read behind the blank."""
  page, settings = study.lesson, study.config.settings
  symbols, h = tokens.vocabulary.size, settings.reader_features
  reader = Reader(symbols, (h,))
  held = windows_of(study, tokens.splits["valid"])
  whole = held.segments(0, held.segments_per_epoch).targets
  # One blank a window, in its middle: [T, windows].
  texts = whole.transpose(1, 0, 2).reshape(whole.shape[1], -1)
  place = len(texts) // 2
  reaches = [k for k in _REACHES if place + k < len(texts)]
  logs = {
    k: at_blank(reader, weights["both ways"], texts, place, k) for k in reaches
  }
  truth = texts[place]
  perplexities = {k: _perplexity(found, truth) for k, found in logs.items()}
  forwards = _perplexity(
    _forwards(readers["forwards"], weights["forwards"], texts, place), truth
  )
  near, far = reaches[0], reaches[-1]
  row = _telling(logs[near], logs[min(4, far)], truth, texts, tokens)
  text = training.decode(tokens, texts[:, row])
  page.say(
    f"""
    One blank in the middle of each of {texts.shape[1]:,} held-out windows shows
    how far it helps to look ahead. The bidirectional network is given what is
    to the left, and so many characters to the right. With none its perplexity
    is {perplexities[near]:.2f}, with {far} it is {perplexities[far]:.2f}; the
    forward one has {forwards:.2f}. Most of the help comes from the nearest
    characters.
    """
  )
  _draw(
    page.figure(
      "right_context",
      "Perplexity of a blank by how many characters behind it are read.",
    ),
    perplexities,
    forwards,
  )
  page.say(
    f"""
    One of these windows, its blank the character {text[place]!r}, and the three
    likeliest fillings as more and more of the right is read:
    """
  )
  body = []
  for k in (k for k in _SHOWN if k in logs):
    chances = np.exp(logs[k][row])
    best = np.argsort(-chances)[:3]
    named = ", ".join(
      f"{tokens.vocabulary.symbols[i]!r} {chances[i]:.2f}" for i in best
    )
    seen = f"{text[:place]}_{text[place + 1 : place + 1 + k]}"
    seen = seen.replace("\n", "\u00b6")
    body.append([k, f"`{seen}`", named, float(chances[truth[row]])])
  page.table(["to the right", "seen", "likeliest", "P of the true one"], body)


def at_blank(
  reader: Reader,
  params: Any,
  texts: np.ndarray,
  place: int,
  reach: int,
) -> np.ndarray:
  """log P of each symbol at a blank, [B, V].

  Args:
    reader: the network.
    params: its weights.
    texts: ids [T, B].
    place: of the blank.
    reach: symbols behind it that are read; the rest is padding.
  """
  inputs = texts.astype(np.int32)
  inputs[place] = batching.NULL
  lengths = np.full(texts.shape[1], place + 1 + reach)
  return np.asarray(_log_shares(reader, params, inputs, lengths)[place])


def _forwards(
  network: predictors.Predictor, params: Any, texts: np.ndarray, place: int
) -> np.ndarray:
  """The same of a network that reads forwards, [B, V]."""
  inputs = texts[: place + 1].astype(np.int32)
  inputs[place] = batching.NULL
  carry = network.initial_carry(texts.shape[1])
  never = np.zeros(inputs.shape, bool)
  _, logits = jax.jit(network.apply)(params, carry, inputs, never)
  return np.asarray(jax.nn.log_softmax(logits[place]))


def _perplexity(logs: np.ndarray, truth: np.ndarray) -> float:
  """Of log P [B, V] and the true symbols [B]."""
  return float(np.exp(-np.take_along_axis(logs, truth[:, None], axis=1).mean()))


@functools.partial(jax.jit, static_argnums=0)
def _log_shares(
  reader: Reader,
  params: Any,
  inputs: jax.Array,
  lengths: jax.Array,
) -> jax.Array:
  logits: Any = reader.apply({"params": params}, inputs, lengths=lengths)
  return jax.nn.log_softmax(logits)


def _telling(
  before: np.ndarray,
  after: np.ndarray,
  truth: np.ndarray,
  texts: np.ndarray,
  tokens: tokens_lib.Tokens,
) -> int:
  """The window of plain prose whose true symbol gains most probability."""
  plain = np.array(
    [str(s).isalpha() or s == " " for s in tokens.vocabulary.symbols]
  )
  prose = plain[texts].all(axis=0)
  gain = np.take_along_axis(
    np.exp(after) - np.exp(before), truth[:, None], axis=1
  )[:, 0]
  return int(np.argmax(np.where(prose, gain, gain.min() - 1)))


def _draw(
  path: style.Path, perplexities: dict[int, float], forwards: float
) -> None:
  with style.axes(path, "What is behind a blank", height=3.2) as pair:
    places = np.arange(len(perplexities))
    pair.plot(
      places,
      list(perplexities.values()),
      "o-",
      color=style.COLOURS[0],
      label="bidirectional GRU",
    )
    pair.set_xticks(places, [str(k) for k in perplexities])
    style.references(pair, {"forward GRU": forwards})
    pair.set_ylim(bottom=1)
    pair.set_xlabel("characters read to the right of the blank")
    pair.set_ylabel("perplexity of the blank")
    pair.legend(frameon=False, fontsize=9)


def next_symbol(
  study: run.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """A bidirectional network trained as a model of the next symbol."""
  page, settings = study.lesson, study.config.settings
  symbols = tokens.vocabulary.size
  page.section("A bidirectional model of the next symbol: how not to do it")
  reader = Reader(symbols, (settings.reader_features,))
  network = as_predictor(reader)
  text, held = (
    windows_of(study, tokens.splits[split]) for split in ("train", "valid")
  )
  params = fit(study, network, text)
  tests = held.segments(0, held.segments_per_epoch)
  inside = np.arange(held.length)[:, None] < held.length - 1
  copied, blind = (
    score(network, params, tests._replace(mask=tests.mask & chosen))
    for chosen in (inside, ~inside)
  )
  scored = copied.merge(blind)
  length = 2
  total = total_probability(network, params, length=length)
  prime = training.encode(tokens, settings.prefix)
  ids = continued(reader, params, prime, settings.sample_length // 2)
  page.say(
    f"""
    Trained like any other, {settings.reader_steps} steps on windows of
    {held.length} characters, a bidirectional GRU reaches a perplexity of
    {scored.perplexity:.2f} on windows that it has not learned from. The number
    is worth nothing: the symbol to be predicted at t is the input at t + 1, and
    the backward half has just read it. At the last place of a window, with
    nothing behind it to copy, the perplexity is {blind.perplexity:.1f}; at all
    others it is {copied.perplexity:.2f}. The "probabilities" of all
    {symbols**length:,} strings of {length} characters sum to {total:,.2f}.
    Writing takes place at the end of a text, always. There the backward half
    has nothing to read, and the forward half has hardly been taught, since it
    was never needed. With each likeliest symbol put behind {settings.prefix!r}
    and runs of spaces made visible, the network writes:
    """
  )
  written = training.decode(tokens, ids)
  page.shown(training.visible(settings.prefix + written))
  return [
    results.row(
      "bidirectional GRU, no model: it reads the symbol it predicts",
      split="valid",
      evaluation="not a probability",
      metric="perplexity",
      value=scored.perplexity,
      count=scored.count,
      seconds=scored.seconds,
    )
  ]
