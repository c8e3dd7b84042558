"""Handwriting: data sets, strokes, minibatches."""
