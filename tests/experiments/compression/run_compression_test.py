"""Files compressed and decompressed from end to end."""

import dataclasses
import hashlib
import json
import lzma
import os
import pathlib
import platform
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import experiments
from configs import compression as page
from experiments import cli
from experiments.compression import job
from experiments.compression import run as run_lib
from seqmodels import errors
from seqmodels.compression import container, settings

PROJECT = pathlib.Path(__file__).resolve().parents[3]
TEXT = b"she sells sea shells on the sea shore; the shells she sells are sea "
TEXT = (TEXT + b"shells, I'm sure.\n") * 12


@pytest.fixture
def pack(tmp_path):
  """Compresses bytes; gives the compressed file's path."""

  def go(data, name="a", variant="smoke", **changes):
    source, target = tmp_path / f"{name}.in", tmp_path / f"{name}.seq"
    source.write_bytes(data)
    config = page.get_config(variant)
    config.update(input=str(source), output=str(target), baselines=False)
    config.update_from_flattened_dict(changes)
    experiments.run(config, tmp_path / f"{name}-pack", tmp_path)
    return target

  return go


@pytest.fixture
def unpack(tmp_path):
  """Decompresses a file; gives the bytes."""

  def go(packed, name="a", **changes):
    target = tmp_path / f"{name}.out"
    config = page.get_config("decompress,smoke")
    config.update(input=str(packed), output=str(target))
    config.update_from_flattened_dict(changes)
    experiments.run(config, tmp_path / f"{name}-unpack", tmp_path)
    return target.read_bytes()

  return go


def read_header(path):
  with open(path, "rb") as file:
    return container.read_header(file)


def kinds():
  rng = np.random.default_rng(0)
  length = len(TEXT)  # One length, one model to compile.
  data = {
    "text": TEXT,
    "random": rng.bytes(length),
    "zeros": bytes(length),
    "already compressed": lzma.compress(rng.bytes(length)),
    "code": (PROJECT / "experiments" / "__init__.py").read_bytes(),
    "greek": "ἄνδρα μοι ἔννεπε, μοῦσα, πολύτροπον ".encode() * 20,
    "executable": pathlib.Path(sys.executable).read_bytes(),
  }
  data = {name: one[:length] for name, one in data.items()}
  assert {len(one) for one in data.values()} == {length}
  return {"empty": b"", "one byte": b"x", "two bytes": b"ab", **data}


