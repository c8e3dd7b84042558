"""The benchmark: peers that compute the same, fair turns, rows, resuming."""

import json
import sys
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import experiments
from configs import benchmark as page
from experiments import (
  agreement,
  benchmark,
  codec_contest,
  contest,
  contests,
  cudnn_peer,
  flax_peer,
  layer_contests,
  layer_work,
  nnx_peer,
  pen_contest,
  product_contests,
  resident_memory,
  samplers,
  scaling,
  scan_peer,
  stack_work,
  text_contests,
  text_work,
  timing,
  torch_peer,
)
from seqmodels import errors
from seqmodels.cells import lstm, unroll
from seqmodels.io import json_file, provenance

FLAX = flax_peer.NAME
TORCH = torch_peer.NAME
torch_wanted = pytest.mark.skipif(
  bool(torch_peer.missing()), reason=torch_peer.missing() or "torch is here"
)


@pytest.fixture(scope="module")
def given():
  return layer_work.task(5, 3, 4, seed=7)


@pytest.fixture(scope="module")
def expected(given):
  """The plain scan over the cell's step, and JAX's own derivatives."""

  def run(params, xs):
    return unroll.unroll(lstm.step, params, lstm.initial_carry((3,), 4), xs)[1]

  outputs, pull = jax.vjp(run, given.params, given.xs)
  return layer_work.Answer(outputs, *pull(given.cotangent))


def small(**changes):
  """The smoke page with less to compile."""
  config = page.get_config("smoke")
  config.precisions = ("float32",)
  config.peers = ("flax",)
  config.storage.shapes = ()
  config.dynamic.segments = ()
  config.sampling.batches = ()
  config.contests = ("layer", "training", "words", "ink")
  config.update(changes)
  return config


# Peers compute what ours computes.


def assert_same(found, expected, tolerance):
  for name, one, other in zip(
    (
      "outputs",
      *(f"d_{leaf}" for leaf in ("kernel", "recurrent", "bias")),
      "d_xs",
    ),
    jax.tree.leaves(found),
    jax.tree.leaves(expected),
    strict=True,
  ):
    assert np.shape(one) == np.shape(other), name
    assert agreement.distance(one, other) <= tolerance, name


@pytest.mark.parametrize(
  ("make", "tolerance"),
  [
    (layer_work.ours, 1e-6),
    (lambda task: layer_work.ours(task, dtype=jnp.bfloat16), 2e-2),
    (lambda task: layer_work.ours(task, chunk=2), 1e-6),
    (flax_peer.layer, 1e-6),
    (lambda task: flax_peer.layer(task, dtype=jnp.bfloat16), 2e-2),
    (lambda task: flax_peer.layer(task, chunk=2), 1e-6),
    (nnx_peer.layer, 1e-6),
    (lambda task: nnx_peer.layer(task, dtype=jnp.bfloat16), 2e-2),
    (scan_peer.layer, 1e-6),
    (lambda task: scan_peer.layer(task, dtype=jnp.bfloat16), 2e-2),
  ],
  ids=[
    *("ours", "bfloat16", "chunks", "flax", "flax-bfloat16", "flax-chunks"),
    *("nnx", "nnx-bfloat16", "scan", "scan-bfloat16"),
  ],
)
def test_a_layer_gives_the_outputs_and_gradients_of_a_plain_scan(
  make, tolerance, given, expected
):
  made = make(given)
  assert_same(made.answer(), expected, tolerance)
  forward = np.asarray(made.forward(), np.float32)
  assert agreement.distance(forward, expected.outputs) <= tolerance
  assert made.temporary() > 0


@torch_wanted
@pytest.mark.parametrize(
  ("mode", "tolerance"), [("", 1e-6), ("autocast", 2e-2), ("cast", 2e-2)]
)
def test_torch_gives_the_outputs_and_gradients_of_a_plain_scan(
  mode, tolerance, given, expected
):
  made = torch_peer.layer(given, mode=mode)
  assert_same(made.answer(), expected, tolerance)
  outputs = made.forward()
  assert not outputs.requires_grad
  assert str(outputs.dtype) == ("torch.bfloat16" if mode else "torch.float32")
  forward = outputs.float().numpy()
  assert agreement.distance(forward, expected.outputs) <= tolerance
  assert_same(made.answer(), expected, tolerance)


