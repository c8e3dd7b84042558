"""Autoregressive models: the study's page from beginning to end.

The noisy sine comes first (`sine.py`: fits, predictions, theory, inputs), then
chains of symbols and what no window holds (`markov.py`); the models are in
`models.py`, the series and tasks in `data.py`.
"""

import functools
import itertools
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.autoregressive import data, markov, models, sine
from experiments.studies.autoregressive import models as models_lib
from experiments.studies.common import page as page_lib
from seqmodels import errors, losses, units
from seqmodels import losses as losses_lib
from seqmodels.io import results
from seqmodels.layers import stack
from seqmodels.models import language_model, ngram
from seqmodels.training import loss, optimizers, step

_ORDERS = (2, 4, 6)


def add_reading_order(study: run_lib.Study) -> list[results.Row]:
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


def _chain(study: run_lib.Study) -> None:
  """A chain and its mirror image give every sequence the same probability."""
  random, count = study.random, min(study.config.settings.chain, 20_000)
  kernel = random.dirichlet(np.ones(4), size=4)
  shares = models.stationary(kernel)
  back = models.reversed_kernel(kernel)
  xs = data.markov_chain(kernel, count, random=random, initial=shares)
  forwards = np.log(shares[xs[0]]) + np.log(kernel[xs[:-1], xs[1:]]).sum()
  backwards = np.log(shares[xs[-1]]) + np.log(back[xs[1:], xs[:-1]]).sum()
  counted = [
    models.Markov.fit(part, 4, order=1).nats(part) for part in (xs, xs[::-1])
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


def _text(study: run_lib.Study) -> list[results.Row]:
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
        markov.perplexity_row(
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


def _causes(study: run_lib.Study) -> None:
  """A law that is simple in the direction of time only."""
  page = study.lesson
  xs = data.cubic(min(study.config.settings.chain, 4000), random=study.random)
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
  sine.residuals(
    page.figure("causes", "Errors of both predictions against what was given."),
    drawn,
  )


def add_past_winners(study: run_lib.Study) -> None:
  """Adds the section: the best past return says nothing of the next."""
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section(
    "Past winners",
    f"""
    {settings.walks} shares go up and down at random, none better than another:
    the logarithms of their prices are random walks without drift. An investor
    looks back, picks the share that gained most, and holds it for a second
    period of the same length.
    """,
  )
  steps = 50
  gains = []
  for _ in range(settings.repeats):
    walks = data.random_walks(
      settings.walks, 2 * steps, random=random, scale=steps**-0.5
    )
    winner = walks[np.argmax(walks[:, steps])]
    gains.append([winner[steps], winner[-1] - winner[steps]])
  past, future = np.array(gains).T
  scatter = future.std(ddof=1) / len(future) ** 0.5
  page.table(
    ["period", "mean gain of the winner", "standard error"],
    [
      ["first", float(past.mean()), float(past.std(ddof=1) / len(past) ** 0.5)],
      ["second", float(future.mean()), float(scatter)],
    ],
  )
  page.say(
    f"""
    In standard deviations of a share's gain, over {settings.repeats} worlds.
    The winner's past is splendid because it was picked for it; its future is
    {abs(future.mean()) / scatter:.1f} standard errors from nothing. A model
    that is chosen out of many by its score on one stretch of data has the same
    luck behind it, so it must be scored anew on data that had no part in the
    choice.
    """
  )
  sine.winners(
    page.figure("winners", "Prices in one such world, the five winners bold."),
    np.exp(0.2 * walks),
    steps,
  )


class Task(NamedTuple):
  """A toy problem and a network of its shape.

  Attributes:
    shape: as the page calls it.
    problem: in words.
    examples: all there are.
    model: takes what is given, then, if it writes, what is written.
    reads: it takes the given.
    writes: it takes the symbols written so far.
    free: symbols at the beginning that nothing tells.
  """

  shape: str
  problem: str
  examples: data.Examples
  model: nn.Module
  reads: bool = True
  writes: bool = False
  free: int = 0


class Minibatch(NamedTuple):
  """One step's examples, in the form that `training.step` asks for."""

  inputs: tuple[Any, ...]
  targets: Any
  mask: Any


def tasks(study: run_lib.Study) -> list[Task]:
  """Those that the settings name.

  Raises:
    UserError: one of another name, or sizes that make no toy.
  """
  settings = study.config.settings
  bits, letters, length = (
    settings.toy_bits,
    settings.toy_letters,
    settings.toy_length,
  )

  def core(symbols: int) -> stack.DeepRecurrent:
    return stack.DeepRecurrent(
      features=(settings.toy_units,), in_features=symbols, cell="gru"
    )

  known = [
    Task(
      "fixed target",
      f"do most of {bits - 1} bits say 1?",
      data.majority(bits - 1),
      models.LastState(core(2), 2),
    ),
    Task(
      "fixed input",
      f"a vector of {bits} signs; write them down, one after the other",
      data.signs(bits),
      models.FromVector(core(2), 2),
      writes=True,
    ),
    Task(
      "aligned",
      f"after each of {bits} bits: is the number of ones so far odd?",
      data.parity(bits),
      models.PerStep(core(2), 2),
    ),
    Task(
      "unaligned",
      f"write {length} letters of {letters} kinds from the last to the first",
      data.reversal(letters, length),
      models.EncoderDecoder(core(letters), core(letters), letters),
      writes=True,
    ),
    Task(
      "density",
      f"palindromes of {2 * length} such letters; complete them",
      data.palindromes(letters, length),
      models.PerStep(core(letters), letters),
      reads=False,
      writes=True,
      free=length,
    ),
  ]
  shapes = [task.shape for task in known]
  for name in settings.toys:
    if name not in shapes:
      raise errors.UserError(
        f"config.settings.toys names {name!r}" + errors.closest(name, shapes)
      )
  return [task for task in known if task.shape in settings.toys]


def add_task_shapes(study: run_lib.Study) -> None:
  """Adds the section to the study's page."""
  settings, page = study.config.settings, study.lesson
  page.section(
    "Shapes of problems",
    """
    A sequence may be what is given, what is wanted, or both:
    """,
  )
  page.table(
    ["problem", "given", "wanted", "example"],
    [
      ["fixed target", "a sequence", "one label", "is this review friendly?"],
      ["fixed input", "one object", "a sequence", "a caption to a picture"],
      ["aligned", "a sequence", "a label a step", "each word's part of speech"],
      ["unaligned", "a sequence", "another one", "translation"],
      ["density", "nothing", "P(sequence)", "language models"],
    ],
  )
  page.say(
    f"""
    One recurrent network can serve all five. What differs is the state that it
    begins with and the states that a label is read from. Here are toys, each
    with a rule that can be found. A layer of {settings.toy_units} GRU
    units, with a readout of the toy's shape, learned from three quarters of all
    examples in {settings.toy_steps:,} minibatches of {settings.toy_batch}. It
    was then asked about the others:
    """
  )
  body = []
  for task in tasks(study):
    right, nats, count = solved(task, study)
    body.append(
      [task.shape, task.problem, count, f"{100 * right:.1f}", float(nats)]
    )
    study.signals.check()
  page.table(
    [
      *("problem", "toy", "new examples"),
      *("wholly right, in %", "nats an example"),
    ],
    body,
  )
  floor = settings.toy_length * np.log(settings.toy_letters)
  page.say(
    f"""
    A network that writes is shown the true symbols so far while it learns; when
    it is asked it goes by those that it has written. Of a palindrome it is told
    the first half, which no one can know: {floor:.3f} nats are the least that a
    palindrome can cost on average, and what the network needs above that is
    what it gives to strings that are no palindromes.

    The rest of this page is about the last shape.
    """
  )


def solved(task: Task, study: run_lib.Study) -> tuple[float, float, int]:
  """Learns a toy from some examples and is asked about the others.

  Returns:
    Share of them without a mistake, nats of one, and how many they are.
  """
  order = study.random.permutation(len(task.examples.targets))
  cut = 3 * len(order) // 4
  params = _learned(task, task.examples.rows(order[:cut]), study)
  asked = task.examples.rows(order[cut:])
  model = functools.partial(jax.jit(task.model.apply), {"params": params})
  inputs, targets = _inputs(task, asked), asked.targets.T
  scored = jax.jit(losses_lib.nats)
  nats, *_ = scored(model(*inputs), targets, np.ones(targets.shape, bool))
  found = _answers(task, model, inputs, targets)
  right = np.mean(np.all((found == targets)[task.free :], axis=0))
  return float(right), float(nats) / len(asked.targets), len(asked.targets)


def _answers(
  task: Task,
  model: Callable[..., jax.Array],
  inputs: tuple[np.ndarray, ...],
  targets: np.ndarray,
) -> np.ndarray:
  """What the model says by itself, [T, B]."""
  if not task.writes:
    return np.asarray(model(*inputs)).argmax(axis=-1)
  *given, known = inputs
  told = np.arange(len(known))[:, None] <= task.free

  def logits(written: np.ndarray) -> jax.Array:
    return model(*given, np.where(told, known, written))

  return models.greedy(logits, *targets.shape)


def _inputs(task: Task, part: data.Examples) -> tuple[np.ndarray, ...]:
  """What the model takes: time first, vectors as they are."""
  found = []
  if task.reads:
    assert part.given is not None
    vectors = np.issubdtype(part.given.dtype, np.floating)
    found.append(part.given if vectors else part.given.T)
  if task.writes:
    found.append(models.shifted(part.targets.T))
  return tuple(found)


def _learned(task: Task, part: data.Examples, study: run_lib.Study) -> Any:
  """The weights after training on a part of the examples."""
  settings, random = study.config.settings, study.random
  batch = min(settings.toy_batch, len(part.targets))
  drawn = []
  for _ in range(settings.toy_steps):
    rows = part.rows(random.choice(len(part.targets), batch, replace=False))
    targets = rows.targets.T
    drawn.append(
      Minibatch(_inputs(task, rows), targets, np.ones(targets.shape, bool))
    )
  minibatches = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
  rule = optimizers.build(
    "adam",
    learning_rate=0.01,
    schedule="cosine",
    steps=settings.toy_steps,
    clip_norm=1.0,
  )
  train_step = step.make_train_step(task.model, rule, losses=of_examples)

  @jax.jit
  def fit(key: jax.Array, minibatches: Minibatch) -> Any:
    first = jax.tree.map(lambda leaf: leaf[0], minibatches.inputs)
    params = task.model.init(key, *first)["params"]
    state = step.TrainState(jnp.int32(0), params, rule.init(params), (), key)
    return jax.lax.scan(train_step, state, minibatches)[0].params

  return fit(jax.random.key(study.config.seed), minibatches)


def of_examples(
  model: nn.Module, params: Any, carry: Any, minibatch: Minibatch, key: Any
) -> tuple[jax.Array, loss.Outcome]:
  """Nats of every example [B], as `training.objective` wants losses."""
  del key
  logits: Any = model.apply({"params": params}, *minibatch.inputs)
  losses, wrong = losses_lib.cross_entropy(
    logits, minibatch.targets, minibatch.mask
  )
  nats = jnp.sum(losses, axis=0)
  return nats, loss.Outcome(
    carry, jnp.sum(nats), jnp.sum(minibatch.mask), jnp.sum(wrong)
  )


_SIZE, _LENGTH = 3, 4


def add_total_probability(study: run_lib.Study) -> None:
  """Adds the section to the study's page."""
  page, random = study.lesson, study.random
  strings = np.array(list(itertools.product(range(_SIZE), repeat=_LENGTH)))
  text = random.integers(_SIZE, size=200)

  def rows(*shape: int) -> np.ndarray:
    return random.dirichlet(np.ones(shape[-1]), size=shape[:-1])

  hidden = models_lib.HiddenMarkov(rows(2), rows(2, 2), rows(2, _SIZE))
  models: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Markov model of order 2": models_lib.Markov.fit(
      text, _SIZE, order=2, epsilon=0.5
    ).nats,
    "3-gram, Kneser-Ney": ngram.NGram.fit(text, _SIZE, order=3).nats,
    "hidden Markov model": hidden.nats,
  }
  body = [
    [name, sum(float(np.exp(-nats(s).sum())) for s in strings)]
    for name, nats in models.items()
  ]
  for name, cell in sine.networks(study).items():
    log_joint = -_network_nats(cell, study.config.seed, strings)
    body.append([name, float(np.exp(log_joint).sum())])
  page.section(
    "A sum to check",
    f"""
    Every model on this page is a product of predictions, so the probabilities
    of all sequences of one length must sum to 1. Over {_SIZE} symbols there are
    {len(strings)} sequences of {_LENGTH}, few enough to add up. The networks
    have random weights; the sum must be right before they learn anything. A
    model that sees its own target, or is off by one step, fails this test.
    """,
  )
  page.table(["model", "sum"], [[name, f"{total:.6f}"] for name, total in body])


