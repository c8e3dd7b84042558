"""Recurrent networks from their equations to models of a text."""

import functools
import inspect
import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import figures, training
from experiments.studies.rnn_from_scratch import bidirectional, plain, textbook
from seqmodels import losses, trees, units
from seqmodels.cells import cell as cells
from seqmodels.data.text import batching
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.models import networks, ngram
from seqmodels.plotting import style
from seqmodels.sampling import text as sampling
from seqmodels.training import optimizers, step


def run(study: run_lib.Study) -> list[results.Row]:
  """Fills the page from top to bottom; see `configs.fundamentals`."""
  page, settings = study.page, study.config.settings
  tokens = study.tokens("characters")
  # What cannot be shows now, not after the training.
  check(settings, tokens)
  for name in ("plain_rnn", "plain_gru", "plain_lstm"):
    page.verbatim(name, inspect.getsource(getattr(plain, name)))
  page["symbols"] = tokens.vocabulary.size
  page["uniform"] = math.log(tokens.vocabulary.size)
  one_word(study)
  rows = ten_lines(study, tokens)
  parameters(study)
  study.signals.check()
  trained, *writer = characters(study, tokens)
  rows += trained + textbook.compare(study, tokens)
  study.signals.check()
  clipping(study, tokens)
  write(study, tokens, *writer)
  rows += bidirectional.run(study, tokens)
  return rows


def check(settings: Any, tokens: tokens_lib.Tokens) -> None:
  """Refuses settings that some part of the page could not go on with."""
  for name, known in (
    ("networks", NETWORKS),
    ("causal", bidirectional.CAUSAL),
    ("textbook", textbook.NETWORKS),
  ):
    training.check_names(settings, name, known, empty=name == "textbook")
  training.check_sizes(settings, "textbook")
  if settings.textbook:
    textbook.read(tokens, settings, seed=0)
  training.encode(tokens, settings.prefix)


WORD = "machine"
LETTERS = sorted(set(WORD))
# The null vector, then the word.
WORD_IDS = np.array([batching.NULL, *map(LETTERS.index, WORD)], np.int32)
_UNITS, _STEPS = 16, 100


def one_word(study: run_lib.Study) -> None:
  """The smallest language model, letter by letter."""
  network, trained = learn_word(study.config.seed)
  ids, nats = WORD_IDS, float(trained.nats[-1])
  before, after = (
    outputs(network, params, ids[:-1])
    for params in (trained.start, trained.params)
  )
  first, last = (np.asarray(jax.nn.softmax(x)) for x in (before, after))
  spoilt = ids[:-1].copy()
  spoilt[4] = (spoilt[4] + 1) % len(LETTERS)
  changed = outputs(network, trained.params, spoilt)
  moved = np.abs(changed - after).max(axis=1)
  study.page["word"] = {
    "word": WORD,
    "units": _UNITS,
    "steps": _STEPS,
    "fourth": LETTERS[ids[4]],
    "instead": LETTERS[spoilt[4]],
    "nats": f"{nats:.4f}",
    "perplexity": f"{math.exp(nats):.4f}",
    "first": WORD[0],
    "rest": rest_of_word(network, trained.params),
  }
  study.page["word_table"] = [
    [
      LETTERS[ids[place]] if place else "(nothing)",
      LETTERS[ids[place + 1]],
      first[place, ids[place + 1]],
      last[place, ids[place + 1]],
      f"{moved[place]:.2g}",
    ]
    for place in range(len(WORD))
  ]


def learn_word(seed: int) -> tuple[networks.SequenceModel, training.Trained]:
  """A network trained on the word alone, from weights of that seed."""
  network = training.network("elman", len(LETTERS), (_UNITS,))
  trained = training.train(
    network,
    batching.SequentialStream(WORD_IDS[1:], batch=1, length=len(WORD)),
    optimizers.build("adam", learning_rate=0.03),
    steps=_STEPS,
    seed=seed,
    # Small weights, as the textbook draws them, but not so small: tanh's linear
    # range is a slow place to start from with so few steps.
    params=training.drawn(network.init, np.random.default_rng(seed), 0.1),
  )
  return network, trained


def outputs(
  network: networks.SequenceModel, params: Any, ids: np.ndarray
) -> np.ndarray:
  """O_t after each letter that is read, [T, V] from ids [T]."""
  inputs = jnp.asarray(ids)[:, None]
  apply = jax.jit(network.apply)
  _, logits = apply(params, network.initial_carry(1), inputs, inputs < -1)
  return np.asarray(logits[:, 0])


