"""Settings that make a model, and settings that make none."""

import dataclasses
import json

import pytest

from seqmodels import errors
from seqmodels.compression import model, settings


def test_settings_survive_json():
  chosen = settings.Settings(layers=(3, 5), contexts=("1",), match=0)
  text = json.dumps(dataclasses.asdict(chosen))
  assert settings.Settings.of(json.loads(text)) == chosen


@pytest.mark.parametrize(
  ("values", "sentence"),
  [
    ({"streams": 0}, "streams is 0; it must be from 1 to 4,096"),
    ({"block": 1 << 40}, "block is 1099511627776; it must be"),
    ({"layers": (1 << 20,)}, "layers is"),
    ({"layers": (8000, 8000)}, "about 784,384,000 weights; they may have"),
    ({"layers": (4000,) * 9}, "weights; they may have 268,435,456"),
    ({"layers": (1,) * 60}, "there are 60 layers; there may be 8"),
    ({"contexts": ["1", "2", "1"]}, "a context is named twice"),
    ({"streams": 256, "block": 64}, "too short for 256 streams"),
    ({"streams": 4096, "segment": 1024}, "streams x segment is 4,194,304"),
    (
      {"replay_windows": 4096, "replay_length": 4096},
      "replay_windows x replay_length is 16,777,216",
    ),
    ({"layers": 8}, "layers is 8, which it cannot be"),
    ({"segment": 2.5}, "segment is 2.5"),
    ({"match": True}, "match is True"),
    ({"learning_rate": float("nan")}, "learning_rate is nan"),
    ({"contexts": ["wrod"]}, "no context 'wrod' (did you mean"),
    ({"cell": "lstn"}, "no cell 'lstn'"),
    ({"cell": 5}, "no cell 5"),
    ({"dtype": "float8"}, "dtype is 'float8'"),
    ({"contexts": [["1"]]}, "no context ['1']"),
    ({"colour": 1}, "no setting 'colour'"),
  ],
  ids=str,
)
def test_nonsense_is_refused(values, sentence):
  with pytest.raises(errors.UserError) as caught:
    settings.Settings.of(values)
  assert sentence in str(caught.value)


def test_nothing_to_predict_with():
  empty = settings.Settings(layers=(), contexts=(), match=0)
  with pytest.raises(errors.UserError, match="nothing is left"):
    model.build(empty, 100)
