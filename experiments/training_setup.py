"""What is trained, and all parts of a training that its settings decide."""

import pathlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import optax
from jax.sharding import Mesh
from ml_collections import config_dict

from experiments import assembly, course
from seqmodels.training import objective, regularizers, sharding, state


class Validation(NamedTuple):
  """A score on the validation split."""

  loss: float  # nats a position: what is compared from one to the next
  figures: Mapping[str, float]  # by metric
  note: str  # what it was scored on


class Task(NamedTuple):
  """What is trained, on what, and how it is told of.

  Attributes:
    model: with `init(key)` and `initial_carry(batch)`.
    losses: what a step minimises.
    course: the training data as a plan of steps.
    positions: scored in one pass over the training data.
    named: metric of a report on training, and its value of (nats, positions).
    speed: what goes by in a second, such as "tokens".
    identity: what weights must have been trained on, kept with each of them.
    check: refuses a checkpoint whose identity is another, by its (record,
      folder).
    restored: the weights that `config.restore` names, given their shapes.
    validate: `(weights, check) -> Validation`; `check` is called now and then.
    facts: lines that say what is about to begin; the model's parameters are
      counted here.
    name: of the model.
  """

  model: Any
  losses: objective.Losses
  course: course.Course
  positions: int
  named: tuple[str, Callable[[float, int], float]]
  speed: str
  identity: Mapping[str, str]
  check: Callable[[Mapping[str, Any], pathlib.Path], None]
  restored: Callable[[Any], Any]
  validate: Callable[[Any, Callable[[], None]], Validation]
  facts: tuple[str, str]  # of the data, of a step
  name: str


class Setup(NamedTuple):
  """All parts of a training that its settings decide."""

  config: config_dict.ConfigDict
  workdir: pathlib.Path
  task: Task
  regularizer: regularizers.Regularizer
  optimizer: optax.GradientTransformation
  mesh: Mesh

  def fresh(self, shardings: Any = None) -> state.TrainState:
    """The state before the first step."""
    return state.create(
      self.task.model,
      self.optimizer,
      batch=self.config.training.batch,
      seed=self.config.seed,
      wrap=self.regularizer.wrap,
      shardings=shardings,
    )

  @property
  def shapes(self) -> state.TrainState:
    """Names, shapes and dtypes of a state, without its memory."""
    return jax.eval_shape(self.fresh)

  @property
  def shardings(self) -> Any:
    """Where each array of a state lies."""
    return sharding.state_shardings(self.mesh, self.shapes)

  @property
  def weights(self) -> Any:
    """Names, shapes and dtypes of the weights that are evaluated."""
    return jax.eval_shape(self.regularizer.weights, self.shapes.params)


def prepare(
  config: config_dict.ConfigDict, workdir: pathlib.Path, task: Task
) -> Setup:
  """The parts of a training, nothing of it begun."""
  return Setup(
    config,
    workdir,
    task,
    assembly.build_regularizer(config, task.positions),
    assembly.build_optimizer(config, task.course.plan.total),
    mesh_of(config),
  )


def mesh_of(config: config_dict.ConfigDict) -> Mesh:
  """The devices that `config.training` is spread over.

  Raises:
    UserError: it does not spread evenly.
  """
  training = config.training
  return sharding.device_mesh(
    training.batch, model_shards=training.model_shards
  )
