"""Fixtures of all tests: strict JAX on the CPU, real data, small corpora."""

import atexit
import os
import pathlib
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
from collections.abc import Callable

# A job in the background of a shell is started with Ctrl-C ignored, and so
# would be the tests' own processes, which are sent it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
  signal.signal(signal.SIGINT, signal.default_int_handler)
# The same of nohup and SIGHUP.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
  signal.signal(signal.SIGHUP, signal.SIG_DFL)

# Before JAX is imported: no test needs an accelerator.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Many tests, and the processes they start, compile the same small programs.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
  programs = tempfile.mkdtemp(prefix="seqmodels-programs-")
  atexit.register(shutil.rmtree, programs, ignore_errors=True)
  os.environ["JAX_COMPILATION_CACHE_DIR"] = programs
  os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.1"
# They are small, too: optimising them takes longer than it saves. Without it
# and with XLA's plain code generators a program compiles in a fifth of the
# time. Tests of exact figures ask for `optimized` or start a process of their
# own; with 0 and "" here, all run what users do.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault(
  "XLA_FLAGS",
  "--xla_cpu_use_fusion_emitters=false"
  " --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest

PROJECT = pathlib.Path(__file__).resolve().parent.parent

# A [B] silently added to a [T, B, B] is a bug; whoever means it reshapes.
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True, scope="module")
def forget_programs():
  """Frees the compiled programs of each module's tests.

  Every program holds memory maps, and a process may have only so many.
  """
  yield
  jax.clear_caches()


@pytest.fixture
def optimized():
  """Programs are compiled as users' are, to the last bit."""
  name = "jax_disable_most_optimizations"
  former = jax.config.values[name]
  jax.config.update(name, False)
  jax.clear_caches()
  yield
  jax.config.update(name, former)
  jax.clear_caches()


@pytest.fixture(scope="session")
def real_data() -> pathlib.Path:
  """The folder of real data sets; tests that need it skip where it is not."""
  named = os.environ.get("SEQMODELS_DATA")
  folder = pathlib.Path(named) if named else PROJECT.parent / "shared" / "data"
  if not folder.is_dir():
    pytest.skip(f"no real data in {folder}; set SEQMODELS_DATA to its folder")
  return folder


@pytest.fixture(scope="session")
def tiny_corpus() -> str:
  """About 6,000 characters of sentences, one a line, 27 symbols and newline.

  Regular enough for a small network to learn within a few dozen steps.
  """
  subjects = ("the cat", "a dog", "one old fox", "my quick bird", "his zebra")
  verbs = ("sees", "hears", "follows", "just watches")
  objects = ("the moon", "a paved way", "six extra boxes", "her queen", "it")
  lines = [
    f"{subject} {verb} {thing}"
    for verb in verbs
    for thing in objects
    for subject in subjects
  ]
  return "\n".join(lines * 2) + "\n"


@pytest.fixture(scope="session")
def simulated_devices() -> Callable[..., str]:
  """Runs code in a process of its own with several simulated CPU devices.

  JAX fixes the number of devices when it starts, so this one process keeps
  its single device, and the few tests that want more call

      simulated_devices(8, "import jax; print(jax.device_count())")

  which returns what the code printed.
  """

  def run(count: int, code: str, *arguments: str, timeout: float = 1700) -> str:
    done = subprocess.run(
      [sys.executable, "-c", code, *arguments],
      env={
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": (
          f"{os.environ['XLA_FLAGS']}"
          f" --xla_force_host_platform_device_count={count}"
        ),
        "PYTHONPATH": os.pathsep.join(
          [str(PROJECT), os.environ.get("PYTHONPATH", "")]
        ),
      },
      capture_output=True,
      text=True,
      timeout=timeout,
      check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout

  return run


@pytest.fixture
def drawn(monkeypatch):
  """The axes of every figure, as they stood when it was written."""
  from matplotlib import figure as figures

  kept = []
  save = figures.Figure.savefig

  def keep(self, *arguments, **options):
    kept.append(self.axes)
    return save(self, *arguments, **options)

  monkeypatch.setattr(figures.Figure, "savefig", keep)
  return kept


@pytest.fixture
def png_size():
  """Width and height by the file's own header."""

  def read(path):
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert 5_000 < len(data) < 300_000
    return struct.unpack(">II", data[16:24])

  return read


@pytest.fixture
def lines():
  """The points of every line of a pair of axes, by label."""

  def read(axes):
    return {line.get_label(): line.get_xydata() for line in axes.get_lines()}

  return read
