"""Chains of which only traces are seen: part of a study."""

import time

import jax
import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import markov_models
from experiments.studies.common import figures
from seqmodels.data import series
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.io import results
from seqmodels.models import hidden_markov, language_model, markov
from seqmodels.training import optimizers, step

# Two states that seldom change and look much alike.
_STAYS, _SHOWS = 0.98, 0.7
_UNITS = 8


def add(study: run.Study) -> list[results.Row]:
  """Adds the section to the study's page; returns its rows."""
  settings, page, random = study.config.settings, study.lesson, study.random
  model = hidden_markov.HiddenMarkov(
    np.array([0.5, 0.5]),
    np.array([[_STAYS, 1 - _STAYS], [1 - _STAYS, _STAYS]]),
    np.array([[_SHOWS, 1 - _SHOWS], [1 - _SHOWS, _SHOWS]]),
  )
  states_drawn, drawn = series.hidden_markov(
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
  row = markov_models.perplexity_row
  rows = [
    row("hidden chain, filter", floor, len(test), time.perf_counter() - began)
  ]
  recurrent = _recurrent(study, train, test)
  rows.append(row(f"hidden chain, RNN of {_UNITS} units", *recurrent))
  whole = markov.Markov.fit(
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
  model: hidden_markov.HiddenMarkov,
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
