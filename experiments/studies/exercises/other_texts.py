"""How a network scores texts by the hand it learned from, and by others."""

import contextlib
import inspect
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments.studies import run
from experiments.studies.common import training
from seqmodels import errors
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.io import results
from seqmodels.models import api as predictors


def read(study: run.Study) -> dict[str, str]:
  """Texts by other hands, as far as they are to be had, by their names.

  Raises:
    UserError: a file of `config.settings.other_texts` that is missing, too
      short or not UTF-8.
  """
  settings, found = study.config.settings, {}
  if study.config.data.source != "embedded":
    python = _beginning(study, source="embedded")
    found["Python's language reference"] = python
  if study.config.data.source != "timemachine":
    # A page without it is a page all the same.
    with contextlib.suppress(errors.UserError):
      found["The Time Machine"] = _beginning(study, source="timemachine")
  functions = (getattr(np.linalg, name) for name in sorted(np.linalg.__all__))
  documented = (inspect.getdoc(f) or "" for f in functions)
  found["NumPy's help on linear algebra"] = "\n\n".join(documented)
  for path in settings.other_texts:
    found[pathlib.Path(path).name] = _beginning(study, source="text", path=path)
  return {name: text[: settings.unseen] for name, text in found.items()}


def _beginning(study: run.Study, **where: Any) -> str:
  """The first characters of another corpus."""
  tokens = study.tokens(
    "characters",
    partition="standard",
    limit=study.config.settings.unseen,
    downloads=False,
    **where,
  )
  ids = np.asarray(tokens.splits["train"])
  return "".join(map(str, tokens.vocabulary.decode(ids)))


def elsewhere(
  study: run.Study,
  network: predictors.Predictor,
  trained: Mapping[str, Any],
  tokens: tokens_lib.Tokens,
  unseen: np.ndarray,
  others: Mapping[str, str],
) -> list[results.Row]:
  """Scores texts by the same hand and by others.

  Args:
    study: its page is written on.
    network: that was trained in several ways.
    trained: weights by what they were trained on, the best taught last.
    tokens: of the text that they learned.
    unseen: ids of more of that text.
    others: texts by other hands, by their names.
  """
  page, settings = study.lesson, study.config.settings
  known: dict[str, tuple[np.ndarray, float]] = {
    "the same text, unseen": (unseen, 0.0),
    "the same, read backwards": (unseen[::-1], 0.0),
  }
  for name, text in others.items():
    kept = [c for c in text if c in tokens.vocabulary]
    if kept:
      ids = tokens.vocabulary.encode(kept)
      known[name] = (ids, 1 - len(kept) / len(text))
  scores = {
    name: [
      training.held_out(network, params, ids) for params in trained.values()
    ]
    for name, (ids, _) in known.items()
  }
  page.section(
    "Other texts, other hands",
    f"""
    A model of one text is a model of its author and of his subject. The same
    network, after {settings.heart_steps:,} steps on little text or on much,
    scores up to {settings.unseen:,} characters from elsewhere. Symbols are
    those of the first text: what another one has besides cannot be said by the
    network at all, and is left out.
    """,
  )
  page.table(
    (
      "text",
      "characters",
      "left out",
      *(f"perplexity, learned {name}" for name in trained),
    ),
    [
      [
        name,
        f"{len(ids):,}",
        f"{100 * lost:.1f} %",
        *(one.perplexity for one in scores[name]),
      ]
      for name, (ids, lost) in known.items()
    ],
  )
  most = [ones[-1].perplexity for ones in scores.values()]
  by_heart = [ones[-2].perplexity for ones in scores.values()]
  page.say(
    f"""
    The network that has read most foretells {
      "its own text best"
      if most[0] == min(most)
      else "another text better than its own"
    }: {most[0]:.2f} there, {min(most[2:]):.2f} to {max(most[2:]):.2f} with
    others. Read backwards, the text has the same letters as often, and costs
    {most[1]:.1f}: the difference is what was learned of their order. The
    network that knows its own text by heart pays {min(by_heart):.1f} or more
    for any other, where knowing nothing costs {tokens.vocabulary.size}.
    """
  )
  return [
    results.row(
      f"GRU, all training text, on: {name}",
      split="elsewhere" if place else "valid",
      evaluation="static",
      metric="perplexity",
      value=ones[-1].perplexity,
      count=ones[-1].count,
      seconds=ones[-1].seconds,
    )
    for place, (name, ones) in enumerate(scores.items())
  ]