@pytest.mark.parametrize(
  "make",
  [
    stack_work.ours,
    stack_work.flax,
    pytest.param(lambda task: torch_peer.stack(task), marks=torch_wanted),
  ],
  ids=["ours", "flax", "torch"],
)
def test_a_stack_gives_the_outputs_and_gradients_of_plain_scans(make):
  given = stack_work.task(3, 2, 4, 2, seed=3)

  def run(params, xs):
    for layer in params:
      xs = unroll.unroll(lstm.step, layer, lstm.initial_carry((2,), 4), xs)[1]
    return xs

  outputs, pull = jax.vjp(run, given.params, given.xs)
  expected = jax.tree.leaves((outputs, *pull(given.cotangent)))
  made = make(given)
  found = jax.tree.leaves(made.answer())
  for one, other in zip(found, expected, strict=True):
    assert one.shape == other.shape
    assert agreement.distance(one, other) <= 1e-6
  assert make is not stack_work.ours or made.temporary() > 0


@pytest.fixture(scope="module")
def drawn():
  """Samplers of a network whose next symbols are far from equally likely."""
  given = samplers.Task(length=2, batch=2_000, seed=5)
  network = text_work.predictor(3, 4, peepholes=False)
  params = jax.tree.map(lambda leaf: 3 * leaf, network.init(jax.random.key(1)))
  params["head"]["bias"] = jnp.array([1.5, 0.0, -1.0])
  makers = {
    "ours": lambda: samplers.ours(network, params, given),
    "flax": lambda: samplers.flax(params, given),
    **{
      cell: lambda cell=cell: samplers.torch(
        params, given, cell=cell, cast=False
      )
      for cell in samplers.TORCH_CELLS
    },
  }
  return network, params, makers


@pytest.mark.parametrize(
  "who",
  ["ours", "flax"]
  + [pytest.param(cell, marks=torch_wanted) for cell in samplers.TORCH_CELLS],
)
def test_a_sampler_draws_from_the_model_as_it_is(who, drawn):
  """First and second symbols come as often as they are likely."""
  network, params, makers = drawn
  sampler = makers[who]()
  ids = sampler.run()
  assert ids.shape == (2, 2_000)
  null = np.full(2_000, samplers.NULL, np.int32)
  read = np.stack([null, ids[0]])
  expected = network.apply(
    params, network.initial_carry(2_000), read, np.zeros(read.shape, bool)
  )[1]
  logits = sampler.logits(read)
  np.testing.assert_allclose(logits, expected, atol=1e-5)
  chances = np.asarray(jax.nn.softmax(expected))
  assert abs(chances[0, 0] - 1 / 3).max() > 0.2
  for step in range(2):
    frequencies = np.bincount(ids[step], minlength=3) / 2_000
    # Five standard deviations of a count, at the most.
    wanted = chances[step].mean(0)
    np.testing.assert_allclose(frequencies, wanted, atol=0.056)


def test_a_sampler_that_reads_otherwise_is_not_timed(monkeypatch):
  make = samplers.flax

  def wrong(*given, **options):
    made = make(*given, **options)
    return made._replace(logits=lambda ids: 1.01 * made.logits(ids))

  monkeypatch.setattr(samplers, "flax", wrong)
  with pytest.raises(errors.RunError, match=r"sampling, .*lies 0\.0"):
    agreement.check(contest.Setting(0, ("float32",), ("flax",)), ("sampling",))


def test_a_coder_that_loses_bytes_is_not_timed(monkeypatch):
  config = page.get_config("smoke")
  config.compression.bytes = 40
  monkeypatch.setattr(codec_contest, "packed", lambda *given: [b""])
  monkeypatch.setattr(codec_contest, "unpacked", lambda *given: b"")
  with pytest.raises(errors.RunError, match="decompressed other bytes"):
    codec_contest.expanding(config, contest.Setting(0, (), ()))


def test_cudnn_is_given_its_weights_and_inputs_in_its_layout(
  given, expected, monkeypatch
):
  """`lstm_ref` is JAX's own account of what cuDNN's LSTM computes."""
  rnn = cudnn_peer.rnn

  def reference(xs, h, c, weights, lengths, **options):
    assert options.pop("dropout") == 0.0
    sizes = [
      options[name]
      for name in ("input_size", "hidden_size", "num_layers", "bidirectional")
    ]
    parts = rnn.unpack_lstm_weights(weights, *sizes)
    return rnn.lstm_ref(xs, h, c, *parts, lengths, dropout=0.0, **options)

  monkeypatch.setattr(rnn, "lstm", reference)
  assert_same(cudnn_peer.layer(given).answer(), expected, 1e-6)


