"""Settings to a model."""

import functools
from typing import Any

import jax.numpy as jnp
import optax

from seqmodels import errors
from seqmodels.compression import (
  contexts,
  expert,
  matches,
  model,
  network,
  plan,
)
from seqmodels.compression import settings as settings_lib
from seqmodels.models import language_model
from seqmodels.models import predictor as predictor_lib

# Most bytes of the past that matches and replay can reach, and most sequences
# that are remembered; small files take less.
_HISTORY_BITS = 22
_MATCH_BITS = 20
_CLIP = 1.0


def build(
  settings: settings_lib.Settings,
  size: int,
  *,
  trained: tuple[predictor_lib.Predictor, Any] | None = None,
) -> model.Model:
  """The model of a file.

  Args:
    settings: what it consists of.
    size: bytes of the file, which set the pace of the learning rate.
    trained: a network over the 256 bytes and its weights, to begin with in
      place of the one that the settings describe.

  Raises:
    UserError: settings that leave no expert.
  """
  if trained is None:
    return _untrained(settings, size)
  return _of(settings, size, *trained)


# Coding, verifying and decoding a file compile its model once.
@functools.lru_cache(maxsize=4)
def _untrained(settings: settings_lib.Settings, size: int) -> model.Model:
  return _of(settings, size, byte_network(settings), None)


def _of(
  settings: settings_lib.Settings,
  size: int,
  predictor: predictor_lib.Predictor | None,
  params: Any,
) -> model.Model:
  experts: list[expert.Expert] = []
  places = max(8, size.bit_length())
  history = 1 << min(_HISTORY_BITS, places)
  if settings.contexts:
    # A byte in a context touches two rows, often for the first time.
    wanted = (2 * size * len(settings.contexts)).bit_length()
    bits = min(settings.context_bits, max(8, wanted))
    experts.append(contexts.create(settings.contexts, bits=bits))
  if settings.match:
    experts.append(
      matches.create(
        least=settings.match, bits=min(_MATCH_BITS, places), size=history
      )
    )
  if predictor is not None:
    experts.append(
      network.create(
        predictor,
        optimizer(settings, size),
        segment=settings.segment,
        seed=settings.seed,
        params=params,
        replay=network.Replay(
          settings.replay_every,
          settings.replay_windows,
          settings.replay_length,
          history,
        ),
      )
    )
  if not experts:
    raise errors.UserError(
      "without a network (layers), contexts and matches nothing is left to "
      "predict with; choose at least one"
    )
  return model.create(experts, rate=settings.mixing_rate)


def byte_network(
  settings: settings_lib.Settings,
) -> predictor_lib.Predictor | None:
  """The network that the settings describe, over the 256 bytes, if any."""
  if not settings.layers:
    return None
  return language_model.as_predictor(
    language_model.LanguageModel(
      vocabulary_size=256,
      features=settings.layers,
      cell=settings.cell,
      dtype=None if settings.dtype == "float32" else jnp.dtype(settings.dtype),
    )
  )


def optimizer(
  settings: settings_lib.Settings, size: int
) -> optax.GradientTransformation | None:
  """Adam without momentum, its rate falling linearly over the file."""
  if not settings.learning_rate:
    return None
  bytes_an_update = plan.streams(settings, size) * settings.segment
  rate = optax.linear_schedule(
    settings.learning_rate,
    settings.final_learning_rate,
    max(1, size // bytes_an_update),
  )
  return optax.chain(
    optax.clip_by_global_norm(_CLIP),
    optax.adam(rate, b1=0.0, b2=0.999, eps=1e-6),
  )
