"""Text drawn from a trained network."""

from typing import Any

import jax
import numpy as np

from experiments import phases
from seqmodels.data import tokenizers, vocabulary
from seqmodels.models import predictor as predictors
from seqmodels.sampling import text


def sample_phase(context: phases.Context) -> str:
  """Text from the trained network, after the configured prime."""
  given = context.config.sample
  if not given.length:
    return ""

  def compute() -> dict[str, Any]:
    return {
      "text": sampled_text(
        context.predictor,
        context.params,
        context.tokens.vocabulary,
        tokenizers.named(context.config.data.tokenizer),
        prime=given.prime,
        length=given.length,
        temperature=given.temperature,
        seed=context.config.seed,
        sentences=context.config.data.sentences,
      )
    }

  return str(phases.phase(context, "sample", compute)["text"])


def sampled_text(
  predictor: predictors.Predictor,
  params: Any,
  symbols: vocabulary.Vocabulary,
  tokenizer: tokenizers.Tokenizer,
  *,
  prime: str,
  length: int,
  temperature: float,
  seed: int,
  sentences: bool = False,
) -> str:
  """The prime and `length` symbols after it, as text.

  Args:
    predictor: the model.
    params: its weights.
    symbols: its vocabulary.
    tokenizer: what its symbols are.
    prime: text to go on from; empty starts from the null vector.
    length: symbols to draw.
    temperature: 1 draws from the model, 0 takes the likeliest.
    seed: equal seeds draw equal text.
    sentences: the model was trained with each line a sequence of its own.

  Raises:
    UserError: the prime holds symbols that the vocabulary does not.
  """
  pieces = tokenizer.split(np.frombuffer(prime.encode("utf-8"), np.uint8))
  # The word tokenizer ends every text with a line end, a prime has none.
  if len(pieces) and tokenizer.name == "words":
    pieces = pieces[:-1]
  ids = symbols.encode(pieces)
  drawn = text.sample(
    predictor,
    params,
    jax.random.key(seed),
    prime=ids.tolist(),
    length=length,
    temperature=temperature,
    sentence_end=(symbols.index[tokenizer.sentence_end] if sentences else None),
  )
  whole = np.concatenate([ids, np.asarray(drawn).reshape(-1)])
  joined = tokenizer.join(symbols.decode(whole))
  if isinstance(joined, bytes):
    return joined.decode("utf-8", errors="replace")
  return joined