def test_cudnn_is_called_as_its_function_wants_it(given, monkeypatch):
  """Traced on any machine; only its size of scratch memory needs a GPU."""
  scratch = types.SimpleNamespace(
    compute_rnn_workspace_reserve_space_sizes=lambda *sizes: (0, 1)
  )
  monkeypatch.setattr(cudnn_peer.rnn, "gpu_rnn", scratch)
  weights, xs = cudnn_peer.pack(given.params), given.xs.swapaxes(0, 1)

  def both(weights, xs):
    outputs, pull = jax.vjp(cudnn_peer.function(3, 4), weights, xs)
    return outputs, pull(outputs)

  outputs, (d_weights, d_xs) = jax.eval_shape(both, weights, xs)
  assert (outputs.shape, d_xs.shape) == (xs.shape, xs.shape)
  assert d_weights.shape == weights.shape


def test_cudnn_is_left_out_without_a_gpu():
  assert cudnn_peer.missing() == "cuDNN needs a GPU, and JAX runs on cpu"


@pytest.mark.parametrize(
  "peer", ["flax", pytest.param("torch", marks=torch_wanted)]
)
@pytest.mark.parametrize("embedding", [0, 3])
def test_a_peer_trains_to_the_same_losses(peer, embedding):
  shared = contest.Setting(0, ("float32",), (peer,))
  sizes = text_contests.Sizes(
    symbols=5, units=8, batch=2, length=6, segments=2, embedding=embedding
  )
  held = text_contests.training(shared, sizes, rate=0.05, clip_norm=1.0)
  ours, theirs = (
    np.concatenate([entry.run() for _ in range(15)])
    for entry in held.entries
    if not entry.kind
  )
  np.testing.assert_allclose(theirs, ours, rtol=2e-5)
  assert ours[-1] < 0.8 * ours[0]  # it does learn, so updates are compared


@torch_wanted
def test_torch_evaluates_dynamically_to_the_same_losses():
  shared = contest.Setting(0, ("float32",), ("torch",))
  sizes = text_contests.Sizes(symbols=5, units=8, batch=1, length=6, segments=2)
  held = text_contests.dynamic(shared, sizes, rate=0.02, momentum=0.9)
  ours, theirs = (
    np.concatenate([entry.run() for _ in range(40)])
    for entry in held.entries
    if not entry.kind
  )
  np.testing.assert_allclose(theirs, ours, rtol=2e-5)
  assert ours[-1] < 0.8 * ours[0]


def test_random_text_is_one_stream_a_row():
  text = text_work.text(3, 4, 2, 9, seed=0)
  for row in range(2):
    inputs, targets = (
      ids[:, :, row].ravel() for ids in (text.inputs, text.targets)
    )
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
  assert text.mask.all()
  assert not text.reset.any()


@pytest.mark.parametrize("part", ["outputs", "d_xs"])
def test_a_peer_that_computes_something_else_is_not_timed(part, monkeypatch):
  layer = flax_peer.layer

  def wrong(given, **options):
    made = layer(given, **options)
    found = made.answer()
    found = found._replace(**{part: 1.001 * getattr(found, part)})
    return made._replace(answer=lambda: found)

  monkeypatch.setitem(layer_contests.LAYERS, "flax", wrong)
  with pytest.raises(errors.RunError, match=r"lies 0\.001 from ours"):
    agreement.check(contest.Setting(0, ("float32",), ("flax",)))


# Timing and memory.


def test_every_contestant_runs_once_a_round_in_changing_order():
  calls = []
  names = ("a", "b", "c")
  times = timing.race(
    {name: lambda name=name: calls.append(name) for name in names},
    repeats=20,
    seconds=0,
    warmup=2,
    seed=0,
    pause=0,
  )
  assert calls[:6] == ["a", "a", "b", "b", "c", "c"]
  rounds = [tuple(calls[k : k + 3]) for k in range(6, len(calls), 3)]
  assert len(rounds) == 20
  assert all(sorted(one) == list(names) for one in rounds)
  assert len(set(rounds)) > 3
  assert all(len(found) == 20 for found in times.values())


