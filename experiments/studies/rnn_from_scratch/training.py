"""Training of recurrent networks from scratch.

The textbook's own trainings, so that its numbers can be found again.

The setting of Zhang et al., Dive into Deep Learning (edition 1.0): text reduced
to letters and spaces, the first 10,000 windows of 32 characters, one beginning
at each character, in minibatches of 1,024; 5,000 further windows to validate,
here behind the last character that was learned from; networks of 32 units with
weights from N(0, 0.01^2), plain descent, gradients clipped at 1.
"""

import functools
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies import run as run_lib
from experiments.studies.common import cleaning, figures, training
from experiments.studies.common import training as training_lib
from experiments.studies.rnn_from_scratch import bidirectional, equations
from seqmodels import errors, trees, units
from seqmodels.data.text import batching, vocabulary
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.evaluation import metrics, static
from seqmodels.io import results
from seqmodels.models import api as predictors
from seqmodels.models import ngram
from seqmodels.plotting import style
from seqmodels.sampling import text
from seqmodels.training import optimizers


class Kind(NamedTuple):
  """A network of the comparison.

  Attributes:
    cell: a name in `cells.cell.CELLS`.
    layers: how many, of one width.
    embedded: reads an embedding, not one-hot vectors.
    rate: times the learning rate of the settings: what did best of 1/2, 1, 2
      and 3 in a trial on the embedded text.
    held: a gate (0 is R, 1 is Z) and the bias that holds it at an end. There
      its slope is exactly 0: no training moves it.
  """

  cell: str
  layers: int = 1
  embedded: bool = False
  rate: float = 1.0
  held: tuple[int, float] | None = None


NETWORKS = {
  "RNN": Kind("elman"),
  "RNN, embedding": Kind("elman", embedded=True),
  "GRU, reset gate only": Kind("gru", held=(1, equations.SHUT)),
  "GRU, update gate only": Kind("gru", held=(0, equations.OPEN)),
  "GRU": Kind("gru"),
  "GRU, two layers": Kind("gru", layers=2, rate=0.5),
  "LSTM": Kind("lstm", rate=3.0),
}
_ALONE = ("GRU, reset gate only", "GRU, update gate only")


class Writer(NamedTuple):
  """A trained network, for what comes after."""

  name: str
  network: predictors.Predictor
  params: Any


class _Outcome(NamedTuple):
  training: float  # perplexity over the last tenth of the steps
  held_out: metrics.Totals
  parameters: int
  speed: float  # characters a second
  curve: np.ndarray  # perplexities, smoothed


def train_network(
  study: run.Study, tokens: tokens_lib.Tokens
) -> tuple[list[results.Row], Writer]:
  """Trains all networks on one text; returns the rows and the last of them."""
  page, settings = study.lesson, study.config.settings
  symbols = tokens.vocabulary.size
  page.section(
    "Learning the characters of a text",
    f"""
    The input is a character, the target the next one, the output a score for
    each of the {symbols} characters there are. The text is cut into
    {settings.batch} rows that are read side by side, {settings.segment}
    characters at a time: the state goes on from one piece to the next, the
    gradient stops between them. So a prediction may depend on all of the row
    before it, but what is learned reaches back {settings.segment} characters at
    most. All networks have {settings.features} units a layer and take
    {settings.steps:,} steps of Adam, with a {settings.schedule} schedule and
    the norm of the gradient clipped at 1. Which rate suits a network depends on
    its kind; each has the one that did best of a few in a trial. The embedding
    is {settings.embedding} wide. Two of the GRUs have one of their gates alone:
    the other is held at the end where it does nothing (R at 1, Z at 0). Beside
    them stands a model that counts: an interpolated Kneser-Ney model of
    {settings.ngram_order} characters.
    """,
  )
  found: dict[str, _Outcome] = {}
  for name in settings.networks:
    found[name], writer = _trained(study, tokens, name)
  counted, row = counting(study, tokens)
  page.table(
    ["model", "parameters", "rate", "training", "held out", "characters/s"],
    [
      *(_line(settings, name, one) for name, one in found.items()),
      [f"{settings.ngram_order}-gram, counted", "", "", "", counted, ""],
    ],
  )
  unigram = _unigram(tokens.splits["train"], symbols)
  figures.curves(
    page.figure(
      "learning",
      "Perplexity of the characters being learned from, each point a mean over "
      "the last tenth of the steps so far. The networks start at the uniform "
      "distribution and first learn how frequent each character is; below the "
      "second line they use its context.",
    ),
    "Learning to predict the next character",
    {
      name: (np.arange(1, len(one.curve) + 1), one.curve)
      for name, one in found.items()
      if not NETWORKS[name].held
    },
    x="step",
    y="perplexity",
    log_x=True,
    log_y=True,
    references={"uniform, V": symbols, "frequencies alone": unigram},
  )
  _tell(study, found, counted, symbols, unigram)
  rows = [
    results.row(
      f"{name}, {settings.features} units",
      split="valid",
      evaluation="static",
      metric="perplexity",
      value=one.held_out.perplexity,
      count=one.held_out.count,
      seconds=one.held_out.seconds,
    )
    for name, one in found.items()
  ]
  return [*rows, row], writer


