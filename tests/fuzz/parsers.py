"""Every parser of outside bytes: what it is given, and how it is called."""

import contextlib
import hashlib
import json
import pathlib
import types
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from absl import flags
from hypothesis import strategies as st

import experiments
from configs import checks
from experiments import cli, export, restore, stages
from experiments.benchmark import run as benchmark
from experiments.language_model import task
from experiments.report import run as report_experiment
from experiments.report import runs
from experiments.studies.perplexity import study
from seqmodels import errors, portable, trained, trained_handwriting
from seqmodels.compression import container, dictionary, range_coder
from seqmodels.data import files
from seqmodels.data.handwriting import iam_ondb, strokes
from seqmodels.data.text import corpora, vocabulary
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import checkpoint_integrity, checkpoints, run_folder
from seqmodels.io import metrics as metrics_lib
from tests.fuzz import damage, valid_files

World = pathlib.Path
Strategy = st.SearchStrategy[Any]


class Row(NamedTuple):
  """One parser.

  Attributes:
    inputs: world -> what it is given.
    begin: writes an input into the world: (world, input) -> the call to watch.
    valid: world -> an input that is not to be refused.
  """

  inputs: Callable[[World], Strategy]
  begin: Callable[[World, Any], Callable[[], Any]]
  valid: Callable[[World], Any]


def of_files(
  pattern: str,
  call: Callable[[World], Any],
  *,
  change: Callable[[list[bytes]], Strategy] = damage.damaged,
  part: Callable[[bytes], bytes] = lambda data: data,
  seal: Callable[[bytes, bytes], bytes] = lambda data, whole: data,
  place: str = "",
) -> Row:
  """A parser of files.

  Args:
    pattern: of the valid files, one of which is damaged.
    call: reads the world after the damage.
    change: seeds -> what becomes of them.
    part: of a file, what is damaged.
    seal: (what was damaged, the whole file before) -> what is written.
    place: what is written over, if it is not the file itself.
  """

  def whole(world: World) -> dict[pathlib.Path, bytes]:
    paths = [path for path in sorted(world.glob(pattern)) if path.is_file()]
    return {path: path.read_bytes() for path in paths}

  def inputs(world: World) -> Strategy:
    return st.one_of(
      [
        change([part(file)]).map(
          lambda data, path=path, file=file: (path, seal(data, file))
        )
        for path, file in whole(world).items()
      ]
    )

  def valid(world: World) -> tuple[pathlib.Path, bytes]:
    path, file = next(iter(whole(world).items()))
    return path, seal(part(file), file)

  def begin(world: World, given: tuple[pathlib.Path, bytes]) -> Any:
    path, data = given
    (world / place if place else path).write_bytes(data)
    return lambda: call(world)

  return Row(inputs, begin, valid)


def of_json(pattern: str, call: Callable[[World], Any]) -> Row:
  """Damaged as bytes, or in its members."""
  return of_files(
    pattern,
    call,
    change=lambda seeds: damage.damaged(seeds) | damage.rewritten(seeds),
  )


def of_bytes(name: str, call: Callable[[bytes], Any]) -> Row:
  """A parser that is given the bytes."""
  return of_files(name, lambda world: call((world / name).read_bytes()))


def tokens(tokenizer: str) -> Callable[[World], Any]:
  return lambda world: tokens_lib.load_tokens(
    source="text",
    tokenizer=tokenizer,
    partition="fractions",
    fractions=(0.8, 0.1, 0.1),
    path=world / "text.txt",
  )


def unzip(world: World) -> None:
  data = valid_files.TEXT.encode()
  digest = hashlib.sha256(data).hexdigest()
  known = files.Published("enwik8", "enwik8", "URL", len(data), digest)
  for _ in corpora.unzipped(world / "enwik8.zip", known):
    pass


def database(world: World) -> None:
  iam_ondb.parse(
    world / "strokes.tar.gz", world / "texts.tar.gz", valid_files.FORMS
  )


def cached(world: World) -> None:
  try:
    iam_ondb.load(world / "lines.cache", "key")
  except iam_ondb.Stale as error:  # then it is made again, and this is said
    raise errors.UserError(str(error)) from error


def decompress(world: World) -> None:
  path = world / "file.seq"
  with open(path, "rb") as file:
    header = container.read_header(file)
    block = header.settings.block
    for number in range(min(header.blocks, path.stat().st_size)):
      size = min(block, header.held - number * block)
      frame = container.read_block(file, number, size)
      data = frame.payload
      if not frame.stored:
        decoder = range_coder.Decoder(data)
        actual = decoder.decode(valid_files.evenly(size))
        data = actual.astype(np.uint8).tobytes()
      frame.require(data)
    container.require_end(file)


def respelled(world: World) -> None:
  with open(world / "spelled", "rb") as file:
    for _ in dictionary.restore(file):
      pass


