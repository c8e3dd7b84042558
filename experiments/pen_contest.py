"""The contest of handwriting prediction: whole training steps on ink."""

import functools
from collections.abc import Iterator

import numpy as np
from ml_collections import config_dict

from experiments import contest, flax_peer, flax_pen_peer, layer_work, text_work
from seqmodels.cells import products
from seqmodels.data import pen_batches
from seqmodels.models import handwriting, pen_network
from seqmodels.training import pen_objective


def every(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """The one contest there is."""
  yield "training ink", functools.partial(training, config, shared)


def training(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> contest.Contest:
  """Forward, backward, clipping, Adam; each run gives the nats of its lines."""
  sizes = config.ink
  segments = ink(1, sizes.points, sizes.batch, seed=shared.seed)

  def entry(
    maker: str, precision: str, network: pen_network.PenNetwork, kind: str = ""
  ) -> contest.Entry:
    work = text_work.training(
      network,
      segments,
      rate=config.training.learning_rate,
      clip_norm=config.training.clip_norm,
      seed=shared.seed,
      losses=pen_objective.of_points,
    )
    return contest.Entry(maker, precision, work.run, work.temporary, kind)

  entries = []
  for precision in shared.precisions:
    dtype = layer_work.operands(precision)
    plain = _network(config, dtype, peepholes=False)
    entries.append(entry(contest.OURS, precision, plain))
    entries.append(
      entry(
        contest.OURS,
        precision,
        _network(config, dtype, peepholes=True),
        contest.PEEPHOLES,
      )
    )
    if "flax" in shared.peers:
      peer = flax_pen_peer.network(plain, sizes.units, dtype=dtype)
      entries.append(entry(flax_peer.NAME, precision, peer))
  title = (
    f"handwriting prediction {sizes.layers}x{sizes.units}, "
    f"{sizes.components} components, B {sizes.batch}, T {sizes.points}"
  )
  return contest.Contest(title, "training", sizes.points * sizes.batch, entries)


def ink(
  steps: int, points: int, lines: int, *, seed: int
) -> pen_batches.PenSegment:
  """Minibatches of random movements [K, T, B, 3], on the host."""
  random = np.random.default_rng(seed)
  targets = random.normal(size=(steps, points, lines, 3)).astype(np.float32)
  targets[..., 2] = random.random((steps, points, lines)) < 0.05
  inputs = np.zeros_like(targets)
  inputs[:, 1:] = targets[:, :-1]
  return pen_batches.PenSegment(
    inputs,
    targets,
    np.ones((steps, points, lines), bool),
    np.zeros((steps, 0, lines), np.int32),
    np.zeros((steps, points, lines), bool),
  )


def _network(
  config: config_dict.ConfigDict, dtype: products.Dtype, *, peepholes: bool
) -> pen_network.PenNetwork:
  """Ours, without limits on derivatives: Flax has none."""
  sizes = config.ink
  return handwriting.network(
    handwriting.Handwriting(
      features=(sizes.units,) * sizes.layers,
      components=sizes.components,
      options={"peepholes": peepholes},
      gradient_clip=None,
      output_clip=None,
      dtype=dtype,
    )
  )
