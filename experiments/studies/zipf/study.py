"""Zipf's law: the study's page from beginning to end.

The English stop words are the closed classes, which any text is full of:
articles, pronouns, prepositions, conjunctions, auxiliaries and a few adverbs that
work like them. They come first in every count and say little about the text. They
are in lower case, as `cleaning.words` leaves them, with the ends of contractions
(`s`, `t`, `ll`) among them.
"""

from typing import NamedTuple

import numpy as np

from experiments.studies import run as run_lib
from experiments.studies.common import cleaning, ngram_counts
from experiments.studies.common import page as page_lib
from experiments.studies.zipf import laws, word_pieces
from seqmodels import errors
from seqmodels.data.text import vocabulary
from seqmodels.io import results

_ARTICLES = "a an the"
_PRONOUNS = """
  i me my mine myself we us our ours ourselves you your yours yourself he him
  his himself she her hers herself it its itself they them their theirs
  themselves one who whom whose which what that this these those
"""
_PREPOSITIONS = """
  of in to for with on at from by about as into like through after over between
  out against during without before under around among upon within along across
  behind beyond near up down off above below toward towards until since
"""
_CONJUNCTIONS = """
  and or but nor so yet if because although though while when where whether than
  unless
"""
_AUXILIARIES = """
  be am is are was were been being have has had having do does did doing will
  would shall should can could may might must
"""
_ADVERBS = """
  not no there here then now how why all any both each few more most other some
  such only own same too very just again once
"""
_RESTS = "s t d ll m re ve don isn"

ENGLISH = frozenset(
  " ".join(
    (_ARTICLES, _PRONOUNS, _PREPOSITIONS, _CONJUNCTIONS, _AUXILIARIES)
  ).split()
  + " ".join((_ADVERBS, _RESTS)).split()
)


class Corpus(NamedTuple):
  """A text as the study takes it."""

  name: str  # source
  beginning: str  # of the raw text
  words: list[str]
  cleaned: bool


def run(study: run_lib.Study) -> list[results.Row]:
  """The page: tokens, vocabulary, frequencies, their laws, pieces of words.

  Raises:
    UserError: a text without words, or n-grams longer than it.
  """
  page = study.lesson
  page.say("""
    A language model sees a text as a sequence of symbols from a fixed list. How
    is that list made, how often does each symbol occur, and what happens to it
    as the text grows?
  """)
  corpus = _corpus(study)
  symbols = vocabulary.Vocabulary.build(corpus.words)
  ids = symbols.encode(corpus.words)
  _tokens(page, corpus, symbols, study.config.settings.example)
  counts = _counted(study, ids, symbols.size)
  _vocabulary(study, counts, symbols)
  _lists(study, counts, symbols)
  study.signals.check()
  rows = laws.words(study, counts)
  laws.recovery(study)
  study.signals.check()
  _stop_words(study, counts, symbols)
  laws.add_growth(study, ids)
  study.signals.check()
  rows += _characters(study, " ".join(corpus.words))
  word_pieces.add(study, corpus.words)
  return rows


def _corpus(study: run_lib.Study) -> Corpus:
  source = study.config.data.source
  if source == "ptb":
    # Its makers have cleaned it; line ends are no words.
    found = study.tokens("words")
    train = found.vocabulary.decode(np.asarray(found.splits["train"]))
    words = [str(word) for word in train if word != vocabulary.END]
    return Corpus(source, " ".join(words[:14]), words, False)
  whole = study.tokens("characters", partition="fractions", fractions=(1.0,))
  text = "".join(
    map(str, whole.vocabulary.decode(np.asarray(whole.splits["train"])))
  )
  words = cleaning.words(text)
  if not words:
    raise errors.UserError(
      f"the text of source {source!r} has 0 words in {len(text):,} characters; "
      "give one that holds letters"
    )
  lines = [line for line in text.splitlines() if cleaning.words(line)]
  # A title of one word shows nothing of what cleaning does.
  long = [line for line in lines if len(cleaning.words(line)) > 3]
  return Corpus(source, (long or lines)[0], words, True)


def _tokens(
  page: page_lib.Lesson,
  corpus: Corpus,
  symbols: vocabulary.Vocabulary,
  example: str,
) -> None:
  page.section("From text to numbers")
  if corpus.cleaned:
    page.say(f"""
      The text (source `{corpus.name}`) is first cleaned: capitals become small,
      and every run of anything but letters becomes one space. Its first
      sentence, before and after:
    """)
    page.shown(corpus.beginning + "\n" + cleaning.letters(corpus.beginning))
  else:
    page.say(f"""
      The text (source `{corpus.name}`) has been cleaned by those who published
      it: small letters, no punctuation, `N` for numbers, `<unk>` for rare
      words. It begins:
    """)
    page.shown(corpus.beginning)
  words = example.split()
  pieces = words[1] if len(words) > 1 else example
  page.say(f"""
    It is then cut into tokens. As characters, `{pieces}` is
    {len(pieces)} tokens, {", ".join(f"`{c}`" for c in pieces)}. As words, the
    text has {len(corpus.words):,} tokens, and {len(set(corpus.words)):,}
    different ones (types). The vocabulary numbers the types by falling
    frequency. Number 0 is kept for `<unk>`, which stands for every word that
    the vocabulary lacks, so that no text is unreadable.
  """)
  page.table(
    ["word", *(f"`{word}`" for word in words)],
    [["number", *symbols.encode(words).tolist()]],
  )