def rest_of_word(network: networks.SequenceModel, params: Any) -> str:
  """The network's continuation of the word's first letter."""
  ids = sampling.sample(
    network,
    params,
    jax.random.key(0),
    length=len(WORD) - 1,
    prime=WORD_IDS[1:2].tolist(),
    greedy=True,
  )[:, 0]
  return "".join(LETTERS[i] for i in ids)


def by_the_library(
  ids: Any, symbols: int, features: int, length: int, seed: int
) -> tuple[Any, Any, Any]:
  """A model of a text: its state, the text in pieces, and how it learns."""
  net = networks.LanguageModel(
    symbols,
    recurrent.StackOptions(features=(features,), cell=cells.get("elman")),
  )
  network = net.as_model()
  descent = optimizers.build("sgd", learning_rate=1.0, momentum=0, clip_norm=1)
  text = batching.RandomWindows(ids, batch=32, length=length, seed=seed)
  state = step.create(network, descent, batch=32, seed=seed)
  train_steps = step.make_train_steps(network, descent)
  return state, text, train_steps


def ten_lines(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> list[results.Row]:
  """The library's version, and the plain one trained the same way."""
  page, settings = study.page, study.config.settings
  ids, symbols = tokens.splits["train"], tokens.vocabulary.size
  features, steps = settings.small_features, settings.small_steps
  seed, check = study.config.seed, study.signals.check
  page.verbatim("ten_lines", inspect.getsource(by_the_library))
  state, text, train_steps = by_the_library(
    ids, symbols, features, settings.small_segment, seed
  )
  library = training.descend(
    train_steps, state, text.segments, steps=steps, check=check
  )
  initial = plain.from_library(library.start)
  by_loop = training.train(
    plain.as_predictor(symbols, features, init=lambda key: initial),
    text,
    descent(1.0),
    steps=steps,
    seed=seed,
    check=check,
  )
  page["descent"] = {
    "size": f"{trees.count_parameters(library.start):,}",
    "steps": steps,
    "far": f"{np.abs(by_loop.nats - library.nats).max():.1g}",
    "first": library.nats[0],
    "last": library.nats[-1],
    "library_speed": f"{library.symbols_per_second:,.0f}",
    "plain_speed": f"{by_loop.symbols_per_second:,.0f}",
    "norm": f"{library.norms.max():.2f}",
    "acted": np.sum(library.norms > 1),
  }
  return [
    training.row(
      f"RNN of {features} units, {name}, training",
      trained.symbols_per_second,
      trained.symbols,
      split="train",
      evaluation="timed",
      metric="tokens_per_second",
      seconds=trained.seconds,
    )
    for name, trained in (("library", library), ("plain arrays", by_loop))
    if trained.seconds
  ]


@functools.cache
def descent(clip: float) -> Any:
  """Plain descent at rate 1, the gradient's norm bounded; 0 for no bound."""
  return optimizers.build(
    "sgd", learning_rate=1.0, momentum=0.0, clip_norm=clip
  )


# Symbols of a cleaned English text: 26 letters, the space, <unk>.
ALPHABET = 28


def parameters(study: run_lib.Study) -> None:
  """Parameters of networks over the alphabet, by cell, layers and width."""
  study.page["letters"] = ALPHABET
  study.page["parameters"] = [
    [name, features[0], f"{count_parameters(cell, features):,}"]
    for name, cell, features in (
      ("RNN", "elman", (32,)),
      ("RNN", "elman", (256,)),
      ("RNN", "elman", (512,)),
      ("GRU", "gru", (32,)),
      ("LSTM", "lstm", (32,)),
      ("RNN, two layers", "elman", (32, 32)),
      ("GRU, two layers", "gru", (32, 32)),
      ("LSTM, two layers", "lstm", (32, 32)),
    )
  ]


def count_parameters(cell: str, features: tuple[int, ...]) -> int:
  """Parameters of the library's model over `ALPHABET` symbols."""
  network = training.network(cell, ALPHABET, features)
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  return trees.count_parameters(shapes)


class Kind(NamedTuple):
  """A network of the comparison."""

  cell: str  # a name in `cells.cell.CELLS`
  layers: int = 1  # how many, of one width
  embedded: bool = False  # reads an embedding, not one-hot vectors
  # Times the learning rate of the settings: what did best of 1/2, 1, 2 and 3 in
  # a trial on the embedded text.
  rate: float = 1.0
  # A gate (0 is R, 1 is Z) and the bias that holds it at an end. There its
  # slope is exactly 0: no training moves it.
  held: tuple[int, float] | None = None


NETWORKS = {
  "RNN": Kind("elman"),
  "RNN, embedding": Kind("elman", embedded=True),
  # In float32 a bias of +-1,000 holds a gate at exactly 1 or 0.
  "GRU, reset gate only": Kind("gru", held=(1, -1000.0)),
  "GRU, update gate only": Kind("gru", held=(0, 1000.0)),
  "GRU": Kind("gru"),
  "GRU, two layers": Kind("gru", layers=2, rate=0.5),
  "LSTM": Kind("lstm", rate=3.0),
}


def characters(
  study: run_lib.Study, tokens: tokens_lib.Tokens
) -> tuple[list[results.Row], networks.SequenceModel, Any]:
  """Trains all networks on one text: rows, the last network, its weights."""
  page, settings = study.page, study.config.settings
  symbols, train = tokens.vocabulary.size, np.asarray(tokens.splits["train"])
  body, curves, scores = [], {}, {}
  for name in settings.networks:
    kind = NETWORKS[name]
    network, trained, scores[name] = fit(study, tokens, kind)
    last = trained.nats[-max(1, settings.steps // 10) :].mean()
    body.append(
      [
        name,
        f"{trees.count_parameters(trained.params):,}",
        f"{kind.rate * settings.learning_rate:g}",
        math.exp(last),
        scores[name].perplexity,
        f"{trained.symbols_per_second:,.0f}",
      ]
    )
    if not kind.held:
      steps = np.arange(1, len(trained.nats) + 1)
      curves[name] = (steps, np.exp(smooth(trained.nats)))
  counted = count(study, tokens)
  counts = [
    f"{settings.ngram_order}-gram, counted",
    "",
    "",
    "",
    counted["value"],
    "",
  ]
  page["models"] = [*body, counts]
  shares = np.bincount(train) / len(train)
  shares = shares[shares > 0]
  unigram = float(np.exp(-np.sum(shares * np.log(shares))))
  figures.curves(
    page.figure("learning"),
    "Learning to predict the next character",
    curves,
    x="step",
    y="perplexity",
    log_x=True,
    log_y=True,
    references={"uniform, V": symbols, "frequencies alone": unigram},
  )
  held_out = {name: score.perplexity for name, score in scores.items()}
  best = min(held_out, key=lambda name: held_out[name])
  page["best"], page["best_perplexity"] = f'"{best}"', held_out[best]
  page["unigram"], page["counted"] = unigram, counted["value"]
  page["verdict"] = (
    "is below that"
    if held_out[best] < counted["value"]
    else "does not get there in so few steps"
  )
  alone = {gate: f"GRU, {gate} gate only" for gate in ("reset", "update")}
  if {"GRU", *alone.values()} <= held_out.keys():
    result = {gate: held_out[name] for gate, name in alone.items()}
    page["gates"] = {
      "both": held_out["GRU"],
      **result,
      "stronger": min(result, key=lambda gate: result[gate]),
    }
  rows = [
    training.scored_row(f"{name}, {settings.features} units", score)
    for name, score in scores.items()
  ]
  return [*rows, counted], network, trained.params


def smooth(values: np.ndarray, share: float = 0.1) -> np.ndarray:
  """Each value's mean with those before it, the last `share` of them all.

  The window grows with the step, as a logarithmic axis wants it.

  >>> smooth(np.array([1.0, 3.0, 5.0, 7.0]), 0.5)
  array([1., 3., 5., 6.])
  """
  sums = np.cumsum(np.insert(np.asarray(values, float), 0, 0.0))
  ends = np.arange(1, len(values) + 1)
  starts = ends - np.maximum((share * ends).astype(int), 1)
  return (sums[ends] - sums[starts]) / (ends - starts)


def fit(
  study: run_lib.Study, tokens: tokens_lib.Tokens, kind: Kind
) -> tuple[networks.SequenceModel, training.Trained, losses.Metrics]:
  """A network of the comparison, its training and its held-out score."""
  settings = study.config.settings
  network = training.network(
    kind.cell,
    tokens.vocabulary.size,
    (settings.features,) * kind.layers,
    settings.embedding if kind.embedded else 0,
  )
  params = training.fresh(network, study.config.seed)
  if kind.held:
    params = with_held_gate(params, *kind.held)
  trained = training.on_streams(
    study, network, tokens.splits["train"], params=params, rate=kind.rate
  )
  score = training.held_out(network, trained.params, tokens.splits["valid"])
  return network, trained, score


def with_held_gate(params: Any, gate: int, bias: float) -> Any:
  """A one-layer GRU's weights with the biases of one gate at a value."""
  layer = params["stack"]["layer_0"]
  biases = np.array(layer["bias"]).reshape(3, -1)
  biases[gate] = bias
  held = {**layer, "bias": biases.reshape(-1)}
  return {**params, "stack": {**params["stack"], "layer_0": held}}


def count(study: run_lib.Study, tokens: tokens_lib.Tokens) -> results.Row:
  """The row of the n-gram model on the held-out text."""
  order, start = study.config.settings.ngram_order, time.perf_counter()
  train, valid = (
    np.asarray(tokens.splits[split], np.int64) for split in ("train", "valid")
  )
  model = ngram.NGram.fit(
    train, tokens.vocabulary.size, order=order, modified=True
  )
  nats = float(model.nats(valid).sum())
  return training.row(
    f"{order}-gram, modified Kneser-Ney",
    units.perplexity(nats, len(valid)),
    len(valid),
    seconds=time.perf_counter() - start,
  )


def clipping(study: run_lib.Study, tokens: tokens_lib.Tokens) -> None:
  """A network whose gradients explode, clipped and not."""
  page, settings = study.page, study.config.settings
  symbols = tokens.vocabulary.size
  seeds = range(study.config.seed, study.config.seed + settings.stress_seeds)
  runs = {
    name: [stressed(study, tokens, clip, seed) for seed in seeds]
    for name, clip in (("clipped at 1", 1.0), ("not clipped", 0.0))
  }
  _draw_clipping(
    page.figure("clipping"),
    {name: several[0] for name, several in runs.items()},
    math.log(symbols),
  )
  page["stress_table"] = [
    [
      name,
      seed,
      f"{trained.norms[0]:.3g}",
      f"{_largest(trained.norms):.3g}",
      lost_at(trained.nats, symbols) or "never",
      trained.nats[-1],
    ]
    for name, several in runs.items()
    for seed, trained in zip(seeds, several, strict=True)
  ]
  clipped, free = (
    sum(lost_at(trained.nats, symbols) is not None for trained in several)
    for several in runs.values()
  )
  page["stress"] = {
    "bound": 2 * math.log(symbols),
    "lost": free,
    "lost_clipped": clipped,
  }


def _draw_clipping(
  path: style.Path, runs: dict[str, training.Trained], uniform: float
) -> None:
  with style.panels(path, "", height=3.2, columns=2) as pairs:
    for pair, field, name, references in (
      (pairs[0], "nats", "loss, nats a character", {"uniform, ln V": uniform}),
      (pairs[1], "norms", "norm of the gradient", {"the bound": 1.0}),
    ):
      curves: dict[str, figures.Curve] = {}
      for (run, trained), colour in zip(
        runs.items(), style.COLOURS, strict=False
      ):
        values = getattr(trained, field)
        good = np.isfinite(values)
        # The first step whose value is no number ends the line.
        last = len(values) if good.all() else int(np.argmin(good))
        steps, line = np.arange(1, last + 1), {"color": colour}
        curves[run] = (steps, values[:last], line)
        if last < len(values):
          cross = {**line, "marker": "x", "ms": 9, "mew": 2}
          curves[f"_{run}"] = (steps[-1:], values[last - 1 : last], cross)
      figures.draw(
        pair, curves, x="step", y=name, log_y=True, references=references
      )
      pair.legend(frameon=False, fontsize=8, loc="upper right")


def stressed(
  study: run_lib.Study, tokens: tokens_lib.Tokens, clip: float, seed: int
) -> training.Trained:
  """Rectified units with growing states, by descent, maybe clipped."""
  settings = study.config.settings
  h, random = settings.stress_features, np.random.default_rng(seed)
  network = training.network("elman_relu", tokens.vocabulary.size, (h,))
  params = textbook.small(network, random)
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
    descent(clip),
    steps=settings.stress_steps,
    seed=seed,
    params=params,
    check=study.signals.check,
  )


def _largest(norms: np.ndarray) -> float:
  return float(norms.max()) if np.isfinite(norms).all() else math.inf


def lost_at(nats: np.ndarray, symbols: int) -> int | None:
  """The step from which a run never returns, counted from 1; None if it does.

  A loss above 2 ln V, or that is no number, is lost.
  """
  bad = ~(nats < 2 * math.log(symbols))
  if not bad[-1]:
    return None
  good = np.flatnonzero(~bad)
  return int(good[-1]) + 2 if len(good) else 1


def write(
  study: run_lib.Study,
  tokens: tokens_lib.Tokens,
  network: networks.SequenceModel,
  params: Any,
) -> None:
  """A trained network goes on from a prefix, greedily and by drawing."""
  settings = study.config.settings
  for place, greedy in (("greedy", True), ("drawn", False)):
    ids = sampling.sample(
      network,
      params,
      jax.random.key(study.config.seed),
      length=settings.sample_length,
      prime=training.encode(tokens, settings.prefix).tolist(),
      greedy=greedy,
    )[:, 0]
    text = settings.prefix + training.decode(tokens, ids)
    study.page.verbatim(place, f"[{place}]\n{training.visible(text)}")
