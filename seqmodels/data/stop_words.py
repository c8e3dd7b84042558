"""English stop words: the closed classes, which any text is full of.

Articles, pronouns, prepositions, conjunctions, auxiliaries and a few adverbs
that work like them. They come first in every count and tell little of what a
text is about. In lower case, and as `cleaning.words` leaves them, so that the
rests of contractions (`s`, `t`, `ll`) are among them.
"""

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
