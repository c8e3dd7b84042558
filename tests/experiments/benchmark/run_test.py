"""The benchmark as a run: equivalence first, rows, the report, resuming."""

import json

import pytest

import experiments
from configs import benchmark as page
from experiments.benchmark import (
  case,
  layer_cases,
  model_cases,
  peers_jax,
  peers_torch,
  run,
)
from seqmodels import errors
from seqmodels.io import files, run_folder

FLAX, TORCH = case.PEERS["flax"], case.PEERS["torch"]


# Libraries that compute something else are not timed.


@pytest.mark.parametrize(
  "part", ["outputs", pytest.param("d_xs", marks=pytest.mark.slow)]
)
def test_a_peer_that_computes_something_else_is_not_timed(part, monkeypatch):
  build = peers_jax.flax_layers

  def wrong(task, **options):
    layers = build(task, **options)
    answer = layers.answer()
    answer = answer._replace(**{part: 1.001 * getattr(answer, part)})
    return layers._replace(answer=lambda: answer)

  monkeypatch.setitem(layer_cases.JAX_LAYERS, "flax", wrong)
  with pytest.raises(errors.RunError, match=r"lies 0\.001 from ours"):
    run.check_equivalence(case.Settings(0, ("float32",), ("flax",)))


def test_a_sampler_that_reads_otherwise_is_not_timed(monkeypatch):
  build = peers_jax.flax_sampler

  def wrong(*given, **options):
    sampler = build(*given, **options)
    return sampler._replace(logits=lambda ids: 1.01 * sampler.logits(ids))

  monkeypatch.setattr(peers_jax, "flax_sampler", wrong)
  with pytest.raises(errors.RunError, match=r"sampling, .*lies 0\.0"):
    run.check_equivalence(
      case.Settings(0, ("float32",), ("flax",)), ("sampling",)
    )


# The whole experiment.


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
  """The smoke variant, run to its end; PyTorch and cuDNN where they are.

  Without what only costs time to compile: more layers in JAX, compared
  above, and the trainings of words and ink, built below.
  """
  workdir = tmp_path_factory.mktemp("smoke") / "run"
  results = experiments.run(smoke_config(), workdir, workdir)
  return workdir, results["rows"]


def smoke_config():
  config = page.get_config("smoke")
  config.peers = ("flax", "torch", "cudnn")
  config.contests = tuple(
    kind for kind in run.KINDS if kind not in ("words", "ink")
  )
  return config


def at_work(work, here):
  """The peers that ours must be compared with."""
  cell = {peers_jax.FLAX_SAMPLER, *(here - {FLAX})}
  return {"dynamic": here - {FLAX}, "sampling": cell}.get(work, here)


def test_the_smoke_variant_has_a_row_for_everyone(smoke):
  _, rows = smoke
  speeds = [row for row in rows if row["metric"] == "tokens_per_second"]
  ratios = [row for row in rows if row["metric"] == "speed_ratio"]
  others = [row for row in rows if row not in (*speeds, *ratios)]
  assert {row["metric"] for row in others} == {
    *("bytes_per_second", "operations_per_second", "share_of_products")
  }
  assert len({row["name"] for row in rows}) == len(rows)
  assert all(row["value"] > 0 and row["count"] > 0 for row in rows)
  here = {FLAX} if peers_torch.missing() else {FLAX, TORCH}
  for works, precisions in (
    (
      ("forward", "forward+backward", "training", "sampling"),
      ("float32", "bfloat16"),
    ),
    (("dynamic",), ("float32",)),
  ):
    for work in works:
      for precision in precisions:
        of = [
          row["name"]
          for row in speeds
          if row["evaluation"] == work and precision in row["name"]
        ]
        able = at_work(work, here)
        # PyTorch trains under autocast, which not every processor has.
        if (work, precision) == ("training", "bfloat16"):
          autocast = TORCH in here and "autocast" in peers_torch.modes(
            precision
          )
          able = able if autocast else able - {TORCH}
        for who in able:
          assert any(who in name for name in of), (work, precision, who)
          assert any(
            f"ours, {precision} over {who}" in row["name"]
            for row in ratios
            if row["evaluation"] == work
          ), (work, precision, who)
        assert any(f"ours, peepholes, {precision}" in name for name in of)
  chunks = [
    row["name"]
    for row in ratios
    if "chunks of 2" in row["name"] and case.PRODUCTS not in row["name"]
  ]
  assert len(chunks) == 1
  assert chunks[0].endswith(f"ours, chunks of 2, float32 over {FLAX}")


