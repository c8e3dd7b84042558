"""The next-symbol network of Graves (2013): one-hot in, stack, softmax out.

An embedding below the stack, a softmax that shares its weights, dropout and
DropConnect are options that the paper does not have.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels import errors
from seqmodels.layers import embedding
from seqmodels.layers import stack as stack_lib
from seqmodels.layers.noise import Noise
from seqmodels.models import api


class LanguageModel(nn.Module):
  """One-hot symbols -> deep recurrent stack -> logits.

  Attributes:
    vocabulary_size: V.
    features: H of each layer.
    cell: a name in `cells.cell.CELLS`.
    options: the cell's own options, such as `{"peepholes": False}`.
    input_skips: see `DeepRecurrent`, as for the next four.
    output_skips: every layer feeds the logits.
    gradient_clip: bound on each derivative with respect to a net input.
    dtype: dtype of the products' operands; `None` keeps float32.
    chunk: recompute policy.
    embedding: E, the width of an embedding; 0 feeds one-hot vectors.
    tied: the softmax's weights are the embedding's; a projection stands
      between where the stack's outputs are not E wide.
    noise: what training drops; without a `dropout` key nothing is, and
      zoneout takes its expectation.

  Raises:
    UserError: tied without an embedding, a rate outside [0, 1), dropout
      between layers where there is one, or zoneout of a cell without it.

  Example: the Penn Treebank character network of the paper.
  >>> model = LanguageModel(vocabulary_size=49, features=(1000,))
  >>> params = jax.eval_shape(as_predictor(model).init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  4252049
  """

  vocabulary_size: int
  features: Sequence[int] = (1000,)
  cell: str = "lstm"
  options: Mapping[str, Any] | None = None
  input_skips: bool = True
  output_skips: bool = True
  gradient_clip: float | None = None
  dtype: Any = None
  chunk: int = 0
  embedding: int = 0
  tied: bool = False
  noise: Noise = Noise()

  def __post_init__(self) -> None:
    """Refuses what cannot be built."""
    super().__post_init__()
    self.noise.check(len(self.features), self.cell)
    if self.tied and not self.embedding:
      raise errors.UserError(
        "a tied softmax shares the weights of an embedding, but the "
        "embedding's width is 0; give one, such as the last layer's"
      )

  def _stack(self) -> stack_lib.DeepRecurrent:
    return stack_lib.DeepRecurrent(
      features=tuple(self.features),
      in_features=self.embedding or self.vocabulary_size,
      cell=self.cell,
      options=self.options,
      input_skips=self.input_skips,
      output_skips=self.output_skips,
      gradient_clip=self.gradient_clip,
      dtype=self.dtype,
      chunk=self.chunk,
      noise=self.noise,
      name="stack",
      parent=None,
    )

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """The state before the first symbol, one carry a layer."""
    return self._stack().initial_carry(batch)

  @nn.compact
  def __call__(
    self,
    carry: tuple[Any, ...],
    inputs: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[tuple[Any, ...], jax.Array]:
    """Scores what follows each symbol.

    Args:
      carry: one carry a layer.
      inputs: int32 [T, B]; an id below 0 is the null vector.
      reset: [T, B]; where true the carry is cleared before the step.

    Returns:
      The new carry, and float32 logits [T, B, V].
    """
    below = self._below()
    stack = self._stack().clone(parent=self)
    carry, outputs = stack(carry, below(inputs), reset)
    if self.tied:
      tied = stack_lib.TiedHead(dtype=self.dtype, name="head")
      return carry, tied(outputs, below.table)
    head = stack_lib.Head(self.vocabulary_size, dtype=self.dtype, name="head")
    return carry, head(outputs)

  def _below(self) -> nn.Module:
    if not self.embedding:
      return embedding.OneHot(
        self.vocabulary_size, self.noise, name="embedding"
      )
    return embedding.Embedding(
      self.vocabulary_size,
      self.embedding,
      self.noise,
      dtype=self.dtype,
      name="embedding",
    )


def as_predictor(model: LanguageModel) -> api.SequenceModel:
  """The model as pure functions, the form that all layers above take.

  >>> language = as_predictor(LanguageModel(vocabulary_size=3, features=(2,)))
  >>> params = language.init(jax.random.key(0))
  >>> ids = jnp.array([[-1], [2]])  # the null vector, then a symbol
  >>> carry, logits = language.apply(
  ...   params, language.initial_carry(1), ids, ids < 0
  ... )
  >>> logits.shape
  (2, 1, 3)
  """

  return api.SequenceModel(
    **api.from_module(model, lambda: [jnp.zeros((1, 1), jnp.int32)]),
    vocabulary_size=model.vocabulary_size,
  )
