"""The two handwriting pages: every variant, and the paper beside it."""

import itertools

import jax
import pytest

from configs import checks, handwriting_prediction, handwriting_synthesis
from experiments.handwriting import task
from seqmodels import errors, trees

PAGES = {
  "prediction": (
    handwriting_prediction,
    (
      ("", "plain", "adaptive_weight_noise"),
      ("", "one_layer"),
      ("", "paper", "quickstart"),
    ),
  ),
  "synthesis": (
    handwriting_synthesis,
    (
      ("", "plain", "adaptive_weight_noise"),
      ("", "paper", "quickstart"),
    ),
  ),
}
VARIANTS = [
  (name, ",".join(filter(None, chosen)))
  for name, (_, choices) in PAGES.items()
  for chosen in itertools.product(*choices)
] + [("synthesis", "write")]
each = pytest.mark.parametrize(("name", "variant"), VARIANTS)


def settings(name, variant=""):
  return PAGES[name][0].get_config(variant)


def small(name, variant):
  return settings(name, f"{variant},smoke" if variant else "smoke")


def keys(config):
  return {name for name, _ in checks.flatten(config)}


@each
def test_every_variant_is_valid_and_so_is_its_smoke_form(name, variant):
  config, shrunk = settings(name, variant), small(name, variant)
  for each in (config, shrunk):
    checks.validate(each)
  assert keys(shrunk) == keys(config)
  kinds = {type(value) for _, value in checks.flatten(config)}
  assert kinds <= {bool, int, float, str, tuple}


@each
def test_the_smoke_form_has_the_same_parts(name, variant):
  config, shrunk = settings(name, variant), small(name, variant)
  assert shrunk.experiment == config.experiment
  if "model" in config:
    assert len(shrunk.model.features) == len(config.model.features)
    for group, key in (
      ("model", "network"),
      ("regularization", "adaptive"),
      ("training", "optimizer"),
      ("data", "source"),
    ):
      assert shrunk[group][key] == config[group][key]
    shrunk.dtype = "float32"  # in place of "auto", as a run's beginning does
    network = task.build_network(shrunk, 57)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    assert trees.count_parameters(shapes) < 10_000


@pytest.mark.parametrize(
  ("name", "variant", "nats", "half_sse"),
  [
    ("prediction", "", -1041.0, 0.41),
    ("prediction", "plain", -1041.0, 0.41),
    ("prediction", "paper", -1041.0, 0.41),
    ("prediction", "one_layer", -1025.7, 0.40),
    ("prediction", "one_layer,paper", -1025.7, 0.40),
    ("prediction", "adaptive_weight_noise", -1057.7, 0.41),
    ("synthesis", "", -1096.9, 0.23),
    ("synthesis", "adaptive_weight_noise,paper", -1128.2, 0.23),
  ],
)
def test_the_papers_figure_stands_beside_its_network(
  name, variant, nats, half_sse
):
  actual = settings(name, variant).reference
  assert (actual.nats_per_sequence, actual.half_sse) == (nats, half_sse)
  assert "sse" not in actual
  table = {"prediction": "Table 3", "synthesis": "Table 4"}[name]
  assert actual.source == f"Graves 2013, {table}"
  for figure in (nats, half_sse):
    assert f"{figure:g}" in PAGES[name][0].__doc__


@pytest.mark.parametrize(
  ("name", "variant"),
  [
    ("prediction", "one_layer,adaptive_weight_noise"),
    ("prediction", "quickstart"),
    ("synthesis", "quickstart"),
    ("synthesis", "write"),
  ],
)
def test_what_the_paper_has_no_figure_for_has_no_reference(name, variant):
  assert "reference" not in settings(name, variant)


@pytest.mark.parametrize(
  ("name", "variant", "count"),
  [
    ("prediction", "", 3_368_121),
    ("prediction", "one_layer", 3_366_121),
    ("synthesis", "", 3_653_751),
  ],
)
def test_the_networks_are_the_papers(name, variant, count):
  config = settings(name, variant)
  config.dtype = "float32"
  network = task.build_network(config, 57)
  shapes = jax.eval_shape(network.init, jax.random.key(0))
  assert trees.count_parameters(shapes) == count
  assert config.model.gradient_clip == 10.0
  assert network.loss.keywords["output_clip"] == 100.0


@pytest.mark.parametrize("name", PAGES)
def test_the_paper_is_trained_to_the_letter(name):
  """Equations (38) to (45), one line a step."""
  config = settings(name, "paper")
  training = config.training
  assert training.optimizer == "rmsprop_graves"
  assert (training.learning_rate, training.momentum) == (1e-4, 0.9)
  assert (training.batch, training.reduction) == (1, "sum")
  assert (training.schedule, training.warmup_steps) == ("constant", 0)
  assert (training.clip_norm, config.dtype) == (0.0, "float32")
  noisy = settings(name, "adaptive_weight_noise,paper")
  assert noisy.regularization.adaptive == 0.075
  # Adaptive weight noise ends after a fixed number of epochs.
  assert (training.patience, noisy.training.patience) == (4, 0)
  differing = {key for key in training if training[key] != noisy.training[key]}
  assert differing == {"patience", "epochs", "evaluations_per_epoch"}


@pytest.mark.parametrize("name", PAGES)
def test_adaptive_noise_is_trained_shortly_and_validated_often(name):
  training = settings(name, "adaptive_weight_noise").training
  assert (training.optimizer, training.schedule) == ("adam", "cosine")
  assert (training.learning_rate, training.epochs) == (2e-4, 2.0)
  assert (training.evaluations_per_epoch, training.patience) == (4, 0)
  # Whole lines, as the squared gradients of a line ask for.
  assert training.points == 0


def test_synthesis_is_prediction_with_a_text():
  one, other = settings("prediction"), settings("synthesis")
  differing = {
    name
    for name, value in checks.flatten(one)
    if value != dict(checks.flatten(other))[name]
  }
  assert {name for name in differing if not name.startswith("reference")} == {
    "model.network",
    "data.transcribed",
  }


@pytest.mark.parametrize(
  ("name", "variant", "words"),
  [
    ("prediction", "plain,adaptive_weight_noise", "exclude each other"),
    ("synthesis", "adaptive_weight_noise,plain", "exclude each other"),
    ("synthesis", "write,paper", "write and paper exclude each other"),
    ("synthesis", "quickstart,write", "write and quickstart exclude"),
    ("synthesis", "write,plain", "write and plain exclude each other"),
    ("prediction", "paper,quickstart", "quickstart and paper exclude"),
    ("synthesis", "one_layer", "unknown variant 'one_layer'"),
    ("prediction", "write", "unknown variant 'write'"),
    ("prediction", "adaptive_noise", "did you mean 'adaptive_weight_noise'"),
  ],
)
def test_variants_that_cannot_be_meant_are_refused(name, variant, words):
  with pytest.raises(errors.UserError, match=words):
    settings(name, variant)