# The default selection has the kinds that a coder can fail on in its own way;
# the others take the same path.
@pytest.mark.parametrize(
  "kind",
  [
    kind
    if kind in ("empty", "one byte", "text", "random")
    else pytest.param(kind, marks=pytest.mark.slow)
    for kind in kinds()
  ],
)
def test_any_file_comes_back(pack, unpack, monkeypatch, kind):
  monkeypatch.setenv("XLA_FLAGS", "")  # which the header names
  data = kinds()[kind]
  packed = pack(data)
  assert unpack(packed) == data
  # What cannot be made smaller grows by the header and 12 bytes a block of 256.
  with packed.open("rb") as file:
    container.read_header(file)
    header = file.tell()
  assert header < 200
  assert packed.stat().st_size <= header + len(data) + 12 * -(-len(data) // 256)


@pytest.mark.parametrize(
  "preset",
  [
    pytest.param(preset, marks=() if preset == "fast" else pytest.mark.slow)
    for preset in page.PRESETS
  ],
)
def test_every_preset_gives_the_bytes_back(pack, unpack, preset):
  packed = pack(TEXT, variant=f"{preset},smoke")
  assert unpack(packed) == TEXT
  assert read_header(packed).preset == preset


def test_the_page_begins_with_the_defaults_of_the_library():
  given = page.get_config("default").model.to_dict()
  assert settings.Settings.of(given) == settings.Settings()
  assert set(given) | {"seed"} == set(vars(settings.Settings()))


@pytest.mark.usefixtures("optimized")
def test_rows_say_sizes_and_who_predicted(pack, tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")  # which the header names
  packed = pack(TEXT, baselines=True)
  results = json.loads((tmp_path / "a-pack" / "results.json").read_text())
  rows = {(row["name"], row["metric"]): row["value"] for row in results["rows"]}
  ours = next(name for name, _ in rows if name.startswith("default"))
  assert rows[ours, "compressed_bytes"] == packed.stat().st_size
  assert rows[ours, "bits_per_byte"] == pytest.approx(
    8 * packed.stat().st_size / len(TEXT)
  )
  assert rows["xz -9e", "compressed_bytes"] == len(
    lzma.compress(TEXT, preset=9 | lzma.PRESET_EXTREME)
  )
  assert ("network, alone (code length)", "bits_per_byte") in rows
  # Header and checks are most of a file as small as this.
  ideal = rows["mixture (code length)", "bits_per_byte"] * len(TEXT) / 8
  assert 40 < packed.stat().st_size - ideal < 200
  report = (tmp_path / "a-pack" / "report.md").read_text()
  assert f"{packed.stat().st_size - ideal:+,.0f} (" in report
  for name in ("along_file", "experts"):
    assert (tmp_path / "a-pack" / "figures" / f"{name}.png").stat().st_size


@pytest.mark.slow
def test_another_process_decodes_it(pack, tmp_path, command):
  # Portable programs of `main.py` are compiled for fewer instructions.
  packed = pack(TEXT, portable=False)
  process = command(
    f"--config={PROJECT}/configs/compression.py:decompress",
    f"--config.input={packed}",
    "--config.output=-",
    "--config.portable=False",
    f"--workdir={tmp_path / 'elsewhere'}",
  )
  out, err = process.communicate(timeout=1700)
  assert process.returncode == 0, err
  assert out.encode() == TEXT
  assert "compressed_bytes" in err


@pytest.mark.slow
def test_a_stream_goes_through_pipes(tmp_path):
  environment = {**os.environ, "JAX_PLATFORMS": "cpu"}

  def run(variant, data, name):
    return subprocess.run(
      [
        sys.executable, str(PROJECT / "main.py"),
        f"--config={PROJECT}/configs/compression.py:{variant},smoke",
        "--config.input=-", "--config.output=-",
        f"--workdir={tmp_path / name}",
      ],
      input=data, capture_output=True, env=environment, timeout=1700,
    )  # fmt: skip

  packed = run("compress", TEXT, "pack")
  assert packed.returncode == 0, packed.stderr
  again = run("decompress", packed.stdout, "unpack")
  assert again.returncode == 0, again.stderr
  assert again.stdout == TEXT
  finished = run("compress", TEXT, "pack")
  assert (finished.returncode, finished.stdout) == (2, b"")
  assert b"give another --workdir" in finished.stderr


@pytest.mark.parametrize(
  "direction",
  ["compress", pytest.param("decompress", marks=pytest.mark.slow)],
)
def test_a_job_stopped_after_any_block_goes_on_byte_for_byte(
  pack, unpack, tmp_path, monkeypatch, direction
):
  straight = pack(TEXT, "straight", words=0)
  real = job._within
  asked = []

  def within(bar, block, figures):
    asked.append(block.number)
    if len(asked) == stop_at:
      signal.raise_signal(signal.SIGTERM)
    return real(bar, block, figures)

  monkeypatch.setattr(job, "_within", within)
  for stop_at in (1, 3, 4):
    name = f"stopped{stop_at}"
    asked.clear()
    if direction == "compress":
      go = lambda name=name: pack(TEXT, name, words=0)  # noqa: E731
      target = tmp_path / f"{name}.seq"
    else:
      go = lambda name=name: unpack(straight, name)  # noqa: E731
      target = tmp_path / f"{name}.out"
    with pytest.raises(errors.Interrupted):
      go()
    assert not target.exists()
    go()
    expected = straight.read_bytes() if direction == "compress" else TEXT
    assert target.read_bytes() == expected
    # Blocks done before the stop were not done again; packing decodes, too.
    blocks = -(-len(TEXT) // 256)
    assert len(asked) == blocks * (2 if direction == "compress" else 1)


@pytest.mark.slow
def test_kills_lose_no_more_than_the_blocks_since_the_last_save(
  pack, tmp_path, command
):
  data = TEXT * 4
  straight = pack(data, "straight", save_every=0.0, portable=False)
  source = tmp_path / "killed.in"
  source.write_bytes(data)
  arguments = (
    f"--config={PROJECT}/configs/compression.py:smoke",
    f"--config.input={source}",
    f"--config.output={tmp_path / 'killed.seq'}",
    "--config.save_every=0",
    "--config.portable=False",
    "--config.baselines=False",
    f"--workdir={tmp_path / 'killed'}",
  )
  for _ in range(3):
    process = command(*arguments)
    area = tmp_path / "killed" / "checkpoints"
    before = sorted(area.rglob("*")) if area.exists() else []
    limit = time.monotonic() + 1500
    while process.poll() is None and time.monotonic() < limit:
      now = sorted(area.rglob("*")) if area.exists() else []
      if now != before:
        break
      time.sleep(0.02)
    process.kill()
    process.communicate()
  process = command(*arguments)
  _, err = process.communicate(timeout=1700)
  assert process.returncode == 0, err
  assert (tmp_path / "killed.seq").read_bytes() == straight.read_bytes()


@pytest.mark.slow
def test_trained_weights_make_it_smaller_and_are_asked_for(
  pack, unpack, small, run, tmp_path, corpus_file
):
  config = small(data__tokenizer="bytes", training__max_steps=120)
  run(config, "trained")
  data = corpus_file.read_bytes()[:1500]
  trained = str(tmp_path / "trained")
  alone = {"model.contexts": (), "model.match": 0}
  static = {**alone, "model.learning_rate": 0.0}
  fresh = pack(data, "fresh", words=0, **alone)
  packed = pack(data, "known", restore=trained, **static)
  assert read_header(packed).respelled == 0
  assert packed.stat().st_size < fresh.stat().st_size
  assert unpack(packed, "known", restore=trained) == data
  with pytest.raises(errors.UserError, match="begins with trained weights"):
    unpack(packed, "without")
  with pytest.raises(errors.UserError, match="begins with none"):
    unpack(fresh, "with", restore=trained)


def test_words_are_no_bytes(pack, finished, tmp_path):
  finished("characters")
  with pytest.raises(errors.UserError, match="are not bytes"):
    pack(TEXT, restore=str(tmp_path / "characters"))


@pytest.mark.parametrize(
  ("changes", "sentence"),
  [
    ({"input": ""}, "name the files"),
    ({"output": ""}, "name the files"),
    ({"input": "nowhere"}, "cannot be read: no such file"),
    ({"input": "."}, "cannot be read: is a directory"),
    ({"output": "nowhere/out"}, "lies in none that"),
    ({"output": "."}, "is a folder"),
    ({"output": "a.in"}, "are both"),
    ({"output": "there"}, "exists; write to another file"),
    ({"model.streams": 0}, "streams is 0; it must be"),
    ({"model.layers": (), "model.contexts": (), "model.match": 0}, "nothing"),
  ],
  ids=str,
)
def test_bad_input_is_one_sentence(
  tmp_path, monkeypatch, capsys, changes, sentence
):
  monkeypatch.chdir(tmp_path)
  pathlib.Path("a.in").write_bytes(TEXT)
  pathlib.Path("there").write_bytes(b"dear")
  config = page.get_config("smoke")
  config.update(input="a.in", output="a.seq", baselines=False)
  config.update_from_flattened_dict(changes)
  code = cli.run_cli(
    lambda: experiments.run(config, tmp_path / "run", tmp_path)
  )
  said = capsys.readouterr().err.splitlines()[-1]
  assert code == 2
  assert sentence in said
  assert not pathlib.Path("a.seq").exists()
  assert pathlib.Path("there").read_bytes() == b"dear"


def test_damage_is_refused_and_nothing_is_written(pack, unpack, tmp_path):
  packed = pack(TEXT)
  data = packed.read_bytes()
  middle = len(data) // 2
  flipped = bytearray(data)
  flipped[middle] ^= 16
  damaged = {
    "short": data[:-1],
    "half": data[:middle],
    "flipped": bytes(flipped),
    "longer": data + b"!",
    "foreign": b"PK\x03\x04" + data,
    "empty": b"",
  }
  for name, bad in damaged.items():
    path = tmp_path / f"{name}.seq"
    path.write_bytes(bad)
    with pytest.raises(errors.UserError):
      unpack(path, name)
    assert not (tmp_path / f"{name}.out").exists()


def damaged(data):
  """Every truncation, every flipped bit, and some things appended."""
  for length in range(len(data)):
    yield f"cut at {length}", data[:length]
  for bit in range(8 * len(data)):
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    yield f"bit {bit} flipped", bytes(flipped)
  for more in (b"\0", b"more", data):
    yield f"{len(more)} more", data + more


@pytest.mark.slow
def test_no_damage_whatever_gives_bytes(pack, tmp_path, monkeypatch):
  monkeypatch.setenv("XLA_FLAGS", "")  # which the header names
  data = pack(TEXT[:80]).read_bytes()
  assert len(data) < 300
  folder, output = tmp_path / "damaged", tmp_path / "damaged.out"
  source = tmp_path / "damaged.seq"
  config = page.get_config("decompress,smoke")
  config.update(input=str(source), output=str(output))
  tried = 0
  for what, bad in damaged(data):
    source.write_bytes(bad)
    folder.mkdir()
    try:
      run_lib.run(config, folder, tmp_path)
    except errors.UserError:
      assert not output.exists(), what
    else:
      pytest.fail(f"{what} was decoded")
    shutil.rmtree(folder)
    tried += 1
  assert tried == 9 * len(data) + 3
  source.write_bytes(data)
  folder.mkdir()
  run_lib.run(config, folder, tmp_path)
  assert output.read_bytes() == TEXT[:80]


@pytest.mark.parametrize("field", ["size", "respelled"])
def test_a_terabyte_claimed_is_refused_at_once(pack, unpack, tmp_path, field):
  packed = pack(TEXT)
  with open(packed, "rb") as file:
    header = container.read_header(file)
    rest = file.read()
  forged = tmp_path / "forged.seq"
  with open(forged, "wb") as file:
    container.write_header(
      file, dataclasses.replace(header, **{field: 1 << 40})
    )
    file.write(rest)
  begun = time.process_time()
  with pytest.raises(
    errors.UserError, match=r"shorter than|SHA-256 differs|makes no sense"
  ):
    unpack(forged, "forged")
  assert time.process_time() - begun < 30
  assert not (tmp_path / "forged.out").exists()


@pytest.mark.slow
def test_words_are_respelled_unless_told_otherwise(pack, unpack, tmp_path):
  headers = {}
  for name, least in {"with": 4, "without": 0, "rare": 10_000}.items():
    packed = pack(TEXT, name, words=least)
    assert unpack(packed, name) == TEXT
    headers[name] = read_header(packed)
  assert 0 < headers["with"].respelled < len(TEXT)
  assert headers["without"].respelled == headers["rare"].respelled == 0
  assert "words" in (tmp_path / "with-pack" / "report.md").read_text()


def test_an_output_that_appears_meanwhile_is_kept(pack, tmp_path, monkeypatch):
  real = job.code
  output = tmp_path / "a.seq"

  def code(*arguments):
    output.write_bytes(b"somebody's")
    return real(*arguments)

  monkeypatch.setattr(job, "code", code)
  with pytest.raises(errors.UserError, match="exists; write to another"):
    pack(TEXT)
  assert output.read_bytes() == b"somebody's"
  output.unlink()
  monkeypatch.undo()
  pack(TEXT)  # Nothing is coded again.
  assert read_header(output).size == len(TEXT)


def test_another_machines_file_is_refused_unless_forced(
  pack, unpack, tmp_path, monkeypatch
):
  real = run_lib.container.current()
  monkeypatch.setattr(
    run_lib.container, "current", lambda **_: {**real, "jaxlib": "0.0.1"}
  )
  packed = pack(TEXT)
  monkeypatch.undo()
  with pytest.raises(errors.UserError, match=r"jaxlib '0\.0\.1' \(here"):
    unpack(packed, "refused")
  assert unpack(packed, "forced", force=True) == TEXT


def test_a_model_that_predicts_otherwise_is_found_out(
  pack, unpack, tmp_path, monkeypatch
):
  packed = pack(TEXT)
  with open(packed, "rb") as file:
    header = container.read_header(file)
    rest = file.read()
  # The same blocks under settings that round otherwise.
  values = {**vars(header.settings), "mixing_rate": 0.0021}
  other = container.Header(
    **{**vars(header), "settings": type(header.settings)(**values)}
  )
  forged = tmp_path / "forged.seq"
  with open(forged, "wb") as file:
    container.write_header(file, other)
    file.write(rest)
  with pytest.raises(errors.UserError, match=r"block 0|cannot go on"):
    unpack(forged, "forged")
  assert not (tmp_path / "forged.out").exists()


def test_a_resumed_job_wants_the_bytes_it_was_begun_with(
  pack, tmp_path, monkeypatch
):
  real = job._within

  def within(bar, block, figures):
    signal.raise_signal(signal.SIGTERM)
    return real(bar, block, figures)

  monkeypatch.setattr(job, "_within", within)
  with pytest.raises(errors.Interrupted):
    pack(TEXT)
  monkeypatch.undo()
  with pytest.raises(errors.UserError, match="not the one"):
    pack(TEXT[::-1])


def test_a_finished_run_whose_output_is_gone_says_so(pack):
  packed = pack(TEXT)
  packed.unlink()
  with pytest.raises(errors.UserError, match="no longer there"):
    pack(TEXT)


# Made by `compress,smoke` of TEXT, with and without `--config.words=0`.
PLAIN, WORDS = "compression_v1.seq", "compression_v1_words.seq"


@pytest.mark.parametrize(
  ("name", "environment"),
  [
    (PLAIN, {"NPROC": "1"}),  # XLA's threads
    pytest.param(WORDS, {"NPROC": "5"}, marks=pytest.mark.slow),
    pytest.param(
      PLAIN,
      {"XLA_FLAGS": "--xla_cpu_max_isa=SSE4_2"},
      marks=pytest.mark.slow,
    ),
  ],
  ids=str,
)
def test_a_file_made_elsewhere_decodes(
  tmp_path, monkeypatch, command, name, environment
):
  golden = PROJECT / "tests" / "golden" / name
  header = read_header(golden)
  assert header.sha256 == hashlib.sha256(TEXT).hexdigest()
  assert bool(header.respelled) == (name == WORDS)
  for key, value in {
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "0",
    "XLA_FLAGS": "",
    **environment,
  }.items():
    monkeypatch.setenv(key, value)
  process = command(
    f"--config={PROJECT}/configs/compression.py:decompress",
    f"--config.input={golden}",
    f"--config.output={tmp_path / 'out'}",
    # The fingerprint names the other instruction set.
    f"--config.force={'XLA_FLAGS' in environment}",
    f"--workdir={tmp_path / 'run'}",
  )
  _, err = process.communicate(timeout=1700)
  here = container.current()
  releases = ("model", "jax", "jaxlib", "flax", "optax", "constriction")
  if platform.machine() == "x86_64" and all(
    header.fingerprint[fact] == here[fact] for fact in releases
  ):
    assert process.returncode == 0, err
    assert (tmp_path / "out").read_bytes() == TEXT
  else:
    assert process.returncode == 2
    assert not (tmp_path / "out").exists()


def test_both_directions_are_portable_or_neither(pack, unpack):
  packed = pack(TEXT, portable=False)
  assert not container.is_portable(read_header(packed).fingerprint)
  with pytest.raises(errors.UserError, match=r"give --config\.portable=False"):
    unpack(packed, "portable")
  assert unpack(packed, "native", portable=False) == TEXT
