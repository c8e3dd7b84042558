"""Exercises: what a recurrent network can hold, and what it learns to hold."""

import contextlib
import functools
import inspect
import itertools
import math
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from experiments.studies import run as run_lib
from experiments.studies.common import (
  chains,
  figures,
  gradient_reach,
  memory_tasks,
  training,
)
from experiments.studies.exercises import exact, memory
from seqmodels import errors, trees
from seqmodels.cells import cell as cells
from seqmodels.cells import elman, gru, lstm, scan
from seqmodels.data.text import batching
from seqmodels.io import results
from seqmodels.layers import recurrent
from seqmodels.models import networks
from seqmodels.plotting import style
from seqmodels.training import optimizers, step


def run(study: run_lib.Study) -> list[results.Row]:
  """Computes the page, part by part."""
  settings = study.config.settings
  training.check_names(settings, "cells", memory.CELLS)
  training.check_names(settings, "changed", memory.CHANGES, empty=True)
  training.check_names(settings, "remedies", memory.recipes(settings.rate))
  training.check_sizes(settings, "changed", "other_texts")
  # A file that cannot be read shows now, not after the training.
  others = read(study)
  rows: list[results.Row] = []
  for part in (
    represented,
    beyond_ngrams,
    memory.recall,
    output_width,
    by_length,
    at_a_window,
    gates_by_hand,
    memory.copying,
    memory.remedies,
    memory.adding,
  ):
    rows += part(study) or []
    study.signals.check()
  return rows + texts(study, others)


_GAINS = (2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)


def represented(study: run_lib.Study) -> list[results.Row]:
  """Any language of finitely many words, and any finite memory."""
  page, settings, random = study.page, study.config.settings, study.random
  symbols, length = settings.symbols, settings.word_length
  kinds, fillers = settings.recall_symbols, settings.fillers
  strings = list(itertools.product(range(symbols), repeat=length))
  shares = random.dirichlet(np.ones(len(strings))).tolist()
  tree = exact.of_words(dict(zip(strings, shares, strict=True)), symbols)
  chain = exact.markov(
    {
      context: random.dirichlet(np.ones(symbols))
      for size in range(settings.order + 1)
      for context in itertools.product(range(symbols), repeat=size)
    }
  )
  recalled, counts = exact.recall(kinds, fillers), f"{symbols} kinds"
  network = exact.recall_network(kinds, fillers)
  tree_ids = np.array([(*word, symbols) for word in strings]).T
  chain_ids = random.integers(symbols, size=(40, 50))
  recall_ids = np.array(list(recalled)).T
  strung = f"all {len(strings)} strings of {length} symbols, {counts}"
  body = []
  for name, source, held, ids in (
    (f"{strung}, drawn probabilities", tree, exact.network(tree), tree_ids),
    (
      f"a chain of order {settings.order}, {counts}",
      chain,
      exact.network(chain),
      chain_ids,
    ),
    (
      f"c, {fillers} fillers, c again; {kinds} kinds of c",
      exact.of_words(recalled, kinds + 1),
      network,
      recall_ids,
    ),
  ):
    gap = np.abs(held.log_shares(ids) - source.log_shares(ids)).max()
    body.append([name, held.units, f"{ids.size:,}", float(gap)])
  page["represented"] = body
  want = chain.log_shares(chain_ids)
  gaps = []
  for gain in _GAINS:
    steep = exact.saturated(exact.network(chain), gain)
    gaps.append(float(np.abs(steep.log_shares(chain_ids) - want).max()))
  page["gains"] = {
    "least": f"{_GAINS[0]:g}",
    "most": f"{_GAINS[-1]:g}",
    "far": f"{gaps[0]:.2g}",
    "near": f"{gaps[-1]:.1g}",
  }
  # Through the middle of the range, where neither end bends it.
  middle, gains = len(_GAINS) // 2, np.array(_GAINS)
  line = gaps[middle] * np.exp(-2 * (gains - gains[middle]))
  figures.curves(
    page.figure("saturation"),
    "tanh is exact only in the limit",
    {"~as exp(-2 gain)": (gains, line), "error": (gains, gaps)},
    x="gain",
    y="largest |error of log P|",
    log_y=True,
    marks=True,
  )
  nats = float(-network.log_shares(recall_ids).sum(axis=0).mean())
  name = f"exact network, K = {kinds}, L = {fillers}"
  perplexity = math.exp(nats / len(recall_ids))
  return [training.row(name, perplexity, len(recall_ids), **_ENUMERATED)]