def _line(settings: Any, name: str, one: _Outcome) -> list[Any]:
  """Of the table."""
  return [
    name,
    f"{one.parameters:,}",
    f"{NETWORKS[name].rate * settings.learning_rate:g}",
    one.training,
    one.held_out.perplexity,
    f"{one.speed:,.0f}",
  ]


def _trained(
  study: run.Study, tokens: tokens_lib.Tokens, name: str
) -> tuple[_Outcome, Writer]:
  settings, kind = study.config.settings, NETWORKS[name]
  network = training_lib.network(
    kind.cell,
    tokens.vocabulary.size,
    (settings.features,) * kind.layers,
    settings.embedding if kind.embedded else 0,
  )
  begun = training_lib.fresh(network, study.config.seed)
  if kind.held:
    begun = with_held_gate(begun, *kind.held)
  found = training_lib.on_streams(
    study, network, tokens.splits["train"], params=begun, rate=kind.rate
  )
  scored = training_lib.held_out(network, found.params, tokens.splits["valid"])
  last = found.nats[-max(1, settings.steps // 10) :].mean()
  outcome = _Outcome(
    math.exp(last),
    scored,
    trees.count_parameters(found.params),
    found.symbols_per_second,
    np.exp(training_lib.smooth(found.nats)),
  )
  return outcome, Writer(name, network, found.params)


def with_held_gate(params: Any, gate: int, bias: float) -> Any:
  """A one-layer GRU's weights with the biases of one gate at a value."""
  layer = params["stack"]["layer_0"]
  biases = np.array(layer["bias"]).reshape(3, -1)
  biases[gate] = bias
  held = {**layer, "bias": biases.reshape(-1)}
  return {**params, "stack": {**params["stack"], "layer_0": held}}


def counting(
  study: run.Study, tokens: tokens_lib.Tokens
) -> tuple[float, results.Row]:
  """The perplexity of the n-gram model on the held-out text, and its row."""
  order, begun = study.config.settings.ngram_order, time.perf_counter()
  train, valid = (
    np.asarray(tokens.splits[split], np.int64) for split in ("train", "valid")
  )
  fitted = ngram.NGram.fit(
    train, tokens.vocabulary.size, order=order, modified=True
  )
  total = float(fitted.nats(valid).sum())
  value = units.perplexity(total, len(valid))
  row = results.row(
    f"{order}-gram, modified Kneser-Ney",
    split="valid",
    evaluation="static",
    metric="perplexity",
    value=value,
    count=len(valid),
    seconds=time.perf_counter() - begun,
  )
  return value, row


def _tell(
  study: run.Study,
  found: dict[str, _Outcome],
  counted: float,
  symbols: int,
  unigram: float,
) -> None:
  """What the table shows, in numbers."""
  held_out = {name: one.held_out.perplexity for name, one in found.items()}
  best = min(held_out, key=lambda name: held_out[name])
  verdict = (
    "is below that"
    if held_out[best] < counted
    else "does not get there in so few steps"
  )
  study.lesson.say(
    f"""
    The perplexity is e to the mean nats a character: {symbols} for a uniform
    guess, {unigram:.1f} for one by frequency alone, 1 for certainty. "Training"
    is the mean over the last tenth of the steps, "held out" a part of the text
    that no model has learned from. Counting is what a network has to beat: it
    reaches {counted:.2f}. The best network here, called {best}, has
    {held_out[best]:.2f} and {verdict}.
    """
  )
  if "GRU" not in found or not all(name in found for name in _ALONE):
    return
  reset, update = (held_out[name] for name in _ALONE)
  study.lesson.say(
    f"""
    A GRU reaches {held_out["GRU"]:.2f} with both its gates, {reset:.2f} with
    the reset gate alone and {update:.2f} with the update gate alone. On this
    text, then, it is the {"reset" if reset < update else "update"} gate that
    does more of the work. (Where something has to be kept for long, the update
    gate is what counts: see the study `exercises`.)
    """
  )


def _unigram(ids: Any, symbols: int) -> float:
  """The perplexity of a text under its own frequencies."""
  shares = np.bincount(np.asarray(ids), minlength=symbols) / len(ids)
  shares = shares[shares > 0]
  return float(np.exp(-np.sum(shares * np.log(shares))))


# Bound on the norm of the whole gradient.
_THETA = 1.0


def clipping(study: run_lib.Study, tokens: Any) -> None:
  """A network whose gradients explode, clipped and not."""
  page, settings = study.lesson, study.config.settings
  page.section(
    "Clipping the gradient",
    """
    A gradient through many steps is a product of many matrices and can grow
    without bound. One long step from such a gradient can undo all that was
    learned. Where the loss changes by at most L for a step of length 1, a step
    of rate eta changes it by at most L eta |g|; so the length of g is bounded
    and its direction kept. The norm is that of all weights' derivatives
    together: bounding each matrix by itself would turn the gradient.
    """,
  )
  page.shown("g <- min(1, theta / |g|) g")
  facts = clip_facts(study.random)
  page.table(["what must hold", "found"], list(facts.items()))
  scale, h = settings.stress_scale, settings.stress_features
  page.say(
    f"""
    The ten lines of above do not show what this is for: the bound hardly ever
    acts there, as their largest norm says. The following network does: {h}
    rectified units, whose recurrent weights have deviation {scale:g} / sqrt(h),
    so that a state grows with every step. Everything else is as there: windows
    of {settings.stress_segment} characters, plain descent at rate 1.
    """
  )
  seeds = range(study.config.seed, study.config.seed + settings.stress_seeds)
  runs = {
    name: [stressed(study, tokens, clip, seed) for seed in seeds]
    for name, clip in (("clipped at 1", _THETA), ("not clipped", 0.0))
  }
  symbols = tokens.vocabulary.size
  _draw_clipping(
    page.figure(
      "clipping",
      "The same network from the same weights on the same minibatches, the "
      "first of the seeds. Left, the loss of each step; right, the norm of its "
      "gradient before any clipping. A cross is where a run ends because "
      "nothing is a number any more.",
    ),
    {name: found[0] for name, found in runs.items()},
    math.log(symbols),
  )
  page.table(
    [
      "run",
      "seed",
      "first norm",
      "largest norm",
      "lost from step",
      "last loss",
    ],
    [
      [
        name,
        seed,
        f"{run.norms[0]:.3g}",
        f"{_most(run.norms):.3g}",
        lost_at(run.nats, symbols) or "never",
        float(run.nats[-1]),
      ]
      for name, found in runs.items()
      for seed, run in zip(seeds, found, strict=True)
    ],
  )
  lost = {
    name: sum(lost_at(run.nats, symbols) is not None for run in found)
    for name, found in runs.items()
  }
  page.say(
    f"""
    A run counts as lost from the first step whose loss is more than twice that
    of a uniform guess, {2 * math.log(symbols):.2f} nats, or no number, and
    after which it never returns. That befell {lost["not clipped"]} of the
    {len(seeds)} runs without clipping and {lost["clipped at 1"]} of those with
    it. The bound does not keep the loss from leaping: a step of length 1 can
    still lead over a cliff. It makes the way back short.
    """
  )


def _draw_clipping(
  path: style.Path,
  runs: dict[str, training.Trained],
  uniform: float,
) -> None:
  with style.figure(path, height=3.2) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, name in zip(pairs, ("nats", "norms"), strict=True):
      style.clean(pair)
      for (run, found), colour in zip(
        runs.items(), style.COLOURS, strict=False
      ):
        values = getattr(found, name)
        good = np.isfinite(values)
        # The first step whose value is no number ends the line.
        last = len(values) if good.all() else int(np.argmin(good))
        steps = np.arange(1, last + 1)
        pair.plot(steps, values[:last], color=colour, lw=1.5, label=run)
        if last < len(values):
          pair.plot(
            steps[-1:], values[last - 1 : last], "x", color=colour, ms=9, mew=2
          )
      pair.set_yscale("log")
      pair.set_xlabel("step")
    pairs[0].set_ylabel("loss, nats a character")
    pairs[1].set_ylabel("norm of the gradient")
    style.references(pairs[0], {"uniform, ln V": uniform})
    style.references(pairs[1], {"the bound": _THETA})
    for pair in pairs:
      pair.legend(frameon=False, fontsize=8, loc="upper right")


def clip_facts(random: np.random.Generator) -> dict[str, str]:
  """What the library's rule does to a gradient, in words."""
  shapes = {"w_hh": (8, 8), "w_hq": (8, 5), "b": (8,)}
  gradient = {
    name: jnp.asarray(random.normal(size=shape, scale=1 + 3 * len(shape)))
    for name, shape in shapes.items()
  }
  clipped = _clipped(gradient)
  small = jax.tree.map(lambda leaf: leaf * 1e-3, gradient)
  zero = jax.tree.map(jnp.zeros_like, gradient)
  alone = {
    name: _clipped({name: leaf})[name] for name, leaf in gradient.items()
  }
  norm, after = (float(trees.global_norm(g)) for g in (gradient, clipped))
  return {
    "the norm is at most 1": f"{norm:.2f} before, {after:.6f} after",
    "the direction is kept": f"cosine {_cosine(gradient, clipped):.6f}",
    "a short gradient is left alone": (
      f"largest change {equations.far(small, _clipped(small)):.1g}"
    ),
    "a gradient of 0 stays 0": (
      f"largest entry {equations.far(zero, _clipped(zero)):g}"
    ),
    "matrix by matrix is something else": (
      f"cosine {_cosine(gradient, alone):.4f}"
    ),
  }


def _clipped(gradient: dict[str, jax.Array]) -> dict[str, jax.Array]:
  rule = _descent(_THETA)
  updates, _ = rule.update(gradient, rule.init(gradient))
  return jax.tree.map(lambda leaf: -leaf, updates)


def _flat(tree: Any) -> np.ndarray:
  return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)])


