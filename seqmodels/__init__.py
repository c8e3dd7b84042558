"""Recurrent sequence models in JAX: cells, kernels, training, evaluation."""

import os
import typing

if typing.TYPE_CHECKING:
  from seqmodels import trained, trained_handwriting

__all__ = ["load"]


def load(
  source: "str | os.PathLike[str]", *, dtype: str = ""
) -> "trained.TextModel | trained_handwriting.HandwritingModel":
  """A trained model: of a run folder, a portable file, or one shipped by name.

      model = seqmodels.load("penn_char")  # or "runs/mine", "mine.safetensors"
      model.score("the company said").bits_per_symbol
      model.sample(prime="the ", length=200, temperature=0.8, seed=1)
      model.save("mine.safetensors", dtype="bfloat16")

      pen = seqmodels.load("handwriting_synthesis")
      pen.write("Dear reader", bias=1.0).save("page.svg")

  See `trained.load`, which this is.
  """
  from seqmodels import trained

  return trained.load(source, dtype=dtype)
