"""Going on from a prefix: warm-up, and what a network writes then."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import fundamentals
from experiments.studies import character_training, rnn_equations
from seqmodels.data import streams
from seqmodels.models import language_model
from seqmodels.sampling import continuation, text
from seqmodels.training import optimizers


def prefixes(
  study: fundamentals.Study, tokens: Any, network: Any, params: Any
) -> None:
  """Warm-up on a prefix, and what the LSTM writes after it."""
  page, settings = study.lesson, study.config.settings
  prime = character_training.encode(tokens, settings.prefix)
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
    anew. The LSTM of above, greedy and drawn from its own probabilities:
    """
  )
  for name, greedy in (("greedy", True), ("drawn", False)):
    drawn = text.sample(
      network,
      params,
      jax.random.key(study.config.seed),
      length=length,
      prime=prime.tolist(),
      greedy=greedy,
    )[:, 0]
    written = character_training.decode(tokens, drawn)
    page.shown(f"[{name}]\n{settings.prefix}{written}")
  word, found, nats = one_word(study.config.seed)
  page.say(
    f"""
    The smallest language model knows one word. Trained on {word!r} alone until
    the loss is {nats:.4f} nats a character, a network of 16 units goes on from
    {word[0]!r} with {found!r}.
    """
  )


def warm_up(
  network: Any, params: Any, prime: np.ndarray, length: int
) -> tuple[float, int]:
  """Symbol by symbol against all at once.

  Returns:
    The largest difference of the states after the prefix, and how many greedily
    chosen symbols differ.
  """
  read = continuation.prime_ids(prime.tolist())
  stepwise, _ = continuation.read(network, params, read, 1)
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
  return rnn_equations.far(stepwise, whole), int(np.sum(found != drawn))


def one_word(seed: int) -> tuple[str, str, float]:
  """A network trained on one word: the word, what follows "m", the loss."""
  word = "machine"
  letters = sorted(set(word))
  ids = np.array([letters.index(letter) for letter in word])
  network = language_model.as_predictor(
    rnn_equations.model("elman", len(letters), features=(16,))
  )
  found = character_training.train(
    network,
    streams.SequentialStream(ids, batch=1, length=len(word)),
    optimizers.build("adam", learning_rate=0.03),
    steps=100,
    seed=seed,
  )
  drawn = text.sample(
    network,
    found.params,
    jax.random.key(0),
    length=len(word) - 1,
    prime=ids[:1].tolist(),
    greedy=True,
  )[:, 0]
  return word, "".join(letters[i] for i in drawn), float(found.nats[-1])
