"""How fast this machine multiplies matrices: what a layer can hope for.

One product of large square matrices is its rate; the products of a layer's
loop alone, [B, H] by [H, 4H] as many times as there are steps, are what remains
of it for so few rows.
"""

import functools
from collections.abc import Iterator, Mapping

import jax
import jax.numpy as jnp
from ml_collections import config_dict

from experiments import contest, layer_contests, layer_work, timing
from seqmodels.cells import products

NAME = "jax.numpy.matmul"
WORK = "product"
LARGE = "products large"


def every(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """The large product, and those of every layer's loop."""
  given = config.products
  patience = contest.Patience(given.repeats, given.seconds)
  width = given.width
  yield (
    LARGE,
    functools.partial(product, shared, patience, 1, width, width, width),
  )
  for text in config.layer.shapes:
    size = layer_contests.shape(text)
    yield (
      f"products {text}",
      functools.partial(
        product,
        shared,
        patience,
        size.steps,
        size.batch,
        size.features,
        4 * size.features,
      ),
    )


def product(
  shared: contest.Setting,
  patience: contest.Patience,
  times: int,
  rows: int,
  inner: int,
  columns: int,
) -> contest.Contest:
  """[rows, inner] by [inner, columns], so many times, one after another."""
  keys = jax.random.split(jax.random.key(shared.seed))
  xs = jax.random.normal(keys[0], (times, rows, inner))
  kernel = jax.random.normal(keys[1], (inner, columns))
  operations = times * layer_work.operations_of(rows, inner, columns)
  entries = []
  for precision in shared.precisions:
    dtype = jnp.dtype(precision)
    run = functools.partial(_run, kernel.astype(dtype), xs.astype(dtype))
    entries.append(contest.Entry(NAME, precision, run))
  often = f", {times} times" if times > 1 else ""
  return contest.Contest(
    title=f"[{rows}, {inner}] by [{inner}, {columns}]{often}",
    work=WORK,
    tokens=operations,
    entries=entries,
    unit="FLOP/s",
    patience=patience,
  )


def rates(records: Mapping[str, contest.Record]) -> dict[str, float]:
  """Operations a second of the large product by precision.

  Args:
    records: by key; empty is what comes without that contest.
  """
  if LARGE not in records:
    return {}
  record = records[LARGE]
  return {
    entry["precision"]: record["tokens"]
    / timing.spread(entry["seconds"]).middle
    for entry in record["entries"]
  }


def _run(kernel: jax.Array, xs: jax.Array) -> None:
  jax.block_until_ready(_products(kernel, xs))


@jax.jit
def _products(kernel: jax.Array, xs: jax.Array) -> jax.Array:
  # The operands already have their dtype; sums are float32, as a layer's.
  return jax.lax.map(lambda x: products.dot(x, kernel), xs)