_ENUMERATED = {"split": "language", "evaluation": "enumerated"}


def beyond_ngrams(study: run_lib.Study) -> list[results.Row]:
  """The bound that no model of n symbols can beat."""
  page, settings = study.page, study.config.settings
  symbols, fillers = settings.recall_symbols, settings.fillers
  tokens = fillers + 2
  nats = functools.partial(exact.recall_nats, symbols)
  models = {
    f"best {n}-gram": nats(fillers, order=n)
    for n in sorted({1, 2, 3, fillers, fillers + 1, fillers + 2})
  }
  models[f"network of {symbols + 1} units"] = nats(fillers)
  page["ngrams"] = [
    [name, x, math.exp(x / tokens)] for name, x in models.items()
  ]
  source = exact.even_runs()
  rate = chains.entropy_rate(source.transition)
  rates = source.entropy_by_window(settings.longest - 1)
  orders = [n for n in (1, 2, 4, 8, settings.longest) if n <= len(rates)]
  body = [[f"best {n}-gram", rates[n - 1], rates[n - 1] - rate] for n in orders]
  body.append([f"network of {len(source.transition)} units", rate, 0.0])
  page["even_runs"] = body
  with style.panels(page.figure("orders"), "", height=3.6, columns=2) as (
    left,
    right,
  ):
    places = range(1, fillers + 4)
    figures.draw(
      left,
      {
        f"L = {some}": (
          places,
          [nats(some, order=n) - nats(some) for n in places],
        )
        for some in sorted({2, 5, fillers})
      },
      title="c, L fillers, c again",
      x="order n",
      y="nats a word beyond the network",
      marks=True,
      references={f"ln {symbols}": math.log(symbols)},
    )
    left.legend(frameon=False, fontsize=9)
    figures.draw(
      right,
      {"": (range(1, len(rates) + 1), rates - rate)},
      title="1s in even runs",
      x="order n",
      y="nats a symbol beyond the network",
      log_y=True,
      marks=True,
    )
  name = f"best {fillers + 1}-gram, K = {symbols}, L = {fillers}"
  perplexity = math.exp(nats(fillers, order=fillers + 1) / tokens)
  return [training.row(name, perplexity, tokens, **_ENUMERATED)]


def output_width(study: run_lib.Study) -> None:
  """V numbers out, one a symbol."""
  features, body = study.config.settings.features, []
  for tokenizer in ("characters", "words"):
    symbols = study.tokens(tokenizer).vocabulary.size
    network = training.Network("elman", features, symbols, symbols)
    params, *readout = jax.eval_shape(network.init, jax.random.key(0))
    weights = map(trees.count_parameters, (readout, params))
    counts = [f"{count:,}" for count in (symbols, *weights)]
    body.append([tokenizer, *counts, math.log(symbols)])
  study.page["outputs"] = body


_INPUTS, _ROWS = 8, 8


