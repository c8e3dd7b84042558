"""Earlier runs, read back from a run folder or a portable file."""

import contextlib
import json
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from ml_collections import config_dict

from configs import checks
from seqmodels import errors, portable, pretrained, trained
from seqmodels.data.text import vocabulary
from seqmodels.io import distributed, files
from seqmodels.models import networks


def require_same_files(
  folder: pathlib.Path, provenance: Mapping[str, Any]
) -> None:
  """Checks that a run's files are, byte for byte, those of the data folder.

  Raises:
    UserError: they are not, or their list is damaged.
  """
  require_files_of(portable.read_data(folder), folder, provenance)


def settle_files(folder: pathlib.Path, provenance: Mapping[str, Any]) -> None:
  """Writes the list of a run's files into its folder, or checks it.

  Raises:
    UserError: the run was begun on other files.
  """
  require_same_files(folder, provenance)
  if not (folder / portable.DATA).is_file():
    files.write_json(folder / portable.DATA, provenance)


def require_files_of(
  trained: Mapping[str, Any] | None,
  place: pathlib.Path,
  provenance: Mapping[str, Any],
) -> None:
  """As `require_same_files`, of a model that may be a portable file.

  Args:
    trained: provenance of what it was trained on; None for unknown.
    place: of the model.
    provenance: of the data; compared by size and SHA-256.
  """
  if trained is not None and not same_files(trained, provenance):
    raise errors.UserError(
      f"the data are not those of the run in {place}: it was trained on "
      f"{_listed(trained)}, and these are {_listed(provenance)}; give it the "
      "same data"
    )