def test_rounds_go_on_for_the_time_that_was_given(monkeypatch):
  now = [0.0]

  def work():
    now[0] += 1.0

  monkeypatch.setattr(
    timing, "time",
    types.SimpleNamespace(perf_counter=lambda: now[0], sleep=lambda _: None),
  )  # fmt: skip
  options = {"repeats": 2, "warmup": 1, "seed": 0}
  assert timing.race({"a": work}, seconds=0, **options) == {"a": [1.0] * 2}
  assert timing.race({"a": work}, seconds=5, **options) == {"a": [1.0] * 5}


def test_a_check_stops_a_race():
  def stop():
    raise errors.Interrupted(15)

  with pytest.raises(errors.Interrupted):
    timing.race(
      {"a": lambda: pytest.fail("it ran")},
      repeats=1, seconds=0, warmup=1, seed=0, check=stop,
    )  # fmt: skip


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_memory_that_a_run_takes_is_seen():
  megabytes = resident_memory.growth(lambda: np.ones(8_000_000)) / 1e6
  assert 60 < megabytes < 80
  assert resident_memory.growth(lambda: None) / 1e6 < 5


def entry(maker, seconds, **others):
  common = {"name": maker, "precision": "float32", "kind": "", "note": ""}
  common |= {"temporary": None, "resident": None, **others}
  return {"maker": maker, "seconds": seconds, **common}


def test_a_ratio_is_taken_round_by_round_against_ours_of_the_same_kind():
  record = {
    "title": "layer",
    "work": "forward",
    "tokens": 10,
    "unit": contest.TOKENS,
    "operations": 0,
    "entries": [
      entry("ours", [1.0, 2.0, 4.0], name="ours, float32"),
      entry("ours", [9.0] * 3, name="ours, peepholes", kind="peepholes"),
      entry("peer", [3.0, 4.0, 4.0], note="mode"),
      entry("peer", [3.0] * 3, precision="bfloat16"),
    ],
  }
  rows = contest.rows(record, {})
  assert [(row["metric"], row["value"]) for row in rows] == [
    ("tokens_per_second", 5.0),
    ("tokens_per_second", pytest.approx(10 / 9)),
    ("tokens_per_second", 2.5),
    ("tokens_per_second", pytest.approx(10 / 3)),
    ("speed_ratio", 2.0),
    ("speed_ratio", 1.5),
  ]
  assert rows[-2]["name"] == "layer, forward: ours, float32 over peer (mode)"
  assert (rows[-2]["count"], rows[-2]["seconds"]) == (30, 7.0)
  assert (
    rows[-1]["name"] == "layer, forward: ours, float32 over peer (at its best)"
  )


def test_a_share_is_of_the_large_products_in_the_same_precision():
  records = {
    product_contests.LARGE: {
      "tokens": 600,
      "entries": [
        entry("jnp", [2.0, 3.0, 6.0]),
        entry("jnp", [1.0], precision="bfloat16"),
      ],
    }
  }
  rates = product_contests.rates(records)
  assert rates == {"float32": 200.0, "bfloat16": 600.0}
  record = {
    "title": "layer",
    "work": "forward",
    "tokens": 10,
    "unit": contest.TOKENS,
    "operations": 300,
    "entries": [
      entry("ours", [2.0, 3.0, 4.0]),
      entry("peer", [1.0], precision="bfloat16"),
    ],
  }
  shares = [
    row
    for row in contest.rows(record, rates)
    if row["name"].endswith("products")
  ]
  assert [row["value"] for row in shares] == [0.5, 0.5]
  assert {row["metric"] for row in shares} == {"share_of_products"}
  assert "ours of this machine's large products" in shares[0]["name"]
  assert product_contests.rates({}) == {}
  assert len(contest.rows(record, {})) == 3


def test_operations_are_those_of_the_formula():
  size = layer_contests.Shape(steps=5, batch=3, features=4)
  forward = 2 * 5 * 3 * (4 + 4) * 4 * 4
  assert layer_work.operations(*size, backward=False) == forward
  deep = layer_work.operations(*size, layers=7, backward=True)
  assert deep == 21 * forward


def test_a_contest_may_have_patience_of_its_own():
  runs = []
  one = contest.Contest(
    "t", "w", 1, [contest.Entry("a", "float32", lambda: runs.append(1))]
  )
  options = {"patience": contest.Patience(4, 0.0), "warmup": 1, "seed": 0}
  record = contest.hold(one, **options)
  assert len(record["entries"][0]["seconds"]) == 4
  record = contest.hold(
    one._replace(patience=contest.Patience(2, 0.0)), **options
  )
  assert len(record["entries"][0]["seconds"]) == 2
  assert len(runs) == 5 + 3