def by_length(study: run_lib.Study) -> None:
  """The norm of a weight's gradient by the length of the sequence."""
  page, settings, random = study.page, study.config.settings, study.random
  steps, features = settings.gradient_length, settings.features
  normal = random.normal(size=(features, features))
  rotation = np.linalg.qr(normal)[0]
  scale = features**-0.5
  networks = {
    "tanh, N(0, 0.01^2)": (0.01 * normal, "tanh"),
    "tanh, a rotation Q": (rotation, "tanh"),
    "tanh, 2 Q": (2 * rotation, "tanh"),
    "ReLU, N(0, 2/h)": (2**0.5 * scale * normal, "relu"),
    "ReLU, N(0, 4/h)": (2 * scale * normal, "relu"),
  }
  kernel = random.normal(size=(_INPUTS, features)) / (4 * _INPUTS**0.5)
  xs = random.normal(size=(_ROWS, steps, 1, _INPUTS))
  vector = random.normal(size=features) * scale
  norms, body, half = {}, [], steps // 2
  for name, (matrix, activation) in networks.items():
    with jax.enable_x64(True):
      result = norms[name] = np.asarray(
        _norms(activation, *map(jnp.asarray, (matrix, kernel, xs, vector)))
      )
    growth = float((result[-1] / result[half]) ** (1 / (steps - 1 - half)))
    # At T = 1 the state before is 0, and so is the gradient.
    body.append(
      [name, *(float(result[t]) for t in (1, half, steps - 1)), growth]
    )
    study.signals.check()
  page["by_length"], page["noise_rows"] = body, _ROWS
  figures.curves(
    page.figure("gradient_by_length"),
    "The gradient of a long sequence",
    {
      name: (np.arange(2, steps + 1), result[1:])
      for name, result in norms.items()
    },
    x="length $T$",
    y=r"$|dL/dW_h|$",
    log_y=True,
  )


@functools.partial(jax.jit, static_argnums=0)
def _norms(
  activation: Any,
  recurrent: jax.Array,
  kernel: jax.Array,
  xs: jax.Array,
  vector: jax.Array,
) -> jax.Array:
  """|d(v . h_T)/dW_h| for T = 1, 2, ..., geometric mean over rows: [T]."""
  features = len(recurrent)
  carry = elman.initial_carry((1,), features, recurrent.dtype)
  step = functools.partial(elman.step, activation=activation)

  def read(recurrent: jax.Array, row: jax.Array) -> jax.Array:
    params = elman.ElmanParams(kernel, recurrent, jnp.zeros(features))
    return scan.unroll(step, params, carry, row)[1][:, 0] @ vector

  slopes = jax.vmap(jax.jacrev(read), in_axes=(None, 0))(recurrent, xs)
  # [B, T, H, H]
  norms = jnp.linalg.norm(slopes.reshape(*xs.shape[:2], -1), axis=2)
  return jnp.exp(jnp.mean(jnp.log(norms), axis=0))


_WINDOW, _WINDOWS = 8, 3  # of the reach across the edges of windows


def at_a_window(study: run_lib.Study) -> None:
  """No output depends on what lies before its window."""
  page, steps = study.page, _WINDOW * _WINDOWS
  tokens = study.tokens("characters")
  symbols = len(tokens.vocabulary)
  network = training.Network(
    "gru", study.config.settings.features, symbols, symbols
  )
  params = jax.jit(network.init)(jax.random.key(study.config.seed))
  ids, place = np.asarray(tokens.splits["train"][:steps]), np.arange(steps)
  cut, whole = (
    gradient_reach.between(network.predictor(), params, ids, cleared)
    for cleared in (place % _WINDOW == 0, None)
  )
  outside = place[:, None] // _WINDOW != place[None] // _WINDOW
  page["window"] = {
    "count": _WINDOWS,
    "length": _WINDOW,
    "cut": f"{cut[outside].max():g}",
    "carried": f"{np.tril(whole * outside).max():.2g}",
    "later": f"{np.triu(whole, 1).max():g}",
  }
  figures.derivatives(
    page.figure("window"),
    {"state cleared at each window": cut, "state carried across": whole},
    height=3.6,
  )