def _cosine(a: Any, b: Any) -> float:
  one, two = _flat(a).astype(float), _flat(b).astype(float)
  return float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))


def stressed(
  study: run_lib.Study, tokens: Any, clip: float, seed: int
) -> training.Trained:
  """Rectified units with growing states, by plain descent.

  Args:
    study: its settings give the sizes.
    tokens: the text.
    clip: bound on the norm; 0 for none.
    seed: of weights and minibatches.
  """
  settings, symbols = study.config.settings, tokens.vocabulary.size
  h, random = settings.stress_features, np.random.default_rng(seed)
  network = training.network("elman_relu", symbols, (h,))
  params = equations.small(network, random)
  deviation = settings.stress_scale / math.sqrt(h)
  params["stack"]["layer_0"]["recurrent_kernel"] = np.float32(
    deviation * random.normal(size=(h, h))
  )
  return training.train(
    network,
    batching.RandomWindows(
      tokens.splits["train"],
      batch=settings.stress_batch,
      length=settings.stress_segment,
      seed=seed,
    ),
    _descent(clip),
    steps=settings.stress_steps,
    seed=seed,
    params=params,
    check=study.signals.check,
  )


@functools.cache
def _descent(clip: float) -> Any:
  return optimizers.build(
    "sgd", learning_rate=1.0, momentum=0.0, clip_norm=clip
  )


