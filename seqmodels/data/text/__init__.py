"""Text: corpora, tokens, vocabularies, minibatches."""
