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
  contest,
  contests,
  cudnn_peer,
  flax_peer,
  layer_work,
  nnx_peer,
  pen_contest,
  resident_memory,
  scan_peer,
  text_work,
  timing,
  torch_peer,
)
from seqmodels import errors
from seqmodels.cells import lstm, unroll

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
  shared = contests.Setting(0, ("float32",), (peer,))
  sizes = contests.Sizes(
    symbols=5, units=8, batch=2, length=6, segments=2, embedding=embedding
  )
  held = contests.training(shared, sizes, rate=0.05, clip_norm=1.0)
  ours, theirs = (
    np.concatenate([entry.run() for _ in range(15)])
    for entry in held.entries
    if not entry.kind
  )
  np.testing.assert_allclose(theirs, ours, rtol=2e-5)
  assert ours[-1] < 0.8 * ours[0]  # it does learn, so updates are compared


@torch_wanted
def test_torch_evaluates_dynamically_to_the_same_losses():
  shared = contests.Setting(0, ("float32",), ("torch",))
  sizes = contests.Sizes(symbols=5, units=8, batch=1, length=6, segments=2)
  held = contests.dynamic(shared, sizes, rate=0.02, momentum=0.9)
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

  monkeypatch.setitem(contests.LAYERS, "flax", wrong)
  with pytest.raises(errors.RunError, match=r"lies 0\.001 from ours"):
    agreement.check(contests.Setting(0, ("float32",), ("flax",)))


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
    "entries": [
      entry("ours", [1.0, 2.0, 4.0], name="ours, float32"),
      entry("ours", [9.0] * 3, name="ours, peepholes", kind="peepholes"),
      entry("peer", [3.0, 4.0, 4.0], note="mode"),
      entry("peer", [3.0] * 3, precision="bfloat16"),
    ],
  }
  rows = contest.rows(record)
  assert [(row["metric"], row["value"]) for row in rows] == [
    ("tokens_per_second", 5.0),
    ("tokens_per_second", pytest.approx(10 / 9)),
    ("tokens_per_second", 2.5),
    ("tokens_per_second", pytest.approx(10 / 3)),
    ("speed_ratio", 2.0),
  ]
  assert rows[-1]["name"] == "layer, forward: ours, float32 over peer (mode)"
  assert (rows[-1]["count"], rows[-1]["seconds"]) == (30, 7.0)


# The whole experiment.


@pytest.fixture(scope="module")
def smoke(tmp_path_factory):
  """The smoke variant, run to its end; PyTorch and cuDNN where they are."""
  workdir = tmp_path_factory.mktemp("smoke") / "run"
  results = experiments.run(page.get_config("smoke"), workdir, workdir)
  return workdir, results["rows"]


def test_the_smoke_variant_has_a_row_for_everyone(smoke):
  _, rows = smoke
  speeds = [row for row in rows if row["metric"] == "tokens_per_second"]
  ratios = [row for row in rows if row["metric"] == "speed_ratio"]
  assert len(rows) == len(speeds) + len(ratios)
  assert len({row["name"] for row in rows}) == len(rows)
  assert all(row["value"] > 0 and row["count"] > 0 for row in rows)
  here = {FLAX} if torch_peer.missing() else {FLAX, TORCH}
  for works, precisions in (
    (("forward", "forward+backward", "training"), ("float32", "bfloat16")),
    (("dynamic",), ("float32",)),
  ):
    for work in works:
      for precision in precisions:
        of = [
          row["name"]
          for row in speeds
          if row["evaluation"] == work and precision in row["name"]
        ]
        for who in here - ({FLAX} if work == "dynamic" else set()):
          assert any(who in name for name in of), (work, precision, who)
          assert any(
            f"ours, {precision} over {who}" in row["name"]
            for row in ratios
            if row["evaluation"] == work
          ), (work, precision, who)
        assert any(f"ours, peepholes, {precision}" in name for name in of)
  chunks = [row["name"] for row in ratios if "chunks of 2" in row["name"]]
  assert len(chunks) == 1
  assert chunks[0].endswith(f"ours, chunks of 2, float32 over {FLAX}")


def test_the_page_shows_ratios_spread_memory_and_agreement(smoke):
  workdir, _ = smoke
  text = (workdir / "report.md").read_text()
  for heading in ("## Run", "## Ratios", "## Times and memory", "## Agreement"):
    assert heading in text
  assert "| LSTM layer, T 4, B 2, H 6 | forward+backward |" in text
  assert "left out: jax.experimental.rnn (cuDNN): cuDNN needs a GPU" in text
  assert "XLA, MB" in text
  assert (workdir / "figures" / "speed.png").read_bytes()[:4] == b"\x89PNG"


def test_what_was_measured_is_not_measured_again(smoke, monkeypatch):
  workdir, rows = smoke
  monkeypatch.setattr(contest, "hold", lambda *_, **__: pytest.fail("held"))
  assert benchmark.run(page.get_config("smoke"), workdir, workdir) == rows


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
      "entries": [entry("ours", [1.0])],
    }

  monkeypatch.setattr(contest, "hold", hold)
  monkeypatch.setattr(agreement, "check", lambda shared: [])
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
  kept = json.loads((tmp_path / "benchmark.json").read_text())
  assert len(kept) == 6


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
      "entries": [entry(each.maker, [1.0]) for each in one.entries],
    },
  )  # fmt: skip
  monkeypatch.setattr(agreement, "check", lambda shared: [])
  rows = benchmark.run(small(peers=("flax", "torch")), tmp_path, tmp_path)
  assert any(FLAX in row["name"] for row in rows)
  assert not any(TORCH in row["name"] for row in rows)
  line = "left out: torch.nn.LSTM: no PyTorch (No module named 'torch')"
  assert line in (tmp_path / "report.md").read_text()
  assert line in capsys.readouterr().err


def test_other_peers_at_hand_on_resuming_are_refused(tmp_path, monkeypatch):
  monkeypatch.setattr(agreement, "check", lambda shared: [])
  (tmp_path / "benchmark.json").write_text(
    json.dumps({"agreement": {"absent": ["x: gone"], "differences": []}})
  )
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
  ],
)
def test_bad_settings_are_one_sentence(tmp_path, changes, words):
  with pytest.raises(errors.UserError) as caught:
    benchmark.run(small(**changes), tmp_path, tmp_path)
  assert words in str(caught.value)
  assert list(tmp_path.iterdir()) == []


def test_the_default_measures_the_published_shapes():
  config = page.get_config()
  shapes = [tuple(contests.shape(text)) for text in config.layer.shapes]
  assert shapes == [
    (100, 1, 1000), (100, 8, 700), (100, 32, 1000), (100, 64, 650)
  ]  # fmt: skip
  shared = contests.Setting(0, config.precisions, ())
  assert len(dict(contests.every(config, shared))) == 15
  assert config.repeats >= 10


def test_the_pen_networks_of_both_libraries_learn_alike():
  """The same nats at every update, from the same weights."""
  config = small()
  config.ink.update(layers=2, units=5, points=7)
  shared = contests.Setting(0, ("float32",), ("flax",))
  entries = pen_contest.training(config, shared).entries
  runs = {entry.name: [entry.run() for _ in range(3)] for entry in entries}
  ours, with_peepholes, flax = runs.values()
  np.testing.assert_allclose(ours, flax, rtol=2e-5)
  assert not np.allclose(ours, with_peepholes, rtol=1e-4)
  assert ours[2] < ours[0]
