"""Parts of the study `ngram`: its tokens, text drawn from it, unknown words."""

from collections.abc import Mapping

import numpy as np

from experiments.studies import run
from experiments.studies.ngram import smoothing
from seqmodels import units
from seqmodels.data.text import tokens as tokens_lib
from seqmodels.data.text import vocabulary
from seqmodels.models import ngram


def tokens(
  study: run.Study, level: str, min_frequency: int | None = None
) -> tokens_lib.Tokens:
  """The corpus at a level.

  Args:
    study: whose corpus.
    level: "words" or "characters".
    min_frequency: rarer words become `<unk>`; None for the setting's, which
      the Penn Treebank does not need.
  """
  if level == "characters":
    return study.tokens(level)
  # The protocol of the published figures: the treebank's own vocabulary, and
  # each sentence a sequence of its own.
  treebank = study.config.data.source == "ptb"
  if min_frequency is None:
    min_frequency = 1 if treebank else study.config.settings.min_frequency
  return study.tokens(level, min_frequency=min_frequency, sentences=treebank)


def samples(
  study: run.Study,
  models: Mapping[int, smoothing.Model],
  symbols: vocabulary.Vocabulary,
  level: str,
) -> None:
  """Text of each order, drawn symbol by symbol from the model's own p."""
  study.lesson.say("""
    A model can also be read forwards: draw a symbol, append it, draw the next.
    What it writes shows what its order can hold.
  """)
  join = vocabulary.named(level).join
  length = study.config.settings.sample[level]
  parts = []
  for order, model in models.items():
    random = np.random.default_rng([study.config.seed, order])
    drawn: list[int] = []
    for _ in range(length):
      shares = model.distribution(drawn[-order:])
      drawn.append(int(random.choice(len(shares), p=shares / shares.sum())))
    text = str(join(symbols.decode(drawn)))
    parts.append(f"n = {order}\n{text.strip()}")
  study.lesson.shown("\n\n".join(parts))


def unknown_words(study: run.Study, order: int) -> None:
  """How the least count of a word changes what a perplexity means."""
  page = study.lesson
  page.section("Unknown words")
  page.say("""
    A test text has words that training did not. All of them are read as
    `<unk>`, a word like any other, which training must have seen to know how
    likely it is: so the rarest training words are made `<unk>` too. How many is
    a choice, and it changes the perplexity:
  """)
  body = []
  for least in study.config.settings.min_frequencies:
    found = tokens(study, "words", least)
    test = np.asarray(found.splits["test"])
    model = ngram.NGram.fit(
      np.asarray(found.splits["train"]),
      found.vocabulary.size,
      order=order,
      sentence_end=found.sentence_end,
      modified=True,
    )
    nats = model.nats(test)
    unknown = test == found.vocabulary.unk
    body.append(
      [
        least,
        f"{found.vocabulary.size:,}",
        float(np.mean(unknown)),
        units.perplexity(float(nats.sum()), len(nats)),
        units.perplexity(float(nats[~unknown].sum()), int((~unknown).sum())),
      ]
    )
    study.signals.check()
  page.table(
    [
      "least count",
      "vocabulary",
      "`<unk>` in the test",
      "perplexity",
      "of the known words alone",
    ],
    body,
  )
  page.say(f"""
    The same model of order {order} on the same text: the fewer words it knows,
    the better it looks, since `<unk>` becomes common and easy to predict. With
    a least count of 1 training has no `<unk>` (unless the corpus itself writes
    it, as the Penn Treebank does), and every unknown word costs as much as
    what is never seen. Perplexities compare only over one vocabulary.
  """)
