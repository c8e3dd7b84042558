"""A network trained on some symbols, as one over all 256 bytes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from seqmodels import errors
from seqmodels.models import predictor as predictor_lib

# Share of the probability that bytes without a symbol divide among them.
_REST = 1e-4


def over_bytes(
  predictor: predictor_lib.Predictor, symbols: Sequence[Any]
) -> predictor_lib.Predictor:
  """The same network and weights, its inputs and outputs being bytes.

  Args:
    predictor: a network over V symbols.
    symbols: the byte that each symbol stands for.

  Raises:
    UserError: the symbols are not different bytes, one for each output.

  Bytes that the network does not know are null vectors to it, and share one
  ten-thousandth of the probability.
  """
  are_bytes = all(isinstance(one, int) and 0 <= one < 256 for one in symbols)
  different = len(set(symbols)) == predictor.vocabulary_size == len(symbols)
  if not (are_bytes and different):
    raise errors.UserError(
      "the symbols of this network are not bytes; compression needs a network "
      "that was trained on bytes (data.tokenizer of its run)"
    )
  known = np.asarray(symbols)
  ids = np.full(256, -1, np.int32)
  ids[known] = np.arange(len(known))
  unknown = np.flatnonzero(ids < 0)

  def apply(
    params: predictor_lib.Tree,
    carry: predictor_lib.Tree,
    inputs: jax.Array,
    reset: jax.Array,
  ) -> tuple[predictor_lib.Tree, jax.Array]:
    given = jnp.where(inputs < 0, -1, jnp.asarray(ids)[inputs])
    carry, logits = predictor.apply(params, carry, given, reset)
    rest = np.log(_REST / max(1, len(unknown)))
    log_p = jnp.full((*logits.shape[:-1], 256), rest, jnp.float32)
    share = np.log1p(-_REST) if len(unknown) else 0.0
    return carry, log_p.at[..., known].set(
      jax.nn.log_softmax(logits, axis=-1) + share
    )

  return predictor._replace(apply=apply, vocabulary_size=256, noisy=None)
