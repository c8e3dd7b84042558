"""Markov chains, with hidden states and without: fits, scores, analysis."""

import itertools
import time
from collections.abc import Sequence

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import data, models
from experiments.studies.common import figures
from seqmodels import units
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.models import language_model
from seqmodels.training import optimizers, step

# Tomorrow's weather by today's: dry, cloudy, wet.
_WEATHER = np.array([[0.7, 0.2, 0.1], [0.3, 0.4, 0.3], [0.1, 0.4, 0.5]])
_NAMES = ("dry", "cloudy", "wet")


def add_markov_models(study: run.Study) -> list[results.Row]:
  """Adds the sections to the study's page; returns their rows."""
  rows = _orders(study)
  _sums_over_paths(study)
  return rows


def perplexity_row(
  name: str, nats: float, count: int, seconds: float, *, split: str = "test"
) -> results.Row:
  """A result of a model of symbols.

  Args:
    name: of the model.
    nats: mean nats a symbol.
    count: symbols.
    seconds: of scoring.
    split: what was scored.
  """
  return results.row(
    name,
    split=split,
    evaluation="static",
    metric="perplexity",
    value=units.perplexity(nats, 1),
    count=count,
    seconds=seconds,
  )


def _orders(study: run.Study) -> list[results.Row]:
  settings, page, random = study.config.settings, study.lesson, study.random
  page.section(
    "Markov models of symbols",
    """
    Symbols are not predicted by a number but by a distribution. In a Markov
    model of order k it depends on the last k symbols alone: the window model of
    symbols. Its table is filled by counting:
    """,
  )
  page.shown(
    """
    P(x_1, ..., x_T) = prod_t P(x_t | x_{t-k}, ..., x_{t-1})
    P(b | a) = (n(a b) + eps) / (n(a) + V eps),   a: k symbols, b: the next
    """
  )
  kernel = random.dirichlet(np.full(4, 0.7), size=(4, 4))
  start = models.stationary(kernel)
  train, test = (
    data.markov_chain(kernel, settings.chain, random=random, initial=start)
    for _ in range(2)
  )
  whole = models.Markov.fit(train, 4, order=settings.longest_order, epsilon=0.5)
  rows, body = [], []
  for order in range(settings.longest_order + 1):
    began, model = time.perf_counter(), whole.up_to(order)
    scores = [float(model.nats(part).mean()) for part in (train, test)]
    known = models.entropy_rate(kernel, min(order, 2))
    body.append([order, 4**order, known, *scores])
    rows.append(
      perplexity_row(
        f"Markov chain of order 2, model of order {order}",
        scores[1],
        len(test),
        time.perf_counter() - began,
      )
    )
  page.table(
    ["k", "rows", "true rate", "train", "test"],
    [[*line[:2], *(f"{value:.4f}" for value in line[2:])] for line in body],
  )
  best = int(np.argmin([line[4] for line in body]))
  page.say(
    f"""
    A chain of order 2 over 4 symbols, drawn at random, and models counted in
    {settings.chain:,} symbols of it with eps = 0.5; nats a symbol. The true
    rate is the entropy of the next symbol for who knows the chain and sees k
    symbols. It stops falling at k = 2, because the chain looks no further back.
    The lowest test score is that of k = {best}. Longer contexts are rarer,
    their counts smaller: the score on the training symbols goes on falling,
    that on new ones rises.
    """
  )
  figures.curves(
    page.figure("markov_orders", "Scores of counted models by order."),
    "A chain of order 2",
    {
      name: (range(len(body)), [line[column] for line in body])
      for column, name in ((3, "train"), (4, "test"))
    },
    x="order k of the model",
    y="nats a symbol",
    marks=True,
    references={"entropy rate": body[-1][2]},
  )
  return rows


