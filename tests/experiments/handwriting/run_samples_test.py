"""Samples and statistics of a handwriting network after its training."""

import numpy as np
import pytest

from experiments import cli, restore, stages
from experiments import page as page_lib
from experiments.handwriting import run, task
from experiments.handwriting import write as write_lib
from seqmodels import errors, trained_handwriting
from seqmodels.evaluation import handwriting
from seqmodels.io import distributed

LINES, COMPARED = 40, 5


def context_of(page, tmp_path):
  """An untrained network over the synthetic pen."""
  config = cli.load(f"configs/handwriting_{page}.py:smoke").config
  config.dtype = "float32"
  config.data.update(source="synthetic", limit=LINES)
  config.model.features = (4, 4)
  config.sample.statistics = COMPARED
  with distributed.Interruption() as signals:
    data = task.load(config, tmp_path, signals)
    network = task.build_network(config, data.alphabet.size)
    params = network.init(np.array([0, 1], np.uint32))
    return stages.Context(config, tmp_path, data, network, params, 0, signals)


@pytest.fixture(scope="module")
def contexts(tmp_path_factory):
  """Built once: what they compile is kept."""
  folder = tmp_path_factory.mktemp("pen")
  return {
    name: context_of(name, folder) for name in ("synthesis", "prediction")
  }


@pytest.fixture
def synthesis(contexts, tmp_path):
  return contexts["synthesis"]._replace(workdir=tmp_path)


@pytest.fixture
def prediction(contexts, tmp_path):
  actual = contexts["prediction"]
  return actual._replace(
    workdir=tmp_path, config=actual.config.copy_and_resolve_references()
  )


@pytest.fixture
def asked(monkeypatch):
  """The arguments of every call of the sampler."""
  actual, plain = [], run.sampling.write

  def write(*args, **settings):
    actual.append(settings)
    return plain(*args, **settings)

  monkeypatch.setattr(run.sampling, "write", write)
  return actual


def test_the_text_of_a_prime_comes_before_each_line(synthesis):
  ids = trained_handwriting.texts_of(
    task.pen_of(synthesis.data), ["ab", "c"], before="on "
  )
  texts = [
    task.pen_of(synthesis.data).alphabet.decode(row[row >= 0]) for row in ids.T
  ]
  assert texts == ["on ab", "on c"]
  assert (
    len(
      trained_handwriting.texts_of(
        task.pen_of(synthesis.data), ["a"], longest=20
      )
    )
    == 32
  )


def test_a_line_is_primed_with_the_points_and_the_text(synthesis, asked):
  prime = synthesis.data.splits["valid"].line(1)[:7]
  trained_handwriting.write(
    synthesis.model, synthesis.params, task.pen_of(synthesis.data), ["ab", "c"],
    bias=[0.5, 2.0], seed=1, points_per_character=3, prime=prime, before="on ",
  )  # fmt: skip
  (settings,) = asked
  np.testing.assert_array_equal(settings["prime"], prime)
  np.testing.assert_array_equal(settings["bias"], [0.5, 2.0])
  np.testing.assert_array_equal(settings["most"], [6, 3])
  ids = settings["text"][:, 1]
  assert task.pen_of(synthesis.data).alphabet.decode(ids[ids >= 0]) == "on c"


def test_the_prime_is_the_line_of_that_name(synthesis):
  lines = synthesis.data.splits["train"]
  pen = task.pen_of(synthesis.data)
  trained = restore.LoadedRun(
    synthesis.config, pen, synthesis.model, synthesis.params, 0, None
  )
  config = cli.load("configs/handwriting_synthesis.py:write").config
  config.update(restore="run", prime=lines.names[3])
  points, text = write_lib._prime(
    config, trained, synthesis.workdir, synthesis.signals
  )
  np.testing.assert_array_equal(points, lines.line(3))
  assert text == f"{lines.texts[3]} "
  config.prime = "nobody"
  with pytest.raises(errors.UserError, match="none of the 80 lines"):
    write_lib._prime(config, trained, synthesis.workdir, synthesis.signals)


def test_compared_lines_are_unbiased_and_of_the_real_texts(synthesis, asked):
  actual, drawn = run.measured(synthesis)
  (settings,) = asked
  lines = run.compared_lines(synthesis)
  np.testing.assert_array_equal(settings["bias"], np.zeros(COMPARED))
  assert [sample.text for sample in drawn] == list(lines.texts)
  assert actual["lines"] == COMPARED
  # From all over the split, not its first form.
  names = synthesis.data.splits["valid"].names
  assert lines.names[0] == names[0]
  assert lines.names[-1] == names[-1]