def test_the_page_shows_ratios_spread_memory_and_equivalence(smoke):
  workdir, _ = smoke
  text = (workdir / "report.md").read_text()
  for heading in (
    *("## Run", "## Ratios", "## Matrix products", "## Growth"),
    *("## Times and memory", "## Equivalence"),
  ):
    assert heading in text
  assert "| LSTM layer, T 4, B 2, H 6 | forward+backward |" in text
  assert "left out: jax.experimental.rnn (cuDNN): cuDNN needs a GPU" in text
  assert "XLA, MB" in text
  assert "of large products" in text
  assert "| [16, 16] by [16, 16] |" in text
  assert "| T | B | H | layers | ours, ms |" in text
  assert "| bytes/s |" in text
  for figure in ("speed", "scaling"):
    path = workdir / "figures" / f"{figure}.png"
    assert path.read_bytes()[:4] == b"\x89PNG"


def test_the_smoke_variant_has_rows_of_every_kind(smoke):
  _, rows = smoke
  speeds = {}
  for row in rows:
    if row["metric"].endswith("_per_second"):
      speeds.setdefault((row["evaluation"], row["unit"]), []).append(row)
  assert {unit for work, unit in speeds if work == "product"} == {"FLOP/s"}
  for way in ("compress", "decompress"):
    names = [row["name"] for row in speeds[way, "bytes/s"]]
    assert sum("ours, smoke: layer-norm-lstm of 8" in one for one in names) == 1
    others = sum(model_cases.FOR_SCALE in name for name in names)
    assert (others >= 3) == (way == "compress")
  stacks = {
    row["name"].partition(":")[0]
    for row in speeds["forward+backward", "tokens/s"]
    if row["name"].startswith("stack")
  }
  assert stacks == {
    f"stack of LSTM layers, T 3, B 2, H {features}, {layers} layers, "
    "forward+backward"
    for features, layers in ((4, 1), (8, 1), (4, 2))
  }
  shares = [row for row in rows if row["name"].endswith("large products")]
  layers = len(speeds["forward", "tokens/s"])
  layers += len(speeds["forward+backward", "tokens/s"])
  assert len(shares) == layers > 0


@pytest.fixture
def measured(monkeypatch, entry, record):
  """The work of the cases that were measured, which is not done."""
  works = []

  def measure(one, *, check, **options):
    del options
    check()
    works.append(one.work)
    return record(
      *(entry(each.library, [1.0]) for each in one.entries),
      title=one.title, label=one.label, work=one.work, unit=one.unit,
    )  # fmt: skip

  monkeypatch.setattr(case, "measure", measure)
  return works


@pytest.fixture
def equivalent(monkeypatch):
  """No library is compared."""
  monkeypatch.setattr(run, "check_equivalence", lambda *given: [])


def test_kinds_of_cases_are_chosen_by_name(tmp_path, measured, small):
  config = small(contests=("scaling", "products"), peers=())
  run.run(config, tmp_path, tmp_path)
  assert measured == ["product"] * 2 + ["forward+backward"] * 3
  known = files.read_sealed(tmp_path / "benchmark.json")
  assert [name for name, *_ in known["equivalence"]["differences"]] == [
    "stack, ours, float32"
  ]
  known["equivalence"]["versions"]["jax"] = "0.0"
  files.write_sealed(tmp_path / "benchmark.json", known)
  with pytest.raises(errors.UserError, match="other versions of its libraries"):
    run.run(config, tmp_path, tmp_path)


def test_what_was_measured_is_not_measured_again(smoke, monkeypatch):
  workdir, rows = smoke
  monkeypatch.setattr(case, "measure", lambda *_, **__: pytest.fail("again"))
  assert run.run(smoke_config(), workdir, workdir) == rows


def test_a_stopped_benchmark_resumes_with_the_next_case(
  tmp_path, monkeypatch, measured, equivalent, small
):
  stop = True
  checks = run.distributed.Interruption.check

  def check(self):
    if stop and measured == ["forward"]:
      raise errors.Interrupted(15)
    checks(self)

  monkeypatch.setattr(run.distributed.Interruption, "check", check)
  config = small()
  with pytest.raises(errors.Interrupted):
    run.run(config, tmp_path, tmp_path)
  assert measured == ["forward"]
  stop = False
  rows = run.run(config, tmp_path, tmp_path)
  assert measured == ["forward", "forward+backward", *["training"] * 3]
  works = [r["evaluation"] for r in rows if r["metric"] != "speed_ratio"]
  assert list(dict.fromkeys(works)) == list(dict.fromkeys(measured))
  known = files.read_sealed(tmp_path / "benchmark.json")
  assert known.keys() == {
    "equivalence",
    "layer 4x2x6 forward",
    "layer 4x2x6 forward+backward",
    *("training", "training words", "training ink"),
  }