def gates_by_hand(study: run_lib.Study) -> None:
  """Gates set by hand keep and add without loss."""
  length, rows = study.config.settings.hand_length, 16
  task = memory_tasks.AddingTask(
    length=length, batch=rows, seed=study.config.seed
  )
  body: list[list[Any]] = []
  with jax.enable_x64(True):
    latched, summed = (
      jax.jit(lambda *given, step=step: scan.unroll(step, *given)[0])
      for step in (gru.step, lstm.step)
    )
    inputs = jnp.asarray(task.segment(0).inputs, jnp.float64)
    one = inputs.at[length // 2 :, :, 1].set(0)  # the first mark alone
    sums, first = (np.prod(x, axis=-1).sum(axis=0) for x in (inputs, one))
    for gain in (1e-1, 1e-2, 1e-3):
      short = gru.initial_carry((rows,), 1, jnp.float64)
      held = latched(exact.latch(gain), short, one)
      long = lstm.initial_carry((rows,), 1, jnp.float64)
      added = summed(exact.adder(gain), long, inputs)
      gaps = (
        np.abs(held.h[:, 0] / gain - first),
        np.abs(added.h[:, 0] / gain - sums),
      )
      body.append([f"{gain:g}", *(float(gap.max()) for gap in gaps)])
  study.page["gates"] = body


_EVALUATIONS = 16  # points of the curves


def texts(study: run_lib.Study, others: Mapping[str, str]) -> list[results.Row]:
  """Overfits on purpose, then scores texts by other hands."""
  page, settings = study.page, study.config.settings
  tokens = study.tokens("characters")
  train, symbols = tokens.splits["train"], tokens.vocabulary.size
  known = train[: settings.by_heart]
  unseen = np.asarray(tokens.splits["valid"][: settings.unseen])
  network = networks.LanguageModel(
    symbols,
    recurrent.StackOptions(
      features=(settings.heart_features,), cell=cells.get("gru")
    ),
  ).as_model()
  adam = optimizers.build(
    "adam", learning_rate=settings.heart_rate, clip_norm=1.0
  )
  learn = functools.partial(learned, study, network, adam, unseen)
  curve, in_time, by_heart = learn(known)
  _, _, much = learn(train)
  steps, inside, outside = curve.T
  # Of one reading; what a row lacks at its end is masked.
  segments = -(-len(known) // settings.batch // settings.heart_length)
  low, end = int(np.argmin(outside)), len(curve) - 1
  shown = (curve[i] for i in sorted({0, low, len(curve) // 2, end}))
  page["by_heart"] = [[f"{x:,.0f}", *rest] for x, *rest in shown]
  page["heart"] = {
    "characters": f"{len(known):,}",
    "times": f"{settings.heart_steps // max(1, segments):,}",
    "unseen": f"{len(unseen):,}",
    "best_step": f"{steps[low]:,.0f}",
    "best": f"{outside[low]:.1f}",
    "last": f"{outside[end]:.1f}",
    "known": f"{inside[end]:.2f}",
    "nothing": symbols,
  }
  figures.curves(
    page.figure("by_heart"),
    "Learning by heart",
    {"the text it learns": (steps, inside), "unseen text": (steps, outside)},
    x="steps",
    y="perplexity",
    log_y=True,
    marks=True,
    references={"knowing nothing": float(symbols)},
  )
  first = f"{len(known):,} characters"
  name = f"GRU, {first} by heart, {settings.heart_steps:,} steps"
  learning = {"split": "train", "evaluation": "before each step"}
  rows = [
    training.row(name, float(inside[end]), len(known), **learning),
    training.row(name, float(outside[end]), len(unseen)),
  ]
  trained = {
    f"the first {first}, stopped in time": in_time,
    f"the first {first}, by heart": by_heart,
    f"all {len(train):,} characters": much,
  }
  return rows + elsewhere(study, network, trained, tokens, unseen, others)


def learned(
  study: run_lib.Study,
  network: networks.SequenceModel,
  optimizer: optax.GradientTransformation,
  unseen: np.ndarray,
  ids: Any,
) -> tuple[np.ndarray, Any, Any]:
  """Training on a text, scored on another as it goes.

  Returns:
    A line for each point of the curves [N, 3]: its step, the perplexity of the
    text since the point before, that of the unseen text. Then the weights where
    the last was lowest, and those of the end.
  """
  settings, best = study.config.settings, None
  curve: list[tuple[float, float, float]] = []

  def evaluate(end: int, params: Any, report: step.StepReport) -> None:
    nonlocal best
    score = training.held_out(network, params, unseen).perplexity
    if all(score < before for *_, before in curve):
      best = jax.tree.map(np.array, params)
    curve.append((end, report.metrics.total().perplexity, score))

  trained = training.train(
    network,
    batching.SequentialStream(
      ids, batch=settings.batch, length=settings.heart_length, training=True
    ),
    optimizer,
    steps=settings.heart_steps,
    seed=study.config.seed,
    dispatch=max(1, settings.heart_steps // _EVALUATIONS),
    check=study.signals.check,
    after=evaluate,
  )
  return np.array(curve), best, trained.params


def read(study: run_lib.Study) -> dict[str, str]:
  """Texts by other hands, as far as they are to be had, by their names."""
  settings, result = study.config.settings, {}
  if study.config.data.source != "embedded":
    python = _beginning(study, source="embedded")
    result["Python's language reference"] = python
  if study.config.data.source != "timemachine":
    # A page without it is a page all the same.
    with contextlib.suppress(errors.UserError):
      result["The Time Machine"] = _beginning(study, source="timemachine")
  functions = (getattr(np.linalg, name) for name in sorted(np.linalg.__all__))
  documented = (inspect.getdoc(f) or "" for f in functions)
  result["NumPy's help on linear algebra"] = "\n\n".join(documented)
  for path in settings.other_texts:
    result[pathlib.Path(path).name] = _beginning(
      study, source="text", path=path
    )
  return {name: text[: settings.unseen] for name, text in result.items()}


def _beginning(study: run_lib.Study, **where: Any) -> str:
  """The first characters of another corpus."""
  tokens = study.tokens(
    "characters",
    partition="standard",
    limit=study.config.settings.unseen,
    downloads=False,
    **where,
  )
  return training.decode(tokens, np.asarray(tokens.splits["train"]))


def elsewhere(
  study: run_lib.Study,
  network: Any,
  trained: Mapping[str, Any],
  tokens: Any,
  unseen: np.ndarray,
  others: Mapping[str, str],
) -> list[results.Row]:
  """Scores texts by the same hand and by others.

  Weights come by what they were trained on, most text last.
  """
  page, vocabulary = study.page, tokens.vocabulary
  known = {
    "the same text, unseen": (unseen, 0.0),
    "the same, read backwards": (unseen[::-1], 0.0),
  }
  for name, text in others.items():
    if kept := [c for c in text if c in vocabulary]:
      known[name] = vocabulary.encode(kept), 1 - len(kept) / len(text)
  scores = {
    name: [
      training.held_out(network, params, ids) for params in trained.values()
    ]
    for name, (ids, _) in known.items()
  }
  learned = (f"perplexity, learned {name}" for name in trained)
  body = []
  for name, (ids, lost) in known.items():
    scored = (one.perplexity for one in scores[name])
    body.append([name, f"{len(ids):,}", f"{100 * lost:.1f} %", *scored])
  page.table("elsewhere", ("text", "characters", "left out", *learned), body)
  most = [ones[-1].perplexity for ones in scores.values()]
  page["most"] = {
    "own": f"{most[0]:.2f}",
    "backwards": f"{most[1]:.1f}",
    "others": f"{min(most[2:]):.2f} to {max(most[2:]):.2f}",
    "by_heart": f"{min(ones[-2].perplexity for ones in scores.values()):.1f}",
  }
  return [
    training.scored_row(
      f"GRU, all training text, on: {name}",
      ones[-1],
      split="elsewhere" if place else "valid",
    )
    for place, (name, ones) in enumerate(scores.items())
  ]
