"""A loss of one's own, brought by the model: what it adds shows everywhere."""

import jax
import jax.numpy as jnp
import pytest

from experiments.language_model import task
from seqmodels import losses

pytestmark = pytest.mark.usefixtures("undrawn")


def smoothed(logits, segment):
  """Label smoothing, and the sum of the likeliest symbols' probabilities."""
  loss, metrics = losses.of_symbols(logits, segment)
  log_shares = jax.nn.log_softmax(logits)
  spread = jnp.where(segment.mask, -jnp.mean(log_shares, axis=-1), 0.0)
  sure = jnp.where(segment.mask, jnp.exp(jnp.max(log_shares, axis=-1)), 0.0)
  return (
    0.9 * loss + 0.1 * jnp.sum(spread, axis=0),
    metrics._replace(sums={"sure": jnp.sum(sure)}),
  )


@pytest.mark.parametrize("seeds", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_metric_of_a_loss_is_logged_in_training_and_validation(
  seeds, small, run, tmp_path, monkeypatch, metrics
):
  build = task.build_predictor
  monkeypatch.setattr(
    task,
    "build_predictor",
    lambda config, symbols: build(config, symbols)._replace(loss=smoothed),
  )
  run(small(seeds=seeds))
  folder = tmp_path / "run" / ("seed-0" if seeds > 1 else "")
  actual = metrics(folder)
  for split in ("train", "valid"):
    values = [
      entry["value"]
      for entry in actual
      if (entry["split"], entry["name"]) == (split, "sure")
    ]
    assert values
    assert all(1 / 28 < value <= 1 for value in values)


def test_smoothing_changes_what_is_learned_and_not_what_is_reported(
  finished, small, run, monkeypatch
):
  plain = finished("plain")["rows"]
  build = task.build_predictor
  monkeypatch.setattr(
    task,
    "build_predictor",
    lambda config, symbols: build(config, symbols)._replace(loss=smoothed),
  )
  other = run(small(), "smoothed")["rows"]
  one, two = (
    next(row["value"] for row in rows if row["split"] == "test")
    for rows in (plain, other)
  )
  assert one != two
  # Smoothed nats would be reported as more by a tenth of log2(28) or so.
  assert two == pytest.approx(one, abs=0.05)