def _most(norms: np.ndarray) -> float:
  finite = norms[np.isfinite(norms)]
  return float(finite.max()) if len(finite) == len(norms) else math.inf


def lost_at(nats: np.ndarray, symbols: int) -> int | None:
  """The step from which a run never returns, counted from 1; None if it does.

  Args:
    nats: the loss of each step.
    symbols: V; a loss above 2 ln V, or that is no number, is lost.
  """
  bad = ~(nats < 2 * math.log(symbols))
  if not bad[-1]:
    return None
  good = np.flatnonzero(~bad)
  return int(good[-1]) + 2 if len(good) else 1


def prefixes(
  study: run.Study, tokens: tokens_lib.Tokens, writer: Writer
) -> None:
  """Warm-up on a prefix, and what a trained network writes after it."""
  name, network, params = writer
  page, settings = study.lesson, study.config.settings
  prime = training.encode(tokens, settings.prefix)
  length = settings.sample_length
  page.section(
    "Going on from a prefix",
    """
    A prefix warms the network up: it is read symbol by symbol, only the state
    is kept. From then on each symbol that is chosen is the next input. Reading
    costs the same for the first symbol as for the thousandth, since the state
    holds all there is to know; reading everything again for each symbol has to
    give the same text.
    """,
  )
  state, again = warm_up(network, params, prime, length)
  page.say(
    f"""
    After the {len(prime)} characters of {settings.prefix!r} the state differs
    by {state:.1g} from that of a pass over the whole prefix, and {again} of
    {length} greedy characters differ from those found by reading everything
    anew. The {name} of above, greedy and drawn from its own probabilities:
    """
  )
  for way, greedy in (("greedy", True), ("drawn", False)):
    drawn = text.sample(
      network,
      params,
      jax.random.key(study.config.seed),
      length=length,
      prime=prime.tolist(),
      greedy=greedy,
    )[:, 0]
    written = training.decode(tokens, drawn)
    shown = training.visible(settings.prefix + written)
    page.shown(f"[{way}]\n{shown}")