def test_one_size_grows_at_a_time_and_the_base_is_on_every_axis():
  config = page.get_config()
  lines = scaling.series(config)
  base = scaling.Point(50, 16, 512, 1)
  for field, line in lines.items():
    assert base in line
    sizes = [getattr(point, field) for point in line]
    assert sizes == sorted(set(sizes))
    assert {point._replace(**{field: 0}) for point in line} == {
      base._replace(**{field: 0})
    }
  assert [one.batch for one in lines["batch"]] == [1, 4, 16, 64, 256]
  assert lines["features"][-1].features == 2048
  assert lines["layers"][-1].layers == 7
  keys = [key for key, _ in scaling.every(config, contest.Setting(0, (), ()))]
  assert len(keys) == len(set(keys)) == 17


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
    kind for kind in contests.KINDS if kind not in ("words", "ink")
  )
  return config


def at_work(work, here):
  """Whom ours must be compared with."""
  cell = {samplers.FLAX, *(here - {FLAX})}
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
  here = {FLAX} if torch_peer.missing() else {FLAX, TORCH}
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
        for who in at_work(work, here):
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
    if "chunks of 2" in row["name"] and contest.PRODUCTS not in row["name"]
  ]
  assert len(chunks) == 1
  assert chunks[0].endswith(f"ours, chunks of 2, float32 over {FLAX}")