def _network_nats(cell: str, seed: int, strings: np.ndarray) -> np.ndarray:
  """-log P of every string, float64 [strings]."""
  network = language_model.as_predictor(
    language_model.LanguageModel(_SIZE, features=(5,), cell=cell)
  )
  targets = strings.T
  inputs = np.concatenate([np.full_like(targets[:1], -1), targets[:-1]])

  @jax.jit
  def nats(key: jax.Array) -> jax.Array:
    # Weights of some size, or every prediction would be near uniform.
    params = jax.tree.map(lambda leaf: 3 * leaf, network.init(key))
    carry = network.initial_carry(len(strings))
    nowhere = jnp.zeros(inputs.shape, bool)
    _, logits = network.apply(params, carry, jnp.asarray(inputs), nowhere)
    return losses.cross_entropy(logits, jnp.asarray(targets), ~nowhere)[0]

  found = np.asarray(nats(jax.random.key(seed)), np.float64)
  return found.sum(axis=0)


def run(study: run_lib.Study) -> list[results.Row]:
  """Runs the study.

  Args:
    study: its settings are those of `configs.fundamentals.AUTOREGRESSIVE`.
  """
  settings, page = study.config.settings, study.lesson
  random = study.random
  many = np.stack(
    [
      data.noisy_sine(settings.length, random=random, noise=settings.noise)
      for _ in range(settings.series)
    ]
  )
  # First, so that settings that do not fit are refused at once.
  fitted = sine.fit(study, many)
  _introduction(page)
  add_task_shapes(study)
  study.signals.check()
  _data(study, many[0])
  _models(study, fitted, many)
  sine.one_step(study, fitted, many)
  sine.free_run(study, fitted, many)
  rows = sine.k_steps(study, fitted, many)
  study.signals.check()
  sine.linear_errors(study)
  sine.accumulation(study, fitted, many)
  study.signals.check()
  sine.without_noise(study)
  sine.add_chosen_values(study)
  add_past_winners(study)
  study.signals.check()
  for add in (
    markov.add_markov_models,
    add_reading_order,
    markov.add_hidden_chains,
    sine.add_drifting_sine,
  ):
    rows += add(study)
    study.signals.check()
  add_total_probability(study)
  return rows


