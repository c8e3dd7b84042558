"""Networks from plain settings."""

import jax.numpy as jnp
import pytest

from seqmodels import errors
from seqmodels.cells import cell as cells
from seqmodels.layers.recurrent import Noise, StackOptions
from seqmodels.models import networks

MODEL = {"cell": "mogrifier_lstm", "features": [3, 4], "gradient_clip": 0.0}


def test_settings_are_the_options_of_their_names():
  model = {**MODEL, "output_skips": False, "chunk": 5, "window": 10}
  model.update(peepholes=True, rounds=2)
  settings = {"model": model, "dtype": "bfloat16"}
  actual = networks.stack_options(settings, Noise(output=0.5))
  assert actual == StackOptions(
    features=(3, 4),
    cell=cells.get("mogrifier_lstm", peepholes=True, rounds=2),
    output_skips=False,
    gradient_clip=None,
    dtype=jnp.dtype("bfloat16"),
    chunk=5,
    noise=Noise(output=0.5),
  )


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"cell": "lsmt"}, "did you mean 'lstm'"),
    ({"features": [3]}, "there is one layer"),
  ],
)
def test_what_cannot_be_built_is_named(changes, words):
  settings = {
    "model": {**MODEL, **changes},
    "dtype": "float32",
    "regularization": {"dropout_hidden": 0.5},
  }
  with pytest.raises(errors.UserError, match=words):
    networks.language_model(settings, 5)