def test_compared_scribbles_are_as_long_as_the_real_lines(prediction, asked):
  _, drawn = run.measured(prediction)
  (settings,) = asked
  lengths = run.compared_lines(prediction).lengths
  np.testing.assert_array_equal(settings["bias"], np.zeros(COMPARED))
  assert [len(sample.ink) for sample in drawn] == lengths.tolist()
  assert len(set(lengths.tolist())) > 1


@pytest.mark.parametrize(
  ("places", "stopped", "expected"),
  [
    ([0, 1, 2, 3, 4], True, True),
    ([0, 1, 2, 3, 4], False, False),
    ([0, 4], True, False),
    ([], True, False),
  ],
)
def test_a_line_is_read_through_only_by_way_of_its_letters(
  places, stopped, expected
):
  window = np.eye(5)[places]
  ink = np.ones((len(places), 3))
  sample = trained_handwriting.Sample("abcd", 0.0, ink, stopped, window)
  assert sample.read_through is expected
  # The prime's letters, read before, are not asked for.
  primed = trained_handwriting.Sample("cd", 0.0, ink, stopped, window)
  assert primed.read_through is (expected or (stopped and places == [2, 3, 4]))


def test_the_heatmap_is_in_the_units_of_the_board(prediction, monkeypatch):
  seen = {}
  monkeypatch.setattr(
    run.handwriting_lib,
    "heatmap",
    lambda *args, **actual: seen.update(actual),
  )
  monkeypatch.setattr(
    run.handwriting_lib, "component_weights", lambda *args, **actual: None
  )
  page = page_lib.Page(run.TEMPLATE, prediction.workdir)
  run._predictions(prediction, page)
  lines = prediction.data.splits["valid"]
  line = lines.line(run._example(prediction))
  trace = handwriting.trace(prediction.model, prediction.params, line, None)
  scaling = prediction.data.scaling
  # Means and deviations are scaled as points are.
  point = np.zeros((1, 3))
  point[0, :2] = trace.means[2, 1]
  np.testing.assert_allclose(
    seen["means"][2, 1], scaling.restore(point)[0, :2], rtol=1e-5
  )
  np.testing.assert_allclose(
    seen["deviations"][2, 1],
    trace.deviations[2, 1] * scaling.deviation,
    rtol=1e-6,
  )


def read_in(context, unit):
  """The context, as if the data were read in that unit."""
  data = context.data._replace(unit=unit)
  model = task.build_network(
    context.config, data.alphabet.size, finest=data.finest
  )
  return context._replace(data=data, model=model)


def test_rows_hold_the_papers_figures_where_they_apply(prediction, monkeypatch):
  papers = {"source": "a table", "nats_per_sequence": -5.0, "half_sse": 0.5}
  monkeypatch.setattr(
    run,
    "published",
    lambda config, split: papers if split == "valid" else {},
  )
  prediction.config.evaluation.train_lines = 2
  rows = run.rows_of(read_in(prediction, 1.0))
  actual = [
    (row["split"], row["metric"], row["reference"])
    for row in rows
    if row["reference"] is not None
  ]
  assert actual == [
    ("valid", "nats_per_sequence", -5.0),
    ("valid", "half_sse", 0.5),
  ]
  # The half is of the likeliest component's mean, not of the mixture's.
  *_, likeliest, half, _ = rows
  assert likeliest["name"].endswith("; of the likeliest component's mean")
  assert half["name"].endswith(
    "; half the squared error of the likeliest component's mean"
  )
  assert half["value"] == likeliest["value"] / 2


def test_a_row_tells_what_is_finer_than_the_readings(prediction):
  def nats(unit):
    place = prediction.workdir / str(unit)
    rows = run._rows(
      read_in(prediction, unit)._replace(workdir=place), "valid", 0
    )
    return [row for row in rows if row["metric"] == "nats_per_sequence"]

  for unit in (0.0, 1e-9, 1e9):
    (prediction.workdir / str(unit)).mkdir()
  assert len(nats(0.0)) == 1
  fine, same = nats(1e-9)
  assert "half a unit" in same["name"]
  assert same["value"] == fine["value"]
  assert nats(1e9)[1]["value"] > fine["value"]