def test_without_torch_its_rows_are_missing_and_the_report_says_so(
  tmp_path, monkeypatch, capsys, measured, equivalent, small
):
  def module():
    raise ImportError("No module named 'torch'")

  monkeypatch.setattr(peers_torch, "module", module)
  rows = run.run(small(peers=("flax", "torch")), tmp_path, tmp_path)
  assert any(FLAX in row["name"] for row in rows)
  assert not any(TORCH in row["name"] for row in rows)
  line = "left out: torch.nn.LSTM: no PyTorch (No module named 'torch')"
  assert line in (tmp_path / "report.md").read_text()
  assert line in capsys.readouterr().err


def test_another_version_of_a_chosen_peer_is_refused(
  tmp_path, monkeypatch, measured, equivalent, small
):
  monkeypatch.setitem(run.VERSIONS, "flax", lambda: "1")
  run.run(small(), tmp_path, tmp_path)
  monkeypatch.setitem(run.VERSIONS, "flax", lambda: "2")
  with pytest.raises(errors.UserError, match="other versions of its libraries"):
    run.run(small(), tmp_path, tmp_path)


@pytest.mark.parametrize("known", [{"agreement": {}}, {"equivalence": []}])
def test_measurements_of_an_earlier_release_are_refused(tmp_path, small, known):
  (tmp_path / "benchmark.json").write_text(json.dumps(known))
  with pytest.raises(errors.UserError, match=r"json is of an earlier release"):
    run.run(small(), tmp_path, tmp_path)


def test_other_peers_at_hand_on_resuming_are_refused(
  tmp_path, equivalent, small
):
  known = {
    "absent": ["x: gone"],
    "versions": run_folder.facts()["versions"],
    "differences": [],
  }
  (tmp_path / "benchmark.json").write_text(json.dumps({"equivalence": known}))
  with pytest.raises(errors.UserError, match="begun with other peers"):
    run.run(small(), tmp_path, tmp_path)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"repeats": 0}, "config.repeats is 0"),
    ({"peers": ("tensorflow",)}, "config.peers is"),
    ({"precisions": ("float16",)}, "config.precisions is"),
    ({"layer": {"shapes": ("100x8",)}}, "config.layer.shapes is ('100x8',)"),
    ({"layer": {"shapes": ("1x0x2",)}}, "config.layer.shapes is ('1x0x2',)"),
    ({"storage": {"chunk": 0}}, "config.storage.chunk is 0"),
    ({"contests": ("race",)}, "config.contests is"),
    ({"scaling": {"base": "1x2x3"}}, "config.scaling.base is '1x2x3'"),
    ({"scaling": {"repeats": 0}}, "config.scaling.repeats is 0"),
    ({"compression": {"presets": ("zip",)}}, "config.compression.presets is"),
    ({"sampling": {"symbols": 0}}, "config.sampling.symbols is 0"),
  ],
)
def test_bad_settings_are_one_sentence(tmp_path, changes, words, small):
  workdir = tmp_path / "run"
  with pytest.raises(errors.UserError) as caught:
    experiments.run(small(**changes), workdir, tmp_path)
  assert words in str(caught.value)
  assert not workdir.exists()


def test_the_default_measures_the_published_shapes():
  config = page.get_config()
  shapes = [layer_cases.shape(text)[:3] for text in config.layer.shapes]
  assert shapes == [
    (100, 1, 1000), (100, 8, 700), (100, 32, 1000), (100, 64, 650)
  ]  # fmt: skip
  shared = case.Settings(0, config.precisions, ())
  keys = dict(run.plan(config, shared))
  assert len(keys) == 1 + 4 + 15 + 2 + 2 + 17
  # A benchmark that was stopped earlier has its measurements under these.
  assert keys.keys() >= {
    "layer 100x1x1000 forward",
    "layer 100x64x650 forward+backward",
    "storage 200x8x700",
    *("training", "training words", "training ink", "dynamic 100"),
  }
  assert config.repeats >= 10