def warm_up(
  network: Any, params: Any, prime: np.ndarray, length: int
) -> tuple[float, int]:
  """Symbol by symbol against all at once.

  Returns:
    The largest difference of the states after the prefix, and how many greedily
    chosen symbols differ.
  """
  read = text.prime_ids(prime.tolist())
  stepwise, _ = text.read(network, params, read, 1)
  apply = jax.jit(network.apply)
  never = jnp.zeros((len(read), 1), bool)
  whole, _ = apply(params, network.initial_carry(1), read[:, None], never)
  drawn = text.sample(
    network,
    params,
    jax.random.key(0),
    length=length,
    prime=prime.tolist(),
    greedy=True,
  )[:, 0]
  # What comes after a place cannot change the outputs before it.
  ids = np.full((1 + len(prime) + length, 1), -1, np.int32)
  ids[1 : 1 + len(prime), 0] = prime
  never = jnp.zeros(ids.shape, bool)
  for place in range(1 + len(prime), len(ids)):
    _, logits = apply(params, network.initial_carry(1), ids, never)
    ids[place, 0] = int(np.argmax(logits[place - 1, 0]))
  found = ids[1 + len(prime) :, 0]
  return equations.far(stepwise, whole), int(np.sum(found != drawn))


# Of the tests by brute force: symbols, places, strings' length, units.
_SYMBOLS, _PLACES, _DEEP_LENGTH, _DEEP_UNITS = 4, 12, 5, 8

BIDIRECTIONAL = "bidirectional RNN"
CAUSAL = {
  "RNN": ("elman", (_DEEP_UNITS,)),
  "GRU": ("gru", (_DEEP_UNITS,)),
  "LSTM": ("lstm", (_DEEP_UNITS,)),
  "RNN, two layers": ("elman", (_DEEP_UNITS, _DEEP_UNITS)),
  "LSTM, two layers": ("lstm", (_DEEP_UNITS, _DEEP_UNITS)),
}
_SHOWN = ("RNN", "LSTM, two layers", BIDIRECTIONAL)


