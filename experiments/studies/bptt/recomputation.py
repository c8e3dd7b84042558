"""What a gradient over a long sequence costs: bytes kept, seconds taken."""

import math
import time
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.studies import run
from experiments.studies.common import small_network
from seqmodels.cells import scan
from seqmodels.plotting import style

_INPUTS, _ROWS = 16, 8
_REPEATS = 5
_PLAIN, _FUSED = "autodiff of the scan", "fused, all kept"
_AGAIN = "fused, recomputed"


class _Cost(NamedTuple):
  """Of one gradient."""

  bytes: int  # of XLA's temporary buffers
  seconds: float  # of the processor


def costs(study: run.Study) -> None:
  """Memory and time against the length, with and without recomputation."""
  page, settings = study.lesson, study.config.settings
  found = {steps: _measured(study, steps) for steps in sorted(settings.lengths)}
  page.section(
    "What the full gradient costs",
    """
    The backward pass needs the states of the forward pass, so memory grows with
    the length T. It need not keep them all: with the carry stored at the edges
    of chunks only, each chunk is run forward once more just before it is run
    backward. With chunks of sqrt(T) steps, sqrt(T) edges and one chunk's states
    are in memory at a time, for one more forward pass.
    """,
  )
  page.shown(
    """
    all kept      memory ~ T          time  forward + backward
    recomputed    memory ~ sqrt(T)    time  2 forward + backward
                  (besides inputs and outputs, which are T long in any case)
    """
  )
  names = list(found[min(found)])
  page.table(
    ("T", *(f"{name}: MB" for name in names), *(f"{n}: ms" for n in names)),
    [
      [
        f"{steps:,}",
        *(row[name].bytes / 1e6 for name in names),
        *(1e3 * row[name].seconds for name in names),
      ]
      for steps, row in found.items()
    ],
  )
  short, long = min(found), max(found)
  growth = {
    name: math.log(found[long][name].bytes / found[short][name].bytes)
    / math.log(long / short)
    for name in names
  }
  last = found[long]
  page.say(
    f"""
    Measured on the cell `{settings.cost_cell}` with {settings.features} units,
    {_ROWS} rows, on this machine's {jax.devices()[0].platform}; the loss reads
    the last state, and MB are the temporary buffers that XLA says its compiled
    program takes. From T = {short:,} to {long:,} they grow as T to the power
    {growth[_PLAIN]:.2f} for the plain scan, {growth[_FUSED]:.2f} for the fused
    cell and {growth[_AGAIN]:.2f} with recomputation, which takes
    {last[_FUSED].bytes / last[_AGAIN].bytes:.0f} times less memory at T =
    {long:,} for {last[_AGAIN].seconds / last[_FUSED].seconds:.2f} times the
    processor's time (best of {_REPEATS}). By a count of operations that should
    be about 4/3, a backward pass being worth two forward ones; but a chunk's
    arrays are small enough to stay in the processor's cache, which may give
    more than the second forward pass takes. The fused cell forms the gradient
    of the weights in one product after its loop, where autodiff adds to it at
    every step.
    """
  )
  path = page.figure(
    "cost",
    "Temporary memory and time of one gradient by the length of the sequence.",
  )
  lengths = list(found)
  with style.figure(path, height=3.6) as drawing:
    pairs = drawing.subplots(1, 2)
    for pair, title in zip(
      pairs, ("memory, MB", "processor time, ms"), strict=True
    ):
      style.clean(pair)
      pair.set_title(title, fontsize=10)
      pair.set_xscale("log", base=2)
      pair.set_yscale("log")
      pair.set_xlabel("length T")
    for name, colour in zip(names, style.COLOURS, strict=False):
      bytes_ = [row[name].bytes / 1e6 for row in found.values()]
      times = [1e3 * row[name].seconds for row in found.values()]
      pairs[0].plot(lengths, bytes_, "o-", color=colour, ms=4, label=name)
      pairs[1].plot(lengths, times, "o-", color=colour, ms=4, label=name)
    pairs[0].legend(frameon=False, fontsize=8)


def _measured(study: run.Study, steps: int) -> dict[str, _Cost]:
  settings = study.config.settings
  features, cell = settings.features, small_network.cell_of(settings.cost_cell)
  random = study.random
  params = small_network.drawn(cell, _INPUTS, features, random, features**-0.5)
  carry = cell.initial_carry((_ROWS,), features)
  xs = jnp.asarray(random.normal(size=(steps, _ROWS, _INPUTS)), jnp.float32)

  def plain(*given: Any, **options: Any) -> Any:
    return scan.unroll(cell.step, *given, **options)

  chunk = max(1, math.isqrt(steps))
  ways = {
    _PLAIN: plain,
    _FUSED: cell.sequence,
    _AGAIN: scan.checkpointed(cell.sequence, chunk),
  }
  found = {}
  for name, sequence in ways.items():

    def loss(params: Any, xs: Any, sequence: Any = sequence) -> jax.Array:
      return jnp.sum(sequence(params, carry, xs)[0].h)

    compiled = jax.jit(jax.grad(loss)).lower(params, xs).compile()
    analysis: Any = compiled.memory_analysis()
    found[name] = _Cost(
      int(analysis.temp_size_in_bytes), _best(compiled, params, xs)
    )
    study.signals.check()
  return found


def _best(compiled: Any, *given: Any) -> float:
  """The shortest of a few runs, in the processor's seconds.

  Other programs on the machine do not count there.
  """
  jax.block_until_ready(compiled(*given))
  times = []
  for _ in range(_REPEATS):
    start = time.process_time()
    jax.block_until_ready(compiled(*given))
    times.append(time.process_time() - start)
  return float(np.min(times))