def _introduction(page: page_lib.Lesson) -> None:
  page.say(
    """
    A sequence model says what comes next. Given all that was seen so far it
    names the next value, or a distribution over the next symbol. This page
    builds such models for a series of numbers, then for chains of symbols, and
    asks of each how far ahead it can see.

    Whole sequences are drawn independently of one another; the steps inside one
    are not. The probability of a sequence is always a product of predictions,
    whatever the model:
    """
  )
  page.shown(
    """
    P(x_1, ..., x_T) = P(x_1) P(x_2 | x_1) P(x_3 | x_1, x_2) ...
                     = prod_t P(x_t | x_1, ..., x_{t-1})
    """
  )


def _data(study: run_lib.Study, first: np.ndarray) -> None:
  settings, page = study.config.settings, study.lesson
  seen = sine.seen(study)
  page.section("A noisy sine")
  page.shown("x_t = sin(0.01 t) + noise * e_t,    e_t ~ N(0, 1) independent")
  clean = data.noisy_sine(settings.length, random=study.random, noise=0.0)
  page.say(
    f"""
    {settings.length} values with noise {settings.noise}: about
    {settings.length * 0.01 / (2 * np.pi):.1f} periods. No model can predict the
    noise of the next value, so no mean squared error below its variance
    {settings.noise**2:.4f} is to be had, except by luck. In the series drawn
    below the variance around the clean sine is
    {np.mean((first - clean) ** 2):.4f}.

    The first {seen} values are there to learn from; all later ones are the
    test. A series must be cut in time. Windows may be drawn from it at random,
    because the law behind it does not change with time (that is what
    *stationary* means), but a model must never learn from values later than
    those that it is judged on.
    """
  )
  sine.noisy_series(
    page.figure("series", "The series, and the sine inside it."),
    first,
    clean,
    seen,
  )