def depth(study: run.Study) -> None:
  """A second layer on top of the first: what it is, and three checks."""
  page = study.lesson
  page.section(
    "Deep and bidirectional networks",
    """
    A second layer reads the states of the first as its inputs, so its input
    matrix has as many rows as the first layer has units, not symbols. A
    bidirectional layer has a second set of states that runs from the end to the
    beginning, and hands both on, side by side: every output then depends on the
    whole sequence, and the next layer's input is twice as wide.
    """,
  )
  page.shown(
    """
    deep           H^0 = X
                   H^l_t = tanh(H^{l-1}_t W^l_xh + H^l_{t-1} W^l_hh + b^l)
                   O_t = H^L_t W_hq + b_q

    bidirectional  F_t = tanh(X_t W_xf + F_{t-1} W_ff + b_f)
                   B_t = tanh(X_t W_xb + B_{t+1} W_bb + b_b)
                   O_t = [F_t, B_t] W_hq + b_q
    """
  )
  page.table(
    ["two layers of the library", "largest difference"],
    [[claim, f"{far:.1g}"] for claim, far in depth_facts(study.config.seed)],
  )


def depth_facts(seed: int) -> list[tuple[str, float]]:
  """Claims about two layers, and how far the library is from them.

  Args:
    seed: of weights and symbols.
  """
  rows, steps, symbols, units = 3, 12, 7, 5
  network = training.network("elman", symbols, (units, units))
  random = np.random.default_rng(seed)
  params = training.drawn(network, random, 0.5)
  ids = random.integers(symbols, size=(steps, rows)).astype(np.int32)
  never = np.zeros((steps, rows), bool)
  apply = jax.jit(network.apply)
  _, whole = apply(params, network.initial_carry(rows), ids, never)
  carry, one_by_one = network.initial_carry(rows), []
  for symbol in ids:
    carry, outputs = apply(params, carry, symbol[None], never[:1])
    one_by_one.append(outputs[0])
  # The plain loop twice: the first time its outputs are its states.
  first, second = (params["stack"][f"layer_{i}"] for i in range(2))
  zero = np.zeros((rows, units), np.float32)
  states, _ = equations.plain_rnn(
    (*_layer(first), np.eye(units, dtype=np.float32), 0.0),
    zero,
    np.eye(symbols, dtype=np.float32)[ids],
  )
  head = params["head"]
  plain, _ = equations.plain_rnn(
    (*_layer(second), head["kernel"], head["bias"][None]), zero, states
  )
  emptied = dict(params["stack"], layer_1=jax.tree.map(jnp.zeros_like, second))
  _, constant = apply(
    dict(params, stack=emptied), network.initial_carry(rows), ids, never
  )
  return [
    (
      "the plain loop over the states of a plain loop",
      equations.far(whole, plain),
    ),
    (
      "all steps of a layer at once, or all layers of a step",
      equations.far(whole, jnp.stack(one_by_one)),
    ),
    (
      "a second layer of zeros says b_q, whatever is read",
      equations.far(constant, jnp.broadcast_to(head["bias"], constant.shape)),
    ),
  ]


def _layer(params: Any) -> tuple[Any, ...]:
  return params["kernel"], params["recurrent_kernel"], params["bias"][None]


def contestants() -> dict[str, predictors.Predictor]:
  """Small networks over few symbols, the bidirectional one last."""
  found = {
    name: training.network(cell, _SYMBOLS, features)
    for name, (cell, features) in CAUSAL.items()
  }
  reader = bidirectional.Reader(_SYMBOLS, (_DEEP_UNITS,), cell="elman")
  return {**found, BIDIRECTIONAL: bidirectional.as_predictor(reader)}


