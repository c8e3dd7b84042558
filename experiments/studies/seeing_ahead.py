"""What causal and bidirectional networks have seen when they predict."""

import functools
from typing import Any

import numpy as np

from experiments import fundamentals
from experiments.studies import (
  both_directions,
  causality,
  character_training,
  rnn_equations,
)
from seqmodels.data import windows
from seqmodels.evaluation import static
from seqmodels.io import canvas, report
from seqmodels.models import language_model
from seqmodels.models import predictor as predictors
from seqmodels.training import optimizers

# Of the tests by brute force: symbols, places, strings' length, units.
_SYMBOLS, _PLACES, _LENGTH, _UNITS = 4, 12, 5, 8


def contestants() -> dict[str, predictors.Predictor]:
  """Small networks over few symbols, the bidirectional one last."""
  causal = {
    "RNN": ("elman", (_UNITS,)),
    "GRU": ("gru", (_UNITS,)),
    "LSTM": ("lstm", (_UNITS,)),
    "RNN, two layers": ("elman", (_UNITS, _UNITS)),
    "LSTM, two layers": ("lstm", (_UNITS, _UNITS)),
  }
  found = {
    name: language_model.as_predictor(
      rnn_equations.model(cell, _SYMBOLS, features=features)
    )
    for name, (cell, features) in causal.items()
  }
  reader = both_directions.Reader(_SYMBOLS, (_UNITS,), cell="elman")
  return {**found, "bidirectional RNN": both_directions.as_predictor(reader)}


def causality_tests(study: fundamentals.Study) -> None:
  """Two tests that every model of the next symbol has to pass."""
  page = study.lesson
  page.section(
    "Deep and bidirectional networks, and what they have seen",
    """
    A second layer reads the states of the first as its inputs. A bidirectional
    layer has a second set of states that runs from the end to the beginning,
    and hands both on, side by side: every output then depends on the whole
    sequence.
    """,
  )
  page.shown(
    """
    deep           H^0 = X
                   H^l_t = tanh(H^{l-1}_t W^l_xh + H^l_{t-1} W^l_hh + b^l)

    bidirectional  F_t = tanh(X_t W_xf + F_{t-1} W_ff + b_f)
                   B_t = tanh(X_t W_xb + B_{t+1} W_bb + b_b)
                   O_t = [F_t, B_t] W_hq + b_q
    """
  )
  page.say(
    f"""
    For a model of the next symbol that is fatal, since the next symbol is among
    what it has seen. Two tests find it out. The derivative of output t by input
    s must be exactly 0 for every s after t. And the product of the
    probabilities that a model gives to the symbols of a string is the
    probability of the string, so that over all {_SYMBOLS**_LENGTH:,} strings of
    {_LENGTH} symbols out of {_SYMBOLS} it must sum to 1. Both must hold for any
    weights; here they are random, with {_UNITS} units a layer.
    """
  )
  random = study.random
  ids = random.integers(_SYMBOLS, size=_PLACES)
  body, reaches = [], {}
  for name, predictor in contestants().items():
    params = character_training.drawn(predictor, random, 0.5)
    reach = causality.reach(predictor, params, ids)
    total = causality.total_probability(predictor, params, length=_LENGTH)
    ahead = float(np.triu(reach, 1).max())
    back = float(reach[np.tril_indices(_PLACES)].min())
    body.append([name, f"{ahead:.3g}", f"{back:.2g}", f"{total:.6f}"])
    reaches[name] = reach
  page.table(
    [
      "network",
      "from later inputs",
      "least from earlier ones",
      "sum over strings",
    ],
    body,
  )
  shown = ("RNN", "LSTM, two layers", "bidirectional RNN")
  _draw(
    page.figure(
      "causality",
      "The largest derivative of output t by input s, on a logarithmic scale; "
      "white is exactly 0. A causal network's outputs have nothing above the "
      "diagonal.",
    ),
    {name: reaches[name] for name in shown},
  )


def _draw(path: canvas.Path, reaches: dict[str, np.ndarray]) -> None:
  with np.errstate(divide="ignore"):
    logs = {name: np.log10(reach) for name, reach in reaches.items()}
  finite = np.concatenate([x[np.isfinite(x)] for x in logs.values()])
  with canvas.figure(path, height=2.9) as drawing:
    pairs = drawing.subplots(1, len(logs), sharey=True)
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


