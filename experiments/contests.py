"""The contests of the benchmark by kind; a kind's settings bear its name."""

from collections.abc import Callable, Iterator

from ml_collections import config_dict

from experiments import (
  codec_contest,
  contest,
  layer_contests,
  pen_contest,
  product_contests,
  scaling,
  text_contests,
)

Maker = Callable[
  [config_dict.ConfigDict, contest.Setting], Iterator[contest.Ready]
]

KINDS: dict[str, Maker] = {
  "products": product_contests.every,
  "layer": layer_contests.layers,
  "storage": layer_contests.stored,
  "training": text_contests.characters,
  "words": text_contests.words,
  "ink": pen_contest.every,
  "dynamic": text_contests.dynamics,
  "sampling": text_contests.samplings,
  "compression": codec_contest.every,
  "scaling": scaling.every,
}


def chosen(config: config_dict.ConfigDict) -> list[str]:
  """The kinds that are held, in the table's order; all where none is named.

  >>> chosen(config_dict.ConfigDict({"contests": ("words", "layer")}))
  ['layer', 'words']
  """
  wanted = config.contests or KINDS
  return [kind for kind in KINDS if kind in wanted]


def every(
  config: config_dict.ConfigDict, shared: contest.Setting
) -> Iterator[contest.Ready]:
  """The chosen contests in their order: a key, and what readies it.

  Raises:
    UserError: a shape that is none.
  """
  for kind in chosen(config):
    yield from KINDS[kind](config, shared)
