"""The context expert."""

import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.compression import experts


def test_a_context_learns_what_follows_it(alone):
  expert = experts.context_expert(["1", "3", "word"], bits=18)
  text = np.frombuffer(b"the cat sat. " * 60, np.uint8)
  actual = alone(expert, text[:, None])
  # A large table: no two contexts share a row. Three bytes tell what follows,
  # one does not: after "t" comes "h", a space or a stop.
  assert actual[-13:, 1].mean() < 0.2
  assert actual[-13:, 1].mean() < actual[-13:, 0].mean()
  # Counts tell how far a context that was never wrong can be trusted.
  assert actual[-13:, 4].mean() < actual[-13:, 1].mean()


def test_contexts_tell_apart_what_they_name():
  streams = experts.begin(1)
  for byte in b"The cat":
    streams = experts.advance(streams, jnp.array([byte]))
  other = experts.begin(1)
  for byte in b"One Cat":
    other = experts.advance(other, jnp.array([byte]))
  same = {
    name
    for name, context in experts.CONTEXTS.items()
    if int(context(streams)[0]) == int(context(other)[0])
  }
  # Two bytes agree; words are letters of either case.
  assert same == {"0", "1", "2", "word"}


def test_an_unknown_context_is_named():
  with pytest.raises(errors.UserError, match=r"no context 'wrod'.*'word'"):
    experts.context_expert(["wrod"], bits=8)