def next_symbol(study: fundamentals.Study, tokens: Any) -> list[report.Row]:
  """A bidirectional network trained as a model of the next symbol."""
  page, settings = study.lesson, study.config.settings
  symbols = tokens.vocabulary.size
  page.section("A bidirectional model of the next symbol: how not to do it")
  reader = both_directions.Reader(symbols, (settings.reader_features,))
  network = both_directions.as_predictor(reader)
  found = _fit(study, network, _windows(study, tokens, "train"))
  held = _windows(study, tokens, "valid")
  tests = held.segments(0, held.segments_per_epoch)
  inside = np.arange(held.length)[:, None] < held.length - 1
  parts = [
    _score(network, found.params, tests._replace(mask=tests.mask & chosen))
    for chosen in (inside, ~inside)
  ]
  copied, blind = parts
  scored = copied.merge(blind)
  length = 2
  total = causality.total_probability(network, found.params, length=length)
  prime = character_training.encode(tokens, settings.prefix)
  ids = both_directions.continued(
    reader, found.params, prime, settings.sample_length // 2
  )
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
    Writing takes place at the end of the text, always, and there the network
    has seen nothing but what a forward one has:
    """
  )
  written = character_training.decode(tokens, ids)
  page.shown(f"{settings.prefix}{written}")
  return [
    report.row(
      "bidirectional GRU, no model: it reads the symbol it predicts",
      split="valid",
      evaluation="not a probability",
      metric="perplexity",
      value=scored.perplexity,
      count=scored.count,
      seconds=scored.seconds,
    )
  ]


def blanks(study: fundamentals.Study, tokens: Any) -> list[report.Row]:
  """Filling blanks, forwards and both ways."""
  page, settings = study.lesson, study.config.settings
  symbols, h = tokens.vocabulary.size, settings.reader_features
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
  forward = language_model.as_predictor(
    rnn_equations.model("gru", symbols, features=(h,))
  )
  reader = both_directions.Reader(symbols, (h,))
  both = both_directions.as_predictor(reader)
  share, seed = settings.blank_share, study.config.seed
  train, held = (
    both_directions.Blanks(_windows(study, tokens, split), share, seed)
    for split in ("train", "valid")
  )
  tests = held.segments(0, held.text.segments_per_epoch)
  shown = _prose(tests, tokens)
  body, rows, filled = [], [], []
  for name, network in (("forwards", forward), ("both ways", both)):
    found = _fit(study, network, train)
    scored = _score(network, found.params, tests)
    body.append([name, scored.perplexity, f"{100 * scored.error_rate:.1f}%"])
    rows.append(
      report.row(
        f"GRU of {h} units, {name}, blanks",
        split="valid",
        evaluation="static",
        metric="perplexity",
        value=scored.perplexity,
        count=scored.count,
        seconds=scored.seconds,
      )
    )
    filled.append((name, _filled(network, found.params, shown, tokens)))
  page.table(["read", "perplexity of the blanks", "wrong at first guess"], body)
  page.say("A held-out window, and the likeliest filling of its blanks:")
  lines = [f"{'blanks':10} {_line(filled[0][1].blanked)}"]
  lines += [
    f"{name:10} {_line(one.filled)}  ({one.right} of {one.blanks} right)"
    for name, one in filled
  ]
  page.shown("\n".join(lines))
  return rows


def _prose(segments: Any, tokens: Any) -> Any:
  """The row of the first segment that is the most like prose, [T, 1]."""
  letters = np.array(
    [str(symbol).isalpha() for symbol in tokens.vocabulary.symbols]
  )
  row = int(np.argmax(letters[segments.targets[0]].sum(axis=0)))
  return type(segments)(*(leaf[0][:, row : row + 1] for leaf in segments))


def _line(text: str) -> str:
  return text.replace("\n", "\u00b6")


def _filled(
  network: predictors.Predictor, params: Any, segment: Any, tokens: Any
) -> both_directions.Filled:
  spell = functools.partial(character_training.decode, tokens)
  return both_directions.fill(network, params, segment, spell)


def _score(network: predictors.Predictor, params: Any, segments: Any) -> Any:
  return static.evaluate(
    network, params, segments, streams=segments.inputs.shape[2]
  )


def _windows(
  study: fundamentals.Study, tokens: Any, split: str
) -> windows.RandomWindows:
  settings = study.config.settings
  return windows.RandomWindows(
    tokens.splits[split],
    batch=settings.batch,
    length=settings.segment,
    seed=study.config.seed,
  )


def _fit(
  study: fundamentals.Study, network: predictors.Predictor, text: Any
) -> character_training.Trained:
  settings = study.config.settings
  return character_training.train(
    network,
    text,
    optimizers.build(
      "adam", learning_rate=settings.learning_rate, clip_norm=1.0
    ),
    steps=settings.reader_steps,
    seed=study.config.seed,
    check=study.signals.check,
  )