def _models(
  study: run_lib.Study,
  fitted: dict[str, sine.Fitted],
  many: np.ndarray,
) -> None:
  settings, page = study.config.settings, study.lesson
  gap = sine.shift_register_gap(fitted[sine.LEAST_SQUARES], many[0])
  page.section("A window, or a state")
  page.shown(
    """
    window of tau     x^_{t+1} = f(x_{t-tau+1}, ..., x_t)
    latent            h_t = g(h_{t-1}, x_t),    x^_{t+1} = o(h_t)
    """
  )
  page.say(
    f"""
    A window model forgets all but the last tau values; here tau is
    {settings.window}. A latent model folds each value into a state h of fixed
    size and may keep what it likes. Throughout this project the state after
    reading x_t predicts x_{{t+1}}.

    The two are closer than they look: a window is the state of a latent model
    whose g is a shift register. It can even be built from a recurrent cell of
    this library. Give an Elman cell with rectifiers {settings.window} units,
    let the newest value enter the last of them and each unit hand its content
    to the one before, and let the readout be the linear model's weights.
    (Values are raised by 10 on entry, and lowered again in the readout, so that
    the rectifiers never cut.) On the series above its predictions differ from
    the window model's by at most {gap:.1g}: float32 rounding.

    What was trained, on each of {settings.series} series of its own: the linear
    model by least squares and by {settings.epochs} epochs of gradient descent
    (rate 0.01, minibatches of {settings.batch}); an MLP with 10 rectifiers over
    the same window (Adam, {settings.epochs} epochs); networks of
    {settings.hidden} recurrent units ({", ".join(settings.networks)}; the RNN
    is Elman's) on stretches of {settings.stretch} steps (Adam,
    {settings.network_epochs} epochs). A stretch begins with an empty state, and
    its first {settings.window} predictions do not count.
    """
  )