def weights(world: World) -> None:
  config = valid_files.settings(valid_files.TEXT_PAGE)
  symbols = vocabulary.Vocabulary.build(valid_files.TEXT)
  network = task.build_predictor(config, symbols.size)
  target = jax.eval_shape(network.init, jax.random.key(0))
  checkpoints.read_meta(world / "run")
  checkpoints.restore_params(world / "run", target)


def vouched(world: World, given: tuple[pathlib.Path, bytes]) -> Any:
  """Weights whose record vouches for the files as they are now."""
  path, data = given
  path.write_bytes(data)
  record = world / BEST / checkpoint_integrity.NAME
  document = json.loads(record.read_bytes())
  document["files"] = checkpoints._files(world / BEST)
  record.write_bytes(damage.seal_record(json.dumps(document).encode()))
  return lambda: weights(world)


def model_files(world: World) -> None:
  """Both, as an export reads them again and as its card tells of them."""
  for name in ("run", "pen"):
    path = world / f"{name}.safetensors"
    trained.load(path)
    restore.settings(trained.read(path))
    export.card_page(portable.read(path), path, {"nats": 1.0, "count": 1})


def symbols(world: World) -> None:
  actual = vocabulary.Vocabulary.load(world / "run" / task.VOCABULARY)
  actual.decode(actual.encode(actual.symbols))


def pen(world: World) -> None:
  actual = trained_handwriting.read_pen(world / "pen")
  actual.alphabet.decode(actual.alphabet.encode(actual.alphabet.accepted[:99]))
  actual.scaling.restore(np.ones((2, 3), np.float32))
  assert actual.hash


def finished(world: World) -> None:
  """A finished run, asked for its table."""
  config = valid_files.settings(valid_files.TEXT_PAGE)
  experiments.run(config, world / "run", world)


def resumed(world: World) -> None:
  """A run that was stopped, begun again."""
  config = valid_files.settings(valid_files.TEXT_PAGE)
  with run_folder.start(world / "stopped", config=config.to_dict()):
    pass


def metrics(world: World) -> None:
  metrics_lib.MetricWriter(world / "run", step=2, tensorboard=False).close()


def evaluated(world: World) -> None:
  standing = valid_files.standing(world / "run")
  assert isinstance(stages.phase(standing, "static test", dict), dict)


def same_files(world: World) -> None:
  restore.require_same_files(world / "run", {"files": valid_files.DATA})


def told(world: World) -> None:
  """The page of a report, which names the folders that cannot be read."""
  listed = f"{world / 'run'}, {world / 'pen'}"
  actual = runs.gather(listed, own=world / "report")
  report_experiment.fill(actual, world / "report").text()
  for run in actual.runs:
    run.learning()
  if actual.skipped:
    raise errors.UserError("; ".join(actual.skipped.values()))


def prefix(world: World) -> None:
  study.read_given(
    types.SimpleNamespace(continuations_file=str(world / "prefix.txt"))
  )


ODD_TEXTS = (
  "", " ", "=", ",", "(", "[" * 900, "(" * 9_000, "1,", "1,,2", "-", "--",
  "1e999", "nan", "9" * 5_000, "0x1F", "True", "None", "'", '"', "a\0b",
  "\udcff", "~nobody/x", "x" * 5_000, "../..", "\x1b[31m", "1_0", "1.5", "-1",
  "{}", "*",
)  # fmt: skip
PAGES = sorted(
  f"configs/{path.name}"
  for path in (cli.PROJECT / "configs").glob("*.py")
  if path.stem not in ("__init__", "checks", "common")
)
VARIANTS = (
  "plain", "smoke", "paper", "weight_noise", "adaptive_weight_noise",
  "graves", "standard", "quickstart", "compress", "decompress", "fast", "max",
  "network", "zipf", "bptt", "exercises", "decoding",
)  # fmt: skip


def overrides(world: World) -> Strategy:
  """A page, some settings of which are given what they may not be."""
  odd = st.sampled_from(ODD_TEXTS)

  def of_page(page: str) -> Strategy:
    # That page has no settings without the name of a study.
    page = page.replace("fundamentals.py", "fundamentals.py:zipf")
    config = cli.load(page).config
    setting = st.builds(
      "--{}config.{}{}={}".format,
      st.sampled_from(["", "", "", "no"]),
      st.sampled_from([name for name, _ in checks.flatten(config)]),
      st.sampled_from(["", "", "", ".x", ".", "é"]),
      odd | st.text(max_size=6),
    )
    other = st.builds(
      "--{}={}".format,
      st.sampled_from(["workdir", "data_dir", "distributed", "seed"]),
      odd,
    )
    rest = st.lists(setting | other | odd, min_size=1, max_size=4)
    return rest.map(lambda given: [f"--config={page}", *given])

  return st.sampled_from(PAGES).flatmap(of_page)


