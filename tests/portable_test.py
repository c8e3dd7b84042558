"""One file for one model: exact, readable by others, never half believed."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
import safetensors

from seqmodels import errors, portable

WEIGHTS = {
  "head/kernel": np.random.default_rng(0).normal(size=(3, 5)),
  "head/bias": np.array([0.0, -0.0, 1e-38, 3e38, np.pi]),
  "scale": np.array(2.5),
}
MODEL = portable.Portable(
  "language_model",
  {"model": {"features": [3]}, "data": {"tokenizer": "words"}},
  {"symbols": ["é", "\n", "<unk>"], "sha256": "0" * 64},
  {"step": 3, "command": "python main.py"},
  {name: np.float32(array) for name, array in WEIGHTS.items()},
)


@pytest.fixture
def path(tmp_path):
  return tmp_path / "model.safetensors"


def test_float32_comes_back_bit_for_bit(path):
  portable.write(path, MODEL)
  actual = portable.read(path)
  assert actual[:4] == MODEL[:4]
  assert actual.weights.keys() == MODEL.weights.keys()
  for name, array in MODEL.weights.items():
    assert actual.weights[name].shape == array.shape
    assert actual.weights[name].tobytes() == array.tobytes()


def test_bfloat16_rounds_to_nearest_and_takes_half(path):
  many = np.random.default_rng(1).normal(size=10_000).astype(np.float32)
  model = MODEL._replace(weights={"w": many})
  portable.write(path, model)
  exact = path.stat().st_size
  portable.write(path, model, "bfloat16")
  assert path.stat().st_size == exact - 2 * many.size
  actual = portable.read(path).weights["w"]
  assert actual.dtype == np.float32
  # Eight bits of significand: half a unit of the last place is 2^-9.
  assert np.max(np.abs(actual - many) / np.abs(many)) <= 2.0**-8
  expected = np.asarray(jnp.asarray(many).astype(jnp.bfloat16), np.float32)
  np.testing.assert_array_equal(actual, expected)
  portable.write(path, MODEL._replace(weights={"w": actual}), "bfloat16")
  np.testing.assert_array_equal(portable.read(path).weights["w"], actual)


def test_the_library_of_the_format_reads_it_alone(path):
  portable.write(path, MODEL)
  with safetensors.safe_open(path, framework="np") as file:
    metadata = file.metadata()
    for name, array in MODEL.weights.items():
      np.testing.assert_array_equal(file.get_tensor(name), array)
  assert (metadata["format"], metadata["version"]) == ("seqmodels", "1")
  assert metadata["kind"] == "language_model"
  assert json.loads(metadata["settings"]) == MODEL.settings
  assert json.loads(metadata["vocabulary"]) == MODEL.symbols
  assert json.loads(metadata["card"]) == MODEL.card


def test_equal_models_make_equal_files(path):
  files = []
  for _ in range(3):
    portable.write(path, MODEL)
    files.append(path.read_bytes())
  assert len(set(files)) == 1


def test_a_failed_write_leaves_what_was_there(path, monkeypatch):
  portable.write(path, MODEL)
  before = path.read_bytes()
  with pytest.raises(errors.UserError, match="cannot be stored") as caught:
    portable.write(path, MODEL, "float16")
  assert "'float16'" in str(caught.value)
  monkeypatch.setattr(portable, "LARGEST", 100)
  with pytest.raises(errors.UserError, match="a portable file may have 100"):
    portable.write(path, MODEL)
  assert path.read_bytes() == before
  assert [each.name for each in path.parent.iterdir()] == [path.name]


def rewritten(data, **changes):
  """The file with other metadata; None leaves a member out."""
  size = int.from_bytes(data[:8], "little")
  header = json.loads(data[8 : 8 + size])
  metadata = {**header["__metadata__"], **changes}
  header["__metadata__"] = {
    name: text for name, text in metadata.items() if text is not None
  }
  packed = json.dumps(header).encode()
  return len(packed).to_bytes(8, "little") + packed + data[8 + size :]


@pytest.mark.parametrize(
  ("damage", "words"),
  [
    (lambda data: b"", "is no intact model file"),
    (lambda data: data[:-1], "is no intact model file"),
    (lambda data: data[:40], "claims 6"),
    (lambda data: b"\xff" * 100, "claims 18,446,744,073,709,551,615 bytes"),
    (lambda data: data[:-1] + bytes([data[-1] ^ 1]), "match their checksum"),
    (lambda data: rewritten(data, version="2"), "version '2', and this rel"),
    (lambda data: rewritten(data, kind="image"), "a model of kind 'image'"),
    (lambda data: rewritten(data, format=None), "none that this package wro"),
    (lambda data: rewritten(data, settings="["), "is no intact model file"),
    (lambda data: rewritten(data, card="[1]"), "are no JSON objects"),
    (lambda data: rewritten(data, card="[" * 99_999), "is no intact model f"),
    (lambda data: rewritten(data, vocabulary=None), "('vocabulary')"),
  ],
)
def test_damage_is_named_in_one_sentence(path, damage, words):
  portable.write(path, MODEL)
  path.write_bytes(damage(path.read_bytes()))
  with pytest.raises(errors.UserError) as caught:
    portable.read(path)
  assert words in str(caught.value)
  assert str(path) in str(caught.value)
  assert len(str(caught.value)) < 400


def test_weights_of_other_types_are_refused(path):
  from safetensors import numpy as plain

  plain.save_file({"w": np.ones(3)}, path)
  with pytest.raises(errors.UserError, match="none that this package wrote"):
    portable.read(path)
  portable.write(path, MODEL)
  data = path.read_bytes().replace(b'"dtype": "F32"', b'"dtype": "I32"')
  path.write_bytes(data)
  with pytest.raises(errors.UserError, match="is no intact model file"):
    portable.read(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite_are_refused(path, value, monkeypatch):
  model = MODEL._replace(weights={"w": np.array([1.0, value], np.float32)})
  with pytest.raises(errors.UserError, match="holds NaN or infinity among"):
    portable.write(path, model)
  assert not path.exists()
  with monkeypatch.context() as patch:
    patch.setattr(portable, "_require_finite", lambda *given: None)
    portable.write(path, model)
  with pytest.raises(errors.UserError, match="holds NaN or infinity among"):
    portable.read(path)


def test_what_rounding_makes_infinite_is_refused(path):
  largest = np.full(2, np.finfo(np.float32).max)
  model = MODEL._replace(weights={"w": largest})
  portable.write(path, model)
  with pytest.raises(errors.UserError, match="holds NaN or infinity among"):
    portable.write(path, model, "bfloat16")


def test_metadata_that_are_null_are_refused(path):
  packed = b'{"__metadata__": null}'
  path.write_bytes(len(packed).to_bytes(8, "little") + packed)
  with pytest.raises(errors.UserError, match="none that this package wrote"):
    portable.read(path)


def test_what_is_no_file_is_refused(tmp_path):
  for place in (tmp_path, tmp_path / "missing.safetensors"):
    with pytest.raises(errors.UserError, match="cannot read"):
      portable.read(place)


def test_a_file_beyond_the_bounds_is_refused(path, monkeypatch):
  portable.write(path, MODEL)
  monkeypatch.setattr(portable, "LARGEST_HEADER", 64)
  with pytest.raises(errors.UserError, match="claims"):
    portable.read(path)