def causality_tests(study: run.Study) -> None:
  """Two tests that every model of the next symbol has to pass."""
  page = study.lesson
  page.section(
    "What a network has seen before it predicts",
    f"""
    For a model of the next symbol a look ahead is fatal, since the next symbol
    is among what it has seen. Two tests find it out. The derivative of output t
    by input s must be exactly 0 for every s after t. And the product of the
    probabilities that a model gives to the symbols of a string is the
    probability of the string, so that over all
    {_SYMBOLS**_DEEP_LENGTH:,} strings of
    {_DEEP_LENGTH} symbols out of {_SYMBOLS} it must sum to 1. Both must hold
    for any
    weights; here they are random, with {_DEEP_UNITS} units a layer.
    """,
  )
  random = study.random
  ids = random.integers(_SYMBOLS, size=_PLACES)
  body, reaches = [], {}
  chosen = (*study.config.settings.causal, BIDIRECTIONAL)
  for name, predictor in contestants().items():
    if name not in chosen:
      continue
    params = training.drawn(predictor, random, 0.5)
    reach = bidirectional.reach(predictor, params, ids)
    total = bidirectional.total_probability(
      predictor, params, length=_DEEP_LENGTH
    )
    ahead = float(np.triu(reach, 1).max())
    back = float(reach[np.tril_indices(_PLACES)].min())
    body.append([name, f"{ahead:.3g}", f"{back:.2g}", f"{total:.6f}"])
    reaches[name] = reach
  page.table(
    [
      "network",
      "largest derivative by a later input",
      "least by an earlier one",
      "sum over strings",
    ],
    body,
  )
  _draw_reaches(
    page.figure(
      "causality",
      "The largest derivative of output t by input s, on a logarithmic scale; "
      "white is exactly 0. A causal network's outputs have nothing above the "
      "diagonal.",
    ),
    {name: reaches[name] for name in _SHOWN if name in reaches},
  )


def _draw_reaches(path: style.Path, reaches: dict[str, np.ndarray]) -> None:
  with np.errstate(divide="ignore"):
    logs = {name: np.log10(reach) for name, reach in reaches.items()}
  finite = np.concatenate([x[np.isfinite(x)] for x in logs.values()])
  with style.figure(path, height=2.9) as drawing:
    pairs = drawing.subplots(1, len(logs), sharey=True, squeeze=False)[0]
    for pair, (name, values) in zip(pairs, logs.items(), strict=True):
      image = pair.imshow(
        np.where(np.isfinite(values), values, np.nan),
        cmap="viridis",
        vmin=finite.min(),
        vmax=finite.max(),
        extent=(0.5, len(values) + 0.5, len(values) + 0.5, 0.5),
      )
      pair.set_title(name, fontsize=10)
      pair.set_xlabel("input s")
    pairs[0].set_ylabel("output t")
    bar = drawing.colorbar(image, ax=list(pairs), shrink=0.9)
    bar.set_label("log10 of the derivative")


_UNITS, _LENGTH = 32, 32
_MINIBATCHES = 10  # an epoch


class Setting(NamedTuple):
  """How a network is trained, and what it reached elsewhere.

  Attributes:
    cell: a name in `cells.cell.CELLS`.
    layers: how many.
    rate: of descent.
    share: of `config.settings.textbook_epochs`.
    train: perplexities of the last epoch on The Time Machine, lowest and
      highest of independent runs of several seeds.
    valid: the same of the validation windows.
  """

  cell: str
  layers: int
  rate: float
  share: float
  train: tuple[float, float]
  valid: tuple[float, float]


TEXTBOOK_NETWORKS = {
  "RNN": Setting("elman", 1, 1.0, 1.0, (6.2, 6.3), (7.3, 7.5)),
  "RNN, ReLU": Setting("elman_relu", 1, 1.0, 1.0, (6.1, 6.2), (6.9, 7.2)),
  "GRU": Setting("gru", 1, 4.0, 0.5, (5.7, 5.7), (6.7, 6.75)),
  "LSTM": Setting("lstm", 1, 4.0, 0.5, (6.8, 7.0), (7.3, 7.4)),
  "RNN, two layers": Setting("elman", 2, 2.0, 1.0, (5.2, 5.5), (6.8, 7.0)),
}


class Texts(NamedTuple):
  """The windows to learn from and to validate on, and their symbols."""

  train: cleaning.OverlappingWindows
  valid: cleaning.OverlappingWindows
  symbols: vocabulary.Vocabulary