def same_files(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
  """True where two provenances list equal files, whatever their names."""
  first, second = (
    [(file["bytes"], file["sha256"]) for file in provenance["files"]]
    for provenance in (one, other)
  )
  return first == second


def _listed(provenance: Mapping[str, Any]) -> str:
  return ", ".join(
    f"{file['name']} ({file['bytes']:,} bytes, SHA-256 {file['sha256'][:12]})"
    for file in provenance["files"]
  )


class LoadedRun(NamedTuple):
  """An earlier run, read back from its folder or from a portable file."""

  config: config_dict.ConfigDict
  symbols: Any  # the vocabulary of a text, the pen of a handwriting network
  model: networks.SequenceModel
  params: Any
  step: int
  source: trained.Source


def reload(
  restore: str,
  kind: str = "language_model",
  *,
  dtype: str = "",
  shipped: str = "",
) -> LoadedRun:
  """The network of an earlier run.

  Args:
    restore: the `--workdir` of the run, or a portable file.
    kind: a key of `trained.KINDS`.
    dtype: overrides the run's own compute dtype.
    shipped: a name of `pretrained`, used where `restore` is empty and it is
      there.

  Raises:
    UserError: no such run or checkpoint, or one of another kind.
    RunError: the checkpoints are corrupt.
  """
  source = opened(restore, kind, shipped)
  config = settings(source, dtype)
  model = trained.build(source, dtype=dtype)
  return LoadedRun(
    config, model.symbols, model.model, model.params, model.step, source
  )


def opened(restore: str, kind: str = "", shipped: str = "") -> trained.Source:
  """The run or file that `config.restore` names, its weights not yet read.

  Args:
    restore: a run folder or a portable file.
    kind: a key of `trained.KINDS`; empty takes any.
    shipped: as of `reload`.

  Raises:
    UserError: it is empty and nothing is shipped, or it is no such model.
  """
  if not restore and shipped in pretrained.shipped():
    return trained.read(pretrained.path(shipped), kind)
  if not restore:
    raise errors.UserError(
      "config.restore is empty; give the run folder of a trained model, "
      "--config.restore=RUN_DIR"
    )
  return trained.read(restore, kind)


def settings(source: trained.Source, dtype: str = "") -> config_dict.ConfigDict:
  """The settings of an earlier run.

  Args:
    source: the run.
    dtype: overrides the run's own compute dtype.

  Raises:
    UserError: a setting is out of its bounds.
  """
  try:
    config = config_dict.ConfigDict(source.settings)
    checks.validate(config)
  except trained.FAULTS as error:
    raise source.damaged(f"it describes no network: {error}") from error
  if dtype:
    config.dtype = dtype
  return config


@contextlib.contextmanager
def continuing(config: config_dict.ConfigDict) -> Iterator[None]:
  """Names `config.restore` in the errors of what it holds."""
  try:
    yield
  except errors.RunError:
    raise
  except errors.UserError as error:
    raise errors.UserError(
      f"config.restore={config.restore} cannot be continued: {error}"
    ) from error


def restore_weights(
  config: config_dict.ConfigDict,
  target: Any,
  symbols: vocabulary.Vocabulary,
) -> Any:
  """The weights of the language model `config.restore`, to train further.

  Args:
    config: of the new run.
    target: names, shapes and dtypes of the weights wanted.
    symbols: what they must have been trained on.

  Raises:
    UserError: no such run, another network, other symbols, or a partition that
      trained on what this one keeps for validation and test.
  """
  with continuing(config):
    source = opened(config.restore, "language_model")
    require_same_symbols(source, symbols)
    weights = source.weights(target).params
    require_same_model(config, source)
    _require_same_partition(config, source)
  return weights


def restored_vocabulary(
  config: config_dict.ConfigDict, workdir: pathlib.Path
) -> vocabulary.Vocabulary | None:
  """The symbols of the run that `config.restore` names; None without one.

  A run that has begun has them in its own folder. Where there are several
  processes, the first reads for all.
  """
  if not config.restore:
    return None

  def read() -> str:
    own = workdir / trained.VOCABULARY
    if own.is_file():
      return vocabulary.Vocabulary.load(own).to_json()
    with continuing(config):
      return opened(config.restore, "language_model").symbols.to_json()

  return vocabulary.Vocabulary.from_json(distributed.on_primary(read))


def require_same_symbols(
  source: trained.Source, symbols: trained.Symbols
) -> None:
  """Refuses weights that were trained on other symbols than these."""
  name = trained.KINDS[source.kind].identity
  meta = {name: source.symbols.hash}
  trained.require_same_symbols(meta, source.kind, symbols, source.place)


# Settings of a model that its training alone needs.
OF_TRAINING = (
  *("model.chunk", "model.forget_bias"),
  *("model.gradient_clip", "model.recurrent_init"),
)
# Values of settings that an older run does not have.
UNSET = {
  "model.cell_clip": 0.0,
  "regularization.zoneout_cell": 0.0,
  "regularization.zoneout_state": 0.0,
}


def of_network(settings: Mapping[str, Any]) -> dict[str, Any]:
  """The settings that change what weights of equal shapes mean.

  Those are of the model, but for `OF_TRAINING`, and of zoneout, since
  evaluation takes the expectation over what it keeps.

  >>> network = of_network({"model": {"cell": "gru", "option": 2, "chunk": 0}})
  >>> [name for name in network if name.startswith("model.") and network[name]]
  ['model.cell', 'model.option']
  """
  flat = {**UNSET, **dict(checks.flatten(settings))}
  return {
    name: value
    for name, value in flat.items()
    if name in UNSET or (name.startswith("model.") and name not in OF_TRAINING)
  }


def require_same_model(
  config: config_dict.ConfigDict, source: trained.Source
) -> None:
  """Refuses weights that fit but were trained as something else."""
  theirs = of_network(source.settings)
  for name, value in of_network(json.loads(config.to_json())).items():
    if theirs.get(name, value) != value:
      raise errors.UserError(
        f"it was trained with {name} {theirs[name]!r} and this run has "
        f"{value!r}; give the same"
      )


def _require_same_partition(
  config: config_dict.ConfigDict, source: trained.Source
) -> None:
  ours, data = config.data, source.settings["data"]
  partition = data.get("partition")
  if data.get("source") == ours.source and partition != ours.partition:
    raise errors.UserError(
      f"it was trained on the partition {partition!r}, parts of which "
      f"{ours.partition!r} keeps for validation and test; give a run on the "
      "same partition"
    )
