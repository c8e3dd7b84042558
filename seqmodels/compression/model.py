"""The compression model: experts, mixer and refinement as one compiled step.

`begin` and `step` are the only compiled functions, and coder and decoder call
the same: whole sequences at once would be faster to code, but their last bits
differ from those of single steps, and the decoder would go wrong.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from seqmodels import errors
from seqmodels.cells import ops
from seqmodels.compression import byte_tree, mixer, network, range_coder
from seqmodels.compression import experts as experts_lib
from seqmodels.compression import settings as settings_lib
from seqmodels.models import networks

Tree = Any


class Account(NamedTuple):
  """The cost of bytes, in nats, and its causes, since it was last emptied."""

  mixed: jax.Array  # float32 [], by the whole
  alone: jax.Array  # float32 [I], had each input coded alone
  share: jax.Array  # float32 [I + 1], sum of |weight x log-odds|, the bias last


class Shared(NamedTuple):
  """All that lasts from block to block."""

  experts: tuple[Tree, ...]  # each expert's own
  weights: mixer.Weights
  refined: (
    jax.Array
  )  # of `mixer.create_map`, a situation a byte before and node
  account: Account


class State(NamedTuple):
  """The state of the model within a block."""

  shared: Shared
  streams: tuple[Tree, ...]  # each expert's own
  newest: jax.Array  # int32 [B], the last byte of each stream
  pending: Tree  # the prediction, until the bytes come


class Model(NamedTuple):
  """The functions of a model.

  Attributes:
    inputs: names of the experts' inputs.
    init: `() -> Shared`.
    begin: `(shared, offsets) -> (state, frequencies)`, at the head of a block;
      offsets, int32 [B], are where its streams begin; shared is given up.
    step: `(state, symbols) -> (state, frequencies)`: learn the bytes that came,
      int32 [B], and predict the next; frequencies are int32 [B, 256]; state is
      given up.
  """

  inputs: tuple[str, ...]
  init: Callable[[], Shared]
  begin: Callable[[Shared, jax.Array], tuple[State, jax.Array]]
  step: Callable[[State, jax.Array], tuple[State, jax.Array]]


# Options of XLA's compiler for CPUs under which every operation is rounded as
# IEEE 754 has it: no reciprocals that makers of processors approximate each in
# their way, and no library that picks its own order of summation.
_PORTABLE: dict[str, Any] = {
  "xla_cpu_enable_platform_dependent_math": False,
  "xla_cpu_experimental_ynn_fusion_type": "",
}


def create(
  experts: Sequence[experts_lib.Expert],
  *,
  rate: float = 0.004,
  portable: bool = True,
) -> Model:
  """A model.

  Args:
    experts: at least one.
    rate: of the mixer.
    portable: whether its numbers are the same on other CPUs of the family and
      with any number of threads, see `container`; it then runs on a CPU alone.
  """

  def jit(function: Callable[..., Any], **options: Any) -> Callable[..., Any]:
    if not portable:
      return jax.jit(function, **options)

    @functools.wraps(function)
    def ordered(*arguments: Any) -> Any:
      with ops.in_order(True):
        return function(*arguments)

    return jax.jit(ordered, compiler_options=_PORTABLE, **options)

  names = tuple(name for one in experts for name in one.inputs)
  situations = tuple(count for one in experts for count in one.situations)

  @jit
  def init() -> Shared:
    return Shared(
      tuple(one.init() for one in experts),
      mixer.create(len(names), situations),
      mixer.create_map(byte_tree.SYMBOLS * byte_tree.NODES),
      Account(jnp.float32(0), jnp.zeros(len(names)), jnp.zeros(len(names) + 1)),
    )

  def predict(
    shared: Shared, streams: tuple[Tree, ...], newest: jax.Array
  ) -> tuple[State, jax.Array]:
    said = [
      one.predict(known, own)
      for one, known, own in zip(experts, shared.experts, streams, strict=True)
    ]
    mixed = mixer.mix(
      shared.weights,
      jnp.concatenate([evidence.log_odds for evidence in said], axis=-1),
      where := tuple(s for evidence in said for s in evidence.situations),
    )
    node = jnp.arange(byte_tree.NODES)[None]
    place = newest[:, None] * byte_tree.NODES + node
    refined = mixer.read_map(shared.refined, place, mixed.log_odds)
    final = 0.5 * (mixed.log_odds + mixer.logit(refined.p))
    pending = (
      tuple(evidence.memo for evidence in said),
      mixed,
      where,
      place,
      refined,
      final,
    )
    frequencies = range_coder.frequencies(byte_tree.distribution(final))
    return State(shared, streams, newest, pending), frequencies

  # Given up, as a step's state is: the tables are too large to copy a block.
  @functools.partial(jit, donate_argnums=0)
  def begin(shared: Shared, offsets: jax.Array) -> tuple[State, jax.Array]:
    streams = tuple(
      one.begin(known, offsets)
      for one, known in zip(experts, shared.experts, strict=True)
    )
    return predict(shared, streams, jnp.zeros(len(offsets), jnp.int32))

  @functools.partial(jit, donate_argnums=0)
  def step(state: State, symbols: jax.Array) -> tuple[State, jax.Array]:
    shared, streams, _, pending = state
    memos, mixed, where, place, reading, final = pending
    learnt = [
      one.learn(known, own, memo, symbols)
      for one, known, own, memo in zip(
        experts, shared.experts, streams, memos, strict=True
      )
    ]
    bits = byte_tree.bits(symbols)

    def passed(values: jax.Array) -> jax.Array:
      return byte_tree.on_path(values, symbols)

    shared = Shared(
      tuple(known for known, _ in learnt),
      mixer.learn(shared.weights, mixed, where, symbols, rate=rate),
      mixer.learn_map(
        shared.refined,
        passed(place),
        mixer.Reading(*map(passed, reading)),
        bits,
        0.02,
      ),
      _charge(shared.account, shared.weights, mixed.inputs, final, symbols),
    )
    return predict(shared, tuple(own for _, own in learnt), symbols)

  return Model(names, init, begin, step)


def _charge(
  account: Account,
  weights: mixer.Weights,
  inputs: jax.Array,
  final: jax.Array,
  symbols: jax.Array,
) -> Account:
  """The account after some bytes."""
  bits = byte_tree.bits(symbols)
  passed = byte_tree.on_path(inputs, symbols)
  cost = byte_tree.nats(byte_tree.on_path(final, symbols), bits)
  alone = byte_tree.nats(passed[..., :-1], bits[..., None])
  weight = weights.node[jnp.asarray(byte_tree.PATHS)[symbols]]
  return Account(
    account.mixed + jnp.sum(cost),
    account.alone + jnp.sum(alone, axis=(0, 1)),
    account.share + jnp.sum(jnp.abs(weight * passed), axis=(0, 1)),
  )


# Most bytes of the past that matches and replay can reach, and most sequences
# that are remembered; small files take less.
_HISTORY_BITS = 22
_MATCH_BITS = 20
_CLIP = 1.0


def build(
  settings: settings_lib.Settings,
  size: int,
  *,
  trained: tuple[networks.SequenceModel, Any] | None = None,
  portable: bool = True,
) -> Model:
  """The model of a file.

  Args:
    settings: what it consists of.
    size: bytes of the file, which set the pace of the learning rate.
    trained: a network over the 256 bytes and its weights, to begin with in
      place of the one that the settings describe.
    portable: as of `create`.

  Raises:
    UserError: settings that leave no expert.
  """
  if trained is None:
    return _untrained(settings, size, portable)
  return _of(settings, size, portable, *trained)


# Coding, verifying and decoding a file compile its model once.
@functools.lru_cache(maxsize=4)
def _untrained(
  settings: settings_lib.Settings, size: int, portable: bool
) -> Model:
  return _of(settings, size, portable, byte_network(settings), None)


def _of(
  settings: settings_lib.Settings,
  size: int,
  portable: bool,
  predictor: networks.SequenceModel | None,
  params: Any,
) -> Model:
  experts: list[experts_lib.Expert] = []
  places = max(8, size.bit_length())
  history = 1 << min(_HISTORY_BITS, places)
  if settings.contexts:
    # A byte in a context touches two rows, often for the first time.
    wanted = (2 * size * len(settings.contexts)).bit_length()
    bits = min(settings.context_bits, max(8, wanted))
    experts.append(experts_lib.context_expert(settings.contexts, bits=bits))
  if settings.match:
    experts.append(
      experts_lib.match_expert(
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
  return create(experts, rate=settings.mixing_rate, portable=portable)


def byte_network(
  settings: settings_lib.Settings,
) -> networks.SequenceModel | None:
  """The network that the settings describe, over the 256 bytes, if any."""
  if not settings.layers:
    return None
  model = {
    "cell": settings.cell,
    "features": settings.layers,
    "gradient_clip": 0.0,
  }
  return networks.language_model({"model": model, "dtype": settings.dtype}, 256)


def optimizer(
  settings: settings_lib.Settings, size: int
) -> optax.GradientTransformation | None:
  """Adam without momentum, its rate falling linearly over the file."""
  if not settings.learning_rate:
    return None
  bytes_an_update = settings_lib.streams(settings, size) * settings.segment
  rate = optax.linear_schedule(
    settings.learning_rate,
    settings.final_learning_rate,
    max(1, size // bytes_an_update),
  )
  return optax.chain(
    optax.clip_by_global_norm(_CLIP),
    _by_squares(decay=0.999, epsilon=1e-6),
    optax.scale_by_learning_rate(rate),
  )


class _Squares(NamedTuple):
  """Running means of squared gradients, from 0, and the weight they have."""

  means: Tree
  weight: jax.Array


def _by_squares(
  *, decay: float, epsilon: float
) -> optax.GradientTransformation:
  """Adam's scaling without momentum.

  The weight, 1 - decay^t, is kept up from step to step: a power would come from
  the C library, which has another one for every processor.
  """

  def init(params: Tree) -> _Squares:
    return _Squares(jax.tree.map(jnp.zeros_like, params), jnp.float32(0))

  def update(updates: Tree, state: Tree, params: Tree = None) -> Any:
    del params
    means = jax.tree.map(
      lambda mean, g: decay * mean + (1 - decay) * g * g, state.means, updates
    )
    weight = decay * state.weight + (1 - decay)
    scaled = jax.tree.map(
      lambda g, mean: g / (jnp.sqrt(mean / weight) + epsilon), updates, means
    )
    return scaled, _Squares(means, weight)

  return optax.GradientTransformation(init, update)