def compared(study: run.Study, tokens: tokens_lib.Tokens) -> list[results.Row]:
  """Trains what `config.settings.textbook` names; nothing by default."""
  page, settings = study.lesson, study.config.settings
  if not settings.textbook:
    return []
  texts = read(tokens, settings, study.config.seed)
  book = study.config.data.source == "timemachine"
  rows, body = [], []
  for name in settings.textbook:
    setting = TEXTBOOK_NETWORKS[name]
    epochs = max(1, round(setting.share * settings.textbook_epochs))
    found, scored = train(study, setting, texts, epochs)
    last = float(np.exp(found.nats[-_MINIBATCHES:].mean()))
    ranges = (_range(setting.train), _range(setting.valid)) if book else ()
    body.append([name, epochs, last, scored.perplexity, *ranges])
    rows.append(
      results.row(
        f"textbook's setting, {name}, {_UNITS} units",
        split="valid",
        evaluation="static",
        metric="perplexity",
        value=scored.perplexity,
        count=scored.count,
        seconds=scored.seconds,
      )
    )
  page.section(
    "In the textbook's setting",
    f"""
    Small networks of {_UNITS} units on the {texts.symbols.size} symbols of a
    text reduced to letters and spaces, {settings.textbook_windows[0]:,} windows
    of {_LENGTH} characters, one beginning at each character of the beginning of
    the text; plain descent, gradients clipped at 1. The other
    {settings.textbook_windows[1]:,} windows lie behind these. Each is read from
    an empty state, so a prediction has {(_LENGTH + 1) / 2:g} characters before
    it on average. An epoch is {_MINIBATCHES} minibatches.
    """,
  )
  head = ["network", "epochs", "training", "validation"]
  more = ["training elsewhere", "validation elsewhere"] if book else []
  page.table(head + more, body)
  if book:
    page.say(
      """
      The columns on the right are of other people's code, for two or three
      seeds each. Their validation windows began within the last training ones;
      their GRU multiplied by R before the matrix.
      """
    )
  return rows


def read(tokens: tokens_lib.Tokens, settings: Any, seed: int) -> Texts:
  """The beginning of a text as windows of letters.

  Args:
    tokens: its characters.
    settings: `textbook_windows` and `textbook_batch`.
    seed: of the order.

  Raises:
    UserError: the text is too short.
  """
  spelt = training.decode(tokens, np.asarray(tokens.splits["train"]))
  # Most frequent first, behind <unk>.
  letters = cleaning.letters(spelt)
  symbols = vocabulary.Vocabulary.build(letters)
  ids = symbols.encode(letters)
  first, second = (count + _LENGTH for count in settings.textbook_windows)
  if len(ids) < first + second:
    raise errors.UserError(
      f"config.settings.textbook needs {first + second:,} letters and the text "
      f"has {len(ids):,}; give a longer text, or fewer "
      "config.settings.textbook_windows"
    )
  train, valid = (
    cleaning.OverlappingWindows(
      part, batch=settings.textbook_batch, length=_LENGTH, seed=seed
    )
    for part in (ids[:first], ids[first : first + second])
  )
  return Texts(train, valid, symbols)


def train(
  study: run.Study, setting: Setting, texts: Texts, epochs: int
) -> tuple[training.Trained, Any]:
  """The weights, and the score of the validation windows."""
  network = training.network(
    setting.cell, texts.symbols.size, (_UNITS,) * setting.layers
  )
  found = training.train(
    network,
    texts.train,
    optimizers.build(
      "sgd", learning_rate=setting.rate, momentum=0.0, clip_norm=1.0
    ),
    steps=epochs * _MINIBATCHES,
    seed=study.config.seed,
    params=equations.small(network, study.random),
    check=study.signals.check,
  )
  tests = texts.valid.segments(0, texts.valid.segments_per_epoch)
  scored = static.evaluate(
    network, found.params, tests, streams=texts.valid.batch
  )
  return found, scored


def _range(ends: tuple[float, float]) -> str:
  low, high = ends
  return f"{low:g}" if low == high else f"{low:g} to {high:g}"
