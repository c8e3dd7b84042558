"""The share of cells with a constant output, on cells made by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from seqmodels.cells import cell as cells
from seqmodels.cells import lstm
from seqmodels.data.text import batching
from seqmodels.evaluation import static
from seqmodels.layers import recurrent
from seqmodels.models import networks

WIDE = 50.0  # the net input of a gate that is open


def made_by_hand(cell_clip=0.0):
  """Cells over symbols 0 and 1: a counter, one that is shut, one that works."""
  cell = cells.get("lstm", cell_clip=cell_clip)
  # Rows: i, f, g, o. The last cell writes its symbol afresh at every step.
  bias = np.array(
    [
      [WIDE, -WIDE, WIDE],
      [WIDE, -WIDE, -WIDE],
      [WIDE, 0.0, 0.0],
      [0.0, WIDE, WIDE],
    ]
  )
  kernel = np.zeros((2, 4, 3))
  kernel[:, 2, 2] = [-1.0, 1.0]
  params = lstm.LSTMParams(
    kernel=jnp.asarray(kernel.reshape(2, 12), jnp.float32),
    recurrent_kernel=jnp.zeros((3, 12)),
    bias=jnp.asarray(bias.reshape(12), jnp.float32),
    # The counter shuts its output where it has counted far.
    peephole=jnp.zeros((3, 3)).at[2, 0].set(-1.0),
  )

  def apply(params, carry, inputs, reset):
    carry, hs = cell.sequence(params, carry[0], inputs, reset=reset)
    return (carry,), hs

  return networks.SequenceModel(
    apply=apply,
    initial_carry=lambda batch: (cell.initial_carry((batch,), 3),),
    init=lambda key: params,
    vocabulary_size=3,
  ), params


def text(steps=1_000, rows=2):
  ids = np.random.default_rng(0).integers(0, 2, steps * rows)
  return batching.SequentialStream(ids, batch=rows, length=steps).segment(0)


def test_a_counter_and_a_shut_cell_are_constant_and_a_working_one_is_not():
  network, params = made_by_hand()
  actual = static.constant_cells(network, params, text())
  assert actual["constant_cells"] == pytest.approx(200.0 / 3.0)
  assert actual["largest_cell"] == 1_000.0


def test_a_bound_shows_in_the_largest_state():
  network, params = made_by_hand(cell_clip=3.0)
  assert static.constant_cells(network, params, text())["largest_cell"] == 3.0


def test_constant_in_some_streams_counts_for_those():
  network, params = made_by_hand()
  segment = text()
  # The second stream repeats one symbol, so no cell of it changes.
  segment.inputs[:, 1] = 1
  actual = static.constant_cells(network, params, segment)
  assert actual["constant_cells"] == pytest.approx(500.0 / 6.0)


def test_the_way_to_a_constant_does_not_count():
  network, params = made_by_hand()
  segment = text()
  segment.inputs[500:] = 1
  actual = static.constant_cells(network, params, segment)
  assert actual["constant_cells"] == 100.0


def test_steps_past_the_end_of_a_stream_are_left_out():
  network, params = made_by_hand()
  whole = text(300)
  longer = [np.concatenate([leaf, np.zeros_like(leaf)]) for leaf in whole]
  assert static.constant_cells(
    network, params, longer
  ) == static.constant_cells(network, params, whole)


def test_a_text_that_is_too_short_tells_nothing():
  network, params = made_by_hand()
  fewest = static.FEWEST_WATCHED
  assert static.constant_cells(network, params, text(fewest - 1)) == {}
  assert static.constant_cells(network, params, text(fewest))


@pytest.mark.parametrize("cell", ["lstm", "gru", "elman"])
def test_all_layers_of_a_language_model_are_watched(cell):
  network = networks.LanguageModel(
    2, recurrent.StackOptions(features=(5, 3), cell=cells.get(cell))
  ).as_model()
  params = network.init(jax.random.key(0))
  actual = static.constant_cells(network, params, text(200))
  assert actual["constant_cells"] == 0.0
  assert ("largest_cell" in actual) == (cell == "lstm")
  silent = jax.tree.map(jnp.zeros_like, params)
  actual = static.constant_cells(network, silent, text(200))
  assert actual["constant_cells"] == 100.0


def test_a_model_without_cells_has_none():
  bigram = networks.SequenceModel(
    apply=lambda params, carry, inputs, reset: (carry, params[inputs]),
    initial_carry=lambda batch: (),
    init=lambda key: None,
    vocabulary_size=2,
  )
  assert static.constant_cells(bigram, jnp.zeros((2, 2)), text()) == {}
