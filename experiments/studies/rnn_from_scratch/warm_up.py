"""Going on from a prefix: warm-up, and what a network writes then."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import spelling
from experiments.studies.rnn_from_scratch import plain_networks, rnn_training
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.sampling import text


def prefixes(
  study: run.Study, tokens: tokens_lib.Tokens, writer: rnn_training.Writer
) -> None:
  """Warm-up on a prefix, and what a trained network writes after it."""
  name, network, params = writer
  page, settings = study.lesson, study.config.settings
  prime = spelling.encode(tokens, settings.prefix)
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
    written = spelling.decode(tokens, drawn)
    shown = spelling.visible(settings.prefix + written)
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
  return plain_networks.far(stepwise, whole), int(np.sum(found != drawn))
