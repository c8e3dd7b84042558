"""Every model's sequences have probability 1 together: part of a study."""

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.autoregressive import sine_models
from seqmodels import losses
from seqmodels.models import hidden_markov, language_model, markov, ngram

_SIZE, _LENGTH = 3, 4


def add(study: run.Study) -> None:
  """Adds the section to the study's page."""
  page, random = study.lesson, study.random
  strings = np.array(list(itertools.product(range(_SIZE), repeat=_LENGTH)))
  text = random.integers(_SIZE, size=200)

  def rows(*shape: int) -> np.ndarray:
    return random.dirichlet(np.ones(shape[-1]), size=shape[:-1])

  hidden = hidden_markov.HiddenMarkov(rows(2), rows(2, 2), rows(2, _SIZE))
  models: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "Markov model of order 2": markov.Markov.fit(
      text, _SIZE, order=2, epsilon=0.5
    ).nats,
    "3-gram, Kneser-Ney": ngram.NGram.fit(text, _SIZE, order=3).nats,
    "hidden Markov model": hidden.nats,
  }
  body = [
    [name, sum(float(np.exp(-nats(s).sum())) for s in strings)]
    for name, nats in models.items()
  ]
  for name, cell in sine_models.networks(study).items():
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