def variants(world: World) -> Strategy:
  """A page with variants that it may not have, or not together."""
  odd = st.sampled_from(ODD_TEXTS)
  part = st.sampled_from(VARIANTS) | odd | st.text(max_size=6)
  return st.builds(
    lambda page, parts: [f"--config={page}:{','.join(parts)}"],
    st.sampled_from(PAGES) | odd,
    st.lists(part, max_size=4),
  )


def parsed(world: World, given: list[str]) -> Callable[[], Any]:
  def parse() -> None:
    with contextlib.suppress(SystemExit):  # of --help
      request = cli.parse(["main.py", *given], flags.FlagValues())
      # As a run does when it begins.
      checks.validate(request.config)

  return parse


BEST = f"run/checkpoints/best/{valid_files.STEP}"
ROWS: dict[str, Row] = {
  "text as characters": of_files("text.txt", tokens("characters")),
  "text as words": of_files("text.txt", tokens("words")),
  "text as bytes": of_files("text.txt", tokens("bytes")),
  "zip archive": of_files("enwik8.zip", unzip),
  "tar archives": of_files("*.tar.gz", database),
  "tar of ink, resealed": of_files(
    "strokes.tar", database, seal=damage.seal_tar, place="strokes.tar.gz"
  ),
  "tar of transcripts, resealed": of_files(
    "texts.tar", database, seal=damage.seal_tar, place="texts.tar.gz"
  ),
  "XML of a line": of_bytes(
    "line.xml", lambda data: strokes.offsets(iam_ondb.read_strokes(data))
  ),
  "transcript": of_bytes("form.txt", iam_ondb.lines_of),
  "split list": of_files(
    "list.txt", lambda world: iam_ondb.forms_of(world / "list.txt")
  ),
  "cache of lines": of_files("lines.cache", cached),
  "cache of lines, resealed": of_files(
    "lines.cache", cached, seal=damage.seal_cache
  ),
  "compressed file": of_files("file.seq", decompress),
  "its header, resealed": of_files(
    "file.seq",
    decompress,
    change=lambda seeds: damage.damaged(seeds) | damage.rewritten(seeds),
    part=damage.header_text,
    seal=damage.seal_header,
  ),
  "its blocks, resealed": of_files(
    "file.seq", decompress, part=damage.last_block, seal=damage.seal_block
  ),
  "dictionary of words": of_files("spelled", respelled),
  "checkpoint": of_files(f"{BEST}/**/*", weights),
  "its record, resealed": of_files(
    f"{BEST}/{checkpoint_integrity.NAME}",
    weights,
    change=damage.rewritten,
    seal=damage.seal_record,
  ),
  "its arrays, resealed": of_files(f"{BEST}/**/[!c]*", weights)._replace(
    begin=vouched
  ),
  "vocabulary.json": of_json("run/vocabulary.json", symbols),
  "pen.json": of_json("pen/pen.json", pen),
  "config.json of a text run": of_json(
    "run/config.json", lambda world: restore.reload(str(world / "run"))
  ),
  "config.json of a pen run": of_json(
    "pen/config.json",
    lambda world: restore.reload(str(world / "pen"), "handwriting"),
  ),
  "model file": of_files("*.safetensors", model_files),
  "its metadata": of_files(
    "*.safetensors",
    model_files,
    change=lambda seeds: damage.damaged(seeds) | damage.rewritten(seeds),
    part=damage.model_metadata,
    seal=damage.seal_model,
  ),
  "its card": of_files(
    "*.safetensors",
    model_files,
    change=damage.rewritten,
    part=lambda data: damage.model_metadata(data, "card"),
    seal=lambda text, whole: damage.seal_model(text, whole, "card"),
  ),
  "its settings": of_files(
    "*.safetensors",
    model_files,
    change=damage.rewritten,
    part=lambda data: damage.model_metadata(data, "settings"),
    seal=lambda text, whole: damage.seal_model(text, whole, "settings"),
  ),
  "results.json": of_json("run/results.json", finished),
  "run.json": of_json("stopped/run.json", resumed),
  "data.json": of_json("run/data.json", same_files),
  "metrics.jsonl": of_files("run/metrics.jsonl", metrics),
  "evaluations.json": of_json("run/evaluations.json", evaluated),
  "benchmark.json": of_json(
    "benchmark.json",
    lambda world: benchmark.Measurements(world / "benchmark.json").get(
      "one", dict
    ),
  ),
  "folders of a report": of_json("[rp][ue]n/*[gsn].json", told),
  "file of continuations": of_files("prefix.txt", prefix),
  "overrides": Row(overrides, parsed, lambda world: ["--config.seed=1"]),
  "variants": Row(variants, parsed, lambda world: ["--config=configs/text.py"]),
}
