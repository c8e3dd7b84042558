import jax
import numpy as np
import pytest

from seqmodels import errors
from seqmodels.evaluation import dynamic


def test_gradient_statistics_equal_a_slow_loop(
  elman, params, numpy_elman, segments, tokens
):
  chunk = segments(tokens, 7, streams=3)
  net, squares, live = numpy_elman(params), None, 0
  for piece in zip(*chunk, strict=True):
    _, count, _, gradients = net.segment(*piece)
    live += 1
    mean = {name: (leaf / count) ** 2 for name, leaf in gradients.items()}
    squares = (
      mean
      if squares is None
      else {name: squares[name] + mean[name] for name in mean}
    )
  assert live == 5
  for parts in (
    [chunk],
    [tuple(x[:2] for x in chunk), tuple(x[2:] for x in chunk)],
  ):
    actual = dynamic.measure_statistics(elman, params, parts, streams=3)
    for name, leaf in squares.items():
      np.testing.assert_allclose(
        actual[name], np.sqrt(leaf / live), rtol=2e-5, atol=1e-7
      )


def test_gradient_statistics_pass_over_segments_that_score_nothing(
  elman, params, segments, tokens
):
  chunk = segments(tokens, 10)
  blank = chunk._replace(mask=np.zeros_like(chunk.mask))
  both = [chunk, blank]
  actual = dynamic.measure_statistics(elman, params, both, streams=1)
  alone = dynamic.measure_statistics(elman, params, chunk, streams=1)
  jax.tree.map(
    lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), actual, alone
  )
  with pytest.raises(errors.UserError, match="score nothing"):
    dynamic.measure_statistics(elman, params, blank, streams=1)
