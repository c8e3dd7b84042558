"""Outside bytes: a valid value, or one sentence that refuses them.

A few inputs of every row, always the same; `python -m tests.fuzz.hunt` tries
as many others as there is time for.
"""

import pytest

from tests.fuzz import hunt, parsers, valid_files

EXAMPLES = 8
# Nearly anything is text.
SELDOM_REFUSED = {"text as bytes"}

# What once ended in a traceback, went on for ever or was believed: the parser,
# its file, and what became of what.
FOUND = [
  ("run.json", "stopped/run.json", b'"resumes": []', b'"resumes": 0.5'),
  ("results.json", "run/results.json", b'"rows":', b'"lines":'),
  ("results.json", "run/results.json", b'"count": 600', b'"count": "many"'),
  ("data.json", "run/data.json", b'"files"', b'"filed"'),
  ("data.json", "run/data.json", b'"bytes": 5', b'"bytes": "5"'),
  ("data.json", "run/data.json", b'"name": "a.txt"', b'"name": [1]'),
  ("metrics.jsonl", "run/metrics.jsonl", b"train", b"\xff"),
  ("metrics.jsonl", "run/metrics.jsonl", b'"step": 1', b'"step": "1"'),
  ("evaluations.json", "run/evaluations.json", b'"phases"', b'"phased"'),
  ("evaluations.json", "run/evaluations.json", b"8.5", b"8.4"),
  ("benchmark.json", "benchmark.json", b"1.0", b"1.1"),
  ("benchmark.json", "benchmark.json", b"{", b"[" * 9_000),
  ("vocabulary.json", "run/vocabulary.json", b"[", b"[" * 9_000),
  ("pen.json", "pen/pen.json", b'"other": 56', b'"other": 57'),
  ("pen.json", "pen/pen.json", b"40.0", b"-40.0"),
  ("pen.json", "pen/pen.json", b"40.0", b"1e999"),
  *(
    (f"config.json of a {kind} run", f"{folder}/config.json", before, after)
    for kind, folder in (("text", "run"), ("pen", "pen"))
    for before, after in (
      (b'"features"', b'"fixtures"'),
      (b'"features": [', b'"features": ["8", '),
      (b'"dropout_hidden": 0.0', b'"dropout_hidden": "none"'),
      (b'"regularization": {', b'"regularization": 0, "former": {'),
      (b'"forget_bias": 1.0', b'"forget_bias": 1e999'),
      (b'"seeds": 1', b'"seeds": "2"'),
    )
  ),
]


@pytest.fixture(scope="module")
def world(tmp_path_factory):
  folder = tmp_path_factory.mktemp("world")
  valid_files.fill(folder)
  with hunt.old_objects_left_alone():
    yield folder


# What orbax still had in flight when it refused a file may report to an event
# loop that is closed by then.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", parsers.ROWS)
def test_outside_bytes_are_read_or_refused_in_one_sentence(name, world):
  row = parsers.ROWS[name]
  one = hunt.Hunt(row, world)
  assert not one.attempt(row.valid(world))
  one.go(EXAMPLES, seed=0)
  assert not one.found
  # Damage that nothing minds would look for nothing.
  assert one.refused or name in SELDOM_REFUSED


@pytest.mark.parametrize(("name", "place", "before", "after"), FOUND)
def test_what_was_found_is_refused(name, place, before, after, world):
  data = (world / place).read_bytes()
  assert before in data
  given = (world / place, data.replace(before, after, 1))
  assert hunt.Hunt(parsers.ROWS[name], world).attempt(given)


@pytest.mark.parametrize(
  "given",
  [
    ["--workdir=~nobody-of-that-name/runs"],
    ["--data_dir=a\0b"],
    ["--config=" + "9" * 5_000],
    ["--config=\x1b[31m.py"],
    ["--config.seed=" + "9" * 5_000],
    ["--config.model.features=" + "(" * 9_000],
  ],
)
def test_arguments_that_were_found(given, world):
  row = parsers.ROWS["overrides"]
  refused = hunt.Hunt(row, world).attempt(given)
  assert (
    refused or "nobody" in given[0]
  )  # which is a folder's name like another
