"""A valid file for every parser of outside bytes, to be damaged."""

import gzip
import hashlib
import io
import pathlib
import shutil
import tarfile
import types
import zipfile
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from experiments import cli, stages
from experiments.handwriting import task as task_lib
from experiments.language_model import task
from seqmodels import portable, trained
from seqmodels.compression import container, dictionary, range_coder
from seqmodels.compression import settings as settings_lib
from seqmodels.data.handwriting import alphabet, iam_ondb, strokes
from seqmodels.data.text import vocabulary
from seqmodels.io import checkpoints, files, metrics, results, run_folder

TEXT = "The café's cat sat, 12 times.\nIt did not <unk> move!\n" * 12
FORMS = ("a01-000u", "a01-001")
TEXT_PAGE = "configs/quickstart.py:smoke"
PEN_PAGE = "configs/handwriting_synthesis.py:smoke"
# Of data.json, and of the step that every run stands at.
DATA = [{"name": "a.txt", "bytes": 5, "sha256": "0" * 64}]
STEP = 3


def fill(world: pathlib.Path) -> None:
  """Writes a valid file for every parser into a folder."""
  (world / "text.txt").write_text(TEXT, encoding="utf-8")
  with zipfile.ZipFile(world / "enwik8.zip", "w", 8) as archive:
    archive.writestr("enwik8", TEXT)
  spots = [(f"{7 * i}", f"{i % 5}.5", f"{0.0148 * i:.4f}") for i in range(9)]
  points = [f'<Point x="{x}" y="{y}" time="{t}"/>' for x, y, t in spots]
  (world / "line.xml").write_text(
    '<?xml version="1.0" encoding="ISO-8859-1"?>\n<WhiteboardCaptureSession>'
    f"<StrokeSet><Stroke>{''.join(points[:4])}</Stroke><Stroke>"
    f"{''.join(points[4:])}</Stroke></StrokeSet></WhiteboardCaptureSession>"
  )
  (world / "form.txt").write_text("OCR:\n\nA cat\n\nCSR:\n\nA\r\ncat.\n")
  (world / "list.txt").write_text("".join(f" {form}\n" for form in FORMS))
  _pack(
    world, "strokes", "line.xml", [f"{f}-0{n}" for f in FORMS for n in "12"]
  )
  _pack(world, "texts", "form.txt", FORMS)
  lines = strokes.PenLines.of(
    [np.ones((n, 3)) for n in (2, 3)], ["a-01", "a-02"], ["hi", ""]
  )
  iam_ondb.store(world / "lines.cache", lines, "key")
  _compress(world / "file.seq")
  text = TEXT.encode() * 3
  spelling = dictionary.choose(io.BytesIO(text), least=4)
  spelled = b"".join(dictionary.respell(io.BytesIO(text), spelling))
  (world / "spelled").write_bytes(spelled)
  (world / "prefix.txt").write_text("the cat\nsat\nran away\n")
  files.write_sealed(world / "benchmark.json", {"one": {"seconds": [1.0, 2.0]}})
  _text_run(world / "run")
  _pen_run(world / "pen")
  for name in ("run", "pen"):
    trained.load(world / name).save(world / f"{name}.safetensors")
  shutil.copytree(world / "run", world / "stopped")
  (world / "stopped" / run_folder.RESULTS).unlink()


def _pack(
  world: pathlib.Path, name: str, file: str, members: Iterable[str]
) -> None:
  """A .tar.gz, and the same not yet compressed."""
  suffix = pathlib.Path(file).suffix
  with tarfile.open(world / f"{name}.tar", "w") as archive:
    for member in members:
      archive.add(world / file, f"{name}/a01/{member}{suffix}")
  data = (world / f"{name}.tar").read_bytes()
  (world / f"{name}.tar.gz").write_bytes(gzip.compress(data, 1))


def _compress(path: pathlib.Path) -> None:
  """A file of two blocks of 64 bytes: a code, and bytes as they are."""
  symbols = np.arange(64, dtype=np.uint8) % 4
  coder = range_coder.Encoder()
  coder.encode(symbols, evenly(64))
  data = symbols.tobytes() + bytes(range(64))
  header = container.Header(
    size=len(data),
    sha256=hashlib.sha256(data).hexdigest(),
    settings=settings_lib.Settings(block=64, streams=1),
    fingerprint=container.current(),
    preset="fast",
  )
  with open(path, "wb") as file:
    container.write_header(file, header)
    container.write_block(file, coder.code(), data[:64])
    container.write_block(file, data[64:], data[64:])


def settings(page: str) -> Any:
  """Of a page, as a run keeps them."""
  config = cli.load(page).config
  config.dtype = "float32"
  return config


def evenly(count: int) -> np.ndarray:
  """Frequencies of four symbols, none likelier than another."""
  return np.full((count, 4), 1 << 20)


def _text_run(folder: pathlib.Path) -> None:
  config = settings(TEXT_PAGE)
  symbols = vocabulary.Vocabulary.build(TEXT)
  network = task.build_predictor(config, symbols.size)
  _begin(folder, config, network, {"vocabulary": symbols.hash})
  symbols.save(folder / task.VOCABULARY)
  curve = {"curve_nats": [9.0, 8.5], "curve_counts": [4, 4]}
  for name in ("static test", "dynamic test: sgd"):
    stages.phase(standing(folder), name, lambda: curve)


def _pen_run(folder: pathlib.Path) -> None:
  config = settings(PEN_PAGE)
  pen = strokes.Pen(
    alphabet.GRAVES, strokes.Scaling(np.array([8.0, 0.5]), np.full(2, 40.0))
  )
  network = task_lib.build_network(config, pen.alphabet.size)
  _begin(folder, config, network, {"pen": pen.hash})
  files.write_json(folder / task_lib.PEN, pen.record)


def _begin(folder: pathlib.Path, config: Any, network: Any, meta: Any) -> None:
  """A run folder as training leaves it, its weights all zeros."""
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  params = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
  with run_folder.start(folder, config=config.to_dict()) as record:
    pass
  with checkpoints.Checkpoints(folder / "checkpoints") as saved:
    saved.save_best(STEP, params, meta)
  with metrics.MetricWriter(folder, tensorboard=False) as writer:
    for step in (1, 2, 3):
      for split in ("train", "valid"):
        writer.write(step, split, {"bits_per_character": 5.0 / step})
  files.write_json(folder / portable.DATA, {"source": "text", "files": DATA})
  row = results.row(
    "net", split="test", evaluation="static", metric="bits_per_character",
    value=1.5, count=600, seconds=2.0,
  )  # fmt: skip
  shared = {"experiment": config.experiment, "config": record.config}
  record.finish({**shared, "finished": True, "rows": [row, row]})


def standing(folder: pathlib.Path) -> Any:
  """Of a run at step 3 that nothing interrupts."""
  signals = types.SimpleNamespace(check=lambda: None)
  return types.SimpleNamespace(
    workdir=folder, step=STEP, params={}, signals=signals
  )
