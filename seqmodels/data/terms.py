"""What may be done with data, and so with what was trained on them."""

# By source; what is not here lies with whoever has the data.
TERMS = {
  "ptb": (
    "Penn Treebank (Linguistic Data Consortium, LDC99T42): research use; the "
    "text itself may not be redistributed"
  ),
  "iamondb": (
    "IAM On-Line Handwriting Database (University of Bern): non-commercial "
    "research use; the data themselves may not be redistributed"
  ),
  "enwik8": "English Wikipedia of 2006: CC BY-SA 3.0 and GFDL",
  "timemachine": "The Time Machine, H. G. Wells, 1895: public domain",
  "embedded": "the documentation of Python: PSF License",
  "synthetic": "made by this package: its own license",
}


def of(source: str) -> str:
  """The terms of a source's data, in a sentence.

  >>> of("synthetic")
  'made by this package: its own license'
  """
  return TERMS.get(source, "those of whoever gave the data")