def _sums_over_paths(study: run.Study) -> None:
  settings, page = study.config.settings, study.lesson
  page.section(
    "Steps on, and the best path",
    """
    What a chain of order 1 will do in n steps is a sum over all that may happen
    on the way, and the sum is a product of matrices. What it will most likely
    do is a maximum over the same ways. Both take V^2 operations a step instead
    of V^n ways.
    """,
  )
  page.shown(
    """
    P(x_{t+2} = c | x_t = a) = sum_b P(c | b) P(b | a),   n steps: P^n
    best(t, b) = max_a best(t - 1, a) P(b | a)            (Viterbi)
    """
  )
  drawn = data.markov_chain(_WEATHER, settings.chain, random=study.random)
  body = []
  for steps in (1, 2, 5, 20):
    now, later = drawn[:-steps], drawn[steps:]
    power = models.n_step(_WEATHER, steps)
    body.append(
      [
        steps,
        float(power[0, 2]),
        float(np.mean(later[now == 0] == 2)),
        float(power[2, 2]),
        float(np.mean(later[now == 2] == 2)),
      ]
    )
  page.table(
    ["days on", "wet after dry", "counted", "wet after wet", "counted"], body
  )
  # It is wet today; the first day of a path is tomorrow.
  days, wet = 6, _NAMES.index("wet")
  tomorrow = _WEATHER[wet]
  path, log = models.most_likely(
    tomorrow, _WEATHER, np.zeros((days, len(_NAMES)))
  )
  greedy, today = [], wet
  for _ in range(days):
    today = int(_WEATHER[today].argmax())
    greedy.append(today)
  every = np.array(list(itertools.product(range(3), repeat=days)))
  shares = _shares(tomorrow, every)
  hasty = float(_shares(tomorrow, np.array([greedy]))[0])
  page.say(
    f"""
    An invented climate of dry, cloudy and wet days, and the same counted in
    {settings.chain:,} days of it. After a while today no longer matters: every
    row tends to the shares that the chain keeps for ever, for wet days
    {models.stationary(_WEATHER)[wet]:.3f}.

    Now it is wet. To take the likeliest next day {days} times over gives
    {_told(greedy)}, of probability {hasty:.4f} together. The likeliest {days}
    days are {_told(path)}, of probability {np.exp(log):.4f}: the best path need
    not begin with the best step. Trying all {len(every)} paths finds
    {_told(every[shares.argmax()])} as well.
    """
  )


def _shares(first: np.ndarray, paths: np.ndarray) -> np.ndarray:
  """The probability of each path [paths, days]."""
  moves = _WEATHER[paths[:, :-1], paths[:, 1:]]
  return first[paths[:, 0]] * moves.prod(axis=1)


def _told(path: Sequence[int] | np.ndarray) -> str:
  """The days in words: "cloudy, then 2 dry".

  >>> _told([1, 0, 0])
  'cloudy, then 2 dry'
  """
  runs = [(day, len(list(same))) for day, same in itertools.groupby(path)]
  return ", then ".join(
    _NAMES[day] if count == 1 else f"{count} {_NAMES[day]}"
    for day, count in runs
  )


# Two states that seldom change and look much alike.
_STAYS, _SHOWS = 0.98, 0.7
_UNITS = 8


def add_hidden_chains(study: run.Study) -> list[results.Row]:
  """Adds the section to the study's page; returns its rows."""
  settings, page, random = study.config.settings, study.lesson, study.random
  model = models.HiddenMarkov(
    np.array([0.5, 0.5]),
    np.array([[_STAYS, 1 - _STAYS], [1 - _STAYS, _STAYS]]),
    np.array([[_SHOWS, 1 - _SHOWS], [1 - _SHOWS, _SHOWS]]),
  )
  states_drawn, drawn = data.hidden_markov(
    *(model.initial, model.transition, model.emission),
    settings.hidden_chain * 3 // 2,
    random=random,
  )
  train, test = np.split(drawn, [settings.hidden_chain])
  page.section(
    "When a window is not enough",
    f"""
    Two biased coins, one showing heads with probability {_SHOWS}, the other
    tails. One of them is thrown again and again; with probability
    {1 - _STAYS:.2f} it is exchanged after a throw, and nobody says so. Which
    coin it is shows only in many throws together. No number of past throws
    says all there is to know: however long the window, what lies before it
    still tells a little. A model with a state needs no window:
    """,
  )
  page.shown(
    """
    pi_{t+1}(h') = sum_h pi_t(h) P(x_t | h) P(h' | h)       forward
    rho_{t-1}(h) = sum_h' P(h' | h) P(x_t | h') rho_t(h')   backward
    P(x_1, ..., x_T) = sum_h pi_t(h) P(x_t | h) rho_t(h)    at every t
    """
  )
  began = time.perf_counter()
  floor = float(model.nats(test).mean())
  row = perplexity_row
  rows = [
    row("hidden chain, filter", floor, len(test), time.perf_counter() - began)
  ]
  recurrent = _recurrent(study, train, test)
  rows.append(row(f"hidden chain, RNN of {_UNITS} units", *recurrent))
  whole = models.Markov.fit(
    train, 2, order=settings.longest_window, epsilon=0.5
  )
  lengths = range(0, settings.longest_window + 1, 2)
  best = model.entropy_by_window(settings.longest_window)[::2]
  counted = []
  for length in lengths:
    began = time.perf_counter()
    counted.append(float(whole.up_to(length).nats(test).mean()))
    name = f"hidden chain, window of {length}, counted"
    spent = time.perf_counter() - began
    rows.append(row(name, counted[-1], len(test), spent))
  page.table(
    ["what is read", "best possible", "on the test"],
    [
      *(
        [f"window of {length}", f"{best[i]:.4f}", f"{counted[i]:.4f}"]
        for i, length in enumerate(lengths)
      ),
      [f"everything, RNN of {_UNITS} units", "", f"{recurrent[0]:.4f}"],
      ["everything, filter", "", f"{floor:.4f}"],
    ],
  )
  least = int(np.argmin(counted))
  page.say(
    f"""
    Nats a symbol. The best possible score of a window of k is computed exactly,
    from the probabilities of all 2^(k+1) sequences; it falls towards that of
    the filter without reaching it. Counting cannot even follow it: each further
    symbol doubles the table, and with {settings.hidden_chain:,} symbols to
    count the best is a window of {lengths[least]}, which ends
    {counted[least] - floor:.4f} nats above the filter. The filter knows the
    coins, reads everything, and keeps two numbers; nothing can do better on
    average. An RNN of fixed size that was told nothing of coins ends
    {recurrent[0] - floor:.4f} above it.
    """
  )
  figures.curves(
    page.figure("hidden_chain", "Window models and models with a state."),
    "Two coins, and nobody says which",
    {
      "window, best possible": (lengths, best),
      "window, counted": (lengths, counted),
    },
    x="symbols in the window",
    y="nats a symbol",
    marks=True,
    references={f"RNN of {_UNITS} units": recurrent[0], "filter": floor},
  )
  part = min(len(test), 20_000)
  _looking_back(study, model, test[:part], states_drawn[-len(test) :][:part])
  return rows