def test_the_page_shows_ratios_spread_memory_and_agreement(smoke):
  workdir, _ = smoke
  text = (workdir / "report.md").read_text()
  for heading in (
    *("## Run", "## Ratios", "## Matrix products", "## Growth"),
    *("## Times and memory", "## Agreement"),
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
    others = sum(codec_contest.OTHERS in name for name in names)
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


def test_contests_are_chosen_by_name(tmp_path, monkeypatch):
  held = []

  def hold(one, **options):
    del options
    held.append(one.work)
    return {
      "title": one.title, "work": one.work, "tokens": one.tokens,
      "unit": one.unit, "operations": one.operations,
      "entries": [entry("ours", [1.0])],
    }  # fmt: skip

  monkeypatch.setattr(contest, "hold", hold)
  config = small(contests=("scaling", "products"), peers=())
  benchmark.run(config, tmp_path, tmp_path)
  assert held == ["product"] * 2 + ["forward+backward"] * 3
  kept = json_file.read_sealed(tmp_path / "benchmark.json")
  assert [found[0] for found in kept["agreement"]["differences"]] == [
    "stack, ours, float32"
  ]
  kept["agreement"]["versions"]["jax"] = "0.0"
  json_file.write_sealed(tmp_path / "benchmark.json", kept)
  with pytest.raises(errors.UserError, match="other versions of its libraries"):
    benchmark.run(config, tmp_path, tmp_path)


def test_what_was_measured_is_not_measured_again(smoke, monkeypatch):
  workdir, rows = smoke
  monkeypatch.setattr(contest, "hold", lambda *_, **__: pytest.fail("held"))
  assert benchmark.run(smoke_config(), workdir, workdir) == rows


def test_a_stopped_benchmark_goes_on_with_the_next_contest(
  tmp_path, monkeypatch
):
  held = []

  def hold(one, *, check, **options):
    del options
    check()
    held.append(one.work)
    return {
      "title": one.title,
      "work": one.work,
      "tokens": one.tokens,
      "unit": one.unit,
      "operations": one.operations,
      "entries": [entry("ours", [1.0])],
    }

  monkeypatch.setattr(contest, "hold", hold)
  monkeypatch.setattr(agreement, "check", lambda *given: [])
  stop = True
  checks = benchmark.interruption.Interruption.check

  def check(self):
    if stop and held == ["forward"]:
      raise errors.Interrupted(15)
    checks(self)

  monkeypatch.setattr(benchmark.interruption.Interruption, "check", check)
  with pytest.raises(errors.Interrupted):
    benchmark.run(small(), tmp_path, tmp_path)
  assert held == ["forward"]
  stop = False
  rows = benchmark.run(small(), tmp_path, tmp_path)
  assert held == ["forward", "forward+backward", *["training"] * 3]
  assert [row["evaluation"] for row in rows] == held
  kept = json_file.read_sealed(tmp_path / "benchmark.json")
  assert kept.keys() == {
    "agreement",
    "layer 4x2x6 forward",
    "layer 4x2x6 forward+backward",
    *("training", "training words", "training ink"),
  }


def test_without_torch_its_rows_are_missing_and_the_page_says_so(
  tmp_path, monkeypatch, capsys
):
  def module():
    raise ImportError("No module named 'torch'")

  monkeypatch.setattr(torch_peer, "module", module)
  monkeypatch.setattr(
    contest, "hold",
    lambda one, **_: {
      "title": one.title, "work": one.work, "tokens": one.tokens,
      "unit": one.unit, "operations": one.operations,
      "entries": [entry(each.maker, [1.0]) for each in one.entries],
    },
  )  # fmt: skip
  monkeypatch.setattr(agreement, "check", lambda *given: [])
  rows = benchmark.run(small(peers=("flax", "torch")), tmp_path, tmp_path)
  assert any(FLAX in row["name"] for row in rows)
  assert not any(TORCH in row["name"] for row in rows)
  line = "left out: torch.nn.LSTM: no PyTorch (No module named 'torch')"
  assert line in (tmp_path / "report.md").read_text()
  assert line in capsys.readouterr().err


def test_other_peers_at_hand_on_resuming_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(agreement, "check", lambda *given: [])
  agreed = {
    "absent": ["x: gone"],
    "versions": provenance.facts()["versions"],
    "differences": [],
  }
  (tmp_path / "benchmark.json").write_text(json.dumps({"agreement": agreed}))
  with pytest.raises(errors.UserError, match="begun with other peers"):
    benchmark.run(small(), tmp_path, tmp_path)


@pytest.mark.parametrize(
  ("changes", "words"),
  [
    ({"repeats": 0}, "config.repeats is 0"),
    ({"peers": ("tensorflow",)}, "config.peers is"),
    ({"precisions": ("float16",)}, "config.precisions is"),
    ({"layer": {"shapes": ("100x8",)}}, "'100x8' is no shape of a layer"),
    ({"layer": {"shapes": ("1x0x2",)}}, "'1x0x2' is no shape of a layer"),
    ({"storage": {"chunk": 0}}, "config.storage.chunk is 0"),
    ({"contests": ("race",)}, "config.contests is"),
    ({"scaling": {"base": "1x2x3"}}, "config.scaling.base is '1x2x3'"),
    ({"scaling": {"repeats": 0}}, "config.scaling.repeats is 0"),
    ({"compression": {"presets": ("zip",)}}, "config.compression.presets is"),
    ({"sampling": {"symbols": 0}}, "config.sampling.symbols is 0"),
  ],
)
def test_bad_settings_are_one_sentence(tmp_path, changes, words):
  with pytest.raises(errors.UserError) as caught:
    benchmark.run(small(**changes), tmp_path, tmp_path)
  assert words in str(caught.value)
  assert list(tmp_path.iterdir()) == []


def test_the_default_measures_the_published_shapes():
  config = page.get_config()
  shapes = [tuple(layer_contests.shape(text)) for text in config.layer.shapes]
  assert shapes == [
    (100, 1, 1000), (100, 8, 700), (100, 32, 1000), (100, 64, 650)
  ]  # fmt: skip
  shared = contest.Setting(0, config.precisions, ())
  keys = dict(contests.every(config, shared))
  assert len(keys) == 1 + 4 + 15 + 2 + 2 + 17
  # What a benchmark that was stopped earlier has kept goes by these.
  assert keys.keys() >= {
    "layer 100x1x1000 forward",
    "layer 100x64x650 forward+backward",
    "storage 200x8x700",
    *("training", "training words", "training ink", "dynamic 100"),
  }
  assert config.repeats >= 10


def test_the_pen_networks_of_both_libraries_learn_alike():
  """The same nats at every update, from the same weights."""
  config = small()
  config.ink.update(layers=2, units=5, points=7)
  shared = contest.Setting(0, ("float32",), ("flax",))
  entries = pen_contest.training(config, shared).entries
  runs = {entry.name: [entry.run() for _ in range(3)] for entry in entries}
  ours, with_peepholes, flax = runs.values()
  np.testing.assert_allclose(ours, flax, rtol=2e-5)
  assert not np.allclose(ours, with_peepholes, rtol=1e-4)
  assert ours[2] < ours[0]
