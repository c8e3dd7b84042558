"""Networks of several layers or both directions, and what they have seen."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from experiments.studies.rnn_from_scratch import (
  both_directions,
  causality,
  plain_networks,
)
from seqmodels.models import api as predictors
from seqmodels.plotting import style

# Of the tests by brute force: symbols, places, strings' length, units.
_SYMBOLS, _PLACES, _LENGTH, _UNITS = 4, 12, 5, 8

BIDIRECTIONAL = "bidirectional RNN"
CAUSAL = {
  "RNN": ("elman", (_UNITS,)),
  "GRU": ("gru", (_UNITS,)),
  "LSTM": ("lstm", (_UNITS,)),
  "RNN, two layers": ("elman", (_UNITS, _UNITS)),
  "LSTM, two layers": ("lstm", (_UNITS, _UNITS)),
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
  states, _ = plain_networks.rnn(
    (*_layer(first), np.eye(units, dtype=np.float32), 0.0),
    zero,
    np.eye(symbols, dtype=np.float32)[ids],
  )
  head = params["head"]
  plain, _ = plain_networks.rnn(
    (*_layer(second), head["kernel"], head["bias"][None]), zero, states
  )
  emptied = dict(params["stack"], layer_1=jax.tree.map(jnp.zeros_like, second))
  _, constant = apply(
    dict(params, stack=emptied), network.initial_carry(rows), ids, never
  )
  return [
    (
      "the plain loop over the states of a plain loop",
      plain_networks.far(whole, plain),
    ),
    (
      "all steps of a layer at once, or all layers of a step",
      plain_networks.far(whole, jnp.stack(one_by_one)),
    ),
    (
      "a second layer of zeros says b_q, whatever is read",
      plain_networks.far(
        constant, jnp.broadcast_to(head["bias"], constant.shape)
      ),
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
  reader = both_directions.Reader(_SYMBOLS, (_UNITS,), cell="elman")
  return {**found, BIDIRECTIONAL: both_directions.as_predictor(reader)}


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
    probability of the string, so that over all {_SYMBOLS**_LENGTH:,} strings of
    {_LENGTH} symbols out of {_SYMBOLS} it must sum to 1. Both must hold for any
    weights; here they are random, with {_UNITS} units a layer.
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
    reach = causality.reach(predictor, params, ids)
    total = causality.total_probability(predictor, params, length=_LENGTH)
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
  _draw(
    page.figure(
      "causality",
      "The largest derivative of output t by input s, on a logarithmic scale; "
      "white is exactly 0. A causal network's outputs have nothing above the "
      "diagonal.",
    ),
    {name: reaches[name] for name in _SHOWN if name in reaches},
  )


def _draw(path: style.Path, reaches: dict[str, np.ndarray]) -> None:
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