def _counted(
  study: run_lib.Study, ids: np.ndarray, size: int
) -> ngram_counts.NGramCounts:
  return ngram_counts.NGramCounts.of(
    ids, size, order=study.config.settings.order
  )


def _vocabulary(
  study: run_lib.Study,
  counts: ngram_counts.NGramCounts,
  symbols: vocabulary.Vocabulary,
) -> None:
  grams, times = counts.table(1)
  total = int(times.sum())
  known = times[grams[:, 0] != symbols.unk]  # a corpus may write `<unk>` itself
  page = study.lesson
  page.section("How large a vocabulary?")
  page.say("""
    Rare words can be left out: all that occur less often than a minimum become
    `<unk>`. The list shrinks much faster than what it covers of the text.
  """)
  page.table(
    ["least count", "vocabulary with `<unk>`", "share of the text covered"],
    [
      [
        least,
        f"{1 + int((known >= least).sum()):,}",
        float(known[known >= least].sum() / total),
      ]
      for least in study.config.settings.min_frequencies
    ],
  )
  once = int((known == 1).sum())
  page.say(f"""
    {once:,} of the {len(known):,} types occur once. They are
    {100 * once / len(known):.1f}% of the vocabulary and
    {100 * once / total:.1f}% of the text.
  """)


def _lists(
  study: run_lib.Study,
  counts: ngram_counts.NGramCounts,
  symbols: vocabulary.Vocabulary,
) -> None:
  page, head = study.lesson, study.config.settings.head
  page.section("The most frequent words and n-grams")
  page.say("""
    An n-gram is a run of n tokens. A text of N tokens has N - n + 1 of them.
    The head of each list, with counts:
  """)
  columns = []
  for length in range(1, counts.order + 1):
    grams, times = counts.table(length)
    columns.append(
      [
        # Code, or a page would take `<unk>` for a tag of its own.
        f"`{' '.join(map(str, symbols.decode(gram)))}` {count:,}"
        for gram, count in zip(grams[:head], times[:head], strict=True)
      ]
    )
  page.table(
    ["rank", *map(laws.named, range(1, counts.order + 1))],
    [
      [rank + 1, *(c[rank] if rank < len(c) else "" for c in columns)]
      for rank in range(head)
    ],
  )
  page.say("""
    The longer the n-grams, the more of them are different and the larger the
    share that occurs once: a table of long ones says little of another text.
  """)
  page.table(
    ["n", "in the text", "different", "share of these seen once"],
    [
      [
        length,
        f"{int(times.sum()):,}",
        f"{len(times):,}",
        float(np.mean(times == 1)),
      ]
      for length in range(1, counts.order + 1)
      for times in (counts.table(length)[1],)
    ],
  )


def _stop_words(
  study: run_lib.Study,
  counts: ngram_counts.NGramCounts,
  symbols: vocabulary.Vocabulary,
) -> None:
  page, head = study.lesson, study.config.settings.head
  grams, times = counts.table(1)
  words = [str(word) for word in symbols.decode(grams[:, 0])]
  stops = np.array([word in ENGLISH for word in words])
  page.section("Stop words")
  page.say(f"""
    The top of the list is articles, pronouns, prepositions: stop words. The
    {int(stops.sum())} English ones of our list that occur here are
    {100 * np.mean(stops):.1f}% of the types and
    {100 * laws.share(times, stops):.1f}% of the tokens. Without them, the head
    of the list tells what the text is about:
  """)
  content = [
    f"{word} {count:,}"
    for word, count, stop in zip(words, times, stops, strict=True)
    if not stop
  ]
  page.shown(", ".join(content[:head]))
  if counts.order > 1:
    pairs = counts.table(2)[0][:head]
    pure = sum(
      all(word in ENGLISH for word in symbols.decode(pair)) for pair in pairs
    )
    page.say(f"""
      Of the {len(pairs)} most frequent pairs, {pure} are two stop words. A
      search engine may leave them out; a language model must predict every
      word.
    """)


def _characters(study: run_lib.Study, text: str) -> list[results.Row]:
  symbols = vocabulary.Vocabulary.build(text)
  counts = _counted(study, symbols.encode(text), symbols.size)
  grams, times = counts.table(1)
  page = study.lesson
  page.section("Characters")
  shown = [
    f"{'space' if c == ' ' else c} {100 * n / times.sum():.1f}%"
    for c, n in zip(symbols.decode(grams[:, 0]), times, strict=True)
  ]
  page.say(f"""
    The same text is {len(text):,} characters, of {len(times)} kinds. The list
    is closed: it does not grow with the text. The most frequent:
  """)
  page.shown(", ".join(shown[: study.config.settings.head]))
  return laws.characters(study, counts)