def _recurrent(
  study: run.Study, train: np.ndarray, test: np.ndarray
) -> tuple[float, int, float]:
  """Nats a symbol of a small trained network, symbols, seconds of scoring."""
  predictor = language_model.as_predictor(
    language_model.LanguageModel(2, features=(_UNITS,), cell="elman")
  )
  stream = batching.SequentialStream(
    train,
    batch=32,
    length=50,
    seed=study.config.seed,
    training=True,
    random_offset=True,
  )
  count = stream.segments_per_epoch * study.config.settings.rnn_epochs
  optimizer = optimizers.build(
    "adam", learning_rate=0.01, schedule="cosine", steps=count, clip_norm=1.0
  )
  state = step.create(predictor, optimizer, batch=32, seed=study.config.seed)
  train_steps = step.make_train_steps(predictor, optimizer)
  state, _ = train_steps(state, jax.device_put(stream.segments(0, count)))
  reading = batching.SequentialStream(test, batch=1, length=1000)
  totals = static.evaluate(
    predictor, state.params, reading.segments(0, reading.segments_per_epoch)
  )
  return totals.nats_per_symbol, totals.count, totals.seconds


def _looking_back(
  study: run.Study,
  model: models.HiddenMarkov,
  symbols: np.ndarray,
  coins: np.ndarray,
) -> None:
  """What both sides together know: a missing symbol, and the states."""
  places = np.arange(len(symbols))
  missing = -np.log(model.fill_in(symbols)[places, symbols]).mean()
  forward = model.log_probability(symbols)
  backward = np.logaddexp.reduce(
    np.log(model.initial)
    + np.log(model.emission[:, symbols[0]])
    + model.backward(symbols)[0]
  )
  # What is known of the coin right after a throw.
  past = model.forward(symbols)[:-1] + np.log(model.emission.T[symbols])
  guesses = {
    "from the past": past.argmax(axis=1),
    "from both sides, each alone": model.state_posterior(symbols).argmax(1),
    "best path of all (Viterbi)": model.most_likely_states(symbols)[0],
  }
  study.lesson.say(
    f"""
    Forward and backward recursion give the same probability of
    {len(symbols):,} throws: their logarithms are {forward:.6f} and
    {backward:.6f}. (The probability itself is far below the smallest number
    that a computer can hold, so all is done with logarithms.) Together they
    fill in a missing throw from what is before and after it. That costs
    {missing:.4f} nats, while a forecast from the past alone costs
    {model.nats(symbols).mean():.4f}: interpolation is the easier task here,
    too. The same holds for the coins behind the throws, which can be guessed in
    three ways:
    """
  )
  study.lesson.table(
    ["guess of the coin", "right, in %", "exchanges"],
    [
      [
        name,
        f"{100 * np.mean(guess == coins):.1f}",
        int(np.sum(guess[1:] != guess[:-1])),
      ]
      for name, guess in guesses.items()
    ],
  )
  study.lesson.say(
    f"""
    In truth there were {int(np.sum(coins[1:] != coins[:-1]))} exchanges. To
    guess each coin for itself is right most often. The best path is the one
    story that is likeliest as a whole; it tells only of exchanges that left a
    clear trace, so as a rule it has fewer turns than the truth.
    """
  )
