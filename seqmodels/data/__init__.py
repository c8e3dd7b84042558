"""Corpora, vocabularies and streams of segments."""
