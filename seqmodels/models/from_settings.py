"""Networks from plain settings: the `model` part of a run's config.json.

Settings are any mapping of mappings: what JSON holds, or a command line's
config. A network built from the settings of a trained run takes its weights.
"""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.layers.noise import Noise
from seqmodels.models import api, handwriting
from seqmodels.models import language_model as language_models

Settings = Mapping[str, Any]


def language_model(settings: Settings, symbols: int) -> api.SequenceModel:
  """The network that `settings["model"]` describes, over `symbols` symbols.

  >>> model = {"cell": "gru", "features": [4], "input_skips": True,
  ...   "output_skips": True, "gradient_clip": 1.0, "chunk": 0}
  >>> language_model({"model": model, "dtype": "float32"}, 3).vocabulary_size
  3

  Raises:
    UserError: no such cell or dtype, or noise that the network cannot have.
    KeyError: a setting is missing.
  """
  model = settings["model"]
  known = cells.get(model["cell"]).options
  return language_models.as_predictor(
    language_models.LanguageModel(
      vocabulary_size=symbols,
      features=tuple(model["features"]),
      cell=model["cell"],
      options={name: model[name] for name in known if name in model},
      input_skips=model["input_skips"],
      output_skips=model["output_skips"],
      gradient_clip=model["gradient_clip"] or None,
      dtype=compute_dtype(settings["dtype"]),
      chunk=model["chunk"],
      embedding=model.get("embedding", 0),
      tied=model.get("tied", False),
      noise=noise_of(settings),
    )
  )


def handwriting_network(
  settings: Settings,
  symbols: int,
  *,
  finest: tuple[float, float] | None = None,
) -> api.SequenceModel:
  """The network that `settings["model"]` describes, over an alphabet.

  Args:
    settings: of a handwriting run.
    symbols: size of the alphabet.
    finest: as of `models.handwriting.network`.

  Raises:
    UserError: no such dtype, or noise that the network cannot have.
    KeyError: a setting is missing.
  """
  model = settings["model"]
  # Pen movements have no embedding and no symbols to drop.
  dropped = noise_of(settings)._replace(embedding=0.0, input=0.0)
  dropped.check(len(model["features"]))
  return handwriting.network(
    handwriting.Handwriting(
      symbols=symbols if model["network"] == "synthesis" else 0,
      window=model["window"],
      features=tuple(model["features"]),
      components=model["components"],
      options={
        "peepholes": model["peepholes"],
        "forget_bias": model["forget_bias"],
        "cell_clip": model.get("cell_clip", 0.0),
      },
      gradient_clip=model["gradient_clip"] or None,
      output_clip=model["output_clip"] or None,
      dtype=compute_dtype(settings["dtype"]),
      noise=dropped,
    ),
    finest=finest,
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
