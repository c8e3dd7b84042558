"""What adaptive weight noise has learned: which weights can be spared."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import assembly, phases
from seqmodels import trees
from seqmodels.evaluation import static
from seqmodels.io import posterior_plot
from seqmodels.regularization import adaptive_weight_noise, weight_noise

FIGURE = "posterior"
SHARES = (0.0, 0.25, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)
# Validation symbols that each share of pruned weights is scored on.
SYMBOLS = 50_000
BINS = 60


def study(
  context: phases.Context, posterior: adaptive_weight_noise.Posterior
) -> dict[str, Any]:
  """Signal to noise of all weights, and the loss without the weakest.

  Draws `figures/posterior.png`. The means are those at the end of training,
  where their deviations belong; the weights of the result rows are the best on
  validation.

  Args:
    context: of the run.
    posterior: at the end of training.

  Returns:
    `shares` pruned, the `scores` without them (bits a symbol, or perplexity),
    and the histogram: `edges` and `counts` of log10 |mean| / deviation.
  """
  found = phases.phase(context, "posterior", lambda: _study(context, posterior))
  unit = assembly.UNITS[context.config.data.tokenizer]
  posterior_plot.posterior(
    found,
    context.workdir / "figures" / f"{FIGURE}.png",
    metric=unit.metric,
    title=phases.describe(context),
  )
  return found


def _study(
  context: phases.Context, posterior: adaptive_weight_noise.Posterior
) -> dict[str, Any]:
  settings = context.config.evaluation
  streams = settings.validation_streams
  pieces = assembly.chunks(
    context.tokens,
    "valid",
    streams_count=streams,
    length=settings.segment,
    symbols=min(SYMBOLS, len(context.tokens.splits["valid"])),
  )
  signals = jax.tree.map(
    weight_noise.signal_to_noise,
    posterior.mean,
    adaptive_weight_noise.deviations(posterior),
  )
  flat = np.concatenate(
    [np.asarray(leaf).ravel() for leaf in jax.tree.leaves(signals)]
  )
  limits = np.quantile(flat, SHARES)
  limits[0] = -1.0  # nothing, not even a weight of exactly zero
  unit = assembly.UNITS[context.config.data.tokenizer]
  scores = []
  for limit in limits:
    context.signals.check()
    kept = jax.tree.map(
      lambda mean, signal, limit=limit: jnp.where(signal > limit, mean, 0.0),
      posterior.mean,
      signals,
    )
    totals = static.evaluate(context.predictor, kept, pieces, streams=streams)
    scores.append(phases.score(unit.metric, totals.nats, totals.count))
  counts, edges = np.histogram(
    np.log10(np.maximum(flat, 1e-4)), bins=BINS, range=(-4.0, 3.0)
  )
  return {
    "weights": trees.count_parameters(posterior.mean),
    "symbols": min(SYMBOLS, len(context.tokens.splits["valid"])),
    "complexity_nats": float(adaptive_weight_noise.complexity(posterior)),
    "shares": list(SHARES),
    "scores": scores,
    "edges": edges.tolist(),
    "counts": counts.tolist(),
  }
