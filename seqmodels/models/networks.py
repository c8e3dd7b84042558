"""The networks, and `SequenceModel`, the handle by which all else sees them.

`LanguageModel` is the next-symbol network of Graves (2013): one-hot in, stack,
softmax out. An embedding below the stack, a softmax that shares its weights,
dropout and DropConnect are options that the paper does not have.

`Handwriting` is his two networks of pen movements, for prediction and for
synthesis. Both are deep recurrent stacks with skips under a mixture density
head; the one for synthesis has a soft window on the text between its layers.

`language_model` and `handwriting` build them from plain settings: the `model`
part of a run's config.json, any mapping of mappings. A network built from the
settings of a trained run takes its weights.
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp

from seqmodels import errors, losses
from seqmodels import mixture_density as mixtures
from seqmodels.cells import cell as cells
from seqmodels.cells import window_lstm
from seqmodels.layers import embedding as embeddings
from seqmodels.layers import recurrent
from seqmodels.layers.recurrent import Noise, StackOptions
from seqmodels.regularization import dropout

Tree = Any
Settings = Mapping[str, Any]

INPUTS = 3  # of handwriting: x offset, y offset, end of stroke


def symbols_and_resets(segment: Any) -> tuple[Any, ...]:
  """The inputs of a language model, from a segment."""
  return segment.inputs, segment.reset


class SequenceModel(NamedTuple):
  """A network as pure functions of its parameters, and its loss.

  Training, evaluation and sampling see a model only through this handle, so any
  network (or a two-line toy in a test) can stand behind it. It is used as a
  static argument of compiled functions: build it once.

  Attributes:
    apply: `(params, carry, *inputs) -> (carry, outputs)`. The inputs of a
      language model are `inputs`, int32 `[T, B]`, a negative id being the null
      vector, and `reset`, bool `[T, B]`, which clears a row's carry before that
      step; its outputs are float32 logits `[T, B, V]`, where `logits[t]` scores
      the symbol that follows `inputs[t]`. The inputs of a handwriting network
      are `inputs`, float `[T, B, 3]`, which begin a line with the null vector,
      `text`, int32 `[U, B]`, ids of what is being written, -1 past a row's end
      (ignored without a window), and `reset`, or None; its outputs are float32
      `[T, B, 6M + 1]` (see `seqmodels.mixture_density`).
    initial_carry: `batch -> carry`, the state before the first position.
    init: `key -> params`.
    vocabulary_size: V, of the text that it predicts or writes; 0 without one.
    loss: `(outputs, segment) -> (loss [B], Metrics)`, see `seqmodels.losses`.
    reads: `segment -> inputs` of `apply`.
    components: M, of a handwriting network.
    noisy: `apply` also takes `key=KEY`, for what training drops.
    window: `(params, carry) -> Window`, where the window stood in the step that
      left `carry`; `None` for a network without one.

  Example: a model that knows only the symbol before.

  >>> import jax.numpy as jnp
  >>> bigram = SequenceModel(
  ...   apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
  ...   initial_carry=lambda batch: (),
  ...   init=lambda key: jnp.zeros((3, 3)),
  ...   vocabulary_size=3,
  ... )
  >>> inputs = jnp.zeros((5, 1), int)
  >>> bigram.apply(bigram.init(None), (), inputs, inputs < 0)[1].shape
  (5, 1, 3)
  """

  apply: Callable[..., tuple[Tree, jax.Array]]
  initial_carry: Callable[[int], Tree]
  init: Callable[[jax.Array], Tree]
  vocabulary_size: int
  loss: Callable[[jax.Array, Any], tuple[jax.Array, losses.Metrics]] = (
    losses.of_symbols
  )
  reads: Callable[[Any], tuple[Any, ...]] = symbols_and_resets
  components: int = 0
  noisy: bool = False
  window: Callable[[Tree, Tree], window_lstm.Window] | None = None

  def score(
    self,
    params: Tree,
    carry: Tree,
    segment: Any,
    key: jax.Array | None = None,
  ) -> tuple[jax.Array, tuple[Tree, losses.Metrics]]:
    """The loss of a segment of every stream.

    Args:
      params: the parameters.
      carry: the state at the segment's left edge, a row a stream.
      segment: arrays `[T, B, ...]`, as `reads` and `loss` want them.
      key: of the noise of training; without it there is none.

    Returns:
      The loss of each stream `[B]`; the carry at the right edge, and metrics.
    """
    noise = {"key": key} if self.noisy and key is not None else {}
    carry, outputs = self.apply(params, carry, *self.reads(segment), **noise)
    loss, metrics = self.loss(outputs, segment)
    return loss, (carry, metrics)


def from_module(
  model: Any, noise: Noise, example: Callable[[], Sequence[jax.Array]]
) -> dict[str, Any]:
  """The functions of a `SequenceModel`, from a Flax module.

  Args:
    model: a module of `(carry, *inputs)` with `initial_carry`.
    noise: of its training.
    example: inputs of one step, to initialise it with.
  """

  def init(key: jax.Array) -> Tree:
    return model.init(key, model.initial_carry(1), *example())["params"]

  def apply(
    params: Tree, carry: Tree, *inputs: Any, key: jax.Array | None = None
  ) -> Any:
    if key is None:
      return model.apply({"params": params}, carry, *inputs)
    weights_key, units_key = jax.random.split(key)
    params = dropout.drop_weights(params, weights_key, noise.drop_connect)
    return model.apply(
      {"params": params}, carry, *inputs, rngs={"dropout": units_key}
    )

  return {
    "init": init,
    "initial_carry": model.initial_carry,
    "apply": apply,
    "noisy": noise.any,
  }


class LanguageModel(nn.Module):
  """One-hot symbols -> deep recurrent stack -> logits.

  Attributes:
    vocabulary_size: V.
    options: of its layers; without a `dropout` key there is no noise, and
      zoneout takes its expectation.
    embedding: E, the width of an embedding; 0 feeds one-hot vectors.
    tied: the softmax's weights are the embedding's; a projection is
      between them where the stack's outputs are not E wide.

  Raises:
    UserError: tied without an embedding.

  Example: the Penn Treebank character network of the paper.
  >>> model = LanguageModel(49, StackOptions(features=(1000,))).as_model()
  >>> params = jax.eval_shape(model.init, jax.random.key(0))
  >>> sum(leaf.size for leaf in jax.tree.leaves(params))
  4252049
  """

  vocabulary_size: int
  options: StackOptions
  embedding: int = 0
  tied: bool = False

  def __post_init__(self) -> None:
    """Refuses what cannot be built."""
    super().__post_init__()
    if self.tied and not self.embedding:
      raise errors.UserError(
        "a tied softmax shares the weights of an embedding, but the "
        "embedding's width is 0; give one, such as the last layer's"
      )

  def _stack(self) -> recurrent.DeepRecurrent:
    return recurrent.DeepRecurrent(
      self.options,
      in_features=self.embedding or self.vocabulary_size,
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
    dtype = self.options.dtype
    if self.tied:
      tied = embeddings.TiedHead(dtype=dtype, name="head")
      return carry, tied(outputs, below.table)
    head = embeddings.Head(self.vocabulary_size, dtype=dtype, name="head")
    return carry, head(outputs)

  def _below(self) -> nn.Module:
    if not self.embedding:
      return embeddings.OneHot(
        self.vocabulary_size, self.options.noise, name="embedding"
      )
    return embeddings.Embedding(
      self.vocabulary_size,
      self.embedding,
      self.options.noise,
      dtype=self.options.dtype,
      name="embedding",
    )

  def as_model(self) -> SequenceModel:
    """The network as pure functions.

    >>> options = StackOptions(features=(2,))
    >>> language = LanguageModel(vocabulary_size=3, options=options).as_model()
    >>> params = language.init(jax.random.key(0))
    >>> ids = jnp.array([[-1], [2]])  # the null vector, then a symbol
    >>> carry, logits = language.apply(
    ...   params, language.initial_carry(1), ids, ids < 0
    ... )
    >>> logits.shape
    (2, 1, 3)
    """
    return SequenceModel(
      **from_module(
        self, self.options.noise, lambda: [jnp.zeros((1, 1), jnp.int32)]
      ),
      vocabulary_size=self.vocabulary_size,
    )


def points_and_text(segment: Any) -> tuple[Any, ...]:
  """The inputs of a handwriting network, from a segment."""
  return segment.inputs, segment.text, segment.reset


class Handwriting(nn.Module):
  """Pen movements, and a text if it has a window -> stack -> mixture density.

  Without symbols it is the prediction network of section 4, with them the
  synthesis network of section 5.

  Attributes:
    options: of its layers, LSTMs.
    symbols: V, the size of the alphabet; 0 for no window on a text.
    window: K Gaussians of the window.
    components: M bivariate Gaussians.
    output_clip: bound on each derivative with respect to an output.

  >>> def weights(network):
  ...   tree = jax.eval_shape(network.as_model().init, jax.random.key(0))
  ...   return sum(leaf.size for leaf in jax.tree.leaves(tree))
  >>> three, one = StackOptions((400, 400, 400)), StackOptions((900,))
  >>> weights(Handwriting(three)), weights(Handwriting(one))
  (3368121, 3366121)
  >>> weights(Handwriting(three, symbols=57))
  3653751
  """

  options: StackOptions
  symbols: int = 0
  window: int = 10
  components: int = 20
  output_clip: float | None = 100.0

  def _stack(self) -> Any:
    others: dict[str, Any] = {"name": "stack", "parent": None}
    if not self.symbols:
      return recurrent.DeepRecurrent(self.options, INPUTS, **others)
    return recurrent.WindowedRecurrent(
      self.options, INPUTS, self.symbols, self.window, **others
    )

  def initial_carry(self, batch: int) -> tuple[Any, ...]:
    """The state before a line, one carry a layer."""
    return self._stack().initial_carry(batch)

  @nn.compact
  def __call__(
    self,
    carry: tuple[Any, ...],
    inputs: jax.Array,
    text: jax.Array,
    reset: jax.Array | None = None,
  ) -> tuple[tuple[Any, ...], jax.Array]:
    """The new carry, and outputs [T, B, 6M + 1]."""
    read = (text,) if self.symbols else ()
    stack = self._stack().clone(parent=self)
    carry, outputs = stack(carry, inputs, *read, reset)
    head = embeddings.Head(
      mixtures.outputs(self.components), dtype=self.options.dtype, name="head"
    )
    return carry, head(outputs)

  def window_of(
    self, params: Any, carry: tuple[Any, ...]
  ) -> window_lstm.Window:
    """The window of the step that left `carry`."""
    layer, lowest = params["stack"]["layer_0"], carry[0]
    weights = window_lstm.WindowParams(
      layer["window_kernel"], layer["window_bias"]
    )
    alpha, beta, _ = window_lstm.window_gates(
      weights, lowest.h[..., : self.options.features[0]], self.options.dtype
    )
    return window_lstm.Window(alpha, beta, lowest.kappa)

  def as_model(
    self, *, finest: tuple[float, float] | None = None
  ) -> SequenceModel:
    """The network as pure functions.

    Args:
      finest: least stddevs of the metric `coarse`, see
        `losses.mixture_density_nll`; None for no such metric.
    """

    def example() -> list[jax.Array]:
      return [jnp.zeros((1, 1, INPUTS)), jnp.zeros((1, 1), jnp.int32)]

    return SequenceModel(
      **from_module(self, self.options.noise, example),
      vocabulary_size=self.symbols,
      loss=functools.partial(
        losses.of_points, output_clip=self.output_clip, finest=finest
      ),
      reads=points_and_text,
      components=self.components,
      window=self.window_of if self.symbols else None,
    )


def language_model(settings: Settings, symbols: int) -> SequenceModel:
  """The network that `settings["model"]` describes, over `symbols` symbols.

  >>> model = {"cell": "gru", "features": [4], "gradient_clip": 1.0}
  >>> language_model({"model": model, "dtype": "float32"}, 3).vocabulary_size
  3

  Raises:
    UserError: no such cell or dtype, or noise that the network cannot have.
    KeyError: a setting is missing.
  """
  model = settings["model"]
  return LanguageModel(
    symbols,
    stack_options(settings, noise_of(settings)),
    embedding=model.get("embedding", 0),
    tied=model.get("tied", False),
  ).as_model()


def handwriting(
  settings: Settings,
  symbols: int,
  *,
  finest: tuple[float, float] | None = None,
) -> SequenceModel:
  """The network that `settings["model"]` describes, over an alphabet.

  Args:
    settings: of a handwriting run.
    symbols: size of the alphabet.
    finest: as of `Handwriting.as_model`.

  Raises:
    UserError: no such dtype, or noise that the network cannot have.
    KeyError: a setting is missing.
  """
  model = settings["model"]
  # Pen movements have no embedding and no symbols to drop.
  noise = noise_of(settings)._replace(embedding=0.0, input=0.0)
  return Handwriting(
    stack_options(settings, noise),
    symbols=symbols if model["network"] == "synthesis" else 0,
    window=model["window"],
    components=model["components"],
    output_clip=model["output_clip"] or None,
  ).as_model(finest=finest)


def stack_options(settings: Settings, noise: Noise) -> StackOptions:
  """The stack of `settings["model"]`.

  A setting with the name of an option of the stack, or of the cell, is that
  option: a new one needs no line here.
  """
  model = settings["model"]
  names = {field.name for field in dataclasses.fields(StackOptions)}
  plain = {name: model[name] for name in sorted(names & set(model))}
  cell = model.get("cell", "lstm")
  known = cells.get(cell).options
  of_cell = {name: model[name] for name in known if name in model}
  return StackOptions(
    **{
      **plain,
      "features": tuple(model["features"]),
      "cell": cells.get(cell, **of_cell),
      "gradient_clip": model["gradient_clip"] or None,
      "dtype": compute_dtype(settings["dtype"]),
      "noise": noise,
    }
  )


def noise_of(settings: Settings) -> Noise:
  """The dropout rates of `settings["regularization"]`, none without it."""
  chosen = settings.get("regularization")
  if chosen is None:
    return Noise()
  names = ("embedding", "input", "hidden", "output")
  rates = {name: chosen.get(f"dropout_{name}", 0.0) for name in names}
  return Noise(
    **rates,
    drop_connect=chosen.get("drop_connect", 0.0),
    variational=chosen.get("variational", True),
    zoneout_cell=chosen.get("zoneout_cell", 0.0),
    zoneout_state=chosen.get("zoneout_state", 0.0),
  )


def compute_dtype(name: str) -> Any:
  """The operands' dtype; None leaves float32 alone.

  Raises:
    UserError: another name.
  """
  if name not in ("float32", "bfloat16"):
    raise errors.UserError(
      f"config.dtype is {name!r}; it must be 'float32' or 'bfloat16'"
    )
  return None if name == "float32" else jnp.dtype(name)
